package query

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// arrowEncoder turns record batches into Arrow IPC messages.
type arrowEncoder struct {
	schema *arrow.Schema
	sent   int64 // rows encoded before this batch
}

// encode calls send with messages of about targetMessageSize; a large batch is
// split.
func (e *arrowEncoder) encode(batch arrow.RecordBatch, send sendBatch) error {
	rows := batch.NumRows()
	if rows == 0 {
		return nil
	}
	step := max(1, rows*targetMessageSize/max(1, size(batch)))
	for from := int64(0); from < rows; from += step {
		if err := e.slice(batch, from, min(from+step, rows), send); err != nil {
			return err
		}
	}
	e.sent += rows
	return nil
}

// slice sends the rows [from, to) in one message, or in halves where values of
// uneven size make it too large.
func (e *arrowEncoder) slice(batch arrow.RecordBatch, from, to int64, send sendBatch) error {
	part := batch.NewSlice(from, to)
	defer part.Release()
	payload, err := ipc.GetRecordBatchPayload(part)
	if err != nil {
		return fmt.Errorf("encode Arrow batch: %w", err)
	}
	defer payload.Release()
	var message bytes.Buffer
	if _, err := payload.WritePayload(&message); err != nil {
		return fmt.Errorf("encode Arrow batch: %w", err)
	}
	if message.Len() > maxMessageSize {
		if to-from == 1 {
			return rowTooLarge(e.largestColumn(part), e.sent+from+1)
		}
		middle := from + (to-from)/2
		if err := e.slice(batch, from, middle, send); err != nil {
			return err
		}
		return e.slice(batch, middle, to, send)
	}
	return send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Arrow{Arrow: &pb.ArrowBatch{
		Ipc:      message.Bytes(),
		RowCount: to - from,
	}}}, to-from)
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

// size is how many bytes the batch holds, or more where it is a slice.
func size(batch arrow.RecordBatch) int64 {
	var n uint64
	for _, column := range batch.Columns() {
		n += column.Data().SizeInBytes()
	}
	return int64(n)
}
