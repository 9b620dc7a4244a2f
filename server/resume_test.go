package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/spool/spooltest"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// replica starts a second server over the same store and spool, configured as the first.
func (w *world) replica(options ...grpc.DialOption) pb.ModelQueryClient {
	w.t.Helper()
	kept := w.openStore()
	results, err := spool.Open(w.ctx, w.spoolDir)
	w.must(err)
	hosts, err := sigmaclient.NewHosts(w.sigma.Host(), fmt.Sprintf("%s:%d", w.snowflake.Host(), w.snowflake.Port()))
	w.must(err)
	config := server.Config{Store: kept, Callers: w.callers, Hosts: hosts, DuckDBDir: w.duckdbDir, Spool: results,
		Logger: slog.New(slog.NewJSONHandler(w.logs, nil))}
	if w.adjust != nil {
		w.adjust(&config)
	}
	s, err := server.New(w.ctx, config)
	w.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	first := w.address
	w.address = listener.Addr().String()
	conn := w.dial(nil, options...)
	w.address = first
	w.t.Cleanup(func() {
		w.close(conn.Close())
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		w.close(s.Shutdown(ctx))
		w.close(<-served)
		w.close(results.Close())
		w.close(kept.Close())
	})
	return pb.NewModelQueryClient(conn)
}

// readSome reads a stream from an offset on and leaves after a number of messages
// with rows. It returns the offset to go on at, and whether the end was reached.
func readSome(ctx context.Context, query pb.ModelQueryClient, name string, offset int64, messages int, seen func(row string)) (int64, bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := query.ReadRows(ctx, &pb.ReadRowsRequest{Name: name, Offset: offset})
	if err != nil {
		return offset, false, err
	}
	for messages > 0 {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return offset, true, nil
		}
		if err != nil {
			return offset, false, err
		}
		rows := m.GetRows().GetRows()
		if len(rows) == 0 {
			continue
		}
		if m.GetOffset() != offset {
			return offset, false, fmt.Errorf("rows begin at %d instead of %d", m.GetOffset(), offset)
		}
		for _, row := range rows {
			seen(cellOf(row.GetValues()[0]))
		}
		offset += int64(len(rows))
		messages--
	}
	return offset, false, nil
}

// TestAReaderThatIsKilledGoesOnAtItsOffset kills readers at 200 random points and
// resumes them, each time at one of two replicas. Every row comes once, in order.
func TestAReaderThatIsKilledGoesOnAtItsOffset(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := shop(t, inParts)
	replicas := []pb.ModelQueryClient{w.query, w.replica()}
	// Wide rows, so that there are messages enough to die between.
	wide := w.model(duckdbName, `select i "Order Id", repeat('x', 5000 + (i % 7) * 100) "Note" from range(8000) t(i) order by i limit 1000`)
	var kills sync.Map
	var readers errgroup.Group
	for n, model := range []string{wide, wide, w.model(snowflakeName, `select ORDER_ID "Order Id", STATUS "Status" from SHOP.SALES.ORDERS order by ORDER_ID limit 1000`)} {
		session := w.session(&pb.CreateReadSessionRequest{Name: model})
		name := session.GetStreams()[0].GetName()
		want := []int{8_000, 8_000, 20_000}[n]
		readers.Go(func() error {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for deaths := 0; deaths < fewerIfRaced(70); {
				next := 0
				var offset int64
				for done := false; !done; {
					var err error
					var bad string
					offset, done, err = readSome(w.ctx, replicas[random.IntN(2)], name, offset, 1+random.IntN(6), func(row string) {
						if row != fmt.Sprint(next) && bad == "" {
							bad = fmt.Sprintf("session %d: row %d is %s", n, next, row)
						}
						next++
					})
					if err != nil {
						return fmt.Errorf("session %d at %d: %w", n, offset, err)
					}
					if bad != "" {
						return errors.New(bad)
					}
					if !done {
						deaths++
					}
				}
				if next != want {
					return fmt.Errorf("session %d gave %d rows of %d", n, next, want)
				}
				kills.Store(n, deaths)
			}
			return nil
		})
	}
	w.must(readers.Wait())
	total := 0
	kills.Range(func(_, n any) bool { total += n.(int); return true })
	if total < fewerIfRaced(200) {
		t.Errorf("only %d readers were killed", total)
	}
}

// TestAStreamMayBeReadTwiceAtOnce reads the streams of a session while it is made,
// at both replicas and by several callers each.
func TestAStreamMayBeReadTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	replicas := []pb.ModelQueryClient{w.query, w.replica()}
	const rows = 50_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(rows), MaxStreamCount: 2})
	var readers errgroup.Group
	for n := range 4 {
		readers.Go(func() error {
			seen := map[string]bool{}
			for _, stream := range session.GetStreams() {
				again := false
				_, done, err := readSome(w.ctx, replicas[n%2], stream.GetName(), 0, 1<<30, func(row string) { again = again || seen[row]; seen[row] = true })
				if err != nil || !done || again {
					return fmt.Errorf("reader %d: %v, at the end %v, a row came twice %v", n, err, done, again)
				}
			}
			if len(seen) != rows {
				return fmt.Errorf("reader %d: %d rows", n, len(seen))
			}
			return nil
		})
	}
	w.must(readers.Wait())
}

