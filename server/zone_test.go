package server_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/rowtext"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// zoneNames are the account time zones of the organizations.
var zoneNames = []string{"America/New_York", "Europe/Berlin", "Asia/Kolkata", "UTC"}

// moment is a row of the table MOMENTS. Its wall clock is what the zone-less column
// holds. The date is that of the wall clock, the local-zone column holds the instant
// at which clocks in UTC show it, and the column with a zone that of Tokyo.
type moment struct {
	id   int
	wall time.Time // in UTC
}

// momentDays are in summer and in winter, at the ends of months, and on both sides of
// the changes of the clock in New York (March 8, November 1) and Berlin (March 29,
// October 25).
var momentDays = []string{
	"2026-01-15", "2026-03-01", "2026-03-07", "2026-03-08", "2026-03-09", "2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31",
	"2026-04-01", "2026-04-02", "2026-04-03", "2026-07-04", "2026-10-24", "2026-10-25", "2026-10-26", "2026-10-31", "2026-11-01",
	"2026-11-02", "2026-12-31", "2027-01-01",
}

func moments() (all []moment) {
	for _, day := range momentDays {
		for _, clock := range []string{"00:00:00", "00:30:00", "01:30:00", "02:30:00", "03:30:00", "09:00:00", "19:15:00.000001", "23:59:59.999"} {
			wall, err := time.Parse(time.DateTime, day+" "+clock)
			if err != nil {
				panic(err) // a literal of this test
			}
			all = append(all, moment{len(all), wall})
		}
	}
	return all
}

var tokyo = time.FixedZone("", 9*60*60)

// readAt returns the time that a clock in a zone shows for a column of the row.
func (m moment) readAt(column string, in *time.Location) time.Time {
	year, month, day := m.wall.Date()
	hour, minute, second := m.wall.Clock()
	switch column {
	case "N":
		return time.Date(year, month, day, hour, minute, second, m.wall.Nanosecond(), in)
	case "D":
		return time.Date(year, month, day, 0, 0, 0, 0, in)
	case "L":
		return m.wall.In(in)
	default: // Z
		return time.Date(year, month, day, hour, minute, second, m.wall.Nanosecond(), tokyo).In(in)
	}
}

// begin returns the beginning of the day, week or month of a time in its zone.
func begin(unit string, t time.Time) time.Time {
	year, month, day := t.Date()
	switch unit {
	case "week":
		day -= (int(t.Weekday()) + 6) % 7
	case "month":
		day = 1
	}
	return time.Date(year, month, day, 0, 0, 0, 0, t.Location())
}

// instants returns the instants at which clocks in a zone show a wall clock: two where
// they are set back, and where they are set forward what either offset makes of it.
func instants(wall time.Time, in *time.Location) (all []string) {
	var shown, made []string
	for _, near := range []time.Time{wall.Add(-48 * time.Hour), wall.Add(48 * time.Hour)} {
		_, offset := near.In(in).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(in)
		text := withOffset(at)
		made = append(made, text)
		if at.Format(time.DateTime) == wall.Format(time.DateTime) {
			shown = append(shown, text)
		}
	}
	if len(shown) > 0 {
		return shown
	}
	return made
}

func withOffset(t time.Time) string { return t.Format("2006-01-02T15:04:05.999999999Z07:00") }

// ltz is a local-zone literal as Sigma writes it.
func ltz(t time.Time) string {
	return t.Format("to_timestamp_ltz('2006-01-02T15:04:05.000000000-07:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')")
}

// dayRange is Sigma's filter of an expression on the days of a range in a zone.
func dayRange(expression string, from, to time.Time, literal func(time.Time) string) string {
	end := time.Date(to.Year(), to.Month(), to.Day(), 23, 59, 59, 999_000_000, to.Location())
	return fmt.Sprintf("%s >= %s and %s <= %s", expression, literal(from), expression, literal(end))
}

// plainFilters compare a column itself, in the form for its type.
var plainFilters = map[string]struct {
	expression string
	literal    func(time.Time) string
}{
	"N": {"N", func(t time.Time) string {
		return t.Format("to_timestamp_ntz('2006-01-02 15:04:05.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9')")
	}},
	"D": {"D", func(t time.Time) string { return t.Format("to_date('2006-01-02', 'YYYY-MM-DD')") }},
	"L": {"L", ltz},
	"Z": {"Z::timestamp_ltz", ltz},
}

