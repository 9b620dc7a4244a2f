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
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(maxPostgresConnections)
	db.SetMaxIdleConns(maxPostgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := migrate(ctx, goose.DialectPostgres, db, "migrations/postgres"); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), db.Close())
	}
	return &Store{write: db, read: db, dialect: postgres, sealer: sealer{keys}}, nil
}

var postgres = dialect{
	isOrphan: func(err error) bool {
		var e *pgconn.PgError
		return errors.As(err, &e) && e.Code == "23503" // foreign_key_violation
	},
	// What is deleted stays in the server's files until it is vacuumed, and in its
	// log: who may read those is for its operator to say.
	forget: func(context.Context, *sql.DB) error { return nil },
}
