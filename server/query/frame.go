package query

import (
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of all other messages
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sigmasource/sigmasource/server/pool"
)

// Numbers of the contract's fields that frames are made of. PreviewModelResponse
// and ReadRowsResponse share the first two, and a test compares all of them with
// the contract.
const (
	responseRows   protowire.Number = 3
	responseArrow  protowire.Number = 4
	responseOffset protowire.Number = 6

	arrowIPC      protowire.Number = 1
	arrowRowCount protowire.Number = 2
)

// frame is a PreviewModelResponse or ReadRowsResponse with rows, in the form in
// which it goes out: its buffers are those of the batch or of the spool, and not
// copied on the way to the connection.
type frame struct {
	data mem.BufferSlice
	size int // of data
	rows int64
	out  bool // data was handed to gRPC, which frees it
}

// RowCount is how many rows the frame holds.
func (f *frame) RowCount() int64 { return f.rows }

// at adds the offset of the frame's first row, which ReadRowsResponse has.
func (f *frame) at(offset int64) *frame {
	field := protowire.AppendTag(nil, responseOffset, protowire.VarintType)
	field = protowire.AppendVarint(field, uint64(offset))
	f.data = append(f.data, mem.SliceBuffer(field))
	f.size += len(field)
	return f
}

// send sends a frame, and frees it if it cannot be sent.
func send(message func(any) error, f *frame) error {
	err := message(f)
	if err != nil && !f.out {
		f.data.Free()
	}
	return err
}

// Codec writes frames as they are, and all other messages as the codec of
// protobuf does. A server that serves this package has to use it.
type Codec struct{}

var protobuf = encoding.GetCodecV2("proto")

// Name is that of protobuf's codec: on the wire there is no difference.
func (Codec) Name() string { return protobuf.Name() }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(message any) (mem.BufferSlice, error) {
	f, ok := message.(*frame)
	if !ok {
		return protobuf.Marshal(message)
	}
	if f.out {
		return nil, fmt.Errorf("a frame was sent twice")
	}
	f.out = true
	return f.data, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, message any) error {
	return protobuf.Unmarshal(data, message)
}

// decode reads a frame as a caller does.
func (f *frame) decode(into proto.Message) error {
	return proto.Unmarshal(f.data.Materialize(), into)
}

// rowsFrame makes a frame of an encoded RowBatch, whose buffer it takes over.
func rowsFrame(batch *[]byte, rows int64) *frame {
	head := protowire.AppendTag(nil, responseRows, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(*batch)))
	return &frame{
		data: mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(batch, pool.Buffers)},
		size: len(head) + len(*batch),
		rows: rows,
	}
}

// arrowFrame makes a frame of Arrow messages, whose buffers it takes over.
func arrowFrame(messages mem.BufferSlice, rows int64) *frame {
	length := messages.Len()
	tail := protowire.AppendTag(nil, arrowRowCount, protowire.VarintType)
	tail = protowire.AppendVarint(tail, uint64(rows))
	inner := protowire.SizeTag(arrowIPC) + protowire.SizeBytes(length) + len(tail)

	head := protowire.AppendTag(make([]byte, 0, 16), responseArrow, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(inner))
	head = protowire.AppendTag(head, arrowIPC, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(length))

	data := make(mem.BufferSlice, 0, len(messages)+3) // with room for the offset
	data = append(data, mem.SliceBuffer(head))
	data = append(data, messages...)
	data = append(data, mem.SliceBuffer(tail))
	return &frame{data: data, size: len(head) + length + len(tail), rows: rows}
}

// frameSize is how many bytes of rows the next frame is to hold. It grows from a
// small one, which is there soon, to targetMessageSize. Zero is that at once.
type frameSize int

// firstFrame is the size of the first frame of a stream that somebody waits for.
const firstFrame frameSize = 16 << 10

func (s *frameSize) next() int {
	if *s == 0 || *s >= targetMessageSize {
		return targetMessageSize
	}
	n := *s
	*s *= 4
	return int(n)
}

// smallest is from what size on a buffer is passed on by reference: smaller ones
// are cheaper to copy together.
const smallest = 4 << 10

// gatherer is an io.Writer that keeps large writes by reference. What is written
// must stay until the owner is released.
type gatherer struct {
	data  mem.BufferSlice
	small []byte
	owner *owner
}

func (g *gatherer) Write(p []byte) (int, error) {
	if len(p) < smallest {
		g.small = append(g.small, p...)
		return len(p), nil
	}
	g.flush()
	kept := p
	g.owner.refs.Add(1)
	g.data = append(g.data, mem.NewBuffer(&kept, g.owner))
	return len(p), nil
}

func (g *gatherer) flush() {
	if len(g.small) > 0 {
		g.data = append(g.data, mem.SliceBuffer(g.small))
		g.small = nil
	}
}

// owner releases something once all buffers that refer to it are free.
type owner struct {
	refs    atomic.Int64
	release func()
}

func newOwner(release func()) *owner {
	o := &owner{release: release}
	o.refs.Store(1)
	return o
}

// Get implements mem.BufferPool. Nobody asks for buffers here.
func (o *owner) Get(length int) *[]byte { return new(make([]byte, length)) }

// Put implements mem.BufferPool: it takes back a reference.
func (o *owner) Put(*[]byte) {
	if o.refs.Add(-1) == 0 {
		o.release()
	}
}
