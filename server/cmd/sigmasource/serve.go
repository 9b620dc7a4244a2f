package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/credentials"

	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

const (
	// shutdownTime is how long calls under way may take once the server was told
	// to stop.
	shutdownTime = 20 * time.Second

	// reloadInterval is how soon a changed certificate, key or list of callers is
	// taken up.
	reloadInterval = time.Second
)

// now is the clock by which connections are due. Tests have one that is wrong.
var now = time.Now

type serveFlags struct {
	keyFlags

	listen      string
	callersFile string
	allowHosts  []string
	duckdbDir   string
	tlsCert     string
	tlsKey      string
	tlsClientCA string
	insecure    bool
	reflection  string
	health      string
	limits      quota.Limits
	logLevel    string
	shapes      string // folder
	auditLog    string
	spool       string
	readMemory  int64 // MiB

	allowTimeZoneMismatch bool
	snowflakeSchemaCheck  string
}

func newServeCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the gRPC API",
		Long: "Serves the gRPC API until it is interrupted. It keeps its data in a folder, or in a PostgreSQL database that any\n" +
			"number of replicas share; seals credentials with a key, which it makes at the first start in a folder; and lets in\n" +
			"the callers of a file: by token (see: sigmasource token), by JWT of an issuer, or by client certificate. Changed\n" +
			"certificates, keys and callers are taken up by themselves.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	f.keyFlags.register(flags)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8450", "HOST:PORT to listen on")
	flags.StringVar(&f.callersFile, "callers", "", "JSON file of who may call, and what (required)")
	flags.StringArrayVar(&f.allowHosts, "allow-host", nil, "a further HOST[:PORT] that connections may name, for Sigma or a warehouse; repeatable. Plain http is for loopback only")
	flags.StringVar(&f.duckdbDir, "duckdb-dir", "", "folder of the DuckDB files that connections may name (default: none may)")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "PEM file of the server's certificate chain")
	flags.StringVar(&f.tlsKey, "tls-key", "", "PEM file of its key")
	flags.StringVar(&f.tlsClientCA, "tls-client-ca", "", "PEM file of the authorities of clients' certificates (default: none are taken)")
	flags.BoolVar(&f.insecure, "insecure", false, "serve without TLS on an address that others can reach")
	flags.StringVar(&f.reflection, "reflection", string(server.Authenticated), "who may ask for the contract: open, authenticated or off")
	flags.StringVar(&f.health, "health", string(server.Anyone), "who may ask whether the server is well: open, authenticated or off")
	flags.IntVar(&f.limits.WorkspaceRequests, "max-requests", quota.Default.WorkspaceRequests, "calls of a workspace under way at a time, streams aside; 0 means any number, here and below")
	flags.IntVar(&f.limits.ConnectionRequests, "max-connection-requests", quota.Default.ConnectionRequests, "the same of a connection")
	flags.IntVar(&f.limits.WorkspaceStreams, "max-streams", quota.Default.WorkspaceStreams, "streams of a workspace under way at a time")
	flags.IntVar(&f.limits.ConnectionStreams, "max-connection-streams", quota.Default.ConnectionStreams, "the same of a connection")
	flags.IntVar(&f.limits.WorkspaceScans, "max-scans", quota.Default.WorkspaceScans, "scans of a workspace under way at a time")
	flags.StringVar(&f.shapes, "record-shapes", os.Getenv("SIGMASOURCE_RECORD_SHAPES"), "folder to record the structure of Sigma's and Snowflake's answers in, without values and names (SIGMASOURCE_RECORD_SHAPES; default: no recording)")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.auditLog, "audit-log", "-", "file that the audit is appended to, in JSON lines; - means standard output")
	flags.StringVar(&f.spool, "spool", "", "folder or bucket of its own (s3://, gs://, azblob://) where results are kept until their sessions expire (default: DATA-DIR/spool)")
	flags.Int64Var(&f.readMemory, "read-memory", 128, "MiB of rows that are read ahead of those who read them")
	flags.BoolVar(&f.allowTimeZoneMismatch, "allow-time-zone-mismatch", false, "read although dates in Sigma's SQL contradict a connection's time zone; such models have a warning")
	flags.StringVar(&f.snowflakeSchemaCheck, "snowflake-schema-check", string(snowflake.StrictSchemaCheck), "strict or warn: whether a read fails, or only logs, where a chunk of Snowflake contradicts the columns of its result")
	if err := cmd.MarkFlagRequired("callers"); err != nil {
		panic(err)
	}
	return cmd
}

