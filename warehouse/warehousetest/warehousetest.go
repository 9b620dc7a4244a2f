// Package warehousetest proves that an adapter keeps the promises of
// [warehouse.Warehouse]. Every adapter's tests call [Run]; because the suite
// knows the expected values, adapters that pass deliver equal rows.
//
// The package imports warehouse and Arrow, and no adapter.
package warehousetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Dialect is how a warehouse writes what the suite asks for.
type Dialect struct {
	// Literals holds, for each [Kind], the expression that makes a value of it
	// from a text, which stands as %s: a quoted string or NULL. A BLOB's text is
	// hexadecimal. A kind without literal is left out.
	Literals map[Kind]string
	// Series is a query of %d rows: "ID", the numbers from 0, and "NAME", the
	// text "row " with the number.
	Series string
	// Endless is a query that runs longer than any test.
	Endless string
	// Failing compiles and fails on the data.
	Failing string
}

// Kind is a kind of value that warehouses share.
type Kind string

// The kinds of values. Their texts are the literals of the suite and the form
// that [Read] gives values in.
const (
	Bool      Kind = "bool"      // true
	Whole     Kind = "whole"     // -9223372036854775808
	Wide      Kind = "wide"      // 38 digits
	Decimal   Kind = "decimal"   // with ten digits after the point
	Float     Kind = "float"     // the shortest text that reads back
	Text      Kind = "text"      // as it is
	Binary    Kind = "binary"    // 00FF
	Date      Kind = "date"      // 2024-02-29
	Time      Kind = "time"      // 23:59:59.999999
	Timestamp Kind = "timestamp" // a wall clock's: 2024-02-29 12:34:56.789012
	Instant   Kind = "instant"   // in UTC: 2024-02-29 12:34:56.789012+00:00
	Zoned     Kind = "zoned"     // an instant written with another offset
	JSON      Kind = "json"      // compact
)

// kinds lists the columns of the value test in order, with their values. An
// instant's text may differ from the expected one, which then follows it.
var kinds = []struct {
	kind   Kind
	values []string
}{
	{Bool, []string{"true", "false"}},
	{Whole, []string{"0", "-1", "9007199254740993", "-9223372036854775808", "9223372036854775807"}},
	{Wide, []string{"0", "-1", "9223372036854775808", "99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"}},
	{Decimal, []string{
		"0.0000000000", "-0.0000000001", "1234567890123456789012345678.0123456789", "-9999999999999999999999999999.9999999999",
	}},
	{Float, []string{"0", "0.1", "-1.5e+300", "1e-300", "1.2345678925e+08"}},
	{Text, []string{
		"", " ", "it''s", "twelve bytes", "more than twelve bytes", "tab\tand\nline", "Zürich", "e\u0301 is not é", "\U0001F600 \U0001D11E", "東京",
	}},
	{Binary, []string{"", "00", "00FF10", "DEADBEEFDEADBEEFDEADBEEFDEADBEEF"}},
	{Date, []string{"1970-01-01", "1969-12-31", "0001-01-01", "9999-12-31", "2024-02-29"}},
	{Time, []string{"00:00:00.000000", "23:59:59.999999", "12:34:56.789012"}},
	{Timestamp, []string{
		"1970-01-01 00:00:00.000000", "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999",
		"2024-02-29 12:34:56.789012",
	}},
	{Instant, []string{
		"1970-01-01 00:00:00.000000+00:00", "1969-12-31 23:59:59.999999+00:00", "0001-01-01 00:00:00.000000+00:00",
		"9999-12-31 23:59:59.999999+00:00", "2024-02-29 12:34:56.789012+00:00",
	}},
	{Zoned, []string{
		"1970-01-01 02:00:00.000000+02:00", "1969-12-31 16:59:59.999999-07:00", "2024-02-29 18:04:56.789012+05:30",
	}},
	{JSON, []string{`{"a":[1,2.5,null,"x"],"b":{"big":9007199254740993}}`, `"text"`, `17`, `[]`, `{"é":"東京 😀"}`}},
}

// expected returns the form in which Read gives a literal of the suite.
func expected(kind Kind, text string) string {
	switch kind {
	case Text:
		return strings.ReplaceAll(text, "''", "'")
	case Zoned:
		return inUTC(text)
	case JSON:
		return compact([]byte(text))
	}
	return text
}

// Run runs the suite. open returns a fresh warehouse whose batches come from
// mem; the suite closes it and checks that nothing of mem is left.
func Run(t *testing.T, dialect Dialect, open func(t testing.TB, mem memory.Allocator) warehouse.Warehouse) {
	s := suite{dialect: dialect, open: open}
	for _, test := range []struct {
		name string
		run  func(*testing.T, warehouse.Warehouse)
	}{
		{"identifies itself", s.identify},
		{"runs a probe", s.probe},
		{"delivers every type exactly", s.values},
		{"keeps columns without rows", s.zeroRows},
		{"keeps hundreds of columns in order", s.manyColumns},
		{"keeps columns of the same name", s.sameNames},
		{"delivers the chosen columns only", s.chosenColumns},
		{"describes without running", s.describe},
		{"streams a million rows in bounded batches", s.millionRows},
		{"returns EOF again after the end", s.afterEnd},
		{"closes half way and twice", s.closeHalfWay},
		{"refuses a context that has ended", s.contextBefore},
		{"stops a running query when its context ends", s.contextDuring},
		{"stops when the context of Next ends", s.contextOfNext},
		{"stops between batches when the context ends", s.contextBetween},
		{"sorts failures and keeps SQL and values out of them", s.failures},
		{"runs queries side by side", s.sideBySide},
		{"fails what is open and what comes after Close", s.closed},
	} {
		t.Run(test.name, func(t *testing.T) { s.with(t, test.run) })
	}
}

type suite struct {
	dialect Dialect
	open    func(testing.TB, memory.Allocator) warehouse.Warehouse
}

func (s suite) with(t *testing.T, run func(*testing.T, warehouse.Warehouse)) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	w := s.open(t, mem)
	defer func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		mem.AssertSize(t, 0)
	}()
	run(t, w)
}

// literal returns the expression for a value; nil is NULL.
func (d Dialect) literal(kind Kind, text *string) string {
	if text == nil {
		return fmt.Sprintf(d.Literals[kind], "NULL")
	}
	return fmt.Sprintf(d.Literals[kind], "'"+*text+"'")
}

// valuesQuery returns a query with a column per kind, and the rows that it
// must give: the kinds' values, the shorter lists filled with NULLs, and a row of NULLs.
func (d Dialect) valuesQuery() (sql string, columns []Kind, rows [][]string) {
	longest := 0
	for _, k := range kinds {
		if _, ok := d.Literals[k.kind]; ok {
			columns = append(columns, k.kind)
			longest = max(longest, len(k.values))
		}
	}
	var selects []string
	for i := range longest + 1 {
		exprs, row := []string{fmt.Sprintf(`%d AS "ORDINAL"`, i)}, []string{}
		for _, k := range kinds {
			if d.Literals[k.kind] == "" {
				continue
			}
			var text *string
			want := Null
			if i < len(k.values) {
				text, want = &k.values[i], expected(k.kind, k.values[i])
			}
			exprs = append(exprs, fmt.Sprintf(`%s AS "%s"`, d.literal(k.kind, text), k.kind))
			row = append(row, want)
		}
		selects = append(selects, "SELECT "+strings.Join(exprs, ", "))
		rows = append(rows, row)
	}
	return strings.Join(selects, "\nUNION ALL ") + "\nORDER BY 1", columns, rows
}
