package server_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// null is how a test writes NULL.
const null = "NULL"

// table turns a whole reading of either format into text, so that formats and
// warehouses can be compared.
func (r *reading) table(t *testing.T) [][]string {
	t.Helper()
	rows := [][]string{}
	var stream bytes.Buffer
	stream.Write(r.schema.GetArrowIpc())
	for _, batch := range r.batches {
		for _, row := range batch.GetRows().GetRows() {
			cells := make([]string, len(row.GetValues()))
			for i, v := range row.GetValues() {
				cells[i] = cellOf(v)
			}
			rows = append(rows, cells)
		}
		stream.Write(batch.GetArrow().GetIpc())
	}
	if r.schema.GetArrowIpc() == nil {
		return rows
	}
	reader, err := ipc.NewReader(&stream)
	if err != nil {
		t.Fatalf("the schema is no Arrow stream: %v", err)
	}
	defer reader.Release()
	if n := len(reader.Schema().Fields()); n != len(r.schema.GetColumns()) {
		t.Errorf("%d columns in Arrow, %d in the schema", n, len(r.schema.GetColumns()))
	}
	for reader.Next() {
		batch := reader.RecordBatch()
		for i := range int(batch.NumRows()) {
			cells := make([]string, batch.NumCols())
			for j, column := range batch.Columns() {
				cells[j] = arrowCell(t, batch.Schema().Field(j), column, i)
			}
			rows = append(rows, cells)
		}
	}
	if err := reader.Err(); err != nil && err != io.EOF {
		t.Fatalf("the batches are no Arrow stream: %v", err)
	}
	return rows
}

func cellOf(v *pb.Value) string {
	switch k := v.GetKind().(type) {
	case *pb.Value_NullValue:
		return null
	case *pb.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *pb.Value_Int64Value:
		return strconv.FormatInt(k.Int64Value, 10)
	case *pb.Value_DoubleValue:
		return strconv.FormatFloat(k.DoubleValue, 'g', -1, 64)
	case *pb.Value_DecimalValue:
		return k.DecimalValue
	case *pb.Value_StringValue:
		return strconv.Quote(k.StringValue)
	case *pb.Value_BytesValue:
		return hex.EncodeToString(k.BytesValue)
	case *pb.Value_DateValue:
		return k.DateValue
	case *pb.Value_TimeValue:
		return k.TimeValue
	case *pb.Value_DatetimeValue:
		return k.DatetimeValue
	case *pb.Value_TimestampValue:
		return k.TimestampValue.AsTime().Format(time.RFC3339Nano)
	case *pb.Value_JsonValue:
		return k.JsonValue
	}
	return "no kind is set"
}

// arrowCell reads a value by Arrow's own means, in the form of cellOf.
func arrowCell(t *testing.T, field arrow.Field, column arrow.Array, row int) string {
	t.Helper()
	if column.IsNull(row) {
		return null
	}
	switch a := column.(type) {
	case *array.Boolean:
		return strconv.FormatBool(a.Value(row))
	case *array.Int64:
		return strconv.FormatInt(a.Value(row), 10)
	case *array.Float64:
		return strconv.FormatFloat(a.Value(row), 'g', -1, 64)
	case *array.Decimal128:
		return a.Value(row).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.String:
		if name, ok := field.Metadata.GetValue("ARROW:extension:name"); ok && name == "arrow.json" {
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(a.Value(row))); err != nil {
				t.Errorf("no JSON: %v", err)
			}
			return compact.String()
		}
		return strconv.Quote(a.Value(row))
	case array.ExtensionArray:
		return arrowCell(t, arrow.Field{Metadata: arrow.MetadataFrom(map[string]string{"ARROW:extension:name": "arrow.json"})}, a.Storage(), row)
	case *array.Binary:
		return hex.EncodeToString(a.Value(row))
	case *array.Date32:
		return a.Value(row).ToTime().Format(time.DateOnly)
	case *array.Time64:
		return a.Value(row).ToTime(a.DataType().(*arrow.Time64Type).Unit).Format("15:04:05.999999999")
	case *array.Timestamp:
		kind := a.DataType().(*arrow.TimestampType)
		value := a.Value(row).ToTime(kind.Unit).UTC()
		if kind.TimeZone == "" {
			return value.Format("2006-01-02T15:04:05.999999999")
		}
		return value.Format(time.RFC3339Nano)
	case *array.Null:
		return null
	}
	t.Errorf("Arrow has a column of type %s", column.DataType())
	return ""
}

