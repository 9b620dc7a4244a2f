package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// scanChanged runs a scan that reads only what has changed.
func (w *world) scanChanged(connection string) *pb.Scan {
	w.t.Helper()
	started, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: connection})
	w.must(err)
	scan := w.watch(started.GetScan().GetName())
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetFull() {
		w.t.Fatalf("the scan ended with %v", scan)
	}
	return scan
}

// changes lists the changes after a sequence, one a line, and the last sequence.
func (w *world) changes(connection string, after int64) ([]string, int64) {
	w.t.Helper()
	var lines []string
	for {
		page, err := w.catalog.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: connection, AfterSequence: after, PageSize: 3})
		w.must(err)
		if len(page.GetChanges()) == 0 {
			return lines, after
		}
		for _, c := range page.GetChanges() {
			if after++; c.GetSequence() != after {
				w.t.Fatalf("after the sequence %d comes %d", after-1, c.GetSequence())
			}
			lines = append(lines, changeLine(c))
		}
	}
}

func changeLine(c *pb.Change) string {
	_, resource, _ := strings.Cut(c.GetResource(), "/connections/")
	_, resource, _ = strings.Cut(resource, "/")
	return strings.TrimSpace(fmt.Sprintf("%s %s %s>%s", strings.TrimPrefix(c.GetKind().String(), "CHANGE_KIND_"), resource, c.GetFrom(), c.GetTo()))
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	got = slices.Clone(got)
	slices.Sort(got) // workbooks are read side by side
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\ninstead of\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func elementID(t *testing.T, w *world, workbook, element string) string {
	t.Helper()
	org := w.sigma.Organization()
	return workbook + "." + org.Workbook(strings.ToUpper(workbook[:1])+workbook[1:]).Element(element).ID
}

func TestAScanReadsOnlyWhatHasChangedAndSaysWhat(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	a, b, c := elementID(t, w, "one", "A"), elementID(t, w, "one", "B"), elementID(t, w, "two", "C")
	lines, last := w.changes(snowflakeName, 0)
	if len(lines) != 7 {
		t.Errorf("the first scan changed %q", lines)
	}

	before, calls := w.readings(), w.sigma.Calls()
	scan := w.scanChanged(snowflakeName)
	if scan.GetWorkbooksUnchanged() != 3 || scan.GetWorkbooksDone() != 3 || scan.GetModelsFound() != 4 || w.readings() != before {
		t.Errorf("with nothing changed the scan counts %v and reads %d workbooks", scan, w.readings()-before)
	}
	made := 0
	for call, times := range w.sigma.Calls() {
		made += times - calls[call]
	}
	if scan.GetCalls() != int64(made) || made != 4 {
		t.Errorf("with nothing changed it makes %d calls and says %d", made, scan.GetCalls())
	}

	w.sigma.ChangeWorkbook("One", func(book *sigmatest.Workbook) {
		a := book.Element("A")
		a.Name, a.Columns[1].Label = "Alpha", "Name"
		book.Element("B").Refusal = sigmatest.WithError
	})
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook("Two").Path = "Archive"
		o.RemoveWorkbook("Three")
		o.Workbooks = append(o.Workbooks, book("Four", table("E")))
	})
	scan = w.scanChanged(snowflakeName)
	if n := w.readings() - before; n != 2 || scan.GetWorkbooksUnchanged() != 1 {
		t.Errorf("%d workbooks were read instead of two: %v", n, scan)
	}
	if scan.GetModelsAdded() != 1 || scan.GetModelsChanged() != 2 || scan.GetModelsRemoved() != 1 || scan.GetTrigger() != pb.ScanTrigger_SCAN_TRIGGER_REQUEST {
		t.Errorf("the scan counts %v", scan)
	}
	d, e := "", elementID(t, w, "four", "E")
	lines, last = w.changes(snowflakeName, last)
	for _, line := range lines {
		if strings.HasPrefix(line, "MODEL_REMOVED models/three.") {
			d = strings.Fields(line)[1][len("models/"):]
		}
	}
	wantLines(t, lines,
		"MODEL_RENAMED models/"+a+" A>Alpha", "COLUMN_RENAMED models/"+a+" Full Name>Name", "MODEL_SQL_CHANGED models/"+a+" >",
		"MODEL_BROKE models/"+b+" MODEL_STATE_READY>MODEL_STATE_BROKEN",
		"WORKBOOK_MOVED workbooks/two Sales>Archive",
		"MODEL_REMOVED models/"+d+" D>", "WORKBOOK_REMOVED workbooks/three Three>",
		"WORKBOOK_ADDED workbooks/four >Four", "MODEL_ADDED models/"+e+" >E")
	moved, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: snowflakeName + "/models/" + c})
	w.must(err)
	if moved.GetModel().GetPath() != "Archive" {
		t.Errorf("the model of a workbook that was moved lies in %q", moved.GetModel().GetPath())
	}
	if got := w.catalogOf(snowflakeName); got != "Two Four One Two/C=READY Four/E=READY One/Alpha=READY One/B=BROKEN" {
		t.Errorf("the catalog is %s", got)
	}

	// Who comes back does so under the same name.
	w.sigma.Change(func(o *sigmatest.Organization) { o.Workbooks = append(o.Workbooks, book("Three", table("D"))) })
	w.scanChanged(snowflakeName)
	lines, _ = w.changes(snowflakeName, last)
	wantLines(t, lines, "WORKBOOK_RESTORED workbooks/three >Three", "MODEL_RESTORED models/"+d+" >D")

	listed, err := w.catalog.ListScans(w.ctx, &pb.ListScansRequest{Parent: snowflakeName, PageSize: 2})
	w.must(err)
	if scans := listed.GetScans(); len(scans) != 2 || scans[0].GetModelsAdded() != 1 || scans[1].GetName() != scan.GetName() || listed.GetNextPageToken() == "" {
		t.Errorf("the scans are %v", listed)
	}
}

