package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

const (
	salesSQL   = `select ID "Id", AMOUNT "Net" from (select * from SHOP.SALES.T T limit 1000) Q1 limit 1000`
	salesModel = snowflakeName + "/models/sales.e"
)

// salesTable is an element on SHOP.SALES.T of one of Sigma's connections.
func salesTable(connection string, columns ...sigmatest.Column) []sigmatest.Page {
	if columns == nil {
		columns = []sigmatest.Column{{ID: "id", Label: "Id", Type: "number"}, {ID: "net", Label: "Net", Type: "number", Formula: "[T/Amount]"}}
	}
	return []sigmatest.Page{{Elements: []sigmatest.Element{
		{ID: "e", Name: "Sales", Connection: connection, Tables: []string{"SHOP.SALES.T"}, Columns: columns, SQL: salesSQL},
	}}}
}

// newTaggedWorld has the table SHOP.SALES.T, a connection of Sigma's to our account, and one to another account. The
// connection reads the tag "prod".
func newTaggedWorld(t *testing.T, workbook sigmatest.Workbook, models ...sigmatest.DataModel) *world {
	t.Helper()
	workbook.ID, workbook.Name, workbook.Tags = "sales", "Sales", []string{"prod"}
	w := newWorld(t, sigmatest.Organization{
		Connections: []sigmatest.Connection{{ID: "ours", Name: "Ours", Account: snowflakeAccount}, {ID: "other", Name: "Other", Account: "OTHER-ACCOUNT"}},
		Workbooks:   []sigmatest.Workbook{workbook}, DataModels: models,
	}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), AMOUNT number(38,0)); insert into SHOP.SALES.T values (1, 10), (2, 20)`, ``)
	connection := w.snowflakeConnection()
	connection.VersionTag = "prod"
	w.create(snowflakeName, connection)
	return w
}

func (w *world) refuseVersionIDs() {
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.VersionIDs = sigmatest.Failure{Status: http.StatusNotFound, Code: "not_found", Message: "Not found"}
	})
}

func (w *world) modelNow(name string) *pb.Model {
	w.t.Helper()
	m, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: name})
	w.must(err)
	return m.GetModel()
}

func hasCode(findings []*pb.Finding, code pb.FindingCode) bool {
	return slices.ContainsFunc(findings, func(f *pb.Finding) bool { return f.GetCode() == code })
}

// The published version and the tag "prod" read different accounts, and both accounts have SHOP.SALES.T. The match is judged
// by the account of the tag, before and after a scan.
func TestTagWithSwappedSourcesIsJudgedByItsOwnWarehouse(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		published, tagged string
		isReadable        bool
	}{
		"published here, tag elsewhere": {"ours", "other", false},
		"published elsewhere, tag here": {"other", "ours", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTaggedWorld(t, sigmatest.Workbook{Pages: salesTable(row.published), Versions: map[string][]sigmatest.Page{"prod": salesTable(row.tagged)}})
			for _, isScanned := range []bool{false, true} {
				if isScanned {
					w.scan(snowflakeName)
					if got := w.modelNow(salesModel).GetSigmaWarehouse().GetConnectionId(); got != row.tagged {
						t.Errorf("the catalog has the connection %q", got)
					}
				}
				answer := w.check(&pb.CheckModelRequest{Name: salesModel})
				if got := answer.GetWarehouseMatch().GetSigmaWarehouse().GetConnectionId(); got != row.tagged || answer.GetReadable() != row.isReadable {
					t.Errorf("scanned %v: the check compares with the connection %q: %v", isScanned, got, answer.GetProblem())
				}
				_, err := w.readTable(&pb.PreviewModelRequest{Name: salesModel})
				if row.isReadable {
					w.must(err)
				} else {
					wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_MISMATCH)
				}
			}
		})
	}
}

func TestBrokenColumnOfTheNewestVersionLeavesTheTagReadable(t *testing.T) {
	t.Parallel()
	broken := salesTable("ours", sigmatest.Column{ID: "id", Label: "Id", Type: "number"}, sigmatest.Column{ID: "other", Label: "Net", Type: "error", Formula: "[T/Gone]"})
	for name, row := range map[string]struct {
		published, tagged []sigmatest.Page
		isReadable        bool
	}{
		"broken in the newest version": {broken, salesTable("ours"), true},
		"broken in the tagged version": {salesTable("ours"), broken, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range row.tagged[0].Elements {
				if !row.isReadable {
					row.tagged[0].Elements[i].SQL = `select ID "Id", 'Unknown column "[T/Gone]"' "Net" from SHOP.SALES.T limit 1000`
				}
			}
			w := newTaggedWorld(t, sigmatest.Workbook{Pages: row.published, Versions: map[string][]sigmatest.Page{"prod": row.tagged}})
			w.scan(snowflakeName)
			m := w.modelNow(salesModel)
			if isReady := m.GetState() == pb.ModelState_MODEL_STATE_READY; isReady != row.isReadable {
				t.Errorf("the catalog says %v: %v", m.GetState(), m.GetError())
			}
			read, err := w.readTable(&pb.PreviewModelRequest{Name: salesModel})
			if !row.isReadable {
				wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN)
				return
			}
			w.must(err)
			if got := read.schema.GetColumns()[1]; got.GetColumnId() != "net" || got.GetFormula() != "[T/Amount]" {
				t.Errorf("the column is %v", got)
			}
		})
	}
}

// Where Sigma refuses the id of the tagged version, nothing of the newest version takes its place.
func TestTaggedVersionThatSigmaDoesNotListIsUnknown(t *testing.T) {
	t.Parallel()
	published := salesTable("other", sigmatest.Column{ID: "id", Label: "Id", Type: "number"}, sigmatest.Column{ID: "wrong", Label: "Net", Type: "error", Formula: "[T/Gone]"})
	w := newTaggedWorld(t, sigmatest.Workbook{Pages: published, Versions: map[string][]sigmatest.Page{"prod": salesTable("ours")}})
	// The catalog has the newest version's columns and warehouse, as of a scan without the tag.
	_, err := w.update(&pb.Connection{}, "version_tag")
	w.must(err)
	w.scan(snowflakeName)
	if got := w.modelNow(salesModel).GetSigmaWarehouse().GetConnectionId(); got != "other" {
		t.Fatalf("the newest version reads %q", got)
	}
	_, err = w.update(&pb.Connection{VersionTag: "prod"}, "version_tag")
	w.must(err)
	w.refuseVersionIDs()
	for _, isScanned := range []bool{false, true} {
		if isScanned {
			w.scan(snowflakeName)
			m := w.modelNow(salesModel)
			for _, column := range m.GetColumns() {
				if column.GetColumnId() != "" {
					t.Errorf("the catalog has the column %v", column)
				}
			}
			if m.GetSigmaWarehouse() != nil || m.GetState() != pb.ModelState_MODEL_STATE_READY ||
				!hasCode(m.GetFindings(), pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) || !hasCode(m.GetFindings(), pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN) {
				t.Errorf("the catalog has %v", m)
			}
		}
		read, err := w.readTable(&pb.PreviewModelRequest{Name: salesModel})
		w.must(err)
		for _, code := range []pb.FindingCode{pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN, pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, pb.FindingCode_FINDING_CODE_CUSTOM_SQL_UNKNOWN} {
			if !read.hasFinding(code) {
				t.Errorf("scanned %v: the read lacks %v", isScanned, code)
			}
		}
		if len(read.rows) != 2 || read.schema.GetColumns()[1].GetColumnId() != "" {
			t.Errorf("scanned %v: the read has %v", isScanned, read.schema)
		}
		if got := w.check(&pb.CheckModelRequest{Name: salesModel}).GetWarehouseMatch(); got.GetOutcome() != pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_UNKNOWN {
			t.Errorf("scanned %v: the match is %v", isScanned, got)
		}
	}
}

// The SQL of a read at a bookmark is that of the bookmark, in the cache as well, and an id that Sigma does not list fails.
func TestBookmarkDecidesAboutTheRows(t *testing.T) {
	t.Parallel()
	page := []sigmatest.Page{{Elements: []sigmatest.Element{
		{ID: "e", Name: "Sales", Tables: []string{"SHOP.SALES.T"}, Columns: sigmatest.Columns("Id:number", "Net:number"),
			SQL: `select ID "Id", AMOUNT "Net" from (select * from SHOP.SALES.T where NAME in ({{control Region}}) limit 1000) Q1 limit 1000`},
		{ID: "c", Name: "Region", Type: "control", Value: "West"},
	}}}
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{{ID: "sales", Name: "Sales", Pages: page,
		Bookmarks: []sigmatest.Bookmark{{ID: "east", Name: "East", Values: map[string]string{"Region": "East"}}, {ID: "north", Name: "North", Values: map[string]string{"Region": "North"}}}}}},
		snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), AMOUNT number(38,0), NAME text);
		insert into SHOP.SALES.T values (1, 10, 'West'), (2, 20, 'East'), (3, 30, 'North')`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	w.scan(snowflakeName)
	ids := func(bookmark string) string {
		t.Helper()
		read := w.mustReadTable(&pb.PreviewModelRequest{Name: salesModel, BookmarkId: bookmark})
		if isChanged := read.hasFinding(pb.FindingCode_FINDING_CODE_SQL_CHANGED); isChanged {
			t.Errorf("bookmark %q: the SQL counts as changed since the scan", bookmark)
		}
		var all []string
		for _, row := range read.rows {
			all = append(all, row[0])
		}
		return strings.Join(all, " ")
	}
	published, east := ids(""), ids("east")
	if published == east || published != ids("") || east != ids("east") {
		t.Errorf("rows as published %q, at the bookmark %q", published, east)
	}

	for name, ignores := range map[string]bool{"Sigma refuses it": false, "Sigma ignores it": true} {
		w.sigma.Change(func(o *sigmatest.Organization) { o.IgnoresBookmarks = ignores })
		_, err := w.readTable(&pb.PreviewModelRequest{Name: salesModel, BookmarkId: "gone"})
		facts := wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
		if facts["bookmark_id"] != "gone" {
			t.Errorf("%s: %v", name, facts)
		}
	}

	// The connection's bookmark applies to scans and reads alike.
	_, err := w.update(&pb.Connection{BookmarkIds: map[string]string{"sales": "east"}}, "bookmark_ids")
	w.must(err)
	w.scan(snowflakeName)
	if got := ids(""); got != east {
		t.Errorf("rows at the connection's bookmark %q, want %q", got, east)
	}
	if got := ids("east"); got != east {
		t.Errorf("rows at the request's bookmark %q, want %q", got, east)
	}
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: salesModel, BookmarkId: "north"}); len(got.rows) != 1 || got.rows[0][0] == east {
		t.Errorf("rows at another bookmark than the connection's: %v", got.rows)
	}
	_, err = w.update(&pb.Connection{BookmarkIds: map[string]string{"sales": "gone"}}, "bookmark_ids")
	w.must(err)
	scan := w.scan(snowflakeName)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksFailed() != 1 {
		t.Errorf("the scan ended with %v", scan)
	}
	_, err = w.readTable(&pb.PreviewModelRequest{Name: salesModel})
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED)
}

