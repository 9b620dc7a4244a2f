package sigmasql_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// notDuckDBs names the texts in the corpus that DuckDB's parser refuses as sent, and why.
var notDuckDBs = map[string]string{
	"flatten":                "lateral flatten and column:path are Snowflake's",
	"limit-author-top":       "top is Snowflake's",
	"limit-author-top-inner": "top is Snowflake's",
	"sample":                 "sample (n rows) is Snowflake's",
	"slash-comments":         "// and backslashes in strings are Snowflake's",
}

// shop is a warehouse with more rows than any of the corpus's limits but one, and the functions that Sigma's SQL uses.
const shop = `
attach ':memory:' as SHOP;
create schema SHOP.SALES;
create schema SHOP.SIGMA_WRITEBACK;
create table SHOP.SALES.ORDERS as select i ORDER_ID, i % 500 CUSTOMER_ID, ['open', 'paid', 'void'][i % 3 + 1] STATUS,
	(i * 7919 % 1000)::decimal(38, 2) AMOUNT, timestamp '2026-01-01' + interval (i * 5) minute ORDERED_AT from range(30000) t(i);
create table SHOP.SALES.CUSTOMERS as select i CUSTOMER_ID, 'Customer ' || i "NAME", 'active' STATUS,
	['east', 'west'][i % 2 + 1] REGION from range(1500) t(i);
create table SHOP.SIGMA_WRITEBACK."SIGDS_6f1c" as select i ID, 'Name ' || i "NAME", i % 10 ROW_VERSION from range(4000) t(i);
create type timestamp_ltz as timestamptz;
create macro iff(a, b, c) as case when a then b else c end;
create macro equal_null(a, b) as a is not distinct from b;
create macro to_timestamp_ltz(a, b) as a::timestamptz;
set timezone = 'UTC';
`

func openShop(t *testing.T) *sql.Conn {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := conn.ExecContext(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	return conn
}

// count returns the number that a query of one number gives.
func count(t *testing.T, conn *sql.Conn, query string) (n int64) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	return n
}

func rowsOf(statement string) string { return "select count(*) from (\n" + statement + "\n)" }

// columns returns a statement's column names and types.
func columns(ctx context.Context, t *testing.T, conn *sql.Conn, statement string) []string {
	t.Helper()
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, c := range types {
		list = append(list, c.Name()+" "+c.DatabaseTypeName())
	}
	return list
}

func TestCorpusRunsOnDuckDB(t *testing.T) {
	conn := openShop(t)
	var table strings.Builder
	for _, c := range corpus(t) {
		q, err := sigmasql.Prepare(c.sql, c.opts)
		if err != nil {
			continue
		}
		if reason := notDuckDBs[c.name]; reason != "" {
			t.Logf("%s is not run: %s", c.name, reason)
			continue
		}
		sent, full := count(t, conn, rowsOf(q.Text())), count(t, conn, rowsOf(q.Full()))
		fmt.Fprintf(&table, "%-28s %5d rows as sent, %5d in full\n", c.name, sent, full)

		want := columns(t.Context(), t, conn, q.Text())
		names, _, err := run(t.Context(), conn, q.Text())
		if outputs, complete := q.Outputs(); complete && err == nil {
			requireLabels(t, c.name, outputs, names)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, n := range []int64{0, 10, 1000, 5000, 40000} {
			preview := q.Preview(n)
			if got := count(t, conn, rowsOf(preview)); got != min(n, full) {
				t.Errorf("%s: preview of %d has %d rows, of %d in full", c.name, n, got, full)
			}
			if n <= 1000 {
				strangers := "select count(*) from ((\n" + preview + "\n) except all (\n" + q.Full() + "\n))"
				if got := count(t, conn, strangers); got != 0 {
					t.Errorf("%s: preview of %d has %d rows that Full lacks", c.name, n, got)
				}
			}
			if diff := cmp.Diff(want, columns(t.Context(), t, conn, preview)); diff != "" {
				t.Errorf("%s: columns of a preview of %d (-sent +preview):\n%s", c.name, n, diff)
			}
		}
		if diff := cmp.Diff(want, columns(t.Context(), t, conn, q.Full())); diff != "" {
			t.Errorf("%s: columns of Full (-sent +full):\n%s", c.name, diff)
		}
	}
	golden(t, "testdata/rows.golden", table.String())
}

// The lexer of the DuckDB dialect is held against DuckDB itself: each text is one value that DuckDB reads as wanted.
func TestDuckDBReadsLiteralsAlike(t *testing.T) {
	conn := openShop(t)
	for text, want := range map[string]string{
		`'it''s'`:                    "it's",
		`'a\'`:                       `a\`,
		`e'it\'s'`:                   "it's",
		`$$it's$$`:                   "it's",
		`$t$ $$ ' $t$`:               " $$ ' ",
		"'a' /* /* */ limit 0 */":    "a",
		"'a' -- limit 0 '":           "a",
		"'a' -- x\rlimit 1":          "a",
		`'a' "x""; limit 0 --"`:      "a",
		"'a' /* ' */ || 'b' -- /* x": "ab",
	} {
		var got string
		if err := conn.QueryRowContext(t.Context(), "select "+text).Scan(&got); err != nil || got != want {
			t.Errorf("DuckDB reads %s as %q, %v; want %q", text, got, err, want)
		}
		if _, err := sigmasql.Prepare("select "+text, sigmasql.Options{Dialect: sigmasql.DuckDB}); err != nil {
			t.Errorf("Prepare(%q): %v", text, err)
		}
	}
}
