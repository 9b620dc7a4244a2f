package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Page asks for a part of a list, as the contract's page_size and page_token do.
type Page struct {
	Size  int32  // 0 means 50; more than 1000 is taken as 1000
	Token string // of the page before; empty for the first page
}

const (
	defaultPageSize = 50
	maxPageSize     = 1000

	// maxSortPart bounds what one part adds to a sort key, in bytes, and thereby
	// the length of a page token: the contract allows 2000 characters. Resources
	// that differ only beyond it are ordered by name.
	maxSortPart = 240
)

func (p Page) size() int {
	switch {
	case p.Size <= 0:
		return defaultPageSize
	case p.Size > maxPageSize:
		return maxPageSize
	}
	return int(p.Size)
}

// A list is read in the order of a key that is unique within it, and a page token
// is the key of the last resource of a page. So pages stay right while resources
// come and go: none is given twice, and none is left out that was there all along.
// The token holds a digest of the request, so that it is good for no other list.

const digestSize = 8

// listKey is the digest of what a list's token must be used with.
func listKey(parts ...string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:digestSize]
}

func encodeToken(list, last []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(bytes.Clone(list), last...))
}

// decodeToken returns the key of the last resource before the page, which is empty
// for the first page.
func decodeToken(list []byte, token string) ([]byte, error) {
	if token == "" {
		return []byte{}, nil
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(token)
	last, ok := bytes.CutPrefix(data, list)
	hasOtherForm := strings.ContainsAny(token, "\r\n") // the decoder skips line breaks
	if err != nil || !ok || len(last) == 0 || hasOtherForm {
		return nil, ErrBadPageToken
	}
	return last, nil
}

// sortKey orders resources by the given parts and last by name. A zero byte ends
// each part, so that a folder comes before what lies in it.
func sortKey(name string, parts ...string) []byte {
	var key []byte
	for _, part := range parts {
		key = append(key, truncate(part)...)
		key = append(key, 0)
	}
	return append(key, name...)
}

func truncate(s string) string { return cut(s, maxSortPart) }

// listPage reads a page with a query that selects keys and resources in the order
// of the keys. Its parameters are args[0], the key to begin after, the most rows,
// and the rest of args.
func listPage[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, db queryer, page Page, list []byte, query string, args ...any) (resources []M, next string, err error) {
	after, err := decodeToken(list, page.Token)
	if err != nil {
		return nil, "", err
	}
	size := page.size()
	parameters := append([]any{args[0], after, size + 1}, args[1:]...)
	var keys [][]byte
	resources, err = readAll(ctx, db, func(rows *sql.Rows) (M, error) {
		var key, data []byte
		if err := rows.Scan(&key, &data); err != nil {
			return nil, err
		}
		keys = append(keys, key)
		resource := M(new(T))
		return resource, proto.Unmarshal(data, resource)
	}, query, parameters...)
	if err != nil {
		return nil, "", err
	}
	if len(resources) > size {
		resources = resources[:size]
		next = encodeToken(list, keys[size-1])
	}
	return resources, next, nil
}
