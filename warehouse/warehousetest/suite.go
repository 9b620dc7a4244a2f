package warehousetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/sigmasource/sigmasource/warehouse"
)

func (s suite) identify(t *testing.T, w warehouse.Warehouse) {
	id, err := w.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id.Version == "" || id.Database == "" {
		t.Errorf("the identity lacks version or database: %+v", id)
	}
}

func (s suite) probe(t *testing.T, w warehouse.Warehouse) {
	if err := w.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func (s suite) values(t *testing.T, w warehouse.Warehouse) {
	sql, columns, want := s.dialect.valuesQuery()
	table := Read(t, w, sql)
	if len(table.Rows) != len(want) {
		t.Fatalf("%d rows instead of %d", len(table.Rows), len(want))
	}
	for i, kind := range columns {
		switch kind {
		case Wide:
			kind = Whole
		case Zoned:
			kind = Instant
		}
		if got := table.Kinds[i+1]; got != kind {
			t.Errorf("column %s: read as %s", columns[i], got)
			continue
		}
		for row := range want {
			if got := table.Rows[row][i+1]; got != want[row][i] {
				t.Errorf("column %s, row %d: got %q instead of %q", columns[i], row, got, want[row][i])
			}
		}
	}
}

func (s suite) zeroRows(t *testing.T, w warehouse.Warehouse) {
	sql, columns, _ := s.dialect.valuesQuery()
	table := Read(t, w, "SELECT * FROM (\n"+sql+"\n) WHERE 1 = 0")
	if len(table.Rows) != 0 || len(table.Names) != len(columns)+1 {
		t.Errorf("%d rows of %d columns instead of none of %d", len(table.Rows), len(table.Names), len(columns)+1)
	}
}

// describe compiles, among others, a query that would fail if it ran.
func (s suite) describe(t *testing.T, w warehouse.Warehouse) {
	sql, _, _ := s.dialect.valuesQuery()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: sql})
	if err != nil {
		t.Fatal(err)
	}
	defer closeResult(t, result)
	described, err := w.Describe(t.Context(), warehouse.Statement{SQL: sql})
	if err != nil {
		t.Fatal(err)
	}
	if !described.Equal(result.Schema()) {
		t.Errorf("described as %v and read as %v", described, result.Schema())
	}
	if _, err := w.Describe(t.Context(), warehouse.Statement{SQL: s.dialect.Failing}); err != nil {
		t.Errorf("it fails on the data, so it must have run: %v", err)
	}
	var failure *warehouse.Error
	if _, err := w.Describe(t.Context(), warehouse.Statement{SQL: `SELECT * FROM "NO_SUCH_TABLE"`}); !errors.As(err, &failure) || failure.Kind != warehouse.KindPermission {
		t.Errorf("a missing table: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Describe(ended, warehouse.Statement{SQL: sql}); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func (s suite) manyColumns(t *testing.T, w warehouse.Warehouse) {
	var exprs []string
	for i := range 300 {
		exprs = append(exprs, fmt.Sprintf(`%d AS "COLUMN %d"`, i, i))
	}
	table := Read(t, w, "SELECT "+strings.Join(exprs, ", "))
	if len(table.Names) != len(exprs) || len(table.Rows) != 1 {
		t.Fatalf("%d rows of %d columns", len(table.Rows), len(table.Names))
	}
	for i, name := range table.Names {
		if name != fmt.Sprintf("COLUMN %d", i) || table.Rows[0][i] != fmt.Sprint(i) {
			t.Fatalf("column %d is %q with the value %s", i, name, table.Rows[0][i])
		}
	}
}

func (s suite) sameNames(t *testing.T, w warehouse.Warehouse) {
	table := Read(t, w, `SELECT 1 AS "A", 2 AS "A"`)
	if fmt.Sprint(table.Names, table.Rows) != "[A A] [[1 2]]" {
		t.Errorf("got %v %v", table.Names, table.Rows)
	}
}

// errChoice is an error of a statement's Choose.
var errChoice = errors.New("warehousetest: no columns are wanted")

func (s suite) chosenColumns(t *testing.T, w warehouse.Warehouse) {
	const sql = `SELECT 1 AS "A", 'two' AS "B", 3 AS "A", 4 AS "C"`
	for _, test := range []struct {
		positions []int
		want      string
	}{
		{[]int{3, 1}, "[C B] [[4 two]]"}, {[]int{2}, "[A] [[3]]"}, {[]int{0, 1, 2, 3}, "[A B A C] [[1 two 3 4]]"}, {nil, "[] [[]]"},
	} {
		var names []string
		statement := warehouse.Statement{SQL: sql, Choose: func(all []string) ([]int, error) {
			names = all
			return test.positions, nil
		}}
		described, err := w.Describe(t.Context(), statement)
		if err != nil {
			t.Fatal(err)
		}
		result, err := w.Query(t.Context(), statement)
		if err != nil {
			t.Fatal(err)
		}
		table := readAll(t, result)
		if got := fmt.Sprint(table.Names, table.Rows); got != test.want || fmt.Sprint(names) != "[A B A C]" || !described.Equal(result.Schema()) {
			t.Errorf("%v of %v: %s instead of %s", test.positions, names, got, test.want)
		}
		closeResult(t, result)
	}
	for _, choose := range []func([]string) ([]int, error){
		func([]string) ([]int, error) { return nil, errChoice },
		func([]string) ([]int, error) { return []int{4}, nil },
		func([]string) ([]int, error) { return []int{-1}, nil },
		func([]string) ([]int, error) { return []int{1, 1}, nil },
	} {
		statement := warehouse.Statement{SQL: sql, Choose: choose}
		_, wanted := statement.Columns([]string{"A", "B", "A", "C"})
		_, queryErr := w.Query(t.Context(), statement)
		_, describeErr := w.Describe(t.Context(), statement)
		for _, err := range []error{queryErr, describeErr} {
			if err == nil || err.Error() != wanted.Error() || errors.Is(wanted, errChoice) && !errors.Is(err, errChoice) {
				t.Errorf("the error is %v instead of %v", err, wanted)
			}
		}
	}
}

// series starts a query of n rows.
func (s suite) series(ctx context.Context, t testing.TB, w warehouse.Warehouse, n int) warehouse.Result {
	t.Helper()
	result, err := w.Query(ctx, warehouse.Statement{SQL: fmt.Sprintf(s.dialect.Series, n), Tag: "warehousetest"})
	if err != nil {
		t.Fatalf("Query: %v (cause: %v)", err, errors.Unwrap(err))
	}
	return result
}

func (s suite) millionRows(t *testing.T, w warehouse.Warehouse) {
	const n = 1_000_000
	result := s.series(t.Context(), t, w, n)
	defer closeResult(t, result)
	if declared, ok := result.DeclaredRows(); ok && declared != n {
		t.Errorf("%d rows were declared", declared)
	}
	seen, rows := make([]bool, n), 0
	err := eachBatch(t.Context(), result, func(batch arrow.RecordBatch) error {
		if batch.NumRows() > n/4 {
			return fmt.Errorf("a batch of %d rows: the result is not streamed", batch.NumRows())
		}
		name := batch.Column(1).(*array.String)
		for row := range int(batch.NumRows()) {
			id, err := strconv.Atoi(value(batch.Schema().Field(0), batch.Column(0), row))
			if err != nil || id < 0 || id >= n || seen[id] {
				return fmt.Errorf("the id %q is wrong or came twice", batch.Column(0).ValueStr(row))
			}
			seen[id] = true
			if row == 0 && name.Value(row) != fmt.Sprint("row ", id) {
				return fmt.Errorf("the name of %d is %q", id, name.Value(row))
			}
		}
		rows += int(batch.NumRows())
		return nil
	})
	if err != nil || rows != n {
		t.Errorf("%d rows, error: %v", rows, err)
	}
}

func (s suite) afterEnd(t *testing.T, w warehouse.Warehouse) {
	result := s.series(t.Context(), t, w, 3)
	if rows := readAll(t, result).Rows; len(rows) != 3 {
		t.Errorf("%d rows instead of 3", len(rows))
	}
	for range 2 {
		if batch, err := result.Next(t.Context()); batch != nil || err != io.EOF {
			t.Errorf("Next after the end returned %v, %v", batch, err)
		}
	}
	closeResult(t, result)
	closeResult(t, result)
}

// firstBatch reads one batch and makes sure that there are more.
func firstBatch(t testing.TB, result warehouse.Result, n int64) {
	t.Helper()
	batch, err := result.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v (cause: %v)", err, errors.Unwrap(err))
	}
	defer batch.Release()
	if batch.NumRows() >= n {
		t.Fatalf("the first batch holds all %d rows", n)
	}
}

