package sigmaclient_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// company is an organization with what the calls below read.
func company() sigmatest.Organization {
	columns := sigmatest.Columns("Id:number", "E-Mail")
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{{Name: "Production", Account: "ACME", Warehouse: "WH", Role: "R", User: "U"}, {Name: "Old", Type: "bigQuery", OAuth: true}},
		DataModels: []sigmatest.DataModel{{Name: "Core", Path: "Models", Elements: []sigmatest.Element{
			{Name: "Accounts", Columns: columns, Tables: []string{"DB.S.ACCOUNTS"}},
		}}},
		Workbooks: []sigmatest.Workbook{
			{Name: "Churn", Path: "Growth/Lifecycle", Tags: []string{"Prod"}, Version: 12,
				Versions: map[string][]sigmatest.Page{"Prod": {{ID: "page1", Name: "Then", Elements: []sigmatest.Element{{ID: "elementAAA", Name: "Users", SQL: "select 1 \"Old\""}}}}},
				Pages: []sigmatest.Page{
					{ID: "page1", Name: "Now", Elements: []sigmatest.Element{
						{ID: "elementAAA", Name: "Users", Columns: columns, Tables: []string{"DB.S.USERS"}},
						{ID: "elementBBB", Name: "On the model", Columns: columns, DataModel: "Core", Twice: true},
						{ID: "elementCCC", Type: "text"},
					}},
					{ID: "page2", Hidden: true, Elements: []sigmatest.Element{
						{ID: "elementDDD", Name: "Chart", Type: "visualization", Visualization: "bar", Columns: sigmatest.Columns("Count:number", "Oops:error"), Elements: []string{"Users"}},
						{ID: "elementEEE", Name: "Text", Columns: columns, CustomSQL: "select 1"},
						{ID: "elementFFF", Name: "Retired", Refusal: sigmatest.WithNothing},
						{ID: "elementGGG", Name: "Broken", Refusal: sigmatest.WithError},
					}},
				}},
			{Name: "Old", Archived: true},
			{Name: "Not mine", SharedWith: []string{"somebody"}, Owner: "somebody"},
		},
	}
}

func TestCallsReadWhatIsThere(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, org := s.client(t), t.Context(), s.Organization()
	workbook := org.Workbooks[0]

	who := must(client.WhoAmI(ctx))(t)
	if who.OrganizationID != org.ID || who.UserID != org.Owner {
		t.Errorf("identity %+v", who)
	}
	workbooks := must(client.Workbooks(ctx))(t)
	if len(workbooks) != 1 {
		t.Fatalf("%d workbooks, want the one that is shared and not archived", len(workbooks))
	}
	w := workbooks[0]
	if w.WorkbookID != workbook.ID || w.Name != "Churn" || w.Path != "Growth/Lifecycle" || w.LatestVersion != 12 || w.OwnerID != org.Owner ||
		!w.UpdatedAt.Equal(workbook.UpdatedAt) || w.IsArchived || len(w.Tags) != 1 || w.Tags[0].Name != "Prod" || !strings.HasSuffix(w.URL, w.WorkbookURLID) {
		t.Errorf("workbook %+v", w)
	}
	if diff := gocmp.Diff(w, must(client.Workbook(ctx, w.WorkbookID))(t)); diff != "" {
		t.Error(diff)
	}
	if got := must(client.Workbooks(ctx, sigmaclient.OnlyArchived(), sigmaclient.WithoutTags()))(t); len(got) != 1 || got[0].Name != "Old" || got[0].Tags != nil {
		t.Errorf("archived %+v", got)
	}
	if got := must(client.Workbooks(ctx, sigmaclient.WholeOrganization(), sigmaclient.WithoutExplorations()))(t); len(got) != 2 {
		t.Errorf("%d workbooks in the whole organization, want 2", len(got))
	}

	want := []sigmaclient.Page{{PageID: "page1", Name: "Now"}, {PageID: "page2", Hidden: true}}
	if diff := gocmp.Diff(want, must(client.Pages(ctx, w.WorkbookID))(t)); diff != "" {
		t.Error(diff)
	}
	elements := must(client.Elements(ctx, w.WorkbookID))(t)
	if len(elements) != 7 {
		t.Fatalf("%d elements, want 7", len(elements))
	}
	wantElement := sigmaclient.Element{ElementID: "elementAAA", Name: "Users", Type: "table", Columns: []string{"Id", "E-Mail"}, VisualizationType: "levelTable"}
	if diff := gocmp.Diff(wantElement, elements[0]); diff != "" {
		t.Error(diff)
	}
	if got := must(client.PageElements(ctx, w.WorkbookID, "page2"))(t); len(got) != 4 || got[3].Error == "" {
		t.Errorf("elements of the hidden page %+v", got)
	}

	columns := must(client.Columns(ctx, w.WorkbookID))(t)
	chart := columns[len(columns)-4:][:2] // before those of "Text"
	if chart[0].ElementID != "elementDDD" || chart[0].Label != "Count" || chart[0].Type != "number" || chart[1].Type != "error" {
		t.Errorf("columns of the chart %+v", chart)
	}
	one := must(client.ElementColumns(ctx, w.WorkbookID, "elementDDD"))(t)
	for i := range one {
		one[i].ElementID = "elementDDD" // it is in the call
	}
	if diff := gocmp.Diff(chart, one); diff != "" {
		t.Errorf("the two spellings of columns differ:\n%s", diff)
	}

	if diff := gocmp.Diff([]string{"Prod"}, []string{must(client.Tags(ctx))(t)[0].Name}); diff != "" {
		t.Error(diff)
	}
	if got := must(client.WorkbookTags(ctx, w.WorkbookID))(t); len(got) != 1 || got[0].SourceWorkbookVersion != 12 {
		t.Errorf("tags %+v", got)
	}
}

