package shapes_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/server/shapes"
)

func TestSQL(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"names and limits", `select ID_2 "Order Id", SUM_3 "Revenue" from (select ID ID_2, sum(AMOUNT) SUM_3 from SHOP.SALES.ORDERS group by ID limit 1000) Q1 limit 1000`,
			`select ID1 "ID2", ID3 "ID4" from (select ID5 ID1, sum(ID6) ID3 from ID7.ID8.ID9 group by ID5 limit 1000) ID10 limit 1000`},
		{"case of names", `select Foo, FOO, "Foo" from foo`, `select ID1, ID1, "ID2" from ID1`},
		{"constants", `where D >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') and X = '*'`,
			`where ID1 >= to_timestamp_ltz('9999-99-99x99:99:99.999999999-99:99', 'xxxx-xx-xxxxx99:xx:xx.xx9xxx:xxx') and ID2 = '*'`},
		{"functions", `acme_margin(X) + other(Y) + acme_margin(1) + ACME_MARGIN`, `FN1(ID1) + FN2(ID2) + FN1(1) + ID3`},
		{"numbers", `limit 37 offset 100 ; 12345 0.25 1e6 0 1 limit 1000001 limit 101`, `limit 9 offset 100 ; 9 9.9 9.9 0 1 limit 1000001 limit 101`},
		{"comment", "select 1 -- Sigma Σ {\"email\":\"ann@example.com\"}\n/* ann */", "select 1 -- /**/"},
		{"other alphabets", `select größe, 'größe 数据 🙂' from таблица`, `select ID1, 'xxxxx xx ?' from ID2`},
		{"doubled quotes", `select 'it''s'`, `select 'xx??x'`},
		{"long constant", `select '` + strings.Repeat("a", 70) + `'`, `select '` + strings.Repeat("x", 60) + `…'`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, shapes.SQL(test.text)); diff != "" {
				t.Errorf("shape (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"kinds", `{"entries":[{"total":1,"share":0.5,"isOn":true,"next":null}],"name":"Ann"}`,
			`{"entries":["elements 1",{"isOn":"boolean","next":"null","share":"float","total":"integer"}],"name":"string 1-10"}`},
		{"forms", `["2026-01-02","2026-01-02T03:04:05.678Z","a@b.co","https://x.y/z","0f8fad5b-d9cb-469f-a165-70867728950e","12.5","","short"]`,
			`["elements 2-10","string 0","string 1-10","string 1-10, date","string 1-10, e-mail","string 1-10, number","string 11-40, date","string 11-40, url","string 11-40, uuid"]`},
		{"keys", `{"fieldName":1,"Region":2,"Order Id":"x","user12345":3,"a@b.co":null,"0f8fad5b":true}`,
			`{"fieldName":"integer","{key}":["elements 2-10","boolean","integer","null","string 1-10"]}`},
		{"sql", `{"sql":"select \"A\" from T limit 1000"}`, `{"sql":{"sql":"select \"ID1\" from ID2 limit 1000"}}`},
		{"prose is no sql", `{"message":"Selected item is gone"}`, `{"message":"string 11-40"}`},
		{"no json", `<html>`, `"not JSON, 1-10"`},
		{"two texts", `{} {}`, `"not JSON, 1-10"`},
		{"empty", ``, `"not JSON, 0"`},
		{"empty array", `[]`, `["elements 0"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(shapes.JSON([]byte(test.text)))
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			encoder := json.NewEncoder(&want)
			var value any
			if err := errors.Join(json.Unmarshal([]byte(test.want), &value), encoder.Encode(value)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(want.String()), string(got)); diff != "" {
				t.Errorf("shape (-want +got):\n%s", diff)
			}
		})
	}
}

var (
	leaf     = regexp.MustCompile(`^(string [0-9+-]+(, (uuid|url|e-mail|date|number))?|not JSON, [0-9+-]+|elements [0-9+-]+|integer|float|boolean|null|deeper)$`)
	field    = regexp.MustCompile(`^[a-z_][A-Za-z0-9_-]{0,40}$`)
	word     = regexp.MustCompile(`[\pL_][\pL\pN_]*`)
	numbered = regexp.MustCompile(`^((ID|FN)[0-9]+|[x9_]+)$`)
)

// checkShape fails unless a shape is made of the words of this package, SQL's known
// words and names of fields.
func checkShape(t rapid.TB, shape any) {
	t.Helper()
	switch v := shape.(type) {
	case string:
		if !leaf.MatchString(v) {
			t.Fatalf("a shape holds %q", v)
		}
	case []any:
		for _, element := range v {
			checkShape(t, element)
		}
	case map[string]any:
		for key, value := range v {
			if text, isText := value.(string); isText && key == "sql" && !leaf.MatchString(text) {
				checkSQL(t, text)
				continue
			}
			if key != "{key}" && !field.MatchString(key) {
				t.Fatalf("a shape has the key %q", key)
			}
			checkShape(t, value)
		}
	default:
		t.Fatalf("a shape holds a %T", v)
	}
}

func checkSQL(t rapid.TB, shape string) {
	t.Helper()
	for _, w := range word.FindAllString(shape, -1) {
		if !numbered.MatchString(w) && !shapes.IsSQLWord(w) {
			t.Fatalf("the shape of a SQL text holds %q: %s", w, shape)
		}
	}
}

// canary is in every name, value, address and host of the answers of these tests.
const canary = "Kanari"

func TestNothingOfAnAnswerSurvives(t *testing.T) {
	dir := t.TempDir()
	recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		body, err := json.Marshal(drawJSON(rt, 4))
		if err != nil {
			rt.Fatal(err)
		}
		path := rapid.SampledFrom([]string{"/v2/workbooks/" + canary + "/elements/" + canary + "/query", "/v2/" + canary, "/queries/" + canary + "/result",
			"/session/v1/login-request", "/monitoring/queries/" + canary, "/v2/workbooks/" + canary + "/columns"}).Draw(rt, "path")
		sent := body
		header := http.Header{"Content-Type": {canary}}
		if rapid.Bool().Draw(rt, "compressed") {
			var compressed bytes.Buffer
			w := gzip.NewWriter(&compressed)
			if _, err := w.Write(body); err != nil {
				rt.Fatal(err)
			}
			if err := w.Close(); err != nil {
				rt.Fatal(err)
			}
			sent = compressed.Bytes()
			header.Set("Content-Encoding", "gzip")
		}
		transport := recorder.Transport(answering(rapid.SampledFrom([]int{200, 400, 403, 500}).Draw(rt, "status"), header, sent))
		got, err := fetch(transport, "https://"+canary+".example"+path+"?tag="+canary)
		if err != nil || !bytes.Equal(got, sent) {
			rt.Fatalf("the answer that arrives is not the one that was sent: %v", err)
		}
		for _, file := range readDir(rt, dir) {
			if checked[file] {
				continue
			}
			checked[file] = true
			if strings.Contains(strings.ToLower(file), strings.ToLower(canary)) {
				rt.Fatalf("a file holds the canary:\n%s\nof\n%s", file, body)
			}
		}
		checkShape(rt, shapes.JSON(body))
	})
	if len(checked) == 0 {
		t.Error("nothing was recorded")
	}
}

// drawJSON draws JSON with the canary in every text and in every key that is none of
// an API's.
func drawJSON(rt *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 9).Draw(rt, "kind")
	if depth == 0 {
		kind = kind % 6
	}
	switch kind {
	case 0:
		return rapid.Int64().Draw(rt, "integer")
	case 1:
		return rapid.SampledFrom([]any{nil, true, 0.5, ""}).Draw(rt, "other")
	case 2, 3:
		return rapid.SampledFrom([]string{canary, canary + "@example.com", "ann@" + canary + ".com", "https://" + canary + ".com/" + canary, "2026-01-01 " + canary, canary + "123"}).Draw(rt, "text")
	case 4, 5:
		return drawSQL(rt)
	case 6, 7:
		var elements []any
		for range rapid.IntRange(0, 5).Draw(rt, "elements") {
			elements = append(elements, drawJSON(rt, depth-1))
		}
		return elements
	}
	object := map[string]any{}
	for range rapid.IntRange(0, 5).Draw(rt, "keys") {
		key := rapid.SampledFrom([]string{"name", "sql", "entries", "dataModelId", canary, canary + " Id", strings.ToUpper(canary), strings.ToLower(canary) + "@example.com",
			strings.ToLower(canary) + "12345", strings.ToLower(canary) + ".x", "0f8fad5b" + canary}).Draw(rt, "key")
		object[key] = drawJSON(rt, depth-1)
	}
	return object
}

// drawSQL draws a text that begins like a query and has the canary in names, constants
// and comments. It need not be valid.
func drawSQL(rt *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.SampledFrom([]string{canary, `"` + canary + `"`, `"` + canary, "'" + canary, "'" + canary + "'", "$$" + canary + "$$", "-- " + canary + "\n", "/* " + canary + " */", "// " + canary + "\n",
		canary + "(", canary + " (1)", canary + "." + canary, "limit 1000", "limit 37", "@" + canary, "$" + canary, ":" + canary, "{{system::" + canary + "}}", `\` + canary, "from", "where", "=", ",", "(", ")", "'", `"`, "e'" + canary + "'",
		"x'" + canary + "'", "1" + canary, "1e" + canary, "\x00" + canary, "ü" + canary}), 0, 20).Draw(rt, "pieces")
	return "select " + strings.Join(pieces, " ")
}

