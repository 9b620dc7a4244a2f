package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// refusedBook is a workbook of which one call fails. It has a table, and an element on custom SQL.
type refusedBook struct {
	id      string
	call    sigmatest.Call
	failure sigmatest.Failure
}

// refusedBooks are all side calls, each with every failure.
func refusedBooks() (books []refusedBook) {
	for _, call := range []sigmatest.Call{sigmatest.CallColumns, sigmatest.CallLineage, sigmatest.CallSources, sigmatest.CallQueries} {
		for i, failure := range sigmatest.Failures() {
			books = append(books, refusedBook{id: fmt.Sprintf("%s-%d-%d", call, failure.Status, i), call: call, failure: failure})
		}
	}
	return books
}

const refusedCustomSQL = "select ID from SHOP.SALES.T limit 1000"

func (b refusedBook) workbook(fails bool) sigmatest.Workbook {
	w := sigmatest.Workbook{ID: b.id, Name: b.id, Path: "Team", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
		{ID: "table", Name: "Table", Columns: []sigmatest.Column{{ID: "c1", Label: "Id", Type: "number", Formula: "[T/Id]"}}, SQL: `select ID "Id" from SHOP.SALES.T limit 1000`, Tables: []string{"SHOP.SALES.T"}},
		{ID: "custom", Name: "Custom", Columns: []sigmatest.Column{{ID: "c2", Label: "Id", Type: "number", Formula: "[Custom SQL/ID]"}}, CustomSQL: refusedCustomSQL, SQL: `select ID "Id" from (` + refusedCustomSQL + `) Q1 limit 1000`},
	}}}}
	if fails {
		w.Failures = map[sigmatest.Call]sigmatest.Failure{b.call: b.failure}
	}
	return w
}

// isRemembered reports whether the catalog stores that the call was refused. Without the bulk call for queries, the calls
// for single elements bring the same.
func (b refusedBook) isRemembered() bool {
	return b.call == sigmatest.CallColumns || b.call == sigmatest.CallLineage
}

