package server_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// manyRows is more than the limit of an author's custom SQL.
const manyRows = `create table SHOP.SALES.T (ID number(38,0), NAME text); insert into SHOP.SALES.T select SEQ4(), 'x' from TABLE(GENERATOR(ROWCOUNT => 1500));`

func worldOfRows(t *testing.T, org sigmatest.Organization) *world {
	t.Helper()
	w := newWorld(t, org, snowflaketest.Config{})
	w.fill(manyRows, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	return w
}

// wantCustomSQLUnknown holds a model to the finding in the catalog, where it is scanned, and in a read.
func (w *world) wantCustomSQLUnknown(model string, isScanned bool) {
	w.t.Helper()
	const code = pb.FindingCode_FINDING_CODE_CUSTOM_SQL_UNKNOWN
	if m := w.modelsByName()[model]; isScanned && findingOf(m.GetFindings(), code) == nil {
		w.t.Errorf("the catalog says nothing of unknown custom SQL: %v", m.GetFindings())
	}
	if r := w.mustPreview(&pb.PreviewModelRequest{Name: model}); findingOf(r.stats.GetFindings(), code) == nil {
		w.t.Errorf("a read says nothing of unknown custom SQL: %v", r.stats.GetFindings())
	}
	kept := w.mustPreview(&pb.PreviewModelRequest{Name: model, IncludeTotalRowCount: true, LimitPolicy: pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS})
	if rows := kept.stats.GetTotalRowCount(); rows != 1000 {
		w.t.Errorf("with ambiguous limits kept, a read has %d rows", rows)
	}
}

// A lineage that lacks entries may lack the custom SQL whose limit its author means.
func TestAShortLineageLeavesCustomSQLUnknown(t *testing.T) {
	t.Parallel()
	w := worldOfRows(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{refusedBook{id: "book"}.workbook(false)}})
	w.mustScan(snowflakeName)
	custom := modelName(snowflakeName, "book", "custom")
	w.sigma.SetFaults(sigmatest.CallLineage.On(sigmatest.Answer(`{"entries":[{"type":"element","elementId":"table","dataSourceIds":["x"]}],"total":5,"nextPage":null}`)))
	w.wantCustomSQLUnknown(custom, false)
	w.sigma.ChangeWorkbook("book", func(*sigmatest.Workbook) {})
	w.mustScan(snowflakeName)
	w.wantCustomSQLUnknown(custom, true)
	if m := w.modelsByName()[custom]; m.GetSigmaWarehouse().GetAccount() != snowflakeAccount {
		t.Errorf("the warehouse that the scan before saw is lost: %v", m)
	}
}

const modelID = "3b9aca00-1111-4222-8333-444455556666"

// chained is a workbook that builds on the custom SQL of a data model.
func chained() sigmatest.Organization {
	return sigmatest.Organization{
		DataModels: []sigmatest.DataModel{{ID: modelID, Name: "Model", Elements: []sigmatest.Element{
			{ID: "custom", Name: "Custom", Columns: []sigmatest.Column{{ID: "c2", Label: "Id", Type: "number", Formula: "[Custom SQL/ID]"}}, CustomSQL: refusedCustomSQL, SQL: `select ID "Id" from (` + refusedCustomSQL + `) Q1 limit 1000`},
		}}},
		Workbooks: []sigmatest.Workbook{{ID: "book", Name: "Book", Path: "Team", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{ID: "e", Name: "E", DataModel: modelID, DataModelElement: "custom", Columns: []sigmatest.Column{{ID: "c1", Label: "Id", Type: "number", Formula: "[Custom/Id]"}}, SQL: `select ID "Id" from (select ID from (` + refusedCustomSQL + `) Q1 limit 1000) Q2 limit 1000`},
		}}}}},
	}
}

// A refused lineage shows no data models, so that their custom SQL is unknown, although the sources list the document's own.
func TestARefusedLineageLeavesTheCustomSQLOfDataModelsUnknown(t *testing.T) {
	t.Parallel()
	w := worldOfRows(t, chained())
	w.mustScan(snowflakeName)
	model := modelName(snowflakeName, "book", "e")
	if r := w.mustPreview(&pb.PreviewModelRequest{Name: model, IncludeTotalRowCount: true}); r.stats.GetTotalRowCount() != 1000 {
		t.Errorf("the author's limit in a data model is lost: %d rows", r.stats.GetTotalRowCount())
	}
	w.sigma.ChangeWorkbook("book", func(b *sigmatest.Workbook) {
		b.Failures = map[sigmatest.Call]sigmatest.Failure{sigmatest.CallLineage: {Status: 400, Code: "invalid_request", Message: "no graph"}}
	})
	w.mustScan(snowflakeName)
	w.wantCustomSQLUnknown(model, true)
}

// A workbook keeps its warehouse while Sigma refuses the lineage of the data model below it, and is whole once Sigma
// answers, although neither document has changed.
func TestARefusedDataModelIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := worldOfRows(t, chained())
	w.mustScan(snowflakeName)
	model := modelName(snowflakeName, "book", "e")
	fail := func(failures map[sigmatest.Call]sigmatest.Failure) {
		w.sigma.Change(func(o *sigmatest.Organization) { o.DataModel(modelID).Failures = failures })
	}
	fail(map[sigmatest.Call]sigmatest.Failure{sigmatest.CallLineage: {Status: 500, Code: "internal_error", Message: "failed"}})
	w.sigma.ChangeWorkbook("book", func(*sigmatest.Workbook) {})
	w.scanChanged(snowflakeName)
	m := w.modelsByName()[model]
	if m.GetSigmaWarehouse().GetAccount() != snowflakeAccount || findingOf(m.GetFindings(), pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN).GetMetadata()["sigma_status"] != "500" {
		t.Errorf("while the data model is refused, the model is %v", m)
	}
	fail(nil)
	w.scanChanged(snowflakeName)
	if m := w.modelsByName()[model]; findingOf(m.GetFindings(), pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) != nil || m.GetSigmaWarehouse().GetAccount() != snowflakeAccount {
		t.Errorf("once Sigma answers, the model is %v", m)
	}
}

