package jobs_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/server/jobs"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, func() error { return goleak.Find() })) }

// work is what a test has done.
type work struct {
	scan func(context.Context, string) error
	tick func(context.Context) error
}

func (w *work) Scan(ctx context.Context, name string) error { return w.scan(ctx, name) }

func (w *work) Tick(ctx context.Context) error {
	if w.tick == nil {
		return nil
	}
	return w.tick(ctx)
}

// databases open an empty store, and the database behind it.
var databases = map[string]func(*testing.T) (*store.Store, *sql.DB){
	"SQLite": func(t *testing.T) (*store.Store, *sql.DB) {
		path := filepath.Join(t.TempDir(), "store.db")
		s, err := store.OpenSQLite(t.Context(), path, keys(t))
		check(t, err)
		db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)&_txlock=immediate")
		check(t, err)
		return s, db
	},
	"PostgreSQL": func(t *testing.T) (*store.Store, *sql.DB) {
		url := pgtest.Database(t)
		return openPostgres(t, url, url)
	},
	"PgBouncer": func(t *testing.T) (*store.Store, *sql.DB) {
		pooled, direct := pgtest.PooledDatabase(t)
		return openPostgres(t, pooled, direct)
	},
}

// openPostgres opens a store at one URL, and its database at another.
func openPostgres(t *testing.T, url, direct string) (*store.Store, *sql.DB) {
	s, err := store.OpenPostgres(t.Context(), url, keys(t))
	check(t, err)
	db, err := sql.Open("pgx", direct)
	check(t, err)
	return s, db
}

func keys(t *testing.T) store.Keys {
	source := keyring.Source{Path: filepath.Join(t.TempDir(), "keyset.json")}
	check(t, keyring.Create(t.Context(), source))
	ring, err := keyring.Open(t.Context(), source, time.Hour, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(func() { check(t, ring.Close()) })
	return ring
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onBoth runs a test on each database, with a runner that has not started.
func onBoth(t *testing.T, test func(t *testing.T, db *sql.DB, start func(*work) *jobs.Runner, log *log)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := open(t)
			t.Cleanup(func() { check(t, errors.Join(db.Close(), s.Close())) })
			l := &log{}
			test(t, db, func(w *work) *jobs.Runner {
				runner, err := jobs.New(s.Queue(), w, slog.New(slog.NewTextHandler(l, nil)))
				check(t, err)
				check(t, runner.Start(t.Context()))
				return runner
			}, l)
		})
	}
}

type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// ask asks for a scan in a transaction that ends as told.
func ask(t *testing.T, db *sql.DB, runner *jobs.Runner, name string, end func(*sql.Tx) error) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	check(t, err)
	check(t, errors.Join(runner.AskForScan(t.Context(), tx, name), end(tx)))
}

func TestAScanRunsOnceItsTransactionIsDone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *sql.DB, start func(*work) *jobs.Runner, _ *log) {
		ran := make(chan string, 10)
		runner := start(&work{scan: func(_ context.Context, name string) error {
			ran <- name
			return nil
		}})
		ask(t, db, runner, "undone", (*sql.Tx).Rollback)
		ask(t, db, runner, "done", (*sql.Tx).Commit)
		if name := <-ran; name != "done" {
			t.Errorf("%s ran", name)
		}
		check(t, runner.Close(context.Background()))
		if len(ran) != 0 {
			t.Errorf("%s ran too", <-ran)
		}
	})
}

func TestClosingEndsJobs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *sql.DB, start func(*work) *jobs.Runner, _ *log) {
		running, ended := make(chan bool, 2), make(chan error, 2)
		runner := start(&work{scan: func(ctx context.Context, _ string) error {
			running <- true
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		}})
		for _, name := range []string{"a", "b"} { // side by side
			ask(t, db, runner, name, (*sql.Tx).Commit)
			<-running
		}
		check(t, runner.Close(context.Background()))
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("a job ended by %v", err)
			}
		}
	})
}

// What a job says of its failure is for the log alone, and a panic's value for nobody:
// it may hold what must not be kept.
func TestFailuresStayOutOfTheDatabase(t *testing.T) {
	t.Parallel()
	const secret = "CANARY"
	onBoth(t, func(t *testing.T, db *sql.DB, start func(*work) *jobs.Runner, log *log) {
		ran := make(chan bool, 10)
		runner := start(&work{scan: func(_ context.Context, name string) error {
			ran <- true
			switch name {
			case "fails":
				return errors.New("it failed")
			case "panics":
				panic(secret)
			}
			return nil
		}})
		for _, name := range []string{"fails", "panics", "works"} {
			ask(t, db, runner, name, (*sql.Tx).Commit)
			<-ran
		}
		check(t, runner.Close(context.Background()))
		text := log.String()
		if !strings.Contains(text, "it failed") || !strings.Contains(text, "job panicked") || strings.Contains(text, secret) {
			t.Errorf("the log says:\n%s", text)
		}
		rows, err := db.QueryContext(t.Context(), `SELECT CAST(errors AS TEXT) FROM river_job WHERE kind = 'scan' AND errors IS NOT NULL`)
		check(t, err)
		defer rows.Close() //nolint:errcheck // nothing is written
		failed := 0
		for rows.Next() {
			var text string
			check(t, rows.Scan(&text))
			if failed++; strings.Contains(text, secret) || strings.Contains(text, "it failed") {
				t.Errorf("the database has %s", text)
			}
		}
		check(t, rows.Err())
		if failed != 2 {
			t.Errorf("%d jobs failed", failed)
		}
	})
}

func TestTheClockTicks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ *sql.DB, start func(*work) *jobs.Runner, _ *log) {
		ticks := make(chan bool, 100)
		runner := start(&work{tick: func(context.Context) error {
			ticks <- true
			return errors.New("something is amiss, which must not stop the clock")
		}})
		<-ticks
		<-ticks
		check(t, runner.Close(context.Background()))
	})
}
