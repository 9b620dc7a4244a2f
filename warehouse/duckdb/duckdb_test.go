package duckdb_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	_ "github.com/duckdb/duckdb-go/v2"
	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
	"github.com/sigmasource/sigmasource/warehouse/warehousetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dialect = warehousetest.Dialect{
	Literals: map[warehousetest.Kind]string{
		warehousetest.Bool:      "CAST(%s AS BOOLEAN)",
		warehousetest.Whole:     "CAST(%s AS BIGINT)",
		warehousetest.Wide:      "CAST(%s AS HUGEINT)",
		warehousetest.Decimal:   "CAST(%s AS DECIMAL(38,10))",
		warehousetest.Float:     "CAST(%s AS DOUBLE)",
		warehousetest.Text:      "CAST(%s AS VARCHAR)",
		warehousetest.Binary:    "unhex(%s)",
		warehousetest.Date:      "CAST(%s AS DATE)",
		warehousetest.Time:      "CAST(%s AS TIME)",
		warehousetest.Timestamp: "CAST(%s AS TIMESTAMP)",
		warehousetest.Instant:   "CAST(%s AS TIMESTAMPTZ)",
		warehousetest.Zoned:     "CAST(%s AS TIMESTAMPTZ)",
		warehousetest.JSON:      "CAST(%s AS JSON)",
	},
	Series:  `SELECT i AS "ID", 'row ' || i AS "NAME" FROM range(%d) t(i)`,
	Endless: "SELECT count(*) FROM range(10000000000) a, range(10000000000) b WHERE a.range <> b.range",
	Failing: "SELECT CAST('SECRET_MARK' || range AS INTEGER) FROM range(10)",
}

func TestConformance(t *testing.T) {
	warehousetest.Run(t, dialect, func(_ testing.TB, mem memory.Allocator) warehouse.Warehouse {
		return duckdb.Open(duckdb.Config{Allocator: mem})
	})
}

func TestZones(t *testing.T) {
	warehousetest.RunZones(t, dialect, func(_ testing.TB, mem memory.Allocator, timeZone string) warehouse.Warehouse {
		return duckdb.Open(duckdb.Config{Allocator: mem, TimeZone: timeZone})
	})
}

func open(t *testing.T, config duckdb.Config) *duckdb.Warehouse {
	t.Helper()
	w := duckdb.Open(config)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// file creates a database file.
func file(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "warehouse.duckdb")
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileIsReadOnly(t *testing.T) {
	w := open(t, duckdb.Config{Path: file(t, "CREATE TABLE t AS SELECT 42 AS a"), Threads: 1, MemoryLimit: "256MB"})
	if rows := warehousetest.Read(t, w, "SELECT a FROM t").Rows; fmt.Sprint(rows) != "[[42]]" {
		t.Errorf("got %v", rows)
	}
	for _, statement := range []string{"DROP TABLE t", "INSERT INTO t VALUES (1)", "DELETE FROM t RETURNING a", "SET threads = 1", "EXPLAIN SELECT 1"} {
		if failure := fails(t, w, statement); failure.Kind != warehouse.KindInvalidSQL {
			t.Errorf("%s: %v", statement, failure)
		}
	}
}

func TestStatementSeesOnlyTheDatabase(t *testing.T) {
	path := file(t)
	w := open(t, duckdb.Config{})
	for _, statement := range []string{
		"SELECT * FROM read_text('/etc/hostname')",
		"SELECT * FROM '/etc/hostname.csv'",
		"SELECT * FROM read_csv('https://example.com/a.csv')",
		"SELECT * FROM glob('/etc/*')",
		"ATTACH '" + path + "'",
		"COPY (SELECT 1) TO '" + path + ".csv'",
		"INSTALL httpfs", "LOAD httpfs",
	} {
		failure := fails(t, w, statement)
		if failure.Kind != warehouse.KindPermission && failure.Kind != warehouse.KindInvalidSQL {
			t.Errorf("%s: %v (cause: %v)", statement, failure, failure.Err)
		}
	}
}

// fails runs a statement that must fail and returns its error.
func fails(t *testing.T, w warehouse.Warehouse, statement string) *warehouse.Error {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: statement})
	if err == nil {
		for err == nil {
			var batch interface{ Release() }
			if batch, err = result.Next(t.Context()); err == nil {
				batch.Release()
			}
		}
		if closeErr := result.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	}
	var failure *warehouse.Error
	if err == io.EOF || !errors.As(err, &failure) {
		t.Fatalf("%s: ended with %v", statement, err)
	}
	return failure
}