func (s suite) closeHalfWay(t *testing.T, w warehouse.Warehouse) {
	const n = 200_000
	result := s.series(t.Context(), t, w, n)
	firstBatch(t, result, n)
	closeResult(t, result)
	if batch, err := result.Next(t.Context()); batch != nil || err == nil || err == io.EOF {
		t.Errorf("Next after Close returned %v, %v", batch, err)
	}
	closeResult(t, result)
}

func (s suite) contextBefore(t *testing.T, w warehouse.Warehouse) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := w.Query(ctx, warehouse.Statement{SQL: fmt.Sprintf(s.dialect.Series, 1)})
	if !errors.Is(err, context.Canceled) || result != nil {
		t.Errorf("Query returned %v, %v", result, err)
	}
}

// briefly is long enough for a query to start.
const briefly = 50 * time.Millisecond

func (s suite) contextDuring(t *testing.T, w warehouse.Warehouse) {
	ctx, cancel := context.WithTimeout(t.Context(), briefly)
	defer cancel()
	result, err := w.Query(ctx, warehouse.Statement{SQL: s.dialect.Endless})
	if err == nil {
		defer closeResult(t, result)
		_, err = result.Next(t.Context())
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the query ended with %v (cause: %v)", err, errors.Unwrap(err))
	}
}

