package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ErrNoBouncer means that PgBouncer is not installed.
var ErrNoBouncer = errors.New("pgtest: no PgBouncer here: install it")

var sharedBouncer struct {
	once    sync.Once
	bouncer *Bouncer
	err     error
}

// PooledDatabase returns the URLs of a new, empty database: through a PgBouncer that
// all tests of the package share, and directly. The PgBouncer is in transaction mode
// and admits no prepared statements. PooledDatabase skips and fails as Database does.
func PooledDatabase(t testing.TB) (pooled, direct string) {
	t.Helper()
	direct = Database(t)
	sharedBouncer.once.Do(func() {
		sharedBouncer.bouncer, sharedBouncer.err = shared.server.StartBouncer("default_pool_size = 8")
	})
	if errors.Is(sharedBouncer.err, ErrNoBouncer) && os.Getenv("CI") == "" {
		t.Skip(sharedBouncer.err)
	}
	if sharedBouncer.err != nil {
		t.Fatal(sharedBouncer.err)
	}
	pooled, err := sharedBouncer.bouncer.Through(direct)
	if err != nil {
		t.Fatal(err)
	}
	return pooled, direct
}

// SharedServer returns the server of Database, and skips and fails as that does.
func SharedServer(t testing.TB) *Server {
	t.Helper()
	Database(t)
	return shared.server
}

// Bouncer is a PgBouncer in transaction mode, on loopback.
type Bouncer struct {
	folder  string
	port    int
	process *exec.Cmd
	ended   chan error
}

// StartBouncer starts a PgBouncer before the server, with further lines of its
// configuration. It fails with ErrNoBouncer. The caller closes it.
func (s *Server) StartBouncer(settings ...string) (*Bouncer, error) {
	binary, err := findBouncer()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "pgtest-bouncer-")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{folder: folder}
	if err := b.start(binary, s.URL, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return b, nil
}

func findBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoBouncer
}

func (b *Bouncer) start(binary, server string, settings []string) (err error) {
	owner, err := unprivileged()
	if err != nil {
		return err
	}
	if b.port, err = freePort(); err != nil {
		return err
	}
	text, err := b.configuration(binary, server, settings)
	if err != nil {
		return err
	}
	path := filepath.Join(b.folder, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	if owner != nil {
		for _, name := range []string{b.folder, path} {
			if err := os.Chown(name, int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	}
	b.process = exec.Command(binary, "-q", path)
	b.process.Dir = b.folder
	b.process.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	endWithUs(b.process)
	if err := b.process.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	b.ended = ended
	go func(process *exec.Cmd) { ended <- process.Wait() }(b.process)
	if err := b.await(server); err != nil {
		return errors.Join(err, b.stop())
	}
	return nil
}

// await waits until a statement passes.
func (b *Bouncer) await(server string) error {
	through, err := b.Through(server)
	if err != nil {
		return err
	}
	return (&Server{URL: through, ended: b.ended}).await()
}

func (b *Bouncer) configuration(binary, server string, settings []string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	target := "* = host=" + u.Hostname() + " user=" + u.User.Username()
	if port := u.Port(); port != "" {
		target += " port=" + port
	}
	if password, ok := u.User.Password(); ok {
		target += " password='" + strings.ReplaceAll(password, "'", "''") + "'"
	}
	lines := []string{
		"[databases]", target,
		"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + strconv.Itoa(b.port), "unix_socket_dir =", "auth_type = any",
		"pool_mode = transaction", "max_client_conn = 1000", "server_idle_timeout = 2", "logfile = " + filepath.Join(b.folder, "log"),
	}
	prepares, err := canPrepare(binary)
	if err != nil {
		return "", err
	}
	if prepares {
		lines = append(lines, "max_prepared_statements = 0")
	}
	return strings.Join(append(lines, settings...), "\n") + "\n", nil
}

// canPrepare reports whether PgBouncer knows of prepared statements, as it does since
// version 1.21.
func canPrepare(binary string) (bool, error) {
	text, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return false, fmt.Errorf("pgtest: the version of PgBouncer: %w", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(text), "PgBouncer %d.%d", &major, &minor); err != nil {
		return false, fmt.Errorf("pgtest: the version of PgBouncer: %w", err)
	}
	return major > 1 || minor >= 21, nil
}

// Through returns the URL by which a database of the server is reached through the
// PgBouncer.
func (b *Bouncer) Through(database string) (string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	u.Host = "127.0.0.1:" + strconv.Itoa(b.port)
	query := u.Query()
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (b *Bouncer) stop() error {
	if err := b.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	select {
	case <-b.ended: // its exit status says that it was ended
		return nil
	case <-ctx.Done():
		return errors.New("pgtest: PgBouncer does not end")
	}
}

// Close ends the PgBouncer and removes its folder.
func (b *Bouncer) Close() error { return errors.Join(b.stop(), os.RemoveAll(b.folder)) }
