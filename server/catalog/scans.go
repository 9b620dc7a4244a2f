package catalog

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/server/store"
)

// scanPoll is how often the store is asked for a scan that another replica runs.
const scanPoll = 500 * time.Millisecond

// connectionOf is the connection of a scan, by their names.
func connectionOf(scan string) string {
	connection, _, _ := strings.Cut(scan, "/scans/")
	return connection
}

// StartScan begins a scan, or returns the one that runs.
func (s *Service) StartScan(ctx context.Context, request *pb.StartScanRequest) (*pb.StartScanResponse, error) {
	scan, err := s.start(ctx, request.GetParent(), request.GetFull(), pb.ScanTrigger_SCAN_TRIGGER_REQUEST)
	if err != nil {
		return nil, err
	}
	return &pb.StartScanResponse{Scan: scan}, nil
}

// Begin begins the first scan of a new connection and returns its name.
func (s *Service) Begin(ctx context.Context, connection string) (string, error) {
	scan, err := s.start(ctx, connection, false, pb.ScanTrigger_SCAN_TRIGGER_CREATION)
	return scan.GetName(), err
}

func (s *Service) start(ctx context.Context, connection string, full bool, trigger pb.ScanTrigger) (*pb.Scan, error) {
	wanted, err := s.newScan(ctx, connection, full, trigger)
	if err != nil {
		return nil, err
	}
	scan, started, err := s.store.StartScan(ctx, wanted, s.most, s.ask)
	switch {
	case errors.Is(err, store.ErrTooManyScans):
		workspace, _, _ := strings.Cut(connection, "/connections/")
		return nil, quota.Exceeded(workspace, "scans", s.most)
	case err != nil:
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, connection)
	case started:
		return scan, nil
	}
	return s.latest(scan), nil
}

// newScan is a scan to be started, which is full if that is wanted or due.
func (s *Service) newScan(ctx context.Context, connection string, full bool, trigger pb.ScanTrigger) (*pb.Scan, error) {
	if !full {
		due, err := s.fullIsDue(ctx, connection)
		if err != nil {
			return nil, err
		}
		full = due
	}
	return &pb.Scan{
		Name:       connection + "/scans/" + uuid.Must(uuid.NewV7()).String(),
		State:      pb.ScanState_SCAN_STATE_RUNNING,
		Phase:      pb.ScanPhase_SCAN_PHASE_QUEUED,
		CreateTime: timestamppb.New(s.now()),
		Full:       full,
		Trigger:    trigger,
	}, nil
}

// GetScan returns a scan as it stands.
func (s *Service) GetScan(ctx context.Context, request *pb.GetScanRequest) (*pb.GetScanResponse, error) {
	scan, _, err := s.look(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.GetScanResponse{Scan: scan}, nil
}

// ListScans returns a page of a connection's scans.
func (s *Service) ListScans(ctx context.Context, request *pb.ListScansRequest) (*pb.ListScansResponse, error) {
	const missing = pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND
	if _, err := s.store.Connection(ctx, request.GetParent()); err != nil {
		return nil, storeError(err, missing, request.GetParent())
	}
	scans, next, err := s.store.ListScans(ctx, request.GetParent(), store.Page{Size: request.GetPageSize(), Token: request.GetPageToken()})
	if err != nil {
		return nil, storeError(err, missing, request.GetParent())
	}
	for i, scan := range scans {
		scans[i] = s.latest(scan)
	}
	return &pb.ListScansResponse{Scans: scans, NextPageToken: next}, nil
}

// CancelScan ends a scan that runs, wherever it does.
func (s *Service) CancelScan(ctx context.Context, request *pb.CancelScanRequest) (*pb.CancelScanResponse, error) {
	scan, err := s.store.CancelScan(ctx, request.GetName())
	if err != nil {
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND, request.GetName())
	}
	if p := s.local(request.GetName()); p != nil {
		p.cancel(errCancelled) // without waiting until it is read
	}
	err = s.follow(ctx, request.GetName(), func(step *pb.Scan) error {
		scan = step
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &pb.CancelScanResponse{Scan: scan}, nil
}

// Cancel ends the scan that runs here for a connection, and waits until it is over.
// One that runs on another replica ends by itself once its connection is gone.
func (s *Service) Cancel(ctx context.Context, connection string) error {
	s.mu.Lock()
	var mine []*progress
	for name, p := range s.running {
		if connectionOf(name) == connection {
			mine = append(mine, p)
		}
	}
	s.mu.Unlock()
	for _, p := range mine {
		p.cancel(errCancelled)
		select {
		case <-p.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// WatchScan sends a scan whenever it has moved on.
func (s *Service) WatchScan(request *pb.WatchScanRequest, stream grpc.ServerStreamingServer[pb.WatchScanResponse]) error {
	return s.follow(stream.Context(), request.GetName(), func(scan *pb.Scan) error {
		return stream.Send(&pb.WatchScanResponse{Scan: scan})
	})
}

// follow calls step with the scan as it stands, whenever that is something new, the
// last time once it is over.
func (s *Service) follow(ctx context.Context, name string, step func(*pb.Scan) error) error {
	poll := time.NewTicker(scanPoll)
	defer poll.Stop()
	var last *pb.Scan
	for {
		scan, moved, err := s.look(ctx, name)
		if last != nil && isReason(err, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND) { // deleted with its connection
			scan, err = proto.CloneOf(last), nil
			end(scan, errCancelled)
		}
		if err != nil {
			return err
		}
		if !proto.Equal(scan, last) {
			if err := step(scan); err != nil {
				return err
			}
			last = scan
		}
		if scan.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
			return nil
		}
		again := poll.C
		if moved != nil {
			again = nil
		}
		select {
		case <-moved:
		case <-again:
		case <-s.closing:
			return errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down; the scan goes on, so call again")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isReason(err error, reason pb.ErrorReason) bool {
	var failure *errmap.Error
	return errors.As(err, &failure) && failure.Reason == reason
}

// look returns a scan as it stands. Where it runs here, which is ahead of the store,
// moved is closed once it has moved on.
func (s *Service) look(ctx context.Context, name string) (scan *pb.Scan, moved <-chan struct{}, err error) {
	if p := s.local(name); p != nil {
		scan, moved = p.snapshot()
		return scan, moved, nil
	}
	if scan, err = s.store.Scan(ctx, name); err != nil {
		return nil, nil, storeError(err, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND, name)
	}
	return scan, nil, nil
}

// latest is what is known here of a scan that the store has shown.
func (s *Service) latest(stored *pb.Scan) *pb.Scan {
	if p := s.local(stored.GetName()); p != nil {
		scan, _ := p.snapshot()
		return scan
	}
	return stored
}

// local is a scan that runs here, or nil.
func (s *Service) local(name string) *progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[name]
}

func (s *Service) remember(p *progress) {
	scan, _ := p.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[scan.GetName()] = p
}

func (s *Service) forget(p *progress) {
	scan, _ := p.snapshot()
	s.mu.Lock()
	delete(s.running, scan.GetName())
	s.mu.Unlock()
	p.ended()
}
