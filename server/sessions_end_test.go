package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/store"
)

// alter changes what the store has of a session, behind the back of the servers.
func (w *world) alter(name string, change func(*pb.ReadSession)) {
	w.t.Helper()
	kept, err := w.store.Session(w.ctx, name)
	w.must(err)
	change(kept.Resource)
	data, err := proto.Marshal(kept.Resource)
	w.must(err)
	w.execStore(`UPDATE sessions SET state = ?, expire_time = ?, resource = ? WHERE name = ?`,
		kept.Resource.GetState(), kept.Resource.GetExpireTime().AsTime().UnixMilli(), data, name)
}

// expire brings a session to where it is once it has expired.
func (w *world) expire(name string) {
	w.t.Helper()
	w.alter(name, func(s *pb.ReadSession) { s.ExpireTime = timestamppb.New(time.Now().Add(-time.Millisecond)) })
}

// kill brings a session that is complete to where a server leaves it that is killed
// half way, once this is long ago: some parts are there, and nobody looks after it. It
// returns the numbers of the rows that are there, by stream.
func (w *world) kill(session *pb.ReadSession, left int) (rows []int64) {
	w.t.Helper()
	w.alter(session.GetName(), func(s *pb.ReadSession) {
		s.State, s.RowCount = pb.ReadSessionState_READ_SESSION_STATE_RUNNING, nil
	})
	w.execStore(`DELETE FROM session_parts WHERE session = ? AND part >= ?`, session.GetName(), left)
	w.lapse(session)
	parts, err := w.store.SessionParts(w.ctx, session.GetName(), 0)
	w.must(err)
	rows = make([]int64, len(session.GetStreams()))
	for i, part := range parts {
		rows[i%len(rows)] += part.Rows
	}
	return rows
}

func (w *world) lapse(session *pb.ReadSession) {
	w.t.Helper()
	w.execStore(`UPDATE sessions SET lease_time = 1 WHERE name = ?`, session.GetName())
}

// wideOrders is a model of so many rows of some kilobytes each, in order: they fill
// more parts than there are messages on the way.
func (w *world) wideOrders(rows int) string {
	return w.model(duckdbName, fmt.Sprintf(`select i "Order Id", repeat('x', 5000 + (i %% 7) * 100) "Note" from range(%d) t(i) order by i limit 1000`, rows))
}

// complete creates a session and reads it to its end.
func (w *world) complete(request *pb.CreateReadSessionRequest) *pb.ReadSession {
	w.t.Helper()
	session := w.session(request)
	for _, stream := range session.GetStreams() {
		_, err := w.readStream(w.ctx, stream.GetName(), 0)
		w.must(err)
	}
	return session
}

