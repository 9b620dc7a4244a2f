package snowflake

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

// result reads the chunks of a query one after the other. It implements
// [warehouse.Result].
type result struct {
	house     *Warehouse
	allocator memory.Allocator
	queryID   string
	layout    layout
	manifest  manifest

	ctx    context.Context // of the whole read
	cancel context.CancelCauseFunc

	chunks []source
	chunk  *chunk // the first of chunks, once it is being read
	number int    // of that chunk among all parts of the result, from 1
	parts  int    // number of all parts of the result
	// checked is the number of the last chunk whose schema was compared.
	checked int
	read    int64 // rows delivered

	err error // that every further Next returns
}

// Query implements [warehouse.Warehouse]. It returns once Snowflake has run
// the statement: Snowflake tells columns and rows together.
func (w *Warehouse) Query(ctx context.Context, stmt warehouse.Statement) (warehouse.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	query, err := onlyQuery(stmt.SQL)
	if err != nil {
		return nil, err
	}
	if !w.begin() {
		return nil, errClosed
	}
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(w.lifetime, func() { end(errClosed) })
	cancel := func(cause error) { stop(); end(cause) }

	// The driver sends an abort when the context ends, and waits for the answer
	// whatever it takes. The caller does not.
	done := start(w, func() (*result, error) { return w.run(ctx, query, stmt) })
	select {
	case o := <-done:
		if o.err == nil {
			o.value.ctx, o.value.cancel = ctx, cancel
			return o.value, nil
		}
		err = translate(ctx, o.err)
	case <-ctx.Done():
		err = ended(ctx)
	}
	cancel(err)
	return nil, err
}

// begin counts a statement in, unless the warehouse is closed.
func (w *Warehouse) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.requests.Add(1)
	}
	return !w.closed
}

// run executes the query.
func (w *Warehouse) run(ctx context.Context, query string, stmt warehouse.Statement) (*result, error) {
	return inSession(ctx, w, func(session any) (*result, error) { return w.execute(ctx, session, query, stmt) })
}

// inSession does something in a session, and again in another where one was lost: at
// most in each of the pool's and in a new one.
func inSession[T any](ctx context.Context, w *Warehouse, do func(session any) (T, error)) (done T, err error) {
	for range cmp.Or(w.config.MaxSessions, defaultMaxSessions) + 1 {
		done, err = inOneSession(ctx, w, do)
		if !errors.Is(err, errSessionLost) || ctx.Err() != nil {
			break
		}
	}
	return done, err
}

// errSessionLost marks the failure of a session that Snowflake has ended.
var errSessionLost = errors.New("snowflake: the session is lost")

func inOneSession[T any](ctx context.Context, w *Warehouse, do func(session any) (T, error)) (done T, err error) {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return done, err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil && !errors.Is(closeErr, driver.ErrBadConn) {
			err = closeErr
		}
	}()
	if err := ctx.Err(); err != nil { // while it logged in
		return done, err
	}
	var doErr error
	rawErr := conn.Raw(func(session any) error {
		done, doErr = do(session)
		var failure *gosnowflake.SnowflakeError
		if errors.As(doErr, &failure) && sessionLost[failure.Number] {
			doErr = fmt.Errorf("%w: %w", errSessionLost, doErr)
			return driver.ErrBadConn // the pool must not keep it
		}
		return nil
	})
	return done, cmp.Or(doErr, rawErr)
}

