package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
)

// database returns a plain connection pool, which is closed when the test ends.
func database(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	return db
}

// texts returns the rows of a query that selects one text.
func texts(t *testing.T, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	check(t, err)
	defer func() { check(t, rows.Close()) }()
	for rows.Next() {
		var text string
		check(t, rows.Scan(&text))
		all = append(all, text)
	}
	check(t, rows.Err())
	return all
}

// advisoryLocks selects the advisory locks of the database.
const advisoryLocks = `SELECT pid || ' ' || granted FROM pg_locks WHERE locktype = 'advisory'
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// TestReplicasStartTogether: replicas that start at once on an empty database, and
// again on one that is up to date, all succeed, directly and through a pooler that
// gives each transaction another session. They leave nothing in the sessions.
func TestReplicasStartTogether(t *testing.T) {
	const replicas, times = 4, 4
	pooled, behind := pgtest.PooledDatabase(t)
	direct := pgtest.Database(t)
	for name, urls := range map[string]struct{ url, direct string }{"pooled": {pooled, behind}, "direct": {direct, direct}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newKeys(t, filepath.Join(t.TempDir(), "keyset.json"))
			stop := load(t, urls.url)
			var group sync.WaitGroup
			stores := make(chan *store.Store, replicas*times)
			for range replicas {
				group.Go(func() {
					for range times {
						s, err := store.OpenPostgres(t.Context(), urls.url, keys)
						if err != nil {
							t.Error(err)
							return
						}
						stores <- s
					}
				})
			}
			group.Wait()
			close(stores)
			stop()
			db := database(t, urls.direct)
			if left := texts(t, db, advisoryLocks); len(left) > 0 {
				t.Errorf("locks are left behind: %q", left)
			}
			for s := range stores {
				if s.IsPooled() != (name == "pooled") {
					t.Errorf("that a pooler is there is %v", s.IsPooled())
				}
				check(t, s.Close())
			}
			if left := texts(t, db, advisoryLocks); len(left) > 0 {
				t.Errorf("locks are left behind by stores that are closed: %q", left)
			}
		})
	}
}

// load has other clients use the server's connections until the returned function is
// called.
func load(t *testing.T, url string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 3 {
		db, err := sql.Open("pgx", url)
		check(t, err)
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.ExecContext(ctx, `SELECT pg_sleep(0.002)`); err != nil && ctx.Err() == nil {
					t.Error(err)
					break
				}
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// TestSessionsOfThePooler: the sessions that a store has used through a pooler are as
// they were for the pooler's other clients.
func TestSessionsOfThePooler(t *testing.T) {
	pooled, direct := pgtest.PooledDatabase(t)
	s, err := store.OpenPostgres(t.Context(), pooled, newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
	check(t, err)
	defer func() { check(t, s.Close()) }()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "n")
	check(t, put(t.Context(), s, w, []*pb.Model{model(w, prod, "e", "m", "x")}))
	wantCounts(t, s, prod, 1, 1)

	// PgBouncer itself sets the name of the application for each client.
	const settings = `SELECT name || '=' || setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name' ORDER BY name`
	want := texts(t, database(t, direct), settings)
	other := database(t, pooled)
	other.SetMaxOpenConns(8)
	for range 8 { // each transaction has a session to itself
		tx, err := other.BeginTx(t.Context(), nil)
		check(t, err)
		defer func() { check(t, tx.Rollback()) }()
		for query, want := range map[string][]string{
			settings:                         want,
			`SELECT pg_listening_channels()`: nil,
			`SELECT name FROM pg_prepared_statements`: nil,
		} {
			// The simple protocol: a client of the pooler prepares nothing.
			rows, err := tx.QueryContext(t.Context(), query, pgx.QueryExecModeSimpleProtocol)
			check(t, err)
			var got []string
			for rows.Next() {
				var text string
				check(t, rows.Scan(&text))
				got = append(got, text)
			}
			check(t, errors.Join(rows.Err(), rows.Close()))
			if !slices.Equal(got, want) {
				t.Errorf("%s returns %q, want %q", query, got, want)
			}
		}
	}
}

