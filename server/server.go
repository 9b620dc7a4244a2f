// Package server is the service that is served: it puts the three services of
// the contract behind one chain of interceptors, on one gRPC server with
// health and reflection.
//
// It is the only place where sigmaclient, the warehouses and the store meet.
// What every method needs (a request id, logging, the audit, error mapping,
// recovery, authentication, validation, authorization, quotas) is an interceptor
// here, once.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	validation "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/audit"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/catalog"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/jobs"
	"github.com/sigmasource/sigmasource/server/query"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

// Config is what a server is made of.
type Config struct {
	Store   *store.Store // not closed by the server
	Callers Callers
	// Hosts are the hosts that may be called besides Sigma's and Snowflake's
	// own. Nil admits none.
	Hosts *sigmaclient.Hosts
	// DuckDBDir is the folder of DuckDB warehouses. Empty refuses them.
	DuckDBDir string
	// Spool keeps the results of read sessions. It is not closed by the server. Nil
	// refuses sessions on warehouses that do not keep results themselves.
	Spool *spool.Spool
	// ReadMemory bounds the bytes of rows that are read ahead of their readers. 0
	// means 128 MiB.
	ReadMemory int64
	// SigmaTransport carries the requests to Sigma. Nil means one of its own.
	SigmaTransport http.RoundTripper
	// WrapSnowflake wraps the transport of the requests to Snowflake. Nil leaves it as
	// it is.
	WrapSnowflake func(http.RoundTripper) http.RoundTripper
	// SnowflakeSchemaCheck is how reads treat a chunk of Snowflake whose own schema
	// contradicts the columns of its result. Empty means strict.
	SnowflakeSchemaCheck snowflake.SchemaCheck
	// TLS encrypts. Nil means plain text.
	TLS credentials.TransportCredentials
	// Limits keep callers from one another's way. Nil means quota.Default.
	Limits *quota.Limits
	// Reflection and Health say who may ask for the contract, and how the server
	// does. Empty means Authenticated for the first and Anyone for the second.
	Reflection, Health Access
	// Heartbeat is after how long without a message a stream of rows repeats its
	// progress. 0 means 5 seconds.
	Heartbeat time.Duration
	// DescribeAfter is for how long the query of a preview may take before the
	// warehouse is asked for its columns besides. 0 means half a second.
	DescribeAfter time.Duration
	// ReadTimeout is for how long a download from a warehouse may stand still. 0
	// means a minute.
	ReadTimeout time.Duration
	// AllowTimeZoneMismatch turns the error TIME_ZONE_MISMATCH into a warning for all
	// connections.
	AllowTimeZoneMismatch bool
	Logger                *slog.Logger // nil means slog.Default
	Audit                 *slog.Logger // nil means Logger
	// Now is the clock by which connections are due. Nil means the machine's.
	Now func() time.Time
}

// Callers finds out who calls. *auth.Callers and *auth.File are such.
type Callers interface {
	// Authenticate returns a context that holds the principal (see
	// auth.WithPrincipal), or fails with an *auth.Error.
	Authenticate(ctx context.Context) (context.Context, error)
}

// Access says who may call a service that concerns no workspace.
type Access string

// The kinds of access.
const (
	Nobody        Access = "off"
	Authenticated Access = "authenticated"
	Anyone        Access = "open"
)

// Server serves the contract.
type Server struct {
	grpc    *grpc.Server
	health  *health.Server
	catalog *catalog.Service
	query   *query.Service
	runner  *jobs.Runner
	pool    *connections.Pool
	sigma   *sigmaclient.Service
	logger  *slog.Logger
}

// New returns a server that is ready to serve, and begins to run scans: those that
// were interrupted when a former process stopped go on.
func New(ctx context.Context, config Config) (*Server, error) {
	logger := config.Logger
	if logger == nil {
		logger = slog.Default()
	}
	config = config.withDefaults(logger)
	options, err := config.interceptors(logger)
	if err != nil {
		return nil, err
	}
	if config.TLS != nil {
		options = append(options, grpc.Creds(config.TLS))
	}
	s := &Server{
		grpc:   grpc.NewServer(append(options, connectionOptions()...)...),
		health: health.NewServer(),
		logger: logger,
	}
	s.sigma = sigmaclient.New(sigmaclient.Options{Hosts: config.Hosts, Transport: config.SigmaTransport, Logger: logger})
	opener := &connections.Opener{
		Sigma: s.sigma, Hosts: config.Hosts, DuckDBDir: config.DuckDBDir, ReadTimeout: config.ReadTimeout,
		AllowTimeZoneMismatch: config.AllowTimeZoneMismatch, WrapSnowflake: config.WrapSnowflake, SnowflakeSchemaCheck: config.SnowflakeSchemaCheck, Logger: logger,
	}
	s.pool = connections.NewPool(config.Store, opener)
	s.catalog = catalog.New(config.Store, s.pool, config.Limits.WorkspaceScans, config.Now, logger)
	pb.RegisterSigmaConnectionsServer(s.grpc, connections.New(config.Store, s.pool, opener, s.catalog, config.Now, logger))
	pb.RegisterModelCatalogServer(s.grpc, s.catalog)
	s.query = query.New(s.pool, config.Store, query.Options{
		Spool: config.Spool, Memory: config.ReadMemory, Heartbeat: config.Heartbeat, DescribeAfter: config.DescribeAfter, Logger: logger,
	})
	pb.RegisterModelQueryServer(s.grpc, s.query)
	if config.Health != Nobody {
		healthpb.RegisterHealthServer(s.grpc, s.health)
	}
	if config.Reflection != Nobody {
		reflection.Register(s.grpc)
	}
	if err := s.run(ctx, config.Store); err != nil {
		s.pool.Close()
		s.sigma.Close()
		return nil, err
	}
	return s, nil
}

