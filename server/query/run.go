package query

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/warehouse"
)

const (
	// partSize is about how many bytes of rows make a part of the spool. The first
	// parts are smaller, so that other replicas see rows early.
	partSize      int64 = 8 << 20
	firstPartSize int64 = 256 << 10
	// partsWaiting is how many parts that are made may wait until they are written,
	// as far as the budget of the process's memory goes.
	partsWaiting = 2

	// leaseTime is for how long the replica that runs a session's query vouches for
	// it; it says so again every leaseInterval.
	leaseTime     = 30 * time.Second
	leaseInterval = 5 * time.Second
	// noteInterval is how often other replicas are told of new parts, at the most.
	noteInterval = 250 * time.Millisecond
)

// run takes a query's rows to the spool. Readers of this process see each block as
// soon as it is made, those of others each part once it is written. How far the
// readers are does not matter to it: a slow one reads from the spool, and the
// warehouse is done with early. The spool's disk, and the budget of the process's
// memory, hold it back.
type run struct {
	service  *Service
	session  *pb.ReadSession // as last stored
	id       string
	key      []byte
	link     *connections.Link
	result   warehouse.Result
	ctx      context.Context
	cancel   context.CancelCauseFunc
	end      context.CancelFunc // of the deadline, which is the session's expiry
	declared *int64
	expected *rowExpectation
	findings *model.Findings // the session's

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	parts   []*runPart
	ended   bool
	err     error           // why it ended early
	done    *pb.ReadSession // the session as complete, once it is
}

// runPart is a part that is made, or has been.
type runPart struct {
	rows, bytes int64
	blocks      []block // nil once they are only in the spool
	closed      bool    // no block will follow
	written     bool    // to the spool
	evicted     bool
}

// change applies f under the lock and wakes those who wait.
func (r *run) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// do runs until all rows are in the spool, or something fails. It owns the result
// and the link.
func (r *run) do() {
	err := errors.Join(r.spool(), r.result.Close())
	if cause := context.Cause(r.ctx); err != nil && cause != nil {
		err = cause
	}
	r.end()
	r.cancel(nil)
	r.link.Release()
	// The end is stored even if the server is shutting down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), endTime)
	defer cancel()
	if err == nil {
		err = r.complete(ctx)
	}
	r.change(func() { r.ended, r.err = true, err })
	if err != nil {
		r.fail(ctx, err)
	}
	for _, part := range r.parts {
		r.evict(part)
	}
}

// endTime bounds how long the end of a run may take.
const endTime = 10 * time.Second

func (r *run) complete(ctx context.Context) error {
	var rows, bytes int64
	for _, part := range r.parts {
		rows, bytes = rows+part.rows, bytes+part.bytes
	}
	if r.declared != nil && *r.declared != rows {
		return incomplete(r.session.GetQueryId(), *r.declared, rows)
	}
	if err := r.expected.judge(rows, r.findings); err != nil {
		return err
	}
	done := proto.CloneOf(r.session)
	done.Findings = r.findings.All()
	done.State = pb.ReadSessionState_READ_SESSION_STATE_COMPLETE
	done.RowCount = &rows
	done.EstimatedRowCount, done.EstimatedByteCount = rows, bytes
	for i, stream := range done.GetStreams() {
		stream.EstimatedRowCount, stream.EstimatedByteCount = 0, 0
		for p := i; p < len(r.parts); p += len(done.GetStreams()) {
			stream.EstimatedRowCount += r.parts[p].rows
			stream.EstimatedByteCount += r.parts[p].bytes
		}
	}
	if err := r.service.store.UpdateSession(ctx, done); err != nil {
		return err
	}
	r.service.recordRead(ctx, r.expected, rows, bytes)
	r.change(func() { r.done = done })
	return nil
}

// fail takes back what was written, and says why.
func (r *run) fail(ctx context.Context, err error) {
	failed := proto.CloneOf(r.session)
	failed.State = pb.ReadSessionState_READ_SESSION_STATE_FAILED
	if r.service.lifetime.Err() != nil { // nobody goes on with it
		err = lost(failed.GetName(), stoppedHalfWay)
	}
	failed.Problem = errmap.ProblemWithFacts(explainSpool(err), failed.GetModel())
	updateErr := r.service.store.UpdateSession(ctx, failed)
	if errors.Is(updateErr, store.ErrNotFound) {
		updateErr = nil // deleted, and perhaps that is why it failed
	}
	if err := errors.Join(updateErr, r.service.spool.Remove(ctx, r.id)); err != nil {
		r.service.logger.Warn("a read session did not end cleanly", "session", failed.GetName(), "error", err.Error())
	}
}

