package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// Patterns of Sigma's paths.
const (
	workbooksPath = "/v2/workbooks"
	elementsPath  = "/v2/workbooks/*/elements"
	queriesPath   = "/v2/workbooks/*/queries"
	tokenPath     = "/v2/auth/token"
)

// startScan starts a full scan, or finds the one that runs: faults are met only by
// a scan that asks.
func (w *world) startScan(connection string) *pb.Scan {
	w.t.Helper()
	started, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: connection, Full: true})
	w.must(err)
	return started.GetScan()
}

// watch follows a scan to the stream's end, and returns what it ended with.
func (w *world) watch(name string) *pb.Scan {
	w.t.Helper()
	stream, err := w.catalog.WatchScan(w.ctx, &pb.WatchScanRequest{Name: name})
	w.must(err)
	var last *pb.Scan
	for {
		step, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		if last.GetState() != pb.ScanState_SCAN_STATE_UNSPECIFIED && last.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
			w.t.Errorf("the scan goes on after its end: %v", step)
		}
		if step.GetScan().GetWorkbooksDone() < last.GetWorkbooksDone() || last.GetPhase() != pb.ScanPhase_SCAN_PHASE_QUEUED && step.GetScan().GetPhase() < last.GetPhase() {
			w.t.Errorf("the scan goes back from %v to %v", last, step)
		}
		last = step.GetScan()
	}
	if last.GetState() == pb.ScanState_SCAN_STATE_RUNNING || last.GetEndTime() == nil || last.GetPhase() != pb.ScanPhase_SCAN_PHASE_DONE {
		w.t.Fatalf("the stream ended before the scan: %v", last)
	}
	return last
}

// scan runs a scan to its end.
func (w *world) scan(connection string) *pb.Scan {
	w.t.Helper()
	return w.watch(w.startScan(connection).GetName())
}

// awaitScan watches a scan until it is as wanted.
func (w *world) awaitScan(name string, wanted func(*pb.Scan) bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := w.catalog.WatchScan(ctx, &pb.WatchScanRequest{Name: name})
	w.must(err)
	for {
		step, err := stream.Recv()
		w.must(err)
		if wanted(step.GetScan()) {
			return
		}
	}
}

// readings counts how often the elements of a workbook were asked for.
func (w *world) readings() (n int) {
	for call, times := range w.sigma.Calls() {
		if strings.HasPrefix(call, "GET "+workbooksPath+"/") && strings.HasSuffix(call, "/elements") {
			n += times
		}
	}
	return n
}

// mustScan is scan of what must succeed.
func (w *world) mustScan(connection string) *pb.Scan {
	w.t.Helper()
	scan := w.scan(connection)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetError() != nil {
		w.t.Fatalf("the scan ended with %v", scan)
	}
	return scan
}

// wantFailedScan makes sure that a scan failed for a reason.
func (w *world) wantFailedScan(scan *pb.Scan, reason pb.ErrorReason) {
	w.t.Helper()
	if scan.GetState() != pb.ScanState_SCAN_STATE_FAILED || scan.GetError().GetReason() != reason || scan.GetError().GetMessage() == "" {
		w.t.Fatalf("the scan ended with %v instead of %s", scan, reason)
	}
	stored, err := w.catalog.GetScan(w.ctx, &pb.GetScanRequest{Name: scan.GetName()})
	w.must(err)
	if got := stored.GetScan().GetError().GetReason(); got != reason {
		w.t.Errorf("the scan is kept with %s", got)
	}
}

