// Package query serves ModelQuery: it reads models from the warehouse.
//
// It is where Sigma's SQL meets the warehouse: it asks Sigma for the text,
// lets sigmasql make a statement of it, runs that, and encodes the Arrow
// batches as they come. It may import the layers below and server/connections;
// nothing imports it but package server.
package query

import (
	"cmp"
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
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

// Store is what the service knows of models and sessions from before.
// *store.Store is one.
type Store interface {
	Model(ctx context.Context, name string) (*pb.Model, error)
	PutSchema(ctx context.Context, model string, schema *pb.Schema) error
	Schema(ctx context.Context, model, fingerprint string) (*pb.Schema, error)
	PutRead(ctx context.Context, model string, read *pb.CompletedRead) error
	Reads(ctx context.Context, model string) ([]*pb.CompletedRead, error)
	DeleteReads(ctx context.Context, before time.Time) error

	CreateSession(ctx context.Context, session *store.Session) error
	Session(ctx context.Context, name string) (*store.Session, error)
	UpdateSession(ctx context.Context, session *pb.ReadSession) error
	ExtendSession(ctx context.Context, name string, first int, parts []store.SessionPart, lease time.Duration) error
	SessionParts(ctx context.Context, name string, from int) ([]store.SessionPart, error)
	DeleteSession(ctx context.Context, name string) error
	SessionLives(ctx context.Context, id string, then time.Time) (bool, error)
	ForgetSessions(ctx context.Context, then time.Time) error
}

// Options are what a service may have besides.
type Options struct {
	// Spool keeps the results of warehouses that do not keep them. It is not closed
	// by the service. Nil refuses read sessions on such warehouses.
	Spool *spool.Spool
	// Memory bounds the bytes of rows that are read ahead of their readers. 0 means
	// 128 MiB.
	Memory int64
	// Heartbeat is after how long without a message a stream repeats its progress. 0
	// means 5 seconds.
	Heartbeat time.Duration
	// DescribeAfter is for how long the query of a preview may take before the
	// warehouse is asked for its columns besides, where it gives them no earlier than
	// the rows. 0 means half a second.
	DescribeAfter time.Duration
	Logger        *slog.Logger // nil means slog.Default
}

// Service implements the contract's ModelQuery.
type Service struct {
	pb.UnimplementedModelQueryServer
	links  Links
	store  Store
	spool  *spool.Spool
	budget budget // of the process
	ahead  budget // what streams may take of it
	logger *slog.Logger

	heartbeat     time.Duration // after which a quiet stream repeats its progress
	describeAfter time.Duration // that a query has taken

	lifetime context.Context
	end      context.CancelCauseFunc
	work     sync.WaitGroup // runs and the sweeper
	turns    chan struct{}  // of the runs that read and compress at once

	mu     sync.Mutex
	closed bool
	runs   map[string]*run // by the session's name
	reads  map[*rowReader]struct{}

	kept     keptResults
	shared   sharedQueries
	asking   asking
	previews sync.WaitGroup // queries of previews, and questions to Sigma, which end with those
}

// New returns a service that reads through the given links. It has to be closed.
func New(links Links, store Store, options Options) *Service {
	s := &Service{
		links: links, store: store, spool: options.Spool,
		logger: cmp.Or(options.Logger, slog.Default()), heartbeat: cmp.Or(options.Heartbeat, defaultHeartbeat),
		describeAfter: cmp.Or(options.DescribeAfter, defaultDescribeAfter), runs: map[string]*run{}, reads: map[*rowReader]struct{}{},
		turns: make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
	}
	s.budget, s.ahead = newBudgets(options.Memory)
	s.kept.open = map[string]*keptResult{}
	s.shared.running, s.shared.misdescribed = map[sharedKey]*sharedQuery{}, map[string]bool{}
	s.asking = asking{asks: map[document]*asked{}, work: &s.previews}
	s.lifetime, s.end = context.WithCancelCause(context.Background())
	s.work.Go(s.sweepNowAndThen)
	return s
}

// Close ends the queries that fill the spool, whose sessions fail, and the reads of
// sessions, and waits for all of them.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(shuttingDown())
	s.work.Wait()
	s.previews.Wait()
	s.forgetKept("")
}

func shuttingDown() error {
	return errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down")
}
