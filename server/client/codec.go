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
	rows   int64
	offset int64
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

var errMalformed = errors.New("it is malformed")

func (m *message) read(r *mem.Reader, whole mem.BufferSlice) error {
	for r.Remaining() > 0 {
		number, kind, length, err := field(r)
		if err != nil {
			return err
		}
		switch {
		case number == responseOffset && kind == protowire.VarintType:
			m.offset = int64(length)
		case number == responseArrow && kind == protowire.BytesType && m.ipc == nil:
			err = m.readArrow(r, int(length))
		case number == responseRows && kind == protowire.BytesType && m.batch == nil:
			if m.batch, err = take(r, length); err == nil {
				m.rows, err = rowCount(m.batch.Bytes())
			}
		default: // no message of rows
			m.other = &pb.ReadRowsResponse{}
			return proto.Unmarshal(whole.Materialize(), m.other)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readArrow reads an ArrowBatch of a length.
func (m *message) readArrow(r *mem.Reader, length int) error {
	end := r.Remaining() - length
	for r.Remaining() > end {
		number, kind, value, err := field(r)
		switch {
		case err != nil:
			return err
		case number == arrowIPC && kind == protowire.BytesType && m.ipc == nil:
			if m.ipc, err = take(r, value); err != nil {
				return err
			}
		case number == arrowRowCount && kind == protowire.VarintType:
			m.rows = int64(value)
		default:
			return errMalformed
		}
	}
	if r.Remaining() != end || end < 0 {
		return errMalformed
	}
	return nil
}

// field reads a field's tag, and its value or, of a field of bytes, its length.
func field(r *mem.Reader) (number protowire.Number, kind protowire.Type, value uint64, err error) {
	tag, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, 0, 0, unexpected(err)
	}
	number, kind = protowire.DecodeTag(tag)
	if kind != protowire.VarintType && kind != protowire.BytesType {
		return 0, 0, 0, errMalformed
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

// rowCount reads what a RowBatch says of itself.
func rowCount(batch []byte) (rows int64, err error) {
	// The count is the last field, and so found from the end, unless another server
	// writes it elsewhere.
	for size := 1; size <= 10 && size < len(batch); size++ {
		at := len(batch) - size
		if batch[at-1] != byte(batchRowCount)<<3|byte(protowire.VarintType) {
			continue
		}
		if n, length := protowire.ConsumeVarint(batch[at:]); length == size {
			return int64(n), nil
		}
	}
	return 0, errMalformed
}
