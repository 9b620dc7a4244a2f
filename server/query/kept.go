package query

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/warehouse"
)

// keptIdle is how long a result that the warehouse keeps stays open when nobody
// reads it. Opening it again takes a call.
const keptIdle = time.Minute

// keptResults are the results that warehouses keep and that are open here, by the
// session's name.
type keptResults struct {
	mu   sync.Mutex
	open map[string]*keptResult
}

// keptResult is one of them. It holds the link that it is read through.
type keptResult struct {
	link  *connections.Link
	parts warehouse.Parts
	users int
	idle  *time.Timer // runs while there are no users
	stale bool        // no longer to be found; the last user closes it
}

func (k *keptResult) close() error {
	err := k.parts.Close()
	k.link.Release()
	return err
}

// put makes a result that was just opened known, with one user.
func (s *Service) put(session string, link *connections.Link, parts warehouse.Parts) *keptResult {
	k := &keptResult{link: link, parts: parts, users: 1}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	if before := s.kept.open[session]; before != nil { // two came at once
		s.forget(session, before)
	}
	s.kept.open[session] = k
	return k
}

// take returns an open result, or nil.
func (s *Service) take(session string) *keptResult {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	k := s.kept.open[session]
	if k != nil {
		k.users++
		if k.idle != nil {
			k.idle.Stop()
		}
	}
	return k
}

// giveBack takes a user away. A result that nobody uses is closed after a while.
func (s *Service) giveBack(session string, k *keptResult) {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	k.users--
	switch {
	case k.users > 0:
	case k.stale:
		s.closeKept(session, k)
	default:
		k.idle = time.AfterFunc(keptIdle, func() {
			s.kept.mu.Lock()
			defer s.kept.mu.Unlock()
			if k.users == 0 && !k.stale {
				s.forget(session, k)
			}
		})
	}
}

// forget lets nobody find a result any more. The caller holds the lock.
func (s *Service) forget(session string, k *keptResult) {
	if s.kept.open[session] == k {
		delete(s.kept.open, session)
	}
	if k.idle != nil {
		k.idle.Stop()
	}
	if k.stale = true; k.users == 0 {
		s.closeKept(session, k)
	}
}

func (s *Service) closeKept(session string, k *keptResult) {
	if err := k.close(); err != nil {
		s.logger.Warn("a kept result did not close cleanly", "session", session, "error", err.Error())
	}
}

// forgetKept drops what is open of a session, or of all.
func (s *Service) forgetKept(session string) {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	for name, k := range s.kept.open {
		if session == "" || session == name {
			s.forget(name, k)
		}
	}
}

// keptSource reads a session whose rows the warehouse keeps.
type keptSource struct {
	service *Service
	name    resource.Session
	session *pb.ReadSession
	found   *manifest
	schema  *arrow.Schema
	ahead   *readAhead

	mu     sync.Mutex
	result *keptResult // nil until a part is opened
	former []*keptResult
}

func (s *keptSource) part(_ context.Context, n int) (rows int64, ok bool, err error) {
	if n >= len(s.found.Kept.Parts) {
		return 0, false, nil
	}
	return s.found.Kept.Parts[n], true, nil
}

func (s *keptSource) total() int64 { return s.found.Kept.Rows() }

func (s *keptSource) findings() []*pb.Finding { return s.session.GetFindings() }

func (s *keptSource) close() {
	s.ahead.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result != nil {
		s.former = append(s.former, s.result)
	}
	for _, k := range s.former {
		s.service.giveBack(s.name.String(), k)
	}
}

func (s *keptSource) open(n int, from int64) blocks {
	return s.ahead.open(n, from, len(s.found.Kept.Parts))
}

// parts returns the open result. failed is one that must not be used any more.
func (s *keptSource) parts(ctx context.Context, failed *keptResult) (*keptResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.result != nil && s.result != failed {
		return s.result, nil
	}
	name := s.name.String()
	if s.result != nil {
		s.service.kept.mu.Lock()
		s.service.forget(name, s.result)
		s.service.kept.mu.Unlock()
		s.former = append(s.former, s.result) // other parts may still be read through it
		s.result = nil
	}
	if k := s.service.take(name); k != nil {
		s.result = k
		return k, nil
	}
	link, err := s.service.links.Acquire(ctx, s.name.Connection.String())
	if err != nil {
		return nil, err
	}
	keeper, ok := link.Warehouse.(warehouse.Keeper)
	if !ok {
		link.Release()
		return nil, lost(name, "the connection leads to another warehouse now")
	}
	opened, err := keeper.Reopen(ctx, s.found.Kept)
	if err != nil {
		link.Release()
		var failure *warehouse.Error
		if errors.As(err, &failure) && failure.Kind == warehouse.KindGone {
			told := errmap.Explained(err)
			told.Resource = name
			return nil, told
		}
		return nil, err
	}
	s.result = s.service.put(name, link, opened)
	return s.result, nil
}

// reopenings is how often a part is tried with a result that was fetched anew by its
// query's id: the addresses of parts expire.
const reopenings = 3

// read reads a part to its end, and gives its batches away, all of them: a part comes
// as a whole. After a failure it goes on where it was with a result that is fetched
// anew.
func (s *keptSource) read(ctx context.Context, n int, _ int64, give func(block) error) error {
	var given int64
	var failed *keptResult
	for attempt := 1; ; attempt++ {
		result, err := s.parts(ctx, failed)
		if err != nil {
			return err
		}
		err = s.readFrom(ctx, result, n, &given, give)
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindUnavailable || ctx.Err() != nil || attempt > reopenings {
			return err
		}
		failed = result
	}
}

func (s *keptSource) readFrom(ctx context.Context, result *keptResult, n int, given *int64, give func(block) error) (err error) {
	part, err := result.parts.Open(n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	var position int64
	for {
		batch, err := part.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		from := *given - position
		position += batch.NumRows()
		if from < batch.NumRows() {
			chosen := s.choose(batch, max(0, from))
			*given = position
			if err := give(block{rows: chosen.NumRows(), batch: chosen}); err != nil {
				batch.Release()
				return err
			}
		}
		batch.Release()
	}
}

// choose takes the session's columns of a batch, from a row on.
func (s *keptSource) choose(batch arrow.RecordBatch, from int64) arrow.RecordBatch {
	if s.found.Columns == nil {
		return batch.NewSlice(from, batch.NumRows())
	}
	columns := make([]arrow.Array, len(s.found.Columns))
	for i, index := range s.found.Columns {
		columns[i] = batch.Column(index)
	}
	chosen := array.NewRecordBatch(s.schema, columns, batch.NumRows())
	defer chosen.Release()
	return chosen.NewSlice(from, batch.NumRows())
}
