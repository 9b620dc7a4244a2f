//lint:file-ignore SA1019 the driver's v1.19.1 deprecates these fields and offers nothing in their place

package snowflaketest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	sf "github.com/snowflakedb/gosnowflake"
	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func TestMain(m *testing.M) {
	// Without it the driver asks the cloud providers' metadata hosts where it
	// runs, once per process, before the first login.
	if err := os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true"); err != nil {
		panic(err)
	}
	sf.GetLogger().SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Error(...any)
	Fatal(...any)
}

func newServer(t tester, cfg snowflaketest.Config, setup ...string) *snowflaketest.Server {
	t.Helper()
	s, err := snowflaketest.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, text := range setup {
		if err := s.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// driverConfig is how the driver is kept from files and from other hosts.
func driverConfig(t tester, s *snowflaketest.Server, change ...func(*sf.Config)) sf.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	timezone := "UTC"
	cfg := sf.Config{
		Account: s.Account(), User: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword,
		Protocol: "http", Host: s.Host(), Port: s.Port(),
		Params:           map[string]*string{"timezone": &timezone},
		DisableTelemetry: true, DisableOCSPChecks: true, Transporter: transport,
		LoginTimeout: 5 * time.Second, RequestTimeout: 30 * time.Second, MaxRetryCount: 1,
		ClientTimeout: 30 * time.Second, JWTExpireTimeout: time.Minute, JWTClientTimeout: 10 * time.Second,
	}
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

func openDB(t tester, s *snowflaketest.Server, change ...func(*sf.Config)) *sql.DB {
	t.Helper()
	db := sql.OpenDB(sf.NewConnector(sf.SnowflakeDriver{}, driverConfig(t, s, change...)))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// stream runs a query through the driver's Arrow streams and returns what it
// declares and what it delivers.
func stream(ctx context.Context, t tester, db *sql.DB, query string) (total int64, records []arrow.RecordBatch, err error) {
	t.Helper()
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = conn.Raw(func(c any) error {
		loader, err := c.(interface {
			QueryArrowStream(context.Context, string, ...driver.NamedValue) (sf.ArrowStreamLoader, error)
		}).QueryArrowStream(ctx, query)
		if err != nil {
			return err
		}
		total = loader.TotalRows()
		batches, err := loader.GetBatches()
		if err != nil {
			return err
		}
		for i := range batches {
			got, err := readBatch(ctx, &batches[i])
			records = append(records, got...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return total, records, err
}

func readBatch(ctx context.Context, b *sf.ArrowStreamBatch) (records []arrow.RecordBatch, err error) {
	body, err := b.GetStream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	r, err := ipc.NewReader(body)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	for r.Next() {
		rec := r.RecordBatch()
		rec.Retain()
		records = append(records, rec)
	}
	return records, r.Err()
}

func rowCount(records []arrow.RecordBatch) (n int64) {
	for _, r := range records {
		n += r.NumRows()
	}
	return n
}

const orders = `create database SALES; create schema SALES.CORE;
create table SALES.CORE.ORDERS (ID number(38,0), AMOUNT number(38,10), STATUS text, CREATED timestamp_ltz);
insert into SALES.CORE.ORDERS select i, i / 8, iff(i % 2 = 0, 'open', 'closed'), to_timestamp_ltz('2026-01-01T00:00:00Z') from range(20000) r(i)`

func TestQueryReturnsRows(t *testing.T) {
	s := newServer(t, snowflaketest.Config{}, orders)
	db := openDB(t, s)
	var n int64
	var status string
	if err := db.QueryRowContext(t.Context(), `select count(*) n, max(STATUS) from SALES.CORE.ORDERS where ID < 10`).Scan(&n, &status); err != nil {
		t.Fatal(err)
	}
	if n != 10 || status != "open" {
		t.Errorf("got %d, %q", n, status)
	}
	total, records, err := stream(t.Context(), t, db, `select * from SALES.CORE.ORDERS`)
	if err != nil {
		t.Fatal(err)
	}
	if total != 20000 || rowCount(records) != 20000 {
		t.Errorf("declared %d, delivered %d rows", total, rowCount(records))
	}
	if s.TelemetryRequests() != 0 {
		t.Error("the driver sent telemetry")
	}
}
