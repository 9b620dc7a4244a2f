package query

import (
	"fmt"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// previewFindings tells what a user should know about a preview of so many
// rows. Findings of one code are told once.
func previewFindings(query *sigmasql.Query, rows int64) []*pb.Finding {
	var findings []*pb.Finding
	told := map[pb.FindingCode]bool{}
	add := func(code pb.FindingCode, severity pb.FindingSeverity, format string, args ...any) {
		if told[code] {
			return
		}
		told[code] = true
		findings = append(findings, &pb.Finding{Code: code, Severity: severity, Message: fmt.Sprintf(format, args...)})
	}
	for _, limit := range query.Limits() {
		switch {
		case limit.Preview && limit.Ambiguous:
			add(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS, pb.FindingSeverity_FINDING_SEVERITY_WARNING,
				"A limit of %d rows in Sigma's SQL looks like Sigma's own preview limit and was lifted. If the element's author means to have %d rows, choose another number in Sigma.", limit.Rows, limit.Rows)
		case limit.Preview && rows > limit.Rows:
			add(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED, pb.FindingSeverity_FINDING_SEVERITY_INFO,
				"Sigma's SQL stops at %d rows. That is Sigma's preview limit, and it was lifted.", limit.Rows)
		case limit.Preview && limit.Depth > 0:
			add(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_KEPT, pb.FindingSeverity_FINDING_SEVERITY_INFO,
				"Sigma's SQL looks at %d rows of its tables only. This preview asks for no more than that, so the limit was kept to save warehouse time.", limit.Rows)
		case !limit.Preview && limit.Rows >= 0:
			add(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT, pb.FindingSeverity_FINDING_SEVERITY_INFO,
				"The element's author limits its rows (to %d in one place). That limit was kept.", limit.Rows)
		}
	}
	if frozen := query.FrozenLiterals(); len(frozen) > 0 {
		add(pb.FindingCode_FINDING_CODE_LITERAL_FROZEN, pb.FindingSeverity_FINDING_SEVERITY_INFO,
			"The element filters by dates that Sigma wrote out as constants (%d of them). They are as of this read; the next read asks Sigma again.", len(frozen))
	}
	return findings
}
