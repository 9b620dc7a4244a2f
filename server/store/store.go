// Package store keeps connections, scans and the catalog: in a SQLite file, or in
// a PostgreSQL database that several replicas share.
//
// Resources go in and come out as the contract's messages; beside each lie only
// the columns that it is found and ordered by, for models and workbooks in tables of
// their own: the index. A connection's secrets are sealed before they reach the
// database, and no other part of a row holds them.
//
// The package's face and its statements do not depend on the database; what is one
// database's own is in sqlite.go or postgres.go. It may import the contract,
// server/resource and server/filter. It knows no gRPC status: its errors are the
// ones below, CursorError, DocumentError and RequestError, to be told apart with errors.Is and errors.As.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
	"google.golang.org/protobuf/proto"
)

var (
	// ErrNotFound: there is no such resource, or its connection is gone.
	ErrNotFound = errors.New("store: not found")
	// ErrExists: a resource of that name exists.
	ErrExists = errors.New("store: exists")
	// ErrRequestReused: the request id was used for something else.
	ErrRequestReused = errors.New("store: request id reused")
	// ErrEtagMismatch: the connection was changed since its etag was read.
	ErrEtagMismatch = errors.New("store: etag mismatch")
	// ErrScanLost: the scan is over, or somebody else has taken it up.
	ErrScanLost = errors.New("store: scan is lost")
	// ErrTooManyScans: the workspace has as many scans running as it may have.
	ErrTooManyScans = errors.New("store: too many scans")
	// ErrBadPageToken: the page token is no token of this list.
	ErrBadPageToken = errors.New("store: bad page token")
	// ErrBadCursor: the text is not a cursor of this connection's changes.
	ErrBadCursor = errors.New("store: bad change cursor")
	// ErrSealed: the secrets do not open. The key is not the one that sealed
	// them, or the row was not written for this connection.
	ErrSealed = errors.New("store: secrets do not open")
)

// DocumentError is returned where the database refuses the values of one workbook or
// of its models. Nothing of the workbook is stored; other workbooks are not affected,
// and a retry with the same values fails as well.
type DocumentError struct {
	Code string // the database's code, such as `SQLSTATE 54000`
	Err  error  // the database's own error, which may repeat a value
}

// Error returns the code and no value.
func (e *DocumentError) Error() string {
	return "store: the database refuses the contents of the workbook (" + e.Code + ")"
}

// Unwrap returns the database's own error.
func (e *DocumentError) Unwrap() error { return e.Err }

// Store is a database. Its methods may be called from many goroutines.
type Store struct {
	write   *sql.DB // with SQLite one connection, since it has one writer at a time
	read    *sql.DB
	dialect dialect
	queue   riverdriver.Driver[*sql.Tx]
	sealer  sealer
	effort  int // see find.go

	pooled     bool   // a pooler stands before PostgreSQL
	closeQueue func() // closes what only the queue uses; nil if that is nothing
}

// dialect is what the databases do differently.
type dialect struct {
	// now is the time by the database's clock, in milliseconds since 1970.
	now string
	// lock keeps other transactions that lock the same key waiting until this one
	// is over.
	lock func(ctx context.Context, tx *sql.Tx, key string) error
	// isOrphan reports whether a row was refused because the row that it belongs
	// to does not exist.
	isOrphan func(error) bool
	// refusal returns the database's code of an error that says that a value cannot be
	// stored or exceeds a limit of the database; empty for other errors.
	refusal func(error) string
	// forget takes care that nothing is left of what was deleted.
	forget func(ctx context.Context, write *sql.DB) error

	// writeTerms notes the terms of entries, by their names, where the database does
	// not keep them in a column; termsColumn is the value of that column for a
	// parameter.
	writeTerms  func(ctx context.Context, tx *sql.Tx, ids []entryID, tokens map[string]string) error
	termsColumn string

	// candidates is the source, and the condition, of the entries that match a
	// parameter with a need, which is written with the rest.
	candidates    func(parameter string) (from, where string)
	and, or       string
	quote, prefix string
	parameter     string                   // what stands before the number of a parameter; SQLite takes $ for a name, and looks through all
	position      string                   // the function that finds a text in another, from 1
	wordsHolding  string                   // query for the terms of a catalog and a kind that hold a text
	holding       func(text string) string // the text as its parameter
}

//go:embed migrations/*/*.sql
var migrations embed.FS

// The migrations that bring the whole index up to date with what entriesOf returns.
const (
	indexMigration = 11 // comes after the script that makes the tables of the index
	wordsMigration = 31 // since long words are indexed in pieces, and not cut
)

// migrate brings the tables up to date: the store's own, with the scripts of a folder,
// whose index it fills with what lay in the store before there was one, and the
// queue's.
func (s *Store) migrate(ctx context.Context, d goose.Dialect, folder string) error {
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(d, s.write, files, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(
			goose.NewGoMigration(indexMigration, &goose.GoFunc{RunDB: s.indexAll}, nil),
			goose.NewGoMigration(wordsMigration, &goose.GoFunc{RunDB: s.indexAll}, nil)))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	migrator, err := rivermigrate.New(s.queue, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("read the queue's migrations: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate the queue: %w", err)
	}
	return nil
}

// IsPooled reports whether the store reaches PostgreSQL through a connection pooler.
// Jobs then start at the next poll of the queue, and not as soon as they are stored.
func (s *Store) IsPooled() bool { return s.pooled }

// Queue is how jobs reach the database, in the transactions of the store.
func (s *Store) Queue() riverdriver.Driver[*sql.Tx] { return s.queue }

// Close closes the database. Calls under way fail.
func (s *Store) Close() error {
	if s.closeQueue != nil {
		s.closeQueue()
	}
	if s.read == s.write {
		return s.write.Close()
	}
	return errors.Join(s.read.Close(), s.write.Close())
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return fmt.Errorf("ping store: %w", err)
	}
	return nil
}

// change runs do in a transaction, which is undone if do fails.
func (s *Store) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	return inTransaction(ctx, s.write, do)
}

func inTransaction(ctx context.Context, db *sql.DB, do func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		if undo := tx.Rollback(); !errors.Is(undo, sql.ErrTxDone) { // done: the context's end came first
			err = errors.Join(err, undo)
		}
		return err
	}
	return tx.Commit()
}

// readOne reads one resource with a query that selects its bytes.
func readOne(ctx context.Context, db queryer, into proto.Message, query string, args ...any) error {
	var data []byte
	switch err := db.QueryRowContext(ctx, query, args...).Scan(&data); {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	}
	return proto.Unmarshal(data, into)
}

// readAll reads all rows of a query, each by the given function.
func readAll[T any](ctx context.Context, db queryer, scan func(*sql.Rows) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// readMessages reads all resources that a query selects the bytes of.
func readMessages[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, db queryer, query string, args ...any) ([]M, error) {
	return readAll(ctx, db, func(rows *sql.Rows) (M, error) {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		resource := M(new(T))
		return resource, proto.Unmarshal(data, resource)
	}, query, args...)
}

// queryer is a database or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// changed turns the result of a statement that should have met one row into
// ErrNotFound if it met none.
func changed(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return err
	case n == 0:
		return ErrNotFound
	}
	return nil
}
