package sigmatest_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func entries(t *testing.T, body map[string]any) []map[string]any {
	t.Helper()
	listed, ok := body["entries"].([]any)
	if !ok {
		t.Fatalf("no entries in %v", body)
	}
	var all []map[string]any
	for _, entry := range listed {
		all = append(all, entry.(map[string]any))
	}
	return all
}

func TestURLIDsAreUUIDsInBase62(t *testing.T) {
	org := one()
	org.Workbooks[0].ID = "3b9aca00-1111-4222-8333-444455556666"
	org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: "Leading zeros", ID: "0000000a-0000-4000-8000-000000000000"}, sigmatest.Workbook{Name: "Made"})
	c := newCaller(t, org)
	for _, w := range entries(t, c.object(t, "/v2/workbooks")) {
		digits := strings.ReplaceAll(w["workbookId"].(string), "-", "")
		number, ok := new(big.Int).SetString(digits, 16)
		if !ok || w["workbookUrlId"] != number.Text(62) || !strings.HasSuffix(w["url"].(string), number.Text(62)) {
			t.Errorf("%v has the url id %v", w["workbookId"], w["workbookUrlId"])
		}
		if digits[0] == '3' && w["workbookUrlId"] != "1OthJJINXdZJdJoNgpV0qi" {
			t.Errorf("url id %v", w["workbookUrlId"])
		}
	}
}

func TestReferencesTakeTheFormThatIsChosen(t *testing.T) {
	const table, model = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-2222222222ab"
	org := func(references sigmatest.References) sigmatest.Organization {
		return sigmatest.Organization{
			References:  references,
			Connections: []sigmatest.Connection{{ID: "c", Name: "C"}},
			DataModels:  []sigmatest.DataModel{{ID: model, Name: "Core", Elements: []sigmatest.Element{{ID: "inside", Name: "Inside"}}}},
			Workbooks: []sigmatest.Workbook{{Name: "W", ID: "w", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
				{ID: "file", Name: "File", Source: sigmatest.Source{Kind: sigmatest.CSVUpload, ID: table}},
				{ID: "model", Name: "Model", DataModel: "Core", DataModelElement: "Inside"},
				{ID: "text", Name: "Text", CustomSQL: "select 1", CustomSQLName: "Mine"},
				{ID: "above", Name: "Above", Elements: []string{"Text", "File"}},
			}}}}},
		}
	}
	const tableURL, modelURL = "wcFtOGNYYE34ujM92nQyZ", "12pkXDnBWrBRrRAMK9i9pV"
	for references, want := range map[sigmatest.References]map[string]string{
		sigmatest.AsOrganization: {"file": "inode-" + tableURL, "model": modelURL + "/inside", "text": "Mine", "above": "Mine inode-" + tableURL},
		sigmatest.Live:           {"file": "inode-" + tableURL, "model": modelURL + "/inside", "text": "Mine", "above": "Mine inode-" + tableURL},
		sigmatest.PrefixedIDs:    {"file": "inode-" + table, "model": model + "/inside", "text": "Mine", "above": "Mine inode-" + table},
		sigmatest.UpperCaseIDs:   {"file": "inode-" + table, "model": strings.ToUpper(model) + "/inside", "text": "Mine", "above": "Mine inode-" + table},
		sigmatest.OnlySourceIDs:  {"file": "", "model": "", "text": "", "above": ""},
	} {
		for _, ofDocument := range []bool{false, true} {
			o := org(references)
			if ofDocument {
				o.References, o.Workbooks[0].References = sigmatest.PlainIDs, references
				if references == sigmatest.AsOrganization {
					continue
				}
			}
			got := map[string]string{}
			for _, e := range entries(t, newCaller(t, o).object(t, "/v2/workbooks/w/lineage")) {
				if id, ok := e["elementId"].(string); ok {
					got[id] = words(e["dataSourceIds"])
				}
				if sources := words(e["sourceIds"]); e["elementId"] == "above" && sources != "text file" {
					t.Errorf("sourceIds of an element on elements: %q", sources)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("form %d, of the document %v:\n%s", references, ofDocument, diff)
			}
		}
	}
}

// words joins a list of texts; null is empty.
func words(list any) string {
	items, _ := list.([]any)
	var all []string
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return strings.Join(all, " ")
}

