package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// formats are both ways to send rows.
var formats = []pb.DataFormat{pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW}

// inParts makes results of several parts: some rows come with the answer, the
// others in chunks of several batches.
var inParts = snowflaketest.Config{InlineRows: 100, ChunkRows: 1000, BatchRows: 300}

func TestAResultThatIsNotWholeIsAnError(t *testing.T) {
	t.Parallel()
	declare := func(more int64) snowflaketest.Faults {
		return snowflaketest.Faults{DeclaredRows: func(q snowflaketest.Query, rows int64) int64 {
			if q.Tag == "" { // not a preview
				return rows
			}
			return rows + more
		}}
	}
	chunk := func(do snowflaketest.ChunkAction, at snowflaketest.ChunkPlace) snowflaketest.Faults {
		return snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
			if index != 1 {
				return snowflaketest.ChunkFault{}
			}
			return snowflaketest.ChunkFault{Do: do, At: at}
		}}
	}
	const incomplete, unavailable = codes.DataLoss, codes.Unavailable
	for _, test := range []struct {
		name   string
		faults snowflaketest.Faults
		codes  []codes.Code
	}{
		{"one row more is declared", declare(1), []codes.Code{incomplete}},
		{"one row less is declared", declare(-1), []codes.Code{incomplete}},
		{"no rows are declared", declare(-2500), []codes.Code{incomplete}},
		{"a chunk ends between batches and looks whole", chunk(snowflaketest.Truncate, snowflaketest.BatchBoundary), []codes.Code{incomplete}},
		{"a chunk ends in a batch and looks whole", chunk(snowflaketest.Truncate, snowflaketest.MidBatch), []codes.Code{incomplete, unavailable}},
		{"a chunk is empty", chunk(snowflaketest.Truncate, snowflaketest.AfterHeaders), []codes.Code{incomplete, unavailable}},
		{"a chunk breaks off between batches", chunk(snowflaketest.Cut, snowflaketest.BatchBoundary), []codes.Code{incomplete, unavailable}},
		{"a chunk breaks off in a batch", chunk(snowflaketest.Cut, snowflaketest.MidBatch), []codes.Code{incomplete, unavailable}},
		{"a chunk is damaged", chunk(snowflaketest.Corrupt, snowflaketest.BatchBoundary), []codes.Code{incomplete, unavailable}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, inParts)
			model := w.model(snowflakeName, plainOrders)
			w.snowflake.SetFaults(test.faults)
			for _, format := range formats {
				r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 2500, Format: format})
				if r.stats != nil {
					t.Errorf("%s: a result that is not whole ended with %v", format, r.stats)
				}
				if strings.HasPrefix(test.name, "a chunk") && r.count == 0 {
					t.Errorf("%s: no rows came before the error: %v", format, err)
				}
				if len(test.codes) == 1 || status.Code(err) == incomplete {
					wantError(t, err, incomplete, pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE)
				} else {
					wantError(t, err, unavailable, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE)
				}
			}
			// Nothing of it stays.
			w.snowflake.SetFaults(snowflaketest.Faults{})
			if r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 2500}); r.stats.GetRowCount() != 2500 {
				t.Errorf("then %d rows came", r.stats.GetRowCount())
			}
		})
	}
}

func TestAChunkThatFailsInPassingIsFetchedAgain(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]snowflaketest.ChunkFault{
		"cut in a batch":           {Do: snowflaketest.Cut, At: snowflaketest.MidBatch},
		"cut between batches":      {Do: snowflaketest.Cut, At: snowflaketest.BatchBoundary},
		"truncated between bathes": {Do: snowflaketest.Truncate, At: snowflaketest.BatchBoundary},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, inParts)
			model := w.model(snowflakeName, plainOrders)
			w.snowflake.SetFaults(snowflaketest.Faults{Chunk: func(_ string, _, attempt int) snowflaketest.ChunkFault {
				if attempt > 0 {
					return snowflaketest.ChunkFault{}
				}
				return fault
			}})
			for i, row := range w.everyWay(model, 2500).table(t) {
				if row[0] != fmt.Sprint(i) {
					t.Fatalf("row %d is %q: rows are missing, or came twice", i, row)
				}
			}
		})
	}
}

func TestMessagesStayWithinWhatClientsTake(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: -1})
	// Eight megabytes, in rows of uneven size.
	model := w.model(snowflakeName, `select ORDER_ID "Order Id", repeat('x', 20000 * mod(ORDER_ID, 5)) "Text" from SHOP.SALES.ORDERS ORDERS where ORDER_ID < 200 order by ORDER_ID limit 1000`)
	for _, format := range formats {
		r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 1000, Format: format})
		if len(r.batches) < 4 {
			t.Errorf("%s: %d batches", format, len(r.batches))
		}
		for _, size := range r.sizes {
			if size > 4<<20 {
				t.Errorf("%s: a message of %d bytes", format, size)
			}
		}
		rows := r.table(t)
		for i, row := range rows {
			if row[0] != fmt.Sprint(i) || len(row[1]) != 20000*(i%5)+2 {
				t.Fatalf("%s: row %d has the id %s and a text of %d", format, i, row[0], len(row[1]))
			}
		}
		if len(rows) != 200 {
			t.Errorf("%s: %d rows", format, len(rows))
		}
	}
}