func TestQueries(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, id := s.client(t), t.Context(), s.Organization().Workbooks[0].ID
	queries := must(client.Queries(ctx, id))(t)
	var ids []string
	for _, q := range queries {
		ids = append(ids, q.ElementID)
		switch q.ElementID {
		case "elementFFF":
			if q.SQL != "" || q.Error != "" {
				t.Errorf("on a retired dataset: %+v", q)
			}
		case "elementGGG":
			if q.SQL != "" || q.Error == "" {
				t.Errorf("broken: %+v", q)
			}
		default:
			if !strings.Contains(q.SQL, "\n-- Sigma Σ {\"request-id\":") {
				t.Errorf("no comment behind %s", q.SQL)
			}
		}
	}
	if want := []string{"elementAAA", "elementBBB", "elementBBB", "elementDDD", "elementEEE", "elementFFF", "elementGGG"}; !slices.Equal(ids, want) {
		t.Errorf("queries of %v, want %v: an element may come twice", ids, want)
	}
	first, second := must(client.ElementQuery(ctx, id, "elementAAA"))(t), must(client.ElementQuery(ctx, id, "elementAAA"))(t)
	if first.SQL == second.SQL {
		t.Error("the comment is new at each fetch")
	}
	if got := must(client.ElementQuery(ctx, id, "elementAAA", sigmaclient.AtTag("Prod")))(t); !strings.HasPrefix(got.SQL, `select 1 "Old"`) {
		t.Errorf("the tagged version's SQL is %q", got.SQL)
	}
	if got := must(client.Pages(ctx, id, sigmaclient.AtTag("Prod")))(t); len(got) != 1 || got[0].Name != "Then" {
		t.Errorf("the tagged version's pages are %+v", got)
	}
	if got := must(client.PageElements(ctx, id, "page1", sigmaclient.AtTag("Prod")))(t); len(got) != 1 {
		t.Errorf("the tagged version's page has %+v", got)
	}
	if got := must(client.Elements(ctx, id, sigmaclient.AtTag("Prod")))(t); len(got) != 1 {
		t.Errorf("the tagged version has %+v", got)
	}
	_, err := client.Elements(ctx, id, sigmaclient.AtTag("Nobody's"))
	failure(t, err, sigmaclient.KindNotFound)
}

