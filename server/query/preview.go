package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/warehouse"
)

const defaultPreviewRows = 100

// PreviewModel streams the first rows of a model.
func (s *Service) PreviewModel(request *pb.PreviewModelRequest, stream grpc.ServerStreamingServer[pb.PreviewModelResponse]) error {
	// The context also ends when this function does, so that a query never
	// outlives the stream that asked for it.
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	name, err := resource.ParseModel(request.GetName())
	if err != nil {
		return errmap.InvalidField("name", err.Error())
	}
	p := &preview{
		stream:   newHeart(stream.SendMsg, s.heartbeat),
		format:   request.GetFormat(),
		expected: request.GetExpectedFingerprint(),
		limit:    int64(request.GetRowLimit()),
		start:    time.Now(),
	}
	if p.limit == 0 {
		p.limit = defaultPreviewRows
	}
	defer p.stream.Stop()
	if err := p.progress(pb.ReadState_READ_STATE_PREPARING, ""); err != nil {
		return err
	}
	link, err := s.links.Acquire(ctx, name.Connection.String())
	if err != nil {
		return err
	}
	defer link.Release()
	return s.preview(ctx, p, link, name, request)
}

// preview is one call of PreviewModel.
type preview struct {
	stream    *heart[any] // of *pb.PreviewModelResponse and *frame
	format    pb.DataFormat
	expected  string // fingerprint, or empty
	limit     int64  // rows
	start     time.Time
	asked     time.Time // the warehouse
	hasSchema bool      // was sent
	rows      tally
	stats     pb.Statistics
}

func (s *Service) preview(ctx context.Context, p *preview, link *connections.Link, name resource.Model, request *pb.PreviewModelRequest) error {
	plan, err := s.prepare(ctx, link, name, request, nil)
	if err != nil {
		return err
	}
	p.stats.SigmaTime = durationpb.New(time.Since(p.start))
	if limit := request.GetMaxWarehouseTime(); limit != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit.AsDuration(), costLimit(limit.AsDuration()))
		defer cancel()
	}
	err = s.runPreview(ctx, p, link, plan, request)
	if !p.hasSchema {
		if again := s.prepareAgain(ctx, err, link, plan, request); again != nil {
			err = s.runPreview(ctx, p, link, again, request)
		}
	}
	if err != nil {
		return reachedLimit(ctx, err)
	}
	p.stats.TotalTime = durationpb.New(time.Since(p.start))
	return p.stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Statistics{Statistics: &p.stats}})
}

// runPreview runs the plan's query, and sends the columns and the rows.
func (s *Service) runPreview(ctx context.Context, p *preview, link *connections.Link, plan *plan, request *pb.PreviewModelRequest) error {
	plan.findings.AddPreview(plan.query, p.limit)
	if err := p.progress(pb.ReadState_READ_STATE_RUNNING, ""); err != nil {
		return err
	}
	p.asked = time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	var lastAltered time.Time
	group.Go(func() error { lastAltered = plan.lastAltered(groupCtx, link); return nil })
	if request.GetIncludeTotalRowCount() {
		group.Go(func() error { return p.countAll(groupCtx, link, plan) })
	}
	group.Go(func() error {
		result, shared := s.query(groupCtx, link, plan.statement(plan.query.Preview(p.limit)), plan.choiceKey())
		p.stats.Shared = shared
		err := s.read(groupCtx, p, link, plan, result)
		return errors.Join(err, result.Close())
	})
	if err := group.Wait(); err != nil {
		return err
	}
	plan.addAge(lastAltered)
	return nil
}

func costLimit(most time.Duration) error {
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_COST_LIMIT_EXCEEDED,
		Message:  fmt.Sprintf("the warehouse took longer than the %s that the call allows, and its query was cancelled", most),
		Metadata: map[string]string{"limit": most.String()},
	}
}

// countAll counts the model's rows in the warehouse.
func (p *preview) countAll(ctx context.Context, link *connections.Link, plan *plan) error {
	sql := "select count(*) as \"rows\" from (\n" + plan.query.Full() + "\n) as MODEL"
	return plan.each(ctx, link.Warehouse, plan.internal(sql), func(values []*pb.Value) error {
		p.stats.TotalRowCount = new(values[0].GetInt64Value())
		return nil
	})
}

