package server_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// ways are the warehouses and formats in which a model can be read.
func ways(t *testing.T, w *world, do func(t *testing.T, connection string, format pb.DataFormat)) {
	t.Helper()
	for _, connection := range []string{snowflakeName, duckdbName} {
		for _, format := range formats {
			name := strings.TrimPrefix(format.String(), "DATA_FORMAT_") + " from " + strings.TrimPrefix(connection, workspace+"/connections/")
			t.Run(name, func(t *testing.T) { do(t, connection, format) })
		}
	}
}

// TestLargeValuesArriveExactlyOrFailByName knows no third way: nothing is left
// out, shortened or replaced.
func TestLargeValuesArriveExactlyOrFailByName(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 1000, BatchRows: 300})
	const (
		limit = 4<<20 - 4<<10 // of a row; see the package query
		frame = 2 << 10       // more than either format needs around a value
	)
	// in puts an expression into one row of many.
	in := func(row int, expression string) string {
		return fmt.Sprintf(`select ORDER_ID "Order Id", case when ORDER_ID = %d then %s else 'short' end "The Text", 'other' "Other" from SHOP.SALES.ORDERS ORDERS order by ORDER_ID limit 1000`, row-1, expression)
	}
	text := func(bytes int) string { return fmt.Sprintf("repeat('x', %d)", bytes) }
	for _, test := range []struct {
		name   string
		sql    string
		column string // that is named, or empty where all arrives
		row    int    // that is named, or has the value
		length int    // of the value that arrives
	}{
		{"a text that just fits", in(7, text(limit-frame)), "", 7, limit - frame},
		{"a text that just does not", in(7, text(limit)), "The Text", 7, 0},
		{"20 MiB in the first row", in(1, text(20<<20)), "The Text", 1, 0},
		{"20 MiB in a later part", in(1777, text(20<<20)), "The Text", 1777, 0},
		{"20 MiB of characters that take four bytes", in(1500, `repeat('😀', 5242880)`), "The Text", 1500, 0},
		{"many values that are too much together", fmt.Sprintf(`select ORDER_ID "Order Id", %[1]s "A", %[1]s "B", %[2]s "The Largest", %[1]s "C", %[1]s "D" from SHOP.SALES.ORDERS ORDERS where ORDER_ID < 3 order by ORDER_ID limit 1000`,
			text(1<<20-1<<10), text(1<<20)), "The Largest", 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			model := w.model(snowflakeName, test.sql)
			ways(t, w, func(t *testing.T, connection string, format pb.DataFormat) {
				r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: strings.Replace(model, snowflakeName, connection, 1), RowLimit: 2000, Format: format})
				if test.column == "" {
					if err != nil {
						t.Fatal(err)
					}
					rows := r.table(t)
					if len(rows) != 2000 || rows[test.row-1][1] != `"`+strings.Repeat("x", test.length)+`"` || rows[test.row][1] != `"short"` {
						t.Errorf("%d rows, and a text of %d", len(rows), len(rows[test.row-1][1]))
					}
					return
				}
				facts := wantError(t, err, codes.ResourceExhausted, pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE)
				if facts["column"] != test.column || facts["row"] != fmt.Sprint(test.row) {
					t.Errorf("the error names row %s, column %q", facts["row"], facts["column"])
				}
				if r.stats != nil || r.count >= int64(test.row) {
					t.Errorf("%d rows came, and statistics %v", r.count, r.stats)
				}
			})
		})
	}
}

// What a warehouse holds and no format can tell exactly is named, too.
func TestAValueWithoutAnExactFormIsNamed(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	const huge = `select i "No", if(i = 2345, 170141183460469231731687303715884105727::HUGEINT, i::HUGEINT) "The Value" from range(%d) t(i) limit 1000`
	for _, format := range formats {
		r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: w.model(duckdbName, fmt.Sprintf(huge, 3000)), RowLimit: 3000, Format: format})
		facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED)
		if facts["column"] != "The Value" || facts["row"] != "2346" || r.stats != nil {
			t.Errorf("%s: the facts are %v", format, facts)
		}
		nanos := w.model(duckdbName, `select '2024-01-01 00:00:00.123456789'::TIMESTAMP_NS "The Value"`)
		rows := w.mustPreview(&pb.PreviewModelRequest{Name: nanos, Format: format}).table(t)
		if rows[0][0] != "2024-01-01T00:00:00.123456789" {
			t.Errorf("%s: the time is %s", format, rows[0][0])
		}
	}
}
