package duckdb

import (
	"cmp"
	"io"

	bindings "github.com/duckdb/duckdb-go-bindings"
	"golang.org/x/sync/semaphore"

	"github.com/sigmasource/sigmasource/warehouse"
)

// fetched is a chunk, or why there is none: io.EOF after the last.
type fetched struct {
	chunk   bindings.DataChunk
	vectors []vector
	rows    int
	bytes   int   // that they make, about
	weight  int64 // in the room
	err     error
}

// How much is fetched before it is asked for, so that DuckDB goes on while a batch
// is made.
const (
	chunksAhead = 16
	ahead       = 2 << 20 // bytes, about
	leastWeight = ahead / chunksAhead
)

// begin starts the query, and the fetching of its chunks.
func (r *result) begin() {
	r.chunks, r.room = make(chan fetched, chunksAhead), semaphore.NewWeighted(ahead)
	go r.fetchAll()
}

// fetchAll runs the query, and passes its chunks on until its end, or the read's.
func (r *result) fetchAll() {
	defer close(r.chunks)
	for r.room.Acquire(r.ctx, leastWeight) == nil {
		f := r.fetch()
		f.weight = max(leastWeight, min(int64(f.bytes), ahead))
		if r.room.Acquire(r.ctx, f.weight-leastWeight) != nil {
			bindings.DestroyDataChunk(&f.chunk)
			return
		}
		r.chunks <- f // has a place for whatever there is room for
		if f.err != nil {
			return
		}
	}
}

// take makes the next chunk the current one.
func (r *result) take() error {
	if r.current.err != nil { // there are no further chunks
		return r.current.err
	}
	bindings.DestroyDataChunk(&r.current.chunk)
	f, more := <-r.chunks
	if !more {
		f.err = r.ctx.Err()
	}
	r.room.Release(f.weight)
	r.current, r.offset = f, 0
	return f.err
}

// fetch takes the next chunk from DuckDB, and runs the query the first time.
func (r *result) fetch() (f fetched) {
	endTurn, err := r.house.turn(r.ctx)
	if err != nil {
		return fetched{err: err}
	}
	defer endTurn()
	if !r.running {
		if err := r.run(); err != nil {
			return fetched{err: err}
		}
	}
	for f.rows == 0 { // only a chunk that is not there is the end
		bindings.DestroyDataChunk(&f.chunk)
		f.chunk = bindings.FetchChunk(r.rows)
		if f.chunk.Ptr == nil {
			if text := bindings.ResultError(&r.rows); text != "" {
				return fetched{err: translate(text)}
			}
			// An interrupt between two chunks must not look like the end.
			return fetched{err: cmp.Or(r.ctx.Err(), io.EOF)}
		}
		f.rows = int(bindings.DataChunkGetSize(f.chunk))
	}
	for i, position := range r.positions {
		f.vectors = append(f.vectors, bind(&r.types[i], bindings.DataChunkGetVector(f.chunk, bindings.IdxT(position))))
	}
	fixed, texts := f.weigh()
	f.bytes = f.rows*fixed + texts
	return f
}

// run starts the query. From here on DuckDB's threads work on it, whoever waits for it.
func (r *result) run() error {
	// The streaming calls are marked as deprecated in DuckDB's header since 1.0, without
	// a successor: every other way holds the whole result.
	if bindings.PendingPreparedStreaming(r.prepared, &r.pending) == bindings.StateError {
		return translate(bindings.PendingError(r.pending))
	}
	state := bindings.ExecutePending(r.pending, &r.rows)
	r.running = true
	if state == bindings.StateError {
		return translate(bindings.ResultError(&r.rows))
	}
	return r.checkColumns()
}

// checkColumns makes sure that the vectors are what the statement was compiled
// to, since they are read as raw memory. DuckDB compiles again where its
// catalog has changed meanwhile.
func (r *result) checkColumns() error {
	same := int(bindings.ColumnCount(&r.rows)) == r.width
	for i := 0; same && i < len(r.types); i++ {
		same = bindings.ColumnType(&r.rows, bindings.IdxT(r.positions[i])) == r.types[i].id
	}
	if !same {
		return &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "the tables changed while the query started; try again"}
	}
	return nil
}

// weigh returns how many bytes a chunk makes, about: of each row those of a fixed size,
// and texts of all rows.
func (f *fetched) weigh() (fixed, texts int) {
	for _, v := range f.vectors {
		switch {
		case v.isText():
			texts += v.length(0, f.rows)
		case len(v.children) > 0:
			fixed += batchBytes / 256 // unknown until it is written as JSON
		default:
			fixed += 8
		}
	}
	return fixed, texts
}

// fit returns how many rows of the chunk, from one on, make at most the given bytes,
// but one at least, and how many bytes they are.
func (f *fetched) fit(from, limit int) (to, bytes int) {
	if from == 0 && f.bytes <= limit {
		return f.rows, f.bytes
	}
	fixed, _ := f.weigh()
	for to = from; to < f.rows; to++ {
		row := fixed
		for _, v := range f.vectors {
			if v.isText() {
				row += v.length(to, to+1)
			}
		}
		if to > from && bytes+row > limit {
			break
		}
		bytes += row
	}
	return to, bytes
}
