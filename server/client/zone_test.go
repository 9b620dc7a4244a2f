package client_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
)

// zonedAnswer is a row with the same instant in UTC and in a zone.
func zonedAnswer(t *testing.T, zone string) answer {
	t.Helper()
	at := &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(time.Unix(1772319600, 0))}}
	payload := ipc.GetSchemaPayload(arrow.NewSchema([]arrow.Field{{Name: "Due", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}}}, nil), memory.DefaultAllocator)
	defer payload.Release()
	var message bytes.Buffer
	if _, err := payload.WritePayload(&message); err != nil {
		t.Fatal(err)
	}
	return answer{messages: []*pb.ReadRowsResponse{
		{Message: &pb.ReadRowsResponse_Schema{Schema: &pb.Schema{ArrowIpc: message.Bytes(), Columns: []*pb.SchemaColumn{
			{Name: "At", Type: pb.ColumnType_COLUMN_TYPE_TIMESTAMP}, {Name: "Due", Type: pb.ColumnType_COLUMN_TYPE_TIMESTAMP, TimeZone: zone}}}}},
		{Message: &pb.ReadRowsResponse_Rows{Rows: &pb.RowBatch{Rows: []*pb.Row{{Values: []*pb.Value{at, at}}}, RowCount: 1}}},
		{Offset: 1, Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{RowCount: 1, DeclaredRowCount: 1, StreamRowCount: 1, SessionRowCount: 1}}},
	}}
}

func TestTimesAreInTheZoneOfTheirColumn(t *testing.T) {
	s := newServer(t)
	s.answers = []answer{zonedAnswer(t, "Europe/Berlin")}
	rows, err := client.ReadRows(t.Context(), s.conn, streamName, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		for i, want := range []string{"2026-02-28T23:00:00Z", "2026-03-01T00:00:00+01:00"} {
			if got := rows.Values()[i].AsTime().Format(time.RFC3339); got != want {
				t.Errorf("column %d is %s instead of %s", i, got, want)
			}
		}
	}
	if err := rows.Err(); err != nil || rows.Offset() != 1 {
		t.Errorf("%d rows, %v", rows.Offset(), err)
	}
}

// A zone that is not known here is an error by column, and not another time.
func TestUnknownZonesAreRefused(t *testing.T) {
	for _, zone := range []string{"Mars/Olympus", "Local", "+01:00"} {
		s := newServer(t)
		s.answers = []answer{zonedAnswer(t, zone), zonedAnswer(t, zone)}
		if rows, err := client.ReadRows(t.Context(), s.conn, streamName, client.Options{}); err == nil {
			rows.Close()
			t.Errorf("ROWS: %q is taken", zone)
		}
		if reader, err := client.Read(t.Context(), s.conn, streamName, client.Options{}); err == nil {
			reader.Release()
			t.Errorf("ARROW: %q is taken", zone)
		}
	}
}
