package warehousetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Null stands for NULL among the values of a [Table].
const Null = "<NULL>"

// Table is a whole result in a form that can be compared between warehouses.
type Table struct {
	Names []string
	Kinds []Kind // Wide and Zoned do not occur: they read as Whole and Instant
	Rows  [][]string
}

// Read runs a query and reads all of its rows. It fails the test where the
// result breaks a promise: a type that is not canonical, a row count that is
// not the declared one.
func Read(t testing.TB, w warehouse.Warehouse, sql string) Table {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: sql})
	if err != nil {
		t.Fatalf("Query: %v (cause: %v)", err, errors.Unwrap(err))
	}
	defer closeResult(t, result)
	return readAll(t, result)
}

func closeResult(t testing.TB, result warehouse.Result) {
	t.Helper()
	if err := result.Close(); err != nil {
		t.Errorf("Result.Close: %v", err)
	}
}

func readAll(t testing.TB, result warehouse.Result) Table {
	t.Helper()
	schema := result.Schema()
	if err := warehouse.CheckSchema(schema); err != nil {
		t.Fatal(err)
	}
	var table Table
	for _, f := range schema.Fields() {
		table.Names = append(table.Names, f.Name)
		table.Kinds = append(table.Kinds, kindOf(f))
	}
	err := eachBatch(t.Context(), result, func(batch arrow.RecordBatch) error {
		if !batch.Schema().Equal(schema) {
			return fmt.Errorf("a batch has the schema %s instead of %s", batch.Schema(), schema)
		}
		for row := range int(batch.NumRows()) {
			cells := make([]string, batch.NumCols())
			for i := range cells {
				cells[i] = value(schema.Field(i), batch.Column(i), row)
			}
			table.Rows = append(table.Rows, cells)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Next: %v (cause: %v)", err, errors.Unwrap(err))
	}
	if n, ok := result.DeclaredRows(); ok && n != int64(len(table.Rows)) {
		t.Errorf("%d rows were declared and %d delivered", n, len(table.Rows))
	}
	return table
}

// eachBatch calls f for each batch and releases it.
func eachBatch(ctx context.Context, result warehouse.Result, f func(arrow.RecordBatch) error) error {
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = f(batch)
		batch.Release()
		if err != nil {
			return err
		}
	}
}

func kindOf(f arrow.Field) Kind {
	switch t := f.Type.(type) {
	case *arrow.BooleanType:
		return Bool
	case *arrow.Int64Type:
		return Whole
	case *arrow.Decimal128Type:
		if t.Scale == 0 {
			return Whole
		}
		return Decimal
	case *arrow.Float64Type:
		return Float
	case *arrow.StringType:
		if warehouse.IsJSON(f) {
			return JSON
		}
		return Text
	case *arrow.BinaryType:
		return Binary
	case *arrow.Date32Type:
		return Date
	case *arrow.Time64Type:
		return Time
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return Timestamp
		}
		return Instant
	}
	return Kind(f.Type.String())
}

// value returns a value in the form of its [Kind].
func value(f arrow.Field, column arrow.Array, row int) string {
	if column.IsNull(row) {
		return Null
	}
	switch column := column.(type) {
	case *array.Boolean:
		return strconv.FormatBool(column.Value(row))
	case *array.Int64:
		return strconv.FormatInt(column.Value(row), 10)
	case *array.Decimal128:
		return column.Value(row).ToString(f.Type.(*arrow.Decimal128Type).Scale)
	case *array.Float64:
		return strconv.FormatFloat(column.Value(row), 'g', -1, 64)
	case *array.String:
		if warehouse.IsJSON(f) {
			return compact([]byte(column.Value(row)))
		}
		return strings.Clone(column.Value(row))
	case *array.Binary:
		return fmt.Sprintf("%X", column.Value(row))
	case *array.Date32:
		return column.Value(row).ToTime().Format(time.DateOnly)
	case *array.Time64:
		return column.Value(row).ToTime(f.Type.(*arrow.Time64Type).Unit).Format("15:04:05.000000")
	case *array.Timestamp:
		t := f.Type.(*arrow.TimestampType)
		at := column.Value(row).ToTime(t.Unit).UTC()
		if t.TimeZone == "" {
			return at.Format("2006-01-02 15:04:05.000000")
		}
		return at.Format(instantForm)
	}
	return column.ValueStr(row)
}

const instantForm = "2006-01-02 15:04:05.000000-07:00"

func inUTC(text string) string {
	at, err := time.Parse(instantForm, text)
	if err != nil {
		panic(err) // a literal of this package
	}
	return at.UTC().Format(instantForm)
}

// compact returns JSON without spaces and with sorted keys, numbers as they
// are; text that is not JSON as it is.
func compact(text []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return "not JSON: " + string(text)
	}
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON a moment ago
	}
	return string(out)
}
