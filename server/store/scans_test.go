package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testStartScan(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1"}, 0, nil)
	wantError(t, err, store.ErrNotFound)
	connect(t, s, prod)
	connect(t, s, prod+"2")

	first, started, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1", CreateTime: timestamppb.Now()}, 0, nil)
	check(t, err)
	if !started || first.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
		t.Fatalf("started %v, %v", started, first)
	}
	second, started, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s2"}, 0, nil)
	check(t, err)
	if started {
		t.Fatal("started a second scan")
	}
	equal(t, second, first)
	_, err = s.Scan(ctx, prod+"/scans/s2")
	wantError(t, err, store.ErrNotFound)
	_, started, err = s.StartScan(ctx, &pb.Scan{Name: prod + "2/scans/s1"}, 0, nil)
	check(t, err)
	if !started {
		t.Fatal("another connection's scan stood in the way")
	}

	_, claim, err := s.ClaimScan(ctx, first.GetName())
	check(t, err)
	end(t, s, claim)
	_, _, err = s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s1"}, 0, nil)
	wantError(t, err, store.ErrExists)
	_, started, err = s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s2"}, 0, nil)
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
			scan, started, err := s.StartScan(ctx, &pb.Scan{Name: fmt.Sprint(prod, "/scans/s", i)}, 0, nil)
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

// start starts a scan and takes it up.
func start(t testing.TB, s *store.Store, name string) store.Claim {
	t.Helper()
	_, started, err := s.StartScan(t.Context(), &pb.Scan{Name: name}, 0, nil)
	check(t, err)
	if !started {
		t.Fatal("another scan runs")
	}
	_, claim, err := s.ClaimScan(t.Context(), name)
	check(t, err)
	return claim
}

// end ends a scan well.
func end(t testing.TB, s *store.Store, claim store.Claim) {
	t.Helper()
	check(t, s.EndScan(t.Context(), claim, &pb.Scan{Name: claim.Scan, State: pb.ScanState_SCAN_STATE_SUCCEEDED}))
}

func testScanOver(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	claim := start(t, s, prod+"/scans/s")
	scan := &pb.Scan{Name: claim.Scan, State: pb.ScanState_SCAN_STATE_RUNNING, WorkbooksDone: 7}
	cancelled, err := s.KeepScan(ctx, claim, scan)
	check(t, err)
	equal(t, cancelled, false)
	read, err := s.Scan(ctx, scan.GetName())
	check(t, err)
	equal(t, read, scan)

	scan.State = pb.ScanState_SCAN_STATE_FAILED
	check(t, s.EndScan(ctx, claim, scan))
	late := &pb.Scan{Name: scan.GetName(), State: pb.ScanState_SCAN_STATE_RUNNING}
	_, err = s.KeepScan(ctx, claim, late)
	wantError(t, err, store.ErrScanLost)
	wantError(t, s.EndScan(ctx, claim, late), store.ErrScanLost)
	check(t, s.ReleaseScan(ctx, claim, refuse(t)))
	_, _, err = s.ClaimScan(ctx, claim.Scan)
	wantError(t, err, store.ErrScanLost)
	n, err := s.RescueScans(ctx, refuse(t))
	check(t, err)
	equal(t, n, 0)
	ended, err := s.CancelScan(ctx, claim.Scan)
	check(t, err)
	equal(t, ended, scan)
	read, err = s.Scan(ctx, scan.GetName())
	check(t, err)
	equal(t, read, scan)

	_, err = s.KeepScan(ctx, store.Claim{Scan: prod + "/scans/other", Run: 1}, scan)
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.EndScan(ctx, store.Claim{Scan: prod + "/scans/other", Run: 1}, scan), store.ErrNotFound)
	_, err = s.CancelScan(ctx, prod+"/scans/other")
	wantError(t, err, store.ErrNotFound)
}

// refuse is told of no scan.
func refuse(t *testing.T) store.Ask {
	return func(_ context.Context, _ *sql.Tx, scan string) error {
		t.Errorf("%s is asked for", scan)
		return nil
	}
}

