package snowflake

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pacedBody gives one byte after each pause, and then nothing until its
// context ends.
type pacedBody struct {
	ctx    context.Context
	pauses []time.Duration
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, io.EOF
	}
	pause := b.pauses[0]
	b.pauses = b.pauses[1:]
	select {
	case <-time.After(pause):
		p[0] = 'x'
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (b *pacedBody) Close() error { return nil }

func TestReadTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		pauses  []time.Duration // of the sender
		between time.Duration   // two reads
		bytes   int
		err     error
	}{
		"slow sender":     {[]time.Duration{59 * time.Second, 59 * time.Second, 59 * time.Second}, 0, 3, nil},
		"slow reader":     {[]time.Duration{0, 0, 0}, time.Hour, 3, nil},
		"stalled":         {[]time.Duration{0, 61 * time.Second, 0}, 0, 1, errStalled},
		"stalled at once": {[]time.Duration{time.Hour}, 0, 0, errStalled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				body := &watchedBody{ReadCloser: &pacedBody{ctx, test.pauses}, ctx: ctx, cancel: cancel, timeout: time.Minute}
				n, err := 0, error(nil)
				for p := make([]byte, 16); err == nil; {
					var read int
					read, err = body.Read(p)
					n += read
					<-time.After(test.between)
				}
				if test.err == nil {
					test.err = io.EOF
				}
				if n != test.bytes || !errors.Is(err, test.err) {
					t.Errorf("%d bytes, %v", n, err)
				}
				if err := body.Close(); err != nil {
					t.Error(err)
				}
				if ctx.Err() == nil {
					t.Error("a closed body keeps its request alive")
				}
			})
		})
	}
}

// TestAnAnswerThatStopsIsGivenUp asks a host that begins with each answer, or
// not even that. Whoever closes a warehouse waits for the driver's farewells.
func TestAnAnswerThatStopsIsGivenUp(t *testing.T) {
	for _, test := range []struct {
		name, path, answer string
		after              time.Duration
	}{
		{"a chunk, before its body", "/results/1/0", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", time.Minute},
		{"a chunk, within its body", "/results/1/0", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", time.Minute},
		{"a chunk, before its headers", "/results/1/0", "", headerTimeout},
		{"an abort, before its headers", "/queries/v1/abort-request", "", farewellTimeout},
		{"an abort, within its body", "/queries/v1/abort-request", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", farewellTimeout},
		{"a logout, within its body", "/session?delete=true", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", farewellTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := newTransport(time.Minute)
				transport.base.Proxy = nil
				transport.base.DialContext = func(context.Context, string, string) (net.Conn, error) {
					client, host := net.Pipe()
					go func() { // ends when the client closes the connection
						if _, err := http.ReadRequest(bufio.NewReader(host)); err == nil {
							_, _ = io.WriteString(host, test.answer)
						}
						_, _ = io.Copy(io.Discard, host)
					}()
					return client, nil
				}
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://snowflake.example"+test.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				response, err := transport.RoundTrip(request)
				if err == nil {
					_, err = io.ReadAll(response.Body)
					if closeErr := response.Body.Close(); closeErr != nil {
						t.Error(closeErr)
					}
				}
				if took := time.Since(start); err == nil || took != test.after {
					t.Errorf("after %s: %v", took, err)
				}
				transport.CloseIdleConnections()
			})
		})
	}
}
