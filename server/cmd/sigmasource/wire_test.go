package main

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// harm is what a proxy does to a stream's messages.
type harm int

const (
	pass  harm = iota
	end        // ends the stream well in place of a message
	sever      // breaks the caller's connection in place of a message
	lose       // leaves a message out
	twice      // sends a message twice
	spoil      // ends the stream as if the server were gone, after the last message
)

func (h harm) String() string {
	return [...]string{"passed on", "stream ended well", "connection broken", "lost", "sent twice", "stream spoilt"}[h]
}

// proxy stands between a client and a server as a load balancer does: it takes
// streams apart into messages.
type proxy struct {
	net.Listener
	backend *grpc.ClientConn

	mu    sync.Mutex
	conns []net.Conn
	harm  harm
	at    int      // the index of the message that is harmed; progress counts once
	times int      // how many streams are harmed, or 0: all
	kinds []string // of the last stream's messages; progress counts once
}

// Accept implements net.Listener.
func (p *proxy) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

// raw passes messages through as they are.
type raw struct{}

func (raw) Name() string                  { return "raw" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}

// newProxy serves until the test's end.
func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	backend, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: listener, backend: backend}
	s := grpc.NewServer(grpc.UnknownServiceHandler(p.handle), grpc.ForceServerCodec(raw{}))
	served := make(chan error, 1)
	go func() { served <- s.Serve(p) }()
	t.Cleanup(func() {
		s.Stop()
		if err := errors.Join(<-served, backend.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *proxy) handle(_ any, caller grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(caller)
	ctx, cancel := context.WithCancel(caller.Context())
	defer cancel()
	incoming, _ := metadata.FromIncomingContext(ctx)
	server, err := p.backend.NewStream(metadata.NewOutgoingContext(ctx, metadata.MD{"authorization": incoming.Get("authorization")}),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodec(raw{}))
	if err != nil {
		return err
	}
	var message []byte
	if err := caller.RecvMsg(&message); err != nil {
		return err
	}
	if err := errors.Join(server.SendMsg(&message), server.CloseSend()); err != nil {
		return err
	}
	do, at := pass, 0
	rows := strings.HasSuffix(method, "/PreviewModel") || strings.HasSuffix(method, "/ReadRows")
	if rows {
		do, at = p.next()
	}
	for i, progress := 0, false; ; i++ {
		if err := server.RecvMsg(&message); err == io.EOF {
			if do == spoil {
				return status.Error(codes.Unavailable, "the server is gone")
			}
			return nil
		} else if err != nil {
			return err
		}
		if kind := kindOf(method, message); rows && kind == "progress" && progress {
			i-- // a slow stream has more of them
			if err := caller.SendMsg(&message); err != nil {
				return err
			}
			continue
		} else if rows {
			progress = progress || kind == "progress"
			p.note(kind)
		}
		times := 1
		if i == at {
			switch do {
			case end:
				return nil
			case sever:
				return p.sever()
			case lose:
				times = 0
			case twice:
				times = 2
			}
		}
		for range times {
			if err := caller.SendMsg(&message); err != nil {
				return err
			}
		}
	}
}

// next returns what is to happen to a stream that begins.
func (p *proxy) next() (harm, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds = nil
	do, at := p.harm, p.at
	if p.times--; p.times == 0 {
		p.harm = pass
	}
	return do, at
}

// kindOf returns the name of a message's field in its oneof.
func kindOf(method string, message []byte) string {
	response := proto.Message(&pb.PreviewModelResponse{})
	if strings.HasSuffix(method, "/ReadRows") {
		response = &pb.ReadRowsResponse{}
	}
	if proto.Unmarshal(message, response) == nil {
		m := response.ProtoReflect()
		if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("message")); field != nil {
			return string(field.Name())
		}
	}
	return "damaged"
}

func (p *proxy) note(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kinds = append(p.kinds, kind)
}

// came returns the kinds of the messages of the last stream.
func (p *proxy) came() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kinds
}

func (p *proxy) sever() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	for _, conn := range p.conns {
		err = errors.Join(err, conn.Close())
	}
	p.conns = nil
	return err
}

func (p *proxy) set(do harm, at int) { p.setFor(0, do, at) }

// setFor harms so many streams.
func (p *proxy) setFor(times int, do harm, at int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.harm, p.at, p.times = do, at, times
}