// fillMoments makes the table MOMENTS in both warehouses.
func (w *world) fillMoments() {
	w.t.Helper()
	var snowflake, duckdb []string
	for _, m := range moments() {
		text := m.wall.Format("2006-01-02 15:04:05.999999")
		snowflake = append(snowflake, fmt.Sprintf("(%d, '%s', '%s+00:00', '%s+09:00'::TIMESTAMP_TZ, '%s')", m.id, text, text, text, text[:10]))
		duckdb = append(duckdb, fmt.Sprintf("(%d, '%s', '%s+00:00', '%s+09:00', '%s')", m.id, text, text, text, text[:10]))
	}
	w.fill(`CREATE TABLE SHOP.SALES.MOMENTS (ID INT, N TIMESTAMP_NTZ, L TIMESTAMP_LTZ, Z TIMESTAMP_TZ, D DATE);
		INSERT INTO SHOP.SALES.MOMENTS VALUES `+strings.Join(snowflake, ", "), `
		CREATE MACRO to_timestamp_ltz(a, f) AS CAST(a AS TIMESTAMPTZ); CREATE MACRO to_timestamp_ntz(a, f) AS CAST(a AS TIMESTAMP); CREATE MACRO to_date(a, f) AS CAST(a AS DATE);
		CREATE TABLE SALES.MOMENTS (ID INT, N TIMESTAMP, L TIMESTAMPTZ, Z TIMESTAMPTZ, D DATE);
		INSERT INTO SALES.MOMENTS VALUES `+strings.Join(duckdb, ", "))
}

// warehouses are the connections of an organization in a time zone, by warehouse.
func (w *world) warehouses(timeZone string) map[string]string {
	w.t.Helper()
	id := cmp.Or(strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(timeZone)), "unset")
	names := map[string]string{"Snowflake": workspace + "/connections/" + id + "-snowflake", "DuckDB": workspace + "/connections/" + id + "-duckdb"}
	for warehouse, connection := range map[string]*pb.Connection{"Snowflake": w.snowflakeConnection(), "DuckDB": w.duckdbConnection()} {
		connection.Sigma.TimeZone = timeZone
		w.create(names[warehouse], connection)
	}
	return names
}

// everyFormat reads a model and returns its rows by format: ROWS, ARROW, CSV and JSON.
// Instants are written in the zone of their column, as the format has it.
func (w *world) everyFormat(model string) (schema *pb.Schema, rows map[string][][]string) {
	w.t.Helper()
	rows = map[string][][]string{}
	typed, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 1000})
	w.must(err)
	columns := typed.schema.GetColumns()
	zones, err := rowtext.ZonesOf(columns)
	w.must(err)
	var asCSV, asJSON bytes.Buffer
	sinks := []rowtext.Sink{rowtext.NewCSV(&asCSV, null), rowtext.NewJSON(&asJSON)}
	for _, sink := range sinks {
		w.must(sink.Columns(columns))
	}
	for _, batch := range typed.batches {
		for _, row := range batch.GetRows().GetRows() {
			cells := make([]string, len(columns))
			for i, value := range row.GetValues() {
				if cells[i] = cellOf(value); value.GetTimestampValue() != nil {
					cells[i] = withOffset(value.GetTimestampValue().AsTime().In(zones[i]))
				}
			}
			rows["ROWS"] = append(rows["ROWS"], cells)
			for _, sink := range sinks {
				w.must(sink.Row(row.GetValues()))
			}
		}
	}
	lines, err := csv.NewReader(&asCSV).ReadAll()
	w.must(err)
	rows["CSV"] = lines[1:]
	for decoder := json.NewDecoder(&asJSON); decoder.More(); {
		var object map[string]json.RawMessage
		w.must(decoder.Decode(&object))
		cells := make([]string, len(columns))
		for i, column := range columns {
			cells[i] = strings.Trim(string(object[column.GetName()]), `"`)
		}
		rows["JSON"] = append(rows["JSON"], cells)
	}
	rows["ARROW"] = w.arrowRows(model)
	return typed.schema, rows
}

