// Package snowflaketest is a Snowflake account over HTTP, in process: Snowflake's
// own drivers log in to it, run queries, get Arrow results inline and in
// chunks, and cancel. DuckDB computes. Like net/http/httptest it is made for
// tests and demonstrations, and the binary serves it in its demo; so it does
// not import testing.
//
// It speaks the private protocol that the drivers speak, as gosnowflake
// v1.19.1 reads and writes it. What it knows of Snowflake's SQL is what
// Sigma's SQL uses; see [Translate] for the limits.
//
// The package knows no other package of this module and must not import
// warehouse/snowflake: it would check itself.
package snowflaketest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is an account. Make one with [NewServer], or with [New] to serve it
// as an [http.Handler] elsewhere. It is safe for concurrent use.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	db    *sql.DB
	spool string        // directory of the results' chunks
	stop  chan struct{} // closed by Close
	runs  sync.WaitGroup

	listener net.Listener
	http     *http.Server

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when a query changes
	faults    Faults
	roles     map[string][]string // what each listed role may read, by upper-case name
	began     time.Time
	altered   map[string]time.Time // by upper-case name of the table
	suspended map[string]bool      // by upper-case warehouse name
	sessions  map[int64]*session
	queries   map[string]*query
	order     []*query // in order of arrival
	lastID    int64
	sending   int // chunks under way
	telemetry int
	closed    bool
}

// NewServer starts a server on a free port of the loopback interface.
func NewServer(cfg Config) (*Server, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.runs.Go(func() { _ = s.http.Serve(s.listener) }) // always ErrServerClosed
	return s, nil
}

// New makes a server that listens nowhere: it is served as a handler.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	spool, err := os.MkdirTemp("", "snowflaketest-")
	if err != nil {
		return nil, fmt.Errorf("snowflaketest: %w", err)
	}
	db, err := openDuckDB(filepath.Join(spool, "duckdb"))
	if err != nil {
		return nil, fmt.Errorf("snowflaketest: %w", errors.Join(err, os.RemoveAll(spool)))
	}
	s := &Server{
		cfg: cfg, db: db, spool: spool, faults: cfg.Faults,
		stop: make(chan struct{}), changed: make(chan struct{}),
		began: time.Now(), altered: map[string]time.Time{},
		roles: map[string][]string{}, suspended: map[string]bool{},
		sessions: map[int64]*session{}, queries: map[string]*query{},
	}
	for _, r := range cfg.Roles {
		s.roles[strings.ToUpper(r.Name)] = append([]string{}, r.Select...)
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /session/v1/login-request", s.login)
	s.mux.HandleFunc("POST /session/token-request", s.renew)
	s.mux.HandleFunc("POST /session/heartbeat", s.heartbeat)
	s.mux.HandleFunc("POST /session", s.closeSession)
	s.mux.HandleFunc("POST /queries/v1/query-request", s.queryRequest)
	s.mux.HandleFunc("POST /queries/v1/abort-request", s.abortRequest)
	s.mux.HandleFunc("GET /queries/{id}/result", s.queryResult)
	s.mux.HandleFunc("GET /monitoring/queries/{id}", s.queryStatus)
	s.mux.HandleFunc("POST /telemetry/send", s.telemetrySend)
	s.mux.HandleFunc("GET /results/{id}/{chunk}", s.chunk)
	return s, nil
}

// ServeHTTP serves the account.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := s.currentFaults().Status; status != nil {
		if code := status(r.URL.Path); code != 0 {
			http.Error(w, http.StatusText(code), code)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// Close aborts what runs, waits for it, and forgets everything.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	all := s.order
	s.mu.Unlock()
	for _, q := range all {
		q.cancel(abortedError())
	}
	var err error
	if s.http != nil {
		err = s.http.Close()
	}
	s.runs.Wait()
	for _, q := range all {
		err = errors.Join(err, q.dropResult())
	}
	return errors.Join(err, s.db.Close(), os.RemoveAll(s.spool))
}

// URL is the base URL, or empty for a server made with [New].
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Host is the host that a driver is to be configured with.
func (s *Server) Host() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().(*net.TCPAddr).IP.String()
}