func TestRefusedQueries(t *testing.T) {
	for refusal, kind := range map[sigmatest.Refusal]sigmaclient.Kind{
		sigmatest.UnableToProduce: sigmaclient.KindBroken,
		sigmatest.WarehouseFailed: sigmaclient.KindWarehouseRefused,
		sigmatest.Forbidden:       sigmaclient.KindForbidden,
		sigmatest.NotPresent:      sigmaclient.KindNotFound,
		sigmatest.SourceArchived:  sigmaclient.KindArchived,
		sigmatest.InternalFailure: sigmaclient.KindInternal,
	} {
		org := company()
		org.Workbooks[0].Pages[0].Elements[0].Refusal = refusal
		s := newSigma(t, org)
		client, id := s.client(t), s.Organization().Workbooks[0].ID
		_, err := client.ElementQuery(t.Context(), id, "elementAAA")
		failed := failure(t, err, kind)
		if failed.RequestID == "" || failed.Call != "GET /v2/workbooks/{}/elements/{}/query" {
			t.Errorf("%v: %+v", refusal, failed)
		}
		if n := len(must(client.Queries(t.Context(), id))(t)); n != 6 {
			t.Errorf("%v: the bulk call has %d entries, want 6 without the one", refusal, n)
		}
		s.ChangeWorkbook("Churn", func(w *sigmatest.Workbook) { w.Queries = refusal })
		_, err = client.Queries(t.Context(), id)
		failure(t, err, kind)
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, org := s.client(t), t.Context(), s.Organization()
	_, err := client.Elements(ctx, org.Workbooks[1].ID)
	failure(t, err, sigmaclient.KindArchived)
	_, err = client.Elements(ctx, org.Workbooks[2].ID)
	failure(t, err, sigmaclient.KindForbidden)
	_, err = client.Workbook(ctx, "no-such-workbook")
	failure(t, err, sigmaclient.KindNotFound)

	vanish := sigmatest.Do(func() { s.Change(func(o *sigmatest.Organization) { o.RemoveWorkbook("Churn") }) })
	s.SetFaults(sigmatest.On("/v2/workbooks/*/elements", sigmatest.Times(1, vanish)))
	workbooks := must(client.Workbooks(ctx))(t)
	_, err = client.Elements(ctx, workbooks[0].WorkbookID)
	failure(t, err, sigmaclient.KindNotFound)
	if got := must(client.Workbooks(ctx))(t); len(got) != 0 {
		t.Errorf("%d workbooks, want none", len(got))
	}
}

func TestLineage(t *testing.T) {
	org := company()
	org.References = sigmatest.PlainIDs
	s := newSigma(t, org)
	client, ctx := s.client(t), t.Context()
	org = s.Organization()
	id, production := org.Workbooks[0].ID, org.Connections[0].ID
	sources := map[string][]string{} // of elements
	found := map[string]sigmaclient.LineageEntry{}
	for _, entry := range must(client.Lineage(ctx, id))(t) {
		if entry.Type == "element" {
			sources[entry.ElementID] = entry.DataSourceIDs
			continue
		}
		found[cmp.Or(entry.InodeID, entry.DataModelID)] = entry
	}
	if table := found[sources["elementAAA"][0]]; table.Name != "USERS" || table.ConnectionID != production {
		t.Errorf("the table is %+v", table)
	}
	if diff := gocmp.Diff(sources["elementAAA"], sources["elementDDD"]); diff != "" {
		t.Errorf("an element on top of another has another source:\n%s", diff)
	}
	model := found[sources["elementBBB"][0]]
	if model.Type != "data-model" || model.ConnectionID != "" || model.DataModelID != org.DataModels[0].ID {
		t.Errorf("the data model is %+v", model)
	}
	if text := found[""]; text.Type != "customSQL" || text.Definition != "select 1" || text.ConnectionID != production {
		t.Errorf("the author's SQL is %+v", text)
	}

	below := must(client.DataModelLineage(ctx, model.DataModelID))(t)
	if len(below) != 2 || below[1].ConnectionID != production {
		t.Errorf("the data model reads from %+v", below)
	}
	path := must(client.ConnectionPath(ctx, below[1].InodeID))(t)
	if want := (sigmaclient.ConnectionPath{ConnectionID: production, Path: []string{"DB", "S", "ACCOUNTS"}}); !gocmp.Equal(want, path) {
		t.Errorf("the table lies in %+v", path)
	}

	graph := must(client.ElementLineage(ctx, id, "elementDDD"))(t)
	if graph.Nodes["elementDDD"].Type != "sheet" || len(graph.Edges) != 2 || graph.Edges[0] != (sigmaclient.LineageEdge{Source: "elementAAA", Target: "elementDDD", Type: "dependency"}) {
		t.Errorf("the chart's own lineage is %+v", graph)
	}
	_, err := client.ElementLineage(ctx, id, "elementCCC")
	failure(t, err, sigmaclient.KindInvalidRequest)
}

func TestSteady500OnLineageIsNotRetried(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, id := s.client(t), t.Context(), s.Organization().Workbooks[0].ID
	s.ChangeWorkbook("Churn", func(w *sigmatest.Workbook) {
		w.NoLineage, w.Element("Users").NoLineage = true, true
	})
	_, err := client.Lineage(ctx, id)
	if failed := failure(t, err, sigmaclient.KindInternal); failed.RequestID == "" {
		t.Errorf("the error has no request id: %+v", failed)
	}
	_, err = client.ElementLineage(ctx, id, "elementAAA")
	failure(t, err, sigmaclient.KindInternal)
	if n := s.Count("/v2/workbooks/" + id + "/lineage"); n != 1 {
		t.Errorf("%d calls, want 1: the failure is steady", n)
	}
}

func TestSourcesAreAskedWithoutALimit(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, org := s.client(t), t.Context(), s.Organization()
	got := must(client.Sources(ctx, org.Workbooks[0].ID))(t)
	var types []string
	for _, source := range got {
		types = append(types, source.Type)
	}
	if want := []string{"table", "data-model", "custom-sql"}; !slices.Equal(types, want) {
		t.Errorf("sources %+v", got)
	}
	if got := must(client.DataModelSources(ctx, org.DataModels[0].ID))(t); len(got) != 1 || got[0].TableID == "" {
		t.Errorf("the data model's sources %+v", got)
	}
}

func TestListsWithTokensForPagesAreWhole(t *testing.T) {
	org := company()
	org.DataModels[0].Elements[0].Tables = []string{"DB.S.A", "DB.S.B", "DB.S.C"}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{PageSize: 1})
	model := s.Organization().DataModels[0].ID
	if got := must(s.client(t).DataModelSources(t.Context(), model))(t); len(got) != 3 {
		t.Errorf("got %+v", got)
	}
	var tokens []string
	for _, r := range s.Requests() {
		if r.Path == "/v2/dataModels/"+model+"/sources" {
			tokens = append(tokens, r.Query.Get("pageSize")+" "+strings.Join(r.Query["pageToken"], ",")+strings.Join(r.Query["limit"], ","))
		}
	}
	if want := []string{"1000 ", "1000 1", "1000 2"}; !slices.Equal(tokens, want) {
		t.Errorf("asked with %q, want %q", tokens, want)
	}
}

