package server_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// peopleSQL is a table the way Sigma writes it.
const peopleSQL = `select ID "Id", NAME "Name", AGE "Age" from (select ID, NAME, AGE from (select * from SHOP.SALES.PEOPLE PEOPLE limit 1000) Q1) Q2 limit 1000`

var peopleColumns = []sigmatest.Column{
	{ID: "col-id", Label: "Id", Type: "number"},
	{ID: "col-name", Label: "Name", Type: "text"},
	{ID: "col-age", Label: "Age", Type: "number"},
}

func newPeopleWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.PEOPLE (ID number(38,0), NAME text, AGE number(38,0));
		insert into SHOP.SALES.PEOPLE values (1, 'Ada', 36), (2, 'Bo', 41), (3, 'Cy', 36)`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	return w
}

// trusted is what a preview brings.
type trusted struct {
	schema     *pb.Schema
	rows       [][]string
	statistics *pb.Statistics
}

func (t trusted) names() []string {
	var names []string
	for _, c := range t.schema.GetColumns() {
		names = append(names, c.GetName())
	}
	return names
}

func (t trusted) hasFinding(code pb.FindingCode) bool {
	return slices.ContainsFunc(t.statistics.GetFindings(), func(f *pb.Finding) bool { return f.GetCode() == code })
}

func (w *world) readTable(request *pb.PreviewModelRequest) (trusted, error) {
	w.t.Helper()
	r, err := w.preview(w.ctx, request)
	if r == nil {
		return trusted{}, err
	}
	got := trusted{schema: r.schema, statistics: r.stats}
	for _, batch := range r.batches {
		for _, row := range batch.GetRows().GetRows() {
			var cells []string
			for _, v := range row.GetValues() {
				cells = append(cells, v.String())
			}
			got.rows = append(got.rows, cells)
		}
	}
	return got, err
}

func (w *world) mustReadTable(request *pb.PreviewModelRequest) trusted {
	w.t.Helper()
	got, err := w.readTable(request)
	w.must(err)
	return got
}

func TestColumnsAreReadByIdOrLabelInTheAskedOrder(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})

	all := w.mustReadTable(&pb.PreviewModelRequest{Name: model})
	if diff := cmp.Diff([]string{"Id", "Name", "Age"}, all.names()); diff != "" {
		t.Errorf("all columns (-want +got):\n%s", diff)
	}
	for i, c := range all.schema.GetColumns() {
		if c.GetColumnId() != peopleColumns[i].ID || c.GetSigmaType() != peopleColumns[i].Type {
			t.Errorf("the column %q has the id %q and the type %q", c.GetName(), c.GetColumnId(), c.GetSigmaType())
		}
	}
	some := w.mustReadTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"Age", "col-id"}})
	if diff := cmp.Diff([]string{"Age", "Id"}, some.names()); diff != "" {
		t.Errorf("the chosen columns (-want +got):\n%s", diff)
	}
	for i, row := range some.rows {
		if diff := cmp.Diff([]string{all.rows[i][2], all.rows[i][0]}, row); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if some.schema.GetFingerprint() == all.schema.GetFingerprint() {
		t.Error("another choice of columns has the same fingerprint")
	}
	_, err := w.readTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id", "Shoe Size"}})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND)
	_, err = w.readTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id", "col-id"}})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
}

func TestAMovedSchemaIsRefusedWithTheDifferences(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql     string
		columns []sigmatest.Column
		want    []string // kind and column
	}{
		"renamed": {
			sql:     `select ID "Id", NAME "Full Name", AGE "Age" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: []sigmatest.Column{peopleColumns[0], {ID: "col-name", Label: "Full Name", Type: "text"}, peopleColumns[2]},
			want:    []string{"SCHEMA_CHANGE_KIND_RENAMED Name Full Name"},
		},
		"retyped": {
			sql:     `select ID "Id", NAME "Name", AGE::text "Age" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: peopleColumns,
			want:    []string{"SCHEMA_CHANGE_KIND_RETYPED integer string"},
		},
		"reordered": {
			sql:     `select NAME "Name", ID "Id", AGE "Age" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: peopleColumns,
			want:    []string{"SCHEMA_CHANGE_KIND_MOVED 2 1", "SCHEMA_CHANGE_KIND_MOVED 1 2"},
		},
		"removed": {
			sql:     `select ID "Id", AGE "Age" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: []sigmatest.Column{peopleColumns[0], peopleColumns[2]},
			want:    []string{"SCHEMA_CHANGE_KIND_REMOVED Name "},
		},
		"added": {
			sql:     `select ID "Id", NAME "Name", AGE "Age", 1 "One" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: append(slices.Clone(peopleColumns), sigmatest.Column{ID: "col-one", Label: "One", Type: "number"}),
			want:    []string{"SCHEMA_CHANGE_KIND_ADDED  One"},
		},
		"two names swapped": {
			sql: `select ID "Id", NAME "Age", AGE "Name" from SHOP.SALES.PEOPLE PEOPLE limit 1000`,
			columns: []sigmatest.Column{peopleColumns[0], {ID: "col-name", Label: "Age", Type: "text"},
				{ID: "col-age", Label: "Name", Type: "number"}},
			want: []string{"SCHEMA_CHANGE_KIND_RENAMED Name Age", "SCHEMA_CHANGE_KIND_RENAMED Age Name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPeopleWorld(t)
			model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
			before := w.mustReadTable(&pb.PreviewModelRequest{Name: model}).schema.GetFingerprint()
			w.mustReadTable(&pb.PreviewModelRequest{Name: model, ExpectedFingerprint: before})

			w.sigma.Change(func(o *sigmatest.Organization) {
				e := &o.Workbook(scratch).Pages[0].Elements[0]
				e.SQL, e.Columns = test.sql, test.columns
			})
			got, err := w.readTable(&pb.PreviewModelRequest{Name: model, ExpectedFingerprint: before})
			wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT)
			if got.schema != nil || got.rows != nil {
				t.Error("a schema or rows came before the refusal")
			}
			if diff := cmp.Diff(test.want, driftOf(t, err)); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func driftOf(t *testing.T, err error) []string {
	t.Helper()
	var changes []string
	for _, detail := range status.Convert(err).Details() {
		if drift, ok := detail.(*pb.SchemaDrift); ok {
			for _, c := range drift.GetChanges() {
				changes = append(changes, c.GetKind().String()+" "+c.GetFrom()+" "+c.GetTo())
			}
			return changes
		}
	}
	t.Fatalf("no SchemaDrift among the details of %v", err)
	return nil
}

func TestABrokenModelIsReadWithoutItsBrokenColumnsOnly(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	broken := `select ID "Id", V_12 "Age" from (select ID, 'Unknown column "[Birthday]"' V_12 from (select * from SHOP.SALES.PEOPLE PEOPLE limit 1000) Q1) Q2 limit 1000`
	for name, columns := range map[string][]sigmatest.Column{
		"by Sigma's type":    {peopleColumns[0], {ID: "col-age", Label: "Age", Type: "error"}},
		"by the text itself": {peopleColumns[0], peopleColumns[2]},
	} {
		model := w.modelOf(snowflakeName, sigmatest.Element{SQL: broken, Columns: columns})
		_, err := w.readTable(&pb.PreviewModelRequest{Name: model})
		if metadata := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN); metadata["columns"] != `"Age"` {
			t.Errorf("%s: the refusal names %q", name, metadata["columns"])
		}
		_, err = w.readTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"col-age"}})
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN)
		got := w.mustReadTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}})
		if len(got.rows) != 3 || !got.hasFinding(pb.FindingCode_FINDING_CODE_COLUMN_LEFT_OUT) {
			t.Errorf("%s: without the broken column came %d rows and %v", name, len(got.rows), got.statistics.GetFindings())
		}
	}
}