func (w *world) arrowRows(model string) (rows [][]string) {
	w.t.Helper()
	r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 1000, Format: pb.DataFormat_DATA_FORMAT_ARROW})
	stream := bytes.NewBuffer(r.schema.GetArrowIpc())
	for _, batch := range r.batches {
		stream.Write(batch.GetArrow().GetIpc())
	}
	reader, err := ipc.NewReader(stream)
	w.must(err)
	defer reader.Release()
	for reader.Next() {
		batch := reader.RecordBatch()
		for i := range int(batch.NumRows()) {
			cells := make([]string, batch.NumCols())
			for j, column := range batch.Columns() {
				cells[j] = arrowCell(w.t, batch.Schema().Field(j), column, i)
				if typ, ok := column.DataType().(*arrow.TimestampType); ok && typ.TimeZone != "" && column.IsValid(i) {
					in, err := time.LoadLocation(typ.TimeZone)
					w.must(err)
					cells[j] = withOffset(column.(*array.Timestamp).Value(i).ToTime(typ.Unit).In(in))
				}
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

// momentQuery is a query about MOMENTS in Sigma's form, and its rows as the time
// package has them.
type momentQuery struct {
	name, sql string
	want      [][]string
}

// momentQueries are the queries of an organization in a zone: the filters on days, the
// groups and the relative dates, for each kind of column.
func momentQueries(in *time.Location) (all []momentQuery) {
	day := func(text string) time.Time {
		t, err := time.ParseInLocation(time.DateOnly, text, in)
		if err != nil {
			panic(err) // a literal of this test
		}
		return t
	}
	filterDays := []string{"2026-01-15", "2026-03-08", "2026-03-29", "2026-04-01", "2026-07-04", "2026-10-25", "2026-11-01"}
	const head = `select ID "Id" from (select ID from (select * from SHOP.SALES.MOMENTS MOMENTS) Q1 where %s) Q2 order by ID asc limit 1000`
	ids := func(column string, isIn func(time.Time) bool) (rows [][]string) {
		for _, m := range moments() {
			if isIn(m.readAt(column, in)) {
				rows = append(rows, []string{fmt.Sprint(m.id)})
			}
		}
		return rows
	}
	for _, column := range []string{"N", "Z", "L", "D"} {
		truncated := "date_trunc(day, " + column + "::timestamp_ltz)"
		var plain, byDay []string
		for _, text := range filterDays {
			plain = append(plain, dayRange(plainFilters[column].expression, day(text), day(text), plainFilters[column].literal))
			byDay = append(byDay, dayRange(truncated, day(text), day(text), ltz))
		}
		want := ids(column, func(t time.Time) bool { return slices.Contains(filterDays, t.Format(time.DateOnly)) })
		all = append(all, momentQuery{column + " filtered on days", fmt.Sprintf(head, "("+strings.Join(plain, ") or (")+")"), want},
			momentQuery{column + " truncated, filtered on days", fmt.Sprintf(head, "("+strings.Join(byDay, ") or (")+")"), want})
		// The 30 days up to April 2, as Sigma writes "last 30 days" on that day.
		from, to := day("2026-03-04"), day("2026-04-02")
		all = append(all, momentQuery{column + " in the last 30 days", fmt.Sprintf(head, dayRange(truncated, from, to, ltz)),
			ids(column, func(t time.Time) bool { return !t.Before(from) && t.Before(to.AddDate(0, 0, 1)) })})
		for _, unit := range []string{"day", "week", "month"} {
			counts := map[int64]int{}
			for _, m := range moments() {
				counts[begin(unit, m.readAt(column, in)).Unix()]++
			}
			var begins []int64
			for at := range counts {
				begins = append(begins, at)
			}
			slices.Sort(begins)
			var rows [][]string
			for _, at := range begins {
				rows = append(rows, []string{withOffset(time.Unix(at, 0).In(in)), fmt.Sprint(counts[at])})
			}
			all = append(all, momentQuery{column + " by " + unit, fmt.Sprintf(`select DATETRUNC_3 "The %s", COUNT_4 "Rows" from (select date_trunc(%s, %s::timestamp_ltz) DATETRUNC_3, count(1) COUNT_4 `+
				`from SHOP.SALES.MOMENTS MOMENTS group by DATETRUNC_3) Q1 order by DATETRUNC_3 asc limit 1000`, unit, unit, column), rows})
		}
	}
	return all
}

// ofDuckDB writes date parts as text, as DuckDB wants them.
var ofDuckDB = strings.NewReplacer("date_trunc(day,", "date_trunc('day',", "date_trunc(week,", "date_trunc('week',", "date_trunc(month,", "date_trunc('month',")

// Organizations in four zones get the rows that Go's time package computes, through
// both warehouses and in each format.
func TestRowsInTheTimeZoneOfTheOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillMoments()
	for _, name := range zoneNames[:max(1, fewerIfRaced(len(zoneNames)))] {
		in, err := time.LoadLocation(name)
		w.must(err)
		for warehouse, connection := range w.warehouses(name) {
			check := func(query momentQuery) {
				sql := query.sql
				if warehouse == "DuckDB" {
					sql = ofDuckDB.Replace(sql)
				}
				schema, rows := w.everyFormat(w.model(connection, sql))
				for _, format := range []string{"ROWS", "ARROW", "CSV", "JSON"} {
					got := rows[format]
					for i := range max(len(got), len(query.want)) {
						if i >= len(got) || i >= len(query.want) || !slices.Equal(got[i], query.want[i]) {
							t.Errorf("%s, %s, %s, %s: from row %d on there is\n%q instead of\n%q", name, warehouse, query.name, format, i+1, from(got, i), from(query.want, i))
							break
						}
					}
				}
				for _, column := range schema.GetColumns() {
					if want := zoneOf(column, name); column.GetTimeZone() != want {
						t.Errorf("%s, %s, %s: the column %q is in %q instead of %q", name, warehouse, query.name, column.GetName(), column.GetTimeZone(), want)
					}
				}
			}
			for _, query := range momentQueries(in) {
				check(query)
			}
			w.checkPlain(t, name, warehouse, connection, in)
		}
	}
}

// zoneOf is the zone that a column must name.
func zoneOf(column *pb.SchemaColumn, name string) string {
	if column.GetType() != pb.ColumnType_COLUMN_TYPE_TIMESTAMP || name == "UTC" || strings.HasPrefix(column.GetWarehouseType(), "TIMESTAMP_TZ") {
		return ""
	}
	return name
}

// checkPlain reads each kind of column as it is, and cast to a local-zone timestamp.
func (w *world) checkPlain(t *testing.T, name, warehouse, connection string, in *time.Location) {
	t.Helper()
	schema, rows := w.everyFormat(w.model(connection, `select ID "Id", N "N", CAST_2 "N Local", Z "Z", L "L", D "D", CAST_6 "D Local" from (select ID, N, N::timestamp_ltz CAST_2, Z, L, D, D::timestamp_ltz CAST_6 `+
		`from (select * from SHOP.SALES.MOMENTS MOMENTS) Q1) Q2 order by ID asc limit 1000`))
	for _, column := range schema.GetColumns() {
		if want := zoneOf(column, name); column.GetTimeZone() != want {
			t.Errorf("%s, %s: the column %q is in %q instead of %q", name, warehouse, column.GetName(), column.GetTimeZone(), want)
		}
	}
	all := moments()
	for format, got := range rows {
		if len(got) != len(all) {
			t.Fatalf("%s, %s, %s: %d rows of %d", name, warehouse, format, len(got), len(all))
		}
		for i, m := range all {
			zoned := m.readAt("Z", time.UTC)
			if warehouse == "DuckDB" { // whose only type with a zone is the session's
				zoned = zoned.In(in)
			}
			want := []string{fmt.Sprint(m.id), m.wall.Format("2006-01-02T15:04:05.999999999"), got[i][2], withOffset(zoned), withOffset(m.wall.In(in)),
				m.wall.Format(time.DateOnly), withOffset(m.readAt("D", in))}
			if !slices.Equal(got[i], want) || !slices.Contains(instants(m.wall, in), got[i][2]) {
				t.Errorf("%s, %s, %s: row %d is\n%q instead of\n%q, with one of %q", name, warehouse, format, i, got[i], want, instants(m.wall, in))
			}
		}
	}
}

// trapOne is the text of an element of an organization in New York: orders by day, on
// two days.
const trapOne = `select DATETRUNC_3 "Day", COUNT_4 "Orders" from (select date_trunc(day, N::timestamp_ltz) DATETRUNC_3, count(1) COUNT_4 from SHOP.SALES.ORDERS ` +
	`where date_trunc(day, N::timestamp_ltz) >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') ` +
	`and date_trunc(day, N::timestamp_ltz) <= to_timestamp_ltz('2026-04-02T23:59:59.999000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') group by DATETRUNC_3) Q1 order by DATETRUNC_3 limit 1000`

func (w *world) fillOrders() {
	w.t.Helper()
	const values = `INSERT INTO %sSALES.ORDERS VALUES ('2026-04-01 09:00:00', '2026-03-01'), ('2026-04-02 09:00:00', '2026-03-01'), ('2026-04-03 09:00:00', '2026-03-01')`
	w.fill(`CREATE TABLE SHOP.SALES.ORDERS (N TIMESTAMP_NTZ, D DATE);`+fmt.Sprintf(values, "SHOP."),
		`CREATE MACRO to_timestamp_ltz(a, f) AS CAST(a AS TIMESTAMPTZ); CREATE MACRO to_timestamp_ntz(a, f) AS CAST(a AS TIMESTAMP);
		CREATE TABLE SALES.ORDERS (N TIMESTAMP, D DATE);`+fmt.Sprintf(values, ""))
}

// Trap 1: the day filter of New York finds April 1 and 2 in New York's zone, and not in
// another.
func TestDaysOfNewYork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillOrders()
	for zone, want := range map[string][]string{
		"America/New_York": {"2026-04-01T00:00:00-04:00 1", "2026-04-02T00:00:00-04:00 1"},
		"UTC":              {"2026-04-02T00:00:00Z 1", "2026-04-03T00:00:00Z 1"}, // the wrong rows of a wrong setting
	} {
		for warehouse, connection := range w.warehouses(zone) {
			connected, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: connection})
			w.must(err)
			connected.Connection.AllowTimeZoneMismatch = true
			_, err = w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: connected.GetConnection(), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"allow_time_zone_mismatch"}}})
			w.must(err)
			sql := trapOne
			if warehouse == "DuckDB" {
				sql = ofDuckDB.Replace(sql)
			}
			_, rows := w.everyFormat(w.model(connection, sql))
			for format, got := range rows {
				if joined := joinRows(got); !slices.Equal(joined, want) {
					t.Errorf("%s, %s, %s: %q instead of %q", zone, warehouse, format, joined, want)
				}
			}
		}
	}
}

