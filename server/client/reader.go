package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/ipccheck"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Reader reads a stream of a session in the format ARROW. It is an
// array.RecordReader, and as such used by one goroutine. The caller releases it.
type Reader struct {
	refs   atomic.Int64
	stream *stream
	ipc    *ipc.Reader
	bytes  []byte // of the current message, that are not read yet
	memory *memory.Buffer
	last   *ipc.Message
	given  int64 // the row after the last that was given out
	err    error
}

var _ array.RecordReader = (*Reader)(nil)

// maxBuffer is the most bytes that a column of a compressed message may become. It is
// twice Snowflake's largest value; the server keeps messages of several rows far smaller.
const maxBuffer = 256 << 20

var errNotArrow = errors.New("the session is not in the format ARROW")

// Read opens a stream of a session, `…/sessions/{session}/streams/{number}`. It
// returns when the columns have come. The context bounds the whole read.
func Read(ctx context.Context, conn grpc.ClientConnInterface, name string, options Options) (*Reader, error) {
	s, err := open(ctx, conn, name, options)
	if err != nil {
		return nil, err
	}
	r := &Reader{stream: s, given: options.Offset}
	r.refs.Store(1)
	if len(s.schema.GetArrowIpc()) == 0 {
		s.cancel()
		return nil, errNotArrow
	}
	r.bytes = bytes.Clone(s.schema.GetArrowIpc())
	r.memory = memory.NewBufferBytes(r.bytes)
	allocator := ipccheck.Allocator{Allocator: memory.DefaultAllocator, Limit: maxBuffer}
	if r.ipc, err = ipc.NewReaderFromMessageReader((*messages)(r), ipc.WithAllocator(allocator)); err != nil {
		s.cancel()
		return nil, fmt.Errorf("read the columns: %w", err)
	}
	if err := checkZones(r.ipc.Schema()); err != nil {
		r.Release()
		return nil, err
	}
	return r, nil
}

// checkZones returns an error where a column is in a time zone that is not known here.
// Arrow's own text of such a value panics.
func checkZones(schema *arrow.Schema) error {
	for _, field := range schema.Fields() {
		if t, ok := field.Type.(*arrow.TimestampType); ok && t.TimeZone != "" {
			if _, err := zone.Load(t.TimeZone); err != nil {
				return fmt.Errorf("column %q: %w", field.Name, err)
			}
		}
	}
	return nil
}

// Schema returns the columns.
func (r *Reader) Schema() *arrow.Schema { return r.ipc.Schema() }

// Columns returns the columns as the contract describes them.
func (r *Reader) Columns() *pb.Schema { return r.stream.schema }

// Next reads the next batch. After the last, and after a failure, it returns false;
// Err tells which.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	if !r.ipc.Next() {
		if err := r.ipc.Err(); r.err == nil && err != nil {
			r.err = damaged(err)
		}
		if r.err == nil {
			r.err = io.EOF
		}
		return false
	}
	batch := r.ipc.RecordBatch()
	if rows, left := batch.NumRows(), r.stream.offset-r.given; rows > left || rows < left && len(r.bytes) == 0 {
		r.err = miscounted(rows, left)
	} else if err := ipccheck.Validate(batch); err != nil {
		r.err = damaged(err)
	}
	if r.err != nil {
		return false
	}
	r.given += batch.NumRows()
	return true
}

func miscounted(rows, left int64) error {
	return fmt.Errorf("a message has %d more rows, and says %d: %w", rows, left, ErrIncomplete)
}

// damaged is an error about a batch. Its cause is told but not wrapped, as it may be an
// io.EOF, which readers of Arrow take for a good end.
func damaged(err error) error { return fmt.Errorf("read rows: %v: %w", err, ErrIncomplete) }

// RecordBatch returns the batch that Next has read. It is valid until the next call
// of Next, unless it is retained.
func (r *Reader) RecordBatch() arrow.RecordBatch { return r.ipc.RecordBatch() }

// Record is RecordBatch, by its former name.
func (r *Reader) Record() arrow.RecordBatch { return r.ipc.RecordBatch() }

// Err returns why Next returned false, or nil where all rows came.
func (r *Reader) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Offset is the row after the last one that Next has read: where to go on.
func (r *Reader) Offset() int64 { return r.given }

// Statistics returns what the server says of the whole read, after its end.
func (r *Reader) Statistics() *pb.StreamStatistics { return r.stream.stats }

// Retain adds a user of the reader.
func (r *Reader) Retain() { r.refs.Add(1) }

// Release takes one away; the last ends the call.
func (r *Reader) Release() {
	if r.refs.Add(-1) == 0 {
		r.ipc.Release()
		r.drop()
		r.stream.cancel()
	}
}

func (r *Reader) drop() {
	if r.last != nil {
		r.last.Release()
		r.last = nil
	}
	if r.memory != nil {
		r.memory.Release()
	}
	r.bytes, r.memory = nil, nil
}

// messages are the Arrow messages in what comes.
type messages Reader

func (m *messages) Retain()  {}
func (m *messages) Release() {}

// Message implements ipc.MessageReader. The messages refer to the memory that the
// codec has filled.
func (m *messages) Message() (*ipc.Message, error) {
	for len(m.bytes) == 0 {
		(*Reader)(m).drop()
		if left := m.stream.offset - m.given; left != 0 {
			m.err = miscounted(0, left)
			return nil, m.err
		}
		next, err := m.stream.receive()
		if err != nil {
			if err != io.EOF {
				m.err = err
			}
			return nil, err
		}
		if next.batch != nil {
			next.release()
			m.err = errNotArrow
			return nil, m.err
		}
		if next.ipc == nil {
			continue
		}
		m.memory, m.bytes = next.ipc, next.ipc.Bytes()
	}
	return m.cut()
}

const continuation = 0xffffffff

// cut takes the first message off the bytes.
func (m *messages) cut() (*ipc.Message, error) {
	if len(m.bytes) < 8 || binary.LittleEndian.Uint32(m.bytes) != continuation {
		return nil, m.malformed()
	}
	length := int64(binary.LittleEndian.Uint32(m.bytes[4:]))
	if length > int64(len(m.bytes))-8 {
		return nil, m.malformed()
	}
	size, err := ipccheck.BodyLength(m.bytes[8:][:length])
	if err != nil {
		m.err = damaged(err)
		return nil, m.err
	}
	if size > int64(len(m.bytes))-8-length {
		return nil, m.malformed()
	}
	start := m.memory.Len() - len(m.bytes)
	head := memory.SliceBuffer(m.memory, start+8, int(length))
	defer head.Release()
	body := memory.SliceBuffer(m.memory, start+8+int(length), int(size))
	defer body.Release()
	m.bytes = m.bytes[8+length+size:]
	if m.last != nil {
		m.last.Release()
	}
	m.last = ipc.NewMessage(head, body)
	return m.last, nil
}

func (m *messages) malformed() error {
	m.err = damaged(ipccheck.ErrMalformed)
	return m.err
}
