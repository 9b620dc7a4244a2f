package sigmaclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// bodies are the responses that went through a transport, by path.
type bodies struct {
	http.RoundTripper
	mu   sync.Mutex
	last map[string][]byte
}

func (b *bodies) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[request.URL.Path] = body
	return response, nil
}

// reading is a call of the client. Items of a list that lack a required field
// are rejected.
type reading struct {
	read     func(context.Context, *sigmaclient.Client) (any, error)
	required []string
}

func list[T any](read func(context.Context, *sigmaclient.Client) ([]T, error), required ...string) reading {
	return reading{required: required, read: func(ctx context.Context, c *sigmaclient.Client) (any, error) { return read(ctx, c) }}
}

func single[T any](read func(context.Context, *sigmaclient.Client) (T, error)) reading {
	return reading{read: func(ctx context.Context, c *sigmaclient.Client) (any, error) { return read(ctx, c) }}
}

// readings are all calls that decode an answer, by the path of the call.
func readings(org sigmatest.Organization) map[string]reading {
	type client = sigmaclient.Client
	w, m := org.Workbooks[0].ID, org.DataModels[0].ID
	page, e, me := org.Workbooks[0].Pages[0].ID, org.Workbooks[0].Pages[0].Elements[0].ID, org.DataModels[0].Elements[0].ID
	table := inode(org)
	return map[string]reading{
		"/v2/whoami":                    single(func(ctx context.Context, c *client) (sigmaclient.Identity, error) { return c.WhoAmI(ctx) }),
		"/v2/workbooks":                 list(func(ctx context.Context, c *client) ([]sigmaclient.Workbook, error) { return c.Workbooks(ctx) }, "workbookId"),
		"/v2/workbooks/" + w:            single(func(ctx context.Context, c *client) (sigmaclient.Workbook, error) { return c.Workbook(ctx, w) }),
		"/v2/workbooks/" + w + "/tags":  list(func(ctx context.Context, c *client) ([]sigmaclient.Tag, error) { return c.WorkbookTags(ctx, w) }, "versionTagId"),
		"/v2/tags":                      list(func(ctx context.Context, c *client) ([]sigmaclient.Tag, error) { return c.Tags(ctx) }, "versionTagId"),
		"/v2/workbooks/" + w + "/pages": list(func(ctx context.Context, c *client) ([]sigmaclient.Page, error) { return c.Pages(ctx, w) }, "pageId"),
		"/v2/workbooks/" + w + "/pages/" + page + "/elements": list(func(ctx context.Context, c *client) ([]sigmaclient.Element, error) {
			return c.PageElements(ctx, w, page)
		}, "elementId"),
		"/v2/workbooks/" + w + "/elements":                   list(func(ctx context.Context, c *client) ([]sigmaclient.Element, error) { return c.Elements(ctx, w) }, "elementId"),
		"/v2/workbooks/" + w + "/columns":                    list(func(ctx context.Context, c *client) ([]sigmaclient.Column, error) { return c.Columns(ctx, w) }, "elementId", "columnId"),
		"/v2/workbooks/" + w + "/elements/" + e + "/columns": list(func(ctx context.Context, c *client) ([]sigmaclient.Column, error) { return c.ElementColumns(ctx, w, e) }, "columnId"),
		"/v2/workbooks/" + w + "/queries":                    list(func(ctx context.Context, c *client) ([]sigmaclient.Query, error) { return c.Queries(ctx, w) }, "elementId"),
		"/v2/workbooks/" + w + "/elements/" + e + "/query":   single(func(ctx context.Context, c *client) (sigmaclient.Query, error) { return c.ElementQuery(ctx, w, e) }),
		"/v2/workbooks/" + w + "/lineage":                    list(func(ctx context.Context, c *client) ([]sigmaclient.LineageEntry, error) { return c.Lineage(ctx, w) }),
		"/v2/workbooks/" + w + "/lineage/elements/" + e: single(func(ctx context.Context, c *client) (sigmaclient.ElementLineage, error) {
			return c.ElementLineage(ctx, w, e)
		}),
		"/v2/workbooks/" + w + "/sources": list(func(ctx context.Context, c *client) ([]sigmaclient.Source, error) { return c.Sources(ctx, w) }),
		"/v2/connections":                 list(func(ctx context.Context, c *client) ([]sigmaclient.Connection, error) { return c.Connections(ctx) }, "connectionId"),
		"/v2/connections/" + org.Connections[0].ID: single(func(ctx context.Context, c *client) (sigmaclient.Connection, error) {
			return c.Connection(ctx, org.Connections[0].ID)
		}),
		"/v2/connections/paths/" + table: single(func(ctx context.Context, c *client) (sigmaclient.ConnectionPath, error) {
			return c.ConnectionPath(ctx, table)
		}),
		"/v2/dataModels":      list(func(ctx context.Context, c *client) ([]sigmaclient.DataModel, error) { return c.DataModels(ctx) }, "dataModelId"),
		"/v2/dataModels/" + m: single(func(ctx context.Context, c *client) (sigmaclient.DataModel, error) { return c.DataModel(ctx, m) }),
		"/v2/dataModels/" + m + "/elements": list(func(ctx context.Context, c *client) ([]sigmaclient.Element, error) {
			return c.DataModelElements(ctx, m)
		}, "elementId"),
		"/v2/dataModels/" + m + "/columns": list(func(ctx context.Context, c *client) ([]sigmaclient.Column, error) { return c.DataModelColumns(ctx, m) }, "elementId", "columnId"),
		"/v2/dataModels/" + m + "/lineage": list(func(ctx context.Context, c *client) ([]sigmaclient.LineageEntry, error) {
			return c.DataModelLineage(ctx, m)
		}),
		"/v2/dataModels/" + m + "/sources": list(func(ctx context.Context, c *client) ([]sigmaclient.Source, error) { return c.DataModelSources(ctx, m) }),
		"/v2/dataModels/" + m + "/elements/" + me + "/query": single(func(ctx context.Context, c *client) (sigmaclient.Query, error) {
			return c.DataModelElementQuery(ctx, m, me)
		}),
		"/v2/files":      list(func(ctx context.Context, c *client) ([]sigmaclient.File, error) { return c.Files(ctx) }, "id"),
		"/v2/workspaces": list(func(ctx context.Context, c *client) ([]sigmaclient.Workspace, error) { return c.Workspaces(ctx) }, "workspaceId"),
	}
}

