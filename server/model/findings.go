package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// Findings are what a user should know about a model or a read. Each code occurs at most once. The zero value is empty. It
// is not safe for concurrent use.
type Findings struct {
	list []*pb.Finding
}

// All returns the findings in the order in which they were added. The caller must not change them.
func (f *Findings) All() []*pb.Finding { return slices.Clip(f.list) }

// Merge adds the findings of another list whose codes are not in this one.
func (f *Findings) Merge(other *Findings) {
	for _, finding := range other.list {
		if !f.has(finding.GetCode()) {
			f.list = append(f.list, finding)
		}
	}
}

// Info adds a finding that is good to know.
func (f *Findings) Info(code pb.FindingCode, format string, args ...any) {
	f.add(code, pb.FindingSeverity_FINDING_SEVERITY_INFO, nil, format, args...)
}

// Warn adds a finding that a user should look at.
func (f *Findings) Warn(code pb.FindingCode, format string, args ...any) {
	f.add(code, pb.FindingSeverity_FINDING_SEVERITY_WARNING, nil, format, args...)
}

// WarnOf adds a finding that a user should look at, with the facts of the error that is its cause.
func (f *Findings) WarnOf(code pb.FindingCode, cause error, format string, args ...any) {
	f.add(code, pb.FindingSeverity_FINDING_SEVERITY_WARNING, sigmaFacts(cause), format, args...)
}

func (f *Findings) add(code pb.FindingCode, severity pb.FindingSeverity, facts map[string]string, format string, args ...any) {
	if f.has(code) {
		return
	}
	f.list = append(f.list, &pb.Finding{Code: code, Severity: severity, Message: fmt.Sprintf(format, args...), Metadata: facts})
}

func (f *Findings) has(code pb.FindingCode) bool {
	return slices.ContainsFunc(f.list, func(finding *pb.Finding) bool { return finding.GetCode() == code })
}

// sigmaFacts returns Sigma's facts of an error, without those that are unknown.
func sigmaFacts(err error) map[string]string {
	if err == nil {
		return nil
	}
	facts := maps.Clone(errmap.Explained(err).Metadata)
	maps.DeleteFunc(facts, func(key, value string) bool { return value == "" || !strings.HasPrefix(key, "sigma_") })
	return facts
}

// Refuse returns an error if a finding has one of the codes.
func (f *Findings) Refuse(model string, codes ...[]pb.FindingCode) error {
	var refused []string
	var messages []string
	for _, finding := range f.list {
		for _, list := range codes {
			if slices.Contains(list, finding.GetCode()) && !slices.Contains(refused, codeName(finding.GetCode())) {
				refused = append(refused, codeName(finding.GetCode()))
				messages = append(messages, finding.GetMessage())
			}
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_FINDING_REFUSED, Resource: model,
		Message:  fmt.Sprintf("the read has the finding %s, which the request or the connection refuses: %s", strings.Join(refused, ", "), messages[0]),
		Metadata: map[string]string{"finding": refused[0], "findings": strings.Join(refused, ",")},
	}
}

// codeName returns a code as users write it, such as COLUMN_CONSTANT.
func codeName(code pb.FindingCode) string { return strings.TrimPrefix(code.String(), "FINDING_CODE_") }

// addText adds what Sigma's SQL shows about the model, however it is read.
func (f *Findings) addText(query *sigmasql.Query) {
	f.addLimits(query.Limits())
	if frozen := query.FrozenLiterals(); len(frozen) > 0 {
		f.Info(pb.FindingCode_FINDING_CODE_LITERAL_FROZEN,
			"The element's SQL holds %d dates that Sigma wrote out as constants, as it does with relative dates. They are as of the moment of a read: each read fetches the SQL again.", len(frozen))
	}
}

// maxLimitTexts bounds how many different limits one finding describes.
const maxLimitTexts = 5

// addLimits adds what is known of the limits in Sigma's SQL. A finding describes all limits that have its code.
func (f *Findings) addLimits(limits []sigmasql.Limit) {
	var ambiguous, author []string
	add := func(texts *[]string, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if len(*texts) <= maxLimitTexts && !slices.Contains(*texts, text) {
			*texts = append(*texts, text)
		}
	}
	for _, limit := range limits {
		switch {
		case limit.Ambiguous && limit.Preview:
			add(&ambiguous, "A limit of %d rows in Sigma's SQL counts as Sigma's own preview limit and is lifted; the text alone does not show whose it is. If the element's author means to have %d rows, read with limit_policy KEEP_AMBIGUOUS.", limit.Rows, limit.Rows)
		case limit.Ambiguous && limit.Liftable:
			add(&ambiguous, "A limit of %d rows in Sigma's SQL counts as the author's own and is kept; the text alone does not show whose it is. If it is Sigma's preview limit, read with limit_policy LIFT_AMBIGUOUS.", limit.Rows)
		case limit.Ambiguous:
			add(&ambiguous, "Sigma's SQL bounds its rows (to %d in one place) in a form that cannot be lifted. The bound is kept; compare the number of rows with Sigma's.", limit.Rows)
		case !limit.Preview && limit.Rows >= 0:
			add(&author, "The element's author limits its rows (to %d in one place). That limit is kept.", limit.Rows)
		case !limit.Preview:
			add(&author, "The element's author limits its rows. That limit is kept.")
		}
	}
	if len(ambiguous) > 0 {
		f.Warn(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS, "%s", joinTexts(ambiguous))
	}
	if len(author) > 0 {
		f.Info(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT, "%s", joinTexts(author))
	}
}

func joinTexts(texts []string) string {
	if len(texts) > maxLimitTexts {
		return strings.Join(texts[:maxLimitTexts], " ") + " There are further limits."
	}
	return strings.Join(texts, " ")
}

// AddFull adds what becomes of Sigma's preview limits in a read of all rows.
func (f *Findings) AddFull(query *sigmasql.Query) {
	for _, limit := range query.Limits() {
		if limit.Preview {
			f.addLifted(limit)
		}
	}
}

// AddPreview adds what becomes of Sigma's preview limits in a preview of at most the given rows.
func (f *Findings) AddPreview(query *sigmasql.Query, rows int64) {
	for _, limit := range query.Limits() {
		switch {
		case !limit.Preview:
		case rows > limit.Rows:
			f.addLifted(limit)
		case limit.Depth > 0:
			f.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_KEPT,
				"Sigma's SQL looks at %d rows of its tables only. This preview needs no more than that, so the limit was kept to save warehouse time.", limit.Rows)
		}
	}
}

