// Package query serves ModelQuery: it reads models from the warehouse.
//
// It is where Sigma's SQL meets the warehouse: it asks Sigma for the text,
// lets sigmasql make a statement of it, runs that, and encodes the Arrow
// batches as they come. It may import the layers below and server/connections;
// nothing imports it but package server.
package query

import (
	"context"
	"time"

	"github.com/sigmasource/sigmasource/server/connections"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Sizes of the messages of a stream, in bytes as encoded.
const (
	// targetMessageSize is where a batch is split. Larger messages cost latency
	// and memory, smaller ones throughput.
	targetMessageSize = 1 << 20

	// maxMessageSize is the most that one row may take. gRPC clients refuse
	// messages over 4 MiB unless told otherwise.
	maxMessageSize = 4<<20 - 4<<10
)

// Links opens what a connection leads to. *connections.Pool is one.
type Links interface {
	Acquire(ctx context.Context, connection string) (*connections.Link, error)
}

// Store is what the service knows of models from before. *store.Store is one.
type Store interface {
	Model(ctx context.Context, name string) (*pb.Model, error)
	PutSchema(ctx context.Context, model string, schema *pb.Schema) error
	Schema(ctx context.Context, model, fingerprint string) (*pb.Schema, error)
}

// Service implements the contract's ModelQuery.
type Service struct {
	pb.UnimplementedModelQueryServer

	// Heartbeat is after how long without a message a stream repeats its
	// progress. 0 means 5 seconds.
	Heartbeat time.Duration

	links Links
	store Store
}

// New returns a service that reads through the given links.
func New(links Links, store Store) *Service {
	return &Service{links: links, store: store}
}
