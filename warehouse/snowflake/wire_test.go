package snowflake

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake/wiretest"
)

// wireSeries is an account whose queries return a number and its text in each of
// 90 rows: 30 with the answer, and two chunks of 30.
func wireSeries(chunk func(w http.ResponseWriter, r *http.Request, index, attempt int, body []byte)) *wiretest.Endpoint {
	return &wiretest.Endpoint{ChunkRows: 30, Chunk: chunk, Answer: func(string, wiretest.Session) []wiretest.Column {
		var numbers []int64
		var texts []string
		for n := range 90 {
			numbers, texts = append(numbers, int64(n)), append(texts, fmt.Sprint("row ", n))
		}
		return []wiretest.Column{wireNumbers("N", "fixed", 0, numbers...), wireTexts("T", "text", texts...)}
	}}
}

// ways are the ways to the chunks of a result: the driver's, and the one of a result
// that is opened again by its query's ID.
var ways = map[string]func(t *testing.T, w *Warehouse) ([]string, error){
	"query": func(t *testing.T, w *Warehouse) ([]string, error) {
		r, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT"})
		if err != nil {
			return nil, err
		}
		return readTexts(t.Context(), r)
	},
	"reopened": func(t *testing.T, w *Warehouse) (all []string, err error) {
		manifest, parts, err := keepSeries(t.Context(), w)
		if err != nil {
			return nil, err
		}
		if err := parts.Close(); err != nil {
			return nil, err
		}
		if parts, err = w.Reopen(t.Context(), manifest); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, parts.Close()) }()
		for n := range manifest.Parts {
			part, err := parts.Open(n)
			if err != nil {
				return all, err
			}
			texts, err := readTexts(t.Context(), part)
			if all = append(all, texts...); err != nil {
				return all, err
			}
		}
		return all, nil
	},
}

func keepSeries(ctx context.Context, w *Warehouse) (warehouse.Manifest, warehouse.Parts, error) {
	r, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT"})
	if err != nil {
		return warehouse.Manifest{}, nil, err
	}
	return r.(warehouse.Kept).Keep()
}

// readTexts reads the second column to its end, and closes the rows.
func readTexts(ctx context.Context, rows interface {
	Next(context.Context) (arrow.RecordBatch, error)
	Close() error
}) (texts []string, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		batch, err := rows.Next(ctx)
		if err == io.EOF {
			return texts, nil
		}
		if err != nil {
			return texts, err
		}
		for i := range int(batch.NumRows()) {
			texts = append(texts, batch.Column(1).ValueStr(i))
		}
		batch.Release()
	}
}

// wantSeries validates a read that ended well.
func wantSeries(t *testing.T, texts []string) {
	t.Helper()
	if len(texts) != 90 {
		t.Errorf("%d rows instead of 90", len(texts))
	}
	for i, text := range texts {
		if want := fmt.Sprint("row ", i); text != want {
			t.Errorf("row %d is %q", i, text)
		}
	}
}

// altered returns a chunk with another letter in each text, and the checksum of the
// chunk before the change.
func altered(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	other, err := wiretest.Compress(bytes.ReplaceAll(plain, []byte("row"), []byte("RUW")))
	if err != nil {
		t.Fatal(err)
	}
	const trailer = 8
	return append(other[:len(other)-trailer], packed[len(packed)-trailer:]...)
}

