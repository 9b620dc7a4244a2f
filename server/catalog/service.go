// Package catalog serves ModelCatalog: it scans Sigma for workbooks and keeps
// what it finds.
//
// The rules of a scan are in scan.go, workbook.go and missing.go, and how it is run,
// kept and ended in run.go; they know no gRPC. The package may import the layers
// below and server/connections. It does not know how its work is queued.
package catalog

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
)

// Links opens what a connection leads to. *connections.Pool is one.
type Links interface {
	Acquire(ctx context.Context, connection string) (*connections.Link, error)
}

// Queue tells all replicas that there is a scan to run. *jobs.Runner is one.
type Queue interface {
	AskForScan(ctx context.Context, tx *sql.Tx, scan string) error
}

// Service implements the contract's ModelCatalog, and does the work of its jobs.
type Service struct {
	pb.UnimplementedModelCatalogServer
	store  Store
	links  Links
	most   int // scans of a workspace at a time
	now    func() time.Time
	logger *slog.Logger
	queue  Queue // set before the first call

	closing chan struct{} // closed by Close
	close   func()

	mu      sync.Mutex
	running map[string]*progress // by scan name
}

// New returns a service that runs at most that many scans of a workspace at a time;
// 0 means any number. It can be called once Use has told it its queue.
func New(store Store, links Links, most int, now func() time.Time, logger *slog.Logger) *Service {
	s := &Service{store: store, links: links, most: most, now: now, logger: logger,
		closing: make(chan struct{}), running: map[string]*progress{}}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	return s
}

// Use sets the queue, whose work the service itself is.
func (s *Service) Use(queue Queue) { s.queue = queue }

// ask is what the store calls within its transactions.
func (s *Service) ask(ctx context.Context, tx *sql.Tx, scan string) error {
	return s.queue.AskForScan(ctx, tx, scan)
}

// Close ends the streams that would go on for ever. Scans end with the queue.
func (s *Service) Close() { s.close() }

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
	if model.LastReads, err = s.store.Reads(ctx, request.GetName()); err != nil {
		return nil, err
	}
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
