package client

import (
	"bytes"
	"math"
	"runtime"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// TestTheCodecKnowsTheContract compares the numbers of fields with the contract's.
func TestTheCodecKnowsTheContract(t *testing.T) {
	for _, field := range []struct {
		message proto.Message
		name    string
		number  protowire.Number
	}{
		{&pb.ReadRowsResponse{}, "rows", responseRows},
		{&pb.ReadRowsResponse{}, "arrow", responseArrow},
		{&pb.ReadRowsResponse{}, "offset", responseOffset},
		{&pb.ArrowBatch{}, "ipc", arrowIPC},
		{&pb.ArrowBatch{}, "row_count", arrowRowCount},
		{&pb.RowBatch{}, "rows", batchRow},
		{&pb.RowBatch{}, "row_count", batchRowCount},
		{&pb.Row{}, "values", rowValue},
		{&pb.Value{}, "null_value", protowire.Number(Null)},
		{&pb.Value{}, "bool_value", protowire.Number(Bool)},
		{&pb.Value{}, "int64_value", protowire.Number(Int64)},
		{&pb.Value{}, "double_value", protowire.Number(Double)},
		{&pb.Value{}, "decimal_value", protowire.Number(Decimal)},
		{&pb.Value{}, "string_value", protowire.Number(String)},
		{&pb.Value{}, "bytes_value", protowire.Number(Bytes)},
		{&pb.Value{}, "date_value", protowire.Number(Date)},
		{&pb.Value{}, "time_value", protowire.Number(Time)},
		{&pb.Value{}, "datetime_value", protowire.Number(Datetime)},
		{&pb.Value{}, "timestamp_value", protowire.Number(Timestamp)},
		{&pb.Value{}, "json_value", protowire.Number(JSON)},
	} {
		fields := field.message.ProtoReflect().Descriptor().Fields()
		found := false
		for i := range fields.Len() {
			if f := fields.Get(i); string(f.Name()) == field.name {
				found = true
				if f.Number() != field.number {
					t.Errorf("%s is %d", f.FullName(), f.Number())
				}
			}
		}
		if !found {
			t.Errorf("%T has no %s", field.message, field.name)
		}
	}
}

// encoded are messages as a server writes them, and as others may.
func encoded(t testing.TB) [][]byte {
	t.Helper()
	one := &pb.Row{Values: []*pb.Value{{Kind: &pb.Value_Int64Value{Int64Value: 1 << 60}}, {Kind: &pb.Value_StringValue{StringValue: "\x10\x05"}}}}
	var all [][]byte
	for _, m := range []*pb.ReadRowsResponse{
		{},
		{Message: &pb.ReadRowsResponse_Progress{Progress: &pb.Progress{QueryId: "q"}}},
		{Message: &pb.ReadRowsResponse_Schema{Schema: &pb.Schema{Fingerprint: "f", ArrowIpc: []byte("x")}}, Offset: 3},
		{Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{RowCount: 3}}, Offset: 3},
		{Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{}}},
		{Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{Ipc: []byte("messages"), RowCount: 7}}, Offset: 300},
		{Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{Ipc: []byte("messages"), RowCount: -1}}, Offset: -300},
		{Message: &pb.ReadRowsResponse_Rows{Rows: &pb.RowBatch{}}},
		{Message: &pb.ReadRowsResponse_Rows{Rows: &pb.RowBatch{Rows: []*pb.Row{one, {}, one}, RowCount: 3}}, Offset: math.MaxInt64},
		{Message: &pb.ReadRowsResponse_Rows{Rows: &pb.RowBatch{Rows: []*pb.Row{one}}}}, // without its number
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	// Fields of a later contract, after, before and within those of this.
	later := protowire.AppendVarint(protowire.AppendTag(nil, 200, protowire.VarintType), 1)
	later = protowire.AppendFixed32(protowire.AppendTag(later, 201, protowire.Fixed32Type), 1)
	arrow := append(bytes.Clone(later), 0x0A, 1, 'x', 0x10, 2)
	rows := append(bytes.Clone(later), 0x0A, 0, 0x10, 1)
	all = append(all, append(bytes.Clone(all[5]), later...), append(bytes.Clone(later), all[8]...),
		protowire.AppendBytes(protowire.AppendTag(nil, responseArrow, protowire.BytesType), arrow),
		protowire.AppendBytes(protowire.AppendTag(nil, responseRows, protowire.BytesType), rows))
	// Two at once: the last counts.
	return append(all, append(bytes.Clone(all[5]), all[8]...), append(bytes.Clone(all[8]), all[5]...), append(bytes.Clone(all[5]), all[5]...),
		append(bytes.Clone(all[5]), all[2]...), append(bytes.Clone(all[2]), all[5]...))
}

