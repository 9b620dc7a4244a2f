package query

import (
	"context"
	"io"
	"sync"
)

// How far a stream reads ahead of its caller.
const (
	partsAhead   = 3        // parts that are fetched at once, with the one that is sent
	streamMemory = 16 << 20 // bytes of rows, within the budget of the process
	blocksAhead  = 256
	// spareBlocks is how many blocks of the part that is being sent are held without
	// asking whether there is memory for them: a stream goes on, however little there
	// is.
	spareBlocks = 2
)

// readPart reads a part to its end, and gives its blocks away. Those that end before
// the row from need not have contents.
type readPart func(ctx context.Context, part int, from int64, give func(block) error) error

// readAhead fetches a stream's next parts while one is being sent.
type readAhead struct {
	read    readPart
	step    int     // from one part of the stream to the next
	budgets budgets // of this stream, of all streams, of the process

	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	fetched map[int]*partAhead

	mu    sync.Mutex
	freed chan struct{} // closed and replaced whenever the stream gives memory back
}

// newReadAhead returns one that fetches nothing yet. It has to be closed.
func newReadAhead(ctx context.Context, read readPart, step int, shared ...budget) *readAhead {
	a := &readAhead{read: read, step: step, budgets: append(budgets{newBudget(streamMemory)}, shared...), fetched: map[int]*partAhead{}, freed: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// open returns a part's blocks, and lets the parts after it be fetched as far as there
// are any: end is the number of the first that is not there, or not yet. Parts are
// opened in order; from is the first row that is wanted of one that is not fetched yet.
func (a *readAhead) open(n int, from int64, end int) blocks {
	if a.fetched[n] == nil {
		a.fetch(n, from)
	}
	for i := 1; i < partsAhead; i++ {
		if next := n + i*a.step; next < end && a.fetched[next] == nil {
			a.fetch(next, 0)
		}
	}
	part := a.fetched[n]
	delete(a.fetched, n)
	part.hurry()
	return part
}

// close ends what is being fetched, and drops it.
func (a *readAhead) close() {
	a.cancel()
	for _, part := range a.fetched {
		part.close()
	}
	a.work.Wait()
}

// nextFreed is closed when memory is given back from now on.
func (a *readAhead) nextFreed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.freed
}

func (a *readAhead) release(bytes int64) {
	a.budgets.release(bytes)
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.freed)
	a.freed = make(chan struct{})
}

// partAhead is a part that is being fetched. It stops where there is no memory for
// more, until somebody reads it or the stream gives memory back.
type partAhead struct {
	of     *readAhead
	blocks chan fetchedBlock
	spare  chan struct{}
	wanted chan struct{} // closed when somebody reads the part
	hurry  func()
	stop   context.CancelFunc
	err    error // once blocks is closed
}

type fetchedBlock struct {
	block
	held  int64 // of the budgets
	spare bool  // held without asking them
}

func (a *readAhead) fetch(n int, from int64) {
	part := &partAhead{of: a, blocks: make(chan fetchedBlock, blocksAhead), spare: make(chan struct{}, spareBlocks), wanted: make(chan struct{})}
	part.hurry = sync.OnceFunc(func() { close(part.wanted) })
	var ctx context.Context
	ctx, part.stop = context.WithCancel(a.ctx)
	a.fetched[n] = part
	a.work.Go(func() {
		defer close(part.blocks)
		part.err = a.read(ctx, n, from, func(b block) error { return part.give(ctx, b) })
	})
}

// give passes a block on, or drops it where nobody wants it any more.
func (p *partAhead) give(ctx context.Context, b block) error {
	f, err := p.hold(ctx, b)
	if err != nil {
		b.release()
		return err
	}
	select {
	case p.blocks <- f:
		return nil
	case <-ctx.Done():
		p.settle(f)
		b.release()
		return context.Cause(ctx)
	}
}

// hold waits until a block may be held.
func (p *partAhead) hold(ctx context.Context, b block) (fetchedBlock, error) {
	bytes := b.size()
	wanted := p.wanted
	var spare chan<- struct{} // nil while nobody reads the part
	for bytes > 0 {
		freed := p.of.nextFreed()
		if p.of.budgets.tryAcquire(bytes) {
			break
		}
		select {
		case <-wanted:
			wanted, spare = nil, p.spare
		case spare <- struct{}{}:
			return fetchedBlock{block: b, spare: true}, nil
		case <-freed:
		case <-ctx.Done():
			return fetchedBlock{}, context.Cause(ctx)
		}
	}
	return fetchedBlock{block: b, held: bytes}, nil
}

// settle gives back what a block was held by.
func (p *partAhead) settle(f fetchedBlock) {
	if f.spare {
		<-p.spare
	}
	if f.held > 0 {
		p.of.release(f.held)
	}
}

func (p *partAhead) next(ctx context.Context) (block, error) {
	select {
	case f, more := <-p.blocks:
		if !more {
			if p.err != nil {
				return block{}, p.err
			}
			return block{}, io.EOF
		}
		p.settle(f)
		return f.block, nil
	case <-ctx.Done():
		return block{}, context.Cause(ctx)
	}
}

// close ends the fetching and frees what was fetched and not read.
func (p *partAhead) close() {
	p.stop()
	p.hurry()
	for f := range p.blocks {
		p.settle(f)
		f.release()
	}
}
