package resource_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// kinds are the parsers, each as a function that gives back the name it read, and
// the pattern that the contract states for such a name.
var kinds = map[string]struct {
	parse   func(string) (string, error)
	pattern *regexp.Regexp
}{
	"workspace": {func(s string) (string, error) {
		id, err := resource.ParseWorkspace(s)
		return resource.WorkspaceName(id), err
	}, contractPattern(&pb.ListConnectionsRequest{}, "parent")},
	"connection": {text(resource.ParseConnection), contractPattern(&pb.GetConnectionRequest{}, "name")},
	"scan":       {text(resource.ParseScan), contractPattern(&pb.GetScanRequest{}, "name")},
	"workbook": {text(resource.ParseWorkbook), regexp.MustCompile( // no request has one by a pattern
		strings.TrimSuffix(contractPattern(&pb.GetConnectionRequest{}, "name").String(), "$") + `/workbooks/[A-Za-z0-9_-]{1,128}$`)},
	"model":   {text(resource.ParseModel), contractPattern(&pb.GetModelRequest{}, "name")},
	"session": {text(resource.ParseSession), contractPattern(&pb.GetReadSessionRequest{}, "name")},
	"stream":  {text(resource.ParseStream), contractPattern(&pb.ReadRowsRequest{}, "name")},
}

func text[T fmt.Stringer](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		name, err := parse(s)
		return name.String(), err
	}
}

func contractPattern(request proto.Message, field protoreflect.Name) *regexp.Regexp {
	options := request.ProtoReflect().Descriptor().Fields().ByName(field).Options()
	rules := proto.GetExtension(options, validate.E_Field).(*validate.FieldRules)
	return regexp.MustCompile(rules.GetString().GetPattern())
}

func names() []string {
	long, tooLong := strings.Repeat("a", 63), strings.Repeat("a", 64)
	sigma, tooSigma := strings.Repeat("Z", 128), strings.Repeat("Z", 129)
	names := []string{"", "/", "workspaces", "workspaces/", "workspaces//connections/b", "workspace/a", "Workspaces/a", "/workspaces/a", " workspaces/a", "workspaces/a\n"}
	for _, w := range []string{"a", "0", "a-b", "a--b", long, tooLong, "-a", "a-", "-", "A", "a_b", "a%", "..", "ä", "a\x00", "*"} {
		names = append(names, "workspaces/"+w, "workspaces/"+w+"/", "workspaces/"+w+"/connections/"+w, "workspaces/a/connections/"+w+"/",
			"workspaces/a/connections/"+w+"/scans/s", "workspaces/a/connections/b/scans/"+w, "workspaces/a/connections/b/scans/"+w+"/x",
			"workspaces/a/connections/b/models/"+w+"."+w, "workspaces/a/connections/b/workbooks/"+w)
	}
	for _, id := range []string{"", "W", "w_1-x", sigma, tooSigma, ".", "a.b", "a.b.c", ".b", "a.", sigma + "." + sigma, tooSigma + ".a", "a." + tooSigma, "a/b", "a.b/c", "é.a"} {
		names = append(names, "workspaces/a/connections/b/workbooks/"+id, "workspaces/a/connections/b/models/"+id, "workspaces/a/connections/b/scans/"+id, "workspaces/a/connections/b/x/"+id)
	}
	for _, n := range []string{"0", "1", "9999", "10000", "00", "01", "-1", "+1", "", "a", "1/x", "99999999999999999999"} {
		names = append(names, "workspaces/a/connections/b/sessions/s-1/streams/"+n, "workspaces/a/connections/b/sessions//streams/"+n)
	}
	names = append(names, "workspaces/a/connections/b/sessions/s-1", "workspaces/a/connections/b/sessions/"+tooLong, "workspaces/a/connections/b/sessions/s_1", "workspaces/a/connections/b/sessions/s", "workspaces/a/connections/b/sessions/0", "workspaces/a/connections/b/sessions/"+long)
	return append(names, "workspaces/a/connections/b", "workspaces/a/connection/b", "workspaces/a/connections", "workspaces/a/connections//models/a.b", "workspaces/a/b/connections/c")
}

// agree fails unless every parser accepts just what the contract does.
func agree(t *testing.T, name string) {
	t.Helper()
	for kind, k := range kinds {
		got, err := k.parse(name)
		// Go's $ without the flag m matches at the end of the text only.
		if want := k.pattern.MatchString(name); want != (err == nil) {
			t.Errorf("%s %q: error %v, but the contract's pattern says %v", kind, name, err, want)
		}
		if err == nil && got != name {
			t.Errorf("%s %q was read as %q", kind, name, got)
		}
		var wrong *resource.Error
		if err != nil && (!errors.As(err, &wrong) || wrong.Kind != kind) {
			t.Errorf("%s %q: error %v of the wrong kind", kind, name, err)
		}
		if err != nil {
			continue
		}
		id, err := resource.WorkspaceOf(name)
		if err != nil || !strings.HasPrefix(name+"/", "workspaces/"+id+"/") {
			t.Errorf("%q lies in the workspace %q, error %v", name, id, err)
		}
	}
}

func TestParseAgreesWithTheContract(t *testing.T) {
	accepted := map[string]int{}
	for _, name := range names() {
		agree(t, name)
		for kind, k := range kinds {
			if _, err := k.parse(name); err == nil {
				accepted[kind]++
			}
		}
	}
	for kind := range kinds {
		if accepted[kind] < 3 {
			t.Errorf("the test knows only %d good names of a %s", accepted[kind], kind)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range names() {
		f.Add(name)
	}
	f.Fuzz(agree)
}

func TestParts(t *testing.T) {
	m, err := resource.ParseModel("workspaces/acme/connections/prod/models/W-1.e_2")
	if err != nil {
		t.Fatal(err)
	}
	connection := resource.Connection{Workspace: "acme", ID: "prod"}
	if m != (resource.Model{Connection: connection, WorkbookID: "W-1", ElementID: "e_2"}) {
		t.Errorf("model %+v", m)
	}
	if got := m.Workbook(); got != (resource.Workbook{Connection: connection, WorkbookID: "W-1"}) {
		t.Errorf("workbook %+v", got)
	}
	s, err := resource.ParseScan("workspaces/acme/connections/prod/scans/s1")
	if err != nil || s != (resource.Scan{Connection: connection, ID: "s1"}) {
		t.Errorf("scan %+v, error %v", s, err)
	}
}

func TestWorkspaceOf(t *testing.T) {
	for name, want := range map[string]string{
		"workspaces/a":               "a",
		"workspaces/a/connections/b": "a",
		"workspaces/a/":              "a",
		"workspaces/a/anything new":  "a",
		"workspaces/*":               "",
		"workspaces//connections/b":  "",
		"workspaces/../connections":  "",
		"workspaces/A/connections/b": "",
		"/workspaces/a":              "",
		"x/workspaces/a":             "",
		"":                           "",
	} {
		got, err := resource.WorkspaceOf(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q lies in %q, error %v; want %q", name, got, err, want)
		}
	}
}
