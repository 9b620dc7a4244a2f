package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
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

// WarnWith adds a finding that a user should look at, with facts for programs.
func (f *Findings) WarnWith(code pb.FindingCode, facts map[string]string, format string, args ...any) {
	f.add(code, pb.FindingSeverity_FINDING_SEVERITY_WARNING, facts, format, args...)
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

// Refuse returns an error if a finding has a code that the request or the connection refuses. An uncertain limit about
// which the request decides refuses nothing.
func (f *Findings) Refuse(model string, request, connection []pb.FindingCode) error {
	var names, texts []string
	refuser := "connection"
	for _, finding := range f.list {
		isDecided := finding.GetCode() == pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS && finding.GetSeverity() == pb.FindingSeverity_FINDING_SEVERITY_INFO
		byRequest := slices.Contains(request, finding.GetCode())
		if isDecided || !byRequest && !slices.Contains(connection, finding.GetCode()) {
			continue
		}
		if byRequest {
			refuser = "request"
		}
		names, texts = append(names, codeName(finding.GetCode())), append(texts, codeName(finding.GetCode())+": "+finding.GetMessage())
	}
	if len(names) == 0 {
		return nil
	}
	return &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_FINDING_REFUSED, Resource: model,
		Message:  fmt.Sprintf("refuse_findings of the %s refuses the read because of its findings: %s Correct the cause, or remove the code from refuse_findings.", refuser, strings.Join(texts, " ")),
		Metadata: map[string]string{"finding": names[0], "findings": strings.Join(names, ","), "refused_by": refuser},
	}
}

// codeName returns a code as users write it, such as COLUMN_CONSTANT.
func codeName(code pb.FindingCode) string { return strings.TrimPrefix(code.String(), "FINDING_CODE_") }

// addText adds what Sigma's SQL shows about the model, however it is read.
func (f *Findings) addText(e Element, query *sigmasql.Query, o Options) {
	f.addLimits(query.Limits(), o.LimitPolicy)
	frozen := len(query.FrozenLiterals())
	const text = "The element's SQL holds %d dates that Sigma wrote out as constants, as it does with relative dates. "
	switch {
	case frozen == 0:
	case e.AskTime.IsZero():
		f.Info(pb.FindingCode_FINDING_CODE_LITERAL_FROZEN, text+"They are as of the moment of a read: each read fetches the SQL again.", frozen)
	default:
		zone := time.UTC
		if o.TimeZone != nil {
			zone = o.TimeZone
		}
		f.Info(pb.FindingCode_FINDING_CODE_LITERAL_FROZEN, text+"They are as of %s, when Sigma was asked for the SQL: for later dates, start another read.",
			frozen, e.AskTime.In(zone).Format(time.RFC3339))
	}
}

// addLimits adds what is known of the limits in the text: one finding for all that are uncertain, one for the author's. Where
// the request decides about uncertain limits, their finding is an info.
func (f *Findings) addLimits(limits []sigmasql.Limit, policy sigmasql.LimitPolicy) {
	var uncertain []string
	add := func(limit sigmasql.Limit, outcome string) {
		if text := place(limit) + " (" + outcome + ")"; !slices.Contains(uncertain, text) {
			uncertain = append(uncertain, text)
		}
	}
	for _, limit := range limits {
		switch {
		case limit.Ambiguous && limit.Preview:
			add(limit, "lifted")
		case limit.Ambiguous && limit.Liftable:
			add(limit, "kept")
		case limit.Ambiguous:
			add(limit, "kept, since its form cannot be lifted")
		case !limit.Preview && limit.Rows >= 0:
			f.Info(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT,
				"The element's author limits its rows (to %d in one place). That limit is kept.", limit.Rows)
		case !limit.Preview:
			f.Info(pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT, "The element's author limits its rows. That limit is kept.")
		}
	}
	list := strings.Join(uncertain[:min(len(uncertain), maxLimitsInText)], ", ")
	switch {
	case len(uncertain) == 0:
	case policy == sigmasql.Likelier:
		f.Warn(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS,
			"The SQL does not show whether Sigma or the element's author wrote these limits: %s. To decide, set limit_policy to KEEP_AMBIGUOUS or LIFT_AMBIGUOUS (command line: --limit-policy keep or lift).", list)
	default:
		f.Info(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS,
			"The SQL does not show whether Sigma or the element's author wrote these limits, and the request's limit_policy decides: %s.", list)
	}
}

// maxLimitsInText bounds how many kinds of limits one finding names.
const maxLimitsInText = 10

// AddFull adds what becomes of Sigma's preview limits in a read of all rows.
func (f *Findings) AddFull(query *sigmasql.Query) {
	f.addLifted(slices.DeleteFunc(query.Limits(), func(l sigmasql.Limit) bool { return !l.Preview }))
}

