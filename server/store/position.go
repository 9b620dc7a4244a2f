package store

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
)

// position is a place in a list: behind an entry, in a level.
type position struct {
	level int
	id    int64
	key   any // of the level's order: []byte, string or int64
}

// encode makes a page token of a position.
func (p *position) encode(request []byte) string {
	data := binary.BigEndian.AppendUint64([]byte{byte(p.level)}, uint64(p.id))
	switch key := p.key.(type) {
	case []byte:
		data = append(data, key...)
	case string:
		data = append(data, key...)
	case int64:
		data = binary.BigEndian.AppendUint32(data, uint32(key))
	}
	return encodeToken(request, data)
}

// decodePosition returns the position of a token, nil for the first page. Its key is
// yet to be given the type of its level.
func decodePosition(request []byte, token string) (*position, error) {
	data, err := decodeToken(request, token)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	const head = 9
	if len(data) < head {
		return nil, ErrBadPageToken
	}
	id := binary.BigEndian.Uint64(data[1:])
	if id > math.MaxInt64 {
		return nil, ErrBadPageToken
	}
	return &position{level: int(data[0]), id: int64(id), key: data[head:]}, nil
}

// in returns the position with the key that an order has.
func (p *position) in(o order) (*position, error) {
	data := p.key.([]byte)
	at := *p
	switch o.column {
	case byTitle.column:
		text := string(data)
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, ErrBadPageToken
		}
		at.key = text
	case bySize.column:
		if len(data) != 4 {
			return nil, ErrBadPageToken
		}
		at.key = int64(int32(binary.BigEndian.Uint32(data)))
	}
	return &at, nil
}
