// Package duckdb reads a DuckDB database in process.
//
// It speaks DuckDB's C interface through duckdb-go-bindings and not through
// the database/sql driver: that driver holds the whole result in memory before
// it hands out the first row, and its Arrow reader needs a build tag. Here
// results are streamed, and each column is copied into Arrow as a vector.
//
// A warehouse is sealed: a file is opened read-only, a statement sees nothing
// but the database (no files, no network, no extension that is not built in),
// it is a single query, and no setting can be changed.
//
// The package imports warehouse and Arrow, and nothing else of the service.
package duckdb

import (
	"cmp"
	"context"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Config tells which database to read and what the reading may use. The zero
// value is an empty database in memory.
type Config struct {
	Path        string           // of the database file; empty: a database in memory
	Threads     int              // that DuckDB may use; 0: one per core
	MemoryLimit string           // that DuckDB may use, such as "2GB"; empty: 80 % of the machine's
	TimeZone    string           // IANA name of the sessions' zone; empty: UTC
	Allocator   memory.Allocator // of the batches; nil: memory.DefaultAllocator
}

// Warehouse is a DuckDB database. It implements [warehouse.Warehouse].
type Warehouse struct {
	config Config

	// lifetime ends when the warehouse is closed, and with it every open result.
	lifetime context.Context
	end      context.CancelCauseFunc

	// turns bounds how many results are worked on at once: DuckDB uses all cores for
	// each, and more of them only get in each other's way. Those that wait for
	// their reader take no turn.
	turns chan struct{}

	mu     sync.Mutex
	db     bindings.Database
	zone   *time.Location // of the sessions, once opened
	opened bool
}

var _ warehouse.Warehouse = (*Warehouse)(nil)

var errClosed = &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "the warehouse is closed"}

// Open returns the database of config. Its file is opened at the first use,
// which also reports what is wrong with the configuration.
func Open(config Config) *Warehouse {
	if config.Allocator == nil {
		config.Allocator = memory.DefaultAllocator
	}
	lifetime, end := context.WithCancelCause(context.Background())
	threads := cmp.Or(config.Threads, runtime.GOMAXPROCS(0))
	return &Warehouse{config: config, lifetime: lifetime, end: end, turns: make(chan struct{}, turnsPerThread*threads)}
}

const turnsPerThread = 2

// turn waits for a turn. The caller ends it.
func (w *Warehouse) turn(ctx context.Context) (end func(), err error) {
	select {
	case w.turns <- struct{}{}:
		return func() { <-w.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Identify implements [warehouse.Warehouse]. DuckDB has neither users nor
// roles: it tells the database, the schema and DuckDB's version.
func (w *Warehouse) Identify(ctx context.Context) (id warehouse.Identity, err error) {
	result, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT current_database(), current_schema(), version()"})
	if err != nil {
		return id, err
	}
	defer func() {
		if closeErr := result.Close(); err == nil {
			err = closeErr
		}
	}()
	batch, err := result.Next(ctx)
	if err != nil {
		return id, err
	}
	defer batch.Release()
	id.Database = strings.Clone(batch.Column(0).ValueStr(0))
	id.Schema = strings.Clone(batch.Column(1).ValueStr(0))
	id.Version = strings.Clone(batch.Column(2).ValueStr(0))
	return id, nil
}

// Probe implements [warehouse.Warehouse].
func (w *Warehouse) Probe(ctx context.Context) error {
	result, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT count(*) FROM duckdb_tables()"})
	if err != nil {
		return err
	}
	return warehouse.Drain(ctx, result)
}

// Close implements [warehouse.Warehouse].
func (w *Warehouse) Close() error {
	w.end(errClosed)
	w.mu.Lock()
	defer w.mu.Unlock()
	// DuckDB itself keeps the database alive until its last connection ends.
	bindings.Close(&w.db)
	return nil
}

// connect returns a new connection. Queries do not share one, because an
// interrupt ends whatever runs on a connection.
func (w *Warehouse) connect() (conn bindings.Connection, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lifetime.Err() != nil {
		return conn, errClosed
	}
	if !w.opened {
		if w.zone, err = zone.Load(cmp.Or(w.config.TimeZone, "UTC")); err != nil {
			return conn, &warehouse.Error{Kind: warehouse.KindConfiguration, Object: w.config.TimeZone, Message: "the time zone is not known", Err: err}
		}
		if w.db, err = open(w.config); err != nil {
			return conn, err
		}
		w.opened = true
	}
	if bindings.Connect(w.db, &conn) == bindings.StateError {
		return conn, &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "DuckDB opens no further connection"}
	}
	return conn, nil
}

// open opens the database and seals it.
func open(config Config) (db bindings.Database, err error) {
	settings := slices.Clone(startSettings)
	var own []string
	if config.Path != "" {
		settings = append(settings, setting{name: "access_mode", value: "read_only"})
	} else {
		// DuckDB would spill a database in memory to the working directory.
		own = append(own, "SET GLOBAL temp_directory = ''")
	}
	if config.Threads != 0 {
		settings = append(settings, setting{name: "threads", value: strconv.Itoa(config.Threads)})
	}
	if config.MemoryLimit != "" {
		settings = append(settings, setting{name: "memory_limit", value: config.MemoryLimit})
	}

	var options bindings.Config
	if bindings.CreateConfig(&options) == bindings.StateError {
		return db, &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "DuckDB does not start"}
	}
	defer bindings.DestroyConfig(&options)
	if err := configure(options, settings); err != nil {
		return db, err
	}
	var text string
	if bindings.OpenExt(config.Path, &db, options, &text) == bindings.StateError {
		return db, &warehouse.Error{ // callers need not learn the operator's folder
			Kind: warehouse.KindConfiguration, Object: filepath.Base(config.Path), Message: "the database cannot be opened", Err: driverError(text),
		}
	}
	if err = execute(db, own); err == nil {
		err = pin(db, config.TimeZone)
	}
	if err != nil {
		bindings.Close(&db)
	}
	return db, err
}

// execute runs statements without results.
func execute(db bindings.Database, statements []string) error {
	var conn bindings.Connection
	if bindings.Connect(db, &conn) == bindings.StateError {
		return &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "DuckDB opens no connection"}
	}
	defer bindings.Disconnect(&conn)
	for _, sql := range statements {
		var result bindings.Result
		state := bindings.Query(conn, sql, &result)
		text := bindings.ResultError(&result)
		bindings.DestroyResult(&result)
		if state == bindings.StateError {
			return translate(text)
		}
	}
	return nil
}