// TestRandomOffsets reads at any offset: from it to the end, or the right error.
func TestRandomOffsets(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := shop(t, inParts)
	const rows = 20_000
	for _, connection := range []string{snowflakeName, duckdbName} {
		session := w.session(&pb.CreateReadSessionRequest{Name: w.model(connection, plainOrders), Format: formats[random.IntN(2)]})
		name := session.GetStreams()[0].GetName()
		for range 25 {
			offset := random.Int64N(rows * 5 / 4)
			r, err := w.readStream(w.ctx, name, offset)
			if offset > rows {
				wantError(t, err, codes.OutOfRange, pb.ErrorReason_ERROR_REASON_OFFSET_OUT_OF_RANGE)
				continue
			}
			w.must(err)
			wantInOrder(t, r.table(t), int(offset), rows)
		}
	}
}

// A spool whose disk fills up half way fails the session with the reason, at every
// reader and replica, and leaves nothing behind.
func TestASpoolThatFillsUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		code   codes.Code
		reason pb.ErrorReason
	}{
		"full":   {&fs.PathError{Op: "write", Path: "CANARY-folder", Err: syscall.ENOSPC}, codes.ResourceExhausted, pb.ErrorReason_ERROR_REASON_SPOOL_FULL},
		"broken": {errors.New("CANARY-folder: I/O error"), codes.Unavailable, pb.ErrorReason_ERROR_REASON_SPOOL_UNAVAILABLE},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, inParts)
			disk := &spooltest.Disk{Room: 3 << 20, Err: test.err}
			w.restart(func(c *server.Config) {
				w.must(c.Spool.Close())
				w.spool = spool.New(disk.Bucket())
				c.Spool = w.spool
			})
			session := w.session(&pb.CreateReadSessionRequest{Name: w.model(duckdbName, `select i "Order Id", hash(i) "A", hash(i+1) "B", hash(i+2) "C" from range(1000000) t(i) limit 1000`)})
			for range 2 { // while it fails, and later
				_, err := w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
				wantError(t, err, test.code, test.reason)
			}
			state, err := w.query.GetReadSession(w.ctx, &pb.GetReadSessionRequest{Name: session.GetName()})
			w.must(err)
			if s := state.GetSession(); s.GetState() != pb.ReadSessionState_READ_SESSION_STATE_FAILED || s.GetProblem().GetReason() != test.reason {
				t.Errorf("the session is %v", s)
			}
			if left := disk.Blobs(); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

// files are the files in a folder.
func files(t *testing.T, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, strings.TrimPrefix(path, folder))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What the spool holds of a session opens for nobody who has not the store, and is
// gone when the session is.
func TestTheSpoolIsSealedAndEmptied(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(duckdbName, `select i "Order Id", 'the secret of a customer' "Note" from range(100000) t(i) limit 1000`)})
	w.readSession(session)
	kept := files(t, w.spoolDir)
	if len(kept) == 0 {
		t.Fatal("nothing was kept")
	}
	for _, name := range kept {
		content, err := os.ReadFile(filepath.Join(w.spoolDir, name))
		w.must(err)
		if bytes.Contains(content, []byte("secret of")) {
			t.Errorf("%s can be read by whoever finds it", name)
		}
	}
	_, err := w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: session.GetName()})
	w.must(err)
	if left := files(t, w.spoolDir); len(left) > 0 {
		t.Errorf("a deleted session left %q", left)
	}
}

// A part that was changed is an error, not other rows.
func TestADamagedSpoolIsAnError(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.manyOrders(fewerIfRaced(100_000))})
	w.readSession(session)
	kept := files(t, w.spoolDir)
	path := filepath.Join(w.spoolDir, kept[len(kept)-1])
	content, err := os.ReadFile(path)
	w.must(err)
	for name, damaged := range map[string][]byte{
		"a bit":       append(append(bytes.Clone(content[:len(content)/2]), content[len(content)/2]^1), content[len(content)/2+1:]...),
		"cut":         content[:len(content)/2],
		"cut cleanly": content[:len(content)-1],
		"empty":       {},
	} {
		w.must(os.WriteFile(path, damaged, 0o600))
		_, err := w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
		if err == nil {
			t.Errorf("%s: it was not noticed", name)
			continue
		}
		wantError(t, err, codes.DataLoss, pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE)
	}
	w.must(os.Remove(path))
	_, err = w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
	wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST)
}

// A chunk of Snowflake that fails half way is fetched again; one that keeps failing
// is an error.
func TestAChunkThatFailsInASession(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	session := w.session(&pb.CreateReadSessionRequest{Name: w.model(snowflakeName, plainOrders), Format: pb.DataFormat_DATA_FORMAT_ARROW})
	name := session.GetStreams()[0].GetName()
	w.snowflake.SetFaults(cutChunks(func(attempt int) bool { return attempt%3 != 0 }))
	for range 3 {
		reader, err := client.Read(w.ctx, w.conn, name, client.Options{})
		w.must(err)
		for reader.Next() {
		}
		w.must(reader.Err())
		if reader.Offset() != 20_000 {
			t.Errorf("%d rows", reader.Offset())
		}
		reader.Release()
	}
	w.snowflake.SetFaults(cutChunks(func(int) bool { return true }))
	_, err := w.readStream(w.ctx, name, 0)
	wantError(t, err, codes.DataLoss, pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE)
}

// cutChunks cuts downloads in the middle, as often as fails says so.
func cutChunks(fails func(attempt int) bool) snowflaketest.Faults {
	return snowflaketest.Faults{Chunk: func(_ string, _, attempt int) snowflaketest.ChunkFault {
		if !fails(attempt) {
			return snowflaketest.ChunkFault{}
		}
		return snowflaketest.ChunkFault{Do: snowflaketest.Truncate, At: snowflaketest.BatchBoundary}
	}}
}
