package server_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// withinCancel is how long after a caller has left its query may still be in the
// warehouse's list of what runs.
const withinCancel = 2 * time.Second

// phase is where a preview can be when its caller leaves.
type phase struct {
	name   string
	config snowflaketest.Config
	sql    string // plainOrders if empty
	// hold keeps previews in the phase, and calls reached when one is there.
	hold func(w *world, reached func())
	// rows are how many the caller has received then, or 0.
	rows int64
	// aborted tells that the warehouse has a query to abort then.
	aborted bool
}

var sigmaQueries = "/v2/workbooks/*/elements/*/query"

var phases = []phase{
	{name: "Sigma gives the SQL", hold: func(w *world, reached func()) {
		w.sigma.SetFaults(sigmatest.On(sigmaQueries, sigmatest.Do(reached)), sigmatest.On(sigmaQueries, sigmatest.Stall(nil)))
	}},
	{name: "the warehouse compiles", aborted: true, hold: func(w *world, reached func()) {
		w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: untilAborted(reached)})
	}},
	{name: "the query is queued", aborted: true, hold: func(w *world, reached func()) {
		w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: untilAborted(reached)})
	}},
	{name: "the query is queued and asked after", aborted: true, config: snowflaketest.Config{InProgressAfter: time.Millisecond}, hold: func(w *world, reached func()) {
		w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: untilAborted(func() {}), Status: func(path string) int {
			if strings.HasSuffix(path, "/result") {
				reached()
			}
			return 0
		}})
	}},
	{name: "the query runs", aborted: true,
		sql: `select count(*) "N" from SHOP.SALES.ORDERS A, SHOP.SALES.ORDERS B, SHOP.SALES.ORDERS C where A.ORDER_ID * B.ORDER_ID + C.ORDER_ID = -1`,
		hold: func(w *world, reached func()) {
			w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
				if q.Tag != "" {
					reached()
				}
				return nil
			}})
		}},
	{name: "the first chunk comes", config: snowflaketest.Config{InlineRows: -1}, hold: standStill(0, snowflaketest.AfterHeaders)},
	{name: "within the first chunk", config: snowflaketest.Config{InlineRows: -1}, hold: standStill(0, snowflaketest.MidBatch)},
	{name: "between chunks", config: snowflaketest.Config{InlineRows: 100, ChunkRows: 500, BatchRows: 100}, rows: 1100, hold: standStill(2, snowflaketest.AfterHeaders)},
	{name: "between the batches of a chunk", config: snowflaketest.Config{InlineRows: 100, ChunkRows: 500, BatchRows: 100}, rows: 1300, hold: func(w *world, reached func()) {
		w.snowflake.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
			if index != 2 {
				return snowflaketest.ChunkFault{}
			}
			reached()
			return snowflaketest.ChunkFault{Do: snowflaketest.Stall, At: snowflaketest.BatchBoundary, Batch: 1}
		}})
	}},
}

func untilAborted(reached func()) func(context.Context, snowflaketest.Query) *snowflaketest.Error {
	return func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
		if q.Tag != "" { // a read, and not who we are
			reached()
			<-ctx.Done()
		}
		return nil
	}
}

func standStill(chunk int, at snowflaketest.ChunkPlace) func(*world, func()) {
	return func(w *world, reached func()) {
		w.snowflake.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
			if index != chunk {
				return snowflaketest.ChunkFault{}
			}
			reached()
			return snowflaketest.ChunkFault{Do: snowflaketest.Stall, At: at}
		}})
	}
}

// TestWhoLeavesLeavesNothingRunning leaves in every phase, in both ways that
// there are: by a cancel, and by a connection that breaks.
func TestWhoLeavesLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for _, p := range phases {
		for _, way := range []string{"cancels", "vanishes"} {
			t.Run(p.name+", the caller "+way, func(t *testing.T) {
				t.Parallel()
				w := shop(t, p.config)
				sql := p.sql
				if sql == "" {
					sql = plainOrders
				}
				model := w.model(snowflakeName, sql)
				w.mustPreview(&pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders), RowLimit: 1}) // logs in
				there := make(chan struct{}, 1000)
				p.hold(w, func() { there <- struct{}{} })

				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				conn := w.dial(nil)
				stream, err := pb.NewModelQueryClient(conn).PreviewModel(ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 20000})
				w.must(err)
				first, err := stream.Recv()
				if err != nil || first.GetProgress().GetState() != pb.ReadState_READ_STATE_PREPARING {
					t.Errorf("first came %v, %v", first, err)
				}
				<-there
				for rows := int64(0); rows < p.rows; {
					message, err := stream.Recv()
					w.must(err)
					rows += message.GetRows().GetRowCount()
				}
				before := len(w.snowflake.Running())
				if (before > 0) != p.aborted {
					t.Errorf("before that, %d queries run", before)
				}

				if way == "cancels" {
					cancel()
				} else {
					w.must(conn.Close())
				}
				bound, stop := context.WithTimeout(t.Context(), withinCancel)
				defer stop()
				if err := w.snowflake.WaitIdle(bound); err != nil {
					t.Errorf("after %s there run %v, and %d chunks are under way", withinCancel, w.snowflake.Running(), w.snowflake.Downloads())
				}
				for err == nil {
					_, err = stream.Recv()
				}
				if status.Code(err) != codes.Canceled {
					t.Errorf("the stream ended with %v", err)
				}
				w.close(ignoreClosed(conn.Close()))
				w.stop() // waits for what the call left behind
				w.wantNothingStarted(model, p.aborted)
			})
		}
	}
}

