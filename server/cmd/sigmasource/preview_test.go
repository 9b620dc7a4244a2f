package main

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// script answers each preview with the messages that it is made of: what no
// server of ours would send.
type script struct {
	pb.UnimplementedModelQueryServer
	messages []*pb.PreviewModelResponse
}

func (s *script) PreviewModel(_ *pb.PreviewModelRequest, stream grpc.ServerStreamingServer[pb.PreviewModelResponse]) error {
	for _, message := range s.messages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

// play reads a preview of the messages in a format.
func play(t *testing.T, output string, messages ...*pb.PreviewModelResponse) (string, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterModelQueryServer(server, &script{messages: messages})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out, messagesOut bytes.Buffer
	err = (&client{output: output}).preview(t.Context(), conn, &pb.PreviewModelRequest{Name: "any", RowLimit: 10}, &out, &messagesOut)
	return out.String(), err
}

func schema(names ...string) *pb.PreviewModelResponse {
	s := &pb.Schema{}
	for _, name := range names {
		s.Columns = append(s.Columns, &pb.SchemaColumn{Name: name})
	}
	return &pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Schema{Schema: s}}
}

func rows(said int64, rows ...*pb.Row) *pb.PreviewModelResponse {
	return &pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Rows{Rows: &pb.RowBatch{RowCount: said, Rows: rows}}}
}

func row(values ...*pb.Value) *pb.Row { return &pb.Row{Values: values} }

func number(n int64) *pb.Value { return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: n}} }

func statistics(rows int64) *pb.PreviewModelResponse {
	return last(&pb.Statistics{RowCount: rows, Proof: pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR})
}

func last(statistics *pb.Statistics) *pb.PreviewModelResponse {
	return &pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Statistics{Statistics: statistics}}
}

var (
	arrowRows = &pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Arrow{Arrow: &pb.ArrowBatch{RowCount: 1}}}
	progress  = &pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Progress{Progress: &pb.Progress{}}}
)