func (w *Warehouse) execute(ctx context.Context, session any, query string, stmt warehouse.Statement) (*result, error) {
	streamer, ok := session.(interface {
		QueryArrowStream(context.Context, string, ...driver.NamedValue) (gosnowflake.ArrowStreamLoader, error)
	})
	if !ok {
		return nil, errors.New("snowflake: the driver has no Arrow streams")
	}
	queryID := make(chan string, 1)
	ctx = gosnowflake.WithQueryIDChan(ctx, queryID)
	if stmt.Tag != "" {
		ctx = gosnowflake.WithQueryTag(ctx, stmt.Tag)
	}
	ctx, err := gosnowflake.WithMultiStatement(ctx, 1)
	if err != nil {
		return nil, err
	}
	loader, err := streamer.QueryArrowStream(ctx, query)
	if err != nil {
		return nil, err
	}
	r := &result{house: w, allocator: w.config.Allocator}
	select {
	case r.queryID = <-queryID:
	default:
	}
	if len(loader.JSONData()) > 0 {
		return nil, r.failed(warehouse.KindUnsupported, "Snowflake answers this statement in JSON and not in Arrow")
	}
	var types []rowType
	for i, t := range loader.RowTypes() {
		types = append(types, rowType{Name: t.Name, Type: t.Type, Precision: int32(t.Precision), Scale: int32(t.Scale), Length: t.Length, Position: i})
	}
	if len(types) == 0 {
		return nil, r.failed(warehouse.KindIncomplete, "Snowflake's answer declares no columns")
	}
	if r.layout, err = chosenLayout(stmt, types, w.zone); err != nil {
		var unsupported *unsupportedError
		if errors.As(err, &unsupported) {
			e := r.failed(warehouse.KindUnsupported, err.Error())
			e.Column = unsupported.column
			return nil, e
		}
		return nil, err
	}
	batches, err := loader.GetBatches()
	if err != nil {
		return nil, r.failed(warehouse.KindIncomplete, "the first part of the result cannot be read")
	}
	for _, batch := range batches {
		r.chunks = append(r.chunks, driverSource{batch})
	}
	r.manifest, r.parts = newManifest(loader.TotalRows(), r.chunks), len(r.chunks)
	return r, nil
}

// onlyQuery returns the statement from its first word on, which must begin a
// query. The driver would act on PUT and GET itself, with the files of this
// machine, and looks for them behind comments with a pattern that also finds
// them elsewhere.
func onlyQuery(sql string) (string, error) {
	rest := sql
	for {
		rest = strings.TrimLeft(rest, " \t\r\n\f\v\u00a0\ufeff")
		var found bool
		switch {
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "//"):
			_, rest, found = strings.Cut(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			_, rest, found = strings.Cut(rest[2:], "*/")
		default:
			word := strings.ToUpper(first(rest, 7))
			for _, begin := range []string{"SELECT", "WITH", "("} {
				after, ok := strings.CutPrefix(word, begin)
				if ok && (begin == "(" || after == "" || !isWordByte(after[0])) {
					return rest, nil
				}
			}
		}
		if !found {
			return "", &warehouse.Error{Kind: warehouse.KindInvalidSQL, Message: "the statement is not a query"}
		}
	}
}

func isWordByte(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// QueryID implements [warehouse.Result].
func (r *result) QueryID() string { return r.queryID }

// Schema implements [warehouse.Result].
func (r *result) Schema() *arrow.Schema { return r.layout.schema }

// DeclaredRows implements [warehouse.Result].
func (r *result) DeclaredRows() (int64, bool) { return r.manifest.rows, true }

// Next implements [warehouse.Result].
func (r *result) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	stop := context.AfterFunc(ctx, func() { r.cancel(ctx.Err()) })
	defer stop()
	batch, err := r.guardedNext()
	if err == nil && ctx.Err() != nil {
		batch.Release()
		err = ctx.Err()
	}
	if err != nil {
		if ctx.Err() != nil && err != io.EOF {
			err = ctx.Err()
		}
		r.err = err
		r.release()
		return nil, err
	}
	return batch, nil
}

// guardedNext returns an error where the driver or Arrow panics on the data.
func (r *result) guardedNext() (batch arrow.RecordBatch, err error) {
	defer func() {
		var failure *warehouse.Error
		if errors.As(err, &failure) && failure.QueryID == "" {
			failure.QueryID = r.queryID
		}
	}()
	defer recoverTo(&err)
	return r.next()
}

func (r *result) next() (arrow.RecordBatch, error) {
	if r.number == 0 {
		if problem := r.manifest.problem(); problem != "" {
			return nil, r.failed(warehouse.KindIncomplete, problem)
		}
	}
	for {
		if r.ctx.Err() != nil {
			return nil, ended(r.ctx)
		}
		if r.chunk == nil {
			if len(r.chunks) == 0 {
				return nil, r.atEnd()
			}
			r.chunk = newChunk(r.chunks[0], r.allocator, r.house.wait)
			r.number++
		}
		raw, err := r.chunk.next(r.ctx)
		switch {
		case err == io.EOF:
			r.chunk.close()
			r.chunk, r.chunks = nil, r.chunks[1:]
		case err != nil:
			return nil, r.chunkFailed(err)
		case raw.NumRows() > 0:
			return r.convert(raw)
		default:
			raw.Release()
		}
	}
}

