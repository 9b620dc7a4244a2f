package server_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// describeAtOnce takes every query for one that takes long.
func describeAtOnce(c *server.Config) { c.DescribeAfter = time.Nanosecond }

// slow is a shop whose previews in Snowflake are described at once.
func slow(t *testing.T) *world {
	t.Helper()
	w := shop(t, inParts)
	w.restart(describeAtOnce)
	return w
}

// holdQueries lets queries of previews wait where they are before they are compiled,
// until the function that it returns is called. Descriptions go through.
func (w *world) holdQueries() (release func()) {
	open := make(chan struct{})
	w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
		if q.Tag != "" && !q.DescribeOnly {
			select {
			case <-open:
			case <-ctx.Done():
			}
		}
		return nil
	}})
	return func() { close(open) }
}

// statements are what Snowflake was asked of a model: its queries and descriptions.
func (w *world) statements(model string) (queries, descriptions []snowflaketest.Query) {
	for _, q := range w.snowflake.Queries() {
		switch {
		case q.Tag != "sigmasource "+model:
		case q.DescribeOnly:
			descriptions = append(descriptions, q)
		default:
			queries = append(queries, q)
		}
	}
	return queries, descriptions
}

// previewing is a preview under way.
type previewing struct {
	reading
	stream grpc.ServerStreamingClient[pb.PreviewModelResponse]
}

// untilSchema begins a preview and reads it until the columns are there.
func (w *world) untilSchema(ctx context.Context, query pb.ModelQueryClient, request *pb.PreviewModelRequest) (*previewing, error) {
	stream, err := query.PreviewModel(ctx, request)
	if err != nil {
		return nil, err
	}
	p := &previewing{stream: stream}
	for p.schema == nil {
		message, err := stream.Recv()
		if err != nil {
			return p, err
		}
		p.add(w.t, message)
	}
	return p, nil
}

// rest reads the preview to its end, and returns how it failed.
func (p *previewing) rest(t *testing.T) error {
	for p.stats == nil {
		message, err := p.stream.Recv()
		if err != nil {
			return err
		}
		p.add(t, message)
	}
	return nil
}

func TestTheColumnsOfASlowPreviewComeWhileItsQueryRuns(t *testing.T) {
	t.Parallel()
	w := slow(t)
	for _, format := range formats {
		model := w.model(snowflakeName, plainOrders)
		g := w.gate()
		request := &pb.PreviewModelRequest{Name: model, RowLimit: 2500, Format: format}
		p, err := w.untilSchema(w.ctx, w.query, request)
		w.must(err)
		<-g.waiting
		queries, descriptions := w.statements(model)
		if len(queries) != 1 || queries[0].State != snowflaketest.StateRunning || len(descriptions) != 1 {
			t.Errorf("%s: with the columns there, these ran: %v and %v", format, queries, descriptions)
		}
		if last := p.progress[len(p.progress)-1]; last.GetState() != pb.ReadState_READ_STATE_RUNNING {
			t.Errorf("%s: with the columns there, the progress is %v", format, last)
		}
		close(g.open)
		w.must(p.rest(t))
		if problem := wrongOrders(p.table(t), 2500); problem != "" {
			t.Errorf("%s: %s", format, problem)
		}
		if last := p.progress[len(p.progress)-1]; last.GetState() != pb.ReadState_READ_STATE_FETCHING || last.GetQueryId() != queries[0].ID || p.stats.GetQueryId() != queries[0].ID {
			t.Errorf("%s: the last progress is %v, and the statistics are %v", format, last, p.stats)
		}

		// The result alone tells the same columns.
		w.restart(nil)
		if r := w.mustPreview(request); !proto.Equal(r.schema, p.schema) {
			t.Errorf("%s: the columns are %v instead of %v", format, p.schema, r.schema)
		}
		if _, descriptions := w.statements(model); len(descriptions) != 1 {
			t.Errorf("%s: a query that is no slow one was described, too", format)
		}
		w.restart(describeAtOnce)
	}
}

