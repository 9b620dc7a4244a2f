package duckdb

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
)

// openIn opens an empty database whose sessions are in a time zone.
func openIn(t *testing.T, timeZone string) *Warehouse {
	t.Helper()
	w := Open(Config{TimeZone: timeZone})
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// Sessions read instants in their zone, and name it in the column.
func TestTimeZone(t *testing.T) {
	for zone, want := range map[string]string{"": "2026-02-28", "UTC": "2026-02-28", "Europe/Berlin": "2026-03-01", "America/New_York": "2026-02-28", "Asia/Kolkata": "2026-03-01"} {
		w := openIn(t, zone)
		if got := valuesOf(t, w, "SELECT TIMESTAMPTZ '2026-02-28 23:30:00+00'::DATE::VARCHAR"); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %q", zone, got)
		}
		schema, err := w.Describe(t.Context(), warehouse.Statement{SQL: "SELECT now() AS a, TIMESTAMP '2026-01-01' AS b"})
		if err != nil {
			t.Fatal(err)
		}
		if zone == "" {
			zone = "UTC"
		}
		if got := schema.Field(0).Type.(*arrow.TimestampType).TimeZone; got != zone {
			t.Errorf("%s: the column is in %q", zone, got)
		}
		if got := schema.Field(1).Type.(*arrow.TimestampType).TimeZone; got != "" {
			t.Errorf("%s: the column without a zone is in %q", zone, got)
		}
		if err := warehouse.CheckSchema(schema); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownTimeZones(t *testing.T) {
	for _, zone := range []string{"Mars/Olympus", "Local", "'; SELECT 1; --", "+01:00"} {
		_, err := openIn(t, zone).Query(t.Context(), warehouse.Statement{SQL: "SELECT 1"})
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindConfiguration {
			t.Errorf("%q: %v", zone, err)
		}
	}
}

// A column of casts of dates is delivered as dates, and a value of it that is not a
// midnight is an error by column and row.
func TestDays(t *testing.T) {
	const dates = `SELECT d::TIMESTAMPTZ AS "Due", d FROM (VALUES (DATE '2026-03-01'), (NULL), (DATE '0001-01-01'), (DATE '9999-12-31'), (DATE '2026-03-29')) t(d)`
	all := func([]string) []int { return []int{0, 1, 7} }
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "America/Vancouver"} {
		w := openIn(t, zone)
		for _, choose := range []func([]string) ([]int, error){nil, func([]string) ([]int, error) { return []int{1, 0}, nil }} {
			schema, rows, err := readAll(t, w, warehouse.Statement{SQL: dates, Days: all, Choose: choose})
			if err != nil {
				t.Fatalf("%s: %v", zone, err)
			}
			if schema.Field(0).Type.ID() != arrow.DATE32 || schema.Field(1).Type.ID() != arrow.DATE32 {
				t.Errorf("%s: the columns are %v", zone, schema)
			}
			for i, want := range []string{"2026-03-01", "(null)", "0001-01-01", "9999-12-31", "2026-03-29"} {
				if rows[i][0] != want || rows[i][1] != want {
					t.Errorf("%s: row %d is %q", zone, i+1, rows[i])
				}
			}
		}
		_, _, err := readAll(t, w, warehouse.Statement{SQL: `SELECT d::TIMESTAMPTZ + INTERVAL (if(i = 1, 1, 0)) MICROSECOND AS "Due" FROM (VALUES (0, DATE '2026-03-01'), (1, DATE '2026-03-02')) t(i, d)`, Days: all})
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindUnsupported || failure.Column != "Due" || failure.Row != 2 || !strings.Contains(err.Error(), "beginning of a day") {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// A cast of a date is that date where the database of time zones of DuckDB and that of Go differ: before 1970, and after a
// change of the rules that one of them does not know.
func TestDaysWhereZonesAreUnlike(t *testing.T) {
	for _, zone := range []string{"Europe/Amsterdam", "Europe/Stockholm", "Europe/Oslo", "Atlantic/Reykjavik", "America/Vancouver"} {
		const dates = `SELECT d::TIMESTAMPTZ, d FROM (VALUES (DATE '1800-01-01'), (DATE '1899-12-30'), (DATE '1900-01-01'), (DATE '1940-06-01'), (DATE '9999-12-31')) t(d)`
		_, rows, err := readAll(t, openIn(t, zone), warehouse.Statement{SQL: dates, Days: func([]string) []int { return []int{0} }})
		if err != nil {
			t.Errorf("%s: %v", zone, err)
		}
		for _, row := range rows {
			if row[0] != row[1] {
				t.Errorf("%s: the date %s is delivered as %s", zone, row[1], row[0])
			}
		}
	}
}

// readAll returns the columns and the values of a statement.
func readAll(t *testing.T, w *Warehouse, statement warehouse.Statement) (_ *arrow.Schema, rows [][]string, err error) {
	t.Helper()
	result, err := w.Query(t.Context(), statement)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for {
		batch, err := result.Next(t.Context())
		if err == io.EOF {
			return result.Schema(), rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range int(batch.NumRows()) {
			var row []string
			for _, column := range batch.Columns() {
				row = append(row, strings.Clone(column.ValueStr(i)))
			}
			rows = append(rows, row)
		}
		batch.Release()
	}
}