// everyWay reads a model through both warehouses and in both formats, and
// makes sure that all four give the same.
func (w *world) everyWay(model string, limit int32) *reading {
	w.t.Helper()
	var first *reading
	var want [][]string
	for _, connection := range []string{snowflakeName, duckdbName} {
		for _, format := range []pb.DataFormat{pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW} {
			r := w.mustPreview(&pb.PreviewModelRequest{Name: strings.Replace(model, snowflakeName, connection, 1), RowLimit: limit, Format: format})
			got := r.table(w.t)
			if int64(len(got)) != r.stats.GetRowCount() {
				w.t.Fatalf("%s, %s: %d rows, and statistics of %d", connection, format, len(got), r.stats.GetRowCount())
			}
			if first == nil {
				first, want = r, got
				continue
			}
			if a, b := headerOf(first.schema), headerOf(r.schema); a != b {
				w.t.Errorf("%s, %s: the columns are %s instead of %s", connection, format, b, a)
			}
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || !slices.Equal(got[i], want[i]) {
					w.t.Errorf("%s, %s: from row %d on there is\n%q\ninstead of\n%q", connection, format, i+1, from(got, i), from(want, i))
					break
				}
			}
		}
	}
	return first
}

func from(rows [][]string, i int) [][]string { return rows[min(i, len(rows)):min(i+2, len(rows))] }

// headerOf is what warehouses have in common: names and types.
func headerOf(schema *pb.Schema) string {
	var parts []string
	for _, c := range schema.GetColumns() {
		parts = append(parts, fmt.Sprintf("%s %s %d", c.GetName(), c.GetType(), c.GetScale()))
	}
	return strings.Join(parts, ", ")
}

// shop is a world in which both warehouses hold the same orders.
func shop(t *testing.T, config snowflaketest.Config) *world {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{}, config)
	w.fill(`
		CREATE TABLE SHOP.SALES.ORDERS AS SELECT SEQ4() AS ORDER_ID, NULLIF(MOD(SEQ4(), 500), 0) AS CUSTOMER_ID, 'state ' || MOD(SEQ4(), 3) AS STATUS,
			(SEQ4() * 1.25)::NUMBER(38,2) AS AMOUNT, DATEADD(day, MOD(SEQ4(), 100), '1969-11-01'::TIMESTAMP_NTZ) AS ORDERED_AT FROM TABLE(GENERATOR(ROWCOUNT => 20000));
		CREATE TABLE SHOP.SALES.CUSTOMERS AS SELECT NULLIF(SEQ4(), 0) AS CUSTOMER_ID, 'Customer ' || SEQ4() AS FULL_NAME FROM TABLE(GENERATOR(ROWCOUNT => 500));
		CREATE TABLE SHOP.PRIVATE.NOTES (NOTE VARCHAR)`, `
		CREATE TABLE SALES.ORDERS AS SELECT i::BIGINT AS ORDER_ID, NULLIF(i % 500, 0)::BIGINT AS CUSTOMER_ID, 'state ' || (i % 3) AS STATUS,
			(i * 1.25)::DECIMAL(38,2) AS AMOUNT, TIMESTAMP '1969-11-01' + to_days((i % 100)::INTEGER) AS ORDERED_AT FROM range(20000) t(i);
		CREATE TABLE SALES.CUSTOMERS AS SELECT NULLIF(i, 0)::BIGINT AS CUSTOMER_ID, 'Customer ' || i AS FULL_NAME FROM range(500) t(i)`)
	w.create(snowflakeName, w.snowflakeConnection())
	w.create(duckdbName, w.duckdbConnection())
	return w
}

