package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// result is what a model gives: names of columns, and rows of values.
type result struct {
	names []string
	rows  [][]*pb.Value
}

func (r *result) schema() *pb.Schema {
	schema := &pb.Schema{}
	for _, name := range r.names {
		schema.Columns = append(schema.Columns, &pb.SchemaColumn{Name: name})
	}
	return schema
}

func (r *result) batch() *pb.RowBatch {
	batch := &pb.RowBatch{RowCount: int64(len(r.rows))}
	for _, row := range r.rows {
		batch.Rows = append(batch.Rows, &pb.Row{Values: row})
	}
	return batch
}

// arrow returns the rows as Arrow has them, each value as text.
func (r *result) arrow() arrow.RecordBatch {
	var fields []arrow.Field
	for _, name := range r.names {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for _, row := range r.rows {
		for i, value := range row {
			if isNull(value) {
				b.Field(i).AppendNull()
			} else {
				b.Field(i).(*array.StringBuilder).Append(wantText(value))
			}
		}
	}
	return b.NewRecordBatch()
}

// resultServer serves one result, whatever model is asked for.
type resultServer struct {
	pb.UnimplementedModelQueryServer
	address string

	mu     sync.Mutex
	result *result
	format pb.DataFormat
}

// serveResults serves until the test's end.
func serveResults(t *testing.T) *resultServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, g := &resultServer{address: listener.Addr().String()}, grpc.NewServer()
	pb.RegisterModelQueryServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *resultServer) CreateReadSession(_ context.Context, request *pb.CreateReadSessionRequest) (*pb.CreateReadSessionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.format = request.GetFormat()
	name := demoConnection + "/sessions/s"
	return &pb.CreateReadSessionResponse{Session: &pb.ReadSession{Name: name, Streams: []*pb.ReadStream{{Name: name + "/streams/0"}}}}, nil
}

func (s *resultServer) DeleteReadSession(context.Context, *pb.DeleteReadSessionRequest) (*pb.DeleteReadSessionResponse, error) {
	return &pb.DeleteReadSessionResponse{}, nil
}

func (s *resultServer) ReadRows(_ *pb.ReadRowsRequest, stream grpc.ServerStreamingServer[pb.ReadRowsResponse]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, n := s.result.schema(), int64(len(s.result.rows))
	batch := &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Rows{Rows: s.result.batch()}}
	if s.format == pb.DataFormat_DATA_FORMAT_ARROW {
		messages, err := arrowMessages(s.result.arrow())
		if err != nil {
			return err
		}
		schema.ArrowIpc = messages[0]
		batch.Message = &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{Ipc: messages[1], RowCount: n}}
	}
	return errors.Join(
		stream.Send(&pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Schema{Schema: schema}}),
		stream.Send(batch),
		stream.Send(&pb.ReadRowsResponse{Offset: n, Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{
			RowCount: n, DeclaredRowCount: n, StreamRowCount: n, SessionRowCount: n}}}))
}

func (s *resultServer) PreviewModel(_ *pb.PreviewModelRequest, stream grpc.ServerStreamingServer[pb.PreviewModelResponse]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Schema{Schema: s.result.schema()}}),
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Rows{Rows: s.result.batch()}}),
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Statistics{Statistics: &pb.Statistics{
			RowCount: int64(len(s.result.rows)), Proof: pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR}}}))
}

// arrowPayloads are Arrow messages as they are written.
type arrowPayloads [][]byte

func (p *arrowPayloads) Start() error { return nil }
func (p *arrowPayloads) Close() error { return nil }
func (p *arrowPayloads) WritePayload(payload ipc.Payload) error {
	var b bytes.Buffer
	_, err := payload.WritePayload(&b)
	*p = append(*p, b.Bytes())
	return err
}

// arrowMessages are the messages of a schema and of a batch.
func arrowMessages(batch arrow.RecordBatch) ([][]byte, error) {
	defer batch.Release()
	var p arrowPayloads
	w := ipc.NewWriterWithPayloadWriter(&p, ipc.WithSchema(batch.Schema()))
	return p, errors.Join(w.Write(batch), w.Close(), p.want(2))
}

func (p *arrowPayloads) want(n int) error {
	if len(*p) != n {
		return fmt.Errorf("%d Arrow messages, want %d", len(*p), n)
	}
	return nil
}