// read sends the columns as soon as they are known, which may be while the query
// runs, and then what the query gives.
func (s *Service) read(ctx context.Context, p *preview, link *connections.Link, plan *plan, result *sharedResult) error {
	early, err := result.described(ctx)
	if err != nil {
		return withGrants(ctx, err, link, plan.query.Tables())
	}
	var sent *pb.Schema
	if early != nil {
		if sent, err = s.sendSchema(ctx, p, plan, early, result.names.get()); err != nil {
			return err
		}
		if err := result.answered(ctx); err != nil {
			return withGrants(ctx, err, link, plan.query.Tables())
		}
	}
	p.stats.WarehouseTime = durationpb.New(time.Since(p.asked))
	p.stats.QueryId, p.rows.queryID = result.QueryID(), result.QueryID()
	if err := p.progress(pb.ReadState_READ_STATE_FETCHING, result.QueryID()); err != nil {
		return err
	}
	if sent == nil {
		if _, err := s.sendSchema(ctx, p, plan, result.Schema(), result.names.get()); err != nil {
			return err
		}
	} else {
		now, err := encodeSchema(result.Schema(), plan.columns, pb.DataFormat_DATA_FORMAT_ROWS)
		if err != nil {
			return err
		}
		if err := misfit(early, result.Schema(), sent, now, result.QueryID()); err != nil {
			s.shared.distrust(result.key.tag)
			return err
		}
	}
	return p.deliver(ctx, plan, result)
}

// sendSchema sends the columns, unless they are other ones than the caller expects. The names are those of all columns of
// the result.
func (s *Service) sendSchema(ctx context.Context, p *preview, plan *plan, columns *arrow.Schema, names []string) (*pb.Schema, error) {
	plan.compareOutputs(names)
	if err := plan.refuseFindings(); err != nil {
		return nil, err
	}
	schema, err := encodeSchema(columns, plan.columns, p.format)
	if err != nil {
		return nil, err
	}
	if err := s.checkDrift(ctx, plan, schema, p.expected); err != nil {
		return nil, err
	}
	p.hasSchema = true
	return schema, p.stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Schema{Schema: schema}})
}

// deliver sends the rows and, if they are all there, the statistics.
func (p *preview) deliver(ctx context.Context, plan *plan, result warehouse.Result) error {
	encode := (&rowEncoder{schema: result.Schema(), target: firstFrame}).encode
	if p.format == pb.DataFormat_DATA_FORMAT_ARROW {
		encode = (&arrowEncoder{schema: result.Schema(), target: firstFrame}).encode
	}
	if err := p.deliverRows(ctx, result, encode); err != nil {
		return err
	}
	p.stats.Findings = plan.findings.All()
	return p.finish(result)
}

func (p *preview) deliverRows(ctx context.Context, result warehouse.Result, encode func(arrow.RecordBatch, sendFrame) error) error {
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF { // itself: a failure may have one for its cause
			return nil
		}
		if err != nil {
			return err
		}
		if err = encode(batch, p.sendBatch); err == nil {
			err = p.rows.batch(batch.NumRows())
		}
		batch.Release()
		if err != nil {
			return err
		}
	}
}

func (p *preview) sendBatch(f *frame) error {
	rows, size := f.rows, f.size
	if err := send(p.stream.Send, f); err != nil {
		return err
	}
	p.rows.message(rows)
	p.stats.ByteCount += int64(size)
	return nil
}

// finish sends the statistics, if what was sent is the whole result.
func (p *preview) finish(result warehouse.Result) error {
	declared, ok := result.DeclaredRows()
	proof, err := p.rows.finish(declared, ok)
	if err != nil {
		return err
	}
	p.stats.RowCount, p.stats.Proof = p.rows.sent, proof
	if ok {
		p.stats.DeclaredRowCount = &declared
	}
	return nil
}

func (p *preview) progress(state pb.ReadState, queryID string) error {
	return p.stream.Tell(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Progress{
		Progress: &pb.Progress{State: state, QueryId: queryID},
	}})
}

// queryTag names the reader in the warehouse's query history.
func queryTag(name resource.Model) string { return "sigmasource " + name.String() }
