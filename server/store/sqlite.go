package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// maxReaders bounds the connections that read at once; each has a page cache.
	maxReaders = 8

	// The caches, in KiB. A large index does not fit, but the upper levels of its
	// trees do.
	readerCache = "_pragma=cache_size(-8192)"
	writerCache = "_pragma=cache_size(-32768)"
)

// OpenSQLite opens the SQLite database at a path, creates it if there is none, and
// brings its tables up to date. Secrets are sealed with keys.
func OpenSQLite(ctx context.Context, path string, keys Keys) (*Store, error) {
	s := &Store{dialect: sqliteDialect, sealer: sealer{keys}, effort: effort}
	if err := s.openSQLite(ctx, path); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

var sqliteDialect = dialect{
	now: `CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
	// There is one writer at a time.
	lock: func(context.Context, *sql.Tx, string) error { return nil },
	isOrphan: func(err error) bool {
		var e *sqlite.Error
		return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
	},
	refusal: func(err error) string {
		var e *sqlite.Error
		if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_TOOBIG {
			return "SQLITE_TOOBIG"
		}
		return ""
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

	// The terms are in a table of FTS5, which can be written to but not joined in an
	// upsert.
	writeTerms: func(ctx context.Context, tx *sql.Tx, ids []entryID, tokens map[string]string) error {
		args := arguments{mark: "?"}
		var rows []string
		for _, id := range ids {
			rows = append(rows, "("+args.add(id.id)+", "+args.add(tokens[id.name])+")")
		}
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO entry_terms (rowid, terms) VALUES `+strings.Join(rows, ", "), args.values...)
		return err
	},
	// CROSS JOIN keeps SQLite from going through the entries first.
	candidates: func(parameter string) (from, where string) {
		return `entry_terms CROSS JOIN entries ON entries.id = entry_terms.rowid`, `entry_terms MATCH ` + parameter
	},
	and: " AND ", or: " OR ", quote: `"`, prefix: `*`,
	position: "instr", parameter: "?",
	wordsHolding: `SELECT terms.term, terms.entries FROM term_trigrams CROSS JOIN terms ON terms.id = term_trigrams.rowid
		WHERE terms.catalog = $1 AND terms.kind = $2 AND term_trigrams MATCH $3`,
	holding: func(text string) string { return `"` + text + `"` },
}

// openSQLite opens two pools on one file: in WAL mode readers and the writer do
// not wait for each other, and a pool of one connection makes writers wait in
// line instead of failing with SQLITE_BUSY.
func (s *Store) openSQLite(ctx context.Context, path string) error {
	// SQLite creates the files beside the database with the database's mode.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	s.write, err = sql.Open("sqlite", dsn(path, "_txlock=immediate",
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=secure_delete(ON)", writerCache))
	if err != nil {
		return err
	}
	s.queue = riversqlite.New(s.write)
	if err := s.migrate(ctx, goose.DialectSQLite3, "migrations/sqlite"); err != nil {
		return errors.Join(err, s.write.Close())
	}
	s.write.SetMaxOpenConns(1) // goose needs two
	s.read, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(ON)", readerCache))
	if err != nil {
		return errors.Join(err, s.write.Close())
	}
	s.read.SetMaxOpenConns(maxReaders)
	s.read.SetMaxIdleConns(maxReaders)
	return nil
}

func dsn(path string, parameters ...string) string {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_dqs=0&_pragma=busy_timeout(10000)&_pragma=foreign_keys(ON)"
	for _, p := range parameters {
		name += "&" + p
	}
	return name
}
