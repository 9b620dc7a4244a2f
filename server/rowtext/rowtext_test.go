package rowtext_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/rowtext"
)

// Instants have the offset of their column's zone on their date.
func TestInstants(t *testing.T) {
	columns := []*pb.SchemaColumn{{Name: "A", TimeZone: "Europe/Berlin"}, {Name: "A", TimeZone: "America/New_York"}, {Name: "B"}}
	var asCSV, asJSON bytes.Buffer
	for _, sink := range []rowtext.Sink{rowtext.NewCSV(&asCSV, ""), rowtext.NewJSON(&asJSON)} {
		if err := sink.Columns(columns); err != nil {
			t.Fatal(err)
		}
		for _, seconds := range []int64{1772319600, 1782864000, -2500000000} {
			at := &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(time.Unix(seconds, 0))}}
			if err := sink.Row([]*pb.Value{at, at, at}); err != nil {
				t.Fatal(err)
			}
		}
		if err := sink.End(); err != nil {
			t.Fatal(err)
		}
	}
	if want := `A,A (2),B
2026-03-01T00:00:00+01:00,2026-02-28T18:00:00-05:00,2026-02-28T23:00:00Z
2026-07-01T02:00:00+02:00,2026-06-30T20:00:00-04:00,2026-07-01T00:00:00Z
1890-10-11T20:26:48+00:53:28,1890-10-11T14:33:20-05:00,1890-10-11T19:33:20Z
`; asCSV.String() != want {
		t.Errorf("CSV is\n%s instead of\n%s", asCSV.String(), want)
	}
	if want := `{"A":"2026-03-01T00:00:00+01:00","A (2)":"2026-02-28T18:00:00-05:00","B":"2026-02-28T23:00:00Z"}
{"A":"2026-07-01T02:00:00+02:00","A (2)":"2026-06-30T20:00:00-04:00","B":"2026-07-01T00:00:00Z"}
{"A":"1890-10-11T20:26:48+00:53:28","A (2)":"1890-10-11T14:33:20-05:00","B":"1890-10-11T19:33:20Z"}
`; asJSON.String() != want {
		t.Errorf("JSON is\n%s instead of\n%s", asJSON.String(), want)
	}
	if err := rowtext.NewCSV(&asCSV, "").Columns([]*pb.SchemaColumn{{Name: "A", TimeZone: "Mars/Olympus"}}); err == nil {
		t.Error("an unknown zone is taken")
	}
}