func (f *serveFlags) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	logger, err := newLogger(stderr, f.logLevel)
	if err != nil {
		return err
	}
	config := server.Config{DuckDBDir: f.duckdbDir, AllowTimeZoneMismatch: f.allowTimeZoneMismatch, Limits: &f.limits, Logger: logger, Now: now}
	if config.Reflection, err = parseAccess("--reflection", f.reflection); err != nil {
		return err
	}
	if config.Health, err = parseAccess("--health", f.health); err != nil {
		return err
	}
	if config.SnowflakeSchemaCheck, err = snowflake.ParseSchemaCheck(f.snowflakeSchemaCheck); err != nil {
		return fmt.Errorf("--snowflake-schema-check: %w", err)
	}
	if config.Hosts, err = sigmaclient.NewHosts(f.allowHosts...); err != nil {
		return fmt.Errorf("--allow-host: %w", err)
	}
	transport, closeTransport, err := f.transport(logger)
	if err != nil {
		return err
	}
	defer closeTransport()
	config.TLS = transport

	if err := f.recordShapes(&config, logger); err != nil {
		return err
	}
	callers, err := auth.Open(f.callersFile, reloadInterval, logger)
	if err != nil {
		return fmt.Errorf("--callers: %w", err)
	}
	defer callers.Close()
	config.Callers = callers

	var closeAudit func() error
	if config.Audit, closeAudit, err = f.audit(stdout); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit()) }()

	if err := os.MkdirAll(f.dataDir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	keys, err := f.keys(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if config.Store, err = f.open(ctx, keys); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, config.Store.Close()) }()
	if config.Store.IsPooled() {
		logger.Info("the database is reached through a connection pooler: jobs start at the next poll of the queue")
	}

	if config.Spool, err = spool.Open(ctx, cmp.Or(f.spool, filepath.Join(f.dataDir, "spool"))); err != nil {
		return fmt.Errorf("--spool: %w", err)
	}
	defer func() { err = errors.Join(err, config.Spool.Close()) }()
	config.ReadMemory = f.readMemory << 20

	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	s, err := server.New(ctx, config) // from here on it runs jobs
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	logger.Info("serving", "address", listener.Addr().String(), "tls", transport != nil)
	return serveUntilDone(ctx, s, listener)
}

// serveUntilDone serves until the context ends, and then lets calls under way
// finish.
func serveUntilDone(ctx context.Context, s *server.Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	return errors.Join(s.Shutdown(ending), <-served)
}

// transport refuses to send tokens and rows in the clear where others can
// listen, unless told to.
func (f *serveFlags) transport(logger *slog.Logger) (credentials.TransportCredentials, func(), error) {
	if f.tlsCert != "" || f.tlsKey != "" {
		transport, closeTransport, err := openTLS(f.tlsCert, f.tlsKey, f.tlsClientCA, reloadInterval, logger)
		if err != nil {
			return nil, nil, fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca: %w", err)
		}
		return transport, closeTransport, nil
	}
	if f.tlsClientCA != "" {
		return nil, nil, errors.New("--tls-client-ca: clients can have certificates only where the server has one; give --tls-cert and --tls-key")
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return nil, nil, fmt.Errorf("--listen %q: want HOST:PORT", f.listen)
	}
	if isLoopback(host) {
		return nil, func() {}, nil
	}
	if !f.insecure {
		return nil, nil, fmt.Errorf("--listen %s: others can reach this address; give --tls-cert and --tls-key, or --insecure to serve in the clear", f.listen)
	}
	logger.Warn("INSECURE: serving without TLS; whoever can reach the network reads tokens, credentials and rows", "address", f.listen)
	return nil, func() {}, nil
}

// keys finds the key that seals credentials. A new key is made only when there is
// no data yet that another key might have sealed.
func (f *serveFlags) keys(ctx context.Context, logger *slog.Logger) (*keyring.Ring, error) {
	source := f.source()
	keys, err := keyring.Open(ctx, source, reloadInterval, logger)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return keys, err
	}
	if why, may := f.exists(); may {
		return nil, fmt.Errorf("%w; %s", err, why)
	}
	if err := keyring.Create(ctx, source); err != nil {
		return nil, err
	}
	logger.Info("made a new key that seals credentials; keep a copy of it", "file", source.Path)
	return keyring.Open(ctx, source, reloadInterval, logger)
}

// audit opens the log of who did what. Only its owner may read a file of it.
func (f *serveFlags) audit(stdout io.Writer) (*slog.Logger, func() error, error) {
	if f.auditLog == "-" {
		return slog.New(slog.NewJSONHandler(stdout, nil)), func() error { return nil }, nil
	}
	file, err := os.OpenFile(filepath.Clean(f.auditLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--audit-log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(file, nil)), file.Close, nil
}

func parseAccess(flag, text string) (server.Access, error) {
	switch access := server.Access(text); access {
	case server.Nobody, server.Authenticated, server.Anyone:
		return access, nil
	}
	return "", fmt.Errorf("%s %q: want open, authenticated or off", flag, text)
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}