// What Sigma tells of its warehouse connections is part of each model, though no
// workbook changes by it.
func TestAChangedWarehouseConnectionIsSeen(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.sigma.Change(func(o *sigmatest.Organization) { o.Connections[0].Account = "elsewhere" })
	w.scanChanged(snowflakeName)
	model, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: w.models(snowflakeName)[0].GetName()})
	w.must(err)
	if got := model.GetModel().GetSigmaWarehouse().GetAccount(); got != "elsewhere" {
		t.Errorf("the model reads from the account %q", got)
	}
}

func TestWatchChangesGoesOn(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	ctx, leave := context.WithCancel(w.ctx)
	stream, err := w.catalog.WatchChanges(ctx, &pb.WatchChangesRequest{Parent: snowflakeName, AfterSequence: 5})
	w.must(err)
	next := func() []*pb.Change {
		t.Helper()
		message, err := stream.Recv()
		w.must(err)
		return message.GetChanges()
	}
	if got := next(); len(got) != 2 || got[0].GetSequence() != 6 {
		t.Errorf("it begins with %v", got)
	}
	w.sigma.ChangeWorkbook("One", func(book *sigmatest.Workbook) { book.Name = "Uno" })
	w.scanChanged(snowflakeName)
	if got := next(); len(got) != 1 || changeLine(got[0]) != "WORKBOOK_RENAMED workbooks/one One>Uno" || got[0].GetSequence() != 8 {
		t.Errorf("it goes on with %v", got)
	}
	leave()
	if _, err := stream.Recv(); err == nil {
		t.Error("it goes on for who has left")
	}

	stream, err = w.catalog.WatchChanges(w.ctx, &pb.WatchChangesRequest{Parent: snowflakeName, AfterSequence: 7})
	w.must(err)
	next()
	_, err = w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
	w.must(err)
	_, err = stream.Recv()
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
}

func TestAScanIsCancelled(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	reached := make(chan struct{}, 10)
	w.sigma.SetFaults(sigmatest.On(queriesPath, sigmatest.Do(func() { reached <- struct{}{} })), sigmatest.On(queriesPath, sigmatest.Stall(nil)))
	scan := w.startScan(snowflakeName)
	<-reached
	cancelled, err := w.catalog.CancelScan(w.ctx, &pb.CancelScanRequest{Name: scan.GetName()})
	w.must(err)
	if got := cancelled.GetScan(); got.GetState() != pb.ScanState_SCAN_STATE_CANCELLED || got.GetEndTime() == nil || got.GetError() != nil {
		t.Errorf("the scan is %v", got)
	}
	if got := w.watch(scan.GetName()).GetState(); got != pb.ScanState_SCAN_STATE_CANCELLED {
		t.Errorf("who watches sees %s", got)
	}
	if got := w.catalogOf(snowflakeName); got != catalogOfThree {
		t.Errorf("the catalog is %s", got)
	}
	w.sigma.SetFaults()
	w.mustScan(snowflakeName)
	again, err := w.catalog.CancelScan(w.ctx, &pb.CancelScanRequest{Name: scan.GetName()})
	w.must(err)
	if again.GetScan().GetState() != pb.ScanState_SCAN_STATE_CANCELLED {
		t.Errorf("the scan is %v", again)
	}
	_, err = w.catalog.CancelScan(w.ctx, &pb.CancelScanRequest{Name: snowflakeName + "/scans/none"})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND)
}

func TestANewConnectionIsScanned(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	request := &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: "new", Connection: w.snowflakeConnection(), RequestId: "r"}
	created, err := w.connections.CreateConnection(w.ctx, request)
	w.must(err)
	scan := w.watch(created.GetScan())
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetTrigger() != pb.ScanTrigger_SCAN_TRIGGER_CREATION || !scan.GetFull() {
		t.Errorf("the first scan is %v", scan)
	}
	if got := w.catalogOf(workspace + "/connections/new"); got != catalogOfThree {
		t.Errorf("the catalog is %s", got)
	}
	again, err := w.connections.CreateConnection(w.ctx, request)
	w.must(err)
	if again.GetScan() != "" {
		t.Errorf("the repeated request began the scan %s", again.GetScan())
	}
}