// inode is the id of the first table.
func inode(org sigmatest.Organization) string {
	e := org.Workbooks[0].Pages[0].Elements[0]
	id, _, _ := strings.Cut(strings.TrimPrefix(e.Columns[0].ID, "inode-"), "/")
	h := sigmaclient.CanonicalID(id)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// odd are the values that take the place of each field; "" removes the field.
func odd() []string {
	return []string{`null`, `7`, `-1.5`, `1e400`, `"odd"`, `""`, `"7"`, `true`, `false`, `{}`, `{"x":1}`, `{"message":"m","type":"t","name":{}}`,
		`[]`, `[null]`, `["a",7,{"name":"b"},[]]`, `[[[]]]`, `"` + strings.Repeat("x", 1<<12) + `"`, `"\ud800\u0000"`, ``}
}

// TestOneOddFieldCostsNoMoreThanItsItem replaces each field of each call's
// answer by each odd value. The call fails only if it is for one element's SQL and
// that is no text. All other items arrive as they are, and so does the item with
// the odd field unless the field identifies it, or is its SQL and no text.
func TestOneOddFieldCostsNoMoreThanItsItem(t *testing.T) {
	org := company()
	recorded := &bodies{last: map[string][]byte{}}
	s := newSigma(t, org, func(o *sigmaclient.Options) { recorded.RoundTripper, o.Transport = o.Transport, recorded })
	client := s.client(t)
	calls := readings(s.Organization())
	for _, path := range slices.Sorted(maps.Keys(calls)) {
		t.Run(path, func(t *testing.T) {
			call := calls[path]
			s.SetFaults()
			want := must(call.read(t.Context(), client))(t)
			var body any
			if err := json.Unmarshal(recorded.last[path], &body); err != nil {
				t.Fatal(err)
			}
			tried := 0
			forEachField(body, func(at int, field string, replace func(string)) {
				for _, value := range odd() {
					if isPageCursor(body, at, field) && value != "" && strings.ContainsAny(value[:1], `"-17`) {
						continue // another page to read: see TestOddPages
					}
					tried++
					replace(value)
					text, err := json.Marshal(body)
					if err != nil {
						t.Fatal(err)
					}
					replace("restore")
					s.SetFaults(sigmatest.On(path, sigmatest.Answer(string(text))))
					var incomplete sigmaclient.IncompleteLists
					got, err := call.read(sigmaclient.WithIncompleteLists(t.Context(), &incomplete), client)
					if isNoSQL(field, value) && at < 0 {
						failure(t, err, sigmaclient.KindProtocol)
						continue
					}
					if err != nil {
						t.Errorf("%s = %.30s at %d: %v", field, value, at, err)
						continue
					}
					checkOthers(t, call, want, got, at, field, value, incomplete.Lists())
				}
			})
			if tried < 2*len(odd()) {
				t.Errorf("only %d odd answers", tried)
			}
		})
	}
}

// isNoSQL reports whether a value in the place of an element's SQL is no text, and so no answer.
func isNoSQL(field, value string) bool {
	return field == "sql" && value != "" && value != "null" && value[0] != '"'
}

// isPageCursor reports whether a field of the page itself names the next page.
func isPageCursor(body any, at int, field string) bool {
	object, _ := body.(map[string]any)
	_, isList := object["entries"]
	return isList && at < 0 && strings.HasPrefix(field, "nextPage")
}

// forEachField visits the fields of a page and of its first entry, or of an
// object, nested ones included. Entries themselves are no field.
func forEachField(body any, visit func(at int, field string, replace func(string))) {
	var walk func(at int, name string, value any)
	walk = func(at int, name string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				old := value[key]
				if key != "entries" {
					visit(at, strings.TrimPrefix(name+"."+key, "."), func(text string) {
						switch text {
						case "restore":
							value[key] = old
						case "":
							delete(value, key)
						default:
							value[key] = json.RawMessage(text)
						}
					})
					walk(at, strings.TrimPrefix(name+"."+key, "."), old)
				}
			}
		case []any:
			if len(value) > 0 {
				walk(at, name+"[0]", value[0])
			}
		}
	}
	entries, isArray := body.([]any)
	if page, ok := body.(map[string]any); ok && page["entries"] != nil {
		walk(-1, "", body)
		entries, isArray = page["entries"].([]any), true
	}
	if !isArray {
		walk(-1, "", body)
		return
	}
	for i, entry := range entries {
		walk(i, "", entry)
	}
}

