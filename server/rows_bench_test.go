//go:build duckdb_arrow

package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
)

// rowsPeers serve the same table, through the same reader, in the two forms that
// callers know: google.protobuf.ListValue, a row each, and JSON lines. Both send a
// thousand rows a message.
func (w *bench) rowsPeers(b *testing.B) (list, lines func(), done func()) {
	const rowsPerMessage = 1000
	each := func(ctx context.Context, do func(batch arrow.RecordBatch, row int) error) error {
		house := duckdb.Open(duckdb.Config{Path: w.file})
		defer func() { must(b, house.Close()) }()
		result, err := house.Query(ctx, warehouse.Statement{SQL: benchSQL})
		if err != nil {
			return err
		}
		defer func() { must(b, result.Close()) }()
		for {
			batch, err := result.Next(ctx)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			for row := range int(batch.NumRows()) {
				if err := do(batch, row); err != nil {
					return err
				}
			}
			batch.Release()
		}
	}
	sendLists := func(_ any, stream grpc.ServerStream) error {
		rows := &structpb.ListValue{}
		err := each(stream.Context(), func(batch arrow.RecordBatch, row int) error {
			values := make([]*structpb.Value, batch.NumCols())
			for j, column := range batch.Columns() {
				value, err := structpb.NewValue(column.GetOneForMarshal(row))
				if err != nil {
					value = structpb.NewStringValue(column.ValueStr(row))
				}
				values[j] = value
			}
			rows.Values = append(rows.Values, structpb.NewListValue(&structpb.ListValue{Values: values}))
			if len(rows.Values) < rowsPerMessage {
				return nil
			}
			err := stream.SendMsg(rows)
			rows.Values = nil
			return err
		})
		if err != nil || len(rows.Values) == 0 {
			return err
		}
		return stream.SendMsg(rows)
	}
	sendLines := func(_ any, stream grpc.ServerStream) error {
		var text bytes.Buffer
		encoder, n := json.NewEncoder(&text), 0
		flush := func() error {
			err := stream.SendMsg(wrapperspb.Bytes(bytes.Clone(text.Bytes())))
			text.Reset()
			n = 0
			return err
		}
		err := each(stream.Context(), func(batch arrow.RecordBatch, row int) error {
			line := make(map[string]any, batch.NumCols())
			for j, column := range batch.Columns() {
				line[batch.ColumnName(j)] = column.GetOneForMarshal(row)
			}
			if err := encoder.Encode(line); err != nil {
				return err
			}
			if n++; n < rowsPerMessage {
				return nil
			}
			return flush()
		})
		if err != nil {
			return err
		}
		return flush()
	}
	handler := func(send func(any, grpc.ServerStream) error) grpc.StreamHandler {
		return func(service any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
				return err
			}
			return send(service, stream)
		}
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "peer", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: "lists", ServerStreams: true, Handler: handler(sendLists)},
		{StreamName: "lines", ServerStreams: true, Handler: handler(sendLines)},
	}}, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(b, err)
	receive := func(method string, message any, count func() int64) {
		stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, "/peer/"+method)
		must(b, err)
		must(b, stream.SendMsg(&emptypb.Empty{}))
		must(b, stream.CloseSend())
		var rows int64
		for {
			if err := stream.RecvMsg(message); err == io.EOF {
				break
			} else {
				must(b, err)
			}
			rows += count()
		}
		w.count(b, rows)
	}
	list = func() {
		message := &structpb.ListValue{}
		receive("lists", message, func() int64 { return int64(len(message.GetValues())) })
	}
	lines = func() {
		message := &wrapperspb.BytesValue{}
		receive("lines", message, func() (rows int64) {
			for decoder := json.NewDecoder(bytes.NewReader(message.GetValue())); ; rows++ {
				var line map[string]any
				if err := decoder.Decode(&line); err == io.EOF {
					return rows
				} else {
					must(b, err)
				}
			}
		})
	}
	return list, lines, func() { must(b, conn.Close()); s.Stop(); must(b, <-served) }
}

// BenchmarkReadRows reads a whole table over loopback as rows, in a new session each
// time, and looks at every value: by this project's Go reader ("ours"), and by the
// generated stubs ("stubs"). Each ratio says how many times as fast as the peer that
// is.
func BenchmarkReadRows(b *testing.B) {
	w := newBench(b)
	list, lines, done := w.rowsPeers(b)
	defer done()
	var ours, stubs, listTime, lineTime runs
	for b.Loop() {
		ours.add(func() {
			session := w.session(b, pb.DataFormat_DATA_FORMAT_ROWS)
			w.readRows(b, session)
			w.delete(b, session)
		})
		stubs.add(func() {
			session := w.session(b, pb.DataFormat_DATA_FORMAT_ROWS)
			w.readByStubs(b, session)
			w.delete(b, session)
		})
		listTime.add(list)
		lineTime.add(lines)
	}
	peers := map[string]runs{"ListValue": listTime, "JSON": lineTime}
	w.report(b, "ours", ours, peers)
	w.report(b, "stubs", stubs, peers)
}

func (w *bench) readRows(b *testing.B, session *pb.ReadSession) {
	rows, err := client.ReadRows(w.ctx, w.conn, session.GetStreams()[0].GetName(), client.Options{})
	must(b, err)
	defer rows.Close()
	var n int64
	var sum int64
	for rows.Next() {
		n++
		for _, value := range rows.Values() {
			sum += value.Int + int64(len(value.Text))
		}
	}
	must(b, rows.Err())
	w.count(b, n)
	if sum == 0 {
		b.Fatal("the rows are empty")
	}
}

func (w *bench) readByStubs(b *testing.B, session *pb.ReadSession) {
	stream, err := w.query.ReadRows(w.ctx, &pb.ReadRowsRequest{Name: session.GetStreams()[0].GetName()})
	must(b, err)
	var n int64
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		must(b, err)
		n += int64(len(message.GetRows().GetRows()))
	}
	w.count(b, n)
}