func TestARowThatIsTooLargeIsNamed(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: -1})
	const text = `select ORDER_ID "Order Id", repeat('x', iff(ORDER_ID = 2, 5 * 1024 * 1024, 10)) "The Text", 'short' "Other" from SHOP.SALES.ORDERS ORDERS order by ORDER_ID limit 1000`
	for _, format := range formats {
		r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: w.model(snowflakeName, text), RowLimit: 1000, Format: format})
		t.Run(format.String(), func(t *testing.T) {
			facts := wantError(t, err, codes.ResourceExhausted, pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE)
			if facts["column"] != "The Text" || facts["row"] != "3" {
				t.Errorf("the facts are %v", facts)
			}
			if r.stats != nil {
				t.Errorf("statistics came: %v", r.stats)
			}
		})
	}
}

// held is a warehouse that does not begin with the previews' queries.
func held(w *world) (reached <-chan snowflaketest.Query, release func()) {
	queries, open := make(chan snowflaketest.Query, 100), make(chan struct{})
	w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
		if q.Tag == "" {
			return nil
		}
		queries <- q
		select {
		case <-ctx.Done():
		case <-open:
		}
		return nil
	}})
	return queries, func() { close(open) }
}

// wantAborted waits until a query is over in the warehouse.
func (w *world) wantAborted(id string) {
	w.t.Helper()
	ended, err := w.snowflake.WaitQuery(w.t.Context(), func(q snowflaketest.Query) bool {
		return q.ID == id && q.State != snowflaketest.StateRunning
	})
	w.must(err)
	if ended.State != snowflaketest.StateAborted {
		w.t.Errorf("the query ended as %s", ended.State)
	}
}

func TestCancellingAPreviewCancelsTheQuery(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	reached, _ := held(w)
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := w.query.PreviewModel(ctx, &pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders)})
	w.must(err)
	// Something comes at once, so that a caller sees that the server is there.
	if first, err := stream.Recv(); err != nil || first.GetProgress().GetState() != pb.ReadState_READ_STATE_PREPARING {
		t.Errorf("first came %v, %v", first, err)
	}
	query := <-reached
	cancel()
	w.wantAborted(query.ID)
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	w.must(w.snowflake.WaitIdle(t.Context()))
}

func TestADeadlineCancelsTheQuery(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	reached, _ := held(w)
	// The deadline passes while the query is held, however long that takes.
	ctx, cancel := context.WithTimeout(w.ctx, 500*time.Millisecond)
	defer cancel()
	_, err := w.preview(ctx, &pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders)})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream ended with %v", err)
	}
	w.wantAborted((<-reached).ID)
}

// A caller who leaves in the middle of the rows leaves nothing behind.
func TestLeavingInTheMiddleOfTheRows(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: -1, ChunkRows: 500, BatchRows: 100})
	var chunks atomic.Int64
	stalled := make(chan struct{}, 100)
	w.snowflake.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
		chunks.Add(1)
		if index == 2 {
			stalled <- struct{}{}
			return snowflaketest.ChunkFault{Do: snowflaketest.Stall, At: snowflaketest.BatchBoundary}
		}
		return snowflaketest.ChunkFault{}
	}})
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := w.query.PreviewModel(ctx, &pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders), RowLimit: 20000})
	w.must(err)
	var rows int64
	for rows < 1000 {
		message, err := stream.Recv()
		w.must(err)
		rows += message.GetRows().GetRowCount()
	}
	<-stalled
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
	w.stop() // waits for what the call left running
	if n := chunks.Load(); n > 10 {
		t.Errorf("%d chunks were fetched", n)
	}
}

func TestShutdownWithAPreviewUnderWay(t *testing.T) {
	t.Parallel()
	type end struct {
		r   *reading
		err error
	}
	t.Run("waits for it", func(t *testing.T) {
		t.Parallel()
		w := shop(t, inParts)
		reached, release := held(w)
		model, ended := w.model(snowflakeName, plainOrders), make(chan end, 1)
		go func() {
			r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 2500})
			ended <- end{r, err}
		}()
		<-reached
		down := make(chan error, 1)
		go func() { down <- w.server.Shutdown(w.ctx) }()
		// New calls are refused from now on, the one under way goes on.
		for refused := error(nil); refused == nil; {
			_, refused = w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
		}
		release()
		if got := <-ended; got.err != nil || got.r.stats.GetRowCount() != 2500 {
			t.Errorf("the preview ended with %v", got.err)
		}
		w.must(<-down)
	})
	t.Run("cuts it off in the end", func(t *testing.T) {
		t.Parallel()
		w := shop(t, inParts)
		reached, _ := held(w)
		model, ended := w.model(snowflakeName, plainOrders), make(chan end, 1)
		go func() {
			r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model})
			ended <- end{r, err}
		}()
		query := <-reached
		over, cancel := context.WithCancel(w.ctx)
		cancel()
		w.halfLost = true
		if err := w.server.Shutdown(over); err != nil {
			t.Logf("shutdown: %v", err)
		}
		if got := <-ended; got.err == nil || got.r.stats != nil {
			t.Errorf("the preview ended well, with %v", got.r.stats)
		}
		w.wantAborted(query.ID)
	})
}
