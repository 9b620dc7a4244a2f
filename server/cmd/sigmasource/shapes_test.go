package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/demo"
)

// TestServeRecordsShapes lets a server scan and read the demonstration's company, and
// finds nothing of the company in what it records.
func TestServeRecordsShapes(t *testing.T) {
	o := newOperator(t)
	sigma, err := demo.NewSigma()
	if err != nil {
		t.Fatal(err)
	}
	snowflake, err := demo.NewSnowflake(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sigma.Close(); err != nil {
			t.Error(err)
		}
		if err := snowflake.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("SIGMASOURCE_RECORD_SHAPES", o.file("shapes"))
	o.serve("--allow-host", sigma.Host(), "--allow-host", fmt.Sprintf("%s:%d", snowflake.Host(), snowflake.Port()))
	org := sigma.Organization()
	connection := fmt.Sprintf(`{"sigma": {"baseUrl": %q, "clientId": %q, "clientSecret": %q}, "warehouse": {"snowflake": {"account": %q, "url": %q, "user": %q, "role": %q, "warehouse": %q, "password": %q}}}`,
		sigma.URL(), org.ClientID, org.ClientSecret, demo.Account, snowflake.URL(), demo.User, demo.Role, demo.Warehouse, demo.Password)
	workbook, element := demo.Featured(org)
	for _, args := range [][]string{
		{"connections", "create", mine, "-f", "-", "--skip-check"},
		{"connections", "check", mine},
		{"scan", mine},
		{"preview", mine + "/models/" + workbook + "." + element},
		{"models", "check", mine + "/models/" + workbook + "." + element, "--compare"},
	} {
		if _, _, err := run(t.Context(), connection, args...); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}

	names := []string{org.ID, org.Slug, org.ClientID, org.ClientSecret, org.OwnerEmail, org.Owner, sigma.Host(), snowflake.Host(),
		demo.Account, demo.User, demo.Role, demo.Warehouse, demo.Password}
	for _, workbook := range org.Workbooks {
		names = append(names, workbook.ID, workbook.Name, workbook.Path)
		for _, page := range workbook.Pages {
			names = append(names, page.ID, page.Name)
			for _, element := range page.Elements {
				names = append(names, element.ID, element.Name)
				names = append(names, element.Tables...)
				for _, column := range element.Columns {
					names = append(names, column.ID, column.Label)
				}
			}
		}
	}
	entries, err := os.ReadDir(o.file("shapes"))
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	sql := false
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(o.file("shapes"), entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Endpoint string
			Body     any
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(endpoints, answer.Endpoint) {
			endpoints = append(endpoints, answer.Endpoint)
		}
		sql = sql || strings.Contains(string(text), `"sql": "select`)
		for _, name := range names {
			if len(name) > 3 && regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`).Match(text) {
				t.Errorf("%s holds the name %q:\n%s", entry.Name(), name, text)
			}
		}
	}
	for _, want := range []string{"POST /v2/auth/token", "GET /v2/whoami", "GET /v2/workbooks", "GET /v2/workbooks/{}/queries", "GET /v2/workbooks/{}/columns",
		"GET /v2/workbooks/{}/elements/{}/query", "GET /v2/query/{}/download", "POST /session/v1/login-request", "POST /queries/v1/query-request"} {
		if !slices.Contains(endpoints, want) {
			t.Errorf("%s is not recorded", want)
		}
	}
	for _, endpoint := range endpoints {
		if strings.Contains(endpoint, "{}/{}") || strings.HasSuffix(endpoint, "v2/{}") {
			t.Errorf("%s has a word that is taken for an id", endpoint)
		}
	}
	if !sql {
		t.Error("no shape of a SQL text is recorded")
	}
}
