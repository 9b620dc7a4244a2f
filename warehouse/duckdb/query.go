package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	bindings "github.com/duckdb/duckdb-go-bindings"
	"golang.org/x/sync/semaphore"

	"github.com/sigmasource/sigmasource/warehouse"
)

// DuckDB hands out chunks of 2,048 rows. The first makes a batch of its own, so
// that a reader sees rows early; later ones are joined up to these sizes.
const (
	batchRows  = 16 * 1024
	batchBytes = 4 << 20
)

// interruptEvery is how often an interrupt is repeated until the query gives
// up: DuckDB forgets one that comes while a query is about to start.
const interruptEvery = 5 * time.Millisecond

// result streams a query. It implements [warehouse.Result].
type result struct {
	house     *Warehouse
	allocator memory.Allocator
	statement warehouse.Statement
	schema    *arrow.Schema
	types     []logicalType // of the columns that are delivered
	positions []int         // of those columns among all columns of the query
	width     int           // the number of all columns of the query

	ctx    context.Context // of the whole read
	cancel context.CancelCauseFunc

	conn     bindings.Connection
	prepared bindings.PreparedStatement
	pending  bindings.PendingResult
	rows     bindings.Result
	running  bool // rows is valid

	chunks chan fetched // nil before the first Next; closed when nothing more is fetched
	room   *semaphore.Weighted

	current fetched
	offset  int   // rows of current that were delivered
	read    int64 // rows delivered in all

	// Of the last batch: the next one is likely to be as large.
	lastRows  int
	lastBytes []int // by column

	err         error // that every further Next returns
	closed      bool
	closing     chan struct{}
	interrupter chan struct{} // closed when no interrupt can come any more
}

// Query implements [warehouse.Warehouse]. DuckDB keeps no query history, so
// that the statement's tag is not used. The query starts at the first Next;
// errors in the data show up there.
func (w *Warehouse) Query(ctx context.Context, stmt warehouse.Statement) (warehouse.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := w.connect()
	if err != nil {
		return nil, err
	}
	r := &result{
		house: w, allocator: w.config.Allocator, statement: stmt, conn: conn,
		closing: make(chan struct{}), interrupter: make(chan struct{}),
	}
	var cancel context.CancelCauseFunc
	r.ctx, cancel = context.WithCancelCause(ctx)
	stop := context.AfterFunc(w.lifetime, func() { cancel(errClosed) })
	r.cancel = func(cause error) { stop(); cancel(cause) }
	go r.interruptWhenDone()

	endTurn, err := w.turn(r.ctx)
	if err == nil {
		err = r.start()
		endTurn()
	}
	if err != nil {
		err = r.cause(err)
		r.release()
		return nil, err
	}
	return r, nil
}

// interruptWhenDone ends the query when its context ends, also between two
// calls of Next, when DuckDB's threads fill the result's buffer.
func (r *result) interruptWhenDone() {
	defer close(r.interrupter)
	select {
	case <-r.ctx.Done():
	case <-r.closing:
		bindings.Interrupt(r.conn)
		return
	}
	tick := time.NewTicker(interruptEvery)
	defer tick.Stop()
	for {
		bindings.Interrupt(r.conn)
		select {
		case <-tick.C:
		case <-r.closing:
			return
		}
	}
}

// start compiles the statement and learns its columns.
func (r *result) start() error {
	var statements bindings.ExtractedStatements
	n := bindings.ExtractStatements(r.conn, r.statement.SQL, &statements)
	defer bindings.DestroyExtracted(&statements)
	switch text := bindings.ExtractStatementsError(statements); {
	case n == 0 && text != "":
		return translate(text)
	case n != 1:
		return &warehouse.Error{Kind: warehouse.KindInvalidSQL, Message: fmt.Sprintf("%d statements instead of one", n)}
	}
	if bindings.PrepareExtractedStatement(r.conn, statements, 0, &r.prepared) == bindings.StateError {
		return translate(bindings.PrepareError(r.prepared))
	}
	if bindings.PreparedStatementType(r.prepared) != bindings.StatementTypeSelect {
		return &warehouse.Error{Kind: warehouse.KindInvalidSQL, Message: "the statement is not a query"}
	}
	if bindings.NParams(r.prepared) != 0 {
		return &warehouse.Error{Kind: warehouse.KindInvalidSQL, Message: "the statement has parameters"}
	}
	return r.describe()
}

