package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
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
		stream: stream,
		format: request.GetFormat(),
		limit:  int64(request.GetRowLimit()),
		start:  time.Now(),
	}
	if p.limit == 0 {
		p.limit = defaultPreviewRows
	}
	if err := p.progress(pb.ReadState_READ_STATE_PREPARING, ""); err != nil {
		return err
	}
	link, err := s.links.Acquire(ctx, name.Connection().String())
	if err != nil {
		return err
	}
	defer link.Release()
	return p.run(ctx, link.Sigma, link.Warehouse, name)
}

// preview is one call of PreviewModel.
type preview struct {
	stream grpc.ServerStreamingServer[pb.PreviewModelResponse]
	format pb.DataFormat
	limit  int64
	start  time.Time
	stats  pb.Statistics
}

func (p *preview) run(ctx context.Context, sigma *sigmaclient.Client, house warehouse.Warehouse, name resource.Model) error {
	query, err := prepare(ctx, sigma, name, link.Dialect)
	if err != nil {
		return err
	}
	p.stats.SigmaTime = durationpb.New(time.Since(p.start))
	p.stats.Findings = previewFindings(query, p.limit)

	if err := p.progress(pb.ReadState_READ_STATE_RUNNING, ""); err != nil {
		return err
	}
	asked := time.Now()
	result, err := house.Query(ctx, warehouse.Statement{SQL: query.Preview(p.limit), Tag: queryTag(name)})
	if err != nil {
		return err
	}
	p.stats.WarehouseTime = durationpb.New(time.Since(asked))
	p.stats.QueryId = result.QueryID()
	return errors.Join(p.deliver(ctx, result), result.Close())
}
