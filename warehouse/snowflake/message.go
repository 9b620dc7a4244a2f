package snowflake

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// maxDescription and maxBody bound what one damaged length may make the Arrow
// reader allocate. Snowflake's messages are far smaller.
const (
	maxDescription = 16 << 20
	maxBody        = 1 << 30
)

// messages passes an Arrow stream on, message by message, once it has looked at
// what each says of itself. The Arrow reader allocates as many fields as a
// description claims to have: damage to one byte of it can ask for more memory
// than there is, which no recover undoes.
//
// A message is its description's length, the description, which is a
// FlatBuffer, and its body: https://arrow.apache.org/docs/format/Columnar.html
type messages struct {
	source io.Reader
	head   []byte // of the message at hand, before its body, as far as it is not passed on
	body   int64  // bytes of its body that are not passed on
}

// Read implements io.Reader.
func (m *messages) Read(p []byte) (int, error) {
	if len(m.head) == 0 && m.body == 0 {
		if err := m.next(); err != nil {
			return 0, err
		}
	}
	if len(m.head) > 0 {
		n := copy(p, m.head)
		m.head = m.head[n:]
		return n, nil
	}
	n, err := m.source.Read(p[:min(int64(len(p)), m.body)])
	m.body -= int64(n)
	return n, err
}

const (
	continuation = 0xFFFFFFFF // before the length, since Arrow 0.15
	prefixLength = 4
)

func (m *messages) next() error {
	m.head = make([]byte, prefixLength, 2*prefixLength)
	if _, err := io.ReadFull(m.source, m.head); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(m.head)
	if length == continuation {
		m.head = m.head[:2*prefixLength]
		if err := readAll(m.source, m.head[prefixLength:]); err != nil {
			return err
		}
		length = binary.LittleEndian.Uint32(m.head[prefixLength:])
	}
	if length == 0 { // the end mark
		return nil
	}
	if length > maxDescription {
		return fmt.Errorf("%w: a message says that it is described by %d bytes", errDamaged, length)
	}
	prefix := len(m.head)
	m.head = append(m.head, make([]byte, length)...)
	if err := readAll(m.source, m.head[prefix:]); err != nil {
		return err
	}
	var err error
	m.body, err = bodyLength(m.head[prefix:])
	return err
}

// readAll fills p. An end before that is none that was meant.
func readAll(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Slots of the tables in Arrow's Message.fbs and Schema.fbs.
const (
	messageKind, messageHeader, messageBody, messageMetadata = 6, 8, 10, 12

	schemaFields, schemaMetadata = 6, 8
	fieldChildren, fieldMetadata = 14, 16

	kindSchema, kindRecordBatch = 1, 3
)

// bodyLength returns the length of the body behind a description that is sound.
// FlatBuffers for Go looks for no bounds but the slice's.
func bodyLength(description []byte) (length int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			length, err = 0, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	message := flatbuffers.Table{Bytes: description, Pos: flatbuffers.GetUOffsetT(description)}
	t := tables{limit: len(description)}
	t.of(message, messageMetadata)
	switch kind := message.GetByteSlot(messageKind, 0); kind {
	case kindRecordBatch:
	case kindSchema:
		var schema flatbuffers.Table
		message.Union(&schema, flatbuffers.UOffsetT(message.Offset(messageHeader)))
		t.of(schema, schemaMetadata)
		for _, field := range t.of(schema, schemaFields) {
			t.checkField(field)
		}
	default:
		return 0, fmt.Errorf("%w: it has a message of kind %d", errDamaged, kind)
	}
	length = message.GetInt64Slot(messageBody, 0)
	if length < 0 || length > maxBody {
		return 0, fmt.Errorf("%w: a message says that its body has %d bytes", errDamaged, length)
	}
	return length, nil
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

// bounded refuses buffers beyond maxBody, which a compressed body may ask for;
// the Arrow reader returns its panic as an error.
type bounded struct{ memory.Allocator }

func (b bounded) Allocate(size int) []byte {
	if size < 0 || size > maxBody {
		panic(errDamaged)
	}
	return b.Allocator.Allocate(size)
}

func (b bounded) Reallocate(size int, buffer []byte) []byte {
	if size < 0 || size > maxBody {
		panic(errDamaged)
	}
	return b.Allocator.Reallocate(size, buffer)
}
