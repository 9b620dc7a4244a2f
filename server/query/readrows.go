package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/spool"
)

// ReadRows streams a part of a session's rows.
func (s *Service) ReadRows(request *pb.ReadRowsRequest, stream grpc.ServerStreamingServer[pb.ReadRowsResponse]) error {
	name, err := resource.ParseStream(request.GetName())
	if err != nil {
		return errmap.InvalidField("name", err.Error())
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	r := &rowReader{stream: newHeart(stream.SendMsg, s.heartbeat), name: name.Session.String(), end: cancel, offset: request.GetOffset(), begun: time.Now()}
	defer r.stream.Stop()
	// Before the session is looked up, so that its deletion is not missed.
	s.beginRead(r)
	defer s.endRead(r)
	if err := r.progress(pb.ReadState_READ_STATE_PREPARING, ""); err != nil {
		return err
	}
	session, err := s.session(ctx, name.Session.String())
	if err != nil {
		return err
	}
	if name.Number >= len(session.Resource.GetStreams()) {
		return errmap.New(pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, request.GetName(), "the session has no such stream")
	}
	r.session, r.number = session.Resource, name.Number
	ctx, end := context.WithDeadlineCause(ctx, session.Resource.GetExpireTime().AsTime(), expired(session.Resource))
	defer end()
	stop := context.AfterFunc(s.lifetime, func() { cancel(context.Cause(s.lifetime)) })
	defer stop()

	found, schema, err := decodeManifest(session.Manifest)
	if err != nil {
		return err
	}
	r.schema = schema
	source, err := s.open(ctx, name.Session, session, found, schema)
	if err != nil {
		return err
	}
	defer source.close()
	if err := r.read(ctx, source); err != nil {
		if cause := context.Cause(ctx); cause != nil && stream.Context().Err() == nil {
			return cause
		}
		if errors.Is(err, spool.ErrNotFound) {
			return s.whyGone(ctx, name.Session.String(), err)
		}
		return err
	}
	return nil
}

func (s *Service) beginRead(r *rowReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[r] = struct{}{}
}

func (s *Service) endRead(r *rowReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reads, r)
}

// whyGone tells why a part that was there is not there any more: sessions fail, expire
// and are deleted while they are read.
func (s *Service) whyGone(ctx context.Context, name string, err error) error {
	session, why := s.session(ctx, name)
	if why != nil {
		return why
	}
	if session.Resource.GetState() == pb.ReadSessionState_READ_SESSION_STATE_FAILED {
		return problemError(session.Resource)
	}
	return err
}

// rowReader is one call of ReadRows.
type rowReader struct {
	stream  *heart[any] // of *pb.ReadRowsResponse and *frame
	name    string      // of the session
	end     context.CancelCauseFunc
	session *pb.ReadSession
	number  int // of the stream
	schema  *arrow.Schema
	offset  int64
	begun   time.Time

	next  int64 // row of the stream, that is to be sent
	sent  int64
	bytes int64
}

func (r *rowReader) read(ctx context.Context, source source) error {
	if err := r.progress(pb.ReadState_READ_STATE_RUNNING, r.session.GetQueryId()); err != nil {
		return err
	}
	if err := r.stream.Send(&pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Schema{Schema: r.session.GetSchema()}, Offset: r.offset}); err != nil {
		return err
	}
	var position, declared int64 // rows of the stream: passed, and known
	early, _ := source.(eager)
	for n := r.number; ; n += len(r.session.GetStreams()) {
		var rows int64
		var ok bool
		var err error
		if early != nil && position >= r.offset {
			ok, err = early.began(ctx, n)
		} else {
			rows, ok, err = source.part(ctx, n)
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if position < r.offset && position+rows <= r.offset {
			position, declared = position+rows, declared+rows
			r.next = position
			continue
		}
		if err := r.part(ctx, source.open(n, max(0, r.offset-position)), &position); err != nil {
			return err
		}
		if rows, _, err = source.part(ctx, n); err != nil {
			return err
		}
		declared += rows
	}
	if r.offset > declared {
		return &errmap.Error{
			Reason:   pb.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE,
			Resource: r.session.GetName(),
			Message:  fmt.Sprintf("the offset %d lies beyond the stream's end: it has %d rows", r.offset, declared),
			Metadata: map[string]string{"end": strconv.FormatInt(declared, 10)},
		}
	}
	return r.finish(declared, source)
}

