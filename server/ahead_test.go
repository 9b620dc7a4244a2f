package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/spool/spooltest"
)

// onDisk starts the server anew with its spool on a disk: as another replica, which
// has nothing of a session in memory.
func (w *world) onDisk(disk *spooltest.Disk, adjust func(*server.Config)) {
	w.t.Helper()
	w.restart(func(c *server.Config) {
		w.must(c.Spool.Close())
		w.spool = spool.New(disk.Bucket())
		c.Spool = w.spool
		if adjust != nil {
			adjust(c)
		}
	})
}

// heavyOrders is a model of so many rows of a KiB, in order.
func (w *world) heavyOrders(rows int) string {
	return w.model(duckdbName, fmt.Sprintf(`select i "Order Id", repeat('x', 1000) "Note" from range(%d) t(i) order by i limit 1000`, rows))
}

// readArrow reads a stream in Arrow from an offset to its end, and wants the numbers of
// its rows to grow. It returns how many there were.
func (w *world) readArrow(ctx context.Context, name string, offset int64) (rows int64, err error) {
	reader, err := client.Read(ctx, w.conn, name, client.Options{Offset: offset})
	if err != nil {
		return 0, err
	}
	defer reader.Release()
	last := int64(-1)
	for reader.Next() {
		batch := reader.RecordBatch()
		for _, n := range batch.Column(0).(*array.Int64).Int64Values() {
			if n <= last {
				return rows, fmt.Errorf("row %d comes after row %d", n, last)
			}
			last = n
		}
		rows += batch.NumRows()
	}
	return rows, reader.Err()
}

// together returns what lets nobody pass before so many are waiting.
func together(n int) func(context.Context) error {
	var mu sync.Mutex
	all := make(chan struct{})
	return func(ctx context.Context) error {
		mu.Lock()
		if n--; n == 0 {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const sideBySide = 3 // parts

func TestPartsAreReadFromTheSpoolSideBySide(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	disk := &spooltest.Disk{}
	w.onDisk(disk, nil)
	const rows = 5_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW})
	name := session.GetStreams()[0].GetName()
	if _, err := w.readArrow(w.ctx, name, 0); err != nil {
		t.Fatal(err)
	}
	meet := together(sideBySide)
	w.stop()
	disk.Opening = func(ctx context.Context, _ string) error { return meet(ctx) }
	w.onDisk(disk, nil)
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
	defer cancel()
	if n, err := w.readArrow(ctx, name, 0); n != rows || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
}

// A reader that lags behind the query of its own process reads from the spool, too.
func TestWhoLagsBehindReadsFromTheSpoolSideBySide(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	var late atomic.Bool
	meet := together(sideBySide)
	w.onDisk(&spooltest.Disk{Opening: func(ctx context.Context, _ string) error {
		if !late.Load() {
			return nil
		}
		return meet(ctx)
	}}, nil)
	const rows = 50_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW})
	name := session.GetStreams()[0].GetName()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	// A window that does not grow holds the server back as soon as nobody receives.
	conn := w.dial(nil, grpc.WithStaticStreamWindowSize(64<<10))
	defer func() { w.close(conn.Close()) }()
	stream, err := pb.NewModelQueryClient(conn).ReadRows(ctx, &pb.ReadRowsRequest{Name: name})
	w.must(err)
	var got int64
	for got == 0 {
		m, err := stream.Recv()
		w.must(err)
		got += m.GetArrow().GetRowCount()
	}
	if n, err := w.readArrow(ctx, name, 0); n != rows || err != nil { // until the query is done
		t.Fatalf("%d rows, %v", n, err)
	}
	late.Store(true)
	for {
		m, err := stream.Recv()
		w.must(err)
		got += m.GetArrow().GetRowCount()
		if m.GetStatistics() != nil {
			break
		}
	}
	if got != rows {
		t.Errorf("%d rows", got)
	}
}

// What lies before the offset is not opened, and a stream of several opens only what is
// its own.
func TestOnlyPartsThatAreWantedAreOpened(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	var mu sync.Mutex
	var opened []string
	disk := &spooltest.Disk{}
	w.onDisk(disk, nil)
	const rows, streams = 10_000, 2
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW, MaxStreamCount: streams})
	for _, stream := range session.GetStreams() {
		_, err := w.readArrow(w.ctx, stream.GetName(), 0)
		w.must(err)
	}
	w.stop()
	disk.Opening = func(_ context.Context, key string) error {
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, key[strings.LastIndex(key, "/")+1:])
		return nil
	}
	w.onDisk(disk, nil)
	parts, err := w.store.SessionParts(w.ctx, session.GetName(), 0)
	w.must(err)
	if len(parts) < 4 {
		t.Fatalf("only %d parts", len(parts))
	}
	for number, stream := range session.GetStreams() {
		var size int64
		for n := number; n < len(parts); n += streams {
			size += parts[n].Rows
		}
		var before int64
		for from := number; from < len(parts); from += streams {
			for _, offset := range []int64{before, before + parts[from].Rows - 1} {
				opened = nil
				if n, err := w.readArrow(w.ctx, stream.GetName(), offset); n != size-offset || err != nil {
					t.Errorf("stream %d from %d: %d rows of %d, %v", number, offset, n, size, err)
				}
				var want []string
				for n := from; n < len(parts); n += streams {
					want = append(want, fmt.Sprintf("%08d", n))
				}
				mu.Lock()
				if slices.Sort(opened); !slices.Equal(opened, want) {
					t.Errorf("stream %d from %d opened %v instead of %v", number, offset, opened, want)
				}
				mu.Unlock()
			}
			before += parts[from].Rows
		}
	}
}