func checkOthers(t *testing.T, call reading, want, got any, at int, field, value string, incomplete []sigmaclient.IncompleteList) {
	t.Helper()
	wanted, received := reflect.ValueOf(want), reflect.ValueOf(got)
	if wanted.Kind() != reflect.Slice || at < 0 {
		return // nothing else is in the answer
	}
	rejected := wanted.Len() - received.Len()
	where := fmt.Sprintf("entries[%d].%s", at, field)
	switch {
	case rejected == 1 && (slices.Contains(call.required, field) || isNoSQL(field, value)):
		if len(incomplete) != 1 || incomplete[0].Rejected != 1 || incomplete[0].Example != where || incomplete[0].Received != wanted.Len() {
			t.Errorf("%s = %.30s is rejected, and reported as %+v", where, value, incomplete)
		}
	case rejected == 0:
		if len(incomplete) != 0 {
			t.Errorf("%s = %.30s is complete, and reported as %+v", where, value, incomplete)
		}
	default:
		t.Errorf("%s = %.30s: %d items of %d", where, value, received.Len(), wanted.Len())
		return
	}
	for i := range wanted.Len() {
		if i == at {
			continue
		}
		j := i
		if i > at {
			j -= rejected
		}
		if diff := cmp.Diff(wanted.Index(i).Interface(), received.Index(j).Interface()); diff != "" {
			t.Errorf("%s = %.30s changes item %d:\n%s", where, value, i, diff)
		}
	}
}