// The rows of a chunk were delivered when its checksum shows that they are damaged.
// No later response may make this good but the whole chunk with the same rows.
func TestDamageIsNotForgotten(t *testing.T) {
	later := map[string]func(w http.ResponseWriter, body []byte){
		"empty body":  func(http.ResponseWriter, []byte) {},
		"one byte":    func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body[:1]) },
		"no response": func(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) },
		"no content":  func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusNoContent) },
		"not found":   func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusNotFound) },
		"good chunk":  func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body) },
		"half":        func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body[:len(body)/2]) },
		"empty gzip": func(w http.ResponseWriter, _ []byte) {
			packed, err := wiretest.Compress(nil)
			if err != nil {
				panic(err)
			}
			_, _ = w.Write(packed)
		},
	}
	for way, read := range ways {
		for name, respond := range later {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := endpoint(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, index, attempt int, body []byte) {
					switch {
					case index != 1:
						_, _ = w.Write(body)
					case attempt == 0:
						_, _ = w.Write(altered(t, body))
					default:
						respond(w, body)
					}
				}), 1)
				w.wait = func(context.Context, time.Duration) error { return nil }
				texts, err := read(t, w)
				if err == nil {
					t.Fatalf("the read ended well with %d rows; the last is %q", len(texts), texts[len(texts)-1])
				}
				var failure *warehouse.Error
				if !errors.As(err, &failure) {
					t.Errorf("the error is %v", err)
				}
			})
		}
	}
}

// A body whose end only a closed connection shows may be cut anywhere.
func TestAnEndIsDeclared(t *testing.T) {
	for way, read := range ways {
		for name, isDeclared := range map[string]bool{"length": true, "connection": false} {
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := endpoint(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, _, _ int, body []byte) {
					conn, out, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = conn.Close() }()
					head := "HTTP/1.1 200 OK\r\nConnection: close\r\n"
					if isDeclared {
						head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
					}
					_, _ = out.WriteString(head + "\r\n" + string(body))
					_ = out.Flush() // the client may have closed the connection
				}), 1)
				texts, err := read(t, w)
				if isDeclared {
					if err != nil {
						t.Fatal(err, errors.Unwrap(err))
					}
					wantSeries(t, texts)
				} else if err == nil {
					t.Error("the read ended well")
				}
			})
		}
	}
}

// A result that is opened again has the columns of its manifest, in their order.
func TestReopeningComparesTheColumns(t *testing.T) {
	for name, test := range map[string]struct {
		change func(types []map[string]any) []map[string]any
		text   string // of the error; empty: none
	}{
		"same":   {func(types []map[string]any) []map[string]any { return types }, ""},
		"case":   {func(types []map[string]any) []map[string]any { types[1]["type"] = "TEXT"; return types }, ""},
		"length": {func(types []map[string]any) []map[string]any { types[1]["length"] = 7; return types }, ""},
		"name": {func(types []map[string]any) []map[string]any { types[0]["name"] = "M"; return types },
			`column 1 is "M" instead of "N"`},
		"exchanged": {func(types []map[string]any) []map[string]any { return []map[string]any{types[1], types[0]} },
			`column 1 is "T" instead of "N"`},
		"type": {func(types []map[string]any) []map[string]any { types[1]["type"] = "variant"; return types },
			`column "T" is variant(0,0) instead of text(0,0)`},
		"scale": {func(types []map[string]any) []map[string]any { types[0]["scale"] = 2; return types },
			`column "N" is fixed(10,2) instead of fixed(10,0)`},
		"precision": {func(types []map[string]any) []map[string]any { types[0]["precision"] = 38; return types },
			`column "N" is fixed(38,0) instead of fixed(10,0)`},
		"more":  {func(types []map[string]any) []map[string]any { return append(types, types[0]) }, "3 columns instead of 2"},
		"fewer": {func(types []map[string]any) []map[string]any { return types[:1] }, "1 columns instead of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			e := wireSeries(nil)
			w := endpoint(t, e, 1)
			manifest, parts, err := keepSeries(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			if err := parts.Close(); err != nil {
				t.Error(err)
			}
			e.SetAgain(func(data map[string]any) { data["rowtype"] = test.change(data["rowtype"].([]map[string]any)) })
			parts, err = w.Reopen(t.Context(), manifest)
			if err == nil {
				if err := parts.Close(); err != nil {
					t.Error(err)
				}
			}
			var failure *warehouse.Error
			switch {
			case test.text == "" && err != nil:
				t.Error(err)
			case test.text != "" && (!errors.As(err, &failure) || failure.Kind != warehouse.KindIncomplete || !strings.Contains(failure.Message, test.text)):
				t.Errorf("the error is %v", err)
			}
		})
	}
}