// plainOrders is a plain table the way Sigma writes it: its preview limit
// stands outside and inside.
const plainOrders = `select ORDER_ID "Order Id", STATUS "The Status" from (select ORDER_ID, STATUS from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1) Q2 order by ORDER_ID asc limit 1000`

func TestPreviewGivesTheRowsAskedFor(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 700, BatchRows: 300})
	model := w.model(snowflakeName, plainOrders)
	for limit, want := range map[int32]int64{0: 100, 1: 1, 10: 10, 1000: 1000, 1001: 1001, 5000: 5000, 20000: 20000, 100000: 20000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			r := w.everyWay(model, limit)
			if r.stats.GetRowCount() != want {
				t.Errorf("%d rows came", r.stats.GetRowCount())
			}
			rows := r.table(t)
			for i, row := range rows {
				if row[0] != fmt.Sprint(i) || row[1] != fmt.Sprintf(`"state %d"`, i%3) {
					t.Fatalf("row %d is %q", i, row)
				}
			}
		})
	}
}

func TestPreviewTellsHowItWent(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, strings.Replace(plainOrders, " order by ORDER_ID asc", "", 1))
	r := w.mustPreview(&pb.PreviewModelRequest{Name: model, RowLimit: 5000})
	var states []pb.ReadState
	for _, p := range r.progress {
		states = append(states, p.GetState())
	}
	if states[0] != pb.ReadState_READ_STATE_PREPARING || states[len(states)-1] != pb.ReadState_READ_STATE_FETCHING || r.progress[len(states)-1].GetQueryId() == "" {
		t.Errorf("the progress is %v", r.progress)
	}
	s := r.stats
	if s.GetProof() != pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT || s.GetDeclaredRowCount() != 5000 || s.GetQueryId() != r.progress[len(states)-1].GetQueryId() {
		t.Errorf("the statistics are %v", s)
	}
	if s.GetTotalTime().AsDuration() < s.GetSigmaTime().AsDuration()+s.GetWarehouseTime().AsDuration() || s.GetSigmaTime().AsDuration() <= 0 {
		t.Errorf("the times are %v", s)
	}
	var sent int64
	for _, size := range r.sizes[slices.IndexFunc(r.sizes, func(n int) bool { return n > 1000 }):] {
		sent += int64(size)
	}
	if s.GetByteCount() < 5000*10 || s.GetByteCount() > sent {
		t.Errorf("%d bytes are told, %d came", s.GetByteCount(), sent)
	}
	var codes []pb.FindingCode
	for _, f := range s.GetFindings() {
		codes = append(codes, f.GetCode())
	}
	if !slices.Equal(codes, []pb.FindingCode{
		pb.FindingCode_FINDING_CODE_PREVIEW_LIMIT_LIFTED,
	}) {
		t.Errorf("the findings are %v", s.GetFindings())
	}
	for _, q := range w.snowflake.Queries() {
		if q.ID == s.GetQueryId() && q.Tag != "sigmasource "+model {
			t.Errorf("the query has the tag %q", q.Tag)
		}
	}
	local := w.mustPreview(&pb.PreviewModelRequest{Name: strings.Replace(model, snowflakeName, duckdbName, 1)}).stats
	if local.GetProof() != pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR || local.DeclaredRowCount != nil {
		t.Errorf("DuckDB's statistics are %v", local)
	}
}