func testClaimConcurrently(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	const name = prod + "/scans/s"
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: name}, 0, nil)
	check(t, err)
	for run := int64(1); run <= 3; run++ {
		var claims atomic.Int64
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				_, claim, err := s.ClaimScan(ctx, name)
				switch {
				case err == nil && claim.Run == run:
					claims.Add(1)
				case !errors.Is(err, store.ErrScanLost):
					t.Errorf("claim %v, error %v", claim, err)
				}
			})
		}
		group.Wait()
		equal(t, claims.Load(), int64(1))
		check(t, s.ExpireLease(ctx, name))
	}
}

func testLeases(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	first := start(t, s, prod+"/scans/s")
	var asked []string
	ask := func(_ context.Context, _ *sql.Tx, scan string) error {
		asked = append(asked, scan)
		return nil
	}
	rescue := func(want int) {
		t.Helper()
		n, err := s.RescueScans(ctx, ask)
		check(t, err)
		equal(t, n, want)
		equal(t, len(asked), want)
		asked = nil
	}
	rescue(0) // it is kept
	check(t, s.ExpireLease(ctx, first.Scan))
	rescue(1)
	scan := &pb.Scan{Name: first.Scan, State: pb.ScanState_SCAN_STATE_RUNNING, WorkbooksDone: 3}
	rescue(0)                              // it is asked for
	_, err := s.KeepScan(ctx, first, scan) // late, but nobody was faster
	check(t, err)
	rescue(0)

	check(t, s.ExpireLease(ctx, first.Scan))
	read, second, err := s.ClaimScan(ctx, first.Scan)
	check(t, err)
	equal(t, read, scan)
	equal(t, second, store.Claim{Scan: first.Scan, Run: 2})
	_, err = s.KeepScan(ctx, first, scan)
	wantError(t, err, store.ErrScanLost)
	wantError(t, s.EndScan(ctx, first, scan), store.ErrScanLost)
	check(t, s.ReleaseScan(ctx, first, refuse(t)))
	rescue(0)

	check(t, s.ReleaseScan(ctx, second, ask))
	equal(t, asked, []string{first.Scan})
	asked = nil
	rescue(0)
	check(t, s.ExpireLease(ctx, first.Scan))
	rescue(1)
	_, third, err := s.ClaimScan(ctx, first.Scan)
	check(t, err)
	end(t, s, third)
	rescue(0)
}

func testLostClaim(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	lost := start(t, s, prod+"/scans/s")
	check(t, s.ExpireLease(ctx, lost.Scan))
	w := workbook(prod, "w", "p", "n")
	_, err := s.PutWorkbook(ctx, store.Seen{Claim: lost, Workbook: w}) // nobody was faster
	check(t, err)
	_, claim, err := s.ClaimScan(ctx, lost.Scan)
	check(t, err)
	w.DisplayName = "m"
	refused := func(claim store.Claim) {
		t.Helper()
		_, err := s.PutWorkbook(ctx, store.Seen{Claim: claim, Workbook: w})
		wantError(t, err, store.ErrScanLost)
		_, err = s.RemoveWorkbook(ctx, claim, w.GetName())
		wantError(t, err, store.ErrScanLost)
	}
	refused(lost)
	end(t, s, claim)
	refused(claim)
	equal(t, allWorkbooks(t, s, prod)[0].GetDisplayName(), "n")
	changes := changesAfter(t, s, prod, 0, 0)
	equal(t, len(changes), 1)
	var mine []string
	check(t, s.ScanChanges(ctx, claim.Scan, func(c *pb.Change) { mine = append(mine, told(c)) }))
	equal(t, mine, []string{"1 WORKBOOK_ADDED workbooks/w >n"})
}

