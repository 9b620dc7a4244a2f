package query

import (
	"context"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/semaphore"
)

// How far a stream reads ahead of its caller.
const (
	partsAhead   = 3        // parts that are fetched at once, with the one that is sent
	streamMemory = 16 << 20 // bytes of rows, within the budget of the process
	batchesAhead = 256
	// spareBatches is how many batches of the part that is being sent are held
	// without asking whether there is memory for them: a stream goes on, however
	// little there is.
	spareBatches = 2
)

// readAhead fetches a stream's next parts while one is being sent.
type readAhead struct {
	read   func(ctx context.Context, part int, give func(arrow.RecordBatch) error) error
	parts  int    // in all
	step   int    // from one part of the stream to the next
	budget budget // of the process
	stream budget // of this stream

	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	fetched map[int]*partAhead
}

func newReadAhead(ctx context.Context, parts, step int, processWide budget) *readAhead {
	a := &readAhead{parts: parts, step: step, budget: processWide, stream: budget{semaphore.NewWeighted(streamMemory)}, fetched: map[int]*partAhead{}}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// open returns a part's blocks. Parts are opened in order.
func (a *readAhead) open(_ context.Context, n int) (blocks, error) {
	for i := range partsAhead {
		if next := n + i*a.step; next < a.parts && a.fetched[next] == nil {
			a.fetch(next)
		}
	}
	part := a.fetched[n]
	delete(a.fetched, n)
	part.hurry()
	return part, nil
}

// close ends what is being fetched, and drops it.
func (a *readAhead) close() {
	a.cancel()
	for _, part := range a.fetched {
		part.drop()
	}
	a.work.Wait()
}

// partAhead is a part that is being fetched. It stops where there is no memory for
// more, until somebody reads it.
type partAhead struct {
	of      *readAhead
	batches chan fetchedBatch
	spare   chan struct{}
	wanted  chan struct{} // closed when somebody reads the part
	hurry   func()
	stop    context.CancelFunc
	err     error // once batches is closed
}

type fetchedBatch struct {
	batch arrow.RecordBatch
	held  int64 // of both budgets; 0: it is a spare one
}

func (a *readAhead) fetch(n int) {
	part := &partAhead{of: a, batches: make(chan fetchedBatch, batchesAhead), spare: make(chan struct{}, spareBatches), wanted: make(chan struct{})}
	part.hurry = sync.OnceFunc(func() { close(part.wanted) })
	var ctx context.Context
	ctx, part.stop = context.WithCancel(a.ctx)
	a.fetched[n] = part
	a.work.Go(func() {
		defer close(part.batches)
		part.err = a.read(ctx, n, func(batch arrow.RecordBatch) error { return part.give(ctx, batch) })
	})
}

// give passes a batch on, or drops it where nobody wants it any more.
func (p *partAhead) give(ctx context.Context, batch arrow.RecordBatch) error {
	f := fetchedBatch{batch: batch}
	if n := size(batch); p.of.stream.TryAcquire(n) {
		if p.of.budget.TryAcquire(n) {
			f.held = n
		} else {
			p.of.stream.Release(n)
		}
	}
	if f.held == 0 {
		select {
		case <-p.wanted:
		case <-ctx.Done():
			batch.Release()
			return context.Cause(ctx)
		}
		select {
		case p.spare <- struct{}{}:
		case <-ctx.Done():
			batch.Release()
			return context.Cause(ctx)
		}
	}
	select {
	case p.batches <- f:
		return nil
	case <-ctx.Done():
		p.settle(f)
		batch.Release()
		return context.Cause(ctx)
	}
}

// settle gives back what a batch was held by.
func (p *partAhead) settle(f fetchedBatch) {
	if f.held == 0 {
		<-p.spare
		return
	}
	p.of.stream.Release(f.held)
	p.of.budget.Release(f.held)
}

func (p *partAhead) next(ctx context.Context, skip func(rows int64) bool) (block, error) {
	select {
	case f, more := <-p.batches:
		if !more {
			if p.err != nil {
				return block{}, p.err
			}
			return block{}, io.EOF
		}
		p.settle(f)
		rows := f.batch.NumRows()
		if skip(rows) {
			f.batch.Release()
			return block{rows: rows}, nil
		}
		return block{rows: rows, batch: f.batch}, nil
	case <-ctx.Done():
		return block{}, context.Cause(ctx)
	}
}

func (p *partAhead) close() error {
	p.drop()
	return nil
}

// drop ends the fetching and frees what was fetched and not read.
func (p *partAhead) drop() {
	p.stop()
	p.hurry()
	for f := range p.batches {
		p.settle(f)
		f.batch.Release()
	}
}