// FuzzMessage compares what the codec makes of a message, in any pieces, with what
// protobuf makes of it.
func FuzzMessage(f *testing.F) {
	for _, data := range encoded(f) {
		f.Add(data, []byte{})
		f.Add(data, []byte{1, 0, 2, 5})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		want := &pb.ReadRowsResponse{}
		wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
		var got message
		var err error
		whole := pieces(data, cuts)
		// Protobuf makes an object of each row, whose encoding may be two bytes.
		if took, over := Allocates(uint64(256<<10+200*len(data)), func() {
			got.release()
			got = message{}
			err = codec{}.Unmarshal(whole, &got)
		}); over {
			t.Errorf("%d bytes for a message of %d", took, len(data))
		}
		defer got.release()
		if err != nil {
			if wantErr == nil {
				t.Fatalf("protobuf reads it, and the codec says %v", err)
			}
			if got.ipc != nil || got.batch != nil {
				t.Error("it keeps memory after a failure")
			}
			return
		}
		if wantErr != nil { // in a text, or within a row: see FuzzRows
			return
		}
		var ipc []byte
		if got.ipc != nil {
			ipc = got.ipc.Bytes()
		}
		if !bytes.Equal(ipc, want.GetArrow().GetIpc()) {
			t.Errorf("Arrow messages %q instead of %q", ipc, want.GetArrow().GetIpc())
		}
		if rows := want.GetArrow().GetRowCount() + want.GetRows().GetRowCount(); got.rows != rows || got.offset != want.GetOffset() {
			t.Errorf("%d rows from %d instead of %d from %d", got.rows, got.offset, rows, want.GetOffset())
		}
		if (got.batch != nil) != (want.GetRows() != nil) {
			t.Fatalf("a batch: %v instead of %v", got.batch != nil, want.GetRows() != nil)
		}
		if got.batch != nil {
			batch := &pb.RowBatch{}
			if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(got.batch.Bytes(), batch); err != nil || !proto.Equal(batch, want.GetRows()) {
				t.Errorf("the batch is %v instead of %v: %v", batch, want.GetRows(), err)
			}
			if got.counted != int64(len(batch.GetRows())) {
				t.Errorf("%d rows were counted of %d", got.counted, len(batch.GetRows()))
			}
		}
		if !proto.Equal(got.other.GetSchema(), want.GetSchema()) || !proto.Equal(got.other.GetStatistics(), want.GetStatistics()) {
			t.Errorf("got %v instead of %v", got.other, want)
		}
	})
}

// Allocates tells how many bytes a function allocates, and whether it is more than a
// bound each of a few times: what goes on beside it is counted, too.
func Allocates(most uint64, f func()) (took uint64, over bool) {
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if took = after.TotalAlloc - before.TotalAlloc; took <= most {
			return took, false
		}
	}
	return took, true
}

// pieces cuts data into buffers of the given lengths, and one of the rest.
func pieces(data, lengths []byte) mem.BufferSlice {
	var all mem.BufferSlice
	for _, length := range lengths {
		n := min(int(length), len(data))
		all = append(all, mem.SliceBuffer(data[:n]))
		data = data[n:]
	}
	return append(all, mem.SliceBuffer(data))
}
