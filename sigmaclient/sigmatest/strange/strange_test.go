package strange_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/duckdb/duckdb-go/v2"
	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest/strange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// snowflakeOnly are the workbooks whose text DuckDB's parser refuses.
var snowflakeOnly = map[string]string{"Schema left out": "DB..T is Snowflake's"}

func element(t *testing.T, org sigmatest.Organization, e strange.Expectation) *sigmatest.Element {
	t.Helper()
	w := org.Workbook(e.Workbook)
	if w == nil || w.Element(e.Element) == nil {
		t.Fatalf("%s has no element %q", e.Workbook, e.Element)
	}
	return w.Element(e.Element)
}

func TestEveryWorkbookIsStrangeInItsOwnWay(t *testing.T) {
	org := strange.Organization()
	expected := map[string]int{}
	for _, e := range strange.Expectations() {
		element(t, org, e)
		expected[e.Workbook]++
		isRead := e.State == strange.Ready && e.Refusal == ""
		if isRead != (e.Rows > 0 && len(e.Columns) > 0 && e.Full != "") {
			t.Errorf("%s: %+v", e.Workbook, e)
		}
	}
	if len(org.Workbooks) < 100 || len(expected) != len(org.Workbooks) {
		t.Errorf("%d workbooks, %d names", len(org.Workbooks), len(expected))
	}
	for _, w := range org.Workbooks {
		if n := len(w.Pages[0].Elements); n != expected[w.Name] {
			t.Errorf("%s: %d elements, %d expectations", w.Name, n, expected[w.Name])
		}
	}
}

func open(t *testing.T) *sql.Conn {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { closeNow(t, db) })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, conn) })
	if _, err := conn.ExecContext(t.Context(), `attach ':memory:' as SHOP; create schema SHOP.SALES; create schema SHOP.PUBLIC;`+strange.Tables()); err != nil {
		t.Fatal(err)
	}
	return conn
}

func closeNow(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func count(t *testing.T, conn *sql.Conn, query string) (n int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), "select count(*) from (\n"+query+"\n)").Scan(&n); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return n
}

// TestExpectationsAreTrue holds what is expected to what DuckDB gives for the
// texts. A preview of every text falls short of the whole, so that a limit that
// is kept by mistake shows.
func TestExpectationsAreTrue(t *testing.T) {
	conn, org := open(t), strange.Organization()
	tried := 0
	for _, e := range strange.Expectations() {
		if e.Full == "" {
			continue
		}
		if why, ok := snowflakeOnly[e.Workbook]; ok {
			t.Logf("%s is not run: %s", e.Workbook, why)
			continue
		}
		tried++
		text := element(t, org, e).SQL
		if n := count(t, conn, e.Full); n != e.Rows {
			t.Errorf("%s: %d rows, want %d", e.Workbook, n, e.Rows)
		}
		if n := count(t, conn, text); n != min(n, e.RowsKept) || e.RowsKept != e.RowsLifted && n != e.RowsKept {
			t.Errorf("%s: %d rows of the text as it is, want %d", e.Workbook, n, e.RowsKept)
		}
		rows, err := conn.QueryContext(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		closeNow(t, rows)
		for _, label := range e.Columns {
			if !slices.Contains(columns, label) {
				t.Errorf("%s: no column %q in %q", e.Workbook, label, columns)
			}
		}
		for label, value := range e.Values {
			quoted := `"` + label + `" is distinct from '` + strings.ReplaceAll(value, "'", "''") + `'`
			if n := count(t, conn, "select * from (\n"+e.Full+"\n) where "+quoted); n != 0 {
				t.Errorf("%s: %d rows do not have %q in %s", e.Workbook, n, value, label)
			}
		}
	}
	if tried < 80 {
		t.Errorf("only %d texts were run", tried)
	}
}

// TestClientReadsEveryWorkbook reads the organization as a scan does. What the
// client tells is what is expected: the incomplete lists, and the connection of
// each element.
func TestClientReadsEveryWorkbook(t *testing.T) {
	server := sigmatest.New(strange.Organization())
	transport := server.Transport()
	service := sigmaclient.New(sigmaclient.Options{Transport: transport, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		service.Close()
		transport.CloseIdleConnections()
		closeNow(t, server)
	})
	org := server.Organization()
	client, err := service.Client(sigmaclient.Credentials{BaseURL: "https://aws-api.sigmacomputing.com", ClientID: org.ClientID, ClientSecret: sigmaclient.Secret(org.ClientSecret)})
	if err != nil {
		t.Fatal(err)
	}
	var lists sigmaclient.IncompleteLists
	ctx := sigmaclient.WithIncompleteLists(t.Context(), &lists)
	workbooks, err := client.Workbooks(ctx)
	if err != nil {
		t.Fatal(err)
	}
	finder, found := client.ConnectionFinder(), map[string]map[string]string{}
	for _, w := range workbooks {
		found[w.Name] = read(ctx, t, client.WorkbookDocument(w.WorkbookID, ""), finder)
	}
	for _, e := range strange.Expectations() {
		connection, ok := found[e.Workbook][element(t, org, e).ID]
		switch {
		case e.State == strange.Absent && ok && element(t, org, e).Type == "table":
			t.Errorf("%s: %s is there", e.Workbook, e.Element)
		case e.State == strange.Ready && (!ok || connection != e.Connection):
			t.Errorf("%s: %s is there %v, on %q; want %q", e.Workbook, e.Element, ok, connection, e.Connection)
		}
	}
	var incomplete []strange.Incomplete
	for _, l := range lists.Lists() {
		incomplete = append(incomplete, strange.Incomplete{Call: l.Call, Total: l.Total, Received: l.Received, Rejected: l.Rejected})
	}
	order := func(a, b strange.Incomplete) int {
		return cmp.Or(strings.Compare(a.Call, b.Call), cmp.Compare(b.Total, a.Total))
	}
	slices.SortFunc(incomplete, order)
	want := strange.IncompleteLists()
	slices.SortFunc(want, order)
	if diff := gocmp.Diff(want, incomplete); diff != "" {
		t.Error(diff)
	}
}

// read returns the connections of a document's elements, by the ids of elements.
func read(ctx context.Context, t *testing.T, document sigmaclient.Document, finder *sigmaclient.ConnectionFinder) map[string]string {
	t.Helper()
	elements, err := document.Elements(ctx)
	if err != nil {
		t.Fatal(err)
	}
	lineage, err := document.Lineage(ctx)
	var refused *sigmaclient.Error
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	var sources []sigmaclient.Source
	if sigmaclient.LineageNeedsSources(lineage) {
		if sources, err = document.Sources(ctx); err != nil {
			t.Fatal(err)
		}
	}
	provenances, err := finder.Find(ctx, lineage, sources)
	if err != nil {
		t.Fatal(err)
	}
	connections := map[string]string{}
	for _, e := range elements {
		connections[e.ElementID] = provenances[e.ElementID].ConnectionID
	}
	return connections
}