// ignoreClosed is for a connection that may be closed already.
func ignoreClosed(err error) error {
	if status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}

// wantNothingStarted makes sure that a model's queries, if there are any, are
// over, and aborted if they were to be.
func (w *world) wantNothingStarted(model string, aborted bool) {
	w.t.Helper()
	found := 0
	for _, q := range w.snowflake.Queries() {
		if q.Tag != "sigmasource "+model {
			continue
		}
		found++
		if (q.State == snowflaketest.StateAborted) != aborted || q.State == snowflaketest.StateRunning {
			w.t.Errorf("a query ended as %s", q.State)
		}
	}
	if aborted && found != 1 {
		w.t.Errorf("%d queries were aborted", found)
	}
}

// TestWhoLeavesACheckLeavesNothingRunning does the same with a check, which
// compiles the model, and counts its key.
func TestWhoLeavesACheckLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for _, p := range phases {
		if p.config.InlineRows != 0 || p.sql != "" { // a check reads a row or two
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, p.config)
			model := w.model(snowflakeName, plainOrders)
			w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 1}) // logs in
			there := make(chan struct{}, 1000)
			p.hold(w, func() { there <- struct{}{} })
			ctx, cancel := context.WithCancel(w.ctx)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := w.query.CheckModel(ctx, &pb.CheckModelRequest{Name: model, KeyColumns: []string{"Order Id"}})
				ended <- err
			}()
			<-there
			for p.aborted && len(w.snowflake.Running()) == 0 { // it compiles as yet
				<-there
			}
			cancel()
			bound, stop := context.WithTimeout(t.Context(), withinCancel)
			defer stop()
			if err := w.snowflake.WaitIdle(bound); err != nil {
				t.Errorf("after %s there run %v", withinCancel, w.snowflake.Running())
			}
			if err := <-ended; status.Code(err) != codes.Canceled {
				t.Errorf("the check ended with %v", err)
			}
			w.stop()
		})
	}
}

// TestWhoLeavesASessionInTheMakingLeavesNothingRunning leaves a CreateReadSession in
// each phase before the session is there.
func TestWhoLeavesASessionInTheMakingLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for _, p := range phases {
		if p.config.InlineRows != 0 { // it is over before the chunks come
			continue
		}
		for _, way := range []string{"cancels", "vanishes"} {
			t.Run(p.name+", the caller "+way, func(t *testing.T) {
				t.Parallel()
				w := shop(t, p.config)
				model := w.model(snowflakeName, cmp.Or(p.sql, plainOrders))
				w.mustPreview(&pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders), RowLimit: 1}) // logs in
				there := make(chan struct{}, 1000)
				p.hold(w, func() { there <- struct{}{} })
				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				conn := w.dial(nil)
				ended := make(chan error, 1)
				go func() {
					_, err := pb.NewModelQueryClient(conn).CreateReadSession(ctx, &pb.CreateReadSessionRequest{Name: model})
					ended <- err
				}()
				<-there
				if running := len(w.snowflake.Running()); (running > 0) != p.aborted {
					t.Errorf("before that, %d queries run", running)
				}
				if way == "cancels" {
					cancel()
				} else {
					w.must(conn.Close())
				}
				w.wantIdleSoon()
				if err := <-ended; status.Code(err) != codes.Canceled {
					t.Errorf("the call ended with %v", err)
				}
				w.close(ignoreClosed(conn.Close()))
				w.stop()
				w.wantNothingStarted(model, p.aborted)
			})
		}
	}
}

// wantIdleSoon makes sure that queries and downloads end within the time that a
// cancel may take.
func (w *world) wantIdleSoon() {
	w.t.Helper()
	bound, stop := context.WithTimeout(w.t.Context(), withinCancel)
	defer stop()
	if err := w.snowflake.WaitIdle(bound); err != nil {
		w.t.Errorf("after %s there run %v, and %d chunks are under way", withinCancel, w.snowflake.Running(), w.snowflake.Downloads())
	}
}