func joinRows(rows [][]string) (joined []string) {
	for _, row := range rows {
		joined = append(joined, strings.Join(row, " "))
	}
	return joined
}

// Trap 1: a DATE that is cast to an instant is never of February in Berlin. The cast alone is delivered as the date, and what
// is computed of it as midnight in Berlin. In UTC both stay instants, since callers know these types.
func TestDatesInBerlinAreNotOfFebruary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillOrders()
	const sql = `select D::timestamp_ltz "Due", date_trunc(month, D::timestamp_ltz) "Month" from SHOP.SALES.ORDERS ORDERS limit 1000`
	for zone, want := range map[string][]string{
		"Europe/Berlin": {"2026-03-01", "2026-03-01T00:00:00+01:00"},
		"":              {"2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		"UTC":           {"2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"},
	} {
		for warehouse, connection := range w.warehouses(zone) {
			text := sql
			if warehouse == "DuckDB" {
				text = strings.ReplaceAll(ofDuckDB.Replace(sql), "timestamp_ltz", "timestamptz")
			}
			model := w.model(connection, text)
			_, rows := w.everyFormat(model)
			for format, got := range rows {
				for _, row := range got {
					if !slices.Equal(row, want) {
						t.Errorf("%q, %s, %s: %q instead of %q", zone, warehouse, format, row, want)
					}
				}
				if len(got) != 3 {
					t.Errorf("%q, %s, %s: %d rows", zone, warehouse, format, len(got))
				}
			}
			// A reader in Go takes the date from a time in the same zone.
			created, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model})
			w.must(err)
			reader, err := client.ReadRows(w.ctx, w.conn, created.GetSession().GetStreams()[0].GetName(), client.Options{})
			w.must(err)
			for reader.Next() {
				if at := reader.Values()[1].AsTime(); at.Format(time.RFC3339) != want[1] || at.Month() != time.March {
					t.Errorf("%q, %s: a session gives %s", zone, warehouse, at)
				}
			}
			w.must(reader.Err())
			reader.Close()
		}
	}
}