// output runs a command on a result and returns what it writes.
func (s *resultServer) output(t rapid.TB, r *result, args ...string) string {
	t.Helper()
	s.mu.Lock()
	s.result = r
	s.mu.Unlock()
	out, _, err := run(context.Background(), "", append([]string{args[0], demoConnection + "/models/w.e", "--server", s.address}, args[1:]...)...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

var (
	null    = &pb.Value{Kind: &pb.Value_NullValue{}}
	oddText = []string{"", " ", "a", "  padded ", "\ttab", "a,b", `say "hi"`, `"`, `""`, "two\nlines", "cr\rlf\r\n", "\n", "\r", `\.`, `\N`, "NULL", "null", "∅", "žluťoučký 数据 🙂", "\uFEFFmark", "#hash", "=1+1", "\u2028", "0"}
	oddName = []string{"A", "A", "A (2)", "A (3)", "B", "", " ", "a,b", `q"q`, "two\nlines", "cr\r\nlf", `\N`, `\.`, "\uFEFFmark", "名前"}
)

func textValue(s string) *pb.Value {
	return &pb.Value{Kind: &pb.Value_StringValue{StringValue: s}}
}

func isNull(value *pb.Value) bool {
	_, null := value.GetKind().(*pb.Value_NullValue)
	return null
}

// kindsOfValues generate the values of one column, but for nulls.
var kindsOfValues = map[string]*rapid.Generator[*pb.Value]{
	"text": rapid.Map(rapid.OneOf(rapid.SampledFrom(oddText), rapid.String()), func(s string) *pb.Value { return textValue(strings.ToValidUTF8(s, "?")) }),
	"bool": rapid.Map(rapid.Bool(), func(b bool) *pb.Value { return &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: b}} }),
	"int": rapid.Map(rapid.OneOf(rapid.SampledFrom([]int64{0, 1 << 53, 1<<53 + 1, -1<<53 - 1, math.MaxInt64, math.MinInt64}), rapid.Int64()),
		func(n int64) *pb.Value { return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: n}} }),
	"double": rapid.Map(rapid.OneOf(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 0.1, 1e21, 5e-324, math.MaxFloat64}), rapid.Float64()),
		func(f float64) *pb.Value { return &pb.Value{Kind: &pb.Value_DoubleValue{DoubleValue: f}} }),
	"decimal": rapid.Map(rapid.SampledFrom([]string{"0", "0.10", "-1.00", "99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001"}),
		func(s string) *pb.Value { return &pb.Value{Kind: &pb.Value_DecimalValue{DecimalValue: s}} }),
	"bytes": rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) *pb.Value { return &pb.Value{Kind: &pb.Value_BytesValue{BytesValue: b}} }),
	"time": rapid.Map(rapid.Int64Range(-62135596800, 253402300799), func(n int64) *pb.Value {
		return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: n, Nanos: int32(n & 0xffff)}}}
	}),
	"json": rapid.Map(rapid.SampledFrom([]string{"null", `""`, "[]", "{\n  \"a\": [1,\r\n 2]\n}", "12345678901234567890.10", `{"a":1,"a":2}`, `"line\nbreak"`, " 1 "}),
		func(s string) *pb.Value { return &pb.Value{Kind: &pb.Value_JsonValue{JsonValue: s}} }),
}

func drawResult(rt *rapid.T) *result {
	kinds := []string{"text", "text", "bool", "int", "double", "decimal", "bytes", "time", "json"}
	r := &result{}
	var columns []*rapid.Generator[*pb.Value]
	for range rapid.IntRange(1, 5).Draw(rt, "columns") {
		r.names = append(r.names, rapid.SampledFrom(oddName).Draw(rt, "name"))
		columns = append(columns, rapid.OneOf(rapid.Just(null), kindsOfValues[rapid.SampledFrom(kinds).Draw(rt, "kind")]))
	}
	for range rapid.IntRange(0, 12).Draw(rt, "rows") {
		var row []*pb.Value
		for _, column := range columns {
			row = append(row, column.Draw(rt, "value"))
		}
		r.rows = append(r.rows, row)
	}
	return r
}

// wantText is a value as CSV has it. It is empty for a null.
func wantText(value *pb.Value) string {
	switch v := value.GetKind().(type) {
	case *pb.Value_StringValue:
		return v.StringValue
	case *pb.Value_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *pb.Value_Int64Value:
		return fmt.Sprint(v.Int64Value)
	case *pb.Value_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *pb.Value_DecimalValue:
		return v.DecimalValue
	case *pb.Value_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *pb.Value_TimestampValue:
		return time.Unix(v.TimestampValue.GetSeconds(), int64(v.TimestampValue.GetNanos())).UTC().Format(time.RFC3339Nano)
	case *pb.Value_JsonValue:
		return v.JsonValue
	}
	return ""
}

