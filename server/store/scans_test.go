package store_test

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testStartScan(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1"}, 0)
	wantError(t, err, store.ErrNotFound)
	connect(t, s, prod)
	connect(t, s, prod+"2")

	first, started, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1", CreateTime: timestamppb.Now()}, 0)
	check(t, err)
	if !started || first.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
		t.Fatalf("started %v, %v", started, first)
	}
	second, started, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s2"}, 0)
	check(t, err)
	if started {
		t.Fatal("started a second scan")
	}
	equal(t, second, first)
	_, err = s.Scan(ctx, prod+"/scans/s2")
	wantError(t, err, store.ErrNotFound)
	_, started, err = s.StartScan(ctx, &pb.Scan{Name: prod + "2/scans/s1"}, 0)
	check(t, err)
	if !started {
		t.Fatal("another connection's scan stood in the way")
	}

	first.State = pb.ScanState_SCAN_STATE_SUCCEEDED
	check(t, s.UpdateScan(ctx, first))
	_, _, err = s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1"}, 0)
	wantError(t, err, store.ErrExists)
	_, started, err = s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s2"}, 0)
	check(t, err)
	if !started {
		t.Fatal("a scan that is over stood in the way")
	}
}

func testStartScanConcurrently(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	var (
		mu      sync.Mutex
		group   sync.WaitGroup
		starts  int
		running = map[string]bool{}
	)
	for i := range 20 {
		group.Go(func() {
			scan, started, err := s.StartScan(ctx, &pb.Scan{Name: fmt.Sprint(prod, "/scans/s", i)}, 0)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			running[scan.GetName()] = true
			if started {
				starts++
			}
		})
	}
	group.Wait()
	if starts != 1 || len(running) != 1 {
		t.Fatalf("%d starts, running scans %v", starts, running)
	}
}

func testScanOver(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	scan, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s"}, 0)
	check(t, err)
	scan.WorkbooksDone = 7
	check(t, s.UpdateScan(ctx, scan))
	read, err := s.Scan(ctx, scan.GetName())
	check(t, err)
	equal(t, read, scan)

	scan.State = pb.ScanState_SCAN_STATE_CANCELLED
	check(t, s.UpdateScan(ctx, scan))
	late := &pb.Scan{Name: scan.GetName(), State: pb.ScanState_SCAN_STATE_RUNNING}
	wantError(t, s.UpdateScan(ctx, late), store.ErrScanOver)
	read, err = s.Scan(ctx, scan.GetName())
	check(t, err)
	equal(t, read, scan)
	wantError(t, s.UpdateScan(ctx, &pb.Scan{Name: prod + "/scans/other"}), store.ErrNotFound)
}

func testInterrupt(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	for i := range 3 {
		name := fmt.Sprint("workspaces/acme/connections/c", i)
		connect(t, s, name)
		scan, _, err := s.StartScan(ctx, &pb.Scan{Name: name + "/scans/s", WorkbooksDone: int32(i)}, 0)
		check(t, err)
		if i == 2 {
			scan.State = pb.ScanState_SCAN_STATE_SUCCEEDED
			check(t, s.UpdateScan(ctx, scan))
		}
	}
	problem := &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_SCAN_INTERRUPTED, Message: "start another"}
	for _, want := range []int{2, 0} {
		n, err := s.InterruptScans(ctx, problem)
		check(t, err)
		equal(t, n, want)
	}
	for i := range 3 {
		scan, err := s.Scan(ctx, fmt.Sprint("workspaces/acme/connections/c", i, "/scans/s"))
		check(t, err)
		if i == 2 {
			equal(t, scan.GetState(), pb.ScanState_SCAN_STATE_SUCCEEDED)
			continue
		}
		if scan.GetEndTime() == nil {
			t.Fatal("an interrupted scan has no end")
		}
		scan.EndTime = nil
		equal(t, scan, &pb.Scan{
			Name: scan.GetName(), State: pb.ScanState_SCAN_STATE_FAILED, Phase: pb.ScanPhase_SCAN_PHASE_DONE,
			WorkbooksDone: int32(i), Error: problem,
		})
	}
}
