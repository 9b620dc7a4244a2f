package main

import (
	"context"
	"crypto/tls"
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
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// shutdownTime is how long calls under way may take once the server was told
// to stop.
const shutdownTime = 20 * time.Second

type serveFlags struct {
	listen     string
	dataDir    string
	keyFile    string
	tokensFile string
	allowHosts []string
	duckdbDir  string
	tlsCert    string
	tlsKey     string
	insecure   bool
	logLevel   string
}

func newServeCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the gRPC API",
		Long: "Serves the gRPC API until it is interrupted. It keeps its data in a folder, seals credentials with a key\n" +
			"file that it makes at the first start, and lets in the callers of a token file (see: sigmasource token).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.ErrOrStderr()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8450", "HOST:PORT to listen on")
	flags.StringVar(&f.dataDir, "data-dir", "sigmasource-data", "folder of the embedded store")
	flags.StringVar(&f.keyFile, "key-file", "", "Tink keyset that seals credentials; SIGMASOURCE_KEYSET may hold it instead (default DATA-DIR/keyset.json, made at the first start)")
	flags.StringVar(&f.tokensFile, "tokens", "", "JSON file of the callers' token hashes (required)")
	flags.StringArrayVar(&f.allowHosts, "allow-host", nil, "a further HOST[:PORT] that connections may name, for Sigma or a warehouse; repeatable. Plain http is for loopback only")
	flags.StringVar(&f.duckdbDir, "duckdb-dir", "", "folder of the DuckDB files that connections may name (default: none may)")
	flags.StringVar(&f.tlsCert, "tls-cert", "", "PEM file of the server's certificate chain")
	flags.StringVar(&f.tlsKey, "tls-key", "", "PEM file of its key")
	flags.BoolVar(&f.insecure, "insecure", false, "serve without TLS on an address that others can reach")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	if err := cmd.MarkFlagRequired("tokens"); err != nil {
		panic(err)
	}
	return cmd
}

func (f *serveFlags) run(ctx context.Context, stderr io.Writer) (err error) {
	logger, err := newLogger(stderr, f.logLevel)
	if err != nil {
		return err
	}
	callers, err := auth.LoadFile(f.tokensFile)
	if err != nil {
		return fmt.Errorf("--tokens: %w", err)
	}
	hosts, err := sigmaclient.NewHosts(f.allowHosts...)
	if err != nil {
		return fmt.Errorf("--allow-host: %w", err)
	}
	transport, err := f.transport(logger)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dataDir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	sealer, err := f.sealer(logger)
	if err != nil {
		return err
	}
	kept, err := store.Open(ctx, filepath.Join(f.dataDir, "sigmasource.db"), sealer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	s, err := server.New(ctx, server.Config{
		Store: kept, Auth: callers, Hosts: hosts, DuckDBDir: f.duckdbDir, TLS: transport, Logger: logger,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
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
func (f *serveFlags) transport(logger *slog.Logger) (credentials.TransportCredentials, error) {
	if f.tlsCert != "" || f.tlsKey != "" {
		certificate, err := tls.LoadX509KeyPair(f.tlsCert, f.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}), nil
	}
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: want HOST:PORT", f.listen)
	}
	if isLoopback(host) {
		return nil, nil
	}
	if !f.insecure {
		return nil, fmt.Errorf("--listen %s: others can reach this address; give --tls-cert and --tls-key, or --insecure to serve in the clear", f.listen)
	}
	logger.Warn("serving without TLS: tokens, credentials and rows travel in the clear", "address", f.listen)
	return nil, nil
}

// sealer finds the key that seals credentials. A new key is made only when
// there is no data yet that another key might have sealed.
func (f *serveFlags) sealer(logger *slog.Logger) (*store.Sealer, error) {
	if keyset := os.Getenv("SIGMASOURCE_KEYSET"); keyset != "" {
		sealer, err := store.ParseSealer(keyset)
		if err != nil {
			return nil, fmt.Errorf("SIGMASOURCE_KEYSET: %w", err)
		}
		return sealer, nil
	}
	path := f.keyFile
	if path == "" {
		path = filepath.Join(f.dataDir, "keyset.json")
	}
	sealer, err := store.LoadSealer(path)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return sealer, err
	}
	if _, statErr := os.Stat(filepath.Join(f.dataDir, "sigmasource.db")); statErr == nil {
		return nil, fmt.Errorf("%w; the store in %s was sealed with another key: restore it, or name it with --key-file", err, f.dataDir)
	}
	logger.Info("made a new key that seals credentials; keep a copy of it", "file", path)
	return store.CreateSealer(path)
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}