// columnChanges returns the changes of columns so far.
func (w *world) columnChanges() []string {
	lines, _ := w.changes(snowflakeName, 0)
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "COLUMN_") })
}

// What a short list of columns lacks stays as it was, and a read has the ids as well.
func TestAShortListOfColumnsRemovesNone(t *testing.T) {
	t.Parallel()
	book := refusedBook{id: "book"}.workbook(false)
	table := &book.Pages[0].Elements[0]
	table.Columns = append(table.Columns, sigmatest.Column{ID: "c9", Label: "Name", Formula: "[T/Name]"})
	table.SQL = `select ID "Id", NAME "Name" from SHOP.SALES.T limit 1000`
	w := worldOfRows(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book}})
	model := modelName(snowflakeName, "book", "table")
	w.mustScan(snowflakeName)
	before := w.mustPreview(&pb.PreviewModelRequest{Name: model}).schema.GetFingerprint()
	for _, id := range []string{"", `"c9"`} {
		w.sigma.ChangeWorkbook("book", func(b *sigmatest.Workbook) {
			b.Pages[0].Elements[0].Columns[1].Raw = sigmatest.Raw("columnId", id)
		})
		r := w.mustPreview(&pb.PreviewModelRequest{Name: model, ExpectedFingerprint: before})
		if len(r.stats.GetFindings()) != 0 {
			t.Errorf("a read has the findings %v", r.stats.GetFindings())
		}
		w.mustScan(snowflakeName)
		if c := w.modelsByName()[model].GetColumns(); len(c) != 2 || c[1].GetColumnId() != "c9" {
			t.Errorf("the columns are %v", c)
		}
	}
	if changes := w.columnChanges(); len(changes) != 0 {
		t.Errorf("the changes are %q", changes)
	}
}

// A column that gets its id once Sigma lists the columns is no other column.
func TestColumnsThatGetTheirIDsAreNoChange(t *testing.T) {
	t.Parallel()
	b := refusedBook{id: "book", call: sigmatest.CallColumns, failure: sigmatest.Failure{Status: 403, Code: "forbidden", Message: "no"}}
	w := worldOfRows(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{b.workbook(true)}})
	w.mustScan(snowflakeName)
	w.sigma.Change(func(o *sigmatest.Organization) { o.Workbook("book").Failures = nil })
	w.mustScan(snowflakeName)
	if c := w.modelsByName()[modelName(snowflakeName, "book", "table")].GetColumns(); len(c) != 1 || c[0].GetColumnId() != "c1" {
		t.Errorf("the columns are %v", c)
	}
	if changes := w.columnChanges(); len(changes) != 0 {
		t.Errorf("the changes are %q", changes)
	}
}

// An element that never had a query is not gone because Sigma has none for it.
func TestAShortElementListKeepsElementsWithoutAQuery(t *testing.T) {
	t.Parallel()
	book := refusedBook{id: "book"}.workbook(false)
	book.Pages[0].Elements[0].Refusal = sigmatest.NotPresent
	w := worldOfRows(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book}})
	w.mustScan(snowflakeName)
	w.sigma.ChangeWorkbook("book", func(b *sigmatest.Workbook) { b.Pages[0].Elements[0].Unsent = true })
	w.mustScan(snowflakeName)
	if models := w.models(snowflakeName); len(models) != 2 {
		t.Errorf("%d models of 2", len(models))
	}
}

// An id whose label several columns have does not choose another column of that label.
func TestAnIDOfASharedLabelChoosesNoOtherColumn(t *testing.T) {
	t.Parallel()
	w := worldOfRows(t, sigmatest.Organization{})
	model := w.modelOf(snowflakeName, sigmatest.Element{
		Columns: []sigmatest.Column{{ID: "first", Label: "Name"}, {ID: "second", Label: "Name"}, {ID: "third", Label: "Id"}},
		SQL:     `select 'first' || ID "Name", 'second' || ID "Name (1)", ID "Id" from SHOP.SALES.T limit 1000`,
	})
	for _, id := range []string{"first", "second"} {
		_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Columns: []string{id}})
		wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND)
	}
	for _, name := range []string{"third", "Name (1)", "Name"} {
		w.mustPreview(&pb.PreviewModelRequest{Name: model, Columns: []string{name}})
	}
	key := w.check(&pb.CheckModelRequest{Name: model, KeyColumns: []string{"third"}}).GetKey()
	if key.GetDistinctCount() != 1500 {
		t.Errorf("the key is %v", key)
	}
}

// Sigma's type of a broken column counts for each output with the column's label, whatever suffix tells them apart.
func TestABrokenColumnIsBrokenUnderEachOfItsNames(t *testing.T) {
	t.Parallel()
	w := worldOfRows(t, sigmatest.Organization{})
	model := w.modelOf(snowflakeName, sigmatest.Element{
		Columns: []sigmatest.Column{{ID: "first", Label: "Name", Type: "error"}, {ID: "second", Label: "Name", Type: "error"}, {ID: "third", Label: "Id"}},
		SQL:     `select 'A new message' "Name", 'Another message' "Name (1)", ID "Id" from SHOP.SALES.T limit 1000`,
	})
	for _, name := range []string{"Name", "Name (1)"} {
		_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Columns: []string{name}})
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN)
	}
	w.mustPreview(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}})
}