func TestDirectory(t *testing.T) {
	s := newSigma(t, company())
	client, ctx, org := s.client(t), t.Context(), s.Organization()
	connections := must(client.Connections(ctx))(t)
	want := []sigmaclient.Connection{
		{ConnectionID: org.Connections[0].ID, Name: "Production", Type: "snowflake", Account: "ACME", Warehouse: "WH", User: "U", Role: "R", RoleSwitching: "disabled"},
		{ConnectionID: org.Connections[1].ID, Name: "Old", Type: "bigQuery", UseOAuth: true, RoleSwitching: "disabled"},
	}
	if diff := gocmp.Diff(want, connections); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want[0], must(client.Connection(ctx, want[0].ConnectionID))(t)); diff != "" {
		t.Error(diff)
	}
	models := must(client.DataModels(ctx))(t)
	if len(models) != 1 || models[0].Name != "Core" || !gocmp.Equal(models[0], must(client.DataModel(ctx, models[0].DataModelID))(t)) {
		t.Errorf("data models %+v", models)
	}
	elements := must(client.DataModelElements(ctx, models[0].DataModelID))(t)
	columns := must(client.DataModelColumns(ctx, models[0].DataModelID))(t)
	query := must(client.DataModelElementQuery(ctx, models[0].DataModelID, elements[0].ElementID))(t)
	if len(elements) != 1 || len(columns) != 2 || !strings.Contains(query.SQL, "DB.S.ACCOUNTS") {
		t.Errorf("the data model has %+v, %+v, %+v", elements, columns, query)
	}
	var names []string
	for _, file := range must(client.Files(ctx, "workbook", "table"))(t) {
		names = append(names, file.Name)
	}
	slices.Sort(names)
	if want := []string{"ACCOUNTS", "Churn", "Old", "USERS"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	for _, bare := range []bool{false, true} {
		s.SetOptions(sigmatest.Options{BareWorkspaces: bare, PageSize: 1})
		names = nil
		for _, workspace := range must(client.Workspaces(ctx))(t) {
			names = append(names, workspace.Name)
		}
		if want := []string{"Growth", "My Documents", "Models"}; !slices.Equal(names, want) {
			t.Errorf("workspaces %v, want %v", names, want)
		}
	}
}

