package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxReaders bounds the connections that read at once; each has a page cache.
const maxReaders = 8

// OpenSQLite opens the SQLite database at a path, creates it if there is none, and
// brings its tables up to date. Secrets are sealed with keys.
func OpenSQLite(ctx context.Context, path string, keys Keys) (*Store, error) {
	write, read, err := openSQLite(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Store{write: write, read: read, dialect: sqliteDialect, queue: riversqlite.New(write), sealer: sealer{keys}}, nil
}

var sqliteDialect = dialect{
	now: `CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
	// There is one writer at a time.
	lock: func(context.Context, *sql.Tx, string) error { return nil },
	isOrphan: func(err error) bool {
		var e *sqlite.Error
		return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
	},
	// Emptying the write-ahead log into the database overwrites what is deleted.
	// Until then the log holds what was there before.
	forget: func(ctx context.Context, write *sql.DB) error {
		var busy, pages, moved int
		if err := write.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil {
			return fmt.Errorf("empty the log of the store: %w", err)
		}
		return nil
	},
}

// openSQLite returns two pools on one file: in WAL mode readers and the writer do
// not wait for each other, and a pool of one connection makes writers wait in
// line instead of failing with SQLITE_BUSY.
func openSQLite(ctx context.Context, path string) (write, read *sql.DB, err error) {
	// SQLite creates the files beside the database with the database's mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := file.Close(); err != nil {
		return nil, nil, err
	}
	write, err = sql.Open("sqlite", dsn(path, "_txlock=immediate",
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=secure_delete(ON)"))
	if err != nil {
		return nil, nil, err
	}
	write.SetMaxOpenConns(1)
	if err := migrate(ctx, goose.DialectSQLite3, write, "migrations/sqlite", riversqlite.New(write)); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	read, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(ON)"))
	if err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(maxReaders)
	read.SetMaxIdleConns(maxReaders)
	return write, read, nil
}

func dsn(path string, parameters ...string) string {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_dqs=0&_pragma=busy_timeout(10000)&_pragma=foreign_keys(ON)"
	for _, p := range parameters {
		name += "&" + p
	}
	return name
}