// A table that changes between its description and its query makes a result that is
// not the one described.
func TestRowsThatDoNotFitTheColumnsSentNeverGoOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  string // of a table of A NUMBER(9,0), B VARCHAR, C NUMBER(9,2)
		columns []string
		code    codes.Code // OK where the rows fit
		reason  pb.ErrorReason
		message string
	}{
		"retyped":               {change: `(B VARCHAR, A VARCHAR, C NUMBER(9,2))`, columns: []string{"A"}, message: `"A" retyped from integer to string`},
		"retyped in Arrow only": {change: `(A NUMBER(38,0), B VARCHAR, C NUMBER(9,2))`, message: `"A" retyped from NUMBER(9,0) to NUMBER(38,0)`},
		"longer":                {change: `(A NUMBER(9,0), B VARCHAR, C NUMBER(10,2))`, message: `"C" retyped from decimal(9,2) to decimal(10,2)`},
		"added":                 {change: `(A NUMBER(9,0), B VARCHAR, C NUMBER(9,2), D DATE)`, message: `"D" added`},
		"removed":               {change: `(A NUMBER(9,0), C NUMBER(9,2))`, message: `"B" removed`},
		"moved":                 {change: `(B VARCHAR, A NUMBER(9,0), C NUMBER(9,2))`, message: `"B" moved`},
		"renamed":               {change: `(A NUMBER(9,0), B2 VARCHAR, C NUMBER(9,2))`, message: `"B2" added, "B" removed`},
		"a wanted one removed": {change: `(A NUMBER(9,0), C NUMBER(9,2))`, columns: []string{"B"},
			code: codes.InvalidArgument, reason: pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND},
		"the same again":       {change: `(A NUMBER(9,0), B VARCHAR, C NUMBER(9,2))`, code: codes.OK},
		"another than is read": {change: `(A NUMBER(9,0), B DATE, D DATE, C NUMBER(9,2))`, columns: []string{"C", "A"}, code: codes.OK},
	} {
		if test.message != "" {
			test.code, test.reason = codes.Unavailable, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := slow(t)
			for _, format := range formats {
				w.must(w.snowflake.Exec(w.ctx, `CREATE OR REPLACE TABLE SHOP.SALES.CHANGING (A NUMBER(9,0), B VARCHAR, C NUMBER(9,2)); INSERT INTO SHOP.SALES.CHANGING (A) VALUES (1)`))
				model := w.model(snowflakeName, `select * from SHOP.SALES.CHANGING CHANGING`)
				request := &pb.PreviewModelRequest{Name: model, Format: format, Columns: test.columns}
				release := w.holdQueries()
				p, err := w.untilSchema(w.ctx, w.query, request)
				w.must(err)
				w.must(w.snowflake.Exec(w.ctx, `CREATE OR REPLACE TABLE SHOP.SALES.CHANGING `+test.change+`; INSERT INTO SHOP.SALES.CHANGING (C) VALUES (2)`))
				release()
				err = p.rest(t)
				if test.code == codes.OK {
					w.must(err)
					if rows := p.table(t); len(rows) != 1 || !slices.Contains(rows[0], "2.00") {
						t.Errorf("%s: the rows are %q", format, rows)
					}
					continue
				}
				facts := wantError(t, err, test.code, test.reason)
				if p.count > 0 {
					t.Errorf("%s: %d rows went out", format, p.count)
				}
				if test.message == "" {
					continue
				}
				if message := status.Convert(err).Message(); !strings.Contains(message, test.message) || facts["query_id"] == "" {
					t.Errorf("%s: the message is %q, the facts are %v", format, message, facts)
				}
				if detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration() <= 0 {
					t.Errorf("%s: nothing tells when to try again", format)
				}
				// The second try relies on no description, whatever made the first one wrong.
				if r := w.mustPreview(request); r.count != 1 {
					t.Errorf("%s: the second try gave %d rows", format, r.count)
				}
				if queries, descriptions := w.statements(model); len(queries) != 2 || len(descriptions) != 1 {
					t.Errorf("%s: %d queries and %d descriptions", format, len(queries), len(descriptions))
				}
			}
		})
	}
}

func TestAnExpectationThatIsNotMetEndsTheQueryThatRuns(t *testing.T) {
	t.Parallel()
	w := slow(t)
	model := w.model(snowflakeName, plainOrders)
	before := w.mustPreview(&pb.PreviewModelRequest{Name: model}).schema.GetFingerprint()
	w.gate() // never opened
	for _, total := range []bool{false, true} {
		p, err := w.untilSchema(w.ctx, w.query, &pb.PreviewModelRequest{Name: model, Columns: []string{"Order Id"}, ExpectedFingerprint: before, IncludeTotalRowCount: total})
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT)
		if len(driftOf(t, err)) == 0 || p.schema != nil {
			t.Errorf("the changes are %q, the columns %v", driftOf(t, err), p.schema)
		}
		w.must(w.snowflake.WaitIdle(t.Context()))
	}
	_, err := w.untilSchema(w.ctx, w.query, &pb.PreviewModelRequest{Name: model, Columns: []string{"No such column"}})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND)
	w.must(w.snowflake.WaitIdle(t.Context()))
	queries, _ := w.statements(model)
	for _, q := range queries[1:] {
		if q.State != snowflaketest.StateAborted {
			t.Errorf("a query ended as %s", q.State)
		}
	}
}

func TestADescriptionThatFailsIsNoFailureOfThePreview(t *testing.T) {
	t.Parallel()
	w := slow(t)
	model := w.model(snowflakeName, plainOrders)
	failed := make(chan struct{})
	w.snowflake.SetFaults(snowflaketest.Faults{
		BeforeCompile: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if q.Tag == "" || !q.DescribeOnly {
				return nil
			}
			close(failed)
			return &snowflaketest.Error{Code: "002003", State: "42S02", Message: sqlMark}
		},
		BeforeRun: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if q.Tag != "" {
				<-failed
			}
			return nil
		},
	})
	r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 2500})
	if problem := wrongOrders(r.table(t), 2500); problem != "" {
		t.Error(problem)
	}
	w.stop()
	w.wantNoSQL()
}