// AddPreview adds what becomes of Sigma's preview limits in a preview of at most the given rows.
func (f *Findings) AddPreview(query *sigmasql.Query, rows int64) {
	lifted, kept := query.PreviewLimits(rows)
	f.addLifted(lifted)
	if len(kept) > 0 {
		f.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_KEPT,
			"Sigma's SQL has preview limits: %s. This preview needs no more rows, so the limits are kept to save warehouse time.", places(kept))
	}
}

func (f *Findings) addLifted(limits []sigmasql.Limit) {
	if len(limits) > 0 {
		f.Info(pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED,
			"Sigma's SQL has preview limits: %s. They are lifted, because the read needs more rows.", places(limits))
	}
}

// places names limits by their rows and places, each once.
func places(limits []sigmasql.Limit) string {
	var all []string
	for _, limit := range limits {
		if text := place(limit); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all[:min(len(all), maxLimitsInText)], ", ")
}

func place(limit sigmasql.Limit) string {
	if limit.Depth == 0 {
		return fmt.Sprintf("%d rows around the whole query", limit.Rows)
	}
	return fmt.Sprintf("%d rows inside the query", limit.Rows)
}

// addMissing adds what could not be learned because Sigma refused to list it.
func (f *Findings) addMissing(e Element) {
	switch origin := e.Columns.Origin; {
	case origin == Current || origin == OtherVersion:
	case errors.Is(e.Columns.Err, sigmaclient.ErrVersionNotListed):
		f.Warn(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN,
			"Sigma lists the columns of the newest version only, and another one is read. The columns have no ids, so a renamed column counts as another one, and errors in formulas are recognized by Sigma's messages alone.")
	case origin == LastScan:
		f.WarnOf(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, e.Columns.Err,
			"Sigma does not list the element's columns at present. Names and ids are those of an earlier scan, and errors in formulas are recognized by Sigma's messages alone. If that stays so, ask Sigma's support with the request id.")
	default:
		f.WarnOf(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, e.Columns.Err,
			"Sigma does not list the element's columns. They have no ids, so a renamed column counts as another one, and errors in formulas are recognized by Sigma's messages alone. If that stays so, ask Sigma's support with the request id.")
	}
	if e.CustomSQLErr != nil {
		f.WarnOf(pb.FindingCode_FINDING_CODE_CUSTOM_SQL_UNKNOWN, e.CustomSQLErr,
			"Sigma does not list the custom SQL that the element may build on, so a limit in it may count as Sigma's. To keep a limit that the author may have written, set limit_policy to KEEP_AMBIGUOUS.")
	}
}

func (f *Findings) addBroken(b broken) {
	if len(b.restricted) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_RESTRICTED, pb.FindingSeverity_FINDING_SEVERITY_ERROR, columnsFact(b.restricted),
			"Column-level security hides columns from the owner of the Sigma credential: %s. Give this member access to them in Sigma, or read the other columns by naming them.", QuoteAll(b.restricted))
	}
	if len(b.labels) == 0 && !b.rows {
		return
	}
	const text = "Formulas have errors in Sigma (%s), and Sigma would put its messages into every row. Open the workbook in Sigma and correct them, or read the other columns by naming them."
	where := QuoteAll(b.labels)
	if len(b.labels) == 0 {
		where = "in a column that cannot be told from the text"
	}
	f.add(pb.FindingCode_FINDING_CODE_COLUMN_BROKEN, pb.FindingSeverity_FINDING_SEVERITY_ERROR, columnsFact(b.labels), text, where)
}

func (f *Findings) addConstants(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT, pb.FindingSeverity_FINDING_SEVERITY_WARNING, columnsFact(labels),
			"Columns hold one text in every row, and their formulas are not that constant: %s. The text may be an error message of Sigma's; look at the columns in Sigma.", QuoteAll(labels))
	}
}

func (f *Findings) addUnlisted(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_UNLISTED, pb.FindingSeverity_FINDING_SEVERITY_WARNING, columnsFact(labels),
			"The result has columns that Sigma does not list for the element: %s. They may be hidden there. They are delivered; name the wanted columns in `columns` to leave them out.", QuoteAll(labels))
	}
}

func (f *Findings) addHidden(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_HIDDEN_COLUMN, pb.FindingSeverity_FINDING_SEVERITY_INFO, columnsFact(labels),
			"The result has columns that are hidden in Sigma: formulas of the element name them, and Sigma does not list them: %s. They are delivered; name the wanted columns in `columns` to leave them out.", QuoteAll(labels))
	}
}

func (f *Findings) addNotInSQL(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_NOT_IN_SQL, pb.FindingSeverity_FINDING_SEVERITY_INFO, columnsFact(labels),
			"Sigma lists columns that its SQL does not have: %s. They cannot be read; check in Sigma whether they are hidden or restricted.", QuoteAll(labels))
	}
}

func (f *Findings) addHelpers(labels []string) {
	if len(labels) > 0 {
		f.add(pb.FindingCode_FINDING_CODE_COLUMN_HELPER, pb.FindingSeverity_FINDING_SEVERITY_INFO, columnsFact(labels),
			"Columns that Sigma adds for display were left out: %s.", QuoteAll(labels))
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