// A table that must not be described as a whole fails no read of columns that the text names: a projection policy is one
// such case. The type of the column is then not known, and it stays an instant.
func TestATableThatIsNotDescribedFailsNoRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillOrders()
	connection := w.warehouses("Europe/Berlin")["Snowflake"]
	w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
		if strings.HasPrefix(q.SQL, "select * from") {
			return &snowflaketest.Error{Code: "002060", State: "42601", Message: "SQL compilation error: the following columns are restricted by a projection policy"}
		}
		return nil
	}})
	model := w.model(connection, `select D::timestamp_ltz "Due" from SHOP.SALES.ORDERS ORDERS limit 1000`)
	_, rows := w.everyFormat(model)
	for format, got := range rows {
		if len(got) != 3 || got[0][0] != "2026-03-01T00:00:00+01:00" {
			t.Errorf("%s: %q", format, got)
		}
	}
}

// An alias that calls a timestamp a date decides nothing, where the warehouse describes the column.
func TestAnAliasMakesNoDate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillOrders()
	model := w.model(w.warehouses("Europe/Berlin")["Snowflake"],
		`select CAST_DATE_TO_DATETIME_1 "At" from (select N::timestamp_ltz CAST_DATE_TO_DATETIME_1 from SHOP.SALES.ORDERS ORDERS order by N limit 1000) Q1 limit 1000`)
	_, rows := w.everyFormat(model)
	for format, got := range rows {
		if joined := joinRows(got); !slices.Equal(joined, []string{"2026-04-01T09:00:00+02:00", "2026-04-02T09:00:00+02:00", "2026-04-03T09:00:00+02:00"}) {
			t.Errorf("%s: %q", format, joined)
		}
	}
}