func TestAStreamThatIsNotProvenWholeFails(t *testing.T) {
	for _, test := range []struct {
		name, want string
		messages   []*pb.PreviewModelResponse
	}{
		{"nothing", "without its last message", nil},
		{"no last message", "without its last message", []*pb.PreviewModelResponse{schema("No"), rows(1, row(number(1)))}},
		{"a message lost", "1 rows arrived of 2", []*pb.PreviewModelResponse{schema("No"), rows(1, row(number(1))), statistics(2)}},
		{"a message twice", "2 rows arrived of 1", []*pb.PreviewModelResponse{schema("No"), rows(1, row(number(1))), rows(1, row(number(1))), statistics(1)}},
		{"a message cut", "holds 1 rows and says 2", []*pb.PreviewModelResponse{schema("No"), rows(2, row(number(1))), statistics(2)}},
		{"a value lost", "1 values for 2 columns", []*pb.PreviewModelResponse{schema("No", "Name"), rows(1, row(number(1))), statistics(1)}},
		{"a value too many", "2 values for 1 columns", []*pb.PreviewModelResponse{schema("No"), rows(1, row(number(1), number(2))), statistics(1)}},
		{"no schema", "before the columns", []*pb.PreviewModelResponse{rows(1, row(number(1))), statistics(1)}},
		{"no schema and no rows", "columns are missing", []*pb.PreviewModelResponse{statistics(0)}},
		{"two schemas", "columns came twice", []*pb.PreviewModelResponse{schema("No"), schema("No"), statistics(0)}},
		{"rows behind the last message", "after the last one", []*pb.PreviewModelResponse{schema("No"), statistics(1), rows(1, row(number(1)))}},
		{"progress behind the last message", "after the last one", []*pb.PreviewModelResponse{schema("No"), statistics(0), progress}},
		{"two last messages", "after the last one", []*pb.PreviewModelResponse{schema("No"), statistics(0), statistics(0)}},
		{"another format", "not asked for", []*pb.PreviewModelResponse{schema("No"), arrowRows, statistics(1)}},
		{"more declared", "declared 2", []*pb.PreviewModelResponse{schema("No"), rows(1, row(number(1))),
			last(&pb.Statistics{RowCount: 1, DeclaredRowCount: new(int64(2)), Proof: pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT})}},
		{"declared, and not how many", "declared number", []*pb.PreviewModelResponse{schema("No"), last(&pb.Statistics{Proof: pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT})}},
		{"no proof", "does not know", []*pb.PreviewModelResponse{schema("No"), last(&pb.Statistics{})}},
		{"an unknown kind", "a kind that this program does not know", []*pb.PreviewModelResponse{schema("No"), rows(1, row(&pb.Value{})), statistics(1)}},
	} {
		for _, output := range []string{"table", "json"} {
			t.Run(test.name+" as "+output, func(t *testing.T) {
				if _, err := play(t, output, test.messages...); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestInstantsArePrintedInTheirZone(t *testing.T) {
	columns := schema("Due")
	columns.GetSchema().GetColumns()[0].TimeZone = "Europe/Berlin"
	at := &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: 1772319600}}}
	for _, output := range []string{"table", "json"} {
		printed, err := play(t, output, columns, rows(1, row(at)), statistics(1))
		if err != nil || !strings.Contains(printed, "2026-03-01T00:00:00+01:00") {
			t.Errorf("%s: %v:\n%s", output, err, printed)
		}
	}
}

func TestValuesArePrintedWithoutLoss(t *testing.T) {
	values := []struct {
		value       *pb.Value
		table, json string
	}{
		{&pb.Value{Kind: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}, "∅", "null"},
		{&pb.Value{Kind: &pb.Value_BoolValue{BoolValue: true}}, "true", "true"},
		{number(9007199254740993), "9007199254740993", "9007199254740993"},
		{&pb.Value{Kind: &pb.Value_DoubleValue{DoubleValue: 0.1}}, "0.1", "0.1"},
		{&pb.Value{Kind: &pb.Value_DecimalValue{DecimalValue: "12345678901234567890.10"}}, "12345678901234567890.10", `"12345678901234567890.10"`},
		{&pb.Value{Kind: &pb.Value_StringValue{StringValue: "<a>\n\"é\""}}, `<a>·"é"`, `"<a>\n\"é\""`},
		{&pb.Value{Kind: &pb.Value_StringValue{}}, "", `""`},
		{&pb.Value{Kind: &pb.Value_BytesValue{BytesValue: []byte{0, 255}}}, "0x00ff", `"AP8="`},
		{&pb.Value{Kind: &pb.Value_DateValue{DateValue: "1969-12-31"}}, "1969-12-31", `"1969-12-31"`},
		{&pb.Value{Kind: &pb.Value_TimeValue{TimeValue: "23:59:59.5"}}, "23:59:59.5", `"23:59:59.5"`},
		{&pb.Value{Kind: &pb.Value_DatetimeValue{DatetimeValue: "2024-02-29T00:00:00"}}, "2024-02-29T00:00:00", `"2024-02-29T00:00:00"`},
		{&pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: -1, Nanos: 999999000}}}, "1969-12-31T23:59:59.999999Z", `"1969-12-31T23:59:59.999999Z"`},
		{&pb.Value{Kind: &pb.Value_JsonValue{JsonValue: `{"a":[9007199254740993]}`}}, `{"a":[9007199254740993]}`, `{"a":[9007199254740993]}`},
		{&pb.Value{Kind: &pb.Value_JsonValue{JsonValue: "undefined"}}, "undefined", `"undefined"`},
	}
	for _, test := range values {
		stream := []*pb.PreviewModelResponse{schema("V", "V"), rows(1, row(test.value, number(7))), statistics(1)}
		printed, err := play(t, "json", stream...)
		if want := `{"V":` + test.json + `,"V (2)":7}` + "\n"; err != nil || printed != want {
			t.Errorf("%v is %q, %v instead of %q", test.value, printed, err, want)
		}
		printed, err = play(t, "table", stream...)
		if err != nil || !strings.Contains(printed, "│ "+test.table) {
			t.Errorf("%v: %v, without %q:\n%s", test.value, err, test.table, printed)
		}
	}
}
