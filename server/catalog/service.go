// Package catalog serves ModelCatalog: it scans Sigma for workbooks and keeps
// what it finds.
//
// The rules of a scan are in scan.go and workbook.go; they know no gRPC. The
// package may import the layers below and server/connections.
package catalog

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/jobs"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/server/store"
)

// Links opens what a connection leads to. *connections.Pool is one.
type Links interface {
	Acquire(ctx context.Context, connection string) (*connections.Link, error)
}

// Service implements the contract's ModelCatalog.
type Service struct {
	pb.UnimplementedModelCatalogServer
	store  Store
	links  Links
	runner *jobs.Runner
	most   int // scans of a workspace at a time
	logger *slog.Logger

	closing chan struct{} // closed by Close
	close   func()

	mu      sync.Mutex
	running map[string]*progress // by scan name
}

// New returns a service whose scans run in runner, at most that many of a
// workspace at a time; 0 means any number.
func New(store Store, links Links, runner *jobs.Runner, most int, logger *slog.Logger) *Service {
	s := &Service{store: store, links: links, runner: runner, most: most, logger: logger,
		closing: make(chan struct{}), running: map[string]*progress{}}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	return s
}

// Close ends the streams that would go on for ever. Scans end with their runner.
func (s *Service) Close() { s.close() }

// StartScan begins a scan, or returns the one that runs.
func (s *Service) StartScan(ctx context.Context, request *pb.StartScanRequest) (*pb.StartScanResponse, error) {
	connection := request.GetParent()
	wanted := &pb.Scan{
		Name:       connection + "/scans/" + uuid.Must(uuid.NewV7()).String(),
		State:      pb.ScanState_SCAN_STATE_RUNNING,
		Phase:      pb.ScanPhase_SCAN_PHASE_SIGNING_IN,
		CreateTime: timestamppb.Now(),
		Full:       request.GetFull(),
	}
	if !wanted.GetFull() {
		due, err := s.fullIsDue(ctx, connection)
		if err != nil {
			return nil, err
		}
		wanted.Full = due
	}
	scan, started, err := s.store.StartScan(ctx, wanted, s.most)
	if errors.Is(err, store.ErrTooManyScans) {
		workspace, _, _ := strings.Cut(connection, "/connections/")
		return nil, quota.Exceeded(workspace, "scans", s.most)
	}
	if err != nil {
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, connection)
	}
	if !started {
		if known := s.current(scan.GetName()); known != nil {
			scan = known
		}
		return &pb.StartScanResponse{Scan: scan}, nil
	}
	if err := s.run(ctx, connection, scan); err != nil {
		end(scan, err)
		return nil, errors.Join(err, s.store.UpdateScan(context.WithoutCancel(ctx), scan))
	}
	return &pb.StartScanResponse{Scan: scan}, nil
}

// run starts the job of a scan. The store holds at most one running scan a
// connection, so a job that is in the way is only about to end.
func (s *Service) run(ctx context.Context, connection string, scan *pb.Scan) error {
	p := newProgress(scan)
	s.mu.Lock()
	s.running[scan.GetName()] = p
	s.mu.Unlock()
	forget := func() {
		s.mu.Lock()
		delete(s.running, scan.GetName())
		s.mu.Unlock()
	}
	for {
		begun, err := s.runner.Start(connection, func(ctx context.Context) {
			defer forget()
			s.scan(ctx, connection, p)
		})
		if err == nil && !begun {
			err = s.runner.Wait(ctx, connection)
		}
		switch {
		case errors.Is(err, jobs.ErrClosed):
			forget()
			return errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down")
		case err != nil:
			forget()
			return err
		case begun:
			return nil
		}
	}
}

// GetScan returns a scan as it stands. While it runs in this process, what is
// known here is ahead of the store; afterwards the store has its end.
func (s *Service) GetScan(ctx context.Context, request *pb.GetScanRequest) (*pb.GetScanResponse, error) {
	if scan := s.current(request.GetName()); scan != nil {
		return &pb.GetScanResponse{Scan: scan}, nil
	}
	scan, err := s.store.Scan(ctx, request.GetName())
	if err != nil {
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND, request.GetName())
	}
	return &pb.GetScanResponse{Scan: scan}, nil
}

// CancelScan ends a scan that runs.
func (s *Service) CancelScan(ctx context.Context, request *pb.CancelScanRequest) (*pb.CancelScanResponse, error) {
	if s.current(request.GetName()) != nil {
		connection, _, _ := strings.Cut(request.GetName(), "/scans/")
		if err := s.runner.Cancel(ctx, connection); err != nil {
			return nil, err
		}
	}
	response, err := s.GetScan(ctx, &pb.GetScanRequest{Name: request.GetName()})
	if err != nil {
		return nil, err
	}
	return &pb.CancelScanResponse{Scan: response.GetScan()}, nil
}

// WatchScan sends a scan whenever it has moved on.
func (s *Service) WatchScan(request *pb.WatchScanRequest, stream grpc.ServerStreamingServer[pb.WatchScanResponse]) error {
	ctx := stream.Context()
	s.mu.Lock()
	p := s.running[request.GetName()]
	s.mu.Unlock()
	if p == nil {
		response, err := s.GetScan(ctx, &pb.GetScanRequest{Name: request.GetName()})
		if err != nil {
			return err
		}
		return stream.Send(&pb.WatchScanResponse{Scan: response.GetScan()})
	}
	for {
		scan, moved := p.snapshot()
		if err := stream.Send(&pb.WatchScanResponse{Scan: scan}); err != nil {
			return err
		}
		if scan.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// current is a scan that runs in this process, as it stands, or nil.
func (s *Service) current(name string) *pb.Scan {
	s.mu.Lock()
	p := s.running[name]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	scan, _ := p.snapshot()
	return scan
}

// GetModel returns a model with its columns.
func (s *Service) GetModel(ctx context.Context, request *pb.GetModelRequest) (*pb.GetModelResponse, error) {
	model, err := s.store.Model(ctx, request.GetName())
	if err != nil {
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_MODEL_NOT_FOUND, request.GetName())
	}
	schemas, err := s.store.RecentSchemas(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	addWarehouseTypes(model, schemas)
	return &pb.GetModelResponse{Model: model}, nil
}

// addWarehouseTypes adds to each column its type in the newest schema that has
// it: a scan does not ask the warehouse.
func addWarehouseTypes(model *pb.Model, schemas []*pb.Schema) {
	types := map[string]string{}
	for _, schema := range schemas {
		for _, c := range schema.GetColumns() {
			if _, newer := types[c.GetColumnId()]; !newer && c.GetColumnId() != "" {
				types[c.GetColumnId()] = c.GetWarehouseType()
			}
		}
	}
	for _, c := range model.GetColumns() {
		c.WarehouseType = types[c.GetColumnId()]
	}
}

func storeError(err error, missing pb.ErrorReason, name string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errmap.New(missing, name, missingText[missing])
	case errors.Is(err, store.ErrBadPageToken):
		return errmap.InvalidField("page_token", "it belongs to another request; leave it empty to begin again")
	}
	return err
}

var missingText = map[pb.ErrorReason]string{
	pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND: "there is no such connection",
	pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND:       "there is no such scan",
	pb.ErrorReason_ERROR_REASON_MODEL_NOT_FOUND:      "no scan has seen this model; start a scan, or check that the credentials' owner may see its workbook in Sigma",
}