// Trap 1: a filter on what has no zone returns the same rows in each zone.
func TestFiltersWithoutAZoneAreTheSameInEachZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fillOrders()
	for _, zone := range zoneNames {
		for warehouse, connection := range w.warehouses(zone) {
			_, rows := w.everyFormat(w.model(connection, `select N "Ordered At" from SHOP.SALES.ORDERS ORDERS where N >= to_timestamp_ntz('2026-04-01 00:00:00.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9') `+
				`and N <= to_timestamp_ntz('2026-04-02 23:59:59.999000000', 'YYYY-MM-DD HH24:MI:SS.FF9') order by N limit 1000`))
			for format, got := range rows {
				if joined := joinRows(got); !slices.Equal(joined, []string{"2026-04-01T09:00:00", "2026-04-02T09:00:00"}) {
					t.Errorf("%s, %s, %s: %q", zone, warehouse, format, joined)
				}
			}
		}
	}
}

// Trap 6: weeks begin as the account has it, unless the connection has a day.
func TestWeeksOfTheSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		account       map[string]string
		start, policy *int32
		want          string
	}{
		{nil, nil, nil, "2026-02-23 53 0"},
		{map[string]string{"WEEK_START": "7", "WEEK_OF_YEAR_POLICY": "1"}, nil, nil, "2026-03-01 1 1"},
		{map[string]string{"WEEK_START": "7", "WEEK_OF_YEAR_POLICY": "1"}, new(int32(0)), new(int32(0)), "2026-02-23 53 0"},
		{nil, new(int32(7)), new(int32(1)), "2026-03-01 1 1"},
	} {
		w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{Parameters: test.account})
		connection := w.snowflakeConnection()
		connection.Warehouse.GetSnowflake().WeekStart, connection.Warehouse.GetSnowflake().WeekOfYearPolicy = test.start, test.policy
		w.create(snowflakeName, connection)
		_, rows := w.everyFormat(w.model(snowflakeName, `select date_trunc(week, '2026-03-01'::date) "Week", date_part(week, '2027-01-01'::date) "Number", datediff(week, '2026-02-28'::date, '2026-03-01'::date) "Weeks"`))
		for format, got := range rows {
			if joined := joinRows(got); !slices.Equal(joined, []string{test.want}) {
				t.Errorf("%v, %s: %q instead of %s", test.account, format, joined, test.want)
			}
		}
	}
}

