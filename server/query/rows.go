package query

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/pool"
)

// Numbers of the contract's fields that rows are made of.
const (
	batchRow      protowire.Number = 1 // RowBatch.rows
	batchRowCount protowire.Number = 2
	rowValue      protowire.Number = 1 // Row.values
)

// sendFrame sends a frame that holds rows.
type sendFrame func(*frame) error

// rowEncoder turns record batches into frames of typed rows. It writes the wire
// form of RowBatch straight from the columns: making the messages first would
// cost an object for every value.
type rowEncoder struct {
	schema *arrow.Schema
	target frameSize
	sent   int64 // rows encoded before this batch
}

// encode calls send with frames of at most the target size, unless a single row
// is larger.
func (e *rowEncoder) encode(batch arrow.RecordBatch, send sendFrame) error {
	cells := make([]cell, batch.NumCols())
	for i := range cells {
		c, err := newCell(e.schema.Field(i), batch.Column(i))
		if err != nil {
			return err
		}
		cells[i] = c
	}
	target := 0
	var buffer *[]byte
	var rows int64
	flush := func() error {
		*buffer = protowire.AppendTag(*buffer, batchRowCount, protowire.VarintType)
		*buffer = protowire.AppendVarint(*buffer, uint64(rows))
		f := rowsFrame(buffer, rows)
		buffer, rows = nil, 0
		return send(f)
	}
	width := 1 // bytes of a row's length, as of the row before
	for i := range int(batch.NumRows()) {
		if buffer == nil {
			target = e.target.next()
			buffer = pool.Buffers.Get(target + target/8)
			*buffer = (*buffer)[:0]
		}
		start := len(*buffer)
		row, err := appendRow(*buffer, cells, i, &width)
		if err != nil {
			pool.Buffers.Put(buffer)
			return e.explain(err, i)
		}
		*buffer = row
		rows++
		size := len(row) - start
		switch {
		case size > maxMessageSize:
			pool.Buffers.Put(buffer)
			return e.tooLarge(cells, i)
		case len(row) > target && rows > 1 && len(row) > maxMessageSize:
			// The row goes out in the next frame.
			next := pool.Buffers.Get(max(size, target))
			*next = append((*next)[:0], row[start:]...)
			*buffer = row[:start]
			rows--
			if err := flush(); err != nil {
				pool.Buffers.Put(next)
				return err
			}
			buffer, rows = next, 1
		case len(row) > target:
			if err := flush(); err != nil {
				return err
			}
		}
	}
	e.sent += batch.NumRows()
	if rows == 0 {
		return nil
	}
	return flush()
}

// appendRow appends a row with its tag and length. The length is known only at
// the end, so it gets as many bytes as the last one needed, and the row is moved
// where that was wrong.
func appendRow(b []byte, cells []cell, i int, width *int) ([]byte, error) {
	b = append(b, byte(batchRow)<<3|byte(protowire.BytesType))
	start := len(b)
	b = append(b, make([]byte, *width)...)
	var err error
	for j, c := range cells {
		if b, err = c(b, i); err != nil {
			return b, &cellError{column: j, err: err}
		}
	}
	size := len(b) - start - *width
	if need := protowire.SizeVarint(uint64(size)); need != *width {
		b = append(b, make([]byte, max(0, need-*width))...)
		copy(b[start+need:], b[start+*width:start+*width+size])
		b = b[:start+need+size]
		*width = need
	}
	protowire.AppendVarint(b[start:start], uint64(size))
	return b, nil
}

// cellError is a value that cannot be encoded.
type cellError struct {
	column int
	err    error
}

func (e *cellError) Error() string { return e.err.Error() }

func (e *rowEncoder) explain(err error, i int) error {
	refused, ok := err.(*cellError)
	if !ok {
		return err
	}
	column, row := e.schema.Field(refused.column).Name, e.sent+int64(i)+1
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED,
		Message:  fmt.Sprintf("the value of column %q in row %d cannot be sent exactly: %v", column, row, refused.err),
		Metadata: map[string]string{"column": column, "row": strconv.FormatInt(row, 10)},
	}
}

func (e *rowEncoder) tooLarge(cells []cell, i int) error {
	largest, most := 0, 0
	for j, c := range cells {
		if value, err := c(nil, i); err == nil && len(value) > most {
			largest, most = j, len(value)
		}
	}
	return rowTooLarge(e.schema.Field(largest).Name, e.sent+int64(i)+1)
}

// rowTooLarge says which row, counted from 1, does not fit a message, and
// which of its columns is the largest.
func rowTooLarge(column string, row int64) error {
	return &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE,
		Message: fmt.Sprintf("row %d is larger than a message may be (%d bytes); its largest value is in column %q: leave that column out in Sigma, or shorten it there",
			row, maxMessageSize, column),
		Metadata: map[string]string{"column": column, "row": strconv.FormatInt(row, 10)},
	}
}
