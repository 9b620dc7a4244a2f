package server_test

import (
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// The limit of custom SQL is the author's wherever the custom SQL is: in the workbook, in a data model, and in a data model
// below that. The catalog and reads agree.
func TestTheLimitOfCustomSQLIsKept(t *testing.T) {
	t.Parallel()
	const custom = "select ID, 'Incomplete formula.' NOTE from SHOP.SALES.T limit 1000"
	const groundID, floorID = "3b9aca00-1111-4222-8333-444455556666", "4b9aca00-1111-4222-8333-444455556666"
	const text = `select ID "Id", NOTE "Note" from (select ID, NOTE from (` + custom + `) Q1 limit 1000) Q2 limit 1000`
	columns := []sigmatest.Column{{ID: "c1", Label: "Id", Type: "number", Formula: "[Custom SQL/Id]"}, {ID: "c2", Label: "Note", Type: "text", Formula: "[Custom SQL/Note]"}}
	element := func(id string) sigmatest.Element {
		return sigmatest.Element{ID: id, Name: id, Columns: columns, SQL: text}
	}
	written, onModel, onModels, plain := element("written"), element("onmodel"), element("onmodels"), element("plain")
	written.CustomSQL = custom
	onModel.DataModel, onModel.DataModelElement = "Ground", "base"
	onModels.DataModel, onModels.DataModelElement = "Floor", "above"
	plain.Tables = []string{"SHOP.SALES.T"}
	base, floor := element("base"), element("above")
	base.CustomSQL = custom
	floor.DataModel, floor.DataModelElement = "Ground", "base"
	w := newWorld(t, sigmatest.Organization{
		Workbooks:  []sigmatest.Workbook{{ID: "wb", Name: "W", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{written, onModel, onModels}}}}, {ID: "other", Name: "O", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{plain}}}}},
		DataModels: []sigmatest.DataModel{{Name: "Ground", ID: groundID, Elements: []sigmatest.Element{base}}, {Name: "Floor", ID: floorID, Elements: []sigmatest.Element{floor}}},
	}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0));`, ``)
	_, err := w.snowflake.DB().ExecContext(w.ctx, `insert into SHOP.SALES.T select i from range(1500) t(i)`)
	w.must(err)
	w.create(snowflakeName, w.snowflakeConnection())
	w.mustScan(snowflakeName)
	models := w.modelsByName()
	for name, isKnown := range map[string]bool{
		modelName(snowflakeName, "wb", "written"): true, modelName(snowflakeName, "wb", "onmodel"): true, modelName(snowflakeName, "wb", "onmodels"): true,
		modelName(snowflakeName, groundID, "base"): true, modelName(snowflakeName, floorID, "above"): true,
		modelName(snowflakeName, "other", "plain"): false, // the same text, that is no custom SQL
	} {
		m := models[name]
		if isReady := m.GetState() == pb.ModelState_MODEL_STATE_READY; isReady != isKnown {
			t.Errorf("%s is %s in the catalog: %v", name, m.GetState(), m.GetFindings())
		}
		r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: name, RowLimit: 2000})
		switch {
		case !isKnown && err == nil:
			t.Errorf("%s is read", name)
		case isKnown && (err != nil || r.count != 1000 || findingOf(r.stats.GetFindings(), pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT) == nil):
			t.Errorf("%s: %d rows, %v, %v", name, r.count, err, r.stats.GetFindings())
		}
	}
}

// A finding refuses a read before any row, by the request's list and by the connection's.
func TestFindingsRefuseReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T values (1), (1);`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	model := w.modelOf(snowflakeName, sigmatest.Element{
		Columns: []sigmatest.Column{{ID: "c1", Label: "Id", Type: "number", Formula: "[T/Id]"}},
		SQL:     `select ID "Id", ID "Extra" from SHOP.SALES.T limit 7`,
	})
	unlisted, ambiguous, key := pb.FindingCode_FINDING_CODE_COLUMN_UNLISTED, pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS, pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE
	read := func(codes ...pb.FindingCode) map[string]error {
		preview, previewErr := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RefuseFindings: codes})
		if previewErr != nil && (preview.schema != nil || preview.count > 0) {
			t.Errorf("a refused preview sent %v and %d rows", preview.schema, preview.count)
		}
		_, sessionErr := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, RefuseFindings: codes})
		return map[string]error{"preview": previewErr, "session": sessionErr}
	}
	check := func(codes ...pb.FindingCode) pb.ErrorReason {
		answer, err := w.query.CheckModel(w.ctx, &pb.CheckModelRequest{Name: model, KeyColumns: []string{"Id"}, RefuseFindings: codes})
		w.must(err)
		return answer.GetProblem().GetReason()
	}
	for what, err := range read(key) {
		if err != nil {
			t.Errorf("%s without the finding: %v", what, err)
		}
	}
	for _, codes := range [][]pb.FindingCode{{unlisted}, {ambiguous}, {key, unlisted}} {
		for what, err := range read(codes...) {
			facts := wantError(t, err, 9, pb.ErrorReason_ERROR_REASON_FINDING_REFUSED)
			if facts["findings"] == "" || facts["finding"] == "" {
				t.Errorf("%s: the facts are %v", what, facts)
			}
		}
		if got := check(codes...); got != pb.ErrorReason_ERROR_REASON_FINDING_REFUSED {
			t.Errorf("a check with %v finds %s", codes, got)
		}
	}
	if got := check(key); got != pb.ErrorReason_ERROR_REASON_FINDING_REFUSED {
		t.Errorf("a check of a key that is not unique finds %s", got)
	}
	if _, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}, RefuseFindings: []pb.FindingCode{unlisted}}); err != nil {
		t.Errorf("without the unlisted column: %v", err)
	}
	_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RefuseFindings: []pb.FindingCode{999}})
	wantField(t, err, "refuse_findings[0]")

	// The connection's own list.
	updated, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: snowflakeName, RefuseFindings: []pb.FindingCode{unlisted}}})
	w.must(err)
	if len(updated.GetConnection().GetRefuseFindings()) != 1 {
		t.Errorf("the connection is %v", updated.GetConnection())
	}
	for what, err := range read() {
		if err == nil {
			t.Errorf("the connection's list does not refuse a %s", what)
		}
	}
}

