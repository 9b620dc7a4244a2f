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

	// BeforeCompile is called when a query has arrived and is about to be
	// compiled, BeforeRun when it has been compiled and is about to run. They
	// may block: the context ends when the query is aborted, reaches its
	// statement timeout, or the server closes. An error fails the query.
	BeforeCompile, BeforeRun func(ctx context.Context, q Query) *Error

	// DeclaredRows returns the total to declare for a result of so many rows.
	// The rows themselves are delivered unchanged.
	DeclaredRows func(q Query, rows int64) int64

	// Inline is asked for each answer with a result: what happens to the rows
	// that come within it. A stall and a cut hit the answer as a whole.
	Inline func(q Query) ChunkFault

	// Unlisted reports whether an answer leaves a chunk out of its list. The
	// total still counts its rows.
	Unlisted func(q Query, index int) bool

	// Chunk is asked for each download of a chunk: index counts the query's
	// chunks and attempt the downloads of this one, both from 0.
	Chunk func(queryID string, index, attempt int) ChunkFault
}

// ChunkFault is what happens to the body of one chunk download.
type ChunkFault struct {
	Do ChunkAction
	At ChunkPlace
	// Batch is the record batch that At is about, counted from 0, or the last one
	// where there are fewer.
	Batch int
}

// ChunkAction is what goes wrong in a chunk download.
type ChunkAction int

// The actions.
const (
	Deliver  ChunkAction = iota // nothing goes wrong
	Stall                       // the body stops without an end until the client or the server gives up
	Cut                         // the connection breaks
	Truncate                    // the body ends early and looks complete to HTTP, and to gzip where it is compressed
	Corrupt                     // bytes are changed on their way
	Lose                        // 404, as for a chunk that the store does not hold; inline rows are just not there
)

func (a ChunkAction) String() string {
	return [...]string{"deliver", "stall", "cut", "truncate", "corrupt", "lose"}[a]
}

// ChunkPlace is where in a chunk's body it goes wrong.
type ChunkPlace int

// The places.
const (
	AfterHeaders  ChunkPlace = iota // before the first byte of the body
	MidBatch                        // within a record batch
	BatchBoundary                   // where a record batch ends and the next or the end-of-stream mark begins
	ChunkEnd                        // behind the last record batch, before the end-of-stream mark
)

func (p ChunkPlace) String() string {
	return [...]string{"after the headers", "within batch", "behind batch", "at the chunk's end"}[p]
}

// serveChunk writes the chunk's Arrow stream, or as much of it as the fault
// lets through. ends are the offsets at which record batches end.
func serveChunk(w http.ResponseWriter, r *http.Request, stop <-chan struct{}, body []byte, ends []int64, compress bool, f ChunkFault) {
	if f.Do == Lose {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "binary/octet-stream")
	at := f.offset(int64(len(body)), ends)
	switch f.Do {
	case Deliver:
		writeChunk(w, body, compress)
	case Truncate:
		writeChunk(w, body[:at], compress)
	case Corrupt:
		writeCorrupt(w, body, at, compress)
	case Cut, Stall:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		breakOff(w, r, stop, body[:at], compress, f.Do)
	}
}

// breakOff writes the beginning of a body and never its end.
func breakOff(w http.ResponseWriter, r *http.Request, stop <-chan struct{}, beginning []byte, compress bool, do ChunkAction) {
	if compress {
		z := gzip.NewWriter(w)
		_, _ = z.Write(beginning) // a client that has gone needs no answer
		_ = z.Flush()             // likewise
	} else {
		_, _ = w.Write(beginning)
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	if do == Stall {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	}
	panic(http.ErrAbortHandler)
}

// breakOffAnswer writes an answer up to half, or nothing of it.
func (s *Server) breakOffAnswer(w http.ResponseWriter, r *http.Request, data queryData, f ChunkFault) {
	var whole bytes.Buffer
	writeJSON(&whole, envelope{Data: data, Success: true})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(whole.Len()))
	beginning := whole.Bytes()[:whole.Len()/2]
	if f.At == AfterHeaders {
		beginning = nil
	}
	breakOff(w, r, s.stop, beginning, false, f.Do)
}

// offset returns how many bytes of the body come before the place.
func (f ChunkFault) offset(size int64, ends []int64) int64 {
	if f.At == AfterHeaders || len(ends) == 0 {
		return 0
	}
	batch := min(f.Batch, len(ends)-1)
	switch f.At {
	case ChunkEnd:
		return ends[len(ends)-1]
	case BatchBoundary:
		return ends[batch]
	}
	var before int64
	if batch > 0 {
		before = ends[batch-1]
	}
	return min(before+(ends[batch]-before)/2, size)
}

// corrupt changes the description of the message that begins at the offset, or
// values in the middle of one, which nobody notices: Arrow has no checksum of
// its own. Spared are the eight bytes of a message's length before the
// description, which arrow-go takes at their word, unless there is nothing else
// behind the offset.
func corrupt(body []byte, at int64) []byte {
	c := bytes.Clone(body)
	from := at + 8
	if from >= int64(len(c)) {
		from = at
	}
	flip(c[from:min(from+64, int64(len(c)))])
	return c
}

func flip(b []byte) {
	for i := range b {
		b[i] ^= 0xA5
	}
}

// writeCorrupt changes what goes over the wire. In a compressed body that is a
// place as far on as the offset is in the plain one, behind gzip's own header,
// of which most bytes mean nothing.
func writeCorrupt(w io.Writer, body []byte, at int64, compress bool) {
	if !compress {
		writeChunk(w, corrupt(body, at), false)
		return
	}
	const header = 10
	var packed bytes.Buffer
	writeChunk(&packed, body, true)
	c := packed.Bytes()
	room := c[header:]
	from := int64(len(room)-1) * at / int64(len(body))
	flip(room[from:min(from+16, int64(len(room)))])
	_, _ = w.Write(c)
}

func writeChunk(w io.Writer, body []byte, compress bool) {
	if !compress {
		_, _ = w.Write(body) // a client that has gone needs no answer
		return
	}
	z := gzip.NewWriter(w)
	_, _ = z.Write(body)
	_ = z.Close()
}