func TestPreviewRunsSigmasSQL(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	for _, test := range []struct {
		name, sql string
		limit     int32
		rows      int64
		header    string
		first     string // the first row
	}{
		{"joins through equal_null, with and limits at two depths", `with Q1 as (select ORDER_ID, CUSTOMER_ID, AMOUNT, ORDERED_AT::timestamp_ltz CAST_TIMESTAMP_TO_DATETIME_7 from SHOP.SALES.ORDERS ORDERS), ` +
			`Q3 as (select CUSTOMER_ID, FULL_NAME from SHOP.SALES.CUSTOMERS CUSTOMERS) ` +
			`select ORDER_ID "Order Id", AMOUNT "Amount", FULL_NAME "Full Name", CAST_TIMESTAMP_TO_DATETIME_7 "Ordered At" ` +
			`from (select Q2.ORDER_ID, Q2.AMOUNT, Q4.FULL_NAME, Q2.CAST_TIMESTAMP_TO_DATETIME_7 from Q1 Q2 inner join Q3 Q4 on equal_null(Q2.CUSTOMER_ID, Q4.CUSTOMER_ID) limit 1000) Q5 order by ORDER_ID limit 1000`,
			5000, 5000, "Order Id COLUMN_TYPE_INTEGER 0, Amount COLUMN_TYPE_DECIMAL 2, Full Name COLUMN_TYPE_STRING 0, Ordered At COLUMN_TYPE_TIMESTAMP 0",
			`["0" "0.00" "\"Customer 0\"" "1969-11-01T00:00:00Z"]`},
		{"limits of the author stay", `select ORDER_ID "Order Id" from (select ORDER_ID from SHOP.SALES.ORDERS ORDERS order by ORDER_ID desc limit 25) Q1 order by ORDER_ID limit 1000`,
			5000, 25, "Order Id COLUMN_TYPE_INTEGER 0", `["19975"]`},
		{"names that need quotes", `select 1 "a ""quoted"" name", 2 "Zürich, 東京", 3 "SELECT", 4 " ", 5 "; drop table X --"`,
			10, 1, `a "quoted" name COLUMN_TYPE_INTEGER 0, Zürich, 東京 COLUMN_TYPE_INTEGER 0, SELECT COLUMN_TYPE_INTEGER 0,   COLUMN_TYPE_INTEGER 0, ; drop table X -- COLUMN_TYPE_INTEGER 0`,
			`["1" "2" "3" "4" "5"]`},
		{"strings that look like SQL", `select 'limit 10; -- not a comment' "Text", '/* nor this' "Other" from SHOP.SALES.CUSTOMERS C limit 1000`,
			10000, 500, "Text COLUMN_TYPE_STRING 0, Other COLUMN_TYPE_STRING 0", `["\"limit 10; -- not a comment\"" "\"/* nor this\""]`},
		{"an aggregate", `select STATUS "Status", count(1) "Orders" from (select * from SHOP.SALES.ORDERS ORDERS) Q1 group by STATUS order by STATUS limit 1000`,
			1000, 3, "Status COLUMN_TYPE_STRING 0, Orders COLUMN_TYPE_INTEGER 0", `["\"state 0\"" "6667"]`},
		{"no rows", `select ORDER_ID "Order Id", AMOUNT "Amount" from SHOP.SALES.ORDERS ORDERS where ORDER_ID < 0 limit 1000`,
			1000, 0, "Order Id COLUMN_TYPE_INTEGER 0, Amount COLUMN_TYPE_DECIMAL 2", ""},
		{"columns of one name", `select 1 "A", 2 "A"`, 10, 1, "A COLUMN_TYPE_INTEGER 0, A COLUMN_TYPE_INTEGER 0", `["1" "2"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := w.everyWay(w.model(snowflakeName, test.sql), test.limit)
			rows := r.table(t)
			if r.stats.GetRowCount() != test.rows || headerOf(r.schema) != test.header {
				t.Errorf("%d rows of %s", r.stats.GetRowCount(), headerOf(r.schema))
			}
			if len(rows) > 0 && fmt.Sprintf("%q", rows[0]) != test.first {
				t.Errorf("the first row is %q", rows[0])
			}
		})
	}
}

func TestPreviewNeedsNoScan(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, `select 1 "One"`)
	if models := w.models(snowflakeName); len(models) != 0 {
		t.Fatalf("the catalog has %d models", len(models))
	}
	w.everyWay(model, 1)
	// What Sigma says now counts, and not what a scan saw.
	w.mustScan(snowflakeName)
	w.sigma.ChangeWorkbook(scratch, func(b *sigmatest.Workbook) { b.Pages[0].Elements[0].SQL = `select 2 "Two"` })
	if got := w.everyWay(model, 1).table(t); fmt.Sprint(got) != "[[2]]" {
		t.Errorf("the rows are %q", got)
	}
}