// describe fills in the schema, the types and the positions of the columns
// that the statement chooses.
func (r *result) describe() (err error) {
	r.width = int(bindings.PreparedStatementColumnCount(r.prepared))
	names := make([]string, r.width)
	for i := range names {
		names[i] = bindings.PreparedStatementColumnName(r.prepared, bindings.IdxT(i))
	}
	if r.positions, err = r.statement.Columns(names); err != nil {
		return err
	}
	var fields []arrow.Field
	holdsDays := r.statement.HoldsDays(names)
	for _, position := range r.positions {
		t := readType(bindings.PreparedStatementColumnLogicalType(r.prepared, bindings.IdxT(position)))
		name := names[position]
		field, ok := t.field(name, r.house.zone, holdsDays[position])
		if !ok {
			return &warehouse.Error{
				Kind:    warehouse.KindUnsupported,
				Column:  name,
				Message: fmt.Sprintf("column %q: %s has no exact form here; cast it to VARCHAR", name, t),
			}
		}
		fields, r.types = append(fields, field), append(r.types, t)
	}
	r.schema, r.lastBytes = arrow.NewSchema(fields, nil), make([]int, len(fields))
	return nil
}

// QueryID implements [warehouse.Result]. DuckDB has no query ids.
func (r *result) QueryID() string { return "" }

// Schema implements [warehouse.Result].
func (r *result) Schema() *arrow.Schema { return r.schema }

// DeclaredRows implements [warehouse.Result]. DuckDB declares none: the end of
// the stream, which DuckDB tells apart from an error, is the proof.
func (r *result) DeclaredRows() (int64, bool) { return 0, false }

// Next implements [warehouse.Result].
func (r *result) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	stop := context.AfterFunc(ctx, func() { r.cancel(ctx.Err()) })
	defer stop()
	if r.chunks == nil {
		r.begin()
	}
	batch, err := r.next()
	if ctx.Err() != nil && err == nil {
		batch.Release()
		err = ctx.Err()
	}
	if err != nil {
		if err != io.EOF {
			err = r.cause(err)
		}
		r.err = err
		r.release()
		return nil, err
	}
	return batch, nil
}

// cause returns why the read ended where err is only the consequence of that.
func (r *result) cause(err error) error {
	if r.ctx.Err() == nil || (!isInterrupt(err) && !errors.Is(err, r.ctx.Err())) {
		return err
	}
	for _, known := range []error{errClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(context.Cause(r.ctx), known) {
			return known
		}
	}
	return r.ctx.Err()
}

func (r *result) next() (arrow.RecordBatch, error) {
	want := batchRows
	if r.read == 0 {
		want = 1
	}
	columns := make([]*column, len(r.types))
	for i := range columns {
		columns[i] = newColumn(r.allocator, r.schema.Field(i).Type, r.house.zone, r.lastRows, r.lastBytes[i])
		defer columns[i].release()
	}
	rows := 0
	for bytes := 0; rows < want && bytes < batchBytes; {
		if r.offset == r.current.rows {
			if err := r.take(); err == io.EOF && rows > 0 {
				break
			} else if err != nil {
				return nil, err
			}
		}
		from := r.offset
		to, size := r.current.fit(from, batchBytes-bytes)
		for i, v := range r.current.vectors {
			if err := columns[i].append(v, from, to); err != nil {
				return nil, r.locate(err, i, int64(rows-from))
			}
		}
		rows, bytes, r.offset = rows+to-from, bytes+size, to
	}
	r.read += int64(rows)
	arrays := make([]arrow.Array, len(columns))
	r.lastRows = rows
	for i, c := range columns {
		r.lastBytes[i] = c.data.Len()
		arrays[i] = c.array()
		defer arrays[i].Release()
	}
	return array.NewRecordBatch(r.schema, arrays, int64(rows)), nil
}

// locate names the column and the row of a value that cannot be delivered.
func (r *result) locate(err error, column int, base int64) error {
	var inexact *inexactError
	if !errors.As(err, &inexact) {
		return err
	}
	name, row := r.schema.Field(column).Name, r.read+base+int64(inexact.row)+1
	return &warehouse.Error{
		Kind: warehouse.KindUnsupported, Column: name, Row: row,
		Message: fmt.Sprintf("column %q, row %d: the %s has no exact form here: %s", name, row, r.types[column], inexact.reason),
	}
}

// Close implements [warehouse.Result].
func (r *result) Close() error {
	if r.err == nil {
		r.err = &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "the result is closed"}
	}
	r.release()
	return nil
}

// release interrupts the query and gives everything back to DuckDB.
func (r *result) release() {
	if r.closed {
		return
	}
	r.closed = true
	r.cancel(nil)
	if r.chunks != nil {
		for f := range r.chunks {
			bindings.DestroyDataChunk(&f.chunk)
		}
	}
	close(r.closing)
	<-r.interrupter
	bindings.DestroyDataChunk(&r.current.chunk)
	if r.running {
		bindings.DestroyResult(&r.rows)
	}
	bindings.DestroyPending(&r.pending)
	bindings.DestroyPrepare(&r.prepared)
	bindings.Disconnect(&r.conn)
}