func TestHelperColumnsAreDropped(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.model(snowflakeName, `select ID "Id", iff(AGE > 40, 1, 0) "__cond_1" from SHOP.SALES.PEOPLE PEOPLE limit 1000`)
	for _, format := range []pb.DataFormat{pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW} {
		got := w.mustReadTable(&pb.PreviewModelRequest{Name: model, Format: format})
		if diff := cmp.Diff([]string{"Id"}, got.names()); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", format, diff)
		}
		for _, row := range got.rows {
			if len(row) != 1 {
				t.Errorf("a row has %d values", len(row))
			}
		}
	}
}

func TestSQLThatChangedSinceTheScanIsAFinding(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	w.mustScan(snowflakeName)
	if w.mustReadTable(&pb.PreviewModelRequest{Name: model}).hasFinding(pb.FindingCode_FINDING_CODE_SQL_CHANGED) {
		t.Error("another comment counts as a change")
	}
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook(scratch).Pages[0].Elements[0].SQL = peopleSQL[:len(peopleSQL)-len("limit 1000")] + "where AGE > 36 limit 1000"
	})
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: model}); !got.hasFinding(pb.FindingCode_FINDING_CODE_SQL_CHANGED) || len(got.rows) != 1 {
		t.Errorf("%d rows and %v", len(got.rows), got.statistics.GetFindings())
	}
}

