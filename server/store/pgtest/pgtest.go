// Package pgtest finds a PostgreSQL server for tests: the one of the environment
// variable SIGMASOURCE_TEST_POSTGRES, or one of its own, which it starts from the
// distribution's binaries, in a temporary folder, on loopback. It also starts a
// PgBouncer before that server. Nothing but tests imports it.
package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// Environment is the variable with the URL of a server to use. Its user must be
// allowed to create databases.
const Environment = "SIGMASOURCE_TEST_POSTGRES"

// ErrNone means that there is neither a server nor the means to start one.
var ErrNone = errors.New("pgtest: no PostgreSQL here: set " + Environment + " to a URL, or install PostgreSQL's server")

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs a package's tests and then stops the server that they shared.
func Main(m *testing.M, verify func() error) int {
	code := m.Run()
	if sharedBouncer.bouncer != nil {
		if err := sharedBouncer.bouncer.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if code == 0 && verify != nil {
		if err := verify(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// Database returns the URL of a new, empty database on a server that all tests of
// the package share. It skips the test, and says so, where there is no PostgreSQL;
// with CI set in the environment it fails instead.
func Database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = Start() })
	if errors.Is(shared.err, ErrNone) && os.Getenv("CI") == "" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	url, err := shared.server.CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// Copy returns the URL of a new database with what a database of Database holds, as
// one that was restored from a backup. Nothing may be connected to the original.
func Copy(t testing.TB, original string) string {
	t.Helper()
	u, err := url.Parse(original)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := shared.server.createDatabase(t.Context(), " TEMPLATE "+strings.TrimPrefix(u.Path, "/"))
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// Server is a PostgreSQL server.
type Server struct {
	URL string // of its maintenance database

	binaries string // empty for a server of the environment
	folder   string
	port     int
	process  *exec.Cmd
	ended    chan error
}

// Start starts a server, or uses the environment's. It fails with ErrNone.
func Start() (*Server, error) {
	if url := os.Getenv(Environment); url != "" {
		return &Server{URL: url}, nil
	}
	binaries, err := findBinaries()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &Server{binaries: binaries, folder: folder}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

func findBinaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrNone
	}
	return filepath.Dir(slices.Max(found)), nil
}

func (s *Server) start() error {
	owner, err := unprivileged()
	if err != nil {
		return err
	}
	if owner != nil {
		if err := os.Chown(s.folder, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	initdb := s.command(owner, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if text, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w: %s", err, text)
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	s.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
	return s.Run()
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// command runs one of PostgreSQL's programs, which refuse to run as root.
func (s *Server) command(owner *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.binaries, name), args...)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	endWithUs(cmd)
	return cmd
}

// unprivileged is whom the server runs as: nil for ourselves.
func unprivileged() (*syscall.Credential, error) {
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		known, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(known.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(known.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("pgtest: PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// Run starts the server's process, the first time or again after Stop, and returns
// once it answers.
func (s *Server) Run() error {
	owner, err := unprivileged()
	if err != nil {
		return err
	}
	s.process = s.command(owner, "postgres", "-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.folder,
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "log_min_messages=fatal")
	if err := s.process.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	s.ended = ended
	go func(process *exec.Cmd) { ended <- process.Wait() }(s.process)
	return s.await()
}

// await asks until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case ended := <-s.ended:
			s.ended <- ended
			return fmt.Errorf("pgtest: the server ended: %w", errors.Join(ended, err))
		case <-ctx.Done():
			return fmt.Errorf("pgtest: the server does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) exec(ctx context.Context, statement string) (err error) {
	db, err := sql.Open("pgx", s.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// Stop ends the server's process as a crash of the machine does.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.ended // its exit status says that it was killed
	s.process = nil
	return nil
}

// Close stops a server of our own and removes its folder.
func (s *Server) Close() error {
	if s.binaries == "" {
		return nil
	}
	return errors.Join(s.Stop(), os.RemoveAll(s.folder))
}

// CreateDatabase makes an empty database and returns its URL.
func (s *Server) CreateDatabase(ctx context.Context) (string, error) {
	return s.createDatabase(ctx, "")
}

func (s *Server) createDatabase(ctx context.Context, options string) (string, error) {
	name := "test_" + strings.ToLower(rand.Text())
	if err := s.exec(ctx, "CREATE DATABASE "+name+options); err != nil {
		return "", fmt.Errorf("pgtest: create a database: %w", err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}