// Trap 3: the role of the connection decides about the rows, and the secondary roles
// with it.
func TestRolesDecideAboutRows(t *testing.T) {
	t.Parallel()
	for roles, want := range map[pb.SnowflakeSecondaryRoles]int{
		pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_UNSPECIFIED: 2,
		pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_NONE:        2,
		pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_ALL:         5,
	} {
		w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{
			Roles: []snowflaketest.Role{{Name: "SYNC", Select: []string{"SHOP.SALES.*"}}, {Name: "BI", Select: []string{"SHOP.SALES.*"}}},
			Users: []snowflaketest.User{{Name: snowflakeUser, Password: password, Roles: []string{"SYNC", "BI"}, Warehouse: snowflakeComputer,
				Parameters: map[string]string{"TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ", "LOG_LEVEL": "INFO"}}},
			Policies: []snowflaketest.Policy{{Name: "SHOP.PRIVATE.REGIONS", Table: "SHOP.SALES.DEALS", Rows: "is_role_in_session('BI') or ID <= 2"}},
		})
		w.fill(`CREATE TABLE SHOP.SALES.DEALS (ID INT); INSERT INTO SHOP.SALES.DEALS VALUES (1), (2), (3), (4), (5)`, "")
		connection := w.snowflakeConnection()
		connection.Warehouse.GetSnowflake().Role, connection.Warehouse.GetSnowflake().SecondaryRoles = "SYNC", roles
		w.create(snowflakeName, connection)
		_, rows := w.everyFormat(w.model(snowflakeName, `select ID "Id" from SHOP.SALES.DEALS DEALS limit 1000`))
		for format, got := range rows {
			if len(got) != want {
				t.Errorf("%s, %s: %d rows instead of %d", roles, format, len(got), want)
			}
		}
		response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
		w.must(err)
		check := checkOf(response, pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION)
		facts := map[string]string{"role": "SYNC", "secondary_roles": map[int]string{2: "NONE", 5: "ALL"}[want], "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ"}
		if check.GetOutcome() != pb.CheckOutcome_CHECK_OUTCOME_WARN || !maps.Equal(check.GetFacts(), facts) || !strings.Contains(check.GetMessage(), "TIMESTAMP_TYPE_MAPPING") {
			t.Errorf("%s: the check is %v", roles, check)
		}
	}
}

// A zone that does not exist is refused by its field, at a creation and at an update.
func TestUnknownTimeZonesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.create(snowflakeName, w.snowflakeConnection())
	for _, name := range []string{"Mars/Olympus", "Local", "+01:00", "../UTC", "europe/berlin "} {
		for _, connection := range []*pb.Connection{w.snowflakeConnection(), w.duckdbConnection()} {
			connection.Sigma.TimeZone = name
			_, err := w.connections.CreateConnection(w.ctx, &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: "other", Connection: connection, SkipCheck: true})
			wantField(t, err, "connection.sigma.time_zone")
		}
		_, err := w.update(&pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: name}}, "sigma.time_zone")
		wantField(t, err, "connection.sigma.time_zone")
	}
}

// The zone can be set, kept by an update of the credentials, and cleared.
func TestTheTimeZoneIsUpdated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.create(snowflakeName, w.snowflakeConnection())
	model := w.model(snowflakeName, `select '2026-03-01'::date::timestamp_ltz "Due", 1 "One"`)
	read := func() (string, string) {
		r := w.mustPreview(&pb.PreviewModelRequest{Name: model})
		return r.table(t)[0][0], r.schema.GetFingerprint()
	}
	before, unset := read()
	step := func(wantValue string, change *pb.Connection, paths ...string) string {
		t.Helper()
		_, err := w.update(change, paths...)
		w.must(err)
		value, fingerprint := read()
		if value != wantValue {
			t.Errorf("%v: %s instead of %s", paths, value, wantValue)
		}
		return fingerprint
	}
	zone := func(name string) *pb.Connection {
		return &pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: name}}
	}
	if before != "2026-03-01T00:00:00Z" {
		t.Errorf("without a zone the value is %s", before)
	}
	berlin := step("2026-02-28T23:00:00Z", zone("Europe/Berlin"), "sigma.time_zone")
	if again := step("2026-02-28T23:00:00Z", &pb.Connection{Sigma: w.sigmaCredentials()}); again != berlin {
		t.Error("new credentials change the columns")
	}
	kolkata := step("2026-02-28T18:30:00Z", zone("Asia/Kolkata"))
	utc := step("2026-03-01T00:00:00Z", zone("UTC"), "sigma.time_zone")
	cleared := step("2026-03-01T00:00:00Z", zone(""), "sigma.time_zone")
	if unset != utc || unset != cleared {
		t.Errorf("the columns of UTC have the fingerprints %s and %s, and those without a zone %s", utc, cleared, unset)
	}
	if berlin == unset || kolkata == unset || berlin == kolkata {
		t.Errorf("the columns of several zones have the fingerprints %s, %s and %s", unset, berlin, kolkata)
	}
	_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, ExpectedFingerprint: berlin})
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT)
}