// A tagged data model has no id of its own version, so that its columns and warehouse are unknown. The simulator knows no
// tags of data models: the SQL is taken from a fault.
func TestTaggedDataModelIsUnknown(t *testing.T) {
	t.Parallel()
	w := newTaggedWorld(t, sigmatest.Workbook{Pages: salesTable("ours")}, sigmatest.DataModel{
		ID: "core", Name: "Core", Connection: "other", Raw: sigmatest.Raw("tags", `[{"versionTagId":"t","tagName":"prod"}]`),
		Elements: []sigmatest.Element{{ID: "e", Name: "Table", Columns: []sigmatest.Column{{ID: "wrong", Label: "Id", Type: "error"}}, Tables: []string{"SHOP.SALES.T"}}},
	})
	w.sigma.SetFaults(
		sigmatest.On("/v2/dataModels/*/elements", sigmatest.Answer(`{"entries":[{"elementId":"e","type":"table","name":"Table","columns":["Id"]}],"nextPage":null}`)),
		sigmatest.On("/v2/dataModels/*/elements/e/query", sigmatest.Answer(`{"elementId":"e","sql":"select ID \"Id\" from SHOP.SALES.T limit 1000"}`)))
	w.scan(snowflakeName)
	const name = snowflakeName + "/models/core.e"
	m := w.modelNow(name)
	if m.GetState() != pb.ModelState_MODEL_STATE_READY || m.GetSigmaWarehouse() != nil || len(m.GetColumns()) != 1 || m.GetColumns()[0].GetColumnId() != "" ||
		!hasCode(m.GetFindings(), pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN) || !hasCode(m.GetFindings(), pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) {
		t.Errorf("the catalog has %v", m)
	}
	read := w.mustReadTable(&pb.PreviewModelRequest{Name: name})
	if !read.hasFinding(pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) || read.schema.GetColumns()[0].GetColumnId() != "" {
		t.Errorf("the read has %v, %v", read.schema, read.statistics)
	}
	if refused := w.workbooksByID()["core"].GetRefusedCalls(); len(refused) != 0 {
		t.Errorf("calls that Sigma does not offer are no refused calls: %v", refused)
	}
}

