package server_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflake/wiretest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// wantLeftOut reads the column "Id" of a model, whose rows are 1, 2 and 3, in
// every way there is, and then the other column, which is refused in every way.
func (w *world) wantLeftOut(t *testing.T, model string, isType bool) {
	t.Helper()
	want := [][]string{{"1"}, {"2"}, {"3"}}
	others := []string{"The Value", "Id"}
	checked := w.check(&pb.CheckModelRequest{Name: model, Columns: []string{"Id"}, KeyColumns: []string{"Id"}})
	if !checked.GetReadable() || len(checked.GetSchema().GetColumns()) != 1 || checked.GetKey().GetDistinctCount() != 3 {
		t.Errorf("the check says %v", checked)
	}
	if checked := w.check(&pb.CheckModelRequest{Name: model, Columns: others}); isType && checked.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED {
		t.Errorf("the check of the other column says %v", checked)
	}
	for _, format := range formats {
		r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}, Format: format, IncludeTotalRowCount: true})
		if err != nil {
			t.Errorf("%s, preview: %v", format, err)
			continue
		}
		if rows := r.table(t); !slices.EqualFunc(rows, want, slices.Equal) || len(r.schema.GetColumns()) != 1 || r.schema.GetFingerprint() != checked.GetSchema().GetFingerprint() {
			t.Errorf("%s, preview: %q", format, rows)
		}
		session, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, Columns: []string{"Id"}, Format: format})
		if err != nil {
			t.Errorf("%s, session: %v", format, err)
			continue
		}
		if rows := w.readSession(session.GetSession()); !slices.EqualFunc(rows, want, slices.Equal) {
			t.Errorf("%s, session: %q", format, rows)
		}
		for _, columns := range [][]string{others, nil} {
			_, err = w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Columns: columns, Format: format})
			if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED); facts["column"] != "The Value" {
				t.Errorf("%s: the facts are %v", format, facts)
			}
		}
	}
}

