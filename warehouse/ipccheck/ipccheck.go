// Package ipccheck looks at Arrow IPC messages before Arrow's own reader does, and
// at the batches that it makes of them. The reader believes what a message says of
// itself: one damaged byte can make it ask for more memory than there is, which no
// recover undoes, or give out texts that lie outside of their buffer.
//
// It may import Arrow and FlatBuffers, and imports nothing of this service.
package ipccheck

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// ErrMalformed is part of each error of this package, and of what an Allocator
// panics with.
var ErrMalformed = errors.New("an Arrow message is malformed")

// Slots of the tables in Arrow's Message.fbs and Schema.fbs.
const (
	messageKind, messageHeader, messageBody, messageMetadata = 6, 8, 10, 12

	schemaFields, schemaMetadata = 6, 8
	fieldChildren, fieldMetadata = 14, 16

	batchBuffers = 8
	bufferSize   = 16 // a struct of two numbers: where it begins, and its length

	kindSchema, kindRecordBatch = 1, 3
)

// BodyLength returns the length in bytes of the body behind a description, a
// FlatBuffer, of a schema or a record batch. It fails where the description is not
// sound, or of another kind of message. It is not negative; the caller bounds it.
//
// FlatBuffers for Go looks for no bounds but the slice's.
func BodyLength(description []byte) (length int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			length, err = 0, fmt.Errorf("%w: %v", ErrMalformed, p)
		}
	}()
	message := flatbuffers.Table{Bytes: description, Pos: flatbuffers.GetUOffsetT(description)}
	t := tables{limit: len(description)}
	t.of(message, messageMetadata)
	if length = message.GetInt64Slot(messageBody, 0); length < 0 {
		return 0, fmt.Errorf("%w: it says that its body has %d bytes", ErrMalformed, length)
	}
	switch kind := message.GetByteSlot(messageKind, 0); kind {
	case kindRecordBatch:
		var batch flatbuffers.Table
		message.Union(&batch, flatbuffers.UOffsetT(message.Offset(messageHeader)))
		checkBuffers(batch, length)
	case kindSchema:
		var schema flatbuffers.Table
		message.Union(&schema, flatbuffers.UOffsetT(message.Offset(messageHeader)))
		t.of(schema, schemaMetadata)
		for _, field := range t.of(schema, schemaFields) {
			t.checkField(field)
		}
	default:
		return 0, fmt.Errorf("%w: it is of kind %d", ErrMalformed, kind)
	}
	return length, nil
}

// checkBuffers panics where a buffer lies outside of the body. What lies behind that may
// be another message, or nobody's.
func checkBuffers(batch flatbuffers.Table, body int64) {
	offset := flatbuffers.UOffsetT(batch.Offset(batchBuffers))
	if offset == 0 {
		return
	}
	start := batch.Vector(offset)
	for i := range batch.VectorLen(offset) {
		at := start + flatbuffers.UOffsetT(i*bufferSize)
		from, length := batch.GetInt64(at), batch.GetInt64(at+bufferSize/2)
		if length != 0 && (from < 0 || length < 0 || from > body || length > body-from) {
			panic("a buffer lies outside of the body")
		}
	}
}

// tables finds tables within tables, up to a limit: a damaged offset may lead to
// the same ones again and again.
type tables struct{ limit int }

func (t *tables) checkField(field flatbuffers.Table) {
	t.of(field, fieldMetadata)
	for _, child := range t.of(field, fieldChildren) {
		t.checkField(child)
	}
}

// of returns the tables in a slot. It panics where they lie out of bounds.
func (t *tables) of(parent flatbuffers.Table, slot flatbuffers.VOffsetT) []flatbuffers.Table {
	offset := flatbuffers.UOffsetT(parent.Offset(slot))
	if offset == 0 {
		return nil
	}
	n := parent.VectorLen(offset)
	if t.limit -= n; t.limit < 0 {
		panic("a list is longer than its message")
	}
	start := parent.Vector(offset)
	list := make([]flatbuffers.Table, n)
	for i := range list {
		at := start + flatbuffers.UOffsetT(i*flatbuffers.SizeUOffsetT)
		list[i] = flatbuffers.Table{Bytes: parent.Bytes, Pos: parent.Indirect(at)}
	}
	return list
}

// Validate finds buffers that are too short and offsets that lead out of them,
// which the Arrow reader takes as they come. Its own full validation also reads
// every text and quotes what it dislikes.
func Validate(batch arrow.RecordBatch) error {
	if err := array.ValidateRecord(batch); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, column := range batch.Columns() {
		if column.Len() == 0 {
			continue
		}
		if extension, ok := column.(array.ExtensionArray); ok {
			column = extension.Storage()
		}
		var offsets []int32
		switch a := column.(type) {
		case *array.String:
			offsets = a.ValueOffsets()
		case *array.Binary:
			offsets = a.ValueOffsets()
		}
		last := int32(0)
		for _, offset := range offsets {
			if offset < last {
				return fmt.Errorf("%w: its texts overlap", ErrMalformed)
			}
			last = offset
		}
	}
	return nil
}

// Allocator refuses buffers of more bytes than Limit, which a compressed body may
// ask for; the Arrow reader returns its panic as an error.
type Allocator struct {
	memory.Allocator
	Limit int
}

// Allocate implements memory.Allocator.
func (a Allocator) Allocate(size int) []byte {
	a.check(size)
	return a.Allocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (a Allocator) Reallocate(size int, buffer []byte) []byte {
	a.check(size)
	return a.Allocator.Reallocate(size, buffer)
}

func (a Allocator) check(size int) {
	if size < 0 || size > a.Limit {
		panic(fmt.Errorf("%w: it asks for a buffer of %d bytes", ErrMalformed, size))
	}
}
