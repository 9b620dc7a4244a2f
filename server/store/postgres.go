package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
)

const (
	// maxPostgresConnections bounds a replica's share of what the server admits,
	// which is 100 unless its operator says otherwise. One more listens.
	maxPostgresConnections = 16

	// connectTime bounds one attempt to reach the server.
	connectTime = 10 * time.Second

	// maxDescriptions is how many statements' types a connection remembers.
	maxDescriptions = 512

	// migrationLock is the key of the advisory lock of the replica that migrates.
	migrationLock = 0x5369_676d_6153_7263

	// lockPoll is how often a replica looks whether another has migrated. To wait
	// within a statement would keep an index from being built concurrently.
	lockPoll = 100 * time.Millisecond
)

// OpenPostgres opens the PostgreSQL database at a URL, and brings its tables up to
// date; replicas that start at once wait for each other. Secrets are sealed with
// keys. An error does not hold the URL, whose password is a secret.
//
// The URL may be that of a connection pooler such as PgBouncer, in any mode: through
// one, the store keeps nothing in a session.
func OpenPostgres(ctx context.Context, url string, keys Keys) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("open store: it is no URL such as postgres://USER@HOST/DATABASE")
	}
	config.ConnConfig.ConnectTimeout = connectTime
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "sigmasource"
	}
	pooled, err := isPooled(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if pooled {
		unname(config.ConnConfig)
	}
	db := openPool(*config.ConnConfig)
	s := &Store{write: db, read: db, dialect: postgres, sealer: sealer{keys}, effort: effort, pooled: pooled}
	if err := s.openQueue(ctx, config); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	if err := s.migratePostgres(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// openQueue opens the queue, which listens for jobs where the store owns its sessions.
// A pooler may give a session that listens to another client: through one, the queue
// finds its jobs by polling alone.
func (s *Store) openQueue(ctx context.Context, config *pgxpool.Config) error {
	if s.pooled {
		s.queue = riverdatabasesql.New(s.write)
		return nil
	}
	config.MinConns, config.MaxConns = 0, 1
	listener, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	s.queue, s.closeQueue = riverdatabasesql.NewWithPgxListener(s.write, listener), listener.Close
	return nil
}

// openPool opens a pool of connections.
func openPool(config pgx.ConnConfig) *sql.DB {
	db := stdlib.OpenDB(config, stdlib.OptionAfterConnect(tune))
	db.SetMaxOpenConns(maxPostgresConnections)
	db.SetMaxIdleConns(maxPostgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// unname has a connection use no named statements, which belong to a session. It parses
// each statement in the round trip that runs it, and remembers only the types of its
// parameters and columns. That takes longer: a page of a search, directly, up to twice
// as long as with named statements.
func unname(config *pgx.ConnConfig) {
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, maxDescriptions
}

// isPooled reports whether a pooler stands before the server.
func isPooled(ctx context.Context, config *pgx.ConnConfig) (pooled bool, err error) {
	config = config.Copy()
	unname(config)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	owns, err := ownsSession(ctx, conn)
	return !owns, err
}

// ownsSession reports whether a connection leads to a server process of its own. At
// the start of a connection PostgreSQL tells the number of the process; a pooler, which
// has none to tell, makes one up.
func ownsSession(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var process uint32
	err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&process)
	return process == conn.PgConn().PID(), err
}

// tune sets up a new connection. PostgreSQL plans each statement for its parameters:
// whether a term is rare decides how it is looked for. Indices are read from memory or
// fast disks, and compiling takes longer than any of the store's statements runs. A
// pooler's connection stays as it is: its other clients would have the settings, too.
func tune(ctx context.Context, conn *pgx.Conn) error {
	owns, err := ownsSession(ctx, conn)
	if err != nil || !owns {
		return err
	}
	_, err = conn.Exec(ctx, `SET plan_cache_mode = force_custom_plan; SET jit = off; SET random_page_cost = 1.1`)
	return err
}

// migratePostgres migrates while no other replica does.
func (s *Store) migratePostgres(ctx context.Context) error {
	lock, err := s.lockMigrations(ctx)
	if err != nil {
		return err
	}
	err = s.migrateLocked(ctx)
	// The end of the transaction releases the lock. It cannot end well if it was broken
	// off before, and another replica may have migrated at the same time.
	if lost := lock.Commit(); lost != nil {
		err = errors.Join(err, fmt.Errorf("release the lock of the migrations: it was lost before they were done: %w", lost))
	}
	return err
}

func (s *Store) migrateLocked(ctx context.Context) error {
	if err := s.checkConnections(ctx); err != nil {
		return err
	}
	if err := s.migrate(ctx, goose.DialectPostgres, "migrations/postgres"); err != nil {
		return err
	}
	return addTrigrams(ctx, s.write)
}

// lockMigrations waits until no other replica migrates, and returns a transaction that
// keeps others waiting until it ends. A lock of a transaction, unlike one of a session,
// cannot stay behind on a connection that a pooler gives to other clients.
func (s *Store) lockMigrations(ctx context.Context) (*sql.Tx, error) {
	for {
		tx, locked, err := s.tryLockMigrations(ctx)
		if err != nil {
			return nil, fmt.Errorf("lock the migrations: %w", err)
		}
		if locked {
			return tx, nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryLockMigrations returns the transaction only if it has the lock.
func (s *Store) tryLockMigrations(ctx context.Context) (tx *sql.Tx, locked bool, err error) {
	if tx, err = s.write.BeginTx(ctx, nil); err != nil {
		return nil, false, err
	}
	err = tx.QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(migrationLock)).Scan(&locked)
	if err == nil && locked {
		// It is idle for as long as the migrations take.
		_, err = tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`)
	}
	if err == nil && locked {
		return tx, true, nil
	}
	if undo := tx.Rollback(); !errors.Is(undo, sql.ErrTxDone) { // done: the context's end came first
		err = errors.Join(err, undo)
	}
	return nil, false, err
}

// checkConnections fails if the database, or the pooler before it, gives the store no
// connection beside the one that holds the lock.
func (s *Store) checkConnections(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	err := s.Ping(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the database gives no second connection within %v: the store needs at least two at once; "+
			"raise the size of the pooler's pool (PgBouncer: default_pool_size) or the server's max_connections", connectTime)
	}
	return err
}

// addTrigrams makes the index that finds words by what they hold, with the extension
// pg_trgm. Where the extension is missing and may not be created, words are found
// without it by reading all that the catalog has.
func addTrigrams(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `
		DO $$
		DECLARE
			place TEXT;
		BEGIN
			PERFORM pg_advisory_xact_lock(hashtext('sigmasource trigrams'));
			IF to_regclass('terms_by_trigram') IS NOT NULL THEN
				RETURN;
			END IF;
			BEGIN
				CREATE EXTENSION IF NOT EXISTS pg_trgm;
			EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR duplicate_object OR unique_violation THEN
				NULL;
			END;
			SELECT nspname INTO place FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm';
			IF place IS NOT NULL THEN
				EXECUTE format('CREATE INDEX terms_by_trigram ON terms USING gin (term %I.gin_trgm_ops)
					WITH (fastupdate = off) WHERE kind IN (''mn'', ''mp'', ''mc'', ''wn'', ''wp'')', place);
			END IF;
		END $$`)
	if err != nil {
		return fmt.Errorf("make the index of trigrams: %w", err)
	}
	return nil
}

var postgres = dialect{
	now: `CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`,
	lock: func(ctx context.Context, tx *sql.Tx, key string) error {
		_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, key)
		return err
	},
	isOrphan: func(err error) bool {
		var e *pgconn.PgError
		return errors.As(err, &e) && e.Code == "23503" // foreign_key_violation
	},
	// Class 22: data exception; class 54: program limit exceeded.
	refusal: func(err error) string {
		var e *pgconn.PgError
		if errors.As(err, &e) && (strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "54")) {
			return "SQLSTATE " + e.Code
		}
		return ""
	},
	// What is deleted stays in the server's files until it is vacuumed, and in its
	// log: who may read those is for its operator to say.
	forget: func(context.Context, *sql.DB) error { return nil },

	writeTerms:  func(context.Context, *sql.Tx, []entryID, map[string]string) error { return nil },
	termsColumn: `CAST(%s AS TEXT)::TSVECTOR`,
	// OFFSET keeps the conditions that follow from being used in place of the index.
	candidates: func(parameter string) (from, where string) {
		return `(SELECT * FROM entries WHERE terms @@ CAST(` + parameter + ` AS TEXT)::TSQUERY OFFSET 0) AS entries`, `TRUE`
	},
	and: " & ", or: " | ", quote: `'`, prefix: `:*`,
	position: "strpos", parameter: "$",
	wordsHolding: `SELECT term, entries FROM terms WHERE catalog = $1 AND kind = $2 AND term LIKE $3`,
	holding:      func(text string) string { return "%" + text + "%" },
}
