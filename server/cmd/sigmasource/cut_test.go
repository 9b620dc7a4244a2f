package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	reading "github.com/sigmasource/sigmasource/server/client"
)

// reader reads one session by Go's readers, through whatever stands at an address.
type reader struct {
	t       *testing.T
	address string
	streams map[pb.DataFormat]string
}

// newReader makes sessions at the server itself.
func newReader(t *testing.T, model, address string) *reader {
	t.Helper()
	r := &reader{t: t, address: address, streams: map[pb.DataFormat]string{}}
	server := r.dial(os.Getenv("SIGMASOURCE_SERVER"))
	defer r.hangUp(server)
	for _, format := range []pb.DataFormat{pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW} {
		created, err := pb.NewModelQueryClient(server).CreateReadSession(r.authorized(), &pb.CreateReadSessionRequest{Name: model, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		r.streams[format] = created.GetSession().GetStreams()[0].GetName()
	}
	return r
}

func (r *reader) dial(address string) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func (r *reader) hangUp(conn *grpc.ClientConn) {
	if err := conn.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *reader) authorized() context.Context {
	return metadata.AppendToOutgoingContext(r.t.Context(), "authorization", "Bearer "+os.Getenv("SIGMASOURCE_TOKEN"))
}

// read reads the whole stream, and returns its rows as text.
func (r *reader) read(format pb.DataFormat, retries int) (string, error) {
	r.t.Helper()
	conn := r.dial(r.address)
	defer r.hangUp(conn)
	var text strings.Builder
	options := reading.Options{Retries: retries}
	if format == pb.DataFormat_DATA_FORMAT_ROWS {
		rows, err := reading.ReadRows(r.authorized(), conn, r.streams[format], options)
		if err != nil {
			return "", err
		}
		defer rows.Close()
		for rows.Next() {
			for _, value := range rows.Values() {
				fmt.Fprint(&text, value.Proto(), "|")
			}
			text.WriteByte('\n')
		}
		return text.String(), rows.Err()
	}
	batches, err := reading.Read(r.authorized(), conn, r.streams[format], options)
	if err != nil {
		return "", err
	}
	defer batches.Release()
	for batches.Next() {
		batch := batches.RecordBatch()
		for i := range int(batch.NumRows()) {
			for _, column := range batch.Columns() {
				fmt.Fprint(&text, column.ValueStr(i), "|")
			}
			text.WriteByte('\n')
		}
	}
	return text.String(), batches.Err()
}

// TestAReadThatIsCutOnTheWayEndsWhollyOrFails harms a read at each of its messages:
// once, so that a reader that retries may go on.
func TestAReadThatIsCutOnTheWayEndsWhollyOrFails(t *testing.T) {
	model := serveDemo(t)
	p := newProxy(t, os.Getenv("SIGMASOURCE_SERVER"))
	r := newReader(t, model, p.Addr().String())
	for format := range r.streams {
		whole, err := r.read(format, -1)
		if err != nil || whole == "" {
			t.Fatalf("%d bytes, %v", len(whole), err)
		}
		kinds := p.came()
		if kinds[0] != "progress" || kinds[len(kinds)-1] != "statistics" {
			t.Fatalf("the messages are %v", kinds)
		}
		for at, kind := range kinds {
			for _, do := range []harm{end, sever, lose, twice} {
				for _, retries := range []int{-1, 1} {
					p.setFor(1, do, at)
					got, err := r.read(format, retries)
					harmless := kind == "progress" && (do == lose || do == twice) || kind == "schema" && do == twice || do == sever && retries > 0
					if name := fmt.Sprintf("%s, message %d (%s) %s, %d retries", format, at, kind, do, retries); harmless != (err == nil) {
						t.Errorf("%s: it ends with %v", name, err)
					} else if err == nil && got != whole {
						t.Errorf("%s: other rows come", name)
					}
				}
			}
		}
	}
}

// TestAReadThatFailsAfterItsLastMessageIsTriedAgain has nothing left to read then.
func TestAReadThatFailsAfterItsLastMessageIsTriedAgain(t *testing.T) {
	model := serveDemo(t)
	p := newProxy(t, os.Getenv("SIGMASOURCE_SERVER"))
	r := newReader(t, model, p.Addr().String())
	for format := range r.streams {
		whole, err := r.read(format, -1)
		if err != nil {
			t.Fatal(err)
		}
		p.setFor(1, spoil, -1)
		if _, err := r.read(format, -1); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: without another try it ends with %v", format, err)
		}
		p.setFor(1, spoil, -1)
		if got, err := r.read(format, 1); err != nil || got != whole {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestAReadOverABreakingConnectionEndsWhollyOrFails cuts between any two bytes.
func TestAReadOverABreakingConnectionEndsWhollyOrFails(t *testing.T) {
	model := serveDemo(t)
	r := newReader(t, model, "")
	const seed, ending = 11, 150 // the trailers, and lengths of time that differ
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for format := range r.streams {
		pipe := newWire(t, os.Getenv("SIGMASOURCE_SERVER"))
		r.address = pipe.Addr().String()
		pipe.most.Store(1 << 40)
		whole, err := r.read(format, -1)
		if err != nil {
			t.Fatal(err)
		}
		all := <-pipe.passed - ending
		for range 30 {
			most := random.Int64N(all)
			pipe.most.Store(most)
			if _, err := r.read(format, -1); err == nil {
				t.Errorf("%s, after %d bytes: the reader ends well", format, most)
			}
			if got, err := r.read(format, 1); err == nil && got != whole {
				t.Errorf("%s, after each %d bytes: other rows come", format, most)
			}
		}
	}
}

// TestTheReadCommandEndsWhollyOrFails harms the streams of the command.
func TestTheReadCommandEndsWhollyOrFails(t *testing.T) {
	model := serveDemo(t)
	p := newProxy(t, os.Getenv("SIGMASOURCE_SERVER"))
	for _, output := range []string{"json", "arrow"} {
		read := func() (string, error) {
			out, _, err := run(t.Context(), "", "read", model, "-o", output, "--server", p.Addr().String())
			return out, err
		}
		whole, err := read()
		if err != nil {
			t.Fatal(err)
		}
		for at, kind := range p.came() {
			for _, do := range []harm{end, sever, lose, twice} {
				p.setFor(1, do, at)
				if out, err := read(); err == nil && out != whole {
					t.Errorf("%s, message %d (%s) %s: it ends well, and with other rows", output, at, kind, do)
				} else if err == nil && do == end {
					t.Errorf("%s, message %d (%s) %s: it ends well", output, at, kind, do)
				}
			}
		}
	}
}
