package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
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
		for range fewerIfRaced(30) {
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
	for _, output := range []string{"json", "csv", "arrow"} {
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
				if out, err := read(); err != nil && output == "arrow" && strings.HasSuffix(out, endOfArrow) {
					t.Errorf("message %d (%s) %s: it fails, and its output has an end", at, kind, do)
				} else if err == nil && out != whole {
					t.Errorf("%s, message %d (%s) %s: it ends well, and with other rows", output, at, kind, do)
				} else if err == nil && do == end {
					t.Errorf("%s, message %d (%s) %s: it ends well", output, at, kind, do)
				}
			}
		}
	}
}

// endOfArrow is what an Arrow stream ends with that is whole.
const endOfArrow = "\xFF\xFF\xFF\xFF\x00\x00\x00\x00"

// TestTheReadCommandOverABreakingConnectionEndsWhollyOrFails cuts the connection of the
// command once, between any two bytes.
func TestTheReadCommandOverABreakingConnectionEndsWhollyOrFails(t *testing.T) {
	model := serveDemo(t)
	const seed, ending = 13, 400 // the session's deletion, the trailers, and lengths of time that differ
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, output := range []string{"json", "csv", "arrow"} {
		pipe := newWire(t, os.Getenv("SIGMASOURCE_SERVER"))
		read := func(most int64) (out, messages string, err error) {
			pipe.most.Store(most)
			pipe.cuts.Store(1)
			return run(t.Context(), "", "read", model, "-o", output, "--server", pipe.Addr().String())
		}
		whole, said, err := read(1 << 40)
		if err != nil {
			t.Fatal(err)
		}
		all := <-pipe.passed - ending
		rows := textOf(t, output, whole)
		counted := fmt.Sprintf("\n%d rows in ", strings.Count(rows, "\n"))
		if !strings.Contains("\n"+said, counted) {
			t.Fatalf("it says %q after %d rows", said, strings.Count(rows, "\n"))
		}
		wentOn := 0
		for range 6 {
			most := random.Int64N(all)
			got, said, err := read(most)
			switch {
			case err != nil && output == "arrow" && strings.HasSuffix(got, endOfArrow):
				t.Errorf("after %d bytes: it fails, %v, and its output has an end", most, err)
			case err != nil && strings.Contains("\n"+said, counted):
				t.Errorf("%s, after %d bytes: it fails, %v, and says %q", output, most, err, said)
			case err == nil && textOf(t, output, got) != rows:
				t.Errorf("%s, after %d bytes: it ends well, and with other rows", output, most)
			case err == nil && !strings.Contains("\n"+said, counted):
				t.Errorf("%s, after %d bytes: it says %q", output, most, said)
			case err == nil:
				wentOn++
			}
		}
		if wentOn == 0 {
			t.Errorf("%s: no read went on after a cut", output)
		}
	}
}

// textOf is what the command has written as lines of text, one for each row.
func textOf(t *testing.T, output, written string) string {
	t.Helper()
	switch output {
	case "csv":
		_, rows, _ := strings.Cut(written, "\n") // the names
		return rows
	case "arrow":
		var text strings.Builder
		reader, err := ipc.NewReader(strings.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Release()
		for reader.Next() {
			batch := reader.RecordBatch()
			for i := range int(batch.NumRows()) {
				for _, column := range batch.Columns() {
					fmt.Fprintf(&text, "%q|", column.ValueStr(i))
				}
				text.WriteByte('\n')
			}
		}
		if reader.Err() != nil {
			t.Error(reader.Err())
		}
		return text.String()
	}
	return written
}

// TestTheProgramFailsWithAReadThatIsNotWhole looks at the program as a script does.
func TestTheProgramFailsWithAReadThatIsNotWhole(t *testing.T) {
	model := serveDemo(t)
	p := newProxy(t, os.Getenv("SIGMASOURCE_SERVER"))
	if _, _, err := run(t.Context(), "", "read", model, "--server", p.Addr().String()); err != nil {
		t.Fatal(err)
	}
	kinds := p.came()
	for _, output := range []string{"json", "csv", "arrow"} {
		for do, at := range map[harm]int{end: len(kinds) - 1, lose: len(kinds) - 2, pass: 0} {
			p.setFor(1, do, at)
			program := exec.CommandContext(t.Context(), os.Args[0], "read", model, "-o", output, "--server", p.Addr().String())
			program.Env = append(os.Environ(), asProgram+"=1")
			var messages strings.Builder
			program.Stderr = &messages
			out, err := program.Output()
			var exit *exec.ExitError
			if do == pass {
				if err != nil {
					t.Errorf("%s: %v: %s", output, err, messages.String())
				}
				continue
			}
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(messages.String(), "the rows are not complete") {
				t.Errorf("%s, message %d %s: it ends with %v and says %q after %d bytes", output, at, do, err, messages.String(), len(out))
			}
		}
	}
}
