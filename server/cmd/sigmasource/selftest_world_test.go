package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/selftest"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// scriptTables runs the script's statements in a simulated account, in which names
// have to be whole.
func scriptTables(t *testing.T, account *snowflaketest.Server) {
	t.Helper()
	script, _, err := run(t.Context(), "", "selftest", "--script")
	if err != nil {
		t.Fatal(err)
	}
	_, statements, _ := strings.Cut(script, "use schema SIGMASOURCE_SELFTEST.SELFTEST;")
	statements, _, _ = strings.Cut(statements, "3. In Sigma")
	statements = regexp.MustCompile(`(table|into) ([A-Z]+)`).ReplaceAllString(statements, "$1 SIGMASOURCE_SELFTEST.SELFTEST.$2")
	if err := account.Exec(t.Context(), "CREATE DATABASE SIGMASOURCE_SELFTEST; CREATE SCHEMA SIGMASOURCE_SELFTEST.SELFTEST;"+statements); err != nil {
		t.Fatal(err)
	}
}

// simulated is an organization of Sigma on New York's time that has a part of the
// script, with the texts that Sigma would return.
func simulated(at time.Time) sigmatest.Organization {
	const events, days = "SIGMASOURCE_SELFTEST.SELFTEST.EVENTS", "SIGMASOURCE_SELFTEST.SELFTEST.DAYS"
	zone := mustZone(selftest.Zone)
	local := at.In(zone)
	today := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)
	element := func(name, sql string, labels ...string) sigmatest.Element {
		return sigmatest.Element{Name: name, SQL: sql, Columns: sigmatest.Columns(labels...)}
	}
	// The same days as literals without a zone, and with New York's offsets.
	first, last := today.AddDate(0, 0, -29), today.AddDate(0, 0, 1).Add(-time.Millisecond)
	zoneless := func(at time.Time) string {
		return "to_timestamp_ntz('" + at.Format("2006-01-02 15:04:05.000000000") + "', 'YYYY-MM-DD HH24:MI:SS.FF9')"
	}
	zoned := func(at time.Time) string {
		return "to_timestamp_ltz('" + at.Format("2006-01-02T15:04:05.000000000-07:00") + "', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')"
	}
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{{Name: "Trial", Account: "ACME-TRIAL"}},
		Workbooks: []sigmatest.Workbook{{Name: selftest.Workbook, Pages: []sigmatest.Page{{Name: "Page", Elements: []sigmatest.Element{
			element("Plain", `select ID "Id", CAST_DATE_TO_DATETIME_1 "Date Only", ZONELESS::timestamp_ltz "Zoneless", LOCAL_ZONE "Local Zone", ZONED "Zoned"
				from (select ID, DATE_ONLY::timestamp_ltz CAST_DATE_TO_DATETIME_1, ZONELESS, LOCAL_ZONE, ZONED from `+events+`) Q1 limit 1000`,
				"Id:number", "Date Only:datetime", "Zoneless:datetime", "Local Zone:datetime", "Zoned:datetime"),
			element("Days of March", `select ID "Id", DATETRUNC_1 "Day" from (select ID, date_trunc(day, ZONELESS::timestamp_ltz) DATETRUNC_1 from `+events+`
				where date_trunc(day, ZONELESS::timestamp_ltz) >= `+zoned(time.Date(2026, 3, 1, 0, 0, 0, 0, zone))+`
				and date_trunc(day, ZONELESS::timestamp_ltz) <= `+zoned(time.Date(2026, 3, 9, 0, 0, 0, -1, zone))+`) Q1 limit 1000`, "Id:number", "Day:datetime"),
			element("Last 30 days of zoneless", `select ID "Id", ZONELESS::timestamp_ltz "Zoneless" from `+days+` where ZONELESS >= `+zoneless(first)+` and ZONELESS <= `+zoneless(last)+` limit 1000`,
				"Id:number", "Zoneless:datetime"),
			{Name: "User", SQL: `select ID "Id", 'America/New_York' "Zone", 'CANARY@example.com' "Member Email", false "In Team", to_char(DATE_ONLY, 'YYYY-MM-DD') "Day Text" from ` + events + ` limit 1000`,
				Columns: []sigmatest.Column{{Label: "Id", Type: "number"}, {Label: "Zone", Formula: "CurrentTimezone()"}, {Label: "Member Email", Formula: "CurrentUserEmail()"},
					{Label: "In Team", Formula: `CurrentUserInTeam("sigmasource selftest")`, Type: "boolean"}, {Label: "Day Text", Formula: "Text([Date Only])"}}},
			element("Lookup", `select E.ID "Id", E.KEY "Key", iff(COUNT_7 > 1, '*', MIN_6) "Label" from `+events+` E left join (select KEY K, count(1) COUNT_7, min(LABEL) MIN_6
				from SIGMASOURCE_SELFTEST.SELFTEST.LABELS group by KEY) Q2 on equal_null(E.KEY, Q2.K) limit 1000`, "Id:number", "Key", "Label"),
			element("Grouped", `select KEY "Key", count(ID) "Events" from `+events+` group by KEY limit 1000`, "Key", "Events:number"),
			element("Required control", `select ID "Id", KEY "Key" from `+events+` where false limit 1000`, "Id:number", "Key"),
			element("Materialized", `select ID "Id" from SIGMASOURCE_SELFTEST.SELFTEST.MISSING limit 1000`, "Id:number"),
		}}}}},
	}
}