// TestAStreamThatIsCutOnTheWayFails harms a preview at each of its messages,
// between server and client.
func TestAStreamThatIsCutOnTheWayFails(t *testing.T) {
	model := serveDemo(t)
	p := newProxy(t, os.Getenv("SIGMASOURCE_SERVER"))
	preview := func(output string) (string, error) {
		out, _, err := run(t.Context(), "", "preview", model, "--rows", "7000", "-o", output, "--server", p.Addr().String())
		return out, err
	}
	whole, err := preview("json")
	if n := strings.Count(whole, "\n"); err != nil || n != 7000 {
		t.Fatalf("%d rows, %v", n, err)
	}
	kinds := p.came()
	if len(kinds) < 8 || kinds[0] != "progress" || kinds[len(kinds)-1] != "statistics" {
		t.Fatalf("the messages are %v", kinds)
	}
	for at, kind := range kinds {
		for _, do := range []harm{end, sever, lose, twice} {
			p.set(do, at)
			out, err := preview("table")
			harmless := kind == "progress" && (do == lose || do == twice)
			switch {
			case harmless && err != nil:
				t.Errorf("message %d (%s) %s: %v", at, kind, do, err)
			case !harmless && err == nil:
				t.Errorf("message %d (%s) %s: the client ends well", at, kind, do)
			case !harmless && out != "":
				t.Errorf("message %d (%s) %s: it prints %d bytes of a table", at, kind, do, len(out))
			}
		}
	}
	p.set(pass, 0)
	if again, err := preview("json"); err != nil || again != whole {
		t.Errorf("in the end: %v", err)
	}
}

// TestAConnectionThatBreaksAnywhereFails cuts between any two bytes.
func TestAConnectionThatBreaksAnywhereFails(t *testing.T) {
	model := serveDemo(t)
	pipe := newWire(t, os.Getenv("SIGMASOURCE_SERVER"))
	preview := func() error {
		_, _, err := run(t.Context(), "", "preview", model, "--rows", "1500", "-o", "json", "--server", pipe.Addr().String())
		return err
	}
	pipe.most.Store(1 << 40)
	if err := preview(); err != nil {
		t.Fatal(err)
	}
	const seed, ending = 7, 100 // the trailers, and lengths of time that differ
	all := <-pipe.passed - ending
	t.Logf("%d bytes, seed %d", all, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range fewerIfRaced(60) {
		most := random.Int64N(all)
		pipe.most.Store(most)
		if err := preview(); err == nil {
			t.Errorf("after %d bytes: the client ends well", most)
		}
	}
}

// wire passes bytes between clients and a server, and breaks each connection
// once so many went to the client.
type wire struct {
	net.Listener
	server string
	most   atomic.Int64
	cuts   atomic.Int64 // how many connections it breaks yet
	passed chan int64   // how many bytes went to the client, for the first connections
	under  sync.WaitGroup
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: listener, server: server, passed: make(chan int64, 1)}
	w.cuts.Store(math.MaxInt64)
	w.under.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.under.Go(func() { w.carry(client) })
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		w.under.Wait()
	})
	return w
}

func (w *wire) carry(client net.Conn) {
	backend, err := net.Dial("tcp", w.server)
	if err != nil {
		_ = client.Close() // the client sees it
		return
	}
	w.under.Go(func() {
		_, _ = io.Copy(backend, client) // until either side ends
		_ = backend.Close()             // may be closed already
	})
	most := int64(math.MaxInt64)
	if w.cuts.Add(-1) >= 0 {
		most = w.most.Load()
	}
	n, _ := io.Copy(client, io.LimitReader(backend, most))
	_, _ = client.Close(), backend.Close()
	select {
	case w.passed <- n:
	default:
	}
}

// serveDemo serves the demonstration to this test's clients, and returns the
// name of a model.
func serveDemo(t *testing.T) string {
	t.Helper()
	out, _ := start(t, "demo", "--listen", "127.0.0.1:0")
	export := out.await(t, `export SIGMASOURCE_SERVER=(\S+) SIGMASOURCE_TOKEN=(\S+)\n`)
	t.Setenv("SIGMASOURCE_SERVER", export[1])
	t.Setenv("SIGMASOURCE_TOKEN", export[2])
	return out.await(t, `preview (\S+) --rows`)[1]
}

// fewerIfRaced returns a count of repetitions: a tenth of it where the race detector makes each many times slower.
func fewerIfRaced(n int) int {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return n / 10
	}
	return n
}
