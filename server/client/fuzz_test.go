package client_test

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
)

// came is a connection over which messages came, as bytes: a real one is too slow to
// send many in.
type came [][]byte

func (came) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	panic("nobody calls")
}

func (c came) NewStream(_ context.Context, _ *grpc.StreamDesc, _ string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &cameStream{messages: c}
	for _, option := range options {
		if forced, ok := option.(grpc.ForceCodecV2CallOption); ok {
			s.codec = forced.CodecV2
		}
	}
	return s, nil
}

type cameStream struct {
	grpc.ClientStream
	messages [][]byte
	codec    encoding.CodecV2
}

func (s *cameStream) SendMsg(any) error { return nil }
func (s *cameStream) CloseSend() error  { return nil }
func (s *cameStream) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return io.EOF
	}
	message := s.messages[0]
	s.messages = s.messages[1:]
	return s.codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(message)}, m)
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// everyValue has a value of each kind.
var everyValue = []*pb.Value{
	{Kind: &pb.Value_NullValue{}}, {Kind: &pb.Value_BoolValue{BoolValue: true}}, {Kind: &pb.Value_BoolValue{}},
	{Kind: &pb.Value_Int64Value{Int64Value: -1 << 63}}, {Kind: &pb.Value_DoubleValue{DoubleValue: -0.5}},
	{Kind: &pb.Value_DecimalValue{DecimalValue: "1.50"}}, {Kind: &pb.Value_StringValue{StringValue: "Σ\x10\x05"}}, {Kind: &pb.Value_StringValue{}},
	{Kind: &pb.Value_BytesValue{BytesValue: []byte{0, 255}}}, {Kind: &pb.Value_DateValue{DateValue: "2020-02-29"}},
	{Kind: &pb.Value_TimeValue{TimeValue: "01:02:03"}}, {Kind: &pb.Value_DatetimeValue{DatetimeValue: "2020-02-29T01:02:03"}},
	timestamp(-1, 999_999_999), timestamp(0, 0), {Kind: &pb.Value_JsonValue{JsonValue: `{"a":1}`}},
}

func timestamp(seconds int64, nanos int32) *pb.Value {
	return client.Value{Kind: client.Timestamp, Int: seconds, Nanos: nanos}.Proto()
}

// FuzzRows compares the rows that the reader gives out with those that protobuf reads:
// the same ones, or an error after the first of them.
func FuzzRows(f *testing.F) {
	row := &pb.Row{Values: everyValue}
	for _, columns := range []int{len(everyValue), 2} {
		f.Add(marshal(f, &pb.RowBatch{Rows: []*pb.Row{row, row}, RowCount: 2}), byte(columns))
	}
	f.Add(marshal(f, &pb.RowBatch{Rows: []*pb.Row{{}, {}}, RowCount: 2}), byte(0))
	for _, value := range everyValue {
		f.Add(marshal(f, &pb.RowBatch{Rows: []*pb.Row{{Values: []*pb.Value{value}}}, RowCount: 1}), byte(1))
	}
	f.Add([]byte("0\x10\n\x0200\x10\x01"), byte(0)) // a row and a batch with fields of a later contract
	f.Fuzz(func(t *testing.T, data []byte, columns byte) {
		want := &pb.RowBatch{}
		wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
		schema := &pb.Schema{Columns: make([]*pb.SchemaColumn, columns)}
		for i := range schema.Columns {
			schema.Columns[i] = &pb.SchemaColumn{}
		}
		rows, err := client.ReadRows(t.Context(), came{
			marshal(t, &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Schema{Schema: schema}}),
			protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), data),
			marshal(t, last(0, want.GetRowCount())),
		}, streamName, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for rows.Next() {
			if wantErr != nil { // it looks into texts, and finds some that are no UTF-8
				continue
			}
			got := &pb.Row{}
			for _, value := range rows.Values() {
				got.Values = append(got.Values, value.Proto())
			}
			if n >= len(want.GetRows()) || !proto.Equal(got, plain(want.GetRows()[n])) {
				t.Fatalf("row %d is %v", n, got)
			}
			n++
		}
		if wantErr != nil {
			return
		}
		good := int64(len(want.GetRows())) == want.GetRowCount()
		if err := rows.Err(); err == nil && !good {
			t.Errorf("%d rows end well, where there are %d and %d were told", n, len(want.GetRows()), want.GetRowCount())
		} else if err == nil && n != len(want.GetRows()) {
			t.Errorf("%d rows of %d end well", n, len(want.GetRows()))
		} else if again := marshal(t, want); err != nil && good && usual(want, int(columns)) && slices.Equal(again, data) {
			t.Errorf("it fails, %v, at %v", err, want)
		}
	})
}

// plain is a row as a reader tells it: nulls are all the same.
func plain(row *pb.Row) *pb.Row {
	row = proto.CloneOf(row)
	for _, value := range row.GetValues() {
		if null, ok := value.GetKind().(*pb.Value_NullValue); ok {
			null.NullValue = 0
		}
	}
	return row
}

// usual reports whether each row has a value for each column, each of some kind.
func usual(batch *pb.RowBatch, columns int) bool {
	for _, row := range batch.GetRows() {
		if len(row.GetValues()) != columns {
			return false
		}
		for _, value := range row.GetValues() {
			if value.GetKind() == nil {
				return false
			}
		}
	}
	return true
}

// FuzzArrow gives any bytes to the reader as Arrow messages, whose batches can be used
// as far as they are given out.
func FuzzArrow(f *testing.F) {
	const format = pb.DataFormat_DATA_FORMAT_ARROW
	for _, options := range [][]ipc.Option{nil, {ipc.WithLZ4()}, {ipc.WithZstd()}} {
		f.Add(batch(f, format, 0, 4, options...).GetArrow().GetIpc(), int64(4))
	}
	f.Add(slices.Concat(batch(f, format, 0, 4).GetArrow().GetIpc(), batch(f, format, 4, 5).GetArrow().GetIpc()), int64(5))
	f.Add(schemaOf(f, fields), int64(0))
	f.Fuzz(func(t *testing.T, data []byte, rows int64) {
		messages := came{marshal(t, columns(t, format)),
			marshal(t, &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{Ipc: data, RowCount: rows}}}),
			marshal(t, last(0, rows))}
		// A column may become large where it is compressed.
		if took, over := client.Allocates(1<<30, func() {
			got, err := readAll(t, messages, format, -1)
			if err == nil && int64(len(got)) != rows {
				t.Errorf("%d rows of %d end well", len(got), rows)
			}
		}); over {
			t.Errorf("%d bytes for a message of %d", took, len(data))
		}
	})
}

// FuzzColumns gives any bytes to the reader as a schema.
func FuzzColumns(f *testing.F) {
	f.Add(schemaOf(f, fields))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		schema := columns(t, pb.DataFormat_DATA_FORMAT_ARROW)
		schema.GetSchema().ArrowIpc = data
		messages := came{marshal(t, schema), marshal(t, batch(t, pb.DataFormat_DATA_FORMAT_ARROW, 0, 4)), marshal(t, last(0, 4))}
		if took, over := client.Allocates(uint64(1<<20+2000*len(data)), func() {
			got, err := readAll(t, messages, pb.DataFormat_DATA_FORMAT_ARROW, -1)
			if err == nil && len(got) != 4 {
				t.Errorf("%d rows of 4 end well", len(got))
			}
		}); over {
			t.Errorf("%d bytes for a schema of %d", took, len(data))
		}
	})
}
