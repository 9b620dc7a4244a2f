package main

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// TestConnectionsUpdate: the command changes what the file sets, clears what --field names, and nothing else.
func TestConnectionsUpdate(t *testing.T) {
	name, _, _ := strings.Cut(serveDemo(t), "/models/")
	get := func() *pb.Connection {
		out, _, err := run(t.Context(), "", "connections", "get", name, "-o", "json")
		connection := &pb.Connection{}
		if err := errors.Join(err, protojson.Unmarshal([]byte(out), connection)); err != nil {
			t.Fatal(err)
		}
		connection.Etag, connection.UpdateTime = "", nil
		return connection
	}
	want := get()
	for _, step := range []struct {
		stdin  string
		args   []string
		change func()
	}{
		{`{"shrunkRatio": 0.8, "refuseFindings": ["COLUMN_CONSTANT"]}`, []string{"-f", "-"}, func() {
			want.ShrunkRatio, want.RefuseFindings = new(0.8), []pb.FindingCode{pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT}
		}},
		{`{"allowEmpty": true, "shrunkRatio": 0.1}`, []string{"-f", "-", "--field", "allow_empty"}, func() { want.AllowEmpty = true }},
		{`{}`, []string{"-f", "-", "--field", "allow_empty", "--field", "shrunk_ratio"}, func() { want.AllowEmpty, want.ShrunkRatio = false, nil }},
		{``, []string{"--field", "refuse_findings"}, func() { want.RefuseFindings = nil }},
		{`{"bookmarkIds": {"w1": "b1"}}`, []string{"-f", "-"}, func() { want.BookmarkIds = map[string]string{"w1": "b1"} }},
		{``, []string{"--field", "bookmark_ids"}, func() { want.BookmarkIds = nil }},
	} {
		if _, _, err := run(t.Context(), step.stdin, append([]string{"connections", "update", name}, step.args...)...); err != nil {
			t.Fatalf("%v: %v", step.args, err)
		}
		step.change()
		if got := get(); !proto.Equal(got, want) {
			t.Errorf("after %v %s the connection is %v, want %v", step.args, step.stdin, got, want)
		}
	}
	for _, args := range [][]string{{}, {"--field", "name"}, {"-f", "-", "--time-zone", "UTC"}, {"--field", "sigma.client_secret"}} {
		if _, _, err := run(t.Context(), "{}", append([]string{"connections", "update", name}, args...)...); err == nil {
			t.Errorf("%v: the command ends well", args)
		}
	}
}

// TestReadRequirements: what the flags of the read command require of the result.
func TestReadRequirements(t *testing.T) {
	model := serveDemo(t)
	for _, test := range []struct {
		args []string
		want string // part of the error, or empty
	}{
		{[]string{"--key", "Order Id", "--min-rows", "1", "--max-warehouse-time", "1m"}, ""},
		{[]string{"--key", "Status"}, "choose another key"},
		{[]string{"--min-rows", "100000000"}, "expects at least 100000000"},
		{[]string{"--key", "Nothing"}, "no column"},
		{[]string{"--max-warehouse-time", "1us"}, "max_warehouse_time"},
	} {
		out, _, err := run(t.Context(), "", append([]string{"read", model}, test.args...)...)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%v: %v", test.args, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%v: %v, want %q", test.args, err, test.want)
		case test.want != "" && out != "":
			t.Errorf("%v: the command writes %d bytes", test.args, len(out))
		}
	}
	if _, _, err := run(t.Context(), "", "preview", model, "--max-warehouse-time", "1us"); err == nil || !strings.Contains(err.Error(), "max_warehouse_time") {
		t.Errorf("a preview has the error %v", err)
	}
	out, _, err := run(t.Context(), "", "models", "get", model)
	if err != nil || !strings.Contains(out, "last complete read: ") {
		t.Errorf("%v\n%s", err, out)
	}
}
