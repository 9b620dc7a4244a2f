package snowflaketest_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	sf "github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// columnTypes are the expressions and, for each, the type that the answer
// declares, Arrow's physical type, the field's scale, the value as Arrow
// prints it and the value as the driver gives it to database/sql.
var columnTypes = []struct{ expr, declared, physical, scale, value, driven string }{
	{`1::int`, "fixed", "int8", "0", "1", "1"},
	{`-129::int`, "fixed", "int16", "0", "-129", "-129"},
	{`65536::int`, "fixed", "int32", "0", "65536", "65536"},
	{`9007199254740993::int`, "fixed", "int64", "0", "9007199254740993", "9007199254740993"},
	{`-9223372036854775808::number`, "fixed", "int64", "0", "-9223372036854775808", "-9223372036854775808"},
	{`12345678901234567890123456789012345678::number`, "fixed", "decimal(38, 0)", "0",
		"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"},
	{`'-1234567890123456789012345678.0123456789'::number(38,10)`, "fixed", "decimal(38, 10)", "10",
		"-1234567890123456789012345678.0123456789", "-1234567890123456789012345678.0123456789"},
	{`'-0.05'::number(10,2)`, "fixed", "int8", "2", "-5", "-0.05"},
	{`0.1::float`, "real", "float64", "0", "0.1", "0.1"},
	{`'NaN'::float`, "real", "float64", "0", "NaN", "NaN"},
	{`''`, "text", "utf8", "0", `""`, ""},
	{`'Σ 🐘'`, "text", "utf8", "0", `"Σ 🐘"`, "Σ 🐘"},
	{`true`, "boolean", "bool", "0", "true", "true"},
	{`to_binary('00ff10', 'hex')`, "binary", "binary", "0", `"\x00\xff\x10"`, "[0 255 16]"},
	{`'1969-12-31'::date`, "date", "date32", "0", "1969-12-31", "1969-12-31 00:00:00 +0000 UTC"},
	{`'0001-01-01'::date`, "date", "date32", "0", "0001-01-01", "0001-01-01 00:00:00 +0000 UTC"},
	{`'23:59:59.000001'::time`, "time", "int64", "9", "86399000001000", "0001-01-01 23:59:59.000001 +0000 UTC"},
	{`'1960-02-03 04:05:06.000007'::timestamp_ntz`, "timestamp_ntz", "struct<epoch: int64, fraction: int32>", "9",
		"{[-312753294] [7000]}", "1960-02-03 04:05:06.000007 +0000 UTC"},
	{`'1960-02-03 04:05:06.007'::timestamp_ntz(3)`, "timestamp_ntz", "int64", "3", "-312753293993", "1960-02-03 04:05:06.007 +0000 UTC"},
	{`'1960-02-03 04:05:06'::timestamp_ntz(0)`, "timestamp_ntz", "int64", "0", "-312753294", "1960-02-03 04:05:06 +0000 UTC"},
	{`'1969-12-31 23:59:59.999999+00'::timestamp_ltz`, "timestamp_ltz", "struct<epoch: int64, fraction: int32>", "9",
		"{[-1] [999999000]}", "1969-12-31 23:59:59.999999 +0000 UTC"},
	{`'2026-01-01 00:00:00.5 +02:30'::timestamp_tz`, "timestamp_tz", "struct<epoch: int64, fraction: int32, timezone: int32>", "9",
		"{[1767216600] [500000000] [1590]}", "2026-01-01 00:00:00.5 +0230 +0230"},
	{`'1900-01-01 00:00:00 -08:00'::timestamp_tz`, "timestamp_tz", "struct<epoch: int64, fraction: int32, timezone: int32>", "9",
		"{[-2208960000] [0] [960]}", "1900-01-01 00:00:00 -0800 -0800"},
	{`parse_json('{"b":[1],"a":null}')`, "variant", "utf8", "0", `"{\n  \"a\": null,\n  \"b\": [\n    1\n  ]\n}"`,
		"{\n  \"a\": null,\n  \"b\": [\n    1\n  ]\n}"},
	{`(select array_agg(X) from (select 1 X))`, "array", "utf8", "0", `"[\n  1\n]"`, "[\n  1\n]"},
}

