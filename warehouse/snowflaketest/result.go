package snowflaketest

import (
	"bytes"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

type resultFormat string

const (
	arrowFormat resultFormat = "arrow"
	jsonFormat  resultFormat = "json"
)

// result is what a query gave. It does not change once the query has ended.
type result struct {
	columns    []column
	format     resultFormat
	rows       int64
	inlineRows int64
	inline     []byte      // Arrow stream of the first rows
	inlineEnds []int64     // offsets within it at which record batches end
	json       [][]*string // all rows, in place of Arrow
	chunks     []chunk

	mu     sync.Mutex
	spool  *os.File // the chunks, one after the other
	access chunkKey
	gone   bool // expired
}

// chunk is a part of the spool file.
type chunk struct {
	rows, offset, size int64
	ends               []int64 // offsets within the chunk at which record batches end
}

// chunkKey is what a download has to show.
type chunkKey struct{ signature, qrmk string }

// key returns the key of the chunks' addresses, a new one where there is none
// or it has expired.
func (res *result) key(q *query) (chunkKey, error) {
	res.mu.Lock()
	defer res.mu.Unlock()
	if res.gone {
		return chunkKey{}, statementNotFoundError(q.ID)
	}
	if res.access.signature == "" {
		res.access = chunkKey{signature: secret(16), qrmk: secret(16)}
	}
	return res.access, nil
}

// ExpireChunkURLs lets the addresses of all chunks expire: downloads get 403
// until the result is fetched again by its query id.
func (s *Server) ExpireChunkURLs() {
	s.eachResult(func(res *result) { res.access = chunkKey{} })
}

// ExpireResults forgets all results, as Snowflake does after 24 hours.
func (s *Server) ExpireResults() error {
	var err error
	s.eachResult(func(res *result) { err = errors.Join(err, res.drop()) })
	return err
}

func (s *Server) eachResult(f func(*result)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.order {
		if q.State == StateSuccess {
			q.result.mu.Lock()
			f(q.result)
			q.result.mu.Unlock()
		}
	}
}

// dropResult frees the spool file.
func (q *query) dropResult() error {
	if q.result == nil {
		return nil
	}
	q.result.mu.Lock()
	defer q.result.mu.Unlock()
	return q.result.drop()
}

// drop frees the spool file. The caller holds mu.
func (res *result) drop() error {
	res.gone = true
	if res.spool == nil {
		return nil
	}
	err := errors.Join(res.spool.Close(), os.Remove(res.spool.Name()))
	res.spool = nil
	return err
}

// read returns a chunk's Arrow stream.
func (res *result) read(i int) ([]byte, error) {
	res.mu.Lock()
	defer res.mu.Unlock()
	if res.spool == nil {
		return nil, os.ErrClosed
	}
	c := res.chunks[i]
	body := make([]byte, c.size)
	_, err := res.spool.ReadAt(body, c.offset)
	return body, err
}

// chunk serves the download of a chunk, which asks for no session but for the
// signature in its address and the key in its headers.
func (s *Server) chunk(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	q := s.queries[r.PathValue("id")]
	s.mu.Unlock()
	i, err := strconv.Atoi(r.PathValue("chunk"))
	if q == nil || err != nil || !q.ended() || q.result == nil || i < 0 || i >= len(q.result.chunks) {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	q.result.mu.Lock()
	key := q.result.access
	q.result.mu.Unlock()
	if !equal(key.signature, r.URL.Query().Get("sig")) ||
		!equal(key.qrmk, r.Header.Get("x-amz-server-side-encryption-customer-key")) {
		http.Error(w, "AccessDenied", http.StatusForbidden)
		return
	}
	body, err := q.result.read(i)
	if err != nil {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	var attempt int
	var faulty func(string, int, int) ChunkFault
	s.change(func() {
		attempt, faulty = q.attempts[i], s.faults.Chunk
		q.attempts[i]++
		s.sending++
	})
	defer s.change(func() { s.sending-- })
	var fault ChunkFault
	if faulty != nil {
		fault = faulty(q.ID, i, attempt)
	}
	serveChunk(w, r, s.stop, body, q.result.chunks[i].ends, s.cfg.GzipChunks, fault)
}

func (q *query) ended() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// resultBuilder fills a result row by row.
type resultBuilder struct {
	*result
	cfg     Config
	dir     string
	vectors []*vector
	pending int
	offset  int64
}

func newResultBuilder(cfg Config, dir string, columns []column, format resultFormat) *resultBuilder {
	b := &resultBuilder{result: &result{columns: columns, format: format}, cfg: cfg, dir: dir}
	for _, c := range columns {
		b.vectors = append(b.vectors, &vector{column: c})
	}
	return b
}

func (b *resultBuilder) add(row []driver.Value) error {
	for i, v := range row {
		if err := b.vectors[i].add(v); err != nil {
			return err
		}
	}
	b.pending++
	b.rows++
	limit := b.cfg.ChunkRows
	if b.inlineOpen() {
		limit = b.cfg.InlineRows
	}
	if b.pending >= limit {
		return b.flush()
	}
	return nil
}

// inlineOpen reports whether the rows at hand belong into the answer itself.
func (b *resultBuilder) inlineOpen() bool {
	return b.format == jsonFormat || b.cfg.InlineRows > 0 && b.inlineRows == 0
}

func (b *resultBuilder) flush() error {
	defer func() {
		for _, v := range b.vectors {
			v.reset()
		}
		b.pending = 0
	}()
	if b.format == jsonFormat {
		b.json = append(b.json, jsonRows(b.vectors, b.pending)...)
		b.inlineRows += int64(b.pending)
		return nil
	}
	var body bytes.Buffer
	ends, err := writeStream(&body, b.vectors, b.cfg.BatchRows)
	if err != nil {
		return err
	}
	if b.inlineOpen() {
		b.inline, b.inlineEnds, b.inlineRows = body.Bytes(), ends, int64(b.pending)
		return nil
	}
	if b.spool == nil {
		if b.spool, err = os.CreateTemp(b.dir, "result-"); err != nil {
			return err
		}
	}
	if _, err := b.spool.Write(body.Bytes()); err != nil {
		return err
	}
	b.chunks = append(b.chunks, chunk{rows: int64(b.pending), offset: b.offset, size: int64(body.Len()), ends: ends})
	b.offset += int64(body.Len())
	return nil
}

// finish writes what is pending. A result without rows has no Arrow stream at
// all, but an empty text in its place.
func (b *resultBuilder) finish() error {
	if b.pending > 0 {
		return b.flush()
	}
	return nil
}

// jsonRows is the older encoding of results, in which every value is text.
func jsonRows(vectors []*vector, rows int) [][]*string {
	list := make([][]*string, rows)
	for i := range list {
		list[i] = make([]*string, len(vectors))
		for j, v := range vectors {
			if v.valid[i] {
				list[i][j] = new(v.jsonValue(i))
			}
		}
	}
	return list
}

func (v *vector) jsonValue(i int) string {
	switch v.column.kind {
	case realColumn:
		return strconv.FormatFloat(v.floats[i], 'g', -1, 64)
	case booleanColumn:
		if v.bools[i] {
			return "1"
		}
		return "0"
	case textColumn, variantColumn, objectColumn, arrayColumn, vectorColumn:
		return v.texts[i]
	case binaryColumn:
		return strings.ToUpper(hex.EncodeToString(v.blobs[i]))
	case dateColumn:
		return strconv.FormatInt(v.ints[i], 10)
	case timeColumn:
		return seconds(v.ints[i], 1e9)
	case timestampNTZColumn, timestampLTZColumn:
		return seconds(v.ints[i], v.column.unitsPerSecond())
	case timestampTZColumn:
		s, nanos, offset := v.zoned(i)
		return fmt.Sprintf("%d.%09d %d", s, nanos, offset)
	}
	n := v.wideAt(i)
	if v.column.scale == 0 {
		return n.String()
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(v.column.scale), nil)
	return new(big.Rat).SetFrac(n, unit).FloatString(int(v.column.scale))
}

func (v *vector) wideAt(i int) *big.Int {
	if v.wide != nil {
		return v.wide[i]
	}
	return big.NewInt(v.ints[i])
}

// seconds writes a time as Snowflake's JSON does: seconds with a fraction.
func seconds(n, unit int64) string {
	s := floorDiv(n, unit)
	return fmt.Sprintf("%d.%09d", s, (n-s*unit)*(1e9/unit))
}
