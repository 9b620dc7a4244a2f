package query

import (
	"context"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/warehouse"
)

// sharedWindow is how many bytes of rows a query runs ahead of its slowest reader, and
// up to what size others may still join: who joins reads from the beginning.
const sharedWindow = 1 << 20

// sharedQueries are the queries of previews that are running, by what makes them the
// same.
type sharedQueries struct {
	mu           sync.Mutex
	running      map[sharedKey]*sharedQuery
	misdescribed map[string]bool // tags of statements
}

// sharedKey is what two previews have in common that share a query: who asks, what
// for, and by which settings of the connection.
type sharedKey struct {
	principal  string
	connection string
	etag       string
	sql, tag   string // of the statement
	choice     string // see plan.choiceKey
}

// sharedQuery is a query with one or more readers, each of which gets all rows.
type sharedQuery struct {
	names     recordedNames // of all columns of the result
	of        *sharedQueries
	key       sharedKey
	statement warehouse.Statement
	cancel    context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	early   *arrow.Schema // as described while the query ran
	result  warehouse.Result
	batches []arrow.RecordBatch // from first on
	first   int                 // number of the first of batches
	bytes   int64               // in batches
	total   int64               // bytes of all batches so far
	ended   bool
	err     error // why it ended, but at its end
	readers map[*sharedResult]struct{}
}

// query runs a statement, or joins one that runs already. It returns at once; the
// caller waits for what it needs of the result, and closes it. choice is equal for
// statements that choose the same columns.
func (s *Service) query(ctx context.Context, link *connections.Link, statement warehouse.Statement, choice string) (r *sharedResult, shared bool) {
	key := sharedKey{
		connection: link.Connection.GetName(), etag: link.Connection.GetEtag(),
		sql: statement.SQL, tag: statement.Tag, choice: choice,
	}
	if p := auth.PrincipalFrom(ctx); p != nil {
		key.principal = p.Name
	}
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	if q := s.shared.running[key]; q != nil {
		if r := q.join(); r != nil {
			return r, true
		}
	}
	q := &sharedQuery{of: &s.shared, key: key, changed: make(chan struct{}), readers: map[*sharedResult]struct{}{}}
	q.statement = statement
	q.statement.Choose = q.names.record(statement.Choose)
	r = q.join()
	s.shared.running[key] = q
	var running context.Context
	running, q.cancel = context.WithCancel(context.WithoutCancel(ctx))
	describing, answered := context.WithCancel(running)
	own := link.Again()
	var description sync.WaitGroup
	if s.shared.describable(own.Warehouse, statement.Tag) {
		description.Go(func() { s.describeMeanwhile(describing, own.Warehouse, q) })
	}
	s.previews.Go(func() {
		defer own.Release()
		defer description.Wait()
		defer q.leave()
		q.run(running, own.Warehouse, answered)
	})
	return r, false
}

// leave lets nobody join any more.
func (q *sharedQuery) leave() {
	q.of.mu.Lock()
	defer q.of.mu.Unlock()
	if q.of.running[q.key] == q {
		delete(q.of.running, q.key)
	}
}

// join adds a reader, or returns nil where it is too late for one.
func (q *sharedQuery) join() *sharedResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first > 0 || q.total > sharedWindow || q.ended || len(q.readers) == 0 && q.cancel != nil {
		return nil
	}
	r := &sharedResult{sharedQuery: q}
	q.readers[r] = struct{}{}
	return r
}

func (q *sharedQuery) change(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	close(q.changed)
	q.changed = make(chan struct{})
}

// run reads the query to its end, as fast as its readers let it. It calls answered
// once the warehouse has answered.
func (q *sharedQuery) run(ctx context.Context, house warehouse.Warehouse, answered func()) {
	defer q.cancel()
	result, err := house.Query(ctx, q.statement)
	answered()
	if err == nil {
		q.change(func() { q.result = result })
		err = q.read(ctx, result)
		if closeErr := result.Close(); err == nil {
			err = closeErr
		}
	}
	q.fail(err)
}

// fail ends the query, unless it has ended. A nil error is its end.
func (q *sharedQuery) fail(err error) {
	q.change(func() {
		if !q.ended {
			q.ended, q.err = true, err
		}
	})
}

func (q *sharedQuery) read(ctx context.Context, result warehouse.Result) error {
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n := size(batch)
		q.change(func() {
			q.batches = append(q.batches, batch)
			q.bytes, q.total = q.bytes+n, q.total+n
			q.drop()
		})
		if err := q.waitForRoom(ctx); err != nil {
			return err
		}
	}
}

// waitForRoom holds the query back for its slowest reader.
func (q *sharedQuery) waitForRoom(ctx context.Context) error {
	for {
		q.mu.Lock()
		full, changed := q.bytes > sharedWindow, q.changed
		q.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drop frees the batches that every reader has read, once nobody can join any more.
// The caller holds the lock.
func (q *sharedQuery) drop() {
	if q.total <= sharedWindow && len(q.readers) > 0 {
		return
	}
	slowest := q.first + len(q.batches)
	for r := range q.readers {
		slowest = min(slowest, r.next)
	}
	for q.first < slowest {
		q.bytes -= size(q.batches[0])
		q.batches[0].Release()
		q.batches = q.batches[1:]
		q.first++
	}
}

// sharedResult is one reader of a query. It implements warehouse.Result.
type sharedResult struct {
	*sharedQuery
	next   int // number of the batch to read
	closed bool
}

// wait waits until check says so, or the query has failed.
func (r *sharedResult) wait(ctx context.Context, check func() bool) error {
	for {
		r.mu.Lock()
		done, err, changed := check(), r.err, r.changed
		r.mu.Unlock()
		if done || err != nil {
			if done {
				return nil
			}
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// described waits until the columns are known. It returns them where only a
// description has them yet, and nil where the query has answered.
func (r *sharedResult) described(ctx context.Context) (early *arrow.Schema, err error) {
	err = r.wait(ctx, func() bool {
		if r.result == nil && !r.ended {
			early = r.early
		}
		return r.result != nil || early != nil
	})
	return early, err
}

// answered waits until the query has answered. Only then a sharedResult is a
// warehouse.Result.
func (r *sharedResult) answered(ctx context.Context) error {
	return r.wait(ctx, func() bool { return r.result != nil })
}

func (r *sharedResult) QueryID() string             { return r.result.QueryID() }
func (r *sharedResult) Schema() *arrow.Schema       { return r.result.Schema() }
func (r *sharedResult) DeclaredRows() (int64, bool) { return r.result.DeclaredRows() }

// Next implements warehouse.Result.
func (r *sharedResult) Next(ctx context.Context) (batch arrow.RecordBatch, err error) {
	err = r.wait(ctx, func() bool {
		if at := r.next - r.first; at < len(r.batches) {
			batch = r.batches[at]
			batch.Retain()
			return true
		}
		return r.ended && r.err == nil
	})
	if err != nil {
		return nil, err
	}
	if batch == nil {
		return nil, io.EOF
	}
	r.change(func() { r.next++; r.drop() })
	return batch, nil
}

// Close implements warehouse.Result. The last reader to leave cancels the query.
func (r *sharedResult) Close() error {
	r.change(func() {
		if r.closed {
			return
		}
		r.closed = true
		delete(r.readers, r)
		r.drop()
		if len(r.readers) == 0 {
			r.cancel()
		}
	})
	return nil
}