// TestFormatsRoundTrip reads what the commands write with readers that are not the
// project's: each value comes back, nulls as nulls, and each row is one record.
func TestFormatsRoundTrip(t *testing.T) {
	s := serveResults(t)
	rapid.Check(t, func(rt *rapid.T) {
		r := drawResult(rt)
		checkCSV(rt, r, s.output(rt, r, "read", "-o", "csv"), "")
		checkCSV(rt, r, s.output(rt, r, "read", "-o", "csv", "--null", "NULL"), "NULL")
		lines := s.output(rt, r, "read", "-o", "json")
		checkJSON(rt, r, lines)
		if preview := s.output(rt, r, "preview", "-o", "json"); preview != lines {
			rt.Errorf("the preview is %q, the read %q", preview, lines)
		}
		checkArrow(rt, r, s.output(rt, r, "read", "-o", "arrow"))
		checkTable(rt, r, s.output(rt, r, "preview"))
	})
}

// field is a field of CSV, with what a reader needs to tell nulls.
type field struct {
	text   string
	quoted bool
}

// parseCSV reads CSV strictly by the grammar of RFC 4180, with LF as the end of a line.
func parseCSV(text string) (records [][]field, err error) {
	var record []field
	for len(text) > 0 {
		var f field
		if f.quoted = text[0] == '"'; f.quoted {
			text = text[1:]
			for {
				before, after, found := strings.Cut(text, `"`)
				if !found {
					return nil, errors.New("a quoted field does not end")
				}
				f.text, text = f.text+before, after
				if !strings.HasPrefix(text, `"`) {
					break
				}
				f.text, text = f.text+`"`, text[1:]
			}
		} else {
			end := strings.IndexAny(text, ",\n\r\"")
			if end < 0 || text[end] == '\r' || text[end] == '"' {
				return nil, fmt.Errorf("an unquoted field ends wrongly: %q", text)
			}
			f.text, text = text[:end], text[end:]
		}
		record = append(record, f)
		switch {
		case strings.HasPrefix(text, ","):
			if text = text[1:]; text == "" {
				return nil, errors.New("the last line does not end")
			}
		case strings.HasPrefix(text, "\n"):
			records, record, text = append(records, record), nil, text[1:]
		default:
			return nil, fmt.Errorf("a field is followed by %q", text)
		}
	}
	return records, nil
}

// checkCSV reads CSV in which nulls are a text; empty means the default.
func checkCSV(t rapid.TB, r *result, out, nullText string) {
	t.Helper()
	if nullText == "" && len(r.names) == 1 {
		nullText = `\N`
	}
	records, err := parseCSV(out)
	if err != nil || len(records) != len(r.rows)+1 {
		t.Fatalf("%d records of %d rows, %v: %q", len(records), len(r.rows), err, out)
	}
	var header []string
	for _, f := range records[0] {
		header = append(header, f.text)
	}
	checkNames(t, r, header)
	for i, row := range r.rows {
		if len(records[i+1]) != len(row) {
			t.Fatalf("the row %d has %d fields: %q", i, len(records[i+1]), out)
		}
		for j, value := range row {
			got := records[i+1][j]
			if null := !got.quoted && got.text == nullText; null != isNull(value) || !null && got.text != wantText(value) {
				t.Errorf("the value %d of row %d is %+v, want %v: %q", j, i, got, value, out)
			}
		}
	}
	checkWithGo(t, records, out)
}

// checkWithGo compares what encoding/csv reads. It takes CRLF within quotes for LF.
func checkWithGo(t rapid.TB, records [][]field, out string) {
	t.Helper()
	got, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(got) != len(records) {
		t.Fatalf("encoding/csv reads %d records of %d, %v: %q", len(got), len(records), err, out)
	}
	for i, record := range records {
		for j, f := range record {
			if want := strings.ReplaceAll(f.text, "\r\n", "\n"); got[i][j] != want {
				t.Errorf("encoding/csv reads %q, want %q: %q", got[i][j], want, out)
			}
		}
	}
}