// TestMigrationLock: nothing migrates while another holds the lock, and a store opens
// once it is released.
func TestMigrationLock(t *testing.T) {
	pooled, behind := pgtest.PooledDatabase(t)
	direct := pgtest.Database(t)
	for name, urls := range map[string]struct{ url, direct string }{"pooled": {pooled, behind}, "direct": {direct, direct}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newKeys(t, filepath.Join(t.TempDir(), "keyset.json"))
			db := database(t, urls.direct)
			tx, err := db.BeginTx(t.Context(), nil)
			check(t, err)
			_, err = tx.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock($1)`, int64(store.MigrationLock))
			check(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			s, err := store.OpenPostgres(ctx, urls.url, keys)
			if err == nil {
				check(t, s.Close())
			}
			wantError(t, err, context.DeadlineExceeded)
			if tables := texts(t, db, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`); len(tables) > 0 {
				t.Errorf("it made the tables %q without the lock", tables)
			}
			check(t, tx.Commit())
			s, err = store.OpenPostgres(t.Context(), urls.url, keys)
			check(t, err)
			check(t, s.Close())
		})
	}
}

// TestMigrationLockIsLost: a store whose lock is lost before the migrations are done
// does not open.
func TestMigrationLockIsLost(t *testing.T) {
	pooled, behind := pgtest.PooledDatabase(t)
	direct := pgtest.Database(t)
	for name, urls := range map[string]struct{ url, direct string }{"pooled": {pooled, behind}, "direct": {direct, direct}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newKeys(t, filepath.Join(t.TempDir(), "keyset.json"))
			s, err := store.OpenPostgres(t.Context(), urls.url, keys)
			check(t, err)
			check(t, s.Close())
			db := database(t, urls.direct)
			tx, err := db.BeginTx(t.Context(), nil)
			check(t, err)
			_, err = tx.ExecContext(t.Context(), `LOCK TABLE goose_db_version IN ACCESS EXCLUSIVE MODE`)
			check(t, err)
			opened := make(chan error, 1)
			go func() {
				s, err := store.OpenPostgres(t.Context(), urls.url, keys)
				if err == nil {
					err = errors.Join(errors.New("the store has opened"), s.Close())
				}
				opened <- err
			}()
			for len(texts(t, db, `SELECT 'waits' FROM pg_locks WHERE relation = 'goose_db_version'::regclass AND NOT granted`)) == 0 {
				if len(opened) > 0 {
					t.Fatal(<-opened)
				}
				_, err := db.ExecContext(t.Context(), `SELECT pg_sleep(0.01)`)
				check(t, err)
			}
			ended := texts(t, db, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
			equal(t, ended, []string{"true"})
			check(t, tx.Commit())
			if err := <-opened; !strings.Contains(err.Error(), "release the lock of the migrations") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestPoolOfOne: a pooler that gives the store one connection is refused with what to
// do, instead of a start that waits for itself.
func TestPoolOfOne(t *testing.T) {
	_, direct := pgtest.PooledDatabase(t)
	bouncer, err := pgtest.SharedServer(t).StartBouncer("default_pool_size = 1")
	check(t, err)
	t.Cleanup(func() { check(t, bouncer.Close()) })
	t.Parallel()
	url, err := bouncer.Through(direct)
	check(t, err)
	s, err := store.OpenPostgres(t.Context(), url, newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
	if err == nil {
		check(t, s.Close())
		t.Fatal("it opened")
	}
	if !strings.Contains(err.Error(), "default_pool_size") {
		t.Errorf("error %v", err)
	}
	if left := texts(t, database(t, direct), advisoryLocks); len(left) > 0 {
		t.Errorf("locks are left behind: %q", left)
	}
}

// TestModeOfTheURL: what a URL says about statements does not bring named ones back.
func TestModeOfTheURL(t *testing.T) {
	pooled, _ := pgtest.PooledDatabase(t)
	for _, parameter := range []string{"default_query_exec_mode=cache_statement", "default_query_exec_mode=exec", "statement_cache_capacity=100", "description_cache_capacity=0"} {
		s, err := store.OpenPostgres(t.Context(), fmt.Sprint(pooled, "&", parameter), newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
		if err != nil {
			t.Errorf("%s: %v", parameter, err)
			continue
		}
		for range 20 {
			check(t, s.Ping(t.Context()))
		}
		check(t, s.Close())
	}
}
