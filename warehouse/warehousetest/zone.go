package warehousetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// RunZones proves that the sessions of an adapter run in the time zone that they are
// opened with. open is as that of [Run]; an empty zone is UTC.
func RunZones(t *testing.T, dialect Dialect, open func(t testing.TB, mem memory.Allocator, timeZone string) warehouse.Warehouse) {
	for _, name := range []string{"", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Apia"} {
		s := suite{dialect: dialect, open: func(t testing.TB, mem memory.Allocator) warehouse.Warehouse { return open(t, mem, name) }}
		in := time.UTC
		if name != "" {
			var err error
			if in, err = zone.Load(name); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("in the zone "+in.String(), func(t *testing.T) {
			s.with(t, func(t *testing.T, w warehouse.Warehouse) {
				s.zonedInstants(t, w, in)
				s.days(t, w, in)
				s.notDays(t, w, in)
			})
		})
	}
}

// zonedInstants reads instants, whose column names the zone and whose dates are those
// of the zone.
func (s suite) zonedInstants(t *testing.T, w warehouse.Warehouse, in *time.Location) {
	var selects []string
	want := [][]string{}
	for i, text := range []string{"2026-03-01 00:30:00.000000+00:00", "2026-07-01 23:30:00.000000+00:00", "2024-02-29 12:34:56.789012+00:00"} {
		at, err := time.Parse(instantForm, text)
		if err != nil {
			t.Fatal(err)
		}
		instant := s.dialect.literal(Instant, &text)
		selects = append(selects, fmt.Sprintf(`SELECT %d AS "ORDINAL", %s AS "INSTANT", CAST(%s AS DATE) AS "DATE"`, i, instant, instant))
		want = append(want, []string{fmt.Sprint(i), text, at.In(in).Format(time.DateOnly)})
	}
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: strings.Join(selects, "\nUNION ALL ") + "\nORDER BY 1"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeResult(t, result)
	if typ, ok := result.Schema().Field(1).Type.(*arrow.TimestampType); !ok || typ.TimeZone != in.String() {
		t.Errorf("the column is %s", result.Schema().Field(1).Type)
	}
	if got := readAll(t, result).Rows; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the rows are %v instead of %v", got, want)
	}
}

// castDates is a query of a column of dates that are cast to instants.
func (s suite) castDates(dates []string) string {
	var selects []string
	for i, date := range dates {
		text := &date
		if date == Null {
			text = nil
		}
		selects = append(selects, fmt.Sprintf(`SELECT %d AS "ORDINAL", %s AS "DAY"`, i, fmt.Sprintf(s.dialect.Literals[Instant], s.dialect.literal(Date, text))))
	}
	return strings.Join(selects, "\nUNION ALL ") + "\nORDER BY 1"
}

// days reads casts of dates as dates, however far away and where the zone has no
// midnight.
func (s suite) days(t *testing.T, w warehouse.Warehouse, in *time.Location) {
	dates := []string{"2026-03-01", Null, "2026-03-29", "2026-11-01", "2017-10-15", "9999-12-31", "1900-01-01", "1899-12-30"}
	statement := warehouse.Statement{SQL: s.castDates(dates), Days: func([]string) []int { return []int{1, 0} }}
	result, err := w.Query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	defer closeResult(t, result)
	table := readAll(t, result)
	if table.Kinds[0] != Whole || table.Kinds[1] != Date {
		t.Errorf("the columns are read as %v", table.Kinds)
	}
	for i, want := range dates {
		if got := table.Rows[i][1]; got != want {
			t.Errorf("in %s the date %s is delivered as %s", in, want, got)
		}
	}
	described, err := w.Describe(t.Context(), statement)
	if err != nil || !described.Equal(result.Schema()) {
		t.Errorf("described as %v and read as %v, %v", described, result.Schema(), err)
	}
}

// notDays reads an instant that begins no day as a date, which fails.
func (s suite) notDays(t *testing.T, w warehouse.Warehouse, in *time.Location) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, in).UTC().Format(instantForm)
	begin := fmt.Sprintf(s.dialect.Literals[Instant], fmt.Sprintf(s.dialect.Literals[Date], "'2026-03-01'"))
	sql := fmt.Sprintf(`SELECT 0 AS "ORDINAL", %s AS "DAY" UNION ALL SELECT 1, %s ORDER BY 1`, begin, s.dialect.literal(Instant, &noon))
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: sql, Days: func([]string) []int { return []int{1} }})
	if err != nil {
		t.Fatal(err)
	}
	defer closeResult(t, result)
	var failure *warehouse.Error
	err = eachBatch(t.Context(), result, func(arrow.RecordBatch) error { return nil })
	if !errors.As(err, &failure) || failure.Kind != warehouse.KindUnsupported || failure.Column != "DAY" || failure.Row != 2 {
		t.Errorf("in %s noon is read as a date: %v", in, err)
	}
}
