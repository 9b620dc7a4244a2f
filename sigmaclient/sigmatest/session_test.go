package sigmatest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// governed is an organization in New York whose answers depend on the reader, on
// controls, on a bookmark and on the version.
func governed() sigmatest.Organization {
	return sigmatest.Organization{
		TimeZone: "America/New_York", Owner: "memowner", OwnerEmail: "owner@example.com",
		Connections: []sigmatest.Connection{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}},
		Workbooks: []sigmatest.Workbook{{
			ID: "w", Name: "Board", Tags: []string{"prod"},
			Bookmarks: []sigmatest.Bookmark{{ID: "east", Name: "East", Values: map[string]string{"Region": "East"}}, {ID: "private", Owner: "memother"}},
			Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
				{ID: "e", Name: "Table", Connection: "A", Tables: []string{"SHOP.SALES.T"}, RowVersion: 41, Columns: []sigmatest.Column{
					{ID: "i", Label: "Id"}, {ID: "h", Label: "Hidden", Hidden: true}, {ID: "s", Label: "Salary", AllowedFor: []string{"memother"}}},
					SQL: "select {{system::CurrentUserEmail}}, {{control Region}}, {{time 2026-04-01T00:00:00}}, {{time 2026-01-01T00:00:00}}, {{row version}} limit 10"},
				{ID: "p", Name: "Plain", Tables: []string{"SHOP.SALES.T"}, Materialized: "SHOP.SIGMA_WB.T_MAT_9F3",
					Columns: []sigmatest.Column{{Label: "Id"}, {Label: "Salary", AllowedFor: []string{"memother"}}}},
				{ID: "c", Name: "Region", Type: "control", Value: "West"},
			}}},
			Versions: map[string][]sigmatest.Page{"prod": {{Elements: []sigmatest.Element{
				{ID: "e", Name: "Table", Connection: "B", Tables: []string{"SHOP.SALES.T"}, Columns: sigmatest.Columns("Id", "Net"), SQL: "select 1"},
			}}}},
		}},
	}
}

func TestTextsDependOnTheirReader(t *testing.T) {
	c := newCaller(t, governed())
	const literals = "to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM'), " +
		"to_timestamp_ltz('2026-01-01T00:00:00.000000000-05:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM'), 41 limit 10"
	for path, want := range map[string]string{
		"/v2/workbooks/w/elements/e/query":                 "select 'owner@example.com', 'West', " + literals,
		"/v2/workbooks/w/elements/e/query?bookmarkId=east": "select 'owner@example.com', 'East', " + literals,
		"/v2/workbooks/w/elements/e/query?tagName=prod":    "select 1",
		"/v2/workbooks/w/elements/p/query": `select ID_1 "Id", 'No access' "Restricted" from (select T_MAT_9F3.ID ID_1 from ` +
			`(select * from SHOP.SIGMA_WB.T_MAT_9F3 T_MAT_9F3 limit 1000) T_MAT_9F3) Q1 limit 1000`,
	} {
		sql, _, _ := strings.Cut(c.object(t, path)["sql"].(string), "\n")
		if sql != want {
			t.Errorf("%s:\n%s\nwant\n%s", path, sql, want)
		}
	}
	for _, id := range []string{"unknown", "private"} {
		if status, _, _ := c.get(t, "/v2/workbooks/w/elements/e/query?bookmarkId="+id); status != http.StatusNotFound {
			t.Errorf("bookmark %s: HTTP %d", id, status)
		}
	}
	c.server.Change(func(o *sigmatest.Organization) { o.IgnoresBookmarks = true })
	if sql := c.object(t, "/v2/workbooks/w/elements/e/query?bookmarkId=unknown")["sql"].(string); !strings.Contains(sql, "'West'") {
		t.Errorf("an ignored bookmark: %s", sql)
	}
}

func labels(t *testing.T, c *caller, path, key string) string {
	t.Helper()
	var all []string
	for _, entry := range c.object(t, path)["entries"].([]any) {
		all = append(all, entry.(map[string]any)[key].(string))
	}
	return strings.Join(all, " ")
}

func TestTaggedVersionHasAnIDOfItsOwn(t *testing.T) {
	c := newCaller(t, governed())
	tag := c.object(t, "/v2/workbooks/w/tags")["entries"].([]any)[0].(map[string]any)
	version := "/v2/workbooks/" + tag["taggedWorkbookId"].(string)
	if got := labels(t, c, "/v2/workbooks/w/columns", "name"); got != "Id Restricted Id Restricted" {
		t.Errorf("columns of the newest version: %s", got)
	}
	if got := labels(t, c, version+"/columns", "name"); got != "Id Net" {
		t.Errorf("columns of the tagged version: %s", got)
	}
	_, _, body := c.get(t, version+"/lineage")
	if !strings.Contains(string(body), `"connectionId":"b"`) || strings.Contains(string(body), `"connectionId":"a"`) {
		t.Errorf("lineage of the tagged version: %s", body)
	}
	if got := labels(t, c, "/v2/workbooks/w/bookmarks", "bookmarkId"); got != "east" {
		t.Errorf("bookmarks: %s", got)
	}
	c.server.Change(func(o *sigmatest.Organization) {
		o.VersionIDs = sigmatest.Failure{Status: http.StatusNotFound, Code: "not_found", Message: "No"}
	})
	for _, call := range []string{"/columns", "/lineage", "/sources", "/queries", "/controls"} {
		if status, _, _ := c.get(t, version+call); status != http.StatusNotFound {
			t.Errorf("%s: HTTP %d", call, status)
		}
		if status, _, _ := c.get(t, "/v2/workbooks/w"+call); status != http.StatusOK {
			t.Errorf("%s of the newest version: HTTP %d", call, status)
		}
	}
}