func FuzzShapes(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"b",{"C":null}]}`, "select 'a' from B limit 1000", `"with x as (select 1) select * from x"`, "{", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkShape(t, shapes.JSON([]byte(text)))
		checkSQL(t, shapes.SQL(text))
	})
}

func TestEachShapeIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // the second recorder finds the files of the first
		recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Ann", "Bob", "Eve"} {
			if _, err := fetch(recorder.Transport(answering(200, nil, []byte(`{"name":"`+name+`"}`))), "https://h/v2/workbooks/"+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{`{
  "endpoint": "GET /v2/workbooks/{}",
  "status": 200,
  "body": {
    "name": "string 1-10"
  }
}
`}
	if diff := cmp.Diff(want, readDir(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestRowsAndStrangersAreNotRecorded(t *testing.T) {
	dir := t.TempDir()
	recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	rows := recorder.Transport(answering(200, nil, []byte(`[{"margin":1}]`)))
	for _, address := range []string{"https://h/v2/query/q/download", "https://stage.example/results/1/2", "https://stage.example/margin"} {
		if body, err := fetch(rows, address); err != nil || string(body) != `[{"margin":1}]` {
			t.Errorf("%s: %q, %v", address, body, err)
		}
	}
	files := readDir(t, dir)
	if len(files) != 1 || !strings.Contains(files[0], `"rows, not recorded"`) || strings.Contains(files[0], "margin") {
		t.Errorf("files %q", files)
	}
}

func TestLimitsOfARecording(t *testing.T) {
	t.Run("answer", func(t *testing.T) {
		dir := t.TempDir()
		recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"name":"` + strings.Repeat("a", shapes.MaxAnswer) + `"}`)
		got, err := fetch(recorder.Transport(answering(200, nil, body)), "https://h/v2/workbooks")
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes arrive of %d: %v", len(got), len(body), err)
		}
		if files := readDir(t, dir); len(files) != 1 || !strings.Contains(files[0], `"too large"`) {
			t.Errorf("files %q", files)
		}
	})
	t.Run("files", func(t *testing.T) {
		dir := t.TempDir()
		for i := range shapes.MaxFiles {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		requireFull(t, dir)
	})
	t.Run("bytes", func(t *testing.T) {
		dir := t.TempDir()
		file, err := os.Create(filepath.Join(dir, "large"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(file.Truncate(shapes.MaxBytes), file.Close()); err != nil {
			t.Fatal(err)
		}
		requireFull(t, dir)
	})
	t.Run("file", func(t *testing.T) {
		dir := t.TempDir()
		recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal("select " + strings.Repeat("a, ", 200_000))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(recorder.Transport(answering(200, nil, []byte(`[`+strings.Repeat(`{"a":`, 20)+string(text)+strings.Repeat("}", 20)+`]`))), "https://h/v2/workbooks"); err != nil {
			t.Fatal(err)
		}
		for _, file := range readDir(t, dir) {
			if len(file) > 256<<10 {
				t.Errorf("a file of %d bytes", len(file))
			}
		}
	})
}

// requireFull checks that a recorder adds nothing to a folder, and says so once.
func requireFull(t *testing.T, dir string) {
	t.Helper()
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	recorder, err := shapes.Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"a":1}`, `{"b":1}`} {
		if got, err := fetch(recorder.Transport(answering(200, nil, []byte(body))), "https://h/v2/workbooks"); err != nil || string(got) != body {
			t.Errorf("%q, %v", got, err)
		}
	}
	after, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) || strings.Count(log.String(), "is full") != 1 {
		t.Errorf("%d files after %d, log %s", len(after), len(before), log.String())
	}
}

func TestAFolderThatVanishesHarmsNoCall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shapes")
	var log bytes.Buffer
	recorder, err := shapes.Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	body, err := fetch(recorder.Transport(answering(200, nil, []byte(`{}`))), "https://h/v2/workbooks")
	if err != nil || string(body) != `{}` || !strings.Contains(log.String(), "cannot be written") {
		t.Errorf("%q, %v, log %s", body, err, log.String())
	}
	if _, err := shapes.Open(filepath.Join(dir, "\x00"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder that cannot exist was opened")
	}
}

func TestAnAnswerThatBreaksOffHasNoShape(t *testing.T) {
	dir := t.TempDir()
	recorder, err := shapes.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the connection is lost")
	transport := recorder.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"a":`), failingReader{broken})
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
	}))
	if _, err := fetch(transport, "https://h/v2/workbooks"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	lost := recorder.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, broken }))
	if _, err := fetch(lost, "https://h/v2/workbooks"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if files := readDir(t, dir); len(files) != 0 {
		t.Errorf("files %q", files)
	}
	early := recorder.Transport(answering(200, nil, []byte(`{"a":1}`+"\n")))
	response, err := early.RoundTrip(request(t, "https://h/v2/workbooks"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(json.NewDecoder(response.Body).Decode(&struct{}{}), response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if files := readDir(t, dir); len(files) != 1 {
		t.Errorf("a reader that stops at the end of the JSON leaves %d files", len(files))
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering is a transport on which every request gets the same answer.
func answering(status int, header http.Header, body []byte) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) {
		if header == nil {
			header = http.Header{}
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
	})
}

func request(t rapid.TB, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fetch(transport http.RoundTripper, address string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	return body, errors.Join(err, response.Body.Close())
}

// readDir returns the texts of the files of a folder.
func readDir(t rapid.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}
