package query

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/mem"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/pool"
)

// block is some rows of a session in order: Arrow IPC messages that make one frame,
// or a batch as the warehouse gave it. Rows that are only counted have neither.
type block struct {
	rows  int64
	ipc   mem.Buffer        // or nil
	batch arrow.RecordBatch // or nil
}

// size is about how many bytes the block takes.
func (b block) size() int64 {
	switch {
	case b.ipc != nil:
		return int64(b.ipc.Len())
	case b.batch != nil:
		return size(b.batch)
	}
	return 0
}

func (b block) release() {
	if b.ipc != nil {
		b.ipc.Free()
	}
	if b.batch != nil {
		b.batch.Release()
	}
}

// Sizes of blocks in bytes: what messages are joined to, and the most that it may
// become by that. Blocks fit buffers of the pool, of which half would be wasted
// otherwise.
const (
	blockTarget = 640 << 10
	blockSize   = 1 << 20
)

// blockBuilder joins and splits batches to blocks.
type blockBuilder struct {
	schema *arrow.Schema
	writer *ipc.Writer
	emit   func(block) error

	current *[]byte
	rows    int64 // in current
	total   int64 // rows taken in all
}

func newBlockBuilder(schema *arrow.Schema, compression pb.ArrowCompression, emit func(block) error) *blockBuilder {
	b := &blockBuilder{schema: schema, emit: emit}
	options := append([]ipc.Option{ipc.WithSchema(schema)}, compressionOptions[compression]...)
	b.writer = ipc.NewWriterWithPayloadWriter(&messageWriter{builder: b}, options...)
	return b
}

// messageWriter appends to the builder's current block. The first payload is the
// schema, which is kept elsewhere.
type messageWriter struct {
	builder *blockBuilder
	begun   bool
}

func (w *messageWriter) Start() error { return nil }
func (w *messageWriter) Close() error { return nil }

func (w *messageWriter) WritePayload(payload ipc.Payload) error {
	if !w.begun {
		w.begun = true
		return nil
	}
	_, err := payload.WritePayload((*appender)(w.builder.current))
	return err
}

func (b *blockBuilder) add(batch arrow.RecordBatch) error {
	rows, bytes := batch.NumRows(), max(1, size(batch))
	step := max(1, rows*blockTarget/bytes)
	for from := int64(0); from < rows; {
		n := min(step, rows-from)
		if left := rows - from; left < step+step/2 {
			n = left
		}
		if b.current != nil && int64(len(*b.current))+bytes*n/rows+bytes*n/rows/16 > blockSize {
			if err := b.flush(); err != nil {
				return err
			}
		}
		if err := b.write(batch, from, from+n); err != nil {
			return err
		}
		from += n
	}
	b.total += rows
	return nil
}

// write adds the rows [from, to) as one message, or as halves where values of
// uneven size make it too large.
func (b *blockBuilder) write(batch arrow.RecordBatch, from, to int64) error {
	if b.current == nil {
		b.current = pool.Buffers.Get(blockSize)
		*b.current = (*b.current)[:0]
	}
	before := len(*b.current)
	part := batch.NewSlice(from, to)
	err := b.writer.Write(part)
	part.Release()
	if err != nil {
		return fmt.Errorf("encode Arrow batch: %w", err)
	}
	if len(*b.current) <= maxMessageSize {
		b.rows += to - from
		return nil
	}
	*b.current = (*b.current)[:before]
	if before > 0 {
		if err := b.flush(); err != nil {
			return err
		}
		return b.write(batch, from, to)
	}
	if to-from == 1 {
		row := batch.NewSlice(from, to)
		defer row.Release()
		return rowTooLarge((&arrowEncoder{schema: b.schema}).largestColumn(row), b.total+from+1)
	}
	middle := from + (to-from)/2
	if err := b.write(batch, from, middle); err != nil {
		return err
	}
	return b.write(batch, middle, to)
}

func (b *blockBuilder) flush() error {
	if b.current == nil || b.rows == 0 {
		return nil
	}
	made := block{rows: b.rows, ipc: mem.NewBuffer(b.current, pool.Buffers)}
	b.current, b.rows = nil, 0
	return b.emit(made)
}
