package sigmaclient_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// tagged has a workbook whose tagged version reads another connection and has other
// columns, and a data model.
func tagged() sigmatest.Organization {
	table := func(connection string, labels ...string) []sigmatest.Page {
		return []sigmatest.Page{{Elements: []sigmatest.Element{
			{ID: "e", Name: "Table", Connection: connection, Tables: []string{"SHOP.SALES.T"}, Columns: sigmatest.Columns(labels...)},
			{ID: "c-" + connection, Name: "Region " + connection, Type: "control"},
		}}}
	}
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}},
		Workbooks: []sigmatest.Workbook{{ID: "w", Name: "Board", Tags: []string{"prod"}, Pages: table("a", "Id", "New"),
			Bookmarks: []sigmatest.Bookmark{{ID: "known", Name: "Known"}},
			Versions:  map[string][]sigmatest.Page{"prod": table("b", "Id", "Net")}}},
		DataModels: []sigmatest.DataModel{{ID: "m", Name: "Core", Elements: []sigmatest.Element{
			{ID: "e", Name: "Table", Columns: sigmatest.Columns("Id")}, {Name: "Year", Type: "control"}}}},
	}
}

// listed is what the calls that take no tag return, as text.
func listed(ctx context.Context, d sigmaclient.Document) (map[string]string, map[string]error) {
	lists, errs := map[string]string{}, map[string]error{}
	add := func(call string, err error, parts ...string) {
		lists[call], errs[call] = strings.Join(parts, " "), err
	}
	columns, err := d.Columns(ctx)
	add("columns", err, labelsOf(columns)...)
	columns, err = d.ElementColumns(ctx, "e")
	add("columns of an element", err, labelsOf(columns)...)
	lineage, err := d.Lineage(ctx)
	var connections []string
	for _, entry := range lineage {
		if entry.ConnectionID != "" {
			connections = append(connections, entry.ConnectionID)
		}
	}
	add("lineage", err, connections...)
	sources, err := d.Sources(ctx)
	add("sources", err, strings.Repeat("source", len(sources)))
	controls, err := d.Controls(ctx)
	add("controls", err, controls...)
	return lists, errs
}

func labelsOf(columns []sigmaclient.Column) (labels []string) {
	for _, c := range columns {
		labels = append(labels, c.Label)
	}
	return labels
}

func TestTaggedVersionIsListedByItsOwnID(t *testing.T) {
	s := newSigma(t, tagged())
	ctx, client := t.Context(), s.client(t)
	newest := map[string]string{"columns": "Id New", "columns of an element": "Id New", "lineage": "a", "sources": "source", "controls": "Region a"}
	version := map[string]string{"columns": "Id Net", "columns of an element": "Id Net", "lineage": "b", "sources": "source", "controls": "Region b"}
	id := must(client.WorkbookTags(ctx, "w"))(t)[0].TaggedWorkbookID
	for name, row := range map[string]struct {
		document sigmaclient.Document
		want     map[string]string
	}{
		"newest":          {client.WorkbookDocument("w", ""), newest},
		"newest, found":   {client.WorkbookDocument("w", "").FindVersion(ctx), newest},
		"tag, id found":   {client.WorkbookDocument("w", "prod").FindVersion(ctx), version},
		"tag, id given":   {client.WorkbookDocument("w", "prod").AtVersion(id), version},
		"data model":      {client.DataModelDocument("m", ""), map[string]string{"columns": "Id", "columns of an element": "Id", "lineage": "a", "sources": "source", "controls": "Year"}},
		"tag of no model": {client.DataModelDocument("m", "").AtVersion("x"), map[string]string{"columns": "Id", "columns of an element": "Id", "lineage": "a", "sources": "source", "controls": "Year"}},
	} {
		got, errs := listed(ctx, row.document)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s\n%v", name, diff, errs)
		}
	}
	queries, ok, err := client.WorkbookDocument("w", "prod").AtVersion(id).Queries(ctx)
	if !ok || err != nil || len(queries) != 1 || !strings.Contains(queries[0].SQL, `"Net"`) {
		t.Errorf("queries of the tagged version: %v, %v, %v", ok, err, queries)
	}
}

