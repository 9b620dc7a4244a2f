package spool

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/sigmasource/sigmasource/server/pool"
)

// A part begins with magic, and then has for each block the number of its rows,
// its length, its length as kept (uvarints), and the kept bytes. After the last
// comes one more without rows and bytes, so that a part that was cut is no part.
const magic = "sigmasource spool 1\n"

// maxBlock is the most bytes that a block may have, so that a damaged length makes
// nobody allocate more.
const maxBlock = 64 << 20

// KeySize is the length of a session's key in bytes.
const KeySize = 32

// Block is some rows: encapsulated Arrow IPC messages, record batches all of them.
type Block struct {
	Rows int64
	Data []byte
}

// sealer encrypts the blocks of one part. Each block of a session has a nonce of
// its own, made of the numbers of part and block; a part is written once.
type sealer struct {
	aead    cipher.AEAD
	session string
	part    uint32
	block   uint32
}

func newSealer(session string, key []byte, part int) (*sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("spool: a key of %d bytes", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, session: session, part: uint32(part)}, nil
}

// next returns the nonce of the next block, and what its head is bound to.
func (s *sealer) next(head []byte) (nonce, bound []byte) {
	nonce = make([]byte, s.aead.NonceSize())
	binary.BigEndian.PutUint32(nonce, s.part)
	binary.BigEndian.PutUint32(nonce[4:], s.block)
	s.block++
	return nonce, append([]byte(s.session+"\x00"), head...)
}

func (s *sealer) write(w io.Writer, blocks []Block) error {
	if _, err := io.WriteString(w, magic); err != nil {
		return err
	}
	for _, block := range append(blocks[:len(blocks):len(blocks)], Block{}) {
		if err := s.writeBlock(w, block); err != nil {
			return err
		}
	}
	return nil
}

func (s *sealer) writeBlock(w io.Writer, block Block) error {
	buffer := pool.Buffers.Get(s2.MaxEncodedLen(len(block.Data)) + s.aead.Overhead())
	defer pool.Buffers.Put(buffer)
	kept := s2.Encode((*buffer)[:cap(*buffer)], block.Data)
	head := binary.AppendUvarint(nil, uint64(block.Rows))
	head = binary.AppendUvarint(head, uint64(len(block.Data)))
	nonce, bound := s.next(head)
	kept = s.aead.Seal(kept[:0], nonce, kept, bound)
	if _, err := w.Write(binary.AppendUvarint(head, uint64(len(kept)))); err != nil {
		return err
	}
	_, err := w.Write(kept)
	return err
}

// Reader reads a part block by block.
type Reader struct {
	source io.ReadCloser
	buffer *bufio.Reader
	seal   *sealer
	begun  bool
}

func newReader(source io.ReadCloser, seal *sealer) *Reader {
	return &Reader{source: source, buffer: bufio.NewReaderSize(source, 4<<10), seal: seal}
}

// Next returns the next block, whose data lie in a buffer of the pool that is the
// caller's to put back, or io.EOF after the last. skip is asked with the rows of
// each block; where it says so, the block is passed over and nil is returned.
func (r *Reader) Next(skip func(rows int64) bool) (rows int64, data *[]byte, err error) {
	rows, data, err = r.next(skip)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.Join(ErrDamaged, err)
	}
	if err != nil && err != io.EOF {
		err = failed("read kept rows", err)
	}
	return rows, data, err
}

func (r *Reader) next(skip func(rows int64) bool) (int64, *[]byte, error) {
	if !r.begun {
		start := make([]byte, len(magic))
		if _, err := io.ReadFull(r.buffer, start); err != nil {
			return 0, nil, unexpected(err)
		}
		if string(start) != magic {
			return 0, nil, ErrDamaged
		}
		r.begun = true
	}
	var head [3]uint64
	for i := range head {
		n, err := binary.ReadUvarint(r.buffer)
		if err != nil {
			return 0, nil, unexpected(err)
		}
		head[i] = n
	}
	rows, length, kept := int64(head[0]), head[1], head[2]
	if rows < 0 || length > maxBlock || kept > uint64(s2.MaxEncodedLen(maxBlock)+r.seal.aead.Overhead()) {
		return 0, nil, ErrDamaged
	}
	bound := binary.AppendUvarint(binary.AppendUvarint(nil, head[0]), head[1])
	if rows > 0 && skip(rows) {
		r.seal.block++
		_, err := r.buffer.Discard(int(kept))
		return rows, nil, unexpected(err)
	}
	sealed := pool.Buffers.Get(int(kept))
	defer pool.Buffers.Put(sealed)
	if _, err := io.ReadFull(r.buffer, *sealed); err != nil {
		return 0, nil, unexpected(err)
	}
	nonce, bound := r.seal.next(bound)
	compressed, err := r.seal.aead.Open((*sealed)[:0], nonce, *sealed, bound)
	if err != nil {
		return 0, nil, ErrDamaged
	}
	if rows == 0 {
		return 0, nil, io.EOF
	}
	if n, err := s2.DecodedLen(compressed); err != nil || uint64(n) != length {
		return 0, nil, ErrDamaged
	}
	data := pool.Buffers.Get(int(length))
	if _, err := s2.Decode(*data, compressed); err != nil {
		pool.Buffers.Put(data)
		return 0, nil, ErrDamaged
	}
	return rows, data, nil
}

// unexpected is an end of the file where there must be more.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close closes the blob.
func (r *Reader) Close() error { return r.source.Close() }
