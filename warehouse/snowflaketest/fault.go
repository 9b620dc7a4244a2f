package snowflaketest

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strconv"
)

// Faults are hostile behaviours. The zero value has none; each function may be
// nil, is called from many goroutines, and composes with the others.
type Faults struct {
	// Status is asked before each request is served. An HTTP status other than
	// 0 is answered instead, such as 503.
	Status func(path string) int

	// Login is asked once a user has shown valid credentials. An error
	// refuses the login.
	Login func(user string) *Error

	// BeforeRun is called when a query has been compiled and is about to run.
	// It may block: the context ends when the query is aborted, reaches its
	// statement timeout, or the server closes. An error fails the query.
	BeforeRun func(ctx context.Context, q Query) *Error

	// DeclaredRows returns the total to declare for a result of so many rows.
	// The rows themselves are delivered unchanged.
	DeclaredRows func(q Query, rows int64) int64

	// Chunk is asked for each download of a chunk: index counts the query's
	// chunks and attempt the downloads of this one, both from 0.
	Chunk func(queryID string, index, attempt int) ChunkFault
}

// ChunkFault is what happens to the body of one chunk download.
type ChunkFault struct {
	Do ChunkAction
	At ChunkPlace
}

// ChunkAction is what goes wrong in a chunk download.
type ChunkAction int

// The actions.
const (
	Deliver  ChunkAction = iota // nothing goes wrong
	Stall                       // the body stops without an end until the client or the server gives up
	Cut                         // the connection breaks
	Truncate                    // the body ends early and looks complete to HTTP
	Corrupt                     // bytes of the body are changed; within a batch nobody notices
	Lose                        // 404, as for a chunk that the store does not hold
)

// ChunkPlace is where in a chunk's body it goes wrong.
type ChunkPlace int

// The places.
const (
	AfterHeaders  ChunkPlace = iota // before the first byte of the body
	MidBatch                        // within a record batch
	BatchBoundary                   // between two record batches, or before the end-of-stream mark where there is one batch
)

// serveChunk writes the chunk's Arrow stream, or as much of it as the fault
// lets through. ends are the offsets at which record batches end.
func serveChunk(w http.ResponseWriter, r *http.Request, stop <-chan struct{}, body []byte, ends []int64, compress bool, f ChunkFault) {
	if f.Do == Lose {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "binary/octet-stream")
	at := faultOffset(int64(len(body)), ends, f.At)
	switch f.Do {
	case Deliver:
		writeChunk(w, body, compress, true)
	case Truncate:
		writeChunk(w, body[:at], compress, true)
	case Corrupt:
		writeChunk(w, corrupt(body, at), compress, true)
	case Cut, Stall:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		writeChunk(w, body[:at], compress, false)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		if f.Do == Stall {
			select {
			case <-r.Context().Done():
			case <-stop:
			}
		}
		panic(http.ErrAbortHandler)
	}
}

// faultOffset returns how many bytes of the body come before the place.
func faultOffset(size int64, ends []int64, at ChunkPlace) int64 {
	if at == AfterHeaders || len(ends) == 0 {
		return 0
	}
	last := ends[(len(ends)-1)/2]
	if at == BatchBoundary {
		return last
	}
	var before int64
	if i := (len(ends) - 1) / 2; i > 0 {
		before = ends[i-1]
	}
	return min(before+(last-before)/2, size)
}

// corrupt changes the description of the message that begins at the offset, or
// values in the middle of one. Arrow has no checksum of its own, so changed
// values are seen only where gzip is around them; hence the description, behind
// its eight bytes of length, which are spared: arrow-go takes them at their
// word and allocates up to 2 GiB.
func corrupt(body []byte, at int64) []byte {
	c := bytes.Clone(body)
	for i := at + 8; i < min(at+72, int64(len(c))); i++ {
		c[i] ^= 0xA5
	}
	return c
}

func writeChunk(w io.Writer, body []byte, compress, whole bool) {
	if !compress {
		_, _ = w.Write(body) // a client that has gone needs no answer
		return
	}
	z := gzip.NewWriter(w)
	_, _ = z.Write(body)
	if whole {
		_ = z.Close()
	} else {
		_ = z.Flush()
	}
}
