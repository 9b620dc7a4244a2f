package query

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/mem"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/pool"
)

// arrowEncoder turns record batches into frames of Arrow IPC messages. Without
// compression the frames refer to the batches' own memory.
type arrowEncoder struct {
	schema      *arrow.Schema
	compression pb.ArrowCompression
	target      frameSize
	sent        int64 // rows encoded before this batch

	writer  *ipc.Writer // that compresses
	message *[]byte     // what it writes to
}

// encode calls send with frames of about the target size; a large batch is
// split.
func (e *arrowEncoder) encode(batch arrow.RecordBatch, send sendFrame) error {
	rows := batch.NumRows()
	if rows == 0 {
		return nil
	}
	bytes := max(1, size(batch))
	for from := int64(0); from < rows; {
		step := max(1, rows*int64(e.target.next())/bytes)
		if left := rows - from; left < step+step/2 { // a small last frame would cost as much as a full one
			step = left
		}
		if err := e.slice(batch, from, from+step, send); err != nil {
			return err
		}
		from += step
	}
	e.sent += rows
	return nil
}

// slice sends the rows [from, to) in one frame, or in halves where values of
// uneven size make it too large.
func (e *arrowEncoder) slice(batch arrow.RecordBatch, from, to int64, send sendFrame) error {
	part := batch.NewSlice(from, to)
	messages, err := e.messages(part)
	if err != nil {
		part.Release()
		return fmt.Errorf("encode Arrow batch: %w", err)
	}
	if messages.Len() <= maxMessageSize {
		part.Release()
		return send(arrowFrame(messages, to-from))
	}
	messages.Free()
	defer part.Release()
	if to-from == 1 {
		return rowTooLarge(e.largestColumn(part), e.sent+from+1)
	}
	middle := from + (to-from)/2
	if err := e.slice(batch, from, middle, send); err != nil {
		return err
	}
	return e.slice(batch, middle, to, send)
}

func (e *arrowEncoder) messages(part arrow.RecordBatch) (mem.BufferSlice, error) {
	if e.compression != pb.ArrowCompression_ARROW_COMPRESSION_UNSPECIFIED {
		return e.compressed(part)
	}
	payload, err := ipc.GetRecordBatchPayload(part)
	if err != nil {
		return nil, err
	}
	// The payload does not hold all that it refers to: of a slice's own part of a buffer
	// it has the address alone.
	part.Retain()
	g := &gatherer{owner: newOwner(func() { payload.Release(); part.Release() })}
	_, err = payload.WritePayload(g)
	g.flush()
	g.owner.Put(nil)
	if err != nil {
		g.data.Free()
		return nil, err
	}
	return g.data, nil
}

// compressed writes through one writer for all batches: its compressors are
// dear to make.
func (e *arrowEncoder) compressed(part arrow.RecordBatch) (mem.BufferSlice, error) {
	if e.writer == nil {
		e.writer = ipc.NewWriterWithPayloadWriter(e, append(compressionOptions[e.compression], ipc.WithSchema(e.schema))...)
	}
	e.message = pool.Buffers.Get(int(size(part)))
	*e.message = (*e.message)[:0]
	if err := e.writer.Write(part); err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(e.message, pool.Buffers)}, nil
}

var compressionOptions = map[pb.ArrowCompression][]ipc.Option{
	pb.ArrowCompression_ARROW_COMPRESSION_LZ4:  {ipc.WithLZ4()},
	pb.ArrowCompression_ARROW_COMPRESSION_ZSTD: {ipc.WithZstd()},
}

// Start implements ipc.PayloadWriter.
func (e *arrowEncoder) Start() error { return nil }

// Close implements ipc.PayloadWriter.
func (e *arrowEncoder) Close() error { return nil }

// WritePayload implements ipc.PayloadWriter. The first payload is the schema,
// which has no rows and is not wanted.
func (e *arrowEncoder) WritePayload(payload ipc.Payload) error {
	*e.message = (*e.message)[:0]
	_, err := payload.WritePayload((*appender)(e.message))
	return err
}

// appender is a slice that is written to.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

func (e *arrowEncoder) largestColumn(row arrow.RecordBatch) string {
	largest, size := 0, -1
	for i, column := range row.Columns() {
		if n := len(column.ValueStr(0)); n > size {
			largest, size = i, n
		}
	}
	return e.schema.Field(largest).Name
}

// size is how many bytes the batch's rows take in Arrow, without padding.
func size(batch arrow.RecordBatch) int64 {
	var n int64
	for _, column := range batch.Columns() {
		n += columnSize(column)
	}
	return n
}

func columnSize(column arrow.Array) int64 {
	rows := int64(column.Len())
	bits := rows // validity
	switch a := column.(type) {
	case array.ExtensionArray:
		return columnSize(a.Storage())
	case *array.Null:
		return 0
	case *array.String:
		return int64(len(a.ValueBytes())) + 4*rows + bits/8
	case *array.Binary:
		return int64(len(a.ValueBytes())) + 4*rows + bits/8
	}
	if t, ok := column.DataType().(arrow.FixedWidthDataType); ok {
		bits += rows * int64(t.BitWidth())
	}
	return bits / 8
}
