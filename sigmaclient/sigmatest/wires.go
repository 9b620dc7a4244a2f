package sigmatest

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Transport returns a transport that leads every host to the server, without
// encryption and without a network: so a test may use Sigma's own host names,
// and virtual time as package testing/synctest has it.
func (s *Server) Transport() *http.Transport {
	s.wires.serveOnce.Do(func() { s.serve(s.wires) })
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return s.wires.dial(ctx) }
	return &http.Transport{DialContext: dial, DialTLSContext: dial}
}

// wires is a listener whose connections are made in memory.
type wires struct {
	serveOnce sync.Once
	conns     chan net.Conn
	closed    chan struct{}
	closeOnce sync.Once
}

func newWires() *wires { return &wires{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *wires) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the server's end of the next connection.
func (l *wires) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and dial.
func (l *wires) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return nil
}

// Addr names no real address.
func (l *wires) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }
