//lint:file-ignore SA1019 the driver's v1.19.1 deprecates these fields and offers nothing in their place

package snowflaketest_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sf "github.com/snowflakedb/gosnowflake"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// forever is a query that DuckDB does not finish while a test runs.
const forever = `select count(*) from table(generator(rowcount => 100000000)) A, table(generator(rowcount => 100000000)) B where A."SF$SEQ" * B."SF$SEQ" % 7 = 3`

func TestGenuineSigmaText(t *testing.T) {
	s := newServer(t, snowflaketest.Config{}, orders, `create table SALES.CORE.NAMES (K text, LABEL text); insert into SALES.CORE.NAMES values ('open', 'Offen')`)
	db := openDB(t, s)
	query := `with Q1 as (select * from SALES.CORE.ORDERS ORDERS limit 1000) ` +
		`select ID "Order Id", AMOUNT "Amount (EUR)", CAST_4 "Created", LABEL "Status Label" from (select Q1.ID, Q1.AMOUNT, Q1.CREATED::timestamp_ltz CAST_4, ` +
		`N.LABEL from Q1 left join SALES.CORE.NAMES N on equal_null(Q1.STATUS, N.K) limit 1000) Q2 limit 1000` +
		"\n\n" + `-- Sigma Σ {"request-id":"b1","email":"owner@example.com"}`
	total, records, err := stream(t.Context(), t, db, query)
	if err != nil {
		t.Fatal(err)
	}
	if total != 1000 || rowCount(records) != 1000 {
		t.Errorf("declared %d, delivered %d", total, rowCount(records))
	}
	if got := records[0].Schema().Field(1).Name; got != "Amount (EUR)" {
		t.Errorf("name %q", got)
	}
}

func TestFailures(t *testing.T) {
	s := newServer(t, snowflaketest.Config{
		Warehouses: []string{"WH"},
		Users:      []snowflaketest.User{{Name: "U", Password: "p", Roles: []string{"R"}, Warehouse: "WH"}},
		Roles:      []snowflaketest.Role{{Name: "R", Select: []string{"SALES.CORE.ORDERS"}}},
	}, orders, `create table SALES.CORE.SECRET (A int); create table SALES.CORE."lower" (A int)`)
	db := openDB(t, s, func(c *sf.Config) { c.User, c.Password = "U", "p" })
	tests := []struct {
		query, state, contains string
		code                   int
	}{
		{`select * from SALES.CORE.SECRET`, "42S02", `Object 'SALES.CORE.SECRET' does not exist or not authorized.`, 2003},
		{`select * from SALES.CORE.NOPE`, "42S02", `Object 'SALES.CORE.NOPE' does not exist or not authorized.`, 2003},
		{`select * from SALES.CORE."orders"`, "42S02", `Object 'SALES.CORE.orders'`, 2003},
		{`with Q as (select * from SALES.CORE.ORDERS) select * from Q where ID in (select A from SALES.CORE.SECRET)`, "42S02", `SECRET`, 2003},
		{`select * from SALES.NOPE.T`, "02000", `Schema 'SALES.NOPE' does not exist or not authorized.`, 2003},
		{`select * from NOPE.CORE.T`, "02000", `Database 'NOPE' does not exist or not authorized.`, 2003},
		{`select * from T`, "22000", `does not have a current database`, 90105},
		{`select FOO from SALES.CORE.ORDERS`, "42000", `invalid identifier 'FOO'`, 904},
		{`select X.A from SALES.CORE.ORDERS`, "42000", `invalid identifier 'X'`, 904},
		{`select from where`, "42000", `syntax error`, 1003},
		{`select (1`, "42000", `syntax error`, 1003},
		{`select nonsense(1)`, "42601", `Unknown function NONSENSE`, 2140},
		{`select STATUS::int from SALES.CORE.ORDERS`, "22018", `Numeric value`, 100038},
		{`select 'x'::date`, "22007", `Date 'x' is not recognized`, 100040},
		{`select 'x'::timestamp_ntz`, "22007", `Timestamp 'x' is not recognized`, 100035},
		{``, "42601", `Empty SQL Statement`, 900},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			_, _, err := stream(t.Context(), t, db, tt.query)
			var se *sf.SnowflakeError
			if !errors.As(err, &se) {
				t.Fatalf("got %v", err)
			}
			if se.Number != tt.code || se.SQLState != tt.state || !strings.Contains(se.Message, tt.contains) {
				t.Errorf("got %d %s %q", se.Number, se.SQLState, se.Message)
			}
			if q, err := s.WaitQuery(t.Context(), func(q snowflaketest.Query) bool { return q.ID == se.QueryID }); err != nil ||
				q.State != snowflaketest.StateFailed {
				t.Errorf("history has %+v, %v", q, err)
			}
		})
	}
	s.Grant("R", "SALES.CORE.*")
	if _, _, err := stream(t.Context(), t, db, `select * from SALES.CORE.SECRET`); err != nil {
		t.Errorf("after the grant: %v", err)
	}
	s.Revoke("R", "SALES.CORE.*")
	if _, _, err := stream(t.Context(), t, db, `select * from SALES.CORE.SECRET`); code(err) != 2003 {
		t.Errorf("after the revoke: %v", err)
	}
	s.SuspendWarehouse("WH")
	if _, _, err := stream(t.Context(), t, db, `select * from SALES.CORE.ORDERS`); code(err) != 606 {
		t.Errorf("suspended warehouse: %v", err)
	}
	s.ResumeWarehouse("WH")
	if _, _, err := stream(t.Context(), t, db, `select * from SALES.CORE.ORDERS`); err != nil {
		t.Errorf("resumed warehouse: %v", err)
	}
}