// TestVersionWithoutAnIDIsNeverTheNewest holds for workbooks whose id Sigma does not
// send or refuses, and for data models, which have none.
func TestVersionWithoutAnIDIsNeverTheNewest(t *testing.T) {
	s := newSigma(t, tagged())
	ctx, client := t.Context(), s.client(t)
	refused := errors.New("an error of Sigma's")
	check := func(name string, d sigmaclient.Document, want error) {
		t.Helper()
		lists, errs := listed(ctx, d)
		for call, list := range lists {
			var failure *sigmaclient.Error
			isWanted := errors.Is(errs[call], want) || want == refused && errors.As(errs[call], &failure)
			if call == "controls" { // the list of elements, which takes the tag, has them as well
				isWanted = errs[call] != nil
				list = strings.TrimPrefix(list, "Region b")
			}
			if list != "" || !isWanted {
				t.Errorf("%s: %s: %q, %v", name, call, list, errs[call])
			}
		}
		if _, ok, _ := d.Queries(ctx); ok {
			t.Errorf("%s has queries", name)
		}
	}
	check("no id", client.WorkbookDocument("w", "prod"), sigmaclient.ErrVersionNotListed)
	check("another tag", client.WorkbookDocument("w", "test").FindVersion(ctx), sigmaclient.ErrVersionNotListed)
	check("data model", client.DataModelDocument("m", "prod").FindVersion(ctx), sigmaclient.ErrVersionNotListed)
	s.Change(func(o *sigmatest.Organization) {
		o.VersionIDs = sigmatest.Failure{Status: http.StatusNotFound, Code: "not_found"}
	})
	check("refused id", client.WorkbookDocument("w", "prod").FindVersion(ctx), refused)
	s.SetFaults(sigmatest.CallTags.On(sigmatest.Fail(http.StatusForbidden, "forbidden", "No")))
	check("refused tags", client.WorkbookDocument("w", "prod").FindVersion(ctx), refused)
}

// A bookmark is not taken for known where Sigma cannot be asked for the list at the moment.
func TestBookmarkIsNotKnownInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the call is retried, with waits
		s := newSigma(t, tagged())
		s.SetFaults(sigmatest.CallBookmarks.On(sigmatest.Fail(http.StatusServiceUnavailable, "unavailable", "Later")))
		var outage *sigmaclient.Error
		if err := s.client(t).WorkbookDocument("w", "").AtBookmark("other").CheckBookmark(t.Context()); !errors.As(err, &outage) || outage.Kind != sigmaclient.KindUnavailable {
			t.Errorf("the bookmark counts as known: %v", err)
		}
	})
}

