// Package client reads the rows of read sessions from Go: a stream of a session
// becomes an Arrow record reader, or a cursor over typed rows.
//
// It does what every reader of a stream has to do: it counts the rows, goes on at
// its offset after a fault in passing, and ends with an error where the stream is
// not proven complete. It copies each message once, from the connection's frames to
// the memory of the record batch. Sessions are made with the generated stubs.
//
// The package may import the contract, gRPC, Arrow and what checks Arrow's messages. It
// must not import any other package of the server but its pool of buffers.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// ErrIncomplete is part of the error of a stream that ended without the proof that
// all its rows came, or with another number of rows than it said.
var ErrIncomplete = errors.New("the rows are not complete")

// Options say how to read. The zero value reads from the beginning, and goes on
// after a few faults.
type Options struct {
	// Offset is the first row to read, counted from 0 within the stream.
	Offset int64
	// Retries is how often in a row the stream is opened again after the server, or
	// the way to it, was unavailable. 0 means 5, less than 0 none.
	Retries int
}

const (
	defaultRetries = 5
	firstPause     = 100 * time.Millisecond
	longestPause   = 5 * time.Second
)

// stream receives the messages of a stream of a session in order, across faults.
type stream struct {
	ctx     context.Context
	cancel  context.CancelFunc
	conn    grpc.ClientConnInterface
	name    string
	retries int

	current grpc.ClientStream
	failed  int // faults since the last message with rows

	start  int64 // the offset of the current call
	offset int64 // of the next row
	schema *pb.Schema
	stats  *pb.StreamStatistics
}

func open(ctx context.Context, conn grpc.ClientConnInterface, name string, options Options) (*stream, error) {
	s := &stream{conn: conn, name: name, retries: options.Retries, offset: options.Offset}
	if s.retries == 0 {
		s.retries = defaultRetries
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	for s.schema == nil {
		m, err := s.receive()
		if err == nil && m.rows > 0 {
			m.release()
			err = fmt.Errorf("rows came before their columns: %w", ErrIncomplete)
		}
		if err != nil {
			s.cancel()
			if err == io.EOF {
				err = fmt.Errorf("the stream ended without its columns: %w", ErrIncomplete)
			}
			return nil, err
		}
	}
	return s, nil
}

// receive returns the next message, or io.EOF once all rows are proven to have come.
func (s *stream) receive() (*message, error) {
	for {
		m, err := s.receiveOnce()
		if err == nil && m.rows > 0 {
			s.failed = 0
		}
		if status.Code(err) != codes.Unavailable || s.ctx.Err() != nil || s.failed >= s.retries {
			return m, err
		}
		s.failed++
		s.current = nil
		pause := time.NewTimer(min(firstPause<<(s.failed-1), longestPause))
		select {
		case <-pause.C:
		case <-s.ctx.Done():
			pause.Stop()
			return nil, err
		}
	}
}

var readRows = grpc.StreamDesc{StreamName: "ReadRows", ServerStreams: true}

func (s *stream) receiveOnce() (*message, error) {
	if s.current == nil {
		current, err := s.conn.NewStream(s.ctx, &readRows, pb.ModelQuery_ReadRows_FullMethodName, grpc.ForceCodecV2(codec{}))
		if err != nil {
			return nil, err
		}
		if err := current.SendMsg(&pb.ReadRowsRequest{Name: s.name, Offset: s.offset}); err != nil && err != io.EOF {
			return nil, err
		}
		if err := current.CloseSend(); err != nil {
			return nil, err
		}
		// Another last message will come, where the call broke after the first.
		s.current, s.start, s.stats = current, s.offset, nil
	}
	m := &message{}
	if err := s.current.RecvMsg(m); err != nil {
		if err != io.EOF {
			return nil, err
		}
		if s.stats == nil {
			return nil, fmt.Errorf("the stream ended at row %d without its last message: %w", s.offset, ErrIncomplete)
		}
		return nil, io.EOF
	}
	return m, s.take(m)
}

// take checks a message against what came before.
func (s *stream) take(m *message) error {
	if s.stats != nil {
		m.release()
		return fmt.Errorf("a message came after the last: %w", ErrIncomplete)
	}
	if schema := m.other.GetSchema(); schema != nil {
		if s.schema != nil && !proto.Equal(s.schema, schema) {
			return fmt.Errorf("the columns changed: %w", ErrIncomplete)
		}
		s.schema = schema
	}
	if stats := m.other.GetStatistics(); stats != nil {
		if received := s.offset - s.start; received != stats.GetRowCount() || received != stats.GetDeclaredRowCount() || s.offset != stats.GetStreamRowCount() {
			return fmt.Errorf("%d rows came, %d were sent of %d: %w", received, stats.GetRowCount(), stats.GetDeclaredRowCount(), ErrIncomplete)
		}
		s.stats = stats
	}
	if m.batch != nil && m.rows != m.counted {
		m.release()
		return fmt.Errorf("a message has %d rows, and says that it has %d: %w", m.counted, m.rows, ErrIncomplete)
	}
	if m.rows == 0 {
		return nil
	}
	if m.offset != s.offset || m.rows < 0 {
		m.release()
		return fmt.Errorf("rows came from %d on instead of %d: %w", m.offset, s.offset, ErrIncomplete)
	}
	if m.ipc == nil && m.batch == nil {
		return fmt.Errorf("a message says that it has %d rows, and has none: %w", m.rows, ErrIncomplete)
	}
	s.offset += m.rows
	return nil
}

// DialOptions are options of a connection that carries whole results: windows and
// buffers that keep a fast network busy. They are a matter of speed alone.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(2 * window),
		grpc.WithReadBufferSize(socketBuffer),
	}
}

const (
	window       = 4 << 20
	socketBuffer = 256 << 10
)
