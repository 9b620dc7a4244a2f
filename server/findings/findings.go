// Package findings words what a user should know about a model, for the catalog
// and for reads alike, so that both tell the same story.
//
// It knows the contract and sigmasql, and nothing else of the service.
package findings

import (
	"fmt"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// List is what a user should know about a model or a read. Findings of one code
// are told once. The zero value is empty.
type List struct {
	list []*pb.Finding
}

// All returns the findings in the order in which they were made.
func (l *List) All() []*pb.Finding { return l.list }

// Info adds what is good to know.
func (l *List) Info(code pb.FindingCode, format string, args ...any) {
	l.add(code, pb.FindingSeverity_FINDING_SEVERITY_INFO, format, args...)
}

// Warn adds what somebody should look at.
func (l *List) Warn(code pb.FindingCode, format string, args ...any) {
	l.add(code, pb.FindingSeverity_FINDING_SEVERITY_WARNING, format, args...)
}

// Error adds what would make the data wrong.
func (l *List) Error(code pb.FindingCode, format string, args ...any) {
	l.add(code, pb.FindingSeverity_FINDING_SEVERITY_ERROR, format, args...)
}

func (l *List) add(code pb.FindingCode, severity pb.FindingSeverity, format string, args ...any) {
	for _, told := range l.list {
		if told.GetCode() == code {
			return
		}
	}
	l.list = append(l.list, &pb.Finding{Code: code, Severity: severity, Message: fmt.Sprintf(format, args...)})
}

// AddText adds what Sigma's SQL tells about the model, however it is read.
func (l *List) AddText(query *sigmasql.Query) {
	for _, limit := range query.Limits() {
		switch {
		case limit.Ambiguous && limit.Preview:
			l.Warn(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS,
				"A limit of %d rows in Sigma's SQL is taken for Sigma's own preview limit, and lifted; the text alone cannot tell. If the element's author means to have %d rows, choose another number in Sigma, or read with limit_policy KEEP_AMBIGUOUS.", limit.Rows, limit.Rows)
		case limit.Ambiguous:
			l.Warn(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS,
				"A limit of %d rows in Sigma's SQL is taken for the author's own, and kept; the text alone cannot tell. If it is Sigma's preview limit, read with limit_policy LIFT_AMBIGUOUS.", limit.Rows)
		case !limit.Preview && limit.Rows >= 0:
			l.Info(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT,
				"The element's author limits its rows (to %d in one place). That limit is kept.", limit.Rows)
		case !limit.Preview:
			l.Info(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT, "The element's author limits its rows. That limit is kept.")
		}
	}
	if frozen := query.FrozenLiterals(); len(frozen) > 0 {
		l.Info(pb.FindingCode_FINDING_CODE_LITERAL_FROZEN,
			"The element's SQL holds %d dates that Sigma wrote out as constants, as it does with relative dates. They are as of the moment of a read: each read asks Sigma again.", len(frozen))
	}
}

// AddFull adds what becomes of Sigma's preview limits in a read of all rows.
func (l *List) AddFull(query *sigmasql.Query) {
	for _, limit := range query.Limits() {
		if limit.Preview {
			l.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED,
				"Sigma's SQL stops at %d rows. That is Sigma's preview limit, and it was lifted.", limit.Rows)
		}
	}
}

// AddPreview adds what becomes of Sigma's preview limits in a preview of so
// many rows.
func (l *List) AddPreview(query *sigmasql.Query, rows int64) {
	for _, limit := range query.Limits() {
		switch {
		case !limit.Preview:
		case rows > limit.Rows:
			l.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED,
				"Sigma's SQL stops at %d rows. That is Sigma's preview limit, and it was lifted.", limit.Rows)
		case limit.Depth > 0:
			l.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_KEPT,
				"Sigma's SQL looks at %d rows of its tables only. This preview asks for no more than that, so the limit was kept to save warehouse time.", limit.Rows)
		}
	}
}