// models lists a connection's models, page by page.
func (w *world) models(connection string) []*pb.Model {
	w.t.Helper()
	var all []*pb.Model
	request := &pb.ListModelsRequest{Parent: connection, PageSize: 7}
	for {
		page, err := w.catalog.ListModels(w.ctx, request)
		w.must(err)
		all = append(all, page.GetModels()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
}

// workbooks lists a connection's workbooks.
func (w *world) workbooks(connection string) []*pb.Workbook {
	w.t.Helper()
	page, err := w.catalog.ListWorkbooks(w.ctx, &pb.ListWorkbooksRequest{Parent: connection, PageSize: 1000})
	w.must(err)
	return page.GetWorkbooks()
}

// catalogOf is the catalog in one line: each workbook and, for each model, its
// state.
func (w *world) catalogOf(connection string) string {
	w.t.Helper()
	var parts []string
	for _, workbook := range w.workbooks(connection) {
		parts = append(parts, workbook.GetDisplayName())
	}
	for _, m := range w.models(connection) {
		parts = append(parts, m.GetWorkbookDisplayName()+"/"+m.GetDisplayName()+"="+strings.TrimPrefix(m.GetState().String(), "MODEL_STATE_"))
	}
	return strings.Join(parts, " ")
}

func book(name string, elements ...sigmatest.Element) sigmatest.Workbook {
	return sigmatest.Workbook{ID: strings.ToLower(name), Name: name, Path: "Sales", Pages: []sigmatest.Page{{Name: "Page 1", Elements: elements}}}
}

func table(name string) sigmatest.Element {
	return sigmatest.Element{Name: name, Columns: sigmatest.Columns("Id:number", "Full Name")}
}

// scanned is a world with a connection, and the catalog of three workbooks.
func scanned(t *testing.T) *world {
	t.Helper()
	return scannedIn(t, "")
}

// scannedIn is scanned, with a store in the PostgreSQL database at a URL unless that
// is empty.
func scannedIn(t *testing.T, database string) *world {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{
		book("One", table("A"), table("B")), book("Two", table("C")), book("Three", table("D")),
	}}, snowflaketest.Config{})
	if database != "" {
		w.stop()
		w.database = database
		w.start()
	}
	w.create(snowflakeName, w.snowflakeConnection())
	w.mustScan(snowflakeName)
	if got := w.catalogOf(snowflakeName); got != catalogOfThree {
		t.Fatalf("the catalog is %s", got)
	}
	return w
}

const catalogOfThree = "One Three Two One/A=READY One/B=READY Three/D=READY Two/C=READY"

func TestScanCountsWhatTheOrganizationHolds(t *testing.T) {
	t.Parallel()
	org := sigmatest.Organization{}
	models, skipped := 0, 0
	for i := range 60 { // more than a page of each list
		w := book(fmt.Sprintf("Workbook%02d", i), sigmatest.Element{Type: "text"}, table("Table"))
		for j := range i % 4 {
			w.Pages[0].Elements = append(w.Pages[0].Elements, sigmatest.Element{Name: fmt.Sprint("Chart ", j), Type: "visualization", Visualization: "bar"})
		}
		models, skipped = models+1+i%4, skipped+1
		org.Workbooks = append(org.Workbooks, w)
	}
	w := newWorld(t, org, snowflaketest.Config{})
	w.sigma.SetOptions(sigmatest.Options{PageSize: 20})
	w.create(snowflakeName, w.snowflakeConnection())
	scan := w.mustScan(snowflakeName)
	if scan.GetWorkbooksTotal() != 60 || scan.GetWorkbooksDone() != 60 || scan.GetWorkbooksFailed() != 0 || scan.GetWorkbooksVanished() != 0 ||
		scan.GetModelsFound() != int32(models) || scan.GetModelsUnreadable() != 0 || scan.GetElementsSkipped() != int32(skipped) {
		t.Errorf("%d models and %d other elements are there, the scan counts %v", models, skipped, scan)
	}
	if got := w.models(snowflakeName); len(got) != models {
		t.Errorf("%d models are listed instead of %d", len(got), models)
	}
	if got := w.workbooks(snowflakeName); len(got) != 60 {
		t.Errorf("%d workbooks are listed", len(got))
	}
	if n := w.sigma.MostAtOnce(); n > 4 {
		t.Errorf("%d calls to Sigma were under way at once", n)
	}
	// Only those of one workbook, with the columns where they are asked for.
	parent := snowflakeName + "/workbooks/workbook07"
	page, err := w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: snowflakeName, Workbook: parent})
	w.must(err)
	if len(page.GetModels()) != 4 || page.GetModels()[3].GetWorkbook() != parent || page.GetModels()[3].GetColumns() != nil || page.GetModels()[3].GetColumnCount() != 2 {
		t.Errorf("the workbook's models are %v", page)
	}
	model, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: page.GetModels()[3].GetName()})
	w.must(err)
	if columns := model.GetModel().GetColumns(); len(columns) != 2 || columns[1].GetLabel() != "Full Name" || columns[0].GetSigmaType() != "number" || columns[0].GetColumnId() == "" {
		t.Errorf("the columns are %v", columns)
	}
	if source := model.GetModel().GetSigmaWarehouse(); source.GetDisplayName() != "Shop" || source.GetType() != "snowflake" {
		t.Errorf("the model reads from %v", source)
	}
}