// TestListsAreWholeHoweverTheyArePaged is a law: whatever the size of pages, and
// however little a page tells, a list that does not change is read whole, in
// order, and starts without a cursor.
func TestListsAreWholeHoweverTheyArePaged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(rt, "workbooks")
		options := sigmatest.Options{PageSize: rapid.IntRange(1, 12).Draw(rt, "page"), TersePages: rapid.Bool().Draw(rt, "terse")}
		var org sigmatest.Organization
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint("Workbook ", i))
			org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: want[i]})
		}
		s := newSigma(t, org)
		defer s.close(t)
		s.SetOptions(options)
		var got []string
		for _, w := range must(s.client(t).Workbooks(t.Context()))(t) {
			got = append(got, w.Name)
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v", got)
		}
		calls := slices.DeleteFunc(s.Requests(), func(r sigmatest.Request) bool { return r.Path != "/v2/workbooks" })
		if len(calls) != max(1, (n+options.PageSize-1)/options.PageSize) {
			rt.Fatalf("%d calls for %d workbooks in pages of %d", len(calls), n, options.PageSize)
		}
		for i, r := range calls {
			if r.Query.Has("page") == (i == 0) || r.Query.Get("limit") != "1000" {
				rt.Fatalf("page %d was asked for with %v", i, r.Query)
			}
		}
	})
}

func TestRepeatedCursorEndsTheList(t *testing.T) {
	org := small()
	for i := range 5 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i)})
	}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{RepeatCursor: true, PageSize: 2})
	_, err := s.client(t).Workbooks(t.Context())
	failure(t, err, sigmaclient.KindProtocol)
	if n := s.Count("/v2/workbooks"); n > 3 {
		t.Errorf("%d calls before it was seen", n)
	}
}

func TestWhatAShiftingListShowsTwiceIsKeptOnce(t *testing.T) {
	var org sigmatest.Organization
	for i := range 6 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i)})
	}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{PageSize: 2})
	shift := sigmatest.Do(func() {
		s.Change(func(o *sigmatest.Organization) {
			o.Workbooks = slices.Insert(o.Workbooks, 0, sigmatest.Workbook{Name: "new"})
		})
	})
	s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.After(1, sigmatest.Times(1, shift))))
	var names []string
	for _, w := range must(s.client(t).Workbooks(t.Context()))(t) {
		names = append(names, w.Name)
	}
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

// A list that becomes shorter while it is read hides what moves to a page that was
// read already.
func TestAListThatBecomesShorterIsReadAgain(t *testing.T) {
	for _, test := range []struct {
		removed, read int
	}{{0, 1}, {1, 2}, {2, 3}, {5, 3}} { // it is not waited for without end
		org := sigmatest.Organization{}
		for i := range 20 {
			org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprintf("%02d", i)})
		}
		s := newSigma(t, org)
		s.SetOptions(sigmatest.Options{PageSize: 5})
		left, asked := test.removed, 0
		s.SetFaults(sigmatest.On("/v2/workbooks", func(_ http.ResponseWriter, r *http.Request) bool {
			if !r.URL.Query().Has("page") {
				asked++
			}
			if r.URL.Query().Get("page") == "5" && left > 0 {
				left--
				s.Change(func(o *sigmatest.Organization) { o.Workbooks = o.Workbooks[1:] })
			}
			return false
		}))
		var names []string
		for _, w := range must(s.client(t).Workbooks(t.Context()))(t) {
			names = append(names, w.Name)
		}
		if asked != test.read {
			t.Errorf("%d times shorter: read %d times instead of %d", test.removed, asked, test.read)
		}
		for _, w := range s.Organization().Workbooks {
			if test.removed < 3 && !slices.Contains(names, w.Name) {
				t.Errorf("%d times shorter: %s is missing of %v", test.removed, w.Name, names)
			}
		}
	}
}