// TestOddFieldsKeepTheirMeaning shows what is made of values whose meaning is
// clear, and that others leave the field empty.
func TestOddFieldsKeepTheirMeaning(t *testing.T) {
	type workbook = sigmaclient.Workbook
	updated := sigmaclient.Time{Time: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	for members, want := range map[string]workbook{
		`"latestVersion":"7"`:                               {LatestVersion: 7},
		`"latestVersion":" 7"`:                              {},
		`"latestVersion":"v7"`:                              {},
		`"latestVersion":9007199254740993000`:               {},
		`"latestVersion":[7]`:                               {},
		`"latestVersion":"NaN"`:                             {},
		`"isArchived":"false"`:                              {},
		`"isArchived":"true"`:                               {IsArchived: true},
		`"isArchived":1`:                                    {IsArchived: true},
		`"isArchived":"archived"`:                           {},
		`"isArchived":{}`:                                   {},
		`"tags":["Prod","Old"]`:                             {Tags: []sigmaclient.Tag{{Name: "Prod"}, {Name: "Old"}}},
		`"tags":"Prod"`:                                     {Tags: []sigmaclient.Tag{{Name: "Prod"}}},
		`"tags":[{"name":"Prod"},null,7,[]]`:                {Tags: []sigmaclient.Tag{{Name: "Prod"}, {Name: "7"}}},
		`"tags":[{"name":"Prod","versionTagId":{}}]`:        {Tags: []sigmaclient.Tag{{Name: "Prod"}}},
		`"tags":{"name":"Prod"}`:                            {Tags: []sigmaclient.Tag{{Name: "Prod"}}},
		`"createdAt":"yesterday","updatedAt":17`:            {},
		`"createdAt":{},"updatedAt":"2026-05-06T07:08:09Z"`: {UpdatedAt: updated},
		`"name":12,"path":null,"url":true,"ownerId":[]`:     {Name: "12"},
	} {
		want.WorkbookID = "w"
		got := must(workbooksOf(t, `{"workbookId":"w",`+members+`}`))(t)
		if diff := cmp.Diff([]workbook{want}, got, emptyIsNil); diff != "" {
			t.Errorf("%s:\n%s", members, diff)
		}
	}
	if got := must(workbooksOf(t, `{"workbookId":17}`))(t); len(got) != 1 || got[0].WorkbookID != "17" {
		t.Errorf("an id that is a number: %+v", got)
	}
}

func workbooksOf(t *testing.T, entries string) ([]sigmaclient.Workbook, error) {
	t.Helper()
	got, _, _, err := sigmaclient.DecodePage([]byte(`{"entries":[` + entries + `]}`))
	return got, err
}

func TestOddElementsColumnsAndLineageKeepTheirMeaning(t *testing.T) {
	s := newSigma(t, small())
	client, ctx := s.client(t), t.Context()
	s.SetFaults(
		sigmatest.On("/v2/workbooks/w/elements", sigmatest.Answer(`{"entries":[
			{"elementId":"a","columns":[{"name":"Id"},{"label":"E-Mail"},"Plain",null],"error":null},
			{"elementId":"b","columns":"Only","error":{"message":"Cycle","code":3}},
			{"elementId":"c","columns":7,"error":{"code":3}},
			{"elementId":"d","columns":null,"error":false},
			{"elementId":"e","error":["x"],"type":null}]}`)),
		sigmatest.On("/v2/workbooks/w/columns", sigmatest.Answer(`{"entries":[
			{"elementId":"e","columnId":"a","label":"A","formula":7,"type":"number"},
			{"elementId":"e","columnId":"b","name":"B","formula":[],"type":{"type":"error"}},
			{"elementId":"e","columnId":"c","name":"C","formula":"\"7\"","type":{"type":{}}},
			{"elementId":"e","columnId":4,"name":"D","type":null},
			{"elementId":"e","columnId":"f","label":7}]}`)),
		sigmatest.On("/v2/workbooks/w/lineage", sigmatest.Answer(`{"entries":[
			{"type":"element","elementId":"a","sourceIds":null,"dataSourceIds":"t"},
			{"type":"element","elementId":7,"sourceIds":[8,null,{}],"dataSourceIds":{}},
			{"type":"table","inodeId":"t","connectionId":{},"name":7}],"total":"3"}`)),
	)
	elements := []sigmaclient.Element{
		{ElementID: "a", Columns: []string{"Id", "E-Mail", "Plain"}}, {ElementID: "b", Columns: []string{"Only"}, Error: "Cycle"},
		{ElementID: "c", Columns: []string{"7"}, Error: "error without a message"}, {ElementID: "d"}, {ElementID: "e", Error: "error without a message"},
	}
	if diff := cmp.Diff(elements, must(client.Elements(ctx, "w"))(t)); diff != "" {
		t.Error(diff)
	}
	columns := []sigmaclient.Column{
		{ElementID: "e", ColumnID: "a", Label: "A", Formula: "7", Type: "number"}, {ElementID: "e", ColumnID: "b", Label: "B", Type: "error"},
		{ElementID: "e", ColumnID: "c", Label: "C", Formula: `"7"`}, {ElementID: "e", ColumnID: "4", Label: "D"}, {ElementID: "e", ColumnID: "f", Label: "7"},
	}
	if diff := cmp.Diff(columns, must(client.Columns(ctx, "w"))(t)); diff != "" {
		t.Error(diff)
	}
	lineage := []sigmaclient.LineageEntry{
		{Type: "element", ElementID: "a", DataSourceIDs: []string{"t"}}, {Type: "element", ElementID: "7", SourceIDs: []string{"8"}},
		{Type: "table", InodeID: "t", Name: "7"},
	}
	if diff := cmp.Diff(lineage, must(client.Lineage(ctx, "w"))(t)); diff != "" {
		t.Error(diff)
	}
}

func TestOddGrants(t *testing.T) {
	for text, isGrant := range map[string]bool{
		`{"access_token":"t","expires_in":"3600"}`:                  true,
		`{"access_token":"t","expires_in":null,"refresh_token":{}}`: true,
		`{"access_token":"t","expires_in":-1,"token_type":7}`:       true,
		`{"access_token":"t","expires_in":{"seconds":3600}}`:        true,
		`{"access_token":"t","expires_in":1e400}`:                   true,
		`{"access_token":"t"}`:                                      true,
		`{"access_token":"","expires_in":3600}`:                     false,
		`{"access_token":{},"expires_in":3600}`:                     false,
		`["t"]`:                                                     false,
	} {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Answer(text)), sigmatest.On("/v2/whoami", sigmatest.Answer(`{"userId":"u","organizationId":7}`)))
		identity, err := s.client(t).WhoAmI(t.Context())
		if !isGrant {
			failure(t, err, sigmaclient.KindProtocol)
		} else if err != nil || identity != (sigmaclient.Identity{UserID: "u", OrganizationID: "7"}) {
			t.Errorf("%s: %+v, %v", text, identity, err)
		}
	}
}