func TestSourcesOfEveryKindAreInLineage(t *testing.T) {
	org := sigmatest.Organization{Connections: []sigmatest.Connection{{ID: "c", Name: "C"}}}
	members := map[sigmatest.SourceKind]string{
		sigmatest.CSVUpload: "csvId", sigmatest.SemanticView: "semanticViewId", sigmatest.SQLDocument: "sqlDocumentId",
		sigmatest.Worksheet: "worksheetId", sigmatest.Dataset: "inodeId",
	}
	var elements []sigmatest.Element
	for kind := range members {
		elements = append(elements, sigmatest.Element{Name: "On " + string(kind), Source: sigmatest.Source{Kind: kind}},
			sigmatest.Element{Name: "Untold " + string(kind), Source: sigmatest.Source{Kind: kind, Untold: true}})
	}
	org.Workbooks = []sigmatest.Workbook{{Name: "W", ID: "w", Pages: []sigmatest.Page{{Elements: elements}}}}
	found := map[string]int{}
	for _, e := range entries(t, newCaller(t, org).object(t, "/v2/workbooks/w/lineage")) {
		kind, _ := e["type"].(string)
		member := members[sigmatest.SourceKind(kind)]
		if member == "" {
			continue
		}
		found[kind]++
		isUntold := strings.HasPrefix(e["name"].(string), "Untold")
		if e[member] == nil || (e["connectionId"] == nil) != isUntold {
			t.Errorf("%s: %v", kind, e)
		}
	}
	if len(found) != len(members) || found["csv-upload"] != 2 {
		t.Errorf("found %v", found)
	}
}

// TestEveryCallFailsInEveryWay goes through all calls about a document and all
// failures, first as a fault and then as a habit of the document.
func TestEveryCallFailsInEveryWay(t *testing.T) {
	org := one()
	org.DataModels = []sigmatest.DataModel{{Name: "Core", Elements: []sigmatest.Element{{Name: "Inside"}}}}
	c := newCaller(t, org)
	org = c.server.Organization()
	workbook, model := org.Workbooks[0], org.DataModels[0]
	for _, call := range append(sigmatest.SideCalls(), sigmatest.CallElements, sigmatest.CallElementQuery) {
		tail := strings.ReplaceAll(string(call), "{elementId}", workbook.Pages[0].Elements[0].ID)
		path := "/v2/workbooks/" + workbook.ID + "/" + tail
		paths := []string{path}
		if slices.Contains([]sigmatest.Call{sigmatest.CallLineage, sigmatest.CallColumns, sigmatest.CallSources, sigmatest.CallElements}, call) {
			paths = append(paths, "/v2/dataModels/"+model.ID+"/"+tail)
		}
		for _, failure := range sigmatest.Failures() {
			for _, path := range paths {
				c.server.SetFaults(call.On(failure.Fault()))
				c.fails(t, path, failure)
				c.server.SetFaults()
				c.server.Change(func(o *sigmatest.Organization) {
					failures := map[sigmatest.Call]sigmatest.Failure{call: failure}
					o.Workbooks[0].Failures, o.DataModels[0].Failures = failures, failures
				})
				c.fails(t, path, failure)
				c.object(t, "/v2/workbooks/"+workbook.ID) // other calls answer
				c.server.Change(func(o *sigmatest.Organization) { o.Workbooks[0].Failures, o.DataModels[0].Failures = nil, nil })
				if status, _, body := c.get(t, path); status != http.StatusOK {
					t.Errorf("%s afterwards: HTTP %d: %s", path, status, body)
				}
			}
		}
	}
}

func (c *caller) fails(t *testing.T, path string, failure sigmatest.Failure) {
	t.Helper()
	status, header, body := c.get(t, path)
	if status != failure.Status {
		t.Errorf("%s: HTTP %d, want %d", path, status, failure.Status)
	}
	if failure.Code == "" {
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: a gateway sends %s", path, header.Get("Content-Type"))
		}
		return
	}
	var sent struct{ RequestID, Code, Message string }
	if err := json.Unmarshal(body, &sent); err != nil || sent.Code != failure.Code || sent.Message != failure.Message || sent.RequestID == "" {
		t.Errorf("%s: %s, %v", path, body, err)
	}
}

func TestElementsQueryFailsAlone(t *testing.T) {
	org := one()
	org.Workbooks[0].Pages[0].Elements = append(org.Workbooks[0].Pages[0].Elements, sigmatest.Element{Name: "Other"})
	for _, failure := range sigmatest.Failures() {
		org.Workbooks[0].Pages[0].Elements[0].Failure = failure
		c := newCaller(t, org)
		w := c.server.Organization().Workbooks[0]
		base := "/v2/workbooks/" + w.ID
		c.fails(t, base+"/elements/"+w.Pages[0].Elements[0].ID+"/query", failure)
		c.object(t, base+"/elements/"+w.Pages[0].Elements[2].ID+"/query")
		if n := len(entries(t, c.object(t, base+"/queries"))); n != 1 {
			t.Errorf("%d queries are listed, want the other's", n)
		}
	}
}

