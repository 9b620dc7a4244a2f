package server_test

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// types are the columns of one table each, which both warehouses hold. A
// literal stands for itself, or fills the pattern of the type.
var types = []struct {
	name                 string
	snowflake, duckdb    string // the column's type
	snowflakeFmt, duckFm string // make a value of a literal
	literals             []string
	want                 []string // in the form of cellOf; a NULL is added to each
	column               pb.ColumnType
	scale                int32
}{
	{"booleans", "BOOLEAN", "BOOLEAN", "%s", "%s", []string{"true", "false"}, []string{"true", "false"}, pb.ColumnType_COLUMN_TYPE_BOOL, 0},
	{"integers", "NUMBER(38,0)", "BIGINT", "%s", "%s",
		[]string{"0", "-1", "9007199254740993", "-9007199254740993", "9223372036854775807", "(-9223372036854775807 - 1)"},
		[]string{"0", "-1", "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808"}, pb.ColumnType_COLUMN_TYPE_INTEGER, 0},
	{"integers beyond 64 bits", "NUMBER(38,0)", "DECIMAL(38,0)", "'%s'::NUMBER(38,0)", "'%s'::DECIMAL(38,0)",
		[]string{"9223372036854775808", "-9223372036854775809", "12345678901234567890123456789012345678", "-99999999999999999999999999999999999999", "7"},
		[]string{"9223372036854775808", "-9223372036854775809", "12345678901234567890123456789012345678", "-99999999999999999999999999999999999999", "7"}, pb.ColumnType_COLUMN_TYPE_INTEGER, 0},
	{"small integers", "NUMBER(5,0)", "SMALLINT", "%s", "%s", []string{"-32768", "32767"}, []string{"-32768", "32767"}, pb.ColumnType_COLUMN_TYPE_INTEGER, 0},
	{"decimals (38,10)", "NUMBER(38,10)", "DECIMAL(38,10)", "'%s'::NUMBER(38,10)", "'%s'::DECIMAL(38,10)",
		[]string{"0", "-12.5", "0.0000000001", "-1234567890123456789012345678.0123456789", "9999999999999999999999999999.9999999999"},
		[]string{"0.0000000000", "-12.5000000000", "0.0000000001", "-1234567890123456789012345678.0123456789", "9999999999999999999999999999.9999999999"}, pb.ColumnType_COLUMN_TYPE_DECIMAL, 10},
	{"money", "NUMBER(12,2)", "DECIMAL(12,2)", "%s", "%s", []string{"0.10", "-0.05", "1234567890.99"}, []string{"0.10", "-0.05", "1234567890.99"}, pb.ColumnType_COLUMN_TYPE_DECIMAL, 2},
	{"floats", "FLOAT", "DOUBLE", "'%s'::FLOAT", "'%s'::DOUBLE", []string{"0.1", "-1.5e300", "1e-300", "9007199254740993", "NaN", "inf", "-inf"},
		[]string{"0.1", "-1.5e+300", "1e-300", "9.007199254740992e+15", "NaN", "+Inf", "-Inf"}, pb.ColumnType_COLUMN_TYPE_DOUBLE, 0},
	{"texts", "VARCHAR", "VARCHAR", "'%s'", "'%s'",
		[]string{"", " ", "it''s", "NULL", "Zürich 東京", "e\u0301", "\U0001F600\U0001D11E", "tab\tand\nline", strings.Repeat("long ", 1000)},
		[]string{`""`, `" "`, `"it's"`, `"NULL"`, `"Zürich 東京"`, `"e` + "\u0301" + `"`, "\"\U0001F600\U0001D11E\"", `"tab\tand\nline"`, `"` + strings.Repeat("long ", 1000) + `"`},
		pb.ColumnType_COLUMN_TYPE_STRING, 0},
	{"binary", "BINARY", "BLOB", "TO_BINARY('%s', 'HEX')", "unhex('%s')", []string{"", "00", "00FF10", strings.Repeat("DEADBEEF", 9)},
		[]string{"", "00", "00ff10", strings.Repeat("deadbeef", 9)}, pb.ColumnType_COLUMN_TYPE_BYTES, 0},
	{"dates", "DATE", "DATE", "'%s'::DATE", "'%s'::DATE", []string{"1970-01-01", "1969-12-31", "1582-10-04", "0001-01-01", "9999-12-31", "2024-02-29"},
		[]string{"1970-01-01", "1969-12-31", "1582-10-04", "0001-01-01", "9999-12-31", "2024-02-29"}, pb.ColumnType_COLUMN_TYPE_DATE, 0},
	{"times", "TIME", "TIME", "'%s'::TIME", "'%s'::TIME", []string{"00:00:00", "23:59:59.999999", "12:34:56.7"},
		[]string{"00:00:00", "23:59:59.999999", "12:34:56.7"}, pb.ColumnType_COLUMN_TYPE_TIME, 0},
	{"timestamps without zone", "TIMESTAMP_NTZ", "TIMESTAMP", "'%s'::TIMESTAMP_NTZ", "'%s'::TIMESTAMP",
		[]string{"1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999", "2024-03-31 02:30:00.5"},
		[]string{"1970-01-01T00:00:00", "1969-12-31T23:59:59.999999", "0001-01-01T00:00:00.000001", "9999-12-31T23:59:59.999999", "2024-03-31T02:30:00.5"}, pb.ColumnType_COLUMN_TYPE_DATETIME, 0},
	{"timestamps with local zone", "TIMESTAMP_LTZ", "TIMESTAMPTZ", "'%s'::TIMESTAMP_LTZ", "'%s'::TIMESTAMPTZ",
		[]string{"1969-12-31 23:59:59.999999+00:00", "2024-02-29 12:34:56.789012+00:00", "9999-12-31 23:59:59.999999+00:00"},
		[]string{"1969-12-31T23:59:59.999999Z", "2024-02-29T12:34:56.789012Z", "9999-12-31T23:59:59.999999Z"}, pb.ColumnType_COLUMN_TYPE_TIMESTAMP, 0},
	{"timestamps with zone", "TIMESTAMP_TZ", "TIMESTAMPTZ", "'%s'::TIMESTAMP_TZ", "'%s'::TIMESTAMPTZ",
		[]string{"1970-01-01 02:00:00.000001+02:00", "1969-12-31 16:59:59.999999-07:00", "2024-02-29 18:04:56.789012+05:30"},
		[]string{"1970-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.999999Z", "2024-02-29T12:34:56.789012Z"}, pb.ColumnType_COLUMN_TYPE_TIMESTAMP, 0},
	{"variants", "VARIANT", "JSON", "PARSE_JSON('%s')", "'%s'::JSON",
		[]string{`{"a":[1,2.5,null,"x"],"b":{"big":9007199254740993}}`, `"text"`, `17`, `[]`, `true`, `{"é":"東京 😀"}`},
		[]string{`{"a":[1,2.5,null,"x"],"b":{"big":9007199254740993}}`, `"text"`, `17`, `[]`, `true`, `{"é":"東京 😀"}`}, pb.ColumnType_COLUMN_TYPE_JSON, 0},
}

