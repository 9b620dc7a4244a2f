package snowflake

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// numbers is an Arrow stream of batches of so many rows, each row a number and
// its text, from a first one on.
func numbers(t testing.TB, first int, batches ...int) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "N", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "T", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	for _, rows := range batches {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for range rows {
			b.Field(0).(*array.Int64Builder).Append(int64(first))
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprint(first))
			first++
		}
		batch := b.NewRecordBatch()
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
		batch.Release()
		b.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

// body is one download: bytes, and how it ends.
type body struct {
	bytes []byte
	err   error // nil means well
}

// chunkOf is a chunk whose downloads are these, the last one again and again.
func chunkOf(mem memory.Allocator, declared int64, bodies ...body) *chunk {
	download := func(context.Context) (io.ReadCloser, error) {
		now := bodies[0]
		if len(bodies) > 1 {
			bodies = bodies[1:]
		}
		stream := io.Reader(bytes.NewReader(now.bytes))
		if now.err != nil {
			stream = io.MultiReader(stream, failing{now.err})
		}
		return io.NopCloser(stream), nil
	}
	return &chunk{download: download, declared: declared, allocator: mem, wait: sleep}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// drain reads a chunk to its end and returns the texts that came.
func drain(c *chunk) (rows []string, err error) {
	defer c.close()
	for {
		batch, err := c.next(context.Background())
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		for i := range int(batch.NumRows()) {
			rows = append(rows, batch.Column(1).ValueStr(i))
		}
		batch.Release()
	}
}

func TestAChunkIsWholeOrAnError(t *testing.T) {
	whole, other, longer := numbers(t, 0, 3, 3, 3), numbers(t, 1, 3, 3, 3), numbers(t, 0, 3, 3, 3, 3)
	broken := errors.New("broken off")
	boundary := len(numbers(t, 0, 3, 3)) - 8 // without the end mark
	for _, test := range []struct {
		name     string
		declared int64
		bodies   []body
		rows     int
		err      error // nil means any, where not all rows come
	}{
		{"whole", 9, []body{{whole, nil}}, 9, nil},
		{"without its end mark", 9, []body{{whole[:len(whole)-8], nil}}, 9, nil},
		{"with something behind it", 9, []body{{append(bytes.Clone(whole), "and more"...), nil}}, 9, nil},
		{"empty, as declared", 0, []body{{nil, nil}}, 0, nil},
		{"broken off once", 9, []body{{whole[:boundary], broken}, {whole, nil}}, 9, nil},
		{"broken off twice, further on", 9, []body{{whole[:boundary/2], broken}, {whole[:boundary], broken}, {whole, nil}}, 9, nil},
		{"broken off twice, not so far", 9, []body{{whole[:boundary], broken}, {whole[:boundary/2], broken}, {whole, nil}}, 9, nil},
		{"broken off behind the end mark once", 9, []body{{whole, broken}, {whole, nil}}, 9, nil},
		{"broken off behind the end mark", 9, []body{{whole, broken}}, -1, broken},
		{"broken off behind the end mark, then empty", 9, []body{{whole, broken}, {nil, nil}}, -1, broken},
		{"broken off", 9, []body{{whole[:boundary], broken}}, -1, broken},
		{"short once", 9, []body{{whole[:boundary], nil}, {whole, nil}}, 9, nil},
		{"short", 9, []body{{whole[:boundary], nil}}, -1, &countError{6, 9}},
		{"empty", 9, []body{{nil, nil}}, -1, &countError{0, 9}},
		{"too long", 9, []body{{longer, nil}}, -1, &countError{12, 9}},
		{"more than declared in one batch", 2, []body{{whole, nil}}, -1, &countError{3, 2}},
		{"another one the second time", 9, []body{{whole[:boundary], broken}, {other, nil}, {whole, nil}}, 9, nil},
		{"another one from then on", 9, []body{{whole[:boundary], broken}, {other, nil}}, -1, errAltered},
		{"another cut of batches from then on", 9, []body{{whole[:boundary], broken}, {numbers(t, 0, 2, 2, 2, 3), nil}}, -1, errAltered},
	} {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		rows, err := drain(chunkOf(mem, test.declared, test.bodies...))
		mem.AssertSize(t, 0)
		var count *countError
		switch {
		case test.rows >= 0 && (err != nil || len(rows) != test.rows):
			t.Errorf("%s: %d rows, %v", test.name, len(rows), err)
		case test.rows < 0 && err == nil:
			t.Errorf("%s: a good end after %d rows", test.name, len(rows))
		case errors.As(test.err, &count):
			var got *countError
			if !errors.As(err, &got) || *got != *count {
				t.Errorf("%s: %v instead of %v", test.name, err, count)
			}
		case test.err != nil && !errors.Is(err, test.err):
			t.Errorf("%s: %v instead of %v", test.name, err, test.err)
		}
		for i, row := range rows {
			if row != fmt.Sprint(i) {
				t.Errorf("%s: row %d is %s", test.name, i, row)
			}
		}
	}
}

// A download that fails with io.EOF is no end, also when all rows were delivered.
func TestADownloadThatFailsIsNoEnd(t *testing.T) {
	for _, declared := range []int64{0, 9} {
		c := chunkOf(memory.DefaultAllocator, declared, body{numbers(t, 0, 3, 3, 3), gzip.ErrChecksum})
		first := c.download
		c.download = func(ctx context.Context) (io.ReadCloser, error) {
			if declared == 0 || c.delivered > 0 {
				return nil, io.EOF
			}
			return first(ctx)
		}
		if rows, err := drain(c); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%d rows of %d, %v", len(rows), declared, err)
		}
	}
}

