package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// maxPostgresConnections bounds a replica's share of what the server admits,
	// which is 100 unless its operator says otherwise.
	maxPostgresConnections = 16

	// connectTime bounds one attempt to reach the server.
	connectTime = 10 * time.Second
)

// OpenPostgres opens the PostgreSQL database at a URL, and brings its tables up to
// date; replicas that start at once wait for each other. Secrets are sealed with
// keys. An error does not hold the URL, whose password is a secret.
func OpenPostgres(ctx context.Context, url string, keys Keys) (*Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("open store: it is no URL such as postgres://USER@HOST/DATABASE")
	}
	config.ConnectTimeout = connectTime
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "sigmasource"
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepare))
	db.SetMaxOpenConns(maxPostgresConnections)
	db.SetMaxIdleConns(maxPostgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := &Store{write: db, read: db, dialect: postgres, sealer: sealer{keys}, effort: effort}
	err = s.migrate(ctx, goose.DialectPostgres, "migrations/postgres")
	if err == nil {
		err = addTrigrams(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), db.Close())
	}
	return s, nil
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
	isOrphan: func(err error) bool {
		var e *pgconn.PgError
		return errors.As(err, &e) && e.Code == "23503" // foreign_key_violation
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