// TestEveryTypeIsTheSameEverywhere reads one element for each type, of the
// same SQL, through both warehouses and in both formats.
func TestEveryTypeIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	fill := func(prefix, column, pattern string, i int, literals []string) string {
		var rows []string
		for n, literal := range literals {
			value := literal
			if strings.Contains(pattern, "%") {
				value = fmt.Sprintf(pattern, literal)
			}
			rows = append(rows, fmt.Sprintf("SELECT %d, %s", n, value))
		}
		rows = append(rows, fmt.Sprintf("SELECT %d, NULL", len(literals)))
		return fmt.Sprintf("CREATE TABLE %sSALES.TYPE_%d (ORDINAL INTEGER, A_VALUE %s); INSERT INTO %sSALES.TYPE_%d %s;\n",
			prefix, i, column, prefix, i, strings.Join(rows, " UNION ALL "))
	}
	var snowflake, duckdb strings.Builder
	for i, kind := range types {
		snowflake.WriteString(fill("SHOP.", kind.snowflake, kind.snowflakeFmt, i, kind.literals))
		duckdb.WriteString(fill("", kind.duckdb, kind.duckFm, i, kind.literals))
	}
	w.fill(snowflake.String(), duckdb.String())
	w.create(snowflakeName, w.snowflakeConnection())
	w.create(duckdbName, w.duckdbConnection())
	for i, kind := range types {
		t.Run(kind.name, func(t *testing.T) {
			sql := fmt.Sprintf(`select ORDINAL "No", VALUE_7 "The Value" from (select ORDINAL, A_VALUE VALUE_7 from (select * from SHOP.SALES.TYPE_%d TYPE_%d limit 1000) Q1) Q2 order by ORDINAL asc limit 1000`, i, i)
			r := w.everyWay(w.model(snowflakeName, sql), 1000)
			if c := r.schema.GetColumns()[1]; c.GetName() != "The Value" || c.GetType() != kind.column || c.GetScale() != kind.scale || c.GetWarehouseType() == "" {
				t.Errorf("the column is %v", c)
			}
			want := append(kind.want, null)
			rows := r.table(t)
			if len(rows) != len(want) {
				t.Fatalf("%d rows of %d", len(rows), len(want))
			}
			for n, row := range rows {
				if row[1] != want[n] {
					t.Errorf("the literal %q comes as %s instead of %s", append(kind.literals, null)[n], row[1], want[n])
				}
			}
		})
	}
}
