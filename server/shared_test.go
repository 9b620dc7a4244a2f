package server_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestIdenticalPreviewsShareOneQuery(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	model, other := w.model(snowflakeName, plainOrders), w.model(snowflakeName, plainOrders)
	before := w.queriesOfModels()
	g := w.gate()
	var readers errgroup.Group
	read := func(name string, rows int32, ctx context.Context) {
		readers.Go(func() error {
			r, err := w.preview(ctx, &pb.PreviewModelRequest{Name: name, RowLimit: rows, Format: formats[int(rows)%2]})
			if err == nil && r.stats.GetRowCount() != int64(rows) {
				err = fmt.Errorf("%d rows of %d", r.stats.GetRowCount(), rows)
			}
			return err
		})
	}
	for range 20 {
		read(model, 2500, w.ctx)
	}
	<-g.waiting              // of the first; the others join it, now or once it runs
	read(model, 2501, w.ctx) // asks for something else
	read(other, 2500, w.ctx)
	for range 2 {
		<-g.waiting
	}
	leaving, leave := context.WithCancel(w.ctx)
	stream, err := w.query.PreviewModel(leaving, &pb.PreviewModelRequest{Name: model, RowLimit: 2500})
	w.must(err)
	for running := 0; running < 1; { // until its query would run
		m, err := stream.Recv()
		w.must(err)
		if m.GetProgress().GetState() == pb.ReadState_READ_STATE_RUNNING {
			running++
		}
	}
	leave() // the others stay
	close(g.open)
	w.must(readers.Wait())
	if n := w.queriesOfModels() - before; n > 6 { // late ones run their own
		t.Errorf("%d queries ran for 22 previews", n)
	}
	w.must(w.snowflake.WaitIdle(t.Context()))
}

// Callers who read a model at the same moment ask Sigma together: never more than twice
// at once, however many they are.
func TestCallersOfTheSameMomentAskSigmaTogether(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	const callers = 12
	model := w.model(duckdbName, plainOrders)
	var asking, most, asked atomic.Int32
	reached, open := make(chan struct{}, callers), make(chan struct{})
	w.sigma.SetFaults(sigmatest.On(sigmaQueries, sigmatest.Do(func() {
		asked.Add(1)
		for n := asking.Add(1); ; {
			if before := most.Load(); n <= before || most.CompareAndSwap(before, n) {
				break
			}
		}
		reached <- struct{}{}
		<-open
		asking.Add(-1)
	})))
	var previews errgroup.Group
	preparing := make(chan struct{}, callers)
	for i := range callers {
		previews.Go(func() error {
			stream, err := w.query.PreviewModel(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: int32(10 + i)})
			for said := false; err == nil; {
				var m *pb.PreviewModelResponse
				if m, err = stream.Recv(); !said {
					preparing <- struct{}{}
					said = true
				}
				if s := m.GetStatistics(); s != nil {
					if s.GetRowCount() != int64(10+i) {
						return fmt.Errorf("%d rows of %d", s.GetRowCount(), 10+i)
					}
					return nil
				}
			}
			return err
		})
	}
	for range callers {
		<-preparing
	}
	for range 2 {
		<-reached
	}
	close(open)
	w.must(previews.Wait())
	if most.Load() > 2 {
		t.Errorf("Sigma was asked %d times at once, and %d times in all", most.Load(), asked.Load())
	}
}

func TestPreviewCountsAllRowsOnRequest(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	for _, connection := range []string{snowflakeName, duckdbName} {
		model := w.model(connection, plainOrders)
		r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 7, IncludeTotalRowCount: true})
		if r.stats.GetRowCount() != 7 || r.stats.GetTotalRowCount() != 20_000 {
			t.Errorf("the statistics are %v", r.stats)
		}
		if r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 7}); r.stats.TotalRowCount != nil {
			t.Errorf("it counted unasked: %v", r.stats)
		}
	}
}

func TestPreviewStopsAtTheLimitOfCost(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	model := w.model(snowflakeName, plainOrders)
	w.gate() // the warehouse never begins
	_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 5, IncludeTotalRowCount: true, MaxWarehouseTime: durationpb.New(50 * time.Millisecond)})
	facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_COST_LIMIT_EXCEEDED)
	if facts["limit"] != "50ms" {
		t.Errorf("the facts are %v", facts)
	}
	w.must(w.snowflake.WaitIdle(t.Context()))
}

// The first rows of a preview come in a small message, the others in larger ones.
func TestPreviewBeginsSmall(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	for _, format := range formats {
		r := w.mustPreview(&pb.PreviewModelRequest{Name: w.manyOrders(100_000), RowLimit: 100_000, Format: format})
		var sizes []int
		for _, batch := range r.batches {
			sizes = append(sizes, len(batch.GetArrow().GetIpc())+32*len(batch.GetRows().GetRows()))
		}
		if len(sizes) < 3 || sizes[0] > 64<<10 || sizes[0] >= sizes[len(sizes)/2] {
			t.Errorf("%s: the messages have about %d bytes", format, sizes)
		}
	}
}

// Previews at a bookmark share nothing with those of the published state, even where the SQL is the same.
func TestPreviewsAtABookmarkShareNoQuery(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	model := w.model(snowflakeName, plainOrders)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook(scratch).Bookmarks = []sigmatest.Bookmark{{ID: "east", Name: "East"}, {ID: "west", Name: "West"}}
	})
	g := w.gate()
	var readers errgroup.Group
	for _, bookmark := range []string{"", "east", "west"} {
		readers.Go(func() error {
			_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 10, BookmarkId: bookmark})
			return err
		})
		<-g.waiting // a query of its own
	}
	close(g.open)
	w.must(readers.Wait())
}