func TestElementsOfEveryKind(t *testing.T) {
	t.Parallel()
	refused := func(name string, refusal sigmatest.Refusal) sigmatest.Element {
		e := table(name)
		e.Refusal = refusal
		return e
	}
	wrong := table("Wrong formula")
	wrong.Columns = append(wrong.Columns, sigmatest.Column{Label: "Margin", Formula: "[Gone]", Type: "error"})
	unlisted, twice := table("Unlisted"), table("Twice")
	unlisted.Unlisted, twice.Twice = true, true
	hidden := book("Hidden", table("On a hidden page"))
	hidden.Pages[0].Hidden = true
	noLineage := book("Lineage", table("Without lineage"))
	noLineage.NoLineage = true
	noBulk := book("Bulk", table("Asked for alone"), sigmatest.Element{Type: "text"})
	noBulk.Queries = sigmatest.InternalFailure
	archived := book("Archived", table("Archived"))
	archived.Archived = true
	unreadable := book("Unreadable", table("Nobody's"))
	unreadable.Unreadable = true

	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{
		book("Refused", refused("Broken", sigmatest.WithError), refused("Retired dataset", sigmatest.WithNothing),
			refused("No query", sigmatest.UnableToProduce), refused("Warehouse failed", sigmatest.WarehouseFailed), refused("Private", sigmatest.Forbidden),
			refused("Source archived", sigmatest.SourceArchived), refused("Not present", sigmatest.NotPresent),
			refused("Failure", sigmatest.InternalFailure), wrong),
		book("Names", table("Same"), table("Same"), table(""), sigmatest.Element{Type: "pivot-table"}, table("  ")),
		book("Types", unlisted, twice, sigmatest.Element{Name: "Unknown type", Type: "hologram", Columns: sigmatest.Columns("A")},
			sigmatest.Element{Name: "Unknown and no data", Type: "sticker", Refusal: sigmatest.NotPresent},
			sigmatest.Element{Name: "Input", Type: "input-table"}, sigmatest.Element{Name: "Switch", Type: "control"}, sigmatest.Element{Type: "image"}),
		hidden, noLineage, noBulk, archived, unreadable,
	}}, snowflaketest.Config{})
	w.create(snowflakeName, w.snowflakeConnection())
	scan := w.mustScan(snowflakeName)

	got := map[string]*pb.Model{}
	var names []string
	for _, m := range w.models(snowflakeName) {
		got[m.GetDisplayName()] = m
		names = append(names, m.GetDisplayName())
	}
	const ready = pb.ModelState_MODEL_STATE_READY
	const broken = pb.ModelState_MODEL_STATE_BROKEN
	const without = pb.ModelState_MODEL_STATE_WITHOUT_SQL
	for _, want := range []struct {
		name   string
		state  pb.ModelState
		reason pb.ErrorReason
	}{
		{"Broken", broken, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"No query", broken, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"Warehouse failed", broken, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"Wrong formula", broken, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"Failure", broken, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE},
		{"Retired dataset", without, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL},
		{"Not present", without, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL},
		{"Private", pb.ModelState_MODEL_STATE_FORBIDDEN, pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN},
		{"Source archived", pb.ModelState_MODEL_STATE_ARCHIVED, pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED},
		{"Same", ready, 0}, {"Untitled table", ready, 0}, {"Untitled pivot-table", ready, 0},
		{"Unlisted", ready, 0}, {"Twice", ready, 0}, {"Unknown type", ready, 0}, {"Input", ready, 0},
		{"On a hidden page", ready, 0}, {"Without lineage", ready, 0}, {"Asked for alone", ready, 0},
	} {
		m := got[want.name]
		if m.GetState() != want.state || m.GetError().GetReason() != want.reason || (m.GetError() != nil) != (want.reason != 0) {
			t.Errorf("%s: %s with %v", want.name, m.GetState(), m.GetError())
		}
	}
	for name, times := range map[string]int{"Same": 2, "Untitled table": 2, "Twice": 1, "Unknown and no data": 0, "Switch": 0, "Archived": 0, "Nobody's": 0} {
		if n := count(names, name); n != times {
			t.Errorf("the model %q is there %d times", name, n)
		}
	}
	if code := got["No query"].GetError().GetSigmaCode(); code != "unable_to_produce_query" || got["No query"].GetError().GetSigmaRequestId() == "" {
		t.Errorf("Sigma's own facts are lost: %v", got["No query"].GetError())
	}
	if f := got["Wrong formula"].GetFindings(); len(f) != 1 || f[0].GetCode() != pb.FindingCode_FINDING_CODE_COLUMN_BROKEN || !strings.Contains(f[0].GetMessage(), "Margin") {
		t.Errorf("the wrong formula is told as %v", f)
	}
	if scan.GetModelsUnreadable() != 9 || scan.GetModelsFound() != int32(len(names)) || scan.GetElementsSkipped() != 4 || scan.GetWorkbooksFailed() != 1 {
		t.Errorf("%d models are listed, the scan counts %v", len(names), scan)
	}
	// The workbook that cannot be read, and the one whose lineage is refused.
	problems := map[string]pb.ErrorReason{}
	for _, p := range scan.GetProblems() {
		problems[p.GetResource()] = p.GetReason()
	}
	if diff := cmp.Diff(map[string]pb.ErrorReason{
		snowflakeName + "/workbooks/unreadable": pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN,
		snowflakeName + "/workbooks/lineage":    pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE,
	}, problems); diff != "" {
		t.Errorf("the problems (-want +got):\n%s", diff)
	}
}