// The choice of columns is the way round a column that cannot be delivered. The
// text of Sigma's SQL, whose select list decides about the rows, stays as it is.
func TestAColumnThatIsLeftOutFailsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`CREATE TABLE SHOP.SALES.VECTORS (ID INT, V VECTOR(FLOAT, 3)); INSERT INTO SHOP.SALES.VECTORS SELECT SEQ4() + 1, ARRAY_CONSTRUCT(1, 2, 3)::VECTOR(FLOAT, 3) FROM TABLE(GENERATOR(ROWCOUNT => 3))`,
		`CREATE TABLE SALES.BITS AS SELECT i AS ID, '101'::BIT AS B FROM range(1, 4) t(i)`)
	w.create(duckdbName, w.duckdbConnection())
	w.create(snowflakeName, w.snowflakeConnection())
	for _, test := range []struct {
		connection, sql string
		isType          bool
	}{
		{duckdbName, `select i "Id", '101'::BIT "The Value" from range(1, 4) t(i) order by 1`, true},
		{duckdbName, `select TIMETZ '12:00:00+02' "The Value", i "Id" from range(1, 4) t(i) order by i`, true},
		{duckdbName, `select i "Id", union_value(a := i) "The Value" from range(1, 4) t(i) order by 1`, true},
		{duckdbName, `select i "Id", '1'::VARIANT "The Value" from range(1, 4) t(i) order by 1`, true},
		{duckdbName, `select i "Id", [TIMETZ '12:00:00+02'] "The Value" from range(1, 4) t(i) order by 1`, true},
		{duckdbName, `select i "Id", 'infinity'::TIMESTAMP "The Value" from range(1, 4) t(i) order by 1`, false},
		{duckdbName, `select i "Id", TIME '24:00:00' "The Value" from range(1, 4) t(i) order by 1`, false},
		{duckdbName, `select i "Id", 170141183460469231731687303715884105727::HUGEINT "The Value" from range(1, 4) t(i) order by 1`, false},
		// A select list without the value would give other rows.
		{duckdbName, `select max(i) "Id", b "The Value" from (values (1, '1'::BIT), (2, '10'::BIT), (3, '11'::BIT)) t(i, b) group by all order by 1`, true},
		{duckdbName, `select ID "Id", B "The Value" from SHOP.SALES.BITS BITS order by 1`, true},
		{snowflakeName, `select ID "Id", V "The Value" from SHOP.SALES.VECTORS VECTORS order by 1`, true},
		{snowflakeName, `select V "The Value", ID "Id" from SHOP.SALES.VECTORS VECTORS order by 2`, true},
		{snowflakeName, `select ID "Id", '10000-01-01 00:00:00+00:00'::TIMESTAMP_LTZ "The Value" from SHOP.SALES.VECTORS VECTORS order by 1`, false},
	} {
		t.Run(test.sql, func(t *testing.T) { w.wantLeftOut(t, w.model(test.connection, test.sql), test.isType) })
	}
	t.Run("distinct rows", func(t *testing.T) {
		model := w.model(duckdbName, `select distinct i // 2 "Id", b "The Value" from (values (0, '1'::BIT), (1, '0'::BIT), (2, '1'::BIT), (2, '1'::BIT)) t(i, b) order by 1`)
		for _, format := range formats {
			rows := w.mustPreview(&pb.PreviewModelRequest{Name: model, Columns: []string{"Id"}, Format: format}).table(t)
			if !slices.EqualFunc(rows, [][]string{{"0"}, {"0"}, {"1"}}, slices.Equal) {
				t.Errorf("the rows are %q", rows)
			}
		}
	})
	t.Run("a column of a table that the model does not read", func(t *testing.T) {
		for _, connection := range []string{snowflakeName, duckdbName} {
			table := map[string]string{snowflakeName: "VECTORS", duckdbName: "BITS"}[connection]
			if checked := w.check(&pb.CheckModelRequest{Name: w.model(connection, `select ID "Id" from SHOP.SALES.`+table+` T`)}); !checked.GetReadable() {
				t.Errorf("the check says %v", checked.GetProblem())
			}
		}
	})
	t.Run("a helper column of Sigma's", func(t *testing.T) {
		r := w.mustPreview(&pb.PreviewModelRequest{Name: w.model(duckdbName, `select i "Id", '1'::BIT "__cond_1" from range(2) t(i) order by 1`)})
		if rows := r.table(t); len(rows) != 2 || len(rows[0]) != 1 {
			t.Errorf("the rows are %q", rows)
		}
	})
}

// onTheWire is a world whose account gives the answers that it is told to.
func onTheWire(t *testing.T, account map[string]string, answer func(sql string, session wiretest.Session) []wiretest.Column) *world {
	t.Helper()
	server := httptest.NewServer(&wiretest.Endpoint{Account: account, Answer: func(sql string, session wiretest.Session) []wiretest.Column {
		if !strings.Contains(sql, "CURRENT_ACCOUNT()") {
			return answer(sql, session)
		}
		var columns []wiretest.Column
		for _, value := range []string{"LOCATOR1", snowflakeAccount, snowflakeUser, snowflakeRole, snowflakeComputer, "SHOP", "SALES", "9"} {
			columns = append(columns, wireTexts("A", "text", value))
		}
		return columns
	}})
	t.Cleanup(server.Close)
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.stop()
	w.admitted = []string{strings.TrimPrefix(server.URL, "http://")}
	w.start()
	connection := w.snowflakeConnection()
	connection.GetWarehouse().GetSnowflake().Url = server.URL
	w.create(snowflakeName, connection)
	return w
}

func wireTexts(name, typ string, values ...string) wiretest.Column {
	builder := array.NewStringBuilder(memory.DefaultAllocator)
	defer builder.Release()
	builder.AppendValues(values, nil)
	return wiretest.Column{Name: name, Type: typ, Length: 100, Values: builder.NewArray()}
}

func wireNumbers(name, typ string, scale int, values ...int64) wiretest.Column {
	builder := array.NewInt64Builder(memory.DefaultAllocator)
	defer builder.Release()
	builder.AppendValues(values, nil)
	return wiretest.Column{Name: name, Type: typ, Precision: 10, Scale: scale, Values: builder.NewArray()}
}