// A connection that closes before it answers is an EOF to net/http.
func TestAFailureIsNoEnd(t *testing.T) {
	r := &result{ctx: t.Context(), chunks: make([]source, 1), number: 1}
	for _, cause := range []error{io.EOF, &url.Error{Op: "Get", URL: "https://signed.example", Err: io.EOF}, fmt.Errorf("arrow: %w", io.EOF)} {
		if err := r.chunkFailed(cause); errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v becomes %v", cause, err)
		}
	}
}

// FuzzChunk reads whatever comes: it ends well only with as many rows as were
// declared, all of which can be read.
func FuzzChunk(f *testing.F) {
	whole := numbers(f, 0, 3, 2)
	f.Add(whole, int64(5))
	f.Add(whole[:len(whole)-40], int64(5))
	f.Add(numbers(f, 7), int64(0))
	f.Add([]byte(strings.Repeat("\xff", 64)), int64(1))
	l, err := newLayout(2, []rowType{{Name: "fixed", Type: "fixed", Precision: 18}, {Name: "text", Type: "text", Length: 100, Position: 1}}, time.UTC)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, stream []byte, declared int64) {
		c := chunkOf(memory.DefaultAllocator, declared, body{stream, nil})
		defer c.close()
		var rows int64
		for {
			raw, err := c.next(context.Background())
			if err == io.EOF {
				if rows != declared {
					t.Errorf("a good end after %d rows of %d", rows, declared)
				}
				return
			}
			if err != nil {
				return
			}
			rows += raw.NumRows()
			if raw.NumCols() == 2 {
				if batch, err := l.convert(memory.DefaultAllocator, raw); err == nil {
					for i := range int(batch.NumRows()) {
						_, _ = batch.Column(0).ValueStr(i), batch.Column(1).ValueStr(i)
					}
					batch.Release()
				}
			}
			raw.Release()
		}
	})
}

// BenchmarkChunk reads a chunk of many batches, plain and compressed, beside
// Arrow's own reader, which proves nothing. The ratio says how many times as fast
// ours is.
func BenchmarkChunk(b *testing.B) {
	const rows, batches = 4_000, 16
	plain := numbers(b, 0, slices.Repeat([]int{rows}, batches)...)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	for name, open := range map[string]func() (io.Reader, error){
		"plain": func() (io.Reader, error) { return bytes.NewReader(plain), nil },
		"gzip":  func() (io.Reader, error) { return gzip.NewReader(bytes.NewReader(packed.Bytes())) },
	} {
		b.Run(name, func(b *testing.B) {
			download := func(context.Context) (io.ReadCloser, error) {
				r, err := open()
				return io.NopCloser(r), err
			}
			var ours, arrows time.Duration
			for b.Loop() {
				start := time.Now()
				c := &chunk{download: download, declared: rows * batches, allocator: memory.DefaultAllocator}
				var err error
				for err == nil {
					var batch arrow.RecordBatch
					if batch, err = c.next(b.Context()); err == nil {
						batch.Release()
					}
				}
				c.close()
				ours += time.Since(start)
				if err != io.EOF {
					b.Fatal(err)
				}

				start = time.Now()
				source, err := open()
				if err != nil {
					b.Fatal(err)
				}
				reader, err := ipc.NewReader(source, ipc.WithAllocator(memory.DefaultAllocator))
				if err != nil {
					b.Fatal(err)
				}
				for reader.Next() {
				}
				reader.Release()
				arrows += time.Since(start)
			}
			b.ReportMetric(rows*batches*float64(b.N)/ours.Seconds(), "rows/s")
			b.ReportMetric(arrows.Seconds()/ours.Seconds(), "x_ipc.Reader")
		})
	}
}