func TestZeroRows(t *testing.T) {
	for _, inline := range []int{1, -1} {
		s := newServer(t, snowflaketest.Config{InlineRows: inline}, orders)
		db := openDB(t, s)
		const none = `select ID, STATUS from SALES.CORE.ORDERS where ID < 0`
		if total, records, err := stream(t.Context(), t, db, none); err != nil || total != 0 || len(records) != 0 {
			t.Errorf("stream: %d declared, %d batches, %v", total, len(records), err)
		}
		rows, err := db.QueryContext(t.Context(), none)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil || fmt.Sprint(columns) != "[ID STATUS]" || rows.Next() {
			t.Errorf("rows: %v, %v", columns, err)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestArrowBatches reads through the driver's other Arrow face, by query id.
func TestArrowBatches(t *testing.T) {
	s := newServer(t, snowflaketest.Config{InlineRows: 10, ChunkRows: 100, GzipChunks: true}, orders)
	db := openDB(t, s)
	if _, _, err := stream(t.Context(), t, db, `select * from SALES.CORE.ORDERS where ID < 250`); err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := 0
	err = conn.Raw(func(c any) error {
		ctx := sf.WithHigherPrecision(sf.WithOriginalTimestamp(sf.WithArrowBatches(sf.WithFetchResultByID(t.Context(), s.Queries()[0].ID))))
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, "", nil)
		if err != nil {
			return err
		}
		batches, err := rows.(sf.SnowflakeRows).GetArrowBatches()
		if err != nil {
			return err
		}
		for _, b := range batches {
			records, err := b.WithContext(ctx).Fetch()
			if err != nil {
				return err
			}
			for _, r := range *records {
				n += int(r.NumRows())
				r.Release()
			}
		}
		return rows.Close()
	})
	if err != nil || n != 250 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestDescribeOnlyCompilesWithoutRunning(t *testing.T) {
	s := newServer(t, snowflaketest.Config{Faults: snowflaketest.Faults{
		BeforeRun: func(context.Context, snowflaketest.Query) *snowflaketest.Error { panic("ran") },
	}}, orders)
	db := openDB(t, s)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(sf.WithDescribeOnly(t.Context()), `select ID, STATUS from SALES.CORE.ORDERS`, nil)
		if err != nil {
			return err
		}
		if got := fmt.Sprint(rows.Columns()); got != "[ID STATUS]" {
			t.Errorf("columns %s", got)
		}
		return rows.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCancelInterruptsTheRunningQuery(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	db := openDB(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, _, err := stream(ctx, t, db, forever)
		failed <- err
	}()
	if _, err := s.WaitQuery(t.Context(), func(q snowflaketest.Query) bool {
		return q.SQL == forever && q.State == snowflaketest.StateRunning
	}); err != nil {
		t.Fatal(err)
	}
	if len(s.Running()) != 1 {
		t.Errorf("running: %v", s.Running())
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	q, err := s.WaitQuery(t.Context(), func(q snowflaketest.Query) bool { return q.State == snowflaketest.StateAborted })
	if err != nil {
		t.Fatal(err)
	}
	if q.Error.Code != "000604" || len(s.Running()) != 0 {
		t.Errorf("%+v, running %v", q.Error, s.Running())
	}
}

func TestAbortEndsAHeldQuery(t *testing.T) {
	s := newServer(t, snowflaketest.Config{Faults: snowflaketest.Faults{
		BeforeRun: func(ctx context.Context, _ snowflaketest.Query) *snowflaketest.Error { <-ctx.Done(); return nil },
	}})
	db := openDB(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- ping(ctx, db) }()
	if _, err := s.WaitQuery(t.Context(), func(q snowflaketest.Query) bool { return q.State == snowflaketest.StateRunning }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := s.WaitIdle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	s := newServer(t, snowflaketest.Config{})
	one := "1"
	db := openDB(t, s, func(c *sf.Config) { c.Params["statement_timeout_in_seconds"] = &one })
	_, _, err := stream(t.Context(), t, db, forever)
	if code(err) != 630 || !strings.Contains(err.Error(), "timeout of 1 second(s)") {
		t.Errorf("got %v", err)
	}
}

func TestLongQueriesArePolled(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, snowflaketest.Config{
		InProgressAfter: time.Millisecond,
		Faults: snowflaketest.Faults{BeforeRun: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil
		}},
	})
	var polls atomic.Int32
	db := openDB(t, s, func(c *sf.Config) {
		c.Transporter = roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/result") && polls.Add(1) == 3 {
				close(release)
			}
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	if err := ping(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if polls.Load() < 3 {
		t.Errorf("%d polls", polls.Load())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetriedRequestRunsOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, snowflaketest.Config{})
	var lost atomic.Bool
	db := openDB(t, s, func(c *sf.Config) {
		c.MaxRetryCount = 3
		c.Transporter = roundTripper(func(r *http.Request) (*http.Response, error) {
			res, err := http.DefaultTransport.RoundTrip(r)
			if err == nil && strings.HasSuffix(r.URL.Path, "/query-request") && lost.CompareAndSwap(false, true) {
				return nil, errors.Join(errors.New("answer lost"), res.Body.Close())
			}
			return res, err
		})
	})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	if err := ping(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Queries()); n != 1 {
		t.Errorf("%d queries ran", n)
	}
}

func TestParallelQueries(t *testing.T) {
	s := newServer(t, snowflaketest.Config{InlineRows: 10, ChunkRows: 500}, orders)
	db := openDB(t, s)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			total, records, err := stream(t.Context(), t, db, fmt.Sprintf(`select * from SALES.CORE.ORDERS where ID < %d`, i*100))
			if err != nil || total != int64(i*100) || rowCount(records) != total {
				t.Errorf("%d: declared %d, delivered %d, %v", i, total, rowCount(records), err)
			}
		})
	}
	wg.Wait()
}

func TestAsyncAndFetchByQueryID(t *testing.T) {
	s := newServer(t, snowflaketest.Config{
		InlineRows: 10, ChunkRows: 100,
		Users: []snowflaketest.User{{Name: "A", Password: "a", Roles: []string{"R"}, Warehouse: "TESTWAREHOUSE"},
			{Name: "B", Password: "b", Roles: []string{"R"}}},
	}, orders)
	as := func(name string) func(*sf.Config) {
		return func(c *sf.Config) { c.User, c.Password = name, strings.ToLower(name) }
	}
	db, other := openDB(t, s, as("A")), openDB(t, s, as("B"))
	rows, err := db.QueryContext(sf.WithAsyncMode(t.Context()), `select ID from SALES.CORE.ORDERS where ID < 250`)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		n++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || n != 250 {
		t.Fatalf("%d rows, %v", n, err)
	}
	id := s.Queries()[0].ID
	count := func(ctx context.Context) (n int, err error) {
		rows, err := db.QueryContext(ctx, "")
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			n++
		}
		return n, errors.Join(rows.Err(), rows.Close())
	}
	byID := sf.WithFetchResultByID(t.Context(), id)
	for _, prepare := range []func(){func() {}, s.ExpireChunkURLs} {
		prepare()
		if n, err := count(byID); n != 250 || err != nil {
			t.Errorf("by id: %d rows, %v", n, err)
		}
	}
	if _, err := other.QueryContext(byID, ""); err == nil {
		t.Error("another user read the result")
	}
	if err := s.ExpireResults(); err != nil {
		t.Fatal(err)
	}
	if _, err := count(byID); code(err) != 709 {
		t.Errorf("expired result: %v", err)
	}
}

// TestAnyPartition checks that a result is the same however it is cut up.
func TestAnyPartition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		cfg := snowflaketest.Config{
			InlineRows: rapid.IntRange(-1, 20).Draw(r, "inline"),
			ChunkRows:  rapid.IntRange(1, 20).Draw(r, "chunk"),
			BatchRows:  rapid.IntRange(1, 20).Draw(r, "batch"),
			GzipChunks: rapid.Bool().Draw(r, "gzip"),
		}
		want := rapid.IntRange(0, 60).Draw(r, "rows")
		s := newServer(r, cfg)
		db := openDB(r, s)
		total, records, err := stream(r.Context(), r, db, fmt.Sprintf(`select seq8() N, seq8()::text S from table(generator(rowcount => %d))`, want))
		if err != nil {
			r.Fatal(err)
		}
		if total != int64(want) {
			r.Fatalf("declared %d rows, want %d", total, want)
		}
		next := 0
		for _, rec := range records {
			for i := range int(rec.NumRows()) {
				if got := rec.Column(0).ValueStr(i) + rec.Column(1).ValueStr(i); got != fmt.Sprint(next)+fmt.Sprint(next) {
					r.Fatalf("row %d is %s", next, got)
				}
				next++
			}
			rec.Release()
		}
		if next != want {
			r.Fatalf("%d rows, want %d", next, want)
		}
	})
}