// checkNames holds the names of an output to those of the columns: the first of a
// name has it, the others have it with a suffix, and no two are equal.
func checkNames(t rapid.TB, r *result, names []string) {
	t.Helper()
	if len(names) != len(r.names) {
		t.Fatalf("the names are %q of %q", names, r.names)
	}
	for i, name := range names {
		first := !slices.Contains(r.names[:i], r.names[i])
		if first && name != r.names[i] || !strings.HasPrefix(name, r.names[i]) || slices.Contains(names[:i], name) {
			t.Errorf("the names are %q of %q", names, r.names)
		}
	}
}

func checkJSON(t rapid.TB, r *result, out string) {
	t.Helper()
	lines := strings.SplitAfter(out, "\n")
	if len(lines) != len(r.rows)+1 || lines[len(r.rows)] != "" {
		t.Fatalf("%d lines of %d rows: %q", len(lines)-1, len(r.rows), out)
	}
	for i, row := range r.rows {
		decoder := json.NewDecoder(strings.NewReader(lines[i]))
		next := func(into any) {
			t.Helper()
			if err := decoder.Decode(into); err != nil {
				t.Fatalf("%v: %q", err, lines[i])
			}
		}
		if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
			t.Fatalf("the line begins with %v, %v: %q", token, err, lines[i])
		}
		var names []string
		for _, value := range row {
			token, err := decoder.Token()
			if err != nil {
				t.Fatalf("%v: %q", err, lines[i])
			}
			names = append(names, token.(string))
			var got json.RawMessage
			next(&got)
			checkJSONValue(t, value, got)
		}
		checkNames(t, r, names)
		if token, err := decoder.Token(); err != nil || token != json.Delim('}') {
			t.Errorf("the line ends with %v, %v: %q", token, err, lines[i])
		}
	}
}

func checkJSONValue(t rapid.TB, value *pb.Value, got json.RawMessage) {
	t.Helper()
	want, isText := wantText(value), true
	switch v := value.GetKind().(type) {
	case *pb.Value_NullValue:
		want, isText = "null", false
	case *pb.Value_BoolValue, *pb.Value_Int64Value:
		isText = false
	case *pb.Value_DoubleValue:
		isText = math.IsNaN(v.DoubleValue) || math.IsInf(v.DoubleValue, 0)
	case *pb.Value_JsonValue:
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(v.JsonValue)); err != nil {
			t.Fatal(err)
		}
		want, isText = compact.String(), false
	}
	text := string(got)
	if isText {
		if err := json.Unmarshal(got, &text); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
	}
	if text != want {
		t.Errorf("%v is written as %s", value, got)
	}
}