// expectation is what a report says about a probe.
type expectation struct {
	probe   string
	verdict selftest.Verdict
	text    string // in what was seen, or in the reason
}

// TestSelftestOfASimulatedTrial runs the script and the command against the service
// and simulated organizations, with a connection that has no time zone, so that the
// service runs in UTC, and with one that has the organization's.
func TestSelftestOfASimulatedTrial(t *testing.T) {
	account, err := snowflaketest.NewServer(snowflaketest.Config{
		Account:    "ACME-TRIAL",
		Users:      []snowflaketest.User{{Name: "SYNC", Password: "CANARY-password", Roles: []string{"SYNC"}, Warehouse: "SYNC"}},
		Roles:      []snowflaketest.Role{{Name: "SYNC", Select: []string{"SIGMASOURCE_SELFTEST.SELFTEST.*"}}},
		Warehouses: []string{"SYNC"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := account.Close(); err != nil {
			t.Error(err)
		}
	})
	scriptTables(t, account)
	org := simulated(trialTime)
	org.OwnerEmail = "CANARY@example.com"
	sigma, err := sigmatest.NewServer(org)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sigma.Close(); err != nil {
			t.Error(err)
		}
	})
	former := now
	now = func() time.Time { return trialTime }
	t.Cleanup(func() { now = former })
	o := newOperator(t)
	o.serve("--allow-host", sigma.Host(), "--allow-host", fmt.Sprintf("%s:%d", account.Host(), account.Port()))
	without, with := workspaceOf(mine)+"/connections/without", workspaceOf(mine)+"/connections/with"
	for name, zone := range map[string]string{without: "", with: selftest.Zone} {
		connection := fmt.Sprintf(`{"sigma": {"baseUrl": %q, "clientId": %q, "clientSecret": %q, "timeZone": %q}, "warehouse": {"snowflake": {"account": "ACME-TRIAL", "url": %q, "user": "SYNC", "password": "CANARY-password"}}}`,
			sigma.URL(), sigma.Organization().ClientID, sigma.Organization().ClientSecret, zone, account.URL())
		for _, args := range [][]string{{"connections", "create", name, "-f", "-", "--skip-scan"}, {"scan", name}} {
			if _, messages, err := run(t.Context(), connection, args...); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, messages)
			}
		}
	}

	inUTC := selftestLines(t, without)
	expectLines(t, inUTC,
		expectation{"time-zone-setting", selftest.Other, "set: no"},
		expectation{"read", selftest.AsAssumed, "preview: 12 rows; read session: 12 rows"},
		expectation{"plain-zoneless", selftest.Other, "12 rows of 12; 0 as known; off by -5h0m0s (8), off by -4h0m0s (4)"},
		expectation{"plain-local-zone", selftest.AsAssumed, "12 as known"},
		expectation{"plain-zoned", selftest.AsAssumed, "12 as known"},
		expectation{"days-of-march", selftest.Other, "rows in the range: 4; missing: 2; before the range: 0; after it: 1"},
		expectation{"last-30-days-of-zoneless", selftest.AsAssumed, "30 days, without gaps: yes; the first is 29 days before today, the last 0; days with one row before the last: 0; the last has 2 rows"},
		expectation{"grain", selftest.Other, "3 rows of 12"},
		expectation{"required-control", selftest.Other, "0 rows of 12"},
		expectation{"materialization", selftest.NotRead, "WAREHOUSE_PERMISSION"},
		expectation{"hidden-column", selftest.NotBuilt, "no element of this name"},
		expectation{"session-of-sigma", selftest.NotBuilt, "no element of this name"},
	)

	inZone := selftestLines(t, with)
	expectLines(t, inZone,
		expectation{"time-zone-setting", selftest.AsAssumed, "the script's: yes"},
		expectation{"plain-local-zone", selftest.AsAssumed, "12 as known"},
		expectation{"plain-zoned", selftest.AsAssumed, "12 as known"},
		expectation{"last-30-days-of-zoneless", selftest.AsAssumed, "30 days, without gaps: yes"},
		expectation{"time-zone-evidence", selftest.AsAssumed, "the script's zone is one: yes"},
		expectation{"plain-zoneless", selftest.AsAssumed, "in the script's zone; 12 rows of 12; 12 as known"},
		expectation{"days-of-march", selftest.AsAssumed, "rows in the range: 6; missing: 0; before the range: 0; after it: 0"},
		expectation{"current-timezone", selftest.AsAssumed, "12 rows; distinct texts: 1; other values: 0; the script's zone: yes"},
		expectation{"current-user-email", selftest.AsAssumed, "form of an e-mail address: yes; finding ROWS_OF_OWNER: yes"},
		expectation{"current-user-in-team", selftest.AsAssumed, "false (12); finding ROWS_OF_OWNER: yes"},
		expectation{"text-of-date", selftest.AsAssumed, "9999-99-99 (12)"},
		expectation{"lookup-several-matches", selftest.AsAssumed, "12 rows of 12; * in 4 of 4 rows with two matches, and in 0 others; finding LOOKUP_AMBIGUOUS: yes"},
	)
	// The day of a DATE is right, whether it is delivered as DATE or as an instant.
	if seen := inZone["plain-date-only"].Seen; !strings.Contains(seen, "12 rows of 12; 12 as known") {
		t.Errorf("a DATE: %q", seen)
	}
}

func workspaceOf(connection string) string {
	workspace, _, _ := strings.Cut(connection, "/connections/")
	return workspace
}

// selftestLines returns the report about a connection by probe.
func selftestLines(t *testing.T, connection string) map[string]selftest.Line {
	t.Helper()
	out, _, err := run(t.Context(), "", "selftest", connection, "-o", "json")
	var exit exitError
	if !errors.As(err, &exit) || exit.code != 2 {
		t.Fatalf("it ends with %v", err)
	}
	if strings.Contains(out, "CANARY") || strings.Contains(out, "SELFTEST.") {
		t.Errorf("the report holds what is not for others to see:\n%s", out)
	}
	var report selftest.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	lines := map[string]selftest.Line{}
	for _, line := range report.Probes {
		lines[line.Probe] = line
	}
	return lines
}

func expectLines(t *testing.T, lines map[string]selftest.Line, wants ...expectation) {
	t.Helper()
	for _, want := range wants {
		line := lines[want.probe]
		if line.Verdict != want.verdict || !strings.Contains(line.Seen+line.Reason, want.text) {
			t.Errorf("%s: %s, seen %q, reason %q; want %s, %q", want.probe, line.Verdict, line.Seen, line.Reason, want.verdict, want.text)
		}
	}
}
