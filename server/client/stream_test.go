package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const streamName = "workspaces/acme/connections/prod/sessions/s/streams/0"

// server answers ReadRows as a test wants it to, over a real connection.
type server struct {
	pb.UnimplementedModelQueryServer
	t       *testing.T
	conn    *grpc.ClientConn
	answers []answer // to one call after the other
	calls   int
}

// answer is what a call of ReadRows gets: messages, and then an end.
type answer struct {
	messages []*pb.ReadRowsResponse
	err      error
}

func newServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t}
	g := grpc.NewServer()
	pb.RegisterModelQueryServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	s.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.conn.Close()
		g.Stop()
		if err := errors.Join(err, <-served); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ReadRows implements the contract's, as far as the test wants.
func (s *server) ReadRows(_ *pb.ReadRowsRequest, stream grpc.ServerStreamingServer[pb.ReadRowsResponse]) error {
	a := s.answers[min(s.calls, len(s.answers)-1)]
	s.calls++
	for _, message := range a.messages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return a.err
}

// read reads the stream to its end, and returns its rows as text.
func (s *server) read(format pb.DataFormat, retries int, answers ...answer) ([]string, error) {
	s.t.Helper()
	s.answers, s.calls = answers, 0
	return readAll(s.t, s.conn, format, retries)
}

func readAll(t *testing.T, conn grpc.ClientConnInterface, format pb.DataFormat, retries int) (all []string, err error) {
	t.Helper()
	options := client.Options{Retries: retries}
	if format == pb.DataFormat_DATA_FORMAT_ROWS {
		rows, err := client.ReadRows(t.Context(), conn, streamName, options)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var row []string
			for _, value := range rows.Values() {
				row = append(row, text(value.Proto()))
			}
			all = append(all, strings.Join(row, "|"))
		}
		if rows.Offset() != int64(len(all)) {
			t.Errorf("the offset is %d after %d rows", rows.Offset(), len(all))
		}
		if rows.Next() {
			t.Error("there is a row after the last")
		}
		return all, rows.Err()
	}
	batches, err := client.Read(t.Context(), conn, streamName, options)
	if err != nil {
		return nil, err
	}
	defer batches.Release()
	var n int64
	for batches.Next() {
		batch := batches.RecordBatch()
		n += batch.NumRows()
		for i := range int(min(batch.NumRows(), 1<<16)) { // of what has no bytes, there may be any number
			var row []string
			for _, column := range batch.Columns() {
				switch column.(type) {
				case *array.Int64, *array.String:
					row = append(row, column.ValueStr(i))
				default: // how Arrow writes what the server does not send is its own matter
					row = append(row, "?")
				}
			}
			all = append(all, strings.Join(row, "|"))
		}
	}
	if batches.Offset() != n {
		t.Errorf("the offset is %d after %d rows", batches.Offset(), n)
	}
	if batches.Next() {
		t.Error("there is a batch after the last")
	}
	return all, batches.Err()
}

// text is a value as Arrow has it as text.
func text(value *pb.Value) string {
	switch v := value.GetKind().(type) {
	case *pb.Value_Int64Value:
		return fmt.Sprint(v.Int64Value)
	case *pb.Value_StringValue:
		return v.StringValue
	}
	return array.NullValueStr
}

var (
	formats = []pb.DataFormat{pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW}
	fields  = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
)

// wantRows are the rows [from, to) as read returns them.
func wantRows(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%d|text %d", i, i))
	}
	return all
}

// columns is the message with the columns.
func columns(t testing.TB, format pb.DataFormat) *pb.ReadRowsResponse {
	t.Helper()
	schema := &pb.Schema{Fingerprint: "fingerprint", Columns: []*pb.SchemaColumn{{Name: "n"}, {Name: "s"}}}
	if format == pb.DataFormat_DATA_FORMAT_ARROW {
		schema.ArrowIpc = schemaOf(t, fields)
	}
	return &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Schema{Schema: schema}}
}

// batch is a message of the rows [from, to).
func batch(t testing.TB, format pb.DataFormat, from, to int, options ...ipc.Option) *pb.ReadRowsResponse {
	t.Helper()
	if format == pb.DataFormat_DATA_FORMAT_ARROW {
		return &pb.ReadRowsResponse{Offset: int64(from), Message: &pb.ReadRowsResponse_Arrow{
			Arrow: &pb.ArrowBatch{Ipc: messageOf(t, record(from, to), options...), RowCount: int64(to - from)}}}
	}
	rows := &pb.RowBatch{RowCount: int64(to - from)}
	for i := from; i < to; i++ {
		rows.Rows = append(rows.Rows, &pb.Row{Values: []*pb.Value{
			{Kind: &pb.Value_Int64Value{Int64Value: int64(i)}}, {Kind: &pb.Value_StringValue{StringValue: fmt.Sprint("text ", i)}}}})
	}
	return &pb.ReadRowsResponse{Offset: int64(from), Message: &pb.ReadRowsResponse_Rows{Rows: rows}}
}

func record(from, to int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, fields)
	defer b.Release()
	for i := from; i < to; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprint("text ", i))
	}
	return b.NewRecordBatch()
}

// last is the last message of a call that sent the rows [from, to).
func last(from, to int64) *pb.ReadRowsResponse {
	return &pb.ReadRowsResponse{Offset: to, Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{
		RowCount: to - from, DeclaredRowCount: to - from, StreamRowCount: to, SessionRowCount: to}}}
}

// schemaOf is a schema as an Arrow message.
func schemaOf(t testing.TB, schema *arrow.Schema) []byte {
	t.Helper()
	payload := ipc.GetSchemaPayload(schema, memory.DefaultAllocator)
	defer payload.Release()
	return written(t, payload)
}

func written(t testing.TB, payload ipc.Payload) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := payload.WritePayload(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// messageOf is the last Arrow message that a batch makes: itself.
func messageOf(t testing.TB, batch arrow.RecordBatch, options ...ipc.Option) []byte {
	t.Helper()
	all := messagesOf(t, batch, options...)
	return all[len(all)-1]
}

// messagesOf are the Arrow messages that a batch makes: the schema, dictionaries,
// and itself.
func messagesOf(t testing.TB, batch arrow.RecordBatch, options ...ipc.Option) [][]byte {
	t.Helper()
	var p payloads
	w := ipc.NewWriterWithPayloadWriter(&p, append(options, ipc.WithSchema(batch.Schema()))...)
	if err := errors.Join(w.Write(batch), w.Close()); err != nil {
		t.Fatal(err)
	}
	return p
}

// payloads are messages as they are written.
type payloads [][]byte

func (p *payloads) Start() error { return nil }
func (p *payloads) Close() error { return nil }
func (p *payloads) WritePayload(payload ipc.Payload) error {
	var b bytes.Buffer
	_, err := payload.WritePayload(&b)
	*p = append(*p, b.Bytes())
	return err
}

// changed is a copy of a message with a change.
func changed(m *pb.ReadRowsResponse, change func(*pb.ReadRowsResponse)) *pb.ReadRowsResponse {
	m = proto.CloneOf(m)
	change(m)
	return m
}

func wantPrefix(t *testing.T, got []string, most int) {
	t.Helper()
	if len(got) > most || !slices.Equal(got, wantRows(0, len(got))) {
		t.Errorf("%d rows came: %q", len(got), got)
	}
}