func checkArrow(t rapid.TB, r *result, out string) {
	t.Helper()
	reader, err := ipc.NewReader(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	var names []string
	for _, f := range reader.Schema().Fields() {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, r.names) { // Arrow tells columns by their places
		t.Errorf("the names are %q of %q", names, r.names)
	}
	n := 0
	for reader.Next() {
		batch := reader.RecordBatch()
		for i := range int(batch.NumRows()) {
			for j, column := range batch.Columns() {
				want := r.rows[n][j]
				if column.IsNull(i) != isNull(want) || !isNull(want) && column.(*array.String).Value(i) != wantText(want) {
					t.Errorf("%v is written as %q", want, column.ValueStr(i))
				}
			}
			n++
		}
	}
	if reader.Err() != nil || n != len(r.rows) {
		t.Errorf("%d rows of %d: %v", n, len(r.rows), reader.Err())
	}
}

// checkTable reads a table as far as it has everything: names, the number of rows,
// nulls, and values that have no more form than their digits.
func checkTable(t rapid.TB, r *result, out string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if want := len(r.rows) + 4; len(lines) != want && len(r.rows) > 0 {
		t.Fatalf("%d lines of %d rows:\n%s", len(lines), len(r.rows), out)
	}
	cells := func(line string) []string {
		parts := strings.Split(line, "│")
		return parts[1 : len(parts)-1]
	}
	onOneLine := strings.NewReplacer("\n", "·", "\r", "·")
	var names []string
	for i, cell := range cells(lines[1]) {
		padded := strings.TrimPrefix(cell, " ")
		name := onOneLine.Replace(r.names[i])
		if !strings.HasPrefix(padded, name) {
			t.Errorf("the header is %q of %q", lines[1], r.names)
		}
		names = append(names, cell)
	}
	if len(names) != len(r.names) {
		t.Fatalf("the header is %q of %q", lines[1], r.names)
	}
	for i, name := range names {
		if slices.Contains(r.names[:i], r.names[i]) && !strings.HasSuffix(strings.TrimSpace(name), ")") {
			t.Errorf("the header is %q of %q", lines[1], r.names)
		}
	}
	for i, row := range r.rows {
		for j, value := range row {
			parts := cells(lines[i+3])
			if len(parts) != len(row) {
				continue // a text holds the line between columns
			}
			got := strings.TrimSpace(parts[j])
			switch value.GetKind().(type) {
			case *pb.Value_NullValue:
				if got != "∅" {
					t.Errorf("a null is %q", got)
				}
			case *pb.Value_BoolValue, *pb.Value_Int64Value, *pb.Value_DoubleValue, *pb.Value_DecimalValue:
				if got != wantText(value) {
					t.Errorf("%v is %q", value, got)
				}
			}
		}
	}
}

// TestNullsInCSV has the outputs in full.
func TestNullsInCSV(t *testing.T) {
	s := serveResults(t)
	for name, test := range map[string]struct {
		names []string
		rows  [][]*pb.Value
		args  []string
		want  string
	}{
		"one column":                   {[]string{"Note"}, [][]*pb.Value{{textValue("a")}, {null}, {textValue("")}, {textValue(`\N`)}, {null}}, nil, "Note\na\n\\N\n\"\"\n\"\\N\"\n\\N\n"},
		"one column without a name":    {[]string{""}, [][]*pb.Value{{null}}, nil, "\"\"\n\\N\n"},
		"only nulls":                   {[]string{"A"}, [][]*pb.Value{{null}, {null}, {null}}, nil, "A\n\\N\n\\N\n\\N\n"},
		"two columns":                  {[]string{"A", "B"}, [][]*pb.Value{{null, textValue("")}, {textValue(""), null}, {null, null}, {textValue(`\N`), textValue("x")}}, nil, "A,B\n,\"\"\n\"\",\n,\n\\N,x\n"},
		"equal names":                  {[]string{"A", "A", "A (2)", "A"}, [][]*pb.Value{{textValue("1"), textValue("2"), textValue("3"), textValue("4")}}, nil, "A,A (3),A (2),A (4)\n1,2,3,4\n"},
		"a text for nulls":             {[]string{"A", "B"}, [][]*pb.Value{{null, textValue("")}, {textValue("NULL"), textValue("null")}}, []string{"--null", "NULL"}, "A,B\nNULL,\"\"\n\"NULL\",null\n"},
		"a text for nulls, one column": {[]string{"A"}, [][]*pb.Value{{null}, {textValue("-")}, {textValue(`\N`)}}, []string{"--null", "-"}, "A\n-\n\"-\"\n\\N\n"},
		"what readers take for an end": {[]string{"A"}, [][]*pb.Value{{textValue(`\.`)}, {textValue(" x")}, {textValue("x\r")}}, nil, "A\n\"\\.\"\n\" x\"\n\"x\r\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &result{test.names, test.rows}
			if got := s.output(t, r, append([]string{"read", "-o", "csv"}, test.args...)...); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	many := &result{names: []string{"Note"}}
	for i := range 20_000 {
		many.rows = append(many.rows, []*pb.Value{[]*pb.Value{null, textValue(""), textValue("x")}[i%3]})
	}
	checkCSV(t, many, s.output(t, many, "read", "-o", "csv"), "")
	for args, want := range map[string]string{"csv --null ,": "--null", "csv --null \"": "--null", "json --null x": "want -o csv"} {
		_, _, err := run(t.Context(), "", append([]string{"read", demoConnection + "/models/w.e", "--server", s.address, "-o"}, strings.Fields(args)...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestEqualNames: no value is lost where columns have the same name.
func TestEqualNames(t *testing.T) {
	s := serveResults(t)
	for _, names := range [][]string{{"A", "A"}, {"A", "A (2)", "A"}, {"A (2)", "A", "A"}, {"", "", " (2)"}, {"A", "A", "A (2)", "A (2)", "A (3)"}, {`"`, `"`}} {
		r := &result{names: names, rows: [][]*pb.Value{{}}}
		for i := range names {
			r.rows[0] = append(r.rows[0], textValue(fmt.Sprint(i)))
		}
		var object map[string]string
		if err := json.Unmarshal([]byte(s.output(t, r, "read")), &object); err != nil || len(object) != len(names) {
			t.Errorf("%q: %v, %v", names, object, err)
		}
		record, err := csv.NewReader(strings.NewReader(s.output(t, r, "read", "-o", "csv"))).Read()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		checkNames(t, r, record)
		checkTable(t, r, s.output(t, r, "preview"))
	}
}
