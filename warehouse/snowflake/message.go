package snowflake

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/sigmasource/sigmasource/warehouse/ipccheck"
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
	if m.body, err = ipccheck.BodyLength(m.head[prefix:]); err == nil && m.body > maxBody {
		err = fmt.Errorf("%w: a message says that its body has %d bytes", errDamaged, m.body)
	}
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
