package server_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// A scan outlives the process that runs it, and goes on from the workbooks that were
// read.
func TestAScanGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	reached := make(chan struct{}, 10)
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks/two/queries", sigmatest.Do(func() { reached <- struct{}{} })), sigmatest.On("/v2/workbooks/two/queries", sigmatest.Stall(nil)))
	scan := w.startScan(snowflakeName)
	<-reached
	w.awaitScan(scan.GetName(), func(scan *pb.Scan) bool { return scan.GetWorkbooksDone() == 2 })
	w.stop()
	before := w.readings()
	w.sigma.SetFaults()
	w.start()
	last := w.watch(scan.GetName())
	if last.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || last.GetInterruptions() != 1 || last.GetWorkbooksDone() != 3 ||
		last.GetModelsFound() != 4 || last.GetWorkbooksUnchanged() != 0 {
		t.Errorf("the scan ended with %v", last)
	}
	if n := w.readings() - before; n != 1 {
		t.Errorf("%d workbooks were read after the restart instead of one", n)
	}
	if got := w.catalogOf(snowflakeName); got != catalogOfThree {
		t.Errorf("the catalog is %s", got)
	}

	// A process that was killed leaves a scan that runs nowhere, and no job.
	w.stop()
	left := &pb.Scan{Name: snowflakeName + "/scans/left", Full: true}
	s := w.openStore()
	_, started, err := s.StartScan(context.WithoutCancel(w.ctx), left, 0, nil)
	w.must(err)
	if !started {
		t.Fatal("the scan before still runs")
	}
	w.close(s.Close())
	w.execStore(`UPDATE scans SET lease = 1 WHERE name = ?`, left.GetName())
	w.start()
	if last := w.watch(left.GetName()); last.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
		t.Errorf("the scan ended with %v", last)
	}
}

// execStore runs a statement in the store's file, behind the back of the server.
func (w *world) execStore(statement string, args ...any) {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dataDir, "store.db")+"?_pragma=busy_timeout(10000)")
	w.must(err)
	_, err = db.ExecContext(context.WithoutCancel(w.ctx), statement, args...)
	w.must(errors.Join(err, db.Close()))
}