func TestAColumnThatIsLeftOutFailsNothingOnTheWire(t *testing.T) {
	t.Parallel()
	vectors := array.NewFixedSizeListBuilder(memory.DefaultAllocator, 2, arrow.PrimitiveTypes.Float32)
	defer vectors.Release()
	for range 3 {
		vectors.Append(true)
		vectors.ValueBuilder().(*array.Float32Builder).AppendValues([]float32{1, 2}, nil)
	}
	values := map[string]wiretest.Column{
		"VECTORS": {Name: "The Value", Type: "vector", Length: 2, Values: vectors.NewArray()},
		"NANOS":   wireNumbers("The Value", "timestamp_ntz", 9, 1, 2, 1700000000123456789),
		"NOTJSON": wireTexts("The Value", "array", "[undefined]", "[1]", "[2]"),
		"FUTURE":  wireTexts("The Value", "a_type_of_tomorrow", "", "", ""),
	}
	w := onTheWire(t, nil, func(sql string, _ wiretest.Session) []wiretest.Column {
		for table, column := range values {
			switch {
			case strings.Contains(sql, `"present"`):
				return []wiretest.Column{wireNumbers("rows", "fixed", 0, 3), wireNumbers("present", "fixed", 0, 3)}
			case strings.Contains(sql, "count(*)"):
				return []wiretest.Column{wireNumbers("rows", "fixed", 0, 3)}
			case strings.Contains(sql, table):
				return []wiretest.Column{wireNumbers("Id", "fixed", 0, 1, 2, 3), column}
			}
		}
		return []wiretest.Column{wireNumbers("A", "fixed", 0, 1)}
	})
	for table, column := range values {
		t.Run(table, func(t *testing.T) {
			w.wantLeftOut(t, w.model(snowflakeName, `select ID "Id", V "The Value" from SHOP.SALES.`+table+` T`), column.Type == "vector" || column.Type == "a_type_of_tomorrow")
		})
	}
}

// What an account sets for all of its sessions changes neither the columns of a
// model nor its values.
func TestAnAccountsParametersChangeNothing(t *testing.T) {
	t.Parallel()
	account := map[string]string{"QUOTED_IDENTIFIERS_IGNORE_CASE": "true", "STRICT_JSON_OUTPUT": "false", "ROWS_PER_RESULTSET": "1", "BINARY_OUTPUT_FORMAT": "BASE64", "TIMEZONE": "Asia/Tokyo"}
	element := sigmatest.Element{Columns: sigmatest.Columns("Id:number", "List:variant"), SQL: `select ID "Id", array_construct(ID, null) "List" from SHOP.SALES.T T order by 1 limit 1000`}
	simulated := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{Parameters: account})
	simulated.fill(`CREATE TABLE SHOP.SALES.T (ID INT); INSERT INTO SHOP.SALES.T VALUES (1), (2)`, ``)
	simulated.create(snowflakeName, simulated.snowflakeConnection())
	onWire := onTheWire(t, account, func(_ string, session wiretest.Session) []wiretest.Column {
		id, list, element := "Id", "List", "null"
		if session.Parameter("QUOTED_IDENTIFIERS_IGNORE_CASE") == "true" {
			id, list = "ID", "LIST"
		}
		if session.Parameter("STRICT_JSON_OUTPUT") != "true" {
			element = "undefined"
		}
		return []wiretest.Column{wireNumbers(id, "fixed", 0, 1, 2), wireTexts(list, "array", "[1,"+element+"]", "[2, "+element+"]")}
	})
	for name, w := range map[string]*world{"simulated": simulated, "on the wire": onWire} {
		model := w.modelOf(snowflakeName, element)
		for _, format := range formats {
			for _, columns := range [][]string{nil, {"Id", "List"}} {
				r := w.mustPreview(&pb.PreviewModelRequest{Name: model, Format: format, Columns: columns})
				for _, c := range r.schema.GetColumns() {
					if c.GetColumnId() == "" {
						t.Errorf("%s, %s: the column %q has no id", name, format, c.GetName())
					}
				}
				if rows := r.table(t); !slices.EqualFunc(rows, [][]string{{"1", "[1,null]"}, {"2", "[2,null]"}}, slices.Equal) {
					t.Errorf("%s, %s: the rows are %q", name, format, rows)
				}
			}
		}
	}
}