func TestDocumentWithoutRevisionIsVisible(t *testing.T) {
	org := small()
	org.Workbooks[0].Raw = sigmatest.Raw("latestVersion", `"new"`, "updatedAt", `"never"`)
	org.Workbooks = append(org.Workbooks,
		sigmatest.Workbook{Name: "Version alone", Raw: sigmatest.Raw("updatedAt", "")},
		sigmatest.Workbook{Name: "Time alone", Raw: sigmatest.Raw("latestVersion", "")},
		sigmatest.Workbook{Name: "Zero", Raw: sigmatest.Raw("latestVersion", "0", "updatedAt", "null")})
	org.DataModels = []sigmatest.DataModel{{Name: "Core", Raw: sigmatest.Raw("latestVersion", "", "updatedAt", `{}`)}, {Name: "Dated"}}
	s := newSigma(t, org)
	got := map[string]bool{}
	for _, w := range must(s.client(t).Workbooks(t.Context()))(t) {
		got[w.Name] = w.HasRevision()
	}
	for _, m := range must(s.client(t).DataModels(t.Context()))(t) {
		got[m.Name] = m.HasRevision()
	}
	want := map[string]bool{"Churn": false, "Version alone": true, "Time alone": true, "Zero": false, "Core": false, "Dated": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzObject decodes any JSON into each kind of field that answers have.
func FuzzObject(f *testing.F) {
	for _, value := range odd() {
		f.Add([]byte(`{"workbookId":"w","tags":` + value + `,"latestVersion":` + value + `,"isArchived":` + value + `}`))
		f.Add([]byte(`{"dependencies":{"a":` + value + `},"edges":` + value + `}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		isObject := json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
		for _, err := range sigmaclient.DecodeObjects(body) {
			if (err == nil) != isObject {
				t.Errorf("%v for an object: %v", err, isObject)
			}
		}
	})
}