func count(list []string, wanted string) (n int) {
	for _, s := range list {
		if s == wanted {
			n++
		}
	}
	return n
}

func TestASecondScanJoinsTheFirst(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	release := make(chan struct{})
	w.sigma.SetFaults(sigmatest.On(workbooksPath, sigmatest.Stall(release)))
	first, second := w.startScan(snowflakeName), w.startScan(snowflakeName)
	if first.GetName() != second.GetName() || second.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
		t.Errorf("the second scan is %v", second)
	}
	stored, err := w.catalog.GetScan(w.ctx, &pb.GetScanRequest{Name: first.GetName()})
	w.must(err)
	if stored.GetScan().GetState() != pb.ScanState_SCAN_STATE_RUNNING || stored.GetScan().GetEndTime() != nil {
		t.Errorf("the scan under way is %v", stored)
	}
	close(release)
	if last := w.watch(first.GetName()); last.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
		t.Errorf("the scan ended with %v", last)
	}
	if third := w.mustScan(snowflakeName); third.GetName() == first.GetName() {
		t.Error("a scan after the end is the one before")
	}
}

func TestAScanOutlivesItsToken(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	grants := w.sigma.Calls()["POST "+tokenPath]
	w.sigma.SetFaults(sigmatest.On(queriesPath, sigmatest.Times(1, sigmatest.Do(w.sigma.RevokeTokens))))
	w.mustScan(snowflakeName)
	if n := w.sigma.Calls()["POST "+tokenPath] - grants; n != 1 {
		t.Errorf("%d tokens were granted instead of one", n)
	}
	if got := w.catalogOf(snowflakeName); got != catalogOfThree {
		t.Errorf("the catalog is %s", got)
	}
}

