package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of all other messages
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/pool"
)

// Numbers of the fields of ReadRowsResponse, ArrowBatch and RowBatch, which a test
// compares with the contract.
const (
	responseRows   protowire.Number = 3
	responseArrow  protowire.Number = 4
	responseOffset protowire.Number = 6

	arrowIPC      protowire.Number = 1
	arrowRowCount protowire.Number = 2

	batchRow      protowire.Number = 1
	batchRowCount protowire.Number = 2
	rowValue      protowire.Number = 1
)

// message is a ReadRowsResponse. Rows stay as they came.
type message struct {
	ipc    *memory.Buffer       // Arrow messages, or nil
	batch  *memory.Buffer       // an encoded RowBatch, or nil
	other  *pb.ReadRowsResponse // what has no rows, or nil
	rows   int64                // as the message says
	offset int64

	counted int64 // rows in batch
}

func (m *message) release() {
	if m.ipc != nil {
		m.ipc.Release()
	}
	if m.batch != nil {
		m.batch.Release()
	}
	m.ipc, m.batch = nil, nil
}

// codec reads ReadRowsResponses to messages: their rows are copied once, to memory
// that Arrow can use as it is. All else it leaves to protobuf's.
type codec struct{}

var protobuf = encoding.GetCodecV2("proto")

func (codec) Name() string                           { return protobuf.Name() }
func (codec) Marshal(v any) (mem.BufferSlice, error) { return protobuf.Marshal(v) }
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return protobuf.Unmarshal(data, v)
	}
	r := data.Reader()
	defer func() { _ = r.Close() }() // only gives the buffers back
	if err := m.read(r, data); err != nil {
		m.release()
		return fmt.Errorf("read a message: %w", err)
	}
	return nil
}

var (
	errMalformed = errors.New("it is malformed")
	errUnusual   = errors.New("it is not written as the server writes it")
)

// read reads a message of rows as the server writes it. What it finds written
// otherwise, and what has no rows, protobuf reads.
func (m *message) read(r *mem.Reader, whole mem.BufferSlice) error {
	for has := false; r.Remaining() > 0; {
		number, kind, value, err := field(r)
		switch {
		case err != nil:
			return m.readAny(whole)
		case number == responseOffset && kind == protowire.VarintType:
			m.offset = int64(value)
		case number == responseArrow && kind == protowire.BytesType && !has:
			has, err = true, m.readArrow(r, value)
		case number == responseRows && kind == protowire.BytesType && !has:
			has = true
			if m.batch, err = take(r, value); err == nil {
				m.counted, m.rows, err = countRows(m.batch.Bytes())
			}
		default:
			return m.readAny(whole)
		}
		if err == errUnusual {
			return m.readAny(whole)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readArrow reads an ArrowBatch of a length.
func (m *message) readArrow(r *mem.Reader, length uint64) error {
	if length > uint64(r.Remaining()) {
		return errMalformed
	}
	end := r.Remaining() - int(length)
	for r.Remaining() > end {
		number, kind, value, err := field(r)
		switch {
		case err != nil:
			return errUnusual
		case number == arrowIPC && kind == protowire.BytesType && m.ipc == nil:
			if m.ipc, err = take(r, value); err != nil {
				return err
			}
		case number == arrowRowCount && kind == protowire.VarintType:
			m.rows = int64(value)
		default:
			return errUnusual
		}
	}
	if r.Remaining() != end {
		return errMalformed
	}
	return nil
}

// readAny reads a message however it is written. Fields that a newer server adds are
// left out.
func (m *message) readAny(whole mem.BufferSlice) error {
	m.release()
	*m = message{other: &pb.ReadRowsResponse{}}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(whole.Materialize(), m.other); err != nil {
		return err
	}
	m.offset = m.other.GetOffset()
	switch {
	case m.other.GetArrow() != nil:
		m.rows, m.ipc = m.other.GetArrow().GetRowCount(), keep(m.other.GetArrow().GetIpc())
	case m.other.GetRows() != nil:
		batch, err := proto.Marshal(m.other.GetRows())
		if err != nil {
			return err
		}
		m.counted, m.rows, m.batch = int64(len(m.other.GetRows().GetRows())), m.other.GetRows().GetRowCount(), keep(batch)
	default:
		return nil
	}
	m.other = nil
	return nil
}

// keep copies bytes to memory of the pool.
func keep(b []byte) *memory.Buffer {
	data := pool.Allocator{}.Allocate(len(b))
	copy(data, b)
	return memory.NewBufferWithAllocator(data, pool.Allocator{})
}

// field reads a field's tag, and its value or, of a field of bytes, its length.
func field(r *mem.Reader) (number protowire.Number, kind protowire.Type, value uint64, err error) {
	tag, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, 0, 0, unexpected(err)
	}
	number, kind = protowire.DecodeTag(tag)
	if kind != protowire.VarintType && kind != protowire.BytesType {
		return 0, 0, 0, errUnusual
	}
	value, err = binary.ReadUvarint(r)
	return number, kind, value, unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take copies bytes to memory of the pool.
func take(r *mem.Reader, length uint64) (*memory.Buffer, error) {
	if length > uint64(r.Remaining()) {
		return nil, errMalformed
	}
	data := pool.Allocator{}.Allocate(int(length))
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	return memory.NewBufferWithAllocator(data, pool.Allocator{}), nil
}

// countRows counts the rows of a RowBatch, and reads how many it says that it has.
// It fails where the batch is not written as the server writes it: the number last.
func countRows(batch []byte) (rows, said int64, err error) {
	for len(batch) > 0 && batch[0] == byte(batchRow)<<3|byte(protowire.BytesType) {
		length, n := binary.Uvarint(batch[1:])
		if n <= 0 || length > uint64(len(batch)-1-n) {
			return 0, 0, errUnusual
		}
		batch = batch[1+n+int(length):]
		rows++
	}
	if len(batch) == 0 {
		return rows, 0, nil
	}
	count, n := binary.Uvarint(batch[1:])
	if batch[0] != byte(batchRowCount)<<3|byte(protowire.VarintType) || n != len(batch)-1 {
		return 0, 0, errUnusual
	}
	return rows, int64(count), nil
}
