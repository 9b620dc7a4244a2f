package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

const prod = "workspaces/acme/connections/prod"

// book is a workbook of two tables.
func book(id string) sigmatest.Workbook {
	table := func(id string) sigmatest.Element {
		return sigmatest.Element{ID: id, Name: "Table " + id, SQL: text(1), Columns: []sigmatest.Column{{ID: "c", Label: "A"}}}
	}
	return sigmatest.Workbook{ID: id, Name: "Book " + id, Path: "Team", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{table("a"), table("b")}}}}
}

// scanned is a world of so many workbooks, w0 and on, that are in the catalog.
func scanned(t *testing.T, books int) *world {
	t.Helper()
	w := newWorld(t, newDisk(t), prod, 4, 0)
	t.Cleanup(w.end)
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range books {
			o.Workbooks = append(o.Workbooks, book(fmt.Sprint("w", i)))
		}
	})
	w.scan(false)
	return w
}

// Whichever of the calls for a workbook is the first to be refused: the catalog
// tells what became of the workbook, and does not take it for a fault of each
// element.
func TestAWorkbookMayGoBetweenTheCallsForIt(t *testing.T) {
	t.Parallel()
	for what, edit := range map[string]func(*sigmatest.Organization){
		"removed":  func(o *sigmatest.Organization) { o.RemoveWorkbook("w0") },
		"archived": func(o *sigmatest.Organization) { o.Workbook("w0").Archived = true },
	} {
		for _, call := range []string{"elements", "columns", "lineage", "queries", "elements/b/query"} {
			t.Run(what+" before "+call, func(t *testing.T) {
				w := scanned(t, 2)
				w.sigma.ChangeWorkbook("w0", func(b *sigmatest.Workbook) {
					b.Pages[0].Elements[1].Unlisted = true
					if call == "queries" { // without an element whose own call would tell
						b.Pages[0].Elements = []sigmatest.Element{{Type: "text"}}
					}
				})
				w.sigma.SetFaults(sigmatest.On("/v2/workbooks/w0/"+call, sigmatest.Do(func() { w.sigma.Change(edit) })))
				w.vague = true
				w.scan(false)
			})
		}
	}
}

// Of an archived workbook the catalog learns no less than that it was moved and
// renamed, and its models follow it.
func TestAnArchivedWorkbookTakesItsModelsAlong(t *testing.T) {
	t.Parallel()
	w := scanned(t, 1)
	archive := func(name string) {
		w.sigma.ChangeWorkbook("w0", func(b *sigmatest.Workbook) { b.Name, b.Path, b.Archived = name, "Archive", true })
	}
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks/w0/elements", sigmatest.Do(func() { archive("Once") })))
	w.sigma.ChangeWorkbook("w0", func(b *sigmatest.Workbook) { b.Path = "Old" })
	w.scan(false)
	w.sigma.SetFaults()
	archive("Twice")
	w.scan(false)
	w.edit("restore a workbook", step{})
	w.scan(false)
}

// Archived workbooks cost a list, and not a call each; where nothing is new, nothing
// is written.
func TestArchivedWorkbooksCostOneCall(t *testing.T) {
	t.Parallel()
	w := scanned(t, 30)
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range o.Workbooks {
			o.Workbooks[i].Archived = true
		}
	})
	want := map[string]int{"GET /v2/whoami": 1, "GET /v2/connections": 1, "GET /v2/dataModels": 1, "GET /v2/workbooks": 2}
	for range 2 {
		w.scan(false)
		if diff := cmp.Diff(want, w.sigma.Calls()); diff != "" {
			t.Errorf("calls wanted (-), made (+):\n%s", diff)
		}
	}
	if w.process.moments != 5+2 { // the calls, and the end of the scan
		t.Errorf("in a scan of which nothing is new come %d moments", w.process.moments)
	}
}

// A scan that another replica has brought to its end meanwhile is none of ours, even
// if we only come to know at the end.
func TestAScanMayBeLostAtItsEnd(t *testing.T) {
	t.Parallel()
	w := scanned(t, 1)
	w.scan(false)
	w.overtake(step{A: 1, Moment: w.process.moments - 1})
	w.scan(false)
}

// TestAWorkbookThatTheStoreRefuses: the scan records the problem, goes on with the
// other workbooks and succeeds, whether the store refuses what was read, what the
// listing tells, or the removal. The next scan reads the workbook again.
func TestAWorkbookThatTheStoreRefuses(t *testing.T) {
	t.Parallel()
	refused := prod + "/workbooks/w1"
	for what, test := range map[string]struct {
		edit   func(*sigmatest.Organization)
		refuse func(unread bool) bool
		failed int32 // workbooks that the scan counts as failed
		stored bool  // the problem is in the catalog as well
	}{
		"its contents":    {func(*sigmatest.Organization) {}, func(unread bool) bool { return !unread }, 1, true},
		"its description": {func(*sigmatest.Organization) {}, func(bool) bool { return true }, 1, false},
		"its archiving":   {func(o *sigmatest.Organization) { o.Workbook("w1").Archived = true }, func(bool) bool { return true }, 0, false},
		"its removal":     {func(o *sigmatest.Organization) { o.RemoveWorkbook("w1") }, func(bool) bool { return true }, 0, false},
	} {
		t.Run(what, func(t *testing.T) {
			w := scanned(t, 3)
			w.sigma.Change(test.edit)
			w.sigma.Change(func(o *sigmatest.Organization) { o.Workbook("w2").Name = "Renamed" })
			w.process.refuse = func(workbook string, unread bool) bool { return workbook == refused && test.refuse(unread) }
			scan := w.run(w.process, w.takeUp(true))
			if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksFailed() != test.failed {
				t.Fatalf("the scan ended with %v", scan)
			}
			if len(scan.GetProblems()) != 1 || scan.GetProblems()[0].GetResource() != refused || strings.Contains(scan.GetProblems()[0].GetMessage(), "a value") {
				t.Fatalf("the scan's problems are %v, and not one of the workbook", scan.GetProblems())
			}
			known, err := w.process.KnownWorkbooks(t.Context(), prod)
			check(t, err)
			if stored := known[refused].Workbook.GetError() != nil; stored != test.stored {
				t.Errorf("the catalog has the workbook as %v", known[refused].Workbook)
			}
			if known[refused].Workbook.GetModelCount() != 2 {
				t.Errorf("the workbook lost its models: %v", known[refused].Workbook)
			}
			if name := known[prod+"/workbooks/w2"].Workbook.GetDisplayName(); name != "Renamed" {
				t.Errorf("another workbook is named %q", name)
			}

			w.process.refuse = nil
			scan = w.run(w.process, w.takeUp(true))
			if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || len(scan.GetProblems()) > 0 {
				t.Fatalf("the next scan ended with %v", scan)
			}
		})
	}
}