// TestASessionThatExpiresIsSwept leaves readers in mid-way with the reason, and nothing
// behind.
func TestASessionThatExpiresIsSwept(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	// More than a stream reads ahead and a window that does not grow takes: the readers
	// are in mid-way.
	const rows = 5_000
	small := grpc.WithStaticStreamWindowSize(64 << 10)
	conn := w.dial(nil, small)
	defer func() { w.close(conn.Close()) }()
	replicas := []pb.ModelQueryClient{pb.NewModelQueryClient(conn), w.replica(small)}
	lives := w.complete(&pb.CreateReadSessionRequest{Name: w.manyOrders(10)})
	keeps := files(t, w.spoolDir)
	session := w.complete(&pb.CreateReadSessionRequest{Name: w.wideOrders(rows)})
	name := session.GetStreams()[0].GetName()
	if n := len(files(t, w.spoolDir)) - len(keeps); n < 4 {
		t.Fatalf("the session has %d parts", n)
	}

	var readers []func() (int, error)
	for _, replica := range replicas {
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		stream, err := replica.ReadRows(ctx, &pb.ReadRowsRequest{Name: name})
		w.must(err)
		next := 0
		receive := func() error {
			m, err := stream.Recv()
			for _, row := range m.GetRows().GetRows() {
				if got := cellOf(row.GetValues()[0]); got != fmt.Sprint(next) {
					t.Fatalf("row %d is %s", next, got)
				}
				next++
			}
			return err
		}
		for next == 0 {
			w.must(receive())
		}
		readers = append(readers, func() (int, error) {
			for {
				if err := receive(); err != nil {
					return next, err
				}
			}
		})
	}
	w.must(w.server.Sweep(w.ctx, time.Now()))
	if n := len(files(t, w.spoolDir)) - len(keeps); n < 4 {
		t.Errorf("of a session that lives, %d parts are left", n)
	}
	w.expire(session.GetName())
	w.must(w.server.Sweep(w.ctx, time.Now()))
	if left := files(t, w.spoolDir); !slices.Equal(left, keeps) {
		t.Errorf("there are %q, and %q are to be kept", left, keeps)
	}
	for i, read := range readers {
		n, err := read()
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED)
		if n == 0 || n >= rows {
			t.Errorf("reader %d had %d rows", i, n)
		}
	}
	for _, replica := range replicas {
		_, err := w.readStreamAt(w.ctx, replica, name, 0)
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED)
		_, err = replica.GetReadSession(w.ctx, &pb.GetReadSessionRequest{Name: session.GetName()})
		wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED)
	}
	wantInOrder(t, w.readSession(lives), 0, 10)

	// It is known to have expired for a day.
	w.must(w.server.Sweep(w.ctx, time.Now().Add(23*time.Hour)))
	_, err := w.readStream(w.ctx, name, 0)
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED)
	w.must(w.server.Sweep(w.ctx, time.Now().Add(25*time.Hour)))
	_, err = w.readStream(w.ctx, name, 0)
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	if _, err := w.store.Session(w.ctx, session.GetName()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the store still has it: %v", err)
	}
	if left := files(t, w.spoolDir); len(left) > 0 {
		t.Errorf("there are still %q", left)
	}
}

// endless is a model whose query does not end by itself in any test's time.
const endless = `select i "Order Id", hash(i) "A" from range(1000000000000) t(i) limit 1000`

// TestAQueryEndsWithItsSession does not fill the spool for a session that has expired.
// The shortest that a session can live is a second.
func TestAQueryEndsWithItsSession(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(duckdbName, endless), Ttl: durationpb.New(time.Second)})
	_, err := w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		kept, err := w.store.Session(w.ctx, session.GetName())
		w.must(err)
		if kept.Resource.GetState() != pb.ReadSessionState_READ_SESSION_STATE_FAILED {
			continue
		}
		if reason := kept.Resource.GetProblem().GetReason(); reason != pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED {
			t.Errorf("it failed with %s", reason)
		}
		break
	}
	w.stop() // the end of a query removes what it has written
	if left := files(t, w.spoolDir); len(left) > 0 {
		t.Errorf("there are still %q", left)
	}
}

// TestASessionWhoseServerIsKilledIsLost gives the rows that are there, and then the
// reason, at each other server.
func TestASessionWhoseServerIsKilledIsLost(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	const rows = 1_000
	replicas := []pb.ModelQueryClient{w.query, w.replica()}
	model := w.wideOrders(rows)
	for _, format := range formats {
		for _, streams := range []int32{1, 2}[:max(1, fewerIfRaced(2))] {
			session := w.complete(&pb.CreateReadSessionRequest{Name: model, Format: format, MaxStreamCount: streams})
			parts := len(files(t, w.spoolDir+"/"+session.GetName()[len(duckdbName+"/sessions/"):]))
			for _, left := range []int{parts - 1, 0} {
				there := w.kill(session, left)
				for i, stream := range session.GetStreams() {
					for _, replica := range replicas {
						for _, offset := range []int64{0, there[i] / 2, there[i], there[i] + 1, rows} {
							r, err := w.readStreamAt(w.ctx, replica, stream.GetName(), offset)
							facts := wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
							if got := int64(len(r.table(t))); got != max(0, there[i]-offset) {
								t.Errorf("%s, stream %d of %d, from %d: %d rows of %d, %v", format, i, streams, offset, got, there[i], facts)
							}
						}
					}
				}
			}
		}
	}
}