// What fails in the middle of a scan fails the scan, and leaves the catalog
// as it was.
func TestAFailedScanKeepsTheCatalog(t *testing.T) {
	t.Parallel()
	down := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600") // more than a scan waits for
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	for _, test := range []struct {
		name   string
		break_ func(*world)
		reason pb.ErrorReason
	}{
		{"credentials are revoked", func(w *world) {
			w.sigma.SetFaults(sigmatest.On(queriesPath, sigmatest.Times(1, sigmatest.Do(func() {
				w.sigma.Change(func(o *sigmatest.Organization) { o.ClientSecret = "another" })
				w.sigma.RevokeTokens()
			}))))
		}, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID},
		{"Sigma goes down", func(w *world) { w.sigma.SetFaults(sigmatest.On(elementsPath, sigmatest.After(1, down))) }, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE},
		{"Sigma throttles for long", func(w *world) { w.sigma.SetFaults(sigmatest.On(queriesPath, sigmatest.Throttle("3600"))) }, pb.ErrorReason_ERROR_REASON_SIGMA_THROTTLED},
		{"a listing is no listing", func(w *world) {
			w.sigma.SetFaults(sigmatest.On(workbooksPath, sigmatest.Answer(`{"entries":null}`)))
		}, pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL},
		{"a listing never ends", func(w *world) { w.sigma.SetOptions(sigmatest.Options{PageSize: 1, RepeatCursor: true}) }, pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL},
		{"a listing fails", func(w *world) {
			w.sigma.SetFaults(sigmatest.On(workbooksPath, sigmatest.Fail(http.StatusInternalServerError, "internal_error", "Failed")))
		}, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE},
		{"the organization is another", func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.ID = "another" })
		}, pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := scanned(t)
			test.break_(w)
			w.wantFailedScan(w.scan(snowflakeName), test.reason)
			if got := w.catalogOf(snowflakeName); got != catalogOfThree {
				t.Errorf("the catalog is %s", got)
			}
		})
	}
}

func TestAScanFollowsChanges(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.RemoveWorkbook("Two")
		o.Workbook("Three").Archived = true
		o.Workbooks = append(o.Workbooks, book("Four", table("E")))
	})
	w.sigma.ChangeWorkbook("One", func(b *sigmatest.Workbook) { b.RemoveElement("B") })
	w.mustScan(snowflakeName)
	if got := w.catalogOf(snowflakeName); got != "Four One Three Four/E=READY One/A=READY Three/D=ARCHIVED" {
		t.Errorf("the catalog is %s", got)
	}
	_, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: snowflakeName + "/models/two.gone"})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_MODEL_NOT_FOUND)
	_, err = w.catalog.GetScan(w.ctx, &pb.GetScanRequest{Name: snowflakeName + "/scans/none"})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND)
	stream, err := w.catalog.WatchScan(w.ctx, &pb.WatchScanRequest{Name: snowflakeName + "/scans/none"})
	w.must(err)
	_, err = stream.Recv()
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND)
}

func TestAWorkbookMayVanishDuringAScan(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks/two/elements", sigmatest.Do(func() {
		w.sigma.Change(func(o *sigmatest.Organization) { o.RemoveWorkbook("Two") })
	})))
	scan := w.mustScan(snowflakeName)
	if scan.GetWorkbooksVanished() != 1 || scan.GetWorkbooksDone() != 3 || scan.GetWorkbooksFailed() != 0 || scan.GetModelsFound() != 3 {
		t.Errorf("the scan counts %v", scan)
	}
	if got := w.catalogOf(snowflakeName); got != "One Three One/A=READY One/B=READY Three/D=READY" {
		t.Errorf("the catalog is %s", got)
	}
}

func TestAWorkbookMayBeArchivedDuringAScan(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks/two/elements", sigmatest.Do(func() {
		w.sigma.Change(func(o *sigmatest.Organization) { o.Workbook("Two").Archived = true })
	})))
	scan := w.mustScan(snowflakeName)
	if scan.GetWorkbooksVanished() != 0 || scan.GetWorkbooksFailed() != 0 || scan.GetModelsFound() != 4 || scan.GetModelsUnreadable() != 1 {
		t.Errorf("the scan counts %v", scan)
	}
	const archived = "One Three Two One/A=READY One/B=READY Three/D=READY Two/C=ARCHIVED"
	if got := w.catalogOf(snowflakeName); got != archived {
		t.Errorf("the catalog is %s", got)
	}
	for _, workbook := range w.workbooks(snowflakeName) {
		if workbook.GetArchived() != (workbook.GetDisplayName() == "Two") || workbook.GetModelCount() == 0 {
			t.Errorf("the workbook is %v", workbook)
		}
	}
	w.sigma.SetFaults()
	w.mustScan(snowflakeName)
	if got := w.catalogOf(snowflakeName); got != archived {
		t.Errorf("after another scan the catalog is %s", got)
	}
	w.sigma.ChangeWorkbook("Two", func(b *sigmatest.Workbook) { b.Archived = false })
	w.mustScan(snowflakeName)
	if got := w.catalogOf(snowflakeName); got != catalogOfThree {
		t.Errorf("once restored, the catalog is %s", got)
	}
}

