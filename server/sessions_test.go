package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
)

// session creates a read session.
func (w *world) session(request *pb.CreateReadSessionRequest) *pb.ReadSession {
	w.t.Helper()
	created, err := w.query.CreateReadSession(w.ctx, request)
	w.must(err)
	return created.GetSession()
}

// queriesOfModels is how many statements Snowflake got that are about a model, and not about the session.
func (w *world) queriesOfModels() (n int) {
	for _, q := range w.snowflake.Queries() {
		if q.Tag != "" {
			n++
		}
	}
	return n
}

// readStream reads a stream from an offset to its end. What came before an error is
// returned with it. The order of the messages, their offsets and counts are held to
// the contract in every test.
func (w *world) readStream(ctx context.Context, name string, offset int64) (*reading, error) {
	w.t.Helper()
	return w.readStreamAt(ctx, w.query, name, offset)
}

func (w *world) readStreamAt(ctx context.Context, query pb.ModelQueryClient, name string, offset int64) (*reading, error) {
	w.t.Helper()
	stream, err := query.ReadRows(ctx, &pb.ReadRowsRequest{Name: name, Offset: offset})
	if err != nil {
		return nil, err
	}
	r := &reading{}
	next := offset
	var stats *pb.StreamStatistics
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if stats == nil {
				w.t.Error("the stream ended well and without statistics")
			}
			return r, nil
		}
		if err != nil {
			if stats != nil {
				w.t.Errorf("an error after the statistics: %v", err)
			}
			return r, err
		}
		as := &pb.PreviewModelResponse{}
		switch m := message.GetMessage().(type) {
		case *pb.ReadRowsResponse_Progress:
			as.Message = &pb.PreviewModelResponse_Progress{Progress: m.Progress}
		case *pb.ReadRowsResponse_Schema:
			as.Message = &pb.PreviewModelResponse_Schema{Schema: m.Schema}
		case *pb.ReadRowsResponse_Rows:
			as.Message = &pb.PreviewModelResponse_Rows{Rows: m.Rows}
		case *pb.ReadRowsResponse_Arrow:
			as.Message = &pb.PreviewModelResponse_Arrow{Arrow: m.Arrow}
		case *pb.ReadRowsResponse_Statistics:
			stats = m.Statistics
			if stats.GetRowCount() != r.count || stats.GetDeclaredRowCount() != r.count || stats.GetStreamRowCount() != next || message.GetOffset() != next {
				w.t.Errorf("%d rows came up to %d, and the statistics say %v", r.count, next, stats)
			}
			r.stats = &pb.Statistics{RowCount: stats.GetSessionRowCount()}
			continue
		}
		if rows := as.GetRows().GetRowCount() + as.GetArrow().GetRowCount(); rows > 0 {
			if message.GetOffset() != next {
				w.t.Errorf("rows begin at %d instead of %d", message.GetOffset(), next)
			}
			next += rows
		}
		r.add(w.t, as)
	}
}

// readSession reads all streams of a session, one after the other.
func (w *world) readSession(session *pb.ReadSession) [][]string {
	w.t.Helper()
	var rows [][]string
	for _, stream := range session.GetStreams() {
		r, err := w.readStream(w.ctx, stream.GetName(), 0)
		w.must(err)
		rows = append(rows, r.table(w.t)...)
		if want := r.stats.GetRowCount(); stream == session.GetStreams()[len(session.GetStreams())-1] && want != int64(len(rows)) {
			w.t.Errorf("%d rows of %d in all streams", len(rows), want)
		}
	}
	return rows
}

// manyOrders is a model of so many rows, in order.
func (w *world) manyOrders(rows int) string {
	return w.model(duckdbName, fmt.Sprintf(`select i "Order Id", 'customer ' || (i %% 1000) "Customer", i %% 3 = 0 "Paid", (i*1.99)::decimal(12,2) "Amount", case when i %% 4 = 0 then null else repeat('x', (i %% 50)::int) end "Note" from range(%d) t(i) order by i limit 1000`, rows))
}

func wantInOrder(t *testing.T, rows [][]string, from, to int) {
	t.Helper()
	if len(rows) != to-from {
		t.Fatalf("%d rows instead of %d", len(rows), to-from)
	}
	for i, row := range rows {
		if row[0] != fmt.Sprint(from+i) {
			t.Fatalf("row %d is %q", from+i, row)
		}
	}
}

func TestASessionGivesTheWholeResult(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	rows := fewerIfRaced(50_000)
	model := w.manyOrders(rows)
	for _, format := range formats {
		for _, compression := range []pb.ArrowCompression{0, 1, 2} {
			if compression != 0 && format != pb.DataFormat_DATA_FORMAT_ARROW {
				continue
			}
			for _, streams := range []int32{0, 3, 64} {
				t.Run(fmt.Sprint(format, compression, streams), func(t *testing.T) {
					session := w.session(&pb.CreateReadSessionRequest{Name: model, Format: format, ArrowCompression: compression, MaxStreamCount: streams})
					if n := len(session.GetStreams()); n != max(1, int(streams)) {
						t.Errorf("%d streams", n)
					}
					// DuckDB guesses the number before the query ends: here, right.
					if n := session.GetEstimatedRowCount(); n > int64(rows) || n <= int64(rows)-64 || session.GetEstimatedByteCount() < n {
						t.Errorf("%d rows and %d bytes are expected", n, session.GetEstimatedByteCount())
					}
					for range 2 { // while it is made, perhaps, and then again
						got := w.readSession(session)
						if streams > 1 {
							slices.SortFunc(got, func(a, b []string) int {
								if d := len(a[0]) - len(b[0]); d != 0 {
									return d
								}
								return strings.Compare(a[0], b[0])
							})
						}
						wantInOrder(t, got, 0, rows)
					}
					state, err := w.query.GetReadSession(w.ctx, &pb.GetReadSessionRequest{Name: session.GetName()})
					w.must(err)
					if s := state.GetSession(); s.GetState() != pb.ReadSessionState_READ_SESSION_STATE_COMPLETE || s.GetRowCount() != int64(rows) {
						t.Errorf("the session is %v", s)
					}
				})
			}
		}
	}
}