func TestConfigurationErrors(t *testing.T) {
	for name, config := range map[string]duckdb.Config{
		"missing file": {Path: filepath.Join(t.TempDir(), "no.duckdb")},
		"no database":  {Path: "/dev/null/x"},
		"memory limit": {MemoryLimit: "much"},
	} {
		if _, err := open(t, config).Identify(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		} else if failure := (*warehouse.Error)(nil); !errors.As(err, &failure) || failure.Kind != warehouse.KindConfiguration {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTypes(t *testing.T) {
	w := open(t, duckdb.Config{})
	for _, test := range []struct{ expr, typ, want string }{
		{"(-128)::TINYINT", "int64", "-128"},
		{"255::UTINYINT", "int64", "255"},
		{"(-32768)::SMALLINT", "int64", "-32768"},
		{"65535::USMALLINT", "int64", "65535"},
		{"4294967295::UINTEGER", "int64", "4294967295"},
		{"18446744073709551615::UBIGINT", "decimal(38, 0)", "18446744073709551615"},
		{"42::UHUGEINT", "decimal(38, 0)", "42"},
		{"-1234::DECIMAL(4,0)", "int64", "-1234"},
		{"-123456789012345678::DECIMAL(18,0)", "int64", "-123456789012345678"},
		{"1234567890123456789::DECIMAL(19,0)", "decimal(38, 0)", "1234567890123456789"},
		{"-12.34::DECIMAL(4,2)", "decimal(4, 2)", "-12.34"},
		{"-1234567.89::DECIMAL(9,2)", "decimal(9, 2)", "-1234567.89"},
		{"-123456789012.345678::DECIMAL(18,6)", "decimal(18, 6)", "-123456789012.345678"},
		{"0.1::FLOAT", "float64", "0.10000000149011612"},
		{"'nan'::DOUBLE", "float64", "NaN"},
		{"'b'::ENUM('a','b')", "utf8", "b"},
		{"'12345678-9abc-def0-1234-56789abcdef0'::UUID", "utf8", "12345678-9abc-def0-1234-56789abcdef0"},
		{"'f2345678-9abc-def0-1234-56789abcdef0'::UUID", "utf8", "f2345678-9abc-def0-1234-56789abcdef0"},
		{"'2024-02-29 01:02:03'::TIMESTAMP_S", "timestamp[us]", "2024-02-29 01:02:03.000000"},
		{"'1969-12-31 23:59:59.999'::TIMESTAMP_MS", "timestamp[us]", "1969-12-31 23:59:59.999000"},
		{"'1969-12-31 23:59:59.999999999'::TIMESTAMP_NS", "timestamp[ns]", "1969-12-31 23:59:59.999999"},
		{"NULL", "int64", warehousetest.Null},
		{"[1, NULL, 3]", "utf8", "[1,null,3]"},
		{"[1.50, -2.25]::DECIMAL(4,2)[2]", "utf8", "[1.50,-2.25]"},
		{`{'a': 1, 'b "c"': [{'d': 'x"y'}, NULL], 'e': DATE '1969-12-31', 'f': TIMESTAMPTZ '2024-01-01 00:00:00.5+01'}`, "utf8",
			`{"a":1,"b \"c\"":[{"d":"x\"y"},null],"e":"1969-12-31","f":"2023-12-31 23:00:00.5+00"}`},
		{"MAP {'k': 9007199254740993, 'l': NULL}", "utf8", `{"k":9007199254740993,"l":null}`},
		{"[true]::BOOLEAN[]", "utf8", "[true]"},
		{"['{\"a\": 1}'::JSON]", "utf8", `[{"a":1}]`},
		{"CAST([] AS INTEGER[])", "utf8", "[]"},
	} {
		result, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT " + test.expr + " AS x"})
		if err != nil {
			t.Errorf("%s: %v (cause: %v)", test.expr, err, errors.Unwrap(err))
			continue
		}
		if typ := result.Schema().Field(0).Type.String(); typ != test.typ {
			t.Errorf("%s: has the type %s instead of %s", test.expr, typ, test.typ)
		}
		if err := result.Close(); err != nil {
			t.Error(err)
		}
		if got := warehousetest.Read(t, w, "SELECT "+test.expr+" AS x").Rows[0][0]; got != test.want {
			t.Errorf("%s: got %q instead of %q", test.expr, got, test.want)
		}
	}
}

// TestTextIsDuckDBs compares the texts that Go writes with DuckDB's own cast.
func TestTextIsDuckDBs(t *testing.T) {
	w := open(t, duckdb.Config{})
	for _, expr := range []string{
		"to_months(i) + to_days(i * 7) + to_microseconds(i * 86399999999)", "to_years(i)", "to_microseconds(i)",
		"md5(i::VARCHAR)::UUID", "CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END::ENUM('a', 'b')",
	} {
		table := warehousetest.Read(t, w, "SELECT x, x::VARCHAR FROM (SELECT "+expr+" AS x FROM range(-30, 30) t(i))")
		for _, row := range table.Rows {
			if row[0] != row[1] {
				t.Errorf("%s: got %q instead of %q", expr, row[0], row[1])
			}
		}
	}
}

func TestInexactValuesAreNamed(t *testing.T) {
	w := open(t, duckdb.Config{})
	for _, expr := range []string{
		"CASE WHEN i = 3000 THEN 170141183460469231731687303715884105727 ELSE i END::HUGEINT",
		"CASE WHEN i = 3000 THEN '340282366920938463463374607431768211455' ELSE '1' END::UHUGEINT",
		"CASE WHEN i = 3000 THEN 'infinity' ELSE '2020-01-01' END::DATE",
		"CASE WHEN i = 3000 THEN '-infinity' ELSE '2020-01-01' END::TIMESTAMP",
		"CASE WHEN i = 3000 THEN 'infinity' ELSE '2020-01-01' END::TIMESTAMPTZ",
		"[CASE WHEN i = 3000 THEN 'inf' ELSE '1' END::DOUBLE]",
	} {
		failure := fails(t, w, "SELECT 1 AS a, "+expr+" AS named FROM range(5000) t(i)")
		if failure.Kind != warehouse.KindUnsupported || !strings.Contains(failure.Message, `column "named", row 3001`) {
			t.Errorf("%s: %v (cause: %v)", expr, failure, failure.Err)
		}
	}
	for _, expr := range []string{"TIMETZ '01:02:03+04'", "'101'::BIT", "union_value(a := 1)", "'1'::VARIANT", "[TIMETZ '01:02:03+04']"} {
		failure := fails(t, w, "SELECT "+expr+" AS named")
		if failure.Kind != warehouse.KindUnsupported || !strings.Contains(failure.Message, `column "named"`) {
			t.Errorf("%s: %v (cause: %v)", expr, failure, failure.Err)
		}
	}
}

func TestNullsAcrossChunks(t *testing.T) {
	w := open(t, duckdb.Config{})
	table := warehousetest.Read(t, w, `SELECT i, CASE WHEN i % 3 = 0 THEN i END, CASE WHEN i % 3 = 0 THEN i::VARCHAR END,
		CASE WHEN i % 3 = 0 THEN i::SMALLINT END, CASE WHEN i % 3 = 0 THEN [i] END FROM range(30000) t(i)`)
	if len(table.Rows) != 30000 {
		t.Fatalf("%d rows", len(table.Rows))
	}
	for i, row := range table.Rows {
		want, list := warehousetest.Null, warehousetest.Null
		if i%3 == 0 {
			want, list = fmt.Sprint(i), fmt.Sprintf("[%d]", i)
		}
		if got := fmt.Sprint(row); got != fmt.Sprint([]string{fmt.Sprint(i), want, want, want, list}) {
			t.Fatalf("row %d is %s", i, got)
		}
	}
}

func TestLargeTextsMakeSmallBatches(t *testing.T) {
	w := open(t, duckdb.Config{})
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT repeat('x', 1000000 + i::INTEGER) FROM range(40) t(i)"})
	if err != nil {
		t.Fatal(err)
	}
	row, batches := 0, 0
	for ; ; batches++ {
		batch, err := result.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		column := batch.Column(0).(*array.String)
		for i := range column.Len() {
			if len(column.Value(i)) != 1000000+row {
				t.Errorf("row %d has %d bytes", row, len(column.Value(i)))
			}
			row++
		}
		batch.Release()
	}
	if row != 40 || batches < 8 {
		t.Errorf("%d rows in %d batches", row, batches)
	}
	if err := result.Close(); err != nil {
		t.Error(err)
	}
}

func TestEstimateRows(t *testing.T) {
	w := open(t, duckdb.Config{})
	for sql, least := range map[string]int64{
		"SELECT * FROM range(50000)":                                           50_000,
		"-- all\nSELECT range + 1 FROM range(50000) -- of them":                50_000,
		"SELECT a.range FROM range(50000) a JOIN range(50000) b USING (range)": 1,
		"SELECT range FROM range(50000) ORDER BY 1 LIMIT 7":                    7,
	} {
		result, err := w.Query(t.Context(), warehouse.Statement{SQL: sql})
		if err != nil {
			t.Fatal(err)
		}
		n, ok := result.(warehouse.Estimator).EstimateRows(t.Context())
		if !ok || n < least || n > 50_000 {
			t.Errorf("%s: %d rows are expected, %v", sql, n, ok)
		}
		// The query runs as if nobody had asked.
		batch, err := result.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		batch.Release()
		if err := result.Close(); err != nil {
			t.Error(err)
		}
	}
}