func refusalWorld(t *testing.T, books []refusedBook, fail bool) *world {
	t.Helper()
	var org sigmatest.Organization
	for _, b := range books {
		org.Workbooks = append(org.Workbooks, b.workbook(fail))
	}
	w := newWorld(t, org, snowflaketest.Config{})
	w.sigma.SetFaults(func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.Header().Set("Retry-After", "0") // so that no attempt waits
		return false
	})
	w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T values (1);`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	return w
}

// workbookCalls counts the calls about each workbook since the records were reset, by what follows its id in the path.
func (w *world) workbookCalls() map[string]map[string]int {
	calls := map[string]map[string]int{}
	for _, r := range w.sigma.Requests() {
		rest, ok := strings.CutPrefix(r.Path, "/v2/workbooks/")
		if !ok {
			continue
		}
		id, call, _ := strings.Cut(rest, "/")
		if calls[id] == nil {
			calls[id] = map[string]int{}
		}
		calls[id][call]++
	}
	return calls
}

func (w *world) modelsByName() map[string]*pb.Model {
	byName := map[string]*pb.Model{}
	for _, m := range w.models(snowflakeName) {
		full, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: m.GetName()})
		w.must(err)
		byName[m.GetName()] = full.GetModel()
	}
	return byName
}

func (w *world) workbooksByID() map[string]*pb.Workbook {
	byID := map[string]*pb.Workbook{}
	for _, b := range w.workbooks(snowflakeName) {
		byID[b.GetWorkbookId()] = b
	}
	return byID
}

func findingOf(list []*pb.Finding, code pb.FindingCode) *pb.Finding {
	for _, f := range list {
		if f.GetCode() == code {
			return f
		}
	}
	return nil
}

// wantRefused checks what the catalog has of the workbooks of which a call fails. If they were read whole before, what the
// call would show is as it was.
func (w *world) wantRefused(books []refusedBook, scan *pb.Scan, before map[string]*pb.Model) {
	w.t.Helper()
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksFailed() != 0 || scan.GetModelsFailed() != 0 {
		w.t.Fatalf("the scan ended with %v", scan)
	}
	models, workbooks := w.modelsByName(), w.workbooksByID()
	if len(models) != 2*len(books) {
		w.t.Errorf("%d models of %d", len(models), 2*len(books))
	}
	incomplete := int32(0)
	for _, b := range books {
		if b.isRemembered() {
			incomplete++
			w.wantRemembered(b, workbooks[b.id])
		}
		for _, element := range []string{"table", "custom"} {
			name := modelName(snowflakeName, b.id, element)
			m := models[name]
			if m.GetState() != pb.ModelState_MODEL_STATE_READY {
				w.t.Errorf("%s is %s: %v", name, m.GetState(), m.GetError())
				continue
			}
			code, ids, warehouse := pb.FindingCode_FINDING_CODE_UNSPECIFIED, "c1", true
			if element == "custom" {
				ids = "c2"
			}
			switch b.call {
			case sigmatest.CallColumns:
				code = pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN
				if before == nil {
					ids = ""
				}
			case sigmatest.CallLineage:
				code, warehouse = pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN, before != nil
			}
			if c := m.GetColumns(); len(c) != 1 || c[0].GetLabel() != "Id" || c[0].GetColumnId() != ids {
				w.t.Errorf("%s has the columns %v", name, c)
			}
			if got := m.GetSigmaWarehouse().GetAccount() == snowflakeAccount; got != warehouse {
				w.t.Errorf("%s reads from %v", name, m.GetSigmaWarehouse())
			}
			if finding := findingOf(m.GetFindings(), code); code != 0 && (finding == nil || finding.GetMetadata()["sigma_status"] != fmt.Sprint(b.failure.Status) ||
				finding.GetMetadata()["sigma_code"] != b.failure.Code || b.failure.Code != "" && finding.GetMetadata()["sigma_request_id"] == "") {
				w.t.Errorf("%s has the findings %v", name, m.GetFindings())
			}
			if code == 0 && (findingOf(m.GetFindings(), pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN) != nil || findingOf(m.GetFindings(), pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN) != nil) {
				w.t.Errorf("%s lost nothing and has the findings %v", name, m.GetFindings())
			}
			// The author's limit is known from the lineage, or else from the sources.
			if author := findingOf(m.GetFindings(), pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT); element == "custom" && author == nil {
				w.t.Errorf("%s has lost the author's limit: %v", name, m.GetFindings())
			}
		}
	}
	if scan.GetWorkbooksIncomplete() != incomplete {
		w.t.Errorf("%d workbooks are incomplete, want %d", scan.GetWorkbooksIncomplete(), incomplete)
	}
}

func (w *world) wantRemembered(b refusedBook, workbook *pb.Workbook) {
	w.t.Helper()
	calls := workbook.GetRefusedCalls()
	if len(calls) != 1 || calls[0].GetCall() != string(b.call) || calls[0].GetAttempts() != 1 || calls[0].GetProblem().GetSigmaCode() != b.failure.Code {
		w.t.Errorf("%s has the refused calls %v", b.id, calls)
	}
	if workbook.GetError() != nil {
		w.t.Errorf("%s failed: %v", b.id, workbook.GetError())
	}
}

// A workbook whose side call Sigma refuses is read without it, at a first scan and at a later one. The next scan makes the
// refused call alone, and no scan after it until the interval is over. Once Sigma answers, the workbook is whole.
func TestARefusedCallCostsWhatItWouldShow(t *testing.T) {
	t.Parallel()
	for _, isLater := range []bool{false, true} {
		t.Run(map[bool]string{false: "first scan", true: "later scan"}[isLater], func(t *testing.T) {
			t.Parallel()
			books := refusedBooks()
			w := refusalWorld(t, books, !isLater)
			var before map[string]*pb.Model
			if isLater {
				w.mustScan(snowflakeName)
				before = w.modelsByName()
				w.sigma.Change(func(o *sigmatest.Organization) {
					for _, b := range books {
						*o.Workbook(b.id) = b.workbook(true)
					}
				})
			}
			for _, b := range books {
				w.sigma.ChangeWorkbook(b.id, func(*sigmatest.Workbook) {}) // a new version
			}
			scan := w.scan(snowflakeName)
			w.wantRefused(books, scan, before)
			for _, b := range books {
				r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: modelName(snowflakeName, b.id, "table")})
				if err != nil || len(r.table(t)) != 1 {
					t.Errorf("%s cannot be read: %v", b.id, err)
				}
			}
			w.wantRetries(books)
		})
	}
}

// wantRetries scans again: every other refused call is answered now.
func (w *world) wantRetries(books []refusedBook) {
	w.t.Helper()
	isMended := func(i int) bool { return i%2 == 0 }
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i, b := range books {
			if isMended(i) {
				o.Workbook(b.id).Failures = nil
			}
		}
	})
	w.sigma.ResetRecords()
	w.scanChanged(snowflakeName)
	calls, workbooks, models := w.workbookCalls(), w.workbooksByID(), w.modelsByName()
	for i, b := range books {
		switch made := calls[b.id]; {
		case !b.isRemembered() && len(made) > 0:
			w.t.Errorf("%s lost nothing, and the calls %v were made", b.id, made)
		case !b.isRemembered():
		case isMended(i):
			if b.call == sigmatest.CallColumns {
				w.wantNoColumnChange(modelName(snowflakeName, b.id, "table"))
			}
			m := models[modelName(snowflakeName, b.id, "table")]
			if len(workbooks[b.id].GetRefusedCalls()) != 0 || m.GetColumns()[0].GetColumnId() != "c1" || m.GetSigmaWarehouse().GetAccount() != snowflakeAccount || len(m.GetFindings()) != 0 {
				w.t.Errorf("%s is answered, and is %v with %v", b.id, workbooks[b.id], m)
			}
		default:
			delete(made, string(b.call))
			if refused := workbooks[b.id].GetRefusedCalls(); len(made) != 0 || len(refused) != 1 || refused[0].GetAttempts() != 2 || !refused[0].GetRetryTime().AsTime().After(workbooks[b.id].GetScanTime().AsTime()) {
				w.t.Errorf("%s: the calls %v were made besides; refused are %v", b.id, made, refused)
			}
		}
	}
	w.sigma.ResetRecords()
	w.scanChanged(snowflakeName)
	if calls := w.workbookCalls(); len(calls) > 0 {
		w.t.Errorf("before the interval is over, the calls %v were made", calls)
	}
}

// Where an element list is shorter than Sigma declares, the models that it lacks stay while Sigma answers for them.
func TestAShortElementListRemovesNothing(t *testing.T) {
	t.Parallel()
	b := refusedBook{id: "short"}
	w := refusalWorld(t, []refusedBook{b}, false)
	w.mustScan(snowflakeName)
	hide := func(unsent bool) {
		w.sigma.ChangeWorkbook(b.id, func(b *sigmatest.Workbook) {
			for i := range b.Pages[0].Elements {
				b.Pages[0].Elements[i].Unsent = unsent && i == 1
			}
		})
	}
	hide(true)
	scan := w.mustScan(snowflakeName)
	if models := w.models(snowflakeName); len(models) != 2 {
		t.Errorf("%d models of 2", len(models))
	}
	if i := slices.IndexFunc(scan.GetListGaps(), func(g *pb.ListGap) bool { return g.GetList() == "elements" }); i < 0 || scan.GetListGaps()[i].GetDeclaredCount() != 2 || scan.GetListGaps()[i].GetReceivedCount() != 1 {
		t.Errorf("the gaps are %v", scan.GetListGaps())
	}
	hide(false)
	if scan := w.mustScan(snowflakeName); len(scan.GetListGaps()) != 0 || len(w.workbooksByID()[b.id].GetRefusedCalls()) != 0 {
		t.Errorf("whole again, the gaps are %v", scan.GetListGaps())
	}
}

// A workbook without a revision may have changed, so that every scan reads it.
func TestAWorkbookWithoutARevisionIsReadByEveryScan(t *testing.T) {
	t.Parallel()
	b := refusedBook{id: "plain"}
	w := refusalWorld(t, []refusedBook{b}, false)
	w.sigma.ChangeWorkbook(b.id, func(b *sigmatest.Workbook) {
		b.Raw = map[string]string{"updatedAt": `"yesterday"`, "latestVersion": `null`}
	})
	w.mustScan(snowflakeName)
	w.sigma.ResetRecords()
	w.scanChanged(snowflakeName)
	if w.workbookCalls()[b.id]["elements"] != 1 {
		t.Errorf("the calls %v were made", w.workbookCalls())
	}
}

// A list of workbooks that is shorter than Sigma declares marks the scan, and removes what Sigma itself does not find.
func TestAShortListOfWorkbooksMarksTheScan(t *testing.T) {
	t.Parallel()
	books := []refusedBook{{id: "stays"}, {id: "hidden"}, {id: "removed"}}
	w := refusalWorld(t, books, false)
	w.mustScan(snowflakeName)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook("hidden").Unsent = true
		o.RemoveWorkbook("removed")
	})
	started := w.startScan(snowflakeName)
	watched := w.watch(started.GetName())
	stored, err := w.catalog.GetScan(w.ctx, &pb.GetScanRequest{Name: started.GetName()})
	w.must(err)
	for _, scan := range []*pb.Scan{watched, stored.GetScan()} {
		if gaps := scan.GetListGaps(); scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || len(gaps) != 1 || gaps[0].GetList() != "workbooks" || gaps[0].GetResource() != snowflakeName ||
			gaps[0].GetDeclaredCount() != 2 || gaps[0].GetReceivedCount() != 1 {
			t.Errorf("the scan is %v", scan)
		}
	}
	if got := w.workbooksByID(); len(got) != 2 || got["removed"] != nil {
		t.Errorf("the workbooks are %v", got)
	}
}

// wantNoColumnChange makes sure that a model's columns have not changed for those who follow the changes: that Sigma did not
// list their ids for a while is no change of theirs.
func (w *world) wantNoColumnChange(model string) {
	w.t.Helper()
	list, err := w.catalog.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: snowflakeName, PageSize: 1000})
	w.must(err)
	for _, c := range list.GetChanges() {
		if c.GetResource() == model && strings.Contains(c.GetKind().String(), "COLUMN") {
			w.t.Errorf("%s has the change %v", model, c)
		}
	}
}

// Elements and workbooks whose ids no resource name can hold are left out, and cost nothing else.
func TestOddIDsCostNothingElse(t *testing.T) {
	t.Parallel()
	b := refusedBook{id: "plain"}
	w := refusalWorld(t, []refusedBook{b}, false)
	w.sigma.Change(func(o *sigmatest.Organization) {
		for _, id := range []string{"a/b", "a.b", "é", "a b", "a?b", "a\nb", "..", "%2e", strings.Repeat("x", 200)} {
			page := &o.Workbook(b.id).Pages[0]
			page.Elements = append(page.Elements, sigmatest.Element{ID: id, Name: "Odd", Columns: []sigmatest.Column{{ID: "c9", Label: "Id"}}, SQL: `select ID "Id" from SHOP.SALES.T limit 1000`})
		}
		o.Workbooks = append(o.Workbooks, sigmatest.Workbook{ID: "odd id", Name: "Odd", Pages: []sigmatest.Page{{}}})
	})
	scan := w.mustScan(snowflakeName)
	if len(w.models(snowflakeName)) != 2 || len(w.workbooks(snowflakeName)) != 1 || len(scan.GetProblems()) != 10 || scan.GetWorkbooksFailed() != 0 {
		t.Errorf("%d models; the scan is %v", len(w.models(snowflakeName)), scan)
	}
}