func TestAnElementOfAnotherWarehouseIsRefused(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Connections = append(o.Connections,
			sigmatest.Connection{ID: "elsewhere", Name: "Elsewhere", Account: "OTHER-ACCOUNT"},
			sigmatest.Connection{ID: "bigquery", Name: "BigQuery", Type: "bigQuery"})
	})
	same := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	w.mustScan(snowflakeName)
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: same}); got.hasFinding(pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) {
		t.Error("the element's own account counts as unknown")
	}
	for _, connection := range []string{"elsewhere", "bigquery"} {
		other := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns, Connection: connection})
		w.mustScan(snowflakeName)
		_, err := w.readTable(&pb.PreviewModelRequest{Name: other})
		if metadata := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_MISMATCH); metadata["sigma_connection_id"] != connection {
			t.Errorf("the refusal names %v", metadata)
		}
	}
}

// TestAnAccountIsKnownByBothItsNames: what two texts cannot tell, the account
// itself tells.
func TestAnAccountIsKnownByBothItsNames(t *testing.T) {
	t.Parallel()
	for sigmas, want := range map[string]pb.WarehouseMatchOutcome{
		"lc12345":           pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME,
		"LC12345.us-east-1": pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME,
		"xy54321":           pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_DIFFERENT,
		"acme_shop":         pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME,
	} {
		w := newWorld(t, sigmatest.Organization{Connections: []sigmatest.Connection{{Name: "Shop", Account: sigmas}}}, snowflaketest.Config{Locator: "LC12345"})
		w.fill(`create table SHOP.SALES.PEOPLE (ID number(38,0), NAME text, AGE number(38,0))`, ``)
		w.create(snowflakeName, w.snowflakeConnection())
		model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
		if got := w.check(&pb.CheckModelRequest{Name: model}).GetWarehouseMatch(); got.GetOutcome() != want {
			t.Errorf("Sigma's account %q: %v", sigmas, got)
		}
	}
}

// TestTheWarehouseOfCustomSQLIsFound: its lineage has no id, so its text tells.
func TestTheWarehouseOfCustomSQLIsFound(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.modelOf(snowflakeName, sigmatest.Element{Columns: peopleColumns, CustomSQL: "select * from SHOP.SALES.PEOPLE limit 1000",
		SQL: `select ID "Id" from (select * from SHOP.SALES.PEOPLE limit 1000) Q1 limit 1000`})
	answer := w.check(&pb.CheckModelRequest{Name: model})
	if answer.GetWarehouseMatch().GetOutcome() != pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME {
		t.Errorf("got %v", answer.GetWarehouseMatch())
	}
}

func TestAModelTellsTheWarehousesTypes(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	w.mustScan(snowflakeName)
	types := func() (all []string) {
		answer, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: model})
		w.must(err)
		for _, c := range answer.GetModel().GetColumns() {
			all = append(all, c.GetWarehouseType())
		}
		return all
	}
	if diff := cmp.Diff([]string{"", "", ""}, types()); diff != "" {
		t.Errorf("before any read (-want +got):\n%s", diff)
	}
	w.check(&pb.CheckModelRequest{Name: model})
	w.mustReadTable(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}})
	if diff := cmp.Diff([]string{"NUMBER(38,0)", "VARCHAR(16777216)", "NUMBER(38,0)"}, types()); diff != "" {
		t.Errorf("after a check (-want +got):\n%s", diff)
	}
}