func (f *Findings) addLifted(limit sigmasql.Limit) {
	f.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED,
		"Sigma's SQL stops at %d rows. That is Sigma's preview limit, and it was lifted.", limit.Rows)
}

// addMissing adds what could not be learned because Sigma refused to list it.
func (f *Findings) addMissing(e Element) {
	switch origin := e.Columns.Origin; {
	case origin == Current || origin == OtherVersion:
	case origin == LastScan:
		f.WarnOf(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, e.Columns.Err,
			"Sigma does not list the element's columns at present. Names and ids are those of an earlier scan, and errors in formulas are recognized by Sigma's messages alone.")
	default:
		f.WarnOf(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, e.Columns.Err,
			"Sigma does not list the element's columns. They have no ids, so a renamed column counts as another one, and errors in formulas are recognized by Sigma's messages alone.")
	}
	if e.CustomSQLErr != nil {
		f.WarnOf(pb.FindingCode_FINDING_CODE_CUSTOM_SQL_UNKNOWN, e.CustomSQLErr,
			"Sigma does not list the custom SQL that the element may build on, so a limit in it may count as Sigma's. If rows matter that the author cut off, read with limit_policy KEEP_AMBIGUOUS.")
	}
}

func (f *Findings) addBroken(b broken) {
	const text = "Formulas have errors in Sigma (%s), and Sigma would put its messages into every row. Open the workbook in Sigma and mend them, or read the other columns by naming them."
	where := QuoteAll(b.labels)
	if len(b.labels) == 0 {
		where = "in a column that cannot be told from the text"
	}
	f.add(pb.FindingCode_FINDING_CODE_COLUMN_BROKEN, pb.FindingSeverity_FINDING_SEVERITY_ERROR, columnsFact(b.labels), text, where)
}

func (f *Findings) addConstants(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT, pb.FindingSeverity_FINDING_SEVERITY_WARNING, columnsFact(labels),
			"Columns hold one text in every row, and their formulas do not say so: %s. The text may be an error message of Sigma's; look at the columns in Sigma.", QuoteAll(labels))
	}
}

func (f *Findings) addUnlisted(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_UNLISTED, pb.FindingSeverity_FINDING_SEVERITY_WARNING, columnsFact(labels),
			"The result has columns that Sigma does not list for the element: %s. They are delivered; name the wanted columns in `columns` to leave them out.", QuoteAll(labels))
	}
}

func (f *Findings) addNotInSQL(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_NOT_IN_SQL, pb.FindingSeverity_FINDING_SEVERITY_INFO, columnsFact(labels),
			"Sigma lists columns that its SQL does not have: %s. They may be hidden or restricted.", QuoteAll(labels))
	}
}

func (f *Findings) addHelpers(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_HELPER, pb.FindingSeverity_FINDING_SEVERITY_INFO, columnsFact(labels),
			"Columns that Sigma adds for its own screen were left out: %s.", QuoteAll(labels))
	}
}

func columnsFact(labels []string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	return map[string]string{"columns": QuoteAll(labels)}
}

// UnknownWarehouse adds that Sigma does not show which warehouse the element reads from. The cause is nil where Sigma
// refused nothing.
func (f *Findings) UnknownWarehouse(cause error, message string) {
	f.WarnOf(pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN, cause, "%s", message)
}
