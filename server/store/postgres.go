package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
		closeQueue: listener.Close, sealer: sealer{keys}}
	if err := s.migratePostgres(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

// openPool opens a pool whose connections prepare each statement once.
func openPool(config pgx.ConnConfig) *sql.DB {
	db := stdlib.OpenDB(config)
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
	return migrate(ctx, goose.DialectPostgres, s.write, "migrations/postgres", s.queue)
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
	// What is deleted stays in the server's files until it is vacuumed, and in its
	// log: who may read those is for its operator to say.
	forget: func(context.Context, *sql.DB) error { return nil },
}