func TestDataModelsAreModelsToo(t *testing.T) {
	t.Parallel()
	const dataModelID = "3b9aca00-1111-4222-8333-444455556666"
	w := newPeopleWorld(t)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.DataModels = append(o.DataModels, sigmatest.DataModel{ID: dataModelID, Name: "People model", Path: "Models",
			Elements: []sigmatest.Element{{ID: "people", Name: "People", SQL: peopleSQL, Columns: peopleColumns}}})
	})
	name := modelName(snowflakeName, dataModelID, "people")
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: name}); len(got.rows) != 3 {
		t.Errorf("before any scan came %d rows", len(got.rows))
	}
	onTop := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns, DataModel: dataModelID})
	w.mustScan(snowflakeName)
	answer, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: name})
	w.must(err)
	if m := answer.GetModel(); m.GetDocumentKind() != pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL || m.GetState() != pb.ModelState_MODEL_STATE_READY ||
		m.GetColumnCount() != 3 || m.GetSigmaWarehouse().GetAccount() != snowflakeAccount {
		t.Errorf("the data model's element is cataloged as %v", m)
	}
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: name}); len(got.rows) != 3 || got.schema.GetColumns()[1].GetColumnId() != "col-name" {
		t.Errorf("%d rows of the columns %v", len(got.rows), got.schema)
	}
	// An element on a data model reads from the data model's warehouse.
	answer, err = w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: onTop})
	w.must(err)
	if got := answer.GetModel().GetSigmaWarehouse().GetAccount(); got != snowflakeAccount {
		t.Errorf("the element on the data model reads from %q", got)
	}
}

func TestAPinnedConnectionReadsTheTaggedVersion(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	tagged := []sigmatest.Page{{Elements: []sigmatest.Element{{ID: "people", Name: "People", Columns: peopleColumns,
		SQL: `select ID "Id", NAME "Name", AGE "Age" from SHOP.SALES.PEOPLE PEOPLE where AGE > 40 limit 1000`}}}}
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbooks = append(o.Workbooks,
			sigmatest.Workbook{ID: "tagged", Name: "Tagged", Tags: []string{"Production"}, Versions: map[string][]sigmatest.Page{"Production": tagged},
				Pages: []sigmatest.Page{{Elements: []sigmatest.Element{{ID: "people", Name: "People", Columns: peopleColumns, SQL: peopleSQL}}}}},
			sigmatest.Workbook{ID: "untagged", Name: "Untagged",
				Pages: []sigmatest.Page{{Elements: []sigmatest.Element{{ID: "people", Columns: peopleColumns, SQL: peopleSQL}}}}})
	})
	w.mustScan(snowflakeName)
	if got := len(w.models(snowflakeName)); got != 2 {
		t.Fatalf("%d models before the pin", got)
	}
	model := modelName(snowflakeName, "tagged", "people")
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: model}); len(got.rows) != 3 {
		t.Errorf("%d rows of the newest version", len(got.rows))
	}
	_, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: snowflakeName, VersionTag: "Production"}})
	w.must(err)
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: model}); len(got.rows) != 1 {
		t.Errorf("%d rows of the tagged version", len(got.rows))
	}
	w.mustScan(snowflakeName)
	if got := w.models(snowflakeName); len(got) != 1 || got[0].GetName() != model {
		t.Errorf("models of the pinned connection: %v", got)
	}
}

func TestTheCallerDecidesAboutAmbiguousLimits(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.must(w.snowflake.Exec(w.ctx, `create table SHOP.SALES.MANY (ID number(38,0))`))
	_, err := w.snowflake.DB().ExecContext(w.ctx, `insert into SHOP.SALES.MANY select i from range(500) t(i)`)
	w.must(err)
	model := w.model(snowflakeName, `select ID "Id" from (select * from SHOP.SALES.MANY MANY limit 200) Q1`)
	for policy, want := range map[pb.LimitPolicy]int{
		pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED:    200,
		pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS: 200,
		pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS: 500,
	} {
		got := w.mustReadTable(&pb.PreviewModelRequest{Name: model, RowLimit: 1000, LimitPolicy: policy})
		if len(got.rows) != want || !got.hasFinding(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS) {
			t.Errorf("%s: %d rows instead of %d, findings %v", policy, len(got.rows), want, got.statistics.GetFindings())
		}
	}
}
