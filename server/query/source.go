package query

import (
	"context"
	"errors"
	"io"
	"maps"
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
	// open opens a part that is there, for reading from one of its rows on. Parts
	// are opened in order, and only the first of them in its midst.
	open(n int, from int64) blocks
	// total is the number of all rows. It is known once there are no further parts.
	total() int64
	// findings are those of the session. They are complete once there are no further parts.
	findings() []*pb.Finding
	close()
}

// eager is a source whose parts can be read before all their rows are known.
type eager interface {
	// began waits until a part has a row to read. Where there is no such part ok is
	// false.
	began(ctx context.Context, n int) (ok bool, err error)
}

// blocks are the rows of a part.
type blocks interface {
	// next returns the next block, or io.EOF after the last. Blocks that end before
	// the row that the part was opened at may have neither messages nor a batch.
	next(ctx context.Context) (block, error)
	close()
}

// runSource reads what a run of this process makes: from memory as far as it is
// there, otherwise from the spool.
type runSource struct {
	*run
	ahead *readAhead // of the spool
}

// wait waits until check says so, or the run ends early.
func (s *runSource) wait(ctx context.Context, check func() bool) error {
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

func (s *runSource) part(ctx context.Context, n int) (rows int64, ok bool, err error) {
	err = s.wait(ctx, func() bool {
		if n < len(s.parts) && s.parts[n].closed {
			rows, ok = s.parts[n].rows, true
		}
		return ok || s.ended
	})
	return rows, ok, err
}

func (s *runSource) began(ctx context.Context, n int) (ok bool, err error) {
	err = s.wait(ctx, func() bool { ok = n < len(s.parts); return ok || s.ended })
	return ok, err
}

func (s *runSource) total() int64 {
	var n int64
	for _, part := range s.made() {
		n += part.rows
	}
	return n
}

func (s *runSource) findings() []*pb.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done.GetFindings()
}

func (s *runSource) open(n int, from int64) blocks {
	return &runBlocks{runSource: s, number: n, part: s.made()[n], from: from}
}

func (s *runSource) close() { s.ahead.close() }

// inMemory is the number of the first part from one on that is not only in the spool.
func (s *runSource) inMemory(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n < len(s.parts) && s.parts[n].evicted {
		n++
	}
	return n
}

type runBlocks struct {
	*runSource
	number  int
	part    *runPart
	from    int64
	read    int    // blocks
	rows    int64  // in them
	spooled blocks // once the blocks are not in memory any more
}

func (b *runBlocks) next(ctx context.Context) (next block, err error) {
	if b.spooled != nil {
		return b.spooled.next(ctx)
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
		b.spooled = b.ahead.open(b.number, max(b.from, b.rows), b.inMemory(b.number))
		for range b.read {
			passed, err := b.spooled.next(ctx)
			if err != nil {
				return block{}, err
			}
			passed.release()
		}
		return b.spooled.next(ctx)
	case !found:
		return block{}, io.EOF
	}
	b.read, b.rows = b.read+1, b.rows+next.rows
	return next, nil
}

func (b *runBlocks) close() {
	if b.spooled != nil {
		b.spooled.close()
	}
}

// rereadings is how often a part is opened again where the reading of it broke off: a
// connection to a bucket may be cut at any time.
const rereadings = 2

// spooled reads a session's parts from the spool. Blocks that end before the row from
// are passed over.
func (s *Service) spooled(session string, key []byte) readPart {
	return func(ctx context.Context, n int, from int64, give func(block) error) error {
		var given int64 // rows of the part
		for attempt := 1; ; attempt++ {
			reader, err := s.spool.Read(ctx, session, key, n)
			if err != nil {
				return explainSpool(err)
			}
			err = errors.Join(readSpooled(ctx, reader, from, &given, give), reader.Close())
			var failure *spool.Error
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case !errors.As(err, &failure) || attempt > rereadings:
				return explainSpool(err)
			}
		}
	}
}

// readSpooled gives a part's blocks away, but for those that were given before.
func readSpooled(ctx context.Context, reader *spool.Reader, from int64, given *int64, give func(block) error) error {
	var position int64
	for ctx.Err() == nil {
		rows, data, err := reader.Next(func(rows int64) bool { return position+rows <= max(from, *given) })
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if position += rows; position <= *given {
			continue
		}
		next := block{rows: rows}
		if data != nil {
			next.ipc = mem.NewBuffer(data, pool.Buffers)
		}
		if err := give(next); err != nil {
			return err
		}
		*given = position
	}
	return ctx.Err()
}

// spoolSource reads a session that another process has run, or this one has run to
// its end.
type spoolSource struct {
	service *Service
	session *store.Session
	parts   []store.SessionPart // that are known to be there
	ahead   *readAhead
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

func (s *spoolSource) open(n int, from int64) blocks { return s.ahead.open(n, from, len(s.parts)) }

func (s *spoolSource) total() int64 { return s.session.Resource.GetRowCount() }

func (s *spoolSource) findings() []*pb.Finding { return s.session.Resource.GetFindings() }

func (s *spoolSource) close() { s.ahead.close() }

// problemError is why a session failed, for who comes later or from elsewhere.
func problemError(session *pb.ReadSession) error {
	metadata := map[string]string{"query_id": session.GetQueryId()}
	maps.Copy(metadata, session.GetProblem().GetMetadata())
	return &errmap.Error{
		Reason:   session.GetProblem().GetReason(),
		Resource: session.GetModel(),
		Message:  session.GetProblem().GetMessage(),
		Metadata: metadata,
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