func TestArrowTypes(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	db := openDB(t, s)
	for _, tt := range columnTypes {
		t.Run(tt.expr, func(t *testing.T) {
			total, records, err := stream(t.Context(), t, db, `select `+tt.expr+` "a B", null::`+nullType(tt.declared)+` N`)
			if err != nil {
				t.Fatal(err)
			}
			if total != 1 || len(records) != 1 {
				t.Fatalf("%d rows in %d batches", total, len(records))
			}
			defer records[0].Release()
			field, col := records[0].Schema().Field(0), records[0].Column(0)
			if field.Name != "a B" {
				t.Errorf("name %q", field.Name)
			}
			if got := physical(field.Type); got != tt.physical {
				t.Errorf("physical type %s, want %s", got, tt.physical)
			}
			if got, _ := field.Metadata.GetValue("scale"); got != tt.scale {
				t.Errorf("scale %s, want %s", got, tt.scale)
			}
			if got := arrowValue(col); got != tt.value {
				t.Errorf("value %s, want %s", got, tt.value)
			}
			if !records[0].Column(1).IsNull(0) {
				t.Error("NULL arrived as a value")
			}
		})
	}
}

// nullType names a type whose NULL is encoded like the declared one's.
func nullType(declared string) string {
	switch declared {
	case "fixed":
		return "number(38,10)"
	case "real":
		return "float"
	}
	return declared
}

func physical(t arrow.DataType) string {
	if s, ok := t.(*arrow.StructType); ok {
		text := "struct<"
		for i, f := range s.Fields() {
			if i > 0 {
				text += ", "
			}
			text += f.Name + ": " + f.Type.String()
		}
		return text + ">"
	}
	if d, ok := t.(*arrow.Decimal128Type); ok {
		return fmt.Sprintf("decimal(%d, %d)", d.Precision, d.Scale)
	}
	return t.Name()
}

func arrowValue(a arrow.Array) string {
	switch a.DataType().ID() {
	case arrow.STRUCT:
		return fmt.Sprint(a)
	case arrow.STRING, arrow.BINARY:
		b := a.(interface{ ValueBytes() []byte }).ValueBytes()
		return fmt.Sprintf("%q", b)
	case arrow.DATE32, arrow.DECIMAL128:
		return fmt.Sprint(a.(interface{ GetOneForMarshal(int) any }).GetOneForMarshal(0))
	}
	return a.ValueStr(0)
}

// TestDriverTypes reads the same values through database/sql's drivers, once
// as Arrow and once as JSON: the driver must make the same of both.
func TestDriverTypes(t *testing.T) {
	for _, format := range []string{"ARROW", "JSON"} {
		t.Run(format, func(t *testing.T) {
			s := newServer(t, snowflaketest.Config{})
			db := openDB(t, s, func(c *sf.Config) { c.Params["go_query_result_format"] = &format })
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}()
			for _, tt := range columnTypes {
				t.Run(tt.expr, func(t *testing.T) {
					if err := conn.Raw(func(c any) error {
						return checkDriven(t.Context(), t, c.(driver.QueryerContext), tt.expr, tt.driven)
					}); err != nil {
						t.Fatal(err)
					}
				})
			}
		})
	}
}

func checkDriven(ctx context.Context, t *testing.T, c driver.QueryerContext, expr, want string) (err error) {
	rows, err := c.QueryContext(ctx, "select "+expr+" V, null::text N", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, 2)
	if err := rows.Next(row); err != nil {
		return err
	}
	if got := fmt.Sprint(row[0]); got != want && (want != "true" || got != "1") { // the driver leaves JSON's booleans as they come
		t.Errorf("got %s, want %s", got, want)
	}
	if row[1] != nil {
		t.Errorf("NULL arrived as %v", row[1])
	}
	return nil
}

func TestNumberWidthFollowsTheChunk(t *testing.T) {
	s := newServer(t, snowflaketest.Config{InlineRows: 2, ChunkRows: 2, BatchRows: 2})
	db := openDB(t, s)
	_, records, err := stream(t.Context(), t, db, `select X from (values (1), (null), (1000), (-1), (99999999999999999999), (0)) V(X)`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		got = append(got, physical(r.Schema().Field(0).Type))
		r.Release()
	}
	if fmt.Sprint(got) != "[int8 int16 decimal(38, 0)]" {
		t.Errorf("got %v", got)
	}
}