// A caller that expects the fingerprint of a schema with helper columns, which earlier versions delivered, is not refused.
func TestAnExpectedFingerprintOutlivesHelperColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T values (1);`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	const helper = "sort-aB3dE5gH7j-0"
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbooks = append(o.Workbooks, sigmatest.Workbook{ID: "wb", Name: "W", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{{
			ID: "el", Name: "E", SQL: `select ID "Id", ID "` + helper + `" from SHOP.SALES.T limit 1000`,
			Columns: []sigmatest.Column{{ID: "c1", Label: "Id", Type: "number", Formula: "[T/Id]"}},
		}}}}})
	})
	w.mustScan(snowflakeName)
	model := modelName(snowflakeName, "wb", "el")
	// Named by the caller, a helper is a column like any other: so it is in a schema that the store has.
	before := w.mustPreview(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id", helper}})
	now := w.mustPreview(&pb.PreviewModelRequest{Name: model, ExpectedFingerprint: before.schema.GetFingerprint()})
	if c := now.schema.GetColumns(); len(c) != 1 || now.schema.GetFingerprint() == before.schema.GetFingerprint() {
		t.Errorf("the columns are %v", c)
	}
	if findingOf(now.stats.GetFindings(), pb.FindingCode_FINDING_CODE_COLUMN_HELPER) == nil {
		t.Errorf("the findings are %v", now.stats.GetFindings())
	}
	// A real difference still is one.
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook("wb").Pages[0].Elements[0].SQL = `select ID "Id", ID "Extra", ID "` + helper + `" from SHOP.SALES.T limit 1000`
	})
	_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, ExpectedFingerprint: before.schema.GetFingerprint()})
	wantError(t, err, 9, pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT)
}