// part sends the rows of a part from the offset on. position is the stream's row at
// which it begins, and then the one after it.
func (r *rowReader) part(ctx context.Context, blocks blocks, position *int64) error {
	defer blocks.close()
	for {
		b, err := blocks.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		from := max(0, r.offset-*position)
		*position += b.rows
		if *position <= r.offset {
			b.release()
			r.next = *position
			continue
		}
		r.next = *position - b.rows + from
		if err := r.block(b, from); err != nil {
			return err
		}
		if r.next != *position {
			return incomplete(r.session.GetQueryId(), *position, r.next)
		}
	}
}

// block sends a block from one of its rows on, and releases it.
func (r *rowReader) block(b block, from int64) error {
	if b.ipc != nil && from == 0 && r.session.GetFormat() == pb.DataFormat_DATA_FORMAT_ARROW {
		return r.frame(arrowFrame(mem.BufferSlice{b.ipc}, b.rows))
	}
	defer b.release()
	if b.batch != nil {
		return r.batch(b.batch, from)
	}
	reader, err := ipc.NewReader(io.MultiReader(bytes.NewReader(schemaMessage(r.schema)), bytes.NewReader(b.ipc.ReadOnlyData())))
	if err != nil {
		return fmt.Errorf("read kept rows: %w", err)
	}
	defer reader.Release()
	for reader.Next() {
		batch := reader.RecordBatch()
		rows := batch.NumRows()
		if from < rows {
			if err := r.batch(batch, from); err != nil {
				return err
			}
		}
		from = max(0, from-rows)
	}
	if err := reader.Err(); err != nil && err != io.EOF {
		return fmt.Errorf("read kept rows: %w", err)
	}
	return nil
}

func (r *rowReader) batch(batch arrow.RecordBatch, from int64) error {
	part := batch.NewSlice(from, batch.NumRows())
	defer part.Release()
	if r.session.GetFormat() == pb.DataFormat_DATA_FORMAT_ARROW {
		return (&arrowEncoder{schema: r.schema, compression: r.session.GetArrowCompression(), sent: r.next}).encode(part, r.frame)
	}
	return (&rowEncoder{schema: r.schema, sent: r.next}).encode(part, r.frame)
}

func (r *rowReader) frame(f *frame) error {
	f.at(r.next)
	rows, size := f.rows, f.size
	if err := send(r.stream.Send, f); err != nil {
		return err
	}
	r.next, r.sent, r.bytes = r.next+rows, r.sent+rows, r.bytes+int64(size)
	return nil
}

// finish compares what was sent with what there is.
func (r *rowReader) finish(end int64, source source) error {
	if r.next != end || r.sent != end-r.offset {
		return incomplete(r.session.GetQueryId(), end-r.offset, r.sent)
	}
	proof := pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR
	if r.session.GetQueryId() != "" {
		proof = pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT
	}
	return r.stream.Send(&pb.ReadRowsResponse{Offset: end, Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{
		RowCount: r.sent, DeclaredRowCount: end - r.offset, StreamRowCount: end, SessionRowCount: source.total(), Findings: source.findings(),
		Proof: proof, ByteCount: r.bytes, QueryId: r.session.GetQueryId(), TotalTime: durationpb.New(time.Since(r.begun)),
	}}})
}

func incomplete(queryID string, declared, delivered int64) error {
	return &errmap.Error{
		Reason:  pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE,
		Message: fmt.Sprintf("%d rows came of %d that were declared: what was received is not the result", delivered, declared),
		Metadata: map[string]string{
			"query_id": queryID, "declared_rows": strconv.FormatInt(declared, 10), "delivered_rows": strconv.FormatInt(delivered, 10),
		},
	}
}

func (r *rowReader) progress(state pb.ReadState, queryID string) error {
	return r.stream.Tell(&pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Progress{Progress: &pb.Progress{State: state, QueryId: queryID}}, Offset: r.offset})
}