// A part that cannot be read is an error where it lies: what is before it comes first,
// even if the failure was known before.
func TestAPartThatFailsAheadOfItsTurn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail   func(w *world, session string, disk *spooltest.Disk, key string) error
		code   codes.Code
		reason pb.ErrorReason
	}{
		"broken": {func(*world, string, *spooltest.Disk, string) error { return errors.New("CANARY-bucket: I/O error") },
			codes.Unavailable, pb.ErrorReason_ERROR_REASON_SPOOL_UNAVAILABLE},
		"gone": {func(w *world, _ string, disk *spooltest.Disk, key string) error {
			return disk.Bucket().Delete(context.WithoutCancel(w.ctx), key)
		}, codes.Aborted, pb.ErrorReason_ERROR_REASON_SESSION_LOST},
		"deleted elsewhere": {func(w *world, session string, disk *spooltest.Disk, key string) error {
			return errors.Join(w.store.DeleteSession(context.WithoutCancel(w.ctx), session), disk.Bucket().Delete(context.WithoutCancel(w.ctx), key))
		}, codes.NotFound, pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, inParts)
			disk := &spooltest.Disk{}
			w.onDisk(disk, nil)
			session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(5_000)})
			stream := session.GetStreams()[0].GetName()
			_, err := w.readStream(w.ctx, stream, 0)
			w.must(err)
			failed := make(chan struct{})
			w.stop()
			disk.Opening = func(ctx context.Context, key string) error {
				switch {
				case strings.HasSuffix(key, "/00000002"):
					defer close(failed)
					return test.fail(w, session.GetName(), disk, key)
				case strings.HasSuffix(key, "/00000000"):
					select {
					case <-failed:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				return nil
			}
			w.onDisk(disk, nil)
			parts, err := w.store.SessionParts(w.ctx, session.GetName(), 0)
			w.must(err)
			ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
			defer cancel()
			r, err := w.readStream(ctx, stream, 0)
			wantError(t, err, test.code, test.reason)
			wantInOrder(t, r.table(t), 0, int(parts[0].Rows+parts[1].Rows))
		})
	}
}

// A part whose reading breaks off goes on behind what came of it, a few times.
func TestAPartThatBreaksOffIsReadOn(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	disk := &spooltest.Disk{}
	w.onDisk(disk, nil)
	const rows = 20_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows)})
	stream := session.GetStreams()[0].GetName()
	_, err := w.readStream(w.ctx, stream, 0)
	w.must(err)
	w.stop()
	var mu sync.Mutex
	openings := map[string]int{}
	times := 2
	disk.Reading = func(key string, content io.Reader) io.Reader {
		mu.Lock()
		defer mu.Unlock()
		openings[key]++
		if openings[key] > times {
			return content
		}
		whole, err := io.ReadAll(content)
		return io.MultiReader(bytes.NewReader(whole[:len(whole)*min(openings[key], 2)/3]), iotest.ErrReader(errors.Join(err, io.ErrUnexpectedEOF)))
	}
	w.onDisk(disk, nil)
	for _, offset := range []int64{0, rows / 2} {
		clear(openings)
		r, err := w.readStream(w.ctx, stream, offset)
		w.must(err)
		wantInOrder(t, r.table(t), int(offset), rows)
		if len(openings) == 0 {
			t.Error("nothing was read from the spool")
		}
		for key, n := range openings {
			if n != times+1 {
				t.Errorf("%s was opened %d times", key, n)
			}
		}
	}
	times = 1000
	clear(openings)
	_, err = w.readStream(w.ctx, stream, 0)
	wantError(t, err, codes.DataLoss, pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE)
	if n := disk.Open(); n != 0 {
		t.Errorf("%d blobs are open", n)
	}
}

// However little memory there is for reading ahead, every stream goes on.
func TestStreamsGoOnWithLittleMemory(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	disk := &spooltest.Disk{}
	little := func(c *server.Config) { c.ReadMemory = 1 }
	w.onDisk(disk, little)
	const rows = 20_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW})
	for range 2 { // while the query runs, and from elsewhere
		var readers errgroup.Group
		for range 4 {
			readers.Go(func() error {
				n, err := w.readArrow(w.ctx, session.GetStreams()[0].GetName(), 0)
				if n != rows || err != nil {
					return fmt.Errorf("%d rows, %w", n, err)
				}
				return nil
			})
		}
		w.must(readers.Wait())
		w.onDisk(disk, little)
	}
}

// A reader that leaves ends what is fetched for it, and nothing stays open.
func TestAReaderThatLeavesEndsWhatIsFetched(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	disk := &spooltest.Disk{}
	w.onDisk(disk, nil)
	const rows = 10_000
	session := w.session(&pb.CreateReadSessionRequest{Name: w.heavyOrders(rows), Format: pb.DataFormat_DATA_FORMAT_ARROW})
	name := session.GetStreams()[0].GetName()
	_, err := w.readArrow(w.ctx, name, 0)
	w.must(err)
	ended := make(chan error, sideBySide)
	w.stop()
	disk.Opening = func(ctx context.Context, key string) error {
		if strings.HasSuffix(key, "/00000000") || strings.HasSuffix(key, "/00000001") {
			return nil
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	w.onDisk(disk, nil)
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	stream, err := w.query.ReadRows(ctx, &pb.ReadRowsRequest{Name: name})
	w.must(err)
	for {
		m, err := stream.Recv()
		w.must(err)
		if m.GetArrow().GetRowCount() > 0 {
			break
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the fetching ended with %v", err)
	}
	w.stop()
	if n := disk.Open(); n != 0 {
		t.Errorf("%d blobs are open", n)
	}
}
