package query

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/mem"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/pool"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
)

// source is a session's result: parts, in order. Of n streams, each reads every
// nth part.
type source interface {
	// part returns the rows of a part, and waits until they are known. Where there
	// is no such part ok is false.
	part(ctx context.Context, n int) (rows int64, ok bool, err error)
	// open opens a part that is there.
	open(ctx context.Context, n int) (blocks, error)
	// total is the number of all rows. It is known once there are no further parts.
	total() int64
	close() error
}

// eager is a source whose parts can be read before all their rows are known.
type eager interface {
	// began waits until a part has a row to read. Where there is no such part ok is
	// false.
	began(ctx context.Context, n int) (ok bool, err error)
}

// blocks are the rows of a part.
type blocks interface {
	// next returns the next block, or io.EOF after the last. Blocks whose rows skip
	// counts off are passed over, and have neither messages nor a batch.
	next(ctx context.Context, skip func(rows int64) bool) (block, error)
	close() error
}

// runSource reads what a run of this process makes: from memory as far as it is
// there, otherwise from the spool.
type runSource struct{ *run }

// wait waits until check says so, or the run ends early.
func (s runSource) wait(ctx context.Context, check func() bool) error {
	for {
		s.mu.Lock()
		done, err, changed := check(), s.err, s.changed
		s.mu.Unlock()
		if err != nil {
			return explainSpool(err)
		}
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s runSource) part(ctx context.Context, n int) (rows int64, ok bool, err error) {
	err = s.wait(ctx, func() bool {
		if n < len(s.parts) && s.parts[n].closed {
			rows, ok = s.parts[n].rows, true
		}
		return ok || s.ended
	})
	return rows, ok, err
}

func (s runSource) began(ctx context.Context, n int) (ok bool, err error) {
	err = s.wait(ctx, func() bool { ok = n < len(s.parts); return ok || s.ended })
	return ok, err
}

func (s runSource) total() int64 {
	var n int64
	for _, part := range s.made() {
		n += part.rows
	}
	return n
}

func (s runSource) open(_ context.Context, n int) (blocks, error) {
	return &runBlocks{runSource: s, number: n, part: s.made()[n]}, nil
}

func (s runSource) close() error { return nil }

type runBlocks struct {
	runSource
	number int
	part   *runPart
	read   int          // blocks
	spool  *blockReader // once the blocks are not in memory any more
}

func (b *runBlocks) next(ctx context.Context, skip func(rows int64) bool) (next block, err error) {
	if b.spool != nil {
		return b.spool.next(ctx, skip)
	}
	found, evicted := false, false
	err = b.wait(ctx, func() bool {
		evicted = b.part.evicted
		if found = b.read < len(b.part.blocks); found {
			next = b.part.blocks[b.read]
			next.ipc.Ref()
		}
		return found || evicted || b.part.closed
	})
	switch {
	case err != nil:
		if found {
			next.release()
		}
		return block{}, err
	case evicted:
		if b.spool, err = openBlocks(ctx, b.service.spool, b.id, b.key, b.number); err != nil {
			return block{}, err
		}
		for range b.read {
			if _, err := b.spool.next(ctx, func(int64) bool { return true }); err != nil {
				return block{}, err
			}
		}
		return b.spool.next(ctx, skip)
	case !found:
		return block{}, io.EOF
	}
	b.read++
	if skip(next.rows) {
		next.release()
		next.ipc = nil
	}
	return next, nil
}

func (b *runBlocks) close() error {
	if b.spool != nil {
		return b.spool.close()
	}
	return nil
}

// blockReader reads a part from the spool.
type blockReader struct{ reader *spool.Reader }

func openBlocks(ctx context.Context, from *spool.Spool, session string, key []byte, part int) (*blockReader, error) {
	reader, err := from.Read(ctx, session, key, part)
	if err != nil {
		return nil, explainSpool(err)
	}
	return &blockReader{reader}, nil
}

func (b *blockReader) next(ctx context.Context, skip func(rows int64) bool) (block, error) {
	if err := ctx.Err(); err != nil {
		return block{}, context.Cause(ctx)
	}
	rows, data, err := b.reader.Next(skip)
	if err != nil {
		return block{}, explainSpool(err)
	}
	if data == nil {
		return block{rows: rows}, nil
	}
	return block{rows: rows, ipc: mem.NewBuffer(data, pool.Buffers)}, nil
}

func (b *blockReader) close() error { return b.reader.Close() }

// spoolSource reads a session that another process has run, or this one has run to
// its end.
type spoolSource struct {
	service *Service
	id      string
	session *store.Session
	parts   []store.SessionPart
}

// pollInterval is how often a session that another replica runs is looked at.
const pollInterval = 100 * time.Millisecond

func (s *spoolSource) part(ctx context.Context, n int) (rows int64, ok bool, err error) {
	for {
		if n < len(s.parts) {
			return s.parts[n].Rows, true, nil
		}
		// The state is read before the parts: all parts of a complete session are there.
		state := s.session.Resource.GetState()
		more, err := s.service.store.SessionParts(ctx, s.session.Resource.GetName(), len(s.parts))
		if err != nil {
			return 0, false, err
		}
		if s.parts = append(s.parts, more...); n < len(s.parts) {
			continue
		}
		switch {
		case state == pb.ReadSessionState_READ_SESSION_STATE_COMPLETE:
			return 0, false, nil
		case state == pb.ReadSessionState_READ_SESSION_STATE_FAILED:
			return 0, false, problemError(s.session.Resource)
		case s.session.Lapsed:
			return 0, false, lost(s.session.Resource.GetName(), stoppedHalfWay)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
		again, err := s.service.session(ctx, s.session.Resource.GetName())
		if err != nil {
			return 0, false, err
		}
		s.session = again
	}
}

func (s *spoolSource) open(ctx context.Context, n int) (blocks, error) {
	return openBlocks(ctx, s.service.spool, s.id, s.session.Key, n)
}

func (s *spoolSource) total() int64 { return s.session.Resource.GetRowCount() }

func (s *spoolSource) close() error { return nil }

// problemError is why a session failed, for who comes later or from elsewhere.
func problemError(session *pb.ReadSession) error {
	return &errmap.Error{
		Reason:   session.GetProblem().GetReason(),
		Resource: session.GetModel(),
		Message:  session.GetProblem().GetMessage(),
		Metadata: map[string]string{"query_id": session.GetQueryId()},
	}
}

const stoppedHalfWay = "the server that read the result from the warehouse stopped half way"

func lost(session, why string) error {
	return errmap.New(pb.ErrorReason_ERROR_REASON_SESSION_LOST, session, "the session's result is lost: "+why+"; create another session")
}

// explainSpool tells what a failure of the spool means to a caller. Other errors
// stay as they are.
func explainSpool(err error) error {
	var failure *spool.Error
	var told *errmap.Error
	if !errors.As(err, &failure) || errors.As(err, &told) {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, spool.ErrFull):
		return &errmap.Error{
			Reason:  pb.ErrorReason_ERROR_REASON_SPOOL_FULL,
			Message: "there is no room for the result where results are kept; delete read sessions, wait until some expire, or ask the operator for more room",
			Err:     err,
		}
	case errors.Is(err, spool.ErrDamaged):
		return &errmap.Error{
			Reason:  pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE,
			Message: "a part of the kept result is damaged: what was received is not the result; create another session",
			Err:     err,
		}
	case errors.Is(err, spool.ErrNotFound):
		return &errmap.Error{
			Reason:  pb.ErrorReason_ERROR_REASON_SESSION_LOST,
			Message: "a part of the kept result is gone; create another session",
			Err:     err,
		}
	}
	return &errmap.Error{
		Reason:     pb.ErrorReason_ERROR_REASON_SPOOL_UNAVAILABLE,
		Message:    "the place where results are kept cannot be reached, or failed; try again",
		RetryAfter: spoolRetry,
		Err:        err,
	}
}

const spoolRetry = 5 * time.Second