func TestOddPages(t *testing.T) {
	for text, want := range map[string]int{ // -1: not understood
		`[]`: 0,
		` [{"workbookId":"a"},{"workbookId":"a"},{"workbookId":"b"}]`:                                2,
		`[{"name":"no id"},{"name":"no id"}]`:                                                        0,
		`{"entries":[],"nextPage":null}`:                                                             0,
		`{"entries":[{"workbookId":"a","new":{"x":1},"tags":null,"latestVersion":null}]}`:            1,
		`{"entries":[{"workbookId":"a","updatedAt":"yesterday","isArchived":null}],"nextPage":""}`:   1,
		`{"entries":[{"workbookId":"a","updatedAt":17,"name":null}],"nextPage":null,"hasMore":true}`: 1,
		`{"entries":[{"workbookId":17},null,5,"x",[]]}`:                                              1,
		`{"entries":null}`: -1,
		`{}`:               -1,
		`null`:             -1,
		`{"entries":[{"workbookId":"a"}],"nextPage":true}`:         1,
		`{"entries":[{"workbookId":"a"}],"nextPage":{},"total":3}`: 1,
		`{"entries":[{"workbookId":"a"}],"nextPage":0}`:            1,
		`{"entries":{"workbookId":"a"}}`:                           -1,
		`{"entries":[{"workbookId":"a"}],"nextPage":5}`:            -1, // the same page again
		``: -1,
	} {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.Answer(text)))
		got, err := s.client(t).Workbooks(t.Context())
		if want < 0 {
			failure(t, err, sigmaclient.KindProtocol)
		} else if err != nil || len(got) != want {
			t.Errorf("%s: got %d, %v; want %d", text, len(got), err, want)
		}
	}
}

func TestOddColumns(t *testing.T) {
	s := newSigma(t, small())
	s.SetFaults(sigmatest.On("/v2/workbooks/w/columns", sigmatest.Answer(
		`{"entries":[{"columnId":"a","name":"N","elementId":"e","type":"number"},{"columnId":"a","label":"L","elementId":"f"},{"columnId":"b","elementId":"f","name":null,"type":null},{"columnId":"c","elementId":"f","type":{"type":null}}]}`)))
	want := []sigmaclient.Column{{ColumnID: "a", ElementID: "e", Label: "N", Type: "number"}, {ColumnID: "a", ElementID: "f", Label: "L"}, {ColumnID: "b", ElementID: "f"}, {ColumnID: "c", ElementID: "f"}}
	if diff := gocmp.Diff(want, must(s.client(t).Columns(t.Context(), "w"))(t)); diff != "" {
		t.Error(diff)
	}
}

func TestIdsCannotLeadElsewhere(t *testing.T) {
	s := newSigma(t, small())
	client := s.client(t)
	for _, id := range []string{"", ".", ".."} {
		_, err := client.Workbook(t.Context(), id)
		failure(t, err, sigmaclient.KindNotFound)
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d calls were made", n)
	}
	for _, id := range []string{"../whoami", "a/b", "a?b=c", "a#b", "a%2Fb", "ü", "a b"} {
		_, err := client.Workbook(t.Context(), id)
		failure(t, err, sigmaclient.KindNotFound)
		requests := s.Requests()
		if last := requests[len(requests)-1]; last.Pattern != "/v2/workbooks/{workbookId}" || last.Path != "/v2/workbooks/"+id || len(last.Query) != 0 {
			t.Errorf("%q led to %+v", id, last)
		}
	}
}

func TestRequestsAreNamedAndAccepted(t *testing.T) {
	s := newSigma(t, small())
	s.SetFaults(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.UserAgent() != "sigmasource" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s %s: User-Agent %q, Accept %q", r.Method, r.URL.Path, r.UserAgent(), r.Header.Get("Accept"))
		}
		if u := (url.URL{Scheme: "https", Host: r.Host}); u.String() != baseURL {
			t.Errorf("sent to %s", u.String())
		}
		return false
	})
	if err := whoAmI(t.Context(), s.client(t)); err != nil {
		t.Error(err)
	}
}