func TestBookmarkIsPartOfTheQuestion(t *testing.T) {
	s := newSigma(t, tagged())
	ctx, client := t.Context(), s.client(t)
	for name, row := range map[string]struct {
		bookmark string
		fault    sigmatest.Fault
		unknown  bool
	}{
		"none":                    {"", nil, false},
		"known":                   {"known", nil, false},
		"unknown":                 {"other", nil, true},
		"unknown, list refused":   {"other", sigmatest.CallBookmarks.On(sigmatest.Fail(http.StatusForbidden, "forbidden", "No")), false},
		"unknown, list is short":  {"other", sigmatest.CallBookmarks.On(sigmatest.Answer(`{"entries":[],"total":2,"nextPage":null}`)), false},
		"known, of another shape": {"7", sigmatest.CallBookmarks.On(sigmatest.Answer(`[{"bookmarkId":7,"name":null,"isDefault":"yes"}]`)), false},
	} {
		s.SetFaults()
		if row.fault != nil {
			s.SetFaults(row.fault)
		}
		if err := client.WorkbookDocument("w", "").AtBookmark(row.bookmark).CheckBookmark(ctx); errors.Is(err, sigmaclient.ErrBookmarkUnknown) != row.unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.SetFaults()
	d := client.WorkbookDocument("w", "prod").FindVersion(ctx).AtBookmark("known")
	if _, err := d.ElementQuery(ctx, "e"); err != nil {
		t.Error(err)
	}
	if _, ok, _ := d.Queries(ctx); ok {
		t.Error("the queries of all elements take no bookmark")
	}
	if err := client.DataModelDocument("m", "").AtBookmark("known").CheckBookmark(ctx); !errors.Is(err, sigmaclient.ErrBookmarkUnknown) {
		t.Errorf("a data model has no bookmarks: %v", err)
	}
	requests := s.Requests()
	last := requests[slices.IndexFunc(requests, func(r sigmatest.Request) bool { return strings.HasSuffix(r.Path, "/query") })]
	if last.Query.Get("tagName") != "prod" || last.Query.Get("bookmarkId") != "known" {
		t.Errorf("asked with %v", last.Query)
	}
}

func TestConnectionDetailsOfUnknownForms(t *testing.T) {
	s := newSigma(t, tagged())
	for name, row := range map[string]struct {
		raw  map[string]string
		want sigmaclient.Connection
	}{
		"as the contract says": {sigmatest.Raw("useOauth", "true", "userAttributes", `{"role":"Region"}`, "roleSwitching", `"allRoles"`, "writebacks", `[{"database":"D","schema":"S"}]`),
			sigmaclient.Connection{UseOAuth: true, RoleSwitching: "allRoles", UserAttributes: sigmaclient.UserAttributes{Role: "Region"}, Writebacks: []sigmaclient.WritebackSchema{{Database: "D", Schema: "S"}}}},
		"missing":            {sigmatest.Raw("useOauth", "", "roleSwitching", ""), sigmaclient.Connection{}},
		"null":               {sigmatest.Raw("useOauth", "null", "userAttributes", "null", "roleSwitching", "null", "writebacks", "null"), sigmaclient.Connection{}},
		"text for a boolean": {sigmatest.Raw("useOauth", `"true"`), sigmaclient.Connection{UseOAuth: true, RoleSwitching: "disabled"}},
		"objects": {sigmatest.Raw("userAttributes", `{"role":{"name":"Region"}}`, "roleSwitching", `{"mode":"allRoles"}`),
			sigmaclient.Connection{RoleSwitching: "allRoles", UserAttributes: sigmaclient.UserAttributes{Role: "Region"}}},
		"unknown forms": {sigmatest.Raw("userAttributes", `{"role":["Region"]}`, "roleSwitching", `["allRoles"]`),
			sigmaclient.Connection{RoleSwitching: "unknown", UserAttributes: sigmaclient.UserAttributes{Role: "unknown"}}},
		"other name": {sigmatest.Raw("writebackSchemas", `{"database":"D","schema":"S"}`, "writebacks", `["D.S"]`),
			sigmaclient.Connection{RoleSwitching: "disabled", Writebacks: []sigmaclient.WritebackSchema{{Schema: "D.S"}}, WritebackSchemas: []sigmaclient.WritebackSchema{{Database: "D", Schema: "S"}}}},
	} {
		s.Change(func(o *sigmatest.Organization) { o.Connections[0].Raw = row.raw })
		row.want.ConnectionID, row.want.Name, row.want.Type = "a", "A", "snowflake"
		got := must(s.client(t).Connection(t.Context(), "a"))(t)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func columnsOf(d sigmaclient.Document) func(context.Context) (map[string][]sigmaclient.Column, error) {
	return func(ctx context.Context) (map[string][]sigmaclient.Column, error) {
		columns, err := d.Columns(ctx)
		return sigmaclient.ColumnsByElement(columns), err
	}
}

// layered has elements over elements and data models, with a rule in a column below.
func layered(references sigmatest.References) sigmatest.Organization {
	column := func(formula string) []sigmatest.Column { return []sigmatest.Column{{Label: "C", Formula: formula}} }
	return sigmatest.Organization{
		References: references, Connections: []sigmatest.Connection{{ID: "a", Name: "A"}},
		DataModels: []sigmatest.DataModel{
			{Name: "Ground", Elements: []sigmatest.Element{
				{Name: "Ruled", Columns: column("CurrentUserInTeam([Team])")}, {Name: "Free", Columns: column("[Free]")},
				{Name: "Year", Type: "control"}}},
			{Name: "Above", Elements: []sigmatest.Element{{Name: "Passed on", DataModel: "Ground", DataModelElement: "Ruled", Columns: column("[Passed]")}}},
		},
		Workbooks: []sigmatest.Workbook{{ID: "w", Name: "All", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{ID: "table", Name: "table", Columns: column("[Table]")},
			{ID: "chart", Name: "chart", Elements: []string{"table"}, Columns: column("[Chart]")},
			{ID: "top", Name: "top", Elements: []string{"chart"}, Columns: column("[Top]")},
			{ID: "ruled", Name: "ruled", DataModel: "Ground", DataModelElement: "Ruled", Columns: column("[Ruled]")},
			{ID: "free", Name: "free", DataModel: "Ground", DataModelElement: "Free", Columns: column("[Free]")},
			{ID: "high", Name: "high", DataModel: "Above", DataModelElement: "Passed on", Columns: column("[High]")},
			{ID: "over", Name: "over", Elements: []string{"ruled"}, Columns: column("[Over]")},
		}}}}},
	}
}