func TestTheGoReaderGivesTheWholeResult(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	const rows = 50_000
	for _, compression := range []pb.ArrowCompression{0, 1, 2} {
		session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW, ArrowCompression: compression})
		for _, offset := range []int64{0, 1, 777, 20_000, rows - 1, rows} {
			reader, err := client.Read(w.ctx, w.conn, session.GetStreams()[0].GetName(), client.Options{Offset: offset})
			w.must(err)
			next := offset
			for reader.Next() {
				batch := reader.RecordBatch()
				for i := range int(batch.NumRows()) {
					if got := batch.Column(0).ValueStr(i); got != fmt.Sprint(next) {
						t.Fatalf("row %d is %s", next, got)
					}
					next++
				}
			}
			w.must(reader.Err())
			if next != rows || reader.Offset() != rows || reader.Statistics().GetRowCount() != rows-offset {
				t.Errorf("from %d: the reader stands at %d, the rows at %d: %v", offset, reader.Offset(), next, reader.Statistics())
			}
			reader.Release()
		}
	}
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	const rows = 30_000
	for _, format := range formats {
		session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(rows), Format: format})
		stream := session.GetStreams()[0].GetName()
		offsets := []int64{2048, 0, 1, 2047, 2049, 15_000, rows - 1, rows}
		for _, offset := range offsets[:max(1, fewerIfRaced(len(offsets)))] {
			r, err := w.readStream(w.ctx, stream, offset)
			w.must(err)
			wantInOrder(t, r.table(t), int(offset), rows)
		}
		for _, offset := range []int64{rows + 1, 1 << 62} {
			_, err := w.readStream(w.ctx, stream, offset)
			facts := wantError(t, err, codes.OutOfRange, pb.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE)
			if facts["end"] != fmt.Sprint(rows) {
				t.Errorf("the end is %v", facts)
			}
		}
		_, err := w.readStream(w.ctx, stream, -1)
		wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	}
}

// everyType is a model with a column of each kind, the same in both warehouses.
const sessionTypes = `select ORDER_ID "Order Id", STATUS "Status", AMOUNT "Amount", ORDERED_AT "Ordered At", ORDERED_AT::date "Day", ORDER_ID > 5 "Late", AMOUNT::float "Weight", CUSTOMER_ID "Customer" from SHOP.SALES.ORDERS order by ORDER_ID limit 1000`

func TestBothWarehousesGiveTheSameSession(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	for _, format := range formats {
		var rows [2][][]string
		for i, connection := range []string{snowflakeName, duckdbName} {
			session := w.session(&pb.CreateReadSessionRequest{Name: w.model(connection, sessionTypes), Format: format})
			rows[i] = w.readSession(session)
			wantInOrder(t, rows[i], 0, 20_000)
		}
		for i := range rows[0] {
			if !slices.Equal(rows[0][i], rows[1][i]) {
				t.Fatalf("row %d is %q in one and %q in the other", i, rows[0][i], rows[1][i])
			}
		}
	}
}

func TestASessionOfSnowflakeRunsOneQuery(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	before := w.queriesOfModels()
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(snowflakeName, plainOrders), MaxStreamCount: 4, Columns: []string{"Order Id"}})
	if session.GetRowCount() != 20_000 || session.GetState() != pb.ReadSessionState_READ_SESSION_STATE_COMPLETE {
		t.Errorf("the session is %v", session)
	}
	read := func() {
		t.Helper()
		seen := map[string]bool{}
		for _, row := range w.readSession(session) {
			if len(row) != 1 || seen[row[0]] {
				t.Fatalf("%q came again", row)
			}
			seen[row[0]] = true
		}
		if len(seen) != 20_000 {
			t.Errorf("%d different rows", len(seen))
		}
	}
	read()
	w.snowflake.ExpireChunkURLs()
	read()
	w.restart(nil) // as another replica: it has the store only
	read()
	if n := w.queriesOfModels() - before; n != 1 {
		t.Errorf("%d queries ran", n)
	}
	w.must(w.snowflake.ExpireResults())
	w.restart(nil)
	_, err := w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
	wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
}

func TestAnEmptySession(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(0), MaxStreamCount: 2})
	if rows := w.readSession(session); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestSessionsThatAreNotThere(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(10)})
	stream := session.GetStreams()[0].GetName()
	for _, name := range []string{
		strings.Replace(stream, session.GetName(), duckdbName+"/sessions/0190", 1),
		strings.TrimSuffix(stream, "0") + "1",
		strings.Replace(stream, duckdbName, snowflakeName, 1), // of another connection
	} {
		_, err := w.readStream(w.ctx, name, 0)
		wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	_, err := w.readStream(w.others, stream, 0)
	wantError(t, err, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN)
	_, err = w.readStream(w.others, strings.Replace(stream, "acme", "globex", 1), 0)
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)

	for range 2 {
		_, err = w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: session.GetName()})
		w.must(err)
	}
	_, err = w.readStream(w.ctx, stream, 0)
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}