func TestRawReplacesMembers(t *testing.T) {
	org := one()
	org.DataModels = []sigmatest.DataModel{{Name: "Core", Raw: sigmatest.Raw("latestVersion", `"9"`)}}
	w := &org.Workbooks[0]
	w.Raw = sigmatest.Raw("latestVersion", `"7"`, "tags", `["Prod"]`, "path", "")
	e := &w.Pages[0].Elements[0]
	e.Raw, e.RawQuery, e.RawLineage = sigmatest.Raw("error", `{"message":"m"}`), sigmatest.Raw("sql", "7"), sigmatest.Raw("sourceIds", `"one"`)
	e.Columns[0].Raw = sigmatest.Raw("type", `"text"`, "formula", "")
	c := newCaller(t, org)
	base := "/v2/workbooks/" + c.server.Organization().Workbooks[0].ID
	listed := entries(t, c.object(t, "/v2/workbooks"))[0]
	if listed["latestVersion"] != "7" || words(listed["tags"]) != "Prod" || listed["path"] != nil || listed["name"] == nil {
		t.Errorf("the workbook is %v", listed)
	}
	if diff := cmp.Diff(listed, c.object(t, base)); diff != "" {
		t.Error(diff)
	}
	if got := entries(t, c.object(t, "/v2/dataModels"))[0]["latestVersion"]; got != "9" {
		t.Errorf("the data model's version is %v", got)
	}
	if got := entries(t, c.object(t, base+"/elements"))[0]["error"]; cmp.Diff(map[string]any{"message": "m"}, got) != "" {
		t.Errorf("the element's error is %v", got)
	}
	if got := entries(t, c.object(t, base+"/queries"))[0]["sql"]; got != 7.0 {
		t.Errorf("the query is %v", got)
	}
	if got := entries(t, c.object(t, base+"/lineage"))[0]["sourceIds"]; got != "one" {
		t.Errorf("the sources are %v", got)
	}
	column := entries(t, c.object(t, base+"/columns"))[0]
	if _, ok := column["formula"]; ok || column["type"] != "text" {
		t.Errorf("the column is %v", column)
	}
}

func TestUnsentEntriesAreCounted(t *testing.T) {
	org := one()
	org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: "Unsent", Unsent: true})
	org.DataModels = []sigmatest.DataModel{{Name: "Core", Unsent: true}, {Name: "Other", Elements: []sigmatest.Element{{Name: "A", Unsent: true}, {Name: "B"}}}}
	elements := &org.Workbooks[0].Pages[0].Elements
	*elements = append(*elements, sigmatest.Element{Name: "Unsent", Unsent: true, Columns: sigmatest.Columns("A")},
		sigmatest.Element{Name: "Without columns", ColumnsUnsent: true, Columns: sigmatest.Columns("A", "B")})
	c := newCaller(t, org)
	served := c.server.Organization()
	base := "/v2/workbooks/" + served.Workbooks[0].ID
	for path, want := range map[string][2]int{
		"/v2/workbooks": {1, 2}, "/v2/dataModels": {1, 2}, base + "/elements": {3, 4},
		base + "/pages/" + served.Workbooks[0].Pages[0].ID + "/elements": {3, 4},
		"/v2/dataModels/" + served.DataModels[1].ID + "/elements":        {1, 2},
	} {
		body := c.object(t, path)
		if got := [2]int{len(entries(t, body)), int(body["total"].(float64))}; got != want {
			t.Errorf("%s: %d entries of %d, want %v", path, got[0], got[1], want)
		}
	}
	for _, column := range entries(t, c.object(t, base+"/columns")) {
		if column["name"] == "B" {
			t.Error("the columns of an element without columns are listed")
		}
	}
	for _, e := range entries(t, c.object(t, base+"/elements")) {
		if e["name"] == "Without columns" && words(e["columns"]) != "A B" {
			t.Errorf("the element lists %v", e["columns"])
		}
	}
}

func TestControlsAreListedByName(t *testing.T) {
	org := one()
	org.Workbooks[0].Pages[0].Elements = append(org.Workbooks[0].Pages[0].Elements, sigmatest.Element{Name: "Country", Type: "control"})
	c := newCaller(t, org)
	got := entries(t, c.object(t, "/v2/workbooks/"+c.server.Organization().Workbooks[0].ID+"/controls"))
	if diff := cmp.Diff([]map[string]any{{"name": "Country", "valueType": "text"}}, got); diff != "" {
		t.Error(diff)
	}
}