// run begins to run the jobs of a store, whose work is the catalog's.
func (s *Server) run(ctx context.Context, store *store.Store) (err error) {
	if s.runner, err = jobs.New(store.Queue(), s.catalog, s.logger); err != nil {
		return err
	}
	s.catalog.Use(s.runner)
	return s.runner.Start(ctx)
}

func (c Config) withDefaults(logger *slog.Logger) Config {
	if c.Limits == nil {
		c.Limits = &quota.Default
	}
	if c.Reflection == "" {
		c.Reflection = Authenticated
	}
	if c.Health == "" {
		c.Health = Anyone
	}
	if c.Audit == nil {
		c.Audit = logger
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// guard admits callers, and to what.
func (c Config) guard() *auth.Guard {
	guard := &auth.Guard{Authenticate: c.Callers.Authenticate}
	for service, access := range map[string]Access{
		healthpb.Health_ServiceDesc.ServiceName:    c.Health,
		"grpc.reflection.v1.ServerReflection":      c.Reflection,
		"grpc.reflection.v1alpha.ServerReflection": c.Reflection,
	} {
		switch access {
		case Anyone:
			guard.Open = append(guard.Open, service)
		case Authenticated:
			guard.Unscoped = append(guard.Unscoped, service)
		}
	}
	return guard
}

// interceptors are the chain, the outermost first.
func (c Config) interceptors(logger *slog.Logger) ([]grpc.ServerOption, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, fmt.Errorf("prepare validation: %w", err)
	}
	guard := c.guard()
	record := audit.New(c.Audit)
	quotas := quota.New(*c.Limits)
	logged := logging.WithLogOnEvents(logging.FinishCall)
	log := logging.LoggerFunc(func(ctx context.Context, level logging.Level, message string, fields ...any) {
		logger.Log(ctx, slog.Level(level), message, fields...)
	})
	recovered := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		if err, ok := p.(runtime.Error); ok {
			return fmt.Errorf("panic: %w\n%s", err, debug.Stack())
		}
		// Any other value may hold what a log must not.
		return fmt.Errorf("panic with a %T\n%s", p, debug.Stack())
	})
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(
			errmap.UnaryIdentify,
			logging.UnaryServerInterceptor(log, logged),
			record.Unary,
			errmap.UnaryMap(logger),
			recovery.UnaryServerInterceptor(recovered),
			guard.AuthenticateUnary(),
			validation.UnaryServerInterceptor(validator),
			guard.AuthorizeUnary(),
			quotas.Unary,
		),
		grpc.ChainStreamInterceptor(
			errmap.StreamIdentify,
			logging.StreamServerInterceptor(log, logged),
			record.Stream,
			errmap.StreamMap(logger),
			recovery.StreamServerInterceptor(recovered),
			guard.AuthenticateStream(),
			validation.StreamServerInterceptor(validator),
			guard.AuthorizeStream(),
			quotas.Stream,
		),
	}, nil
}

// connectionOptions keep quiet streams alive through proxies, which cut what
// is idle for a minute, and let callers do the same.
func connectionOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(1 << 20),     // requests hold names and keys, no data
		grpc.MaxHeaderListSize(32 << 10), // and their metadata a token
		grpc.ForceServerCodecV2(query.Codec{}),
		grpc.WriteBufferSize(256 << 10),
	}
}

// Serve accepts calls until Shutdown.
func (s *Server) Serve(listener net.Listener) error {
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	if err := s.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// Shutdown stops accepting calls, ends scans, waits for the calls under way
// until the context ends, and then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.health.Shutdown()
	s.catalog.Close()
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	// Ending the scans ends those who watch them.
	err := s.runner.Close(ctx)
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	s.query.Close()
	s.pool.Close()
	s.sigma.Close()
	return err
}