// Port is the port that a driver is to be configured with.
func (s *Server) Port() int {
	if s.listener == nil {
		return 0
	}
	return s.listener.Addr().(*net.TCPAddr).Port
}

// Account is the account's name.
func (s *Server) Account() string { return s.cfg.Account }

// DB is the DuckDB database behind the account. A Snowflake database is an
// attached catalog. DuckDB keeps names as they are written, so write them in
// upper case, or quoted queries will not find them.
func (s *Server) DB() *sql.DB { return s.db }

// Exec runs statements in Snowflake's dialect, separated by semicolons, as
// somebody who may do everything: it makes databases, schemas, tables and
// views, and fills them. Names have to be fully qualified.
func (s *Server) Exec(ctx context.Context, statements string) error {
	parts, err := splitStatements(statements)
	if err != nil {
		return err
	}
	for i, part := range parts {
		text, err := translate(part, sessionState{})
		if err != nil {
			return fmt.Errorf("snowflaketest: statement %d: %w", i+1, err)
		}
		if _, err := s.db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("snowflaketest: statement %d: %w", i+1, err)
		}
	}
	return nil
}

// SetFaults replaces the faults in force.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

func (s *Server) currentFaults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Grant lets a role read what [Role].Select describes. A role that was not
// listed reads only that from now on.
func (s *Server) Grant(role, table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	role = strings.ToUpper(role)
	s.roles[role] = append(s.roles[role], table)
}

// Revoke takes back what exactly that [Server.Grant] or [Role].Select gave.
func (s *Server) Revoke(role, table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	role = strings.ToUpper(role)
	kept := []string{}
	for _, t := range s.roles[role] {
		if !strings.EqualFold(t, table) {
			kept = append(kept, t)
		}
	}
	s.roles[role] = kept
}

// SuspendWarehouse suspends a warehouse, so that it does not resume by itself:
// queries that read tables or generate rows fail with 000606 until [Server.ResumeWarehouse].
func (s *Server) SuspendWarehouse(name string) { s.setSuspended(name, true) }

// ResumeWarehouse ends what [Server.SuspendWarehouse] began.
func (s *Server) ResumeWarehouse(name string) { s.setSuspended(name, false) }

func (s *Server) setSuspended(name string, suspended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended[strings.ToUpper(name)] = suspended
}

// TelemetryRequests is how often a driver sent telemetry.
func (s *Server) TelemetryRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.telemetry
}

func (s *Server) telemetrySend(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	s.telemetry++
	s.mu.Unlock()
	writeData(w, "Log Received")
}

// mayRead reports whether one of the roles may read the table, whose parts are
// folded.
func (s *Server) mayRead(roles []string, t tableName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, role := range roles {
		grants, listed := s.roles[strings.ToUpper(role)]
		if !listed || covers(grants, t) {
			return true
		}
	}
	return false
}

func covers(grants []string, t tableName) bool {
	for _, g := range grants {
		for _, name := range []string{"*", t.database + ".*", t.database + "." + t.schema + ".*",
			t.database + "." + t.schema + "." + t.table} {
			if strings.EqualFold(g, name) {
				return true
			}
		}
	}
	return false
}

// SetAltered sets when a table, DATABASE.SCHEMA.TABLE, changed last. Tables that no
// call names changed when the server began.
func (s *Server) SetAltered(table string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.altered[strings.ToUpper(table)] = at
}

// nextID returns an id that is unique in the server. The caller holds mu.
func (s *Server) nextID() int64 {
	s.lastID++
	return s.lastID
}

// newQueryID makes an id in the form of Snowflake's: a UUID whose first part
// tells the time. The caller holds mu.
func (s *Server) newQueryID() string {
	n := s.nextID()
	return fmt.Sprintf("01b%05x-%04x-%04x-0000-%012s", time.Now().Unix()/60&0xfffff, n>>16&0xffff, n&0xffff, secret(6))
}

// secret returns n random bytes in hex.
func secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

func formatParameter(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