func TestAQueryThatFailsAfterItsColumnsFailsThePreview(t *testing.T) {
	t.Parallel()
	w := slow(t)
	w.must(w.snowflake.Exec(w.ctx, `CREATE TABLE SHOP.SALES.GOING (A NUMBER(9,0))`))
	release := w.holdQueries()
	p, err := w.untilSchema(w.ctx, w.query, &pb.PreviewModelRequest{Name: w.model(snowflakeName, `select * from SHOP.SALES.GOING GOING`)})
	w.must(err)
	w.must(w.snowflake.Exec(w.ctx, `DROP TABLE SHOP.SALES.GOING`))
	release()
	wantError(t, p.rest(t), codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION)
}

// The query answers while its description is under way, which nobody needs then: not
// even while the rows still come.
func TestADescriptionEndsWhenTheQueryAnswers(t *testing.T) {
	t.Parallel()
	w := slow(t)
	model := w.model(snowflakeName, plainOrders)
	asked, ended := make(chan struct{}), make(chan struct{})
	w.snowflake.SetFaults(snowflaketest.Faults{
		BeforeCompile: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if q.Tag != "" && q.DescribeOnly {
				close(asked)
				<-ctx.Done()
				close(ended)
			}
			return nil
		},
		BeforeRun: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if q.Tag != "" {
				<-asked
			}
			return nil
		},
		Chunk: func(string, int, int) snowflaketest.ChunkFault {
			<-ended
			return snowflaketest.ChunkFault{}
		},
	})
	r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 2500})
	if problem := wrongOrders(r.table(t), 2500); problem != "" {
		t.Error(problem)
	}
	w.must(w.snowflake.WaitIdle(t.Context()))
	if _, descriptions := w.statements(model); len(descriptions) != 1 || descriptions[0].State != snowflaketest.StateAborted {
		t.Errorf("the descriptions are %v", descriptions)
	}
}

func TestWhoLeavesAPreviewThatIsDescribedLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for _, during := range []string{"the description", "the query"} {
		for _, way := range []string{"cancels", "vanishes"} {
			t.Run("during "+during+" the caller "+way, func(t *testing.T) {
				t.Parallel()
				w := slow(t)
				model := w.model(snowflakeName, plainOrders)
				there := make(chan struct{}, 2)
				w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
					if q.Tag != "" && (!q.DescribeOnly || during == "the description") {
						there <- struct{}{}
						<-ctx.Done()
					}
					return nil
				}})
				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				conn := w.dial(nil)
				ended := make(chan error, 1)
				ready := make(chan struct{})
				go func() {
					p, err := w.untilSchema(ctx, pb.NewModelQueryClient(conn), &pb.PreviewModelRequest{Name: model})
					close(ready)
					if err == nil {
						err = p.rest(t)
					}
					ended <- err
				}()
				<-there
				if during == "the description" {
					<-there
				} else {
					<-ready
				}
				if way == "cancels" {
					cancel()
				} else {
					w.must(conn.Close())
				}
				w.wantIdleSoon()
				if err := <-ended; status.Code(err) != codes.Canceled {
					t.Errorf("the stream ended with %v", err)
				}
				w.close(ignoreClosed(conn.Close()))
				w.stop()
				queries, descriptions := w.statements(model)
				if len(queries) != 1 || queries[0].State != snowflaketest.StateAborted || len(descriptions) != 1 ||
					(descriptions[0].State == snowflaketest.StateAborted) != (during == "the description") {
					t.Errorf("these ran: %v and %v", queries, descriptions)
				}
			})
		}
	}
}

func TestPreviewsThatShareAQueryShareItsDescription(t *testing.T) {
	t.Parallel()
	w := slow(t)
	model := w.model(snowflakeName, plainOrders)
	g := w.gate()
	readers := make([]*previewing, 8)
	var group errgroup.Group
	for i := range readers {
		group.Go(func() (err error) {
			readers[i], err = w.untilSchema(w.ctx, w.query, &pb.PreviewModelRequest{Name: model, RowLimit: 2500, Format: formats[i%2]})
			return err
		})
	}
	w.must(group.Wait()) // all have the columns, and no row is there
	close(g.open)
	for _, p := range readers {
		group.Go(func() error { return p.rest(t) })
	}
	w.must(group.Wait())
	for _, p := range readers {
		if problem := wrongOrders(p.table(t), 2500); problem != "" {
			t.Error(problem)
		}
	}
	if queries, descriptions := w.statements(model); len(queries) != 1 || len(descriptions) != 1 {
		t.Errorf("%d queries and %d descriptions for %d previews", len(queries), len(descriptions), len(readers))
	}
}