func testCancelScan(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	const name = prod + "/scans/s"
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: name}, 0, nil)
	check(t, err)
	scan, err := s.CancelScan(ctx, name) // nobody has it, so nobody is waited for
	check(t, err)
	equal(t, scan.GetState(), pb.ScanState_SCAN_STATE_CANCELLED)
	equal(t, scan.GetPhase(), pb.ScanPhase_SCAN_PHASE_DONE)
	_, _, err = s.ClaimScan(ctx, name)
	wantError(t, err, store.ErrScanLost)

	claim := start(t, s, prod+"/scans/t")
	scan, err = s.CancelScan(ctx, claim.Scan)
	check(t, err)
	equal(t, scan.GetState(), pb.ScanState_SCAN_STATE_RUNNING)
	cancelled, err := s.KeepScan(ctx, claim, scan)
	check(t, err)
	equal(t, cancelled, true)
	check(t, s.ExpireLease(ctx, claim.Scan))
	scan, err = s.CancelScan(ctx, claim.Scan) // its replica is gone
	check(t, err)
	equal(t, scan.GetState(), pb.ScanState_SCAN_STATE_CANCELLED)
}

func testAskFails(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	failure := errors.New("the queue is full")
	ask := func(context.Context, *sql.Tx, string) error { return failure }
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s"}, 0, ask)
	wantError(t, err, failure)
	_, err = s.Scan(ctx, prod+"/scans/s")
	wantError(t, err, store.ErrNotFound)
	_, started, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s"}, 0, nil)
	check(t, err)
	equal(t, started, true)
}

func testDueConnections(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	now := time.Unix(1_800_000_000, 0)
	names := map[string]time.Time{"early": now.Add(-time.Hour), "now": now, "late": now.Add(time.Second), "never": {}}
	for id, at := range names {
		c := &pb.Connection{Name: "workspaces/acme/connections/" + id, ScanSchedule: &pb.ScanSchedule{Cron: "@daily"}}
		if !at.IsZero() {
			c.NextScanTime = timestamppb.New(at)
		}
		_, err := s.CreateConnection(ctx, c, &store.Secrets{}, store.Request{})
		check(t, err)
	}
	due := func() []string {
		t.Helper()
		connections, err := s.DueConnections(ctx, now)
		check(t, err)
		var ids []string
		for _, c := range connections {
			ids = append(ids, strings.TrimPrefix(c.GetName(), "workspaces/acme/connections/"))
		}
		return ids
	}
	equal(t, due(), []string{"early", "now"})
	early, err := s.Connection(ctx, "workspaces/acme/connections/early")
	check(t, err)
	full := errors.New("the queue is full")
	_, err = s.StartDueScan(ctx, early, now.Add(time.Hour), &pb.Scan{Name: early.GetName() + "/scans/s"}, 0, func(context.Context, *sql.Tx, string) error { return full })
	wantError(t, err, full)
	equal(t, due(), []string{"early", "now"}) // neither is done
	var starts atomic.Int64
	var group sync.WaitGroup
	for i := range 8 { // replicas that have read it at the same moment
		group.Go(func() {
			started, err := s.StartDueScan(ctx, early, now.Add(time.Duration(i+1)*time.Hour), &pb.Scan{Name: fmt.Sprint(early.GetName(), "/scans/s", i)}, 0, nil)
			if err != nil {
				t.Error(err)
			}
			if started {
				starts.Add(1)
			}
		})
	}
	group.Wait()
	equal(t, starts.Load(), int64(1))
	equal(t, due(), []string{"now"})
	set, err := s.Connection(ctx, early.GetName())
	check(t, err)
	equal(t, set.GetEtag(), early.GetEtag())

	// A schedule that stays keeps its time, and one that changes does not.
	set.DisplayName, set.NextScanTime = "x", timestamppb.New(now)
	set, err = s.UpdateConnection(ctx, set, nil)
	check(t, err)
	equal(t, due(), []string{"now"})
	set.ScanSchedule.Cron, set.NextScanTime = "@hourly", timestamppb.New(now)
	_, err = s.UpdateConnection(ctx, set, nil)
	check(t, err)
	equal(t, len(due()), 2)
	check(t, s.DeleteConnection(ctx, set.GetName(), ""))
	_, err = s.StartDueScan(ctx, set, now, &pb.Scan{Name: set.GetName() + "/scans/t"}, 0, nil)
	wantError(t, err, store.ErrNotFound)
}