// What Sigma answers wrongly in passing is asked again, and what it does not
// answer about one workbook costs that workbook only.
func TestAScanEnduresSigma(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		faults []sigmatest.Fault
		failed int32

		incomplete int32
	}{
		{"throttling without a word on how long", []sigmatest.Fault{sigmatest.On(elementsPath, sigmatest.Times(2, sigmatest.Throttle("")))}, 0, 0},
		{"a gateway that fails", []sigmatest.Fault{sigmatest.On(workbooksPath, sigmatest.Times(1, sigmatest.Gateway(http.StatusBadGateway)))}, 0, 0},
		{"a connection that breaks", []sigmatest.Fault{sigmatest.On(queriesPath, sigmatest.Times(1, sigmatest.CutBody()))}, 0, 0},
		{"lineage that always fails", []sigmatest.Fault{sigmatest.On("/v2/workbooks/*/lineage", sigmatest.Fail(http.StatusInternalServerError, "internal_error", "Failed"))}, 0, 3},
		{"one workbook that always fails", []sigmatest.Fault{sigmatest.On("/v2/workbooks/one/elements", sigmatest.Fail(http.StatusInternalServerError, "internal_error", "Failed"))}, 1, 0},
		{"one workbook with an answer of nonsense", []sigmatest.Fault{sigmatest.On("/v2/workbooks/one/columns", sigmatest.Answer("[[["))}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := scanned(t)
			w.sigma.SetFaults(test.faults...)
			scan := w.mustScan(snowflakeName)
			if scan.GetWorkbooksFailed() != test.failed || len(scan.GetProblems()) != int(test.failed+test.incomplete) || scan.GetWorkbooksIncomplete() != test.incomplete || scan.GetWorkbooksDone() != 3 {
				t.Errorf("the scan counts %v", scan)
			}
			if got := w.catalogOf(snowflakeName); got != catalogOfThree {
				t.Errorf("the catalog is %s", got)
			}
		})
	}
}

func TestDeletingAConnectionCancelsItsScan(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	reached := make(chan struct{}, 10)
	w.sigma.SetFaults(sigmatest.On(queriesPath, sigmatest.Do(func() { reached <- struct{}{} })), sigmatest.On(queriesPath, sigmatest.Stall(nil)))
	scan := w.startScan(snowflakeName)
	stream, err := w.catalog.WatchScan(w.ctx, &pb.WatchScanRequest{Name: scan.GetName()})
	w.must(err)
	<-reached
	_, err = w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
	w.must(err)
	var last *pb.Scan
	for {
		step, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		last = step.GetScan()
	}
	if last.GetState() != pb.ScanState_SCAN_STATE_CANCELLED {
		t.Errorf("who watches sees %v", last)
	}
	_, err = w.catalog.GetScan(w.ctx, &pb.GetScanRequest{Name: scan.GetName()})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND)

	w.sigma.SetFaults()
	w.create(snowflakeName, w.snowflakeConnection())
	if got := w.catalogOf(snowflakeName); got != "" {
		t.Errorf("a new connection of the same name has the catalog %s", got)
	}
}

func TestScanningWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	missing := workspace + "/connections/missing"
	_, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: missing})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
	_, err = w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: missing})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
	_, err = w.catalog.ListWorkbooks(w.ctx, &pb.ListWorkbooksRequest{Parent: missing})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
	_, err = w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: snowflakeName, Workbook: duckdbName + "/workbooks/one"})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "workbook")
}