func (s suite) contextOfNext(t *testing.T, w warehouse.Warehouse) {
	const n = 200_000
	result := s.series(t.Context(), t, w, n)
	defer closeResult(t, result)
	firstBatch(t, result, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if batch, err := result.Next(ctx); !errors.Is(err, context.Canceled) || batch != nil {
		t.Errorf("Next returned %v, %v", batch, err)
	}
}

func (s suite) contextBetween(t *testing.T, w warehouse.Warehouse) {
	const n = 200_000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := s.series(ctx, t, w, n)
	defer closeResult(t, result)
	firstBatch(t, result, n)
	cancel()
	err := eachBatch(t.Context(), result, func(arrow.RecordBatch) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the read ended with %v", err)
	}
}

func (s suite) failures(t *testing.T, w warehouse.Warehouse) {
	for _, test := range []struct {
		name, sql string
		kind      warehouse.Kind
		object    string
	}{
		{"missing table", `SELECT 'SECRET_MARK' FROM "NO_SUCH_TABLE"`, warehouse.KindPermission, "NO_SUCH_TABLE"},
		{"syntax", "SELECT 'SECRET_MARK' FORM WHERE", warehouse.KindInvalidSQL, ""},
		{"open string", "SELECT 'SECRET_MARK", warehouse.KindInvalidSQL, ""},
		{"nothing", "-- SECRET_MARK", warehouse.KindInvalidSQL, ""},
		{"two statements", "SELECT 1; SELECT 'SECRET_MARK'", warehouse.KindInvalidSQL, ""},
		{"missing column", `SELECT "NO_SUCH_COLUMN" FROM (SELECT 'SECRET_MARK' AS "A")`, warehouse.KindInvalidSQL, ""},
		{"data", s.dialect.Failing, warehouse.KindData, ""},
	} {
		result, err := w.Query(t.Context(), warehouse.Statement{SQL: test.sql})
		if err == nil {
			err = eachBatch(t.Context(), result, func(arrow.RecordBatch) error { return nil })
			closeResult(t, result)
		}
		var failure *warehouse.Error
		if !errors.As(err, &failure) {
			t.Errorf("%s: not a *warehouse.Error but %T: %v", test.name, err, err)
			continue
		}
		if failure.Kind != test.kind || !strings.Contains(failure.Object, test.object) {
			t.Errorf("%s: kind %s, object %q: %v (cause: %v)", test.name, failure.Kind, failure.Object, failure, failure.Err)
		}
		if failure.Message == "" || strings.Contains(failure.Error(), "SECRET_MARK") || strings.Contains(failure.Error(), "\n") {
			t.Errorf("%s: the message is not one safe line: %q", test.name, failure.Error())
		}
	}
	if rows := Read(t, w, "SELECT 1").Rows; len(rows) != 1 {
		t.Errorf("after failures a query gives %d rows", len(rows))
	}
}

func (s suite) sideBySide(t *testing.T, w warehouse.Warehouse) {
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error {
			result, err := w.Query(t.Context(), warehouse.Statement{SQL: fmt.Sprintf(s.dialect.Series, 10_000+i)})
			if err != nil {
				return err
			}
			rows := 0
			err = eachBatch(t.Context(), result, func(batch arrow.RecordBatch) error {
				rows += int(batch.NumRows())
				return nil
			})
			if err == nil && rows != 10_000+i {
				err = fmt.Errorf("%d rows instead of %d", rows, 10_000+i)
			}
			return errors.Join(err, result.Close())
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func (s suite) closed(t *testing.T, w warehouse.Warehouse) {
	const n = 200_000
	result := s.series(t.Context(), t, w, n)
	defer closeResult(t, result)
	firstBatch(t, result, n)
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := eachBatch(t.Context(), result, func(arrow.RecordBatch) error { return nil }); err == nil {
		t.Error("a result is read to its end after the warehouse was closed")
	}
	if _, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT 1"}); err == nil {
		t.Error("a closed warehouse takes a query")
	}
}
