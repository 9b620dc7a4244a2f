package model_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// columns returns the columns that Sigma lists at present, each given as "Label=formula".
func columns(specs ...string) model.Columns {
	c := model.Columns{Origin: model.Current}
	for i, spec := range specs {
		label, formula, _ := strings.Cut(spec, "=")
		c.List = append(c.List, sigmaclient.Column{ColumnID: fmt.Sprintf("id%d", i), Label: label, Formula: formula, Type: "text"})
	}
	return c
}

func assess(sql string, c model.Columns, custom ...string) *model.Model {
	return model.Assess(model.Element{Name: "m", Query: sigmaclient.Query{SQL: sql}, Columns: c, CustomSQL: custom}, model.Options{})
}

// codes returns the codes of a model's findings, as the catalog stores them, without those about limits.
func codes(m *model.Model) []string {
	_, findings, _ := m.CatalogState()
	list := []string{}
	for _, f := range findings {
		if name := strings.TrimPrefix(f.GetCode().String(), "FINDING_CODE_"); !strings.Contains(name, "LIMIT") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// A constant is the author's, broken or unexplained, by the formula of its column and by its form.
func TestConstantsAreJudgedByTheirFormulas(t *testing.T) {
	const (
		message = `Unknown column "[X]"`
		other   = `A new kind of message`
	)
	none := []string{}
	for _, test := range []struct {
		name, constant, formula string
		want                    []string
	}{
		{"message in the place of a formula", message, "[X] + 1", []string{"COLUMN_BROKEN"}},
		{"message in the place of a reference", message, "[X]", []string{"COLUMN_BROKEN"}},
		{"message in the place of a call", "Max expected 1 argument, got 2", "Max(1, 2)", []string{"COLUMN_BROKEN"}},
		{"literal that reads like a message", message, `"Unknown column ""[X]"""`, none},
		{"literal with backslashes", message, `"Unknown column \"[X]\""`, none},
		{"concatenated literals", "Incomplete formula.", `"Incomplete " & "formula."`, none},
		{"literal within a call", "Incomplete formula.", `If([A], "Incomplete formula.", "Incomplete formula.")`, []string{"COLUMN_CONSTANT"}},
		{"context function", "ana", `CurrentUserFirstName()`, []string{"ROWS_OF_OWNER"}},
		{"today", "2026-01-01", `Text(Today())`, none},
		{"message without a formula", message, "", []string{"COLUMN_BROKEN"}},
		{"other text without a formula", other, "", none},
		{"unknown message", other, "Foo([A])", []string{"COLUMN_CONSTANT"}},
		{"constant by reference", other, "[Control]", none},
		{"reference to a literal of this element", message, "[Note]", none},
		{"reference to a broken column of this element", message, "[Due]", []string{"COLUMN_BROKEN"}},
		{"formula that cannot be read", message, `"no end`, []string{"COLUMN_BROKEN"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			quoted := strings.ReplaceAll(test.constant, "'", "''")
			sql := `select ID "Id", V_3 "Col" from (select ID, '` + quoted + `'::text V_3 from DB.S.T T limit 1000) Q1 limit 1000`
			list := columns("Id=[T/ID]", "Col="+test.formula, `Note="Unknown column ""[X]"""`, "Due=[X] * 2")
			got := slices.DeleteFunc(codes(assess(sql, list)), func(c string) bool { return c == "COLUMN_NOT_IN_SQL" })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// Formulas of another version say nothing about the text: its forms alone decide, and a type "error" is that version's.
func TestFormulasOfAnotherVersionDoNotCount(t *testing.T) {
	list := columns(`Col="Incomplete formula."`)
	list.List[0].Type = "error"
	list.Origin = model.OtherVersion
	if got := codes(assess(`select 'Incomplete formula.' "Col" from DB.S.T limit 1000`, list)); !slices.Contains(got, "COLUMN_BROKEN") {
		t.Errorf("a message counts as the author's: %v", got)
	}
	if got := codes(assess(`select A "Col" from DB.S.T limit 1000`, list)); slices.Contains(got, "COLUMN_BROKEN") {
		t.Errorf("a column is broken by another version's type: %v", got)
	}
	list.Origin = model.Current
	if got := codes(assess(`select A "Col" from DB.S.T limit 1000`, list)); !slices.Contains(got, "COLUMN_BROKEN") {
		t.Errorf("a column of the type error is not broken: %v", got)
	}
}

func TestBrokenColumnsCanBeLeftOut(t *testing.T) {
	const sql = `select ID "Id", 'Unknown function F' "Bad" from DB.S.T limit 1000`
	m := assess(sql, columns("Id=[T/ID]", "Bad=F([A])"))
	if err := m.RequireUnbroken([]string{"Id"}); err != nil {
		t.Errorf("the other column is refused: %v", err)
	}
	var refused *errmap.Error
	if err := m.RequireUnbroken(nil); !errors.As(err, &refused) || refused.Reason != pb.ErrorReason_ERROR_REASON_MODEL_BROKEN || refused.Metadata["columns"] != `"Bad"` {
		t.Errorf("the whole is refused with %v", err)
	}
	// A message that decides about rows cannot be left out.
	const filter = `select ID "Id" from (select ID, 'Unknown function F' V_1 from DB.S.T) Q1 where V_1 = 'a' limit 1000`
	if err := assess(filter, columns("Id=[T/ID]")).RequireUnbroken([]string{"Id"}); err == nil {
		t.Error("a filter by a message is read")
	}
}

func TestOutputsAreComparedWithSigmasList(t *testing.T) {
	known := columns("Id=[T/ID]", "Amount=[T/AMOUNT]")
	known.List[0].ColumnID, known.List[1].ColumnID = "inode-2Xq7bUsvWPBqlAQGRHEfC0/ID", "aB3dE5gH7j"
	unknown := model.Columns{}
	for _, test := range []struct {
		label string
		list  model.Columns
		want  string // helper, listed or unlisted
	}{
		{"Id", known, "listed"},
		{"Id (1)", known, "listed"},
		{"Amount (ORDERS)", known, "listed"},
		{"Amount (Grand Total)", known, "listed"},
		{"Amount (ORDERS) (1)", known, "listed"},
		{"(1)", known, "unlisted"},
		{"Other (1)", known, "unlisted"},
		{"__cond_x", known, "helper"},
		{"sort-aB3dE5gH7j-0", known, "helper"},
		{"sort-aB3dE5gH7j", known, "helper"},
		{"sort-inode-2Xq7bUsvWPBqlAQGRHEfC0/SEL-0", known, "helper"},
		{"sort-AbCdEfGhIj-12", known, "helper"}, // of a column that is not shown
		{"aB3dE5gH7j-min", known, "helper"},
		{"aB3dE5gH7j-max", known, "helper"},
		{"inode-2Xq7bUsvWPBqlAQGRHEfC0/ID-max", known, "helper"},
		{"xY9dE5gH7j-min", known, "unlisted"},
		{"price-min", known, "unlisted"},
		{"sort-descending", known, "unlisted"},
		{"sort-Descending", known, "unlisted"},
		{"sort-1", known, "unlisted"},
		{"__cond_x", unknown, "helper"},
		{"aB3dE5gH7j-min", unknown, "helper"},
		{"inode-2Xq7bUsvWPBqlAQGRHEfC0/ID-max", unknown, "helper"},
		{"price-min", unknown, "listed"},
		{"OrderTotal-min", unknown, "listed"},
		{"2024-totals-max", unknown, "listed"},
	} {
		m := assess(`select 1 "Id", 2 "Amount" limit 1000`, test.list)
		got := "listed"
		labels := []string{"Id", "Amount", test.label}
		m.CompareOutputs(labels)
		if m.Helpers(labels)[2] {
			got = "helper"
		}
		for _, f := range m.Findings.All() {
			if f.GetCode() == pb.FindingCode_FINDING_CODE_COLUMN_UNLISTED {
				got = "unlisted"
			}
		}
		if got != test.want {
			t.Errorf("%q (list known: %v) is %s, want %s", test.label, test.list.Origin == model.Current, got, test.want)
		}
	}
}

// An author's column keeps its place whatever it is called, as long as Sigma lists it.
func TestListedColumnsAreNeverHelpers(t *testing.T) {
	labels := []string{"__cond_mine", "sort-aB3dE5gH7j-0", "price-min", "aB3dE5gH7j-max", "a (1)"}
	m := assess(`select 1 "x" limit 1000`, columns(labels...))
	if got := m.Helpers(labels); slices.Contains(got, true) {
		t.Errorf("left out: %v of %v", got, labels)
	}
}

func TestStateAndReasonAreThoseOfTheAnswer(t *testing.T) {
	refusal := func(kind sigmaclient.Kind, status int) error {
		return fmt.Errorf("ask: %w", &sigmaclient.Error{Kind: kind, Status: status, Call: "GET /v2/workbooks/{}/elements/{}/query", Code: "c", RequestID: "r"})
	}
	for _, test := range []struct {
		name     string
		err      error
		isListed bool
		state    pb.ModelState
		reason   pb.ErrorReason
		not      string // what the text must not speak of
	}{
		{"403", refusal(sigmaclient.KindForbidden, 403), true, pb.ModelState_MODEL_STATE_FORBIDDEN, pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN, "texts"},
		{"404 of a table", refusal(sigmaclient.KindNotFound, 404), true, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, "gone"},
		{"410 of a table", refusal(sigmaclient.KindInvalidRequest, 410), true, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, "texts"},
		{"400 of a table", refusal(sigmaclient.KindInvalidRequest, 400), true, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "texts"},
		{"422 of a table", refusal(sigmaclient.KindInvalidRequest, 422), true, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "texts"},
		{"451 of a table", refusal(sigmaclient.KindInvalidRequest, 451), true, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "texts"},
		{"400 of what is not listed", refusal(sigmaclient.KindInvalidRequest, 400), false, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, "gone"},
		{"404 of what is not listed", refusal(sigmaclient.KindNotFound, 404), false, pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_MODEL_GONE, "lists"},
		{"409", refusal(sigmaclient.KindArchived, 409), true, pb.ModelState_MODEL_STATE_ARCHIVED, pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED, "texts"},
		{"broken", refusal(sigmaclient.KindBroken, 400), true, pb.ModelState_MODEL_STATE_BROKEN, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, "texts"},
	} {
		m := model.Assess(model.Element{Name: "m", IsListed: test.isListed, QueryErr: test.err}, model.Options{})
		problem := errmap.Explained(m.Problem())
		if m.State != test.state || problem.Reason != test.reason || strings.Contains(problem.Message, test.not) {
			t.Errorf("%s: %s, %s: %s", test.name, m.State, problem.Reason, problem.Message)
		}
		if problem.Metadata["sigma_code"] != "c" || problem.Metadata["sigma_request_id"] != "r" || problem.Resource != "m" {
			t.Errorf("%s: the facts are %v of %q", test.name, problem.Metadata, problem.Resource)
		}
	}
}

// Custom SQL decides in the catalog as it does in a read: its limits and constants are the author's.
func TestCustomSQLIsTheAuthors(t *testing.T) {
	const custom = `select A, 'Incomplete formula.' NOTE from T limit 1000`
	const sql = `select A "A", NOTE "Note" from (` + custom + `) Q1 limit 1000`
	list := columns("A=[Custom SQL/A]", "Note=[Custom SQL/NOTE]")
	m := assess(sql, list, custom)
	if state, findings, problem := m.CatalogState(); state != pb.ModelState_MODEL_STATE_READY {
		t.Errorf("%s: %v, %v", state, problem, findings)
	}
	if full := m.Query.Full(); !strings.Contains(full, custom) {
		t.Errorf("the author's limit is lifted: %s", full)
	}
	// Where the definitions are unknown, the limit is uncertain, and the finding says what was refused.
	refused := model.Element{
		Name: "m", Query: sigmaclient.Query{SQL: `select A "A" from (select A from T limit 1000) Q1 limit 1000`}, Columns: columns("A=[A]"),
		CustomSQLErr: &sigmaclient.Error{Kind: sigmaclient.KindForbidden, Status: 403, Code: "forbidden", RequestID: "r1", Call: "GET /v2/workbooks/{}/sources"},
	}
	for policy, want := range map[sigmasql.LimitPolicy]bool{sigmasql.Likelier: false, sigmasql.KeepAmbiguous: true, sigmasql.LiftAmbiguous: false} {
		m := model.Assess(refused, model.Options{LimitPolicy: policy})
		if got := strings.Contains(m.Query.Full(), "limit 1000"); got != want {
			t.Errorf("policy %d keeps the limit: %v", policy, got)
		}
		if !m.DependsOnCustomSQL() && !want {
			t.Error("a lifted inner limit does not depend on custom SQL")
		}
		var facts map[string]string
		for _, f := range m.Findings.All() {
			if f.GetCode() == pb.FindingCode_FINDING_CODE_CUSTOM_SQL_UNKNOWN {
				facts = f.GetMetadata()
			}
		}
		if facts["sigma_status"] != "403" || facts["sigma_code"] != "forbidden" || facts["sigma_request_id"] != "r1" {
			t.Errorf("the finding's facts are %v", facts)
		}
	}
}

func TestFindingsRefuseAReadByTheirCodes(t *testing.T) {
	m := assess(`select A "A", 'x' "B" from T limit 7`, columns("A=[A]", "B=Foo([A])"))
	if err := m.Findings.Refuse("m", nil, []pb.FindingCode{pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE}); err != nil {
		t.Errorf("refused without a finding: %v", err)
	}
	err := m.Findings.Refuse("m", []pb.FindingCode{pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT}, []pb.FindingCode{pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS})
	var refused *errmap.Error
	if !errors.As(err, &refused) || refused.Reason != pb.ErrorReason_ERROR_REASON_FINDING_REFUSED || refused.Metadata["findings"] != "LIMIT_AMBIGUOUS,COLUMN_CONSTANT" {
		t.Errorf("refused with %v", err)
	}
}

// Findings of one code describe all limits that have it.
func TestAFindingDescribesAllLimits(t *testing.T) {
	t.Parallel()
	m := model.Assess(model.Element{Query: sigmaclient.Query{SQL: `select ID "Id" from (select ID from D.S.T limit 500) Q1 limit 100001`}}, model.Options{})
	var text string
	for _, f := range m.Findings.All() {
		if f.GetCode() == pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS {
			text += f.GetMessage()
		}
	}
	if !strings.Contains(text, "500 rows inside the query (kept)") || !strings.Contains(text, "100001 rows around the whole query (lifted)") {
		t.Errorf("the finding is %q", text)
	}
}
