package catalog

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

const (
	// keepEvery is how often a scan that runs here tells the store that it does, and
	// how far it has come. Several times must fail before the scan is lost.
	keepEvery = 2 * time.Second

	// endTime bounds how long the end of a scan may take to be stored.
	endTime = 10 * time.Second

	// maxRuns is how often a scan is taken up. One that brings down whoever runs it
	// must not go round for ever.
	maxRuns = 20
)

// Why a scan that ran here ended before it was done.
var (
	errCancelled = errors.New("catalog: the scan was cancelled")
	errLost      = errors.New("catalog: another replica has the scan")
	errStopped   = errors.New("catalog: the replica stops")
	errPanicked  = errors.New("catalog: the scan panicked")
)

// Scan takes up a scan that was asked for, and goes on with it to its end, unless
// somebody else has it or it is over. It returns early if ctx ends; the scan is then
// given back. An error means that the store failed: the scan is left as it stands,
// and somebody will take it up again.
func (s *Service) Scan(ctx context.Context, name string) error {
	scan, claim, err := s.store.ClaimScan(ctx, name)
	if errors.Is(err, store.ErrScanLost) {
		return nil
	}
	if err != nil {
		return err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newProgress(scan, cancel)
	s.remember(p)
	defer s.forget(p)
	s.logger.Info("scan taken up", "scan", name, "run", claim.Run)
	failure := s.begin(ctx, p, claim)
	if failure == nil {
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			s.keep(run, p, claim)
		}()
		failure = s.read(run, p, claim)
		if failure != nil && run.Err() != nil {
			failure = context.Cause(run) // not what it led to
		}
		cancel(nil)
		<-kept
	}
	if failure != nil && ctx.Err() != nil {
		failure = errStopped
	}
	return s.finish(ctx, p, claim, failure)
}

// begin brings the scan's counts to what earlier runs of it are known to have done.
func (s *Service) begin(ctx context.Context, p *progress, claim store.Claim) error {
	if claim.Run > maxRuns {
		return errmap.New(pb.ErrorReason_ERROR_REASON_SCAN_INTERRUPTED, "", fmt.Sprintf("the scan was interrupted %d times; start another", maxRuns))
	}
	var counts pb.Scan
	if claim.Run > 1 {
		if err := s.store.ScanChanges(ctx, claim.Scan, newTally(&counts).add); err != nil {
			return err
		}
	}
	p.update(func(scan *pb.Scan) {
		scan.Phase, scan.Interruptions, scan.Problems, scan.RemainingTime = pb.ScanPhase_SCAN_PHASE_SIGNING_IN, int32(claim.Run-1), nil, nil
		scan.ListGaps, scan.WorkbooksIncomplete = nil, 0
		scan.WorkbooksTotal, scan.WorkbooksDone, scan.WorkbooksFailed, scan.WorkbooksUnchanged = 0, 0, 0, 0
		scan.ModelsFound, scan.ModelsUnreadable, scan.ModelsFailed, scan.ElementsSkipped = 0, 0, 0, 0
		scan.ModelsAdded, scan.ModelsChanged, scan.ModelsRemoved = counts.GetModelsAdded(), counts.GetModelsChanged(), counts.GetModelsRemoved()
	})
	return nil
}

// keep keeps the scan until ctx ends, and ends ctx if the scan is to end.
func (s *Service) keep(ctx context.Context, p *progress, claim store.Claim) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		scan, _ := p.snapshot()
		cancelled, err := s.store.KeepScan(ctx, claim, scan)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && cancelled:
			p.cancel(errCancelled)
		case errors.Is(err, store.ErrScanLost):
			p.cancel(errLost)
		case err != nil && ctx.Err() == nil:
			s.logger.Warn("a scan's progress could not be stored", "scan", claim.Scan, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// read scans Sigma. A panic, whose value may hold what must not be kept, fails the
// scan and nothing else.
func (s *Service) read(ctx context.Context, p *progress, claim store.Claim) (err error) {
	defer func() {
		if value := recover(); value != nil {
			s.logger.Error("a scan panicked", "scan", claim.Scan, "panic", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	connection := connectionOf(claim.Scan)
	link, err := s.links.Acquire(ctx, connection)
	if err != nil {
		return err
	}
	defer link.Release()
	scan, _ := p.snapshot()
	meter := &sigmaclient.Meter{}
	p.measure(meter, link.Sigma.Places())
	return (&scanner{
		store: s.store, link: link, connection: connection, tag: link.Connection.GetVersionTag(), claim: claim,
		progress: p, now: timestamppb.New(s.now()), full: scan.GetFull(), finder: link.Sigma.ConnectionFinder(),
	}).run(sigmaclient.WithMeter(ctx, meter))
}

// finish stores how the scan ended, before anybody is told of it: who is told may
// start the next scan at once.
func (s *Service) finish(ctx context.Context, p *progress, claim store.Claim, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	scan, _ := p.snapshot()
	switch {
	case errors.Is(failure, errLost), errors.Is(failure, store.ErrScanLost):
		return nil
	case errors.Is(failure, errStopped):
		return s.store.ReleaseScan(ctx, claim, s.ask)
	case errors.Is(failure, store.ErrNotFound): // deleted with its connection
		failure = errCancelled
	case failure != nil && !isFinal(failure):
		return failure
	}
	end(scan, failure)
	err := s.store.EndScan(ctx, claim, scan)
	if errors.Is(err, store.ErrScanLost) { // at the last moment: how it ends is for others to say
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	p.replace(scan)
	s.logger.Info("scan ended", "scan", scan.GetName(), "state", scan.GetState().String(),
		"workbooks", scan.GetWorkbooksDone(), "models", scan.GetModelsFound(), "reason", scan.GetError().GetReason().String(),
		"calls", scan.GetCalls(), "busy", p.busy)
	return nil
}

// isFinal reports whether a failure is a word on the scan. One of which nothing is
// known is taken for the store's, which may be back soon.
func isFinal(failure error) bool {
	return errors.Is(failure, errCancelled) || errors.Is(failure, errPanicked) ||
		errmap.Problem(failure, "").GetReason() != pb.ErrorReason_ERROR_REASON_INTERNAL
}

// end puts a scan into its last state. A nil failure means success.
func end(scan *pb.Scan, failure error) {
	scan.EndTime = timestamppb.Now()
	if begun := scan.GetCreateTime(); begun.AsTime().After(scan.GetEndTime().AsTime()) { // by the clock of another replica
		scan.EndTime = begun
	}
	scan.Phase = pb.ScanPhase_SCAN_PHASE_DONE
	scan.RemainingTime = nil
	switch {
	case failure == nil:
		scan.State = pb.ScanState_SCAN_STATE_SUCCEEDED
	case errors.Is(failure, errCancelled):
		scan.State = pb.ScanState_SCAN_STATE_CANCELLED
	default:
		scan.State = pb.ScanState_SCAN_STATE_FAILED
		scan.Error = errmap.Problem(failure, "")
	}
}