// TestWhoLeavesAStreamLeavesNothingRunning leaves a ReadRows in each phase of the
// downloads. A session that somebody deletes ends its streams, too.
func TestWhoLeavesAStreamLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for _, p := range phases {
		if p.config.InlineRows == 0 { // its rows come with the answer
			continue
		}
		for _, way := range []string{"cancels", "vanishes", "deletes the session"} {
			t.Run(p.name+", the caller "+way, func(t *testing.T) {
				t.Parallel()
				w := shop(t, p.config)
				session := w.session(&pb.CreateReadSessionRequest{Name: w.model(snowflakeName, plainOrders)})
				there := make(chan struct{}, 1000)
				p.hold(w, func() { there <- struct{}{} })
				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				conn := w.dial(nil)
				stream, err := pb.NewModelQueryClient(conn).ReadRows(ctx, &pb.ReadRowsRequest{Name: session.GetStreams()[0].GetName()})
				w.must(err)
				first, err := stream.Recv()
				if err != nil || first.GetProgress().GetState() != pb.ReadState_READ_STATE_PREPARING {
					t.Errorf("first came %v, %v", first, err)
				}
				<-there
				for rows := int64(0); rows < p.rows; {
					message, err := stream.Recv()
					w.must(err)
					rows += message.GetRows().GetRowCount()
				}
				if n := w.snowflake.Downloads(); n == 0 {
					t.Error("before that, no chunk is under way")
				}
				switch way {
				case "cancels":
					cancel()
				case "vanishes":
					w.must(conn.Close())
				default:
					_, err := w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: session.GetName()})
					w.must(err)
				}
				w.wantIdleSoon()
				if t.Failed() {
					cancel() // it might never end
				}
				for err == nil {
					_, err = stream.Recv()
				}
				if way == "deletes the session" {
					wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
				} else if status.Code(err) != codes.Canceled {
					t.Errorf("the stream ended with %v", err)
				}
				w.close(ignoreClosed(conn.Close()))
				w.stop()
			})
		}
	}
}

// TestAQuietReadTellsThatItLives waits for several heartbeats before the first rows
// of a stream and between its chunks. The stream then ends well.
func TestAQuietReadTellsThatItLives(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: -1, ChunkRows: 500, BatchRows: 100})
	w.restart(func(c *server.Config) { c.Heartbeat = time.Millisecond })
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(snowflakeName, plainOrders)})
	gates := map[int]chan struct{}{0: make(chan struct{}), 7: make(chan struct{})}
	w.snowflake.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
		if gate := gates[index]; gate != nil {
			<-gate
		}
		return snowflaketest.ChunkFault{}
	}})
	stream, err := w.query.ReadRows(w.ctx, &pb.ReadRowsRequest{Name: session.GetStreams()[0].GetName()})
	w.must(err)
	var rows int64
	until := func(after int64) {
		t.Helper()
		for seen := 0; seen < 4; {
			message, err := stream.Recv()
			w.must(err)
			rows += message.GetRows().GetRowCount()
			progress := message.GetProgress()
			if progress.GetState() == pb.ReadState_READ_STATE_RUNNING && rows == after {
				seen++
				if progress.GetQueryId() != session.GetQueryId() {
					t.Errorf("the heartbeat names another query: %v", progress)
				}
			}
		}
	}
	until(0)
	close(gates[0])
	until(3500)
	close(gates[7])
	var statistics *pb.StreamStatistics
	for statistics == nil {
		message, err := stream.Recv()
		w.must(err)
		rows += message.GetRows().GetRowCount()
		statistics = message.GetStatistics()
	}
	if _, err := stream.Recv(); err != io.EOF || rows != 20_000 || statistics.GetRowCount() != rows {
		t.Errorf("%d rows, statistics: %v, %v", rows, statistics, err)
	}
}

// TestAQuietStreamTellsThatItLives waits for several heartbeats in each phase of
// one preview, which then ends well.
func TestAQuietStreamTellsThatItLives(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 500, BatchRows: 100})
	w.restart(func(c *server.Config) { c.Heartbeat = time.Millisecond })
	sigma, query, chunk := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.sigma.SetFaults(sigmatest.On(sigmaQueries, func(http.ResponseWriter, *http.Request) bool { <-sigma; return false }))
	w.snowflake.SetFaults(snowflaketest.Faults{
		BeforeRun: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if q.Tag != "" {
				<-query
			}
			return nil
		},
		Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
			if index == 1 {
				<-chunk
			}
			return snowflaketest.ChunkFault{}
		},
	})
	stream, err := w.query.PreviewModel(w.ctx, &pb.PreviewModelRequest{Name: w.model(snowflakeName, plainOrders), RowLimit: 2500})
	w.must(err)
	r := &reading{}
	until := func(state pb.ReadState, rows int64) {
		t.Helper()
		for seen := 0; seen < 4; {
			message, err := stream.Recv()
			w.must(err)
			r.add(t, message)
			if message.GetProgress().GetState() == state && r.count == rows {
				seen++
			}
		}
	}
	until(pb.ReadState_READ_STATE_PREPARING, 0)
	close(sigma)
	until(pb.ReadState_READ_STATE_RUNNING, 0)
	close(query)
	until(pb.ReadState_READ_STATE_FETCHING, 600)
	if last := r.progress[len(r.progress)-1]; last.GetQueryId() == "" {
		t.Errorf("the heartbeat names no query: %v", last)
	}
	close(chunk)
	for {
		message, err := stream.Recv()
		if err != nil {
			break
		}
		r.add(t, message)
	}
	if problem := wrongOrders(r.table(t), 2500); problem != "" || r.stats == nil {
		t.Errorf("%s, statistics: %v", problem, r.stats)
	}
}
