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

	// migrationLock is held by the replica that migrates.
	migrationLock = 0x5369_676d_6153_7263

	// lockPoll is how often a replica looks whether another has migrated. To wait
	// within a statement would keep an index from being built concurrently.
	lockPoll = 100 * time.Millisecond
)

// OpenPostgres opens the PostgreSQL database at a URL, and brings its tables up to
// date; replicas that start at once wait for each other. Secrets are sealed with
// keys. An error does not hold the URL, whose password is a secret.
func OpenPostgres(ctx context.Context, url string, keys Keys) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("open store: it is no URL such as postgres://USER@HOST/DATABASE")
	}
	config.ConnConfig.ConnectTimeout = connectTime
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "sigmasource"
	}
	db := openPool(*config.ConnConfig)
	config.MinConns, config.MaxConns = 0, 1
	listener, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), db.Close())
	}
	s := &Store{write: db, read: db, dialect: postgres, queue: riverdatabasesql.NewWithPgxListener(db, listener),
		closeQueue: listener.Close, sealer: sealer{keys}, effort: effort}
	if err := s.migratePostgres(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// openPool opens a pool whose connections prepare each statement once.
func openPool(config pgx.ConnConfig) *sql.DB {
	db := stdlib.OpenDB(config, stdlib.OptionAfterConnect(prepare))
	db.SetMaxOpenConns(maxPostgresConnections)
	db.SetMaxIdleConns(maxPostgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// migratePostgres migrates while no other replica does.
func (s *Store) migratePostgres(ctx context.Context) (err error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for {
		var locked bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(migrationLock)).Scan(&locked); err != nil {
			return err
		}
		if locked {
			break
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
		err = errors.Join(err, unlockErr)
	}()
	if err := s.migrate(ctx, goose.DialectPostgres, "migrations/postgres"); err != nil {
		return err
	}
	return addTrigrams(ctx, s.write)
}

// prepare has PostgreSQL plan each statement for its parameters: whether a term is
// rare decides how it is looked for. Compiling takes longer than any of ours runs.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SET plan_cache_mode = force_custom_plan; SET jit = off; SET random_page_cost = 1.1`)
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