func TestUpstreamFormulasAreThoseOfTheElementsBelow(t *testing.T) {
	const rule = "CurrentUserInTeam([Team])"
	for name, references := range map[string]sigmatest.References{"live": sigmatest.Live, "prefixed ids": sigmatest.PrefixedIDs, "source ids alone": sigmatest.OnlySourceIDs} {
		t.Run(name, func(t *testing.T) {
			s := newSigma(t, layered(references))
			client, ctx := s.client(t), t.Context()
			document := client.WorkbookDocument("w", "")
			finder := client.ConnectionFinder()
			lineage := must(finder.FindDocument(ctx, document))(t)
			for element, want := range map[string]struct{ formulas, controls []string }{
				"table": {}, "chart": {formulas: []string{"[Table]"}}, "top": {formulas: []string{"[Chart]", "[Table]"}},
				"ruled": {[]string{rule}, []string{"Year"}}, "free": {[]string{"[Free]"}, []string{"Year"}},
				"high": {[]string{rule, "[Passed]"}, []string{"Year"}}, "over": {[]string{rule, "[Ruled]"}, []string{"Year"}},
			} {
				got := must(finder.FindUpstream(ctx, lineage.Elements[element], columnsOf(document)))(t)
				slices.Sort(got.Formulas)
				if diff := cmp.Diff(want.formulas, got.Formulas, cmpopts.EquateEmpty()); diff != "" || got.Err != nil {
					t.Errorf("%s: %s%v", element, diff, got.Err)
				}
				if diff := cmp.Diff(want.controls, got.Controls, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: controls: %s", element, diff)
				}
			}
			for call, n := range s.Calls() {
				if strings.HasPrefix(call, "GET /v2/dataModels/{dataModelId}/") && n != 2 {
					t.Errorf("%s was called %d times for 2 data models", call, n)
				}
			}
		})
	}
}

func TestUpstreamSaysWhatIsNotKnown(t *testing.T) {
	org := layered(sigmatest.Live)
	forbidden := sigmatest.Failure{Status: http.StatusForbidden, Code: "forbidden", Message: "No"}
	for _, call := range []sigmatest.Call{sigmatest.CallColumns, sigmatest.CallElements, sigmatest.CallLineage} {
		t.Run(string(call), func(t *testing.T) {
			org.DataModels[0].Failures = map[sigmatest.Call]sigmatest.Failure{call: forbidden}
			s := newSigma(t, org)
			client, ctx := s.client(t), t.Context()
			document := client.WorkbookDocument("w", "")
			finder := client.ConnectionFinder()
			lineage := must(finder.FindDocument(ctx, document))(t)
			for element, isKnown := range map[string]bool{"table": true, "top": true, "ruled": false, "high": false, "over": false} {
				got := must(finder.FindUpstream(ctx, lineage.Elements[element], columnsOf(document)))(t)
				if (got.Err == nil) != isKnown {
					t.Errorf("%s: %v", element, got.Err)
				}
				if got.Err != nil {
					failure(t, got.Err, sigmaclient.KindForbidden)
				}
			}
		})
	}
}

func TestUpstreamIsBounded(t *testing.T) {
	var elements []sigmaclient.LineageEntry
	chain := sigmaclient.LineageEntry{Type: "element", ElementID: "top"}
	for i := range 100 {
		id := "e" + string(rune('A'+i%26)) + strings.Repeat("x", i/26)
		elements = append(elements, sigmaclient.LineageEntry{Type: "element", ElementID: id})
		chain.SourceIDs = append(chain.SourceIDs, id)
	}
	s := newSigma(t, small())
	finder := s.client(t).ConnectionFinder()
	found := must(finder.Find(t.Context(), append(elements, chain), nil))(t)["top"]
	if len(found.Upstream) > 64 || !found.UpstreamTruncated {
		t.Errorf("%d elements, truncated %v", len(found.Upstream), found.UpstreamTruncated)
	}
	upstream := must(finder.FindUpstream(t.Context(), found, func(context.Context) (map[string][]sigmaclient.Column, error) { return nil, nil }))(t)
	if upstream.Err == nil {
		t.Error("a truncated list of elements is no error")
	}
}

func TestControlsOfUnknownFormsAreNamed(t *testing.T) {
	org := tagged()
	control := func(raw ...string) sigmatest.Element {
		return sigmatest.Element{Name: "Region", Type: "control", RawQuery: sigmatest.Raw(raw...)}
	}
	org.Workbooks[0].Pages = []sigmatest.Page{{Elements: []sigmatest.Element{
		control(), control("name", "null"), control("name", "7"), control("name", `{"x":1}`), control("valueType", "")}}}
	s := newSigma(t, org)
	ctx, document := t.Context(), s.client(t).WorkbookDocument("w", "")
	want := []string{"Region", "unnamed", "7", "unnamed", "Region"}
	if got := must(document.Controls(ctx))(t); !slices.Equal(got, want) {
		t.Errorf("controls %q, want %q", got, want)
	}
	s.SetFaults(sigmatest.CallControls.On(sigmatest.Fail(http.StatusForbidden, "forbidden", "No")))
	got, err := document.Controls(ctx)
	failure(t, err, sigmaclient.KindForbidden)
	if len(got) != len(want) {
		t.Errorf("the elements that are controls: %q", got)
	}
}