// spool reads, encodes and writes at the same time.
func (r *run) spool() error {
	group, ctx := errgroup.WithContext(r.ctx)
	full := make(chan int, partsWaiting) // numbers of the parts to write, in order
	group.Go(func() error {
		defer close(full)
		return r.read(ctx, full)
	})
	written := make(chan struct{})
	group.Go(func() error {
		defer close(written)
		return r.write(ctx, full)
	})
	group.Go(func() error { return r.keepLease(ctx, written) })
	return group.Wait()
}

// keepLease vouches for the session until all is written, also while a part takes long.
func (r *run) keepLease(ctx context.Context, written <-chan struct{}) error {
	tick := time.NewTicker(leaseInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.service.store.ExtendSession(ctx, r.session.GetName(), 0, nil, leaseTime); err != nil {
				return err
			}
		case <-written:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) read(ctx context.Context, full chan<- int) error {
	hand := func() error {
		n := len(r.parts) - 1
		if n < 0 || r.parts[n].closed {
			return nil
		}
		r.change(func() { r.parts[n].closed = true })
		select {
		case full <- n:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	builder := newBlockBuilder(r.result.Schema(), r.session.GetArrowCompression(), func(b block) error {
		bytes := int64(b.ipc.Len())
		if !r.service.budget.TryAcquire(bytes) {
			// Whoever waits for memory holds none, or all could wait for ever.
			if err := hand(); err != nil {
				return err
			}
			r.evictWritten(0)
			if err := r.service.budget.Acquire(ctx, bytes); err != nil {
				return err
			}
		}
		last := len(r.parts) - 1
		r.change(func() {
			if last < 0 || r.parts[last].closed {
				r.parts = append(r.parts, &runPart{})
				last++
			}
			part := r.parts[last]
			part.blocks = append(part.blocks, b)
			part.rows, part.bytes = part.rows+b.rows, part.bytes+bytes
		})
		if r.parts[last].bytes >= min(partSize, firstPartSize<<min(last, 10)) {
			return hand()
		}
		return nil
	})
	select {
	case r.service.turns <- struct{}{}:
		defer func() { <-r.service.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	first := true
	for {
		batch, err := r.result.Next(ctx)
		if err == io.EOF {
			if err := builder.flush(); err != nil {
				return err
			}
			return hand()
		}
		if err != nil {
			return err
		}
		err = builder.add(batch)
		batch.Release()
		if err == nil && first { // somebody waits for the first rows
			err, first = builder.flush(), false
		}
		if err != nil {
			return err
		}
	}
}

// write writes parts, and tells other replicas of them.
func (r *run) write(ctx context.Context, full <-chan int) error {
	late := time.NewTicker(noteInterval)
	defer late.Stop()
	noted, told := 0, time.Now()
	note := func(upTo int) error {
		var parts []store.SessionPart
		for _, part := range r.made()[noted:upTo] {
			parts = append(parts, store.SessionPart{Rows: part.rows, Bytes: part.bytes})
		}
		err := r.service.store.ExtendSession(ctx, r.session.GetName(), noted, parts, leaseTime)
		noted, told = upTo, time.Now()
		return err
	}
	written := 0
	for {
		select {
		case n, more := <-full:
			if !more {
				return note(written)
			}
			if err := r.writePart(ctx, n); err != nil {
				return err
			}
			written = n + 1
			if n == 0 || time.Since(told) >= noteInterval {
				if err := note(written); err != nil {
					return err
				}
			}
		case <-late.C:
			if noted == written {
				continue
			}
			if err := note(written); err != nil {
				return err
			}
		}
	}
}

func (r *run) made() []*runPart {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts
}

func (r *run) writePart(ctx context.Context, n int) error {
	part := r.made()[n]
	blocks := make([]spool.Block, len(part.blocks))
	for i, b := range part.blocks {
		blocks[i] = spool.Block{Rows: b.rows, Data: b.ipc.ReadOnlyData()}
	}
	if err := r.service.spool.Write(ctx, r.id, r.key, n, blocks); err != nil {
		return err
	}
	r.change(func() { part.written = true })
	r.evictWritten(1)
	return nil
}

// evictWritten drops the written parts but the last few, which readers that keep
// up are reading.
func (r *run) evictWritten(keep int) {
	r.mu.Lock()
	var old []*runPart
	for n := len(r.parts) - 1; n >= 0 && !r.parts[n].evicted; n-- {
		switch {
		case !r.parts[n].written:
		case keep > 0:
			keep--
		default:
			old = append(old, r.parts[n])
		}
	}
	r.mu.Unlock()
	for _, part := range old {
		r.evict(part)
	}
}

// evict drops a part's blocks from memory. Readers that hold one keep it.
func (r *run) evict(part *runPart) {
	r.change(func() {
		if part.evicted {
			return
		}
		for _, b := range part.blocks {
			r.service.budget.Release(int64(b.ipc.Len()))
			b.release()
		}
		part.blocks, part.evicted = nil, true
	})
}