// atEnd returns io.EOF if all rows came.
func (r *result) atEnd() error {
	if r.read != r.manifest.rows {
		return r.failed(warehouse.KindIncomplete, fmt.Sprintf("%d rows came of the %d that Snowflake declared", r.read, r.manifest.rows))
	}
	return io.EOF
}

// chunkFailed tells which part of the result is missing.
func (r *result) chunkFailed(err error) error {
	if r.ctx.Err() != nil {
		return ended(r.ctx)
	}
	kind, reason := warehouse.KindUnavailable, "cannot be fetched"
	var count *countError
	var refused *refusedError
	switch {
	case errors.As(err, &count):
		kind, reason = warehouse.KindIncomplete, count.Error()
	case isDamage(err):
		kind, reason = warehouse.KindIncomplete, "is damaged"
	case errors.Is(err, errStalled):
		reason = "cannot be fetched: the download stands still"
	case errors.As(err, &refused) && refused.status == 0:
		reason = "cannot be fetched: there is no response"
	case errors.As(err, &refused):
		reason = fmt.Sprintf("cannot be fetched: the response has status %d", refused.status)
	}
	e := r.failed(kind, fmt.Sprintf("part %d of the result, of %d, %s", r.number, r.parts, reason))
	e.Err = unexpectedEnd(withoutURL(err))
	return e
}

func (r *result) convert(raw arrow.RecordBatch) (_ arrow.RecordBatch, err error) {
	defer raw.Release()
	if int(raw.NumCols()) != r.layout.width {
		return nil, r.failed(warehouse.KindIncomplete, fmt.Sprintf("%d columns came instead of %d", raw.NumCols(), r.layout.width))
	}
	if err := r.checkSchema(raw.Schema()); err != nil {
		return nil, err
	}
	batch, err := r.layout.convert(r.allocator, raw)
	if err != nil {
		var inexact *inexactError
		if errors.As(err, &inexact) {
			name, row := r.layout.schema.Field(inexact.column).Name, r.read+int64(inexact.row)+1
			e := r.failed(warehouse.KindUnsupported, fmt.Sprintf("column %q, row %d: %s", name, row, inexact.reason))
			e.Column, e.Row = name, row
			return nil, e
		}
		return nil, r.chunkFailed(err)
	}
	r.read += batch.NumRows()
	return batch, nil
}

// checkSchema compares the schema of the chunk with the result's columns, once for each
// chunk.
func (r *result) checkSchema(schema *arrow.Schema) error {
	if r.checked == r.number {
		return nil
	}
	contradiction, differences := r.layout.compareSchema(schema)
	if contradiction != "" {
		if r.house.config.SchemaCheck != WarnSchemaCheck {
			return r.failed(warehouse.KindIncomplete, fmt.Sprintf("part %d of the result, of %d, has other columns than Snowflake declared: %s",
				r.number, r.parts, contradiction))
		}
		r.house.schemas.add("contradiction", contradiction, r.queryID)
	}
	for _, kind := range differences {
		r.house.schemas.add(kind, kind, r.queryID)
	}
	r.checked = r.number
	for i, t := range r.layout.types {
		if isStructured(families[strings.ToLower(t.Type)], schema.Field(t.Position).Type) {
			name := r.layout.schema.Field(i).Name
			e := r.failed(warehouse.KindUnsupported, fmt.Sprintf("column %q is a structured type in a native encoding, which has no exact form here; cast it to VARIANT", name))
			e.Column = name
			return e
		}
	}
	return nil
}

func (r *result) failed(kind warehouse.Kind, message string) *warehouse.Error {
	return &warehouse.Error{Kind: kind, QueryID: r.queryID, Message: message}
}

// Close implements [warehouse.Result]. The query itself has ended before.
func (r *result) Close() error {
	if r.err == nil {
		r.err = r.failed(warehouse.KindUnavailable, "the result is closed")
	}
	r.release()
	return nil
}

func (r *result) release() {
	r.cancel(context.Canceled)
	if r.chunk != nil {
		r.chunk.close()
		r.chunk = nil
	}
	r.chunks = nil
}