// The tagged version reads an empty copy of an input table, the newest version the entries up to its own question.
func TestInputTableOfATagIsNamed(t *testing.T) {
	t.Parallel()
	pages := salesTable("ours")
	e := &pages[0].Elements[0]
	e.Tables, e.RowVersion = []string{"SHOP.SALES.SIGDS_1F"}, 41
	e.SQL = `select ID "Id", AMOUNT "Net" from (select * from SHOP.SALES.SIGDS_1F where ROW_VERSION <= {{row version}} limit 1000) Q1 limit 1000`
	w := newTaggedWorld(t, sigmatest.Workbook{Pages: pages})
	w.must(w.snowflake.Exec(w.ctx, `create table SHOP.SALES.SIGDS_1F (ID number(38,0), AMOUNT number(38,0), ROW_VERSION number(38,0))`))
	const tagInput, input = pb.FindingCode_FINDING_CODE_TAG_INPUT_TABLE, pb.FindingCode_FINDING_CODE_INPUT_TABLE
	want := func(rows int, isTagged bool) {
		t.Helper()
		w.scan(snowflakeName)
		read := w.mustReadTable(&pb.PreviewModelRequest{Name: salesModel})
		for where, findings := range map[string][]*pb.Finding{"catalog": w.modelNow(salesModel).GetFindings(), "read": read.statistics.GetFindings()} {
			if !hasCode(findings, input) || hasCode(findings, tagInput) != isTagged {
				t.Errorf("%s: tagged %v: %v", where, isTagged, findings)
			}
		}
		if len(read.rows) != rows {
			t.Errorf("%d rows, want %d", len(read.rows), rows)
		}
	}
	want(0, true)
	_, err := w.update(&pb.Connection{}, "version_tag")
	w.must(err)
	w.must(w.snowflake.Exec(w.ctx, `insert into SHOP.SALES.SIGDS_1F values (1, 10, 41), (2, 20, 42)`))
	want(1, false)
	w.sigma.Change(func(o *sigmatest.Organization) { o.Workbook("sales").Element("e").RowVersion = 42 })
	want(2, false) // each read asks anew
}