// A connection that is due is scanned once, whichever replica's clock says so.
func TestASchedule(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	clock := time.Date(2026, 11, 25, 5, 59, 30, 0, time.UTC)
	w.restart(func(c *server.Config) { c.Now = func() time.Time { return clock } })
	mask := &fieldmaskpb.FieldMask{Paths: []string{"scan_schedule"}}
	update := func(s *pb.ScanSchedule) (*pb.Connection, error) {
		updated, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{UpdateMask: mask, SkipCheck: true,
			Connection: &pb.Connection{Name: snowflakeName, ScanSchedule: s}})
		return updated.GetConnection(), err
	}
	_, err := update(&pb.ScanSchedule{Cron: "0 6 * * *", TimeZone: "Nowhere"})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "connection.scan_schedule.time_zone")
	_, err = update(&pb.ScanSchedule{Cron: "* * * * *"})
	wantField(t, err, "connection.scan_schedule.cron")
	updated, err := update(&pb.ScanSchedule{Cron: "0 6 * * *", TimeZone: "UTC"})
	w.must(err)
	first := updated.GetNextScanTime().AsTime()
	if first.Hour() != 6 || first.Minute() > 5 || !first.After(clock) {
		t.Errorf("the next scan is at %s", first)
	}

	scheduled := func() (found []*pb.Scan) {
		t.Helper()
		scans, err := w.catalog.ListScans(w.ctx, &pb.ListScansRequest{Parent: snowflakeName})
		w.must(err)
		for _, scan := range scans.GetScans() {
			if scan.GetTrigger() == pb.ScanTrigger_SCAN_TRIGGER_SCHEDULE {
				found = append(found, scan)
			}
		}
		return found
	}
	nextScan := func() time.Time {
		t.Helper()
		got, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
		w.must(err)
		return got.GetConnection().GetNextScanTime().AsTime()
	}
	tick := func(now time.Time) {
		t.Helper()
		clock = now
		w.restart(w.adjust) // which looks for what is due
		w.must(w.server.Tick(w.ctx))
	}
	tick(first.Add(-time.Second))
	if n := len(scheduled()); n != 0 {
		t.Errorf("%d scans before the time", n)
	}
	tick(first.Add(time.Second)) // the clock of this one may be a minute ahead
	if n := len(scheduled()); n != 1 {
		t.Fatalf("%d scans at the time", n)
	}
	w.watch(scheduled()[0].GetName())
	if next := nextScan(); !next.Equal(first.Add(24 * time.Hour)) {
		t.Errorf("the next scan is at %s", next)
	}
	tick(first.Add(-time.Minute))
	tick(first.Add(time.Minute))
	if n := len(scheduled()); n != 1 {
		t.Errorf("%d scans by clocks that differ", n)
	}
	tick(first.Add(73 * time.Hour)) // nothing ran for three days
	if n := len(scheduled()); n != 2 {
		t.Errorf("%d scans after a pause", n)
	}
	w.watch(scheduled()[0].GetName())
	updated, err = update(nil)
	w.must(err)
	if updated.GetNextScanTime() != nil {
		t.Errorf("without a schedule the next scan is at %s", updated.GetNextScanTime())
	}
}

func TestTheArchiveIsListedOnceAndNotAskedForOneByOne(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	const many = 20
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range many {
			o.Workbooks = append(o.Workbooks, book(fmt.Sprint("Old", i), table("T")))
		}
	})
	w.scanChanged(snowflakeName)
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range many {
			o.Workbook(fmt.Sprint("Old", i)).Archived = true
		}
	})
	w.scanChanged(snowflakeName)
	want := w.catalogOf(snowflakeName)
	if n := strings.Count(want, "ARCHIVED"); n != many {
		t.Errorf("the catalog is %s", want)
	}
	_, last := w.changes(snowflakeName, 0)
	scan := w.scanChanged(snowflakeName)
	if scan.GetCalls() != 5 {
		t.Errorf("a scan of which many workbooks lie in the archive makes %d calls instead of five", scan.GetCalls())
	}
	if lines, _ := w.changes(snowflakeName, last); len(lines) != 0 || w.catalogOf(snowflakeName) != want {
		t.Errorf("it changed %q, and the catalog is %s", lines, w.catalogOf(snowflakeName))
	}
}

func TestCredentialsThatMayNotListDataModels(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.sigma.SetFaults(sigmatest.On("/v2/dataModels", sigmatest.Fail(http.StatusForbidden, "forbidden", "No")))
	scan := w.mustScan(snowflakeName)
	if len(scan.GetProblems()) != 1 || scan.GetProblems()[0].GetReason() != pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN || scan.GetWorkbooksDone() != 3 {
		t.Errorf("the scan is %v", scan)
	}
}