// TestAReaderWaitsAsLongAsTheLeaseLasts waits for a server that may yet go on, and no
// longer.
func TestAReaderWaitsAsLongAsTheLeaseLasts(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	elsewhere := w.replica()
	model := w.wideOrders(1_000)
	for name, test := range map[string]struct {
		end    func(session *pb.ReadSession)
		code   codes.Code
		reason pb.ErrorReason
	}{
		"the lease ends":      {w.lapse, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST},
		"the session expires": {func(s *pb.ReadSession) { w.expire(s.GetName()) }, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED},
		"it is deleted": {func(s *pb.ReadSession) {
			_, err := w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: s.GetName()})
			w.must(err)
		}, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND},
	} {
		session := w.complete(&pb.CreateReadSessionRequest{Name: model})
		there := w.kill(session, 2)[0]
		w.must(w.store.ExtendSession(w.ctx, session.GetName(), 2, nil, time.Hour))
		stream, err := elsewhere.ReadRows(w.ctx, &pb.ReadRowsRequest{Name: session.GetStreams()[0].GetName()})
		w.must(err)
		for next := int64(0); next < there; {
			m, err := stream.Recv()
			w.must(err)
			next += m.GetRows().GetRowCount()
		}
		test.end(session)
		m, err := stream.Recv()
		for err == nil && m.GetProgress() != nil {
			m, err = stream.Recv()
		}
		if err == nil {
			t.Fatalf("%s: %v came", name, m)
		}
		wantError(t, err, test.code, test.reason)
	}
}

// TestASessionWhoseServerStopsIsLost stops the server that reads a result, as an
// operator does.
func TestASessionWhoseServerStopsIsLost(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	elsewhere := w.replica()
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(duckdbName, endless)})
	name := session.GetStreams()[0].GetName()
	stream, err := elsewhere.ReadRows(w.ctx, &pb.ReadRowsRequest{Name: name})
	w.must(err)
	next := 0
	for stopped := false; err == nil; {
		var m *pb.ReadRowsResponse
		m, err = stream.Recv()
		for _, row := range m.GetRows().GetRows() {
			if got := cellOf(row.GetValues()[0]); got != fmt.Sprint(next) {
				t.Fatalf("row %d is %s", next, got)
			}
			next++
		}
		if next > 0 && !stopped {
			w.stop()
			stopped = true
		}
	}
	wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
	if _, err := w.readStreamAt(w.ctx, elsewhere, name, 0); err == nil {
		t.Error("it is read to an end")
	} else {
		wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
	}
	state, err := elsewhere.GetReadSession(w.ctx, &pb.GetReadSessionRequest{Name: session.GetName()})
	w.must(err)
	if s := state.GetSession(); s.GetState() != pb.ReadSessionState_READ_SESSION_STATE_FAILED || s.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_SESSION_LOST {
		t.Errorf("the session is %v", s)
	}
	if left := files(t, w.spoolDir); len(left) > 0 {
		t.Errorf("there are still %q", left)
	}
}

// TestTheGoReaderFailsWithALostSession tells the reason, and does not try again.
func TestTheGoReaderFailsWithALostSession(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	model := w.wideOrders(1_000)
	for _, format := range formats {
		session := w.complete(&pb.CreateReadSessionRequest{Name: model, Format: format})
		there, name := w.kill(session, 2)[0], session.GetStreams()[0].GetName()
		var got int64
		var err error
		if format == pb.DataFormat_DATA_FORMAT_ROWS {
			rows, openErr := client.ReadRows(w.ctx, w.conn, name, client.Options{})
			w.must(openErr)
			for rows.Next() {
			}
			got, err = rows.Offset(), rows.Err()
			rows.Close()
		} else {
			batches, openErr := client.Read(w.ctx, w.conn, name, client.Options{})
			w.must(openErr)
			for batches.Next() {
			}
			got, err = batches.Offset(), batches.Err()
			batches.Release()
		}
		wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
		if got != there {
			t.Errorf("%s: %d rows came of %d that are there", format, got, there)
		}
	}
}
