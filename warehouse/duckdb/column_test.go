package duckdb_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
)

// Each value is in its place, whatever else is NULL, and wherever batches end: texts of
// uneven length end them in the middle of DuckDB's chunks, and at no byte of their masks.
func TestValuesKeepTheirPlaces(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	w := duckdb.Open(duckdb.Config{Allocator: mem})
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	rapid.Check(t, func(rt *rapid.T) {
		rows := rapid.SampledFrom([]int{1, 2047, 2048, 2049, 5000, 9000}).Draw(rt, "rows")
		longest := rapid.SampledFrom([]int{1, 12, 13, 40, 6000}).Draw(rt, "longest text")
		nulls := rapid.SliceOfN(rapid.IntRange(1, 9), 8, 8).Draw(rt, "every nth is NULL; 1: none")
		column := func(n int, sql string) string {
			if nulls[n] == 1 {
				return sql
			}
			return fmt.Sprintf("CASE WHEN i %% %d = 0 THEN NULL ELSE %s END", nulls[n], sql)
		}
		result, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT " + strings.Join([]string{
			column(0, "i::BIGINT"), column(1, "(i % 100)::TINYINT"), column(2, "i % 2 = 0"), column(3, "(i / 100)::DECIMAL(12,2)"),
			column(4, "i::DECIMAL(30,5)"), column(5, "DATE '1970-01-01' + (i % 1000)::INT"), column(6, "i::DOUBLE"),
			column(7, fmt.Sprintf("repeat('x', (i * 7919 %% %d)::INT) || i", longest)),
		}, ", ") + fmt.Sprintf(" FROM range(%d) t(i)", rows)})
		if err != nil {
			rt.Fatal(err)
		}
		i := 0
		for {
			batch, err := result.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			for row := range int(batch.NumRows()) {
				want := []string{
					fmt.Sprint(i), fmt.Sprint(i % 100), fmt.Sprint(i%2 == 0), fmt.Sprintf("%d.%02d", i/100, i%100), fmt.Sprintf("%d.00000", i),
					arrow.Date32(i % 1000).FormattedString(), fmt.Sprint(i), strings.Repeat("x", i*7919%longest) + fmt.Sprint(i),
				}
				for n, column := range batch.Columns() {
					if nulls[n] > 1 && i%nulls[n] == 0 {
						want[n] = array.NullValueStr
					}
					if got := text(column, row); got != want[n] {
						rt.Fatalf("row %d, column %d is %.50q and not %.50q", i, n, got, want[n])
					}
				}
				i++
			}
			for n, column := range batch.Columns() {
				there := 0
				for row := range column.Len() {
					if column.IsValid(row) {
						there++
					}
				}
				if column.NullN() != column.Len()-there {
					rt.Fatalf("column %d has %d NULLs and tells %d", n, column.Len()-there, column.NullN())
				}
			}
			batch.Release()
		}
		if err := result.Close(); err != nil || i != rows {
			rt.Fatalf("%d rows of %d: %v", i, rows, err)
		}
	})
}

func text(column arrow.Array, row int) string {
	if d, ok := column.(*array.Decimal128); ok && d.IsValid(row) {
		return d.Value(row).ToString(d.DataType().(*arrow.Decimal128Type).Scale)
	}
	return column.ValueStr(row)
}
