package snowflake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
	"github.com/sigmasource/sigmasource/warehouse/warehousetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var dialect = warehousetest.Dialect{
	Literals: map[warehousetest.Kind]string{
		warehousetest.Bool:      "%s::BOOLEAN",
		warehousetest.Whole:     "%s::NUMBER(38,0)",
		warehousetest.Wide:      "%s::NUMBER(38,0)",
		warehousetest.Decimal:   "%s::NUMBER(38,10)",
		warehousetest.Float:     "%s::FLOAT",
		warehousetest.Text:      "%s::VARCHAR",
		warehousetest.Binary:    "TO_BINARY(%s, 'HEX')",
		warehousetest.Date:      "%s::DATE",
		warehousetest.Time:      "%s::TIME",
		warehousetest.Timestamp: "%s::TIMESTAMP_NTZ",
		warehousetest.Instant:   "%s::TIMESTAMP_LTZ",
		warehousetest.Zoned:     "%s::TIMESTAMP_TZ",
		warehousetest.JSON:      "PARSE_JSON(%s)",
	},
	Series:  `SELECT SEQ4() AS "ID", 'row ' || SEQ4() AS "NAME" FROM TABLE(GENERATOR(ROWCOUNT => %d))`,
	Endless: `SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 10000000000)) A, TABLE(GENERATOR(ROWCOUNT => 10000000000)) B`,
	Failing: `SELECT ('SECRET_MARK' || SEQ4())::NUMBER(10,0) FROM TABLE(GENERATOR(ROWCOUNT => 10))`,
}

// account starts an account.
func account(t testing.TB, config snowflaketest.Config, setup ...string) *snowflaketest.Server {
	t.Helper()
	s, err := snowflaketest.NewServer(config)
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

// config returns the configuration of an account's one user.
func config(s *snowflaketest.Server) snowflake.Config {
	return snowflake.Config{
		Account: s.Account(), Host: s.Host(), Port: s.Port(), Protocol: "http",
		User: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword,
	}
}

func open(t testing.TB, c snowflake.Config) *snowflake.Warehouse {
	t.Helper()
	w, err := snowflake.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestConformance(t *testing.T) {
	s := account(t, snowflaketest.Config{GzipChunks: true}, `CREATE DATABASE "APP"`)
	warehousetest.Run(t, dialect, func(t testing.TB, mem memory.Allocator) warehouse.Warehouse {
		c := config(s)
		c.Allocator, c.Database = mem, "APP"
		w, err := snowflake.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return w
	})
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are still logged in", n)
	}
	if n := s.TelemetryRequests(); n != 0 {
		t.Errorf("the driver sent telemetry %d times", n)
	}
}

func TestZones(t *testing.T) {
	s := account(t, snowflaketest.Config{}, `CREATE DATABASE "APP"`)
	warehousetest.RunZones(t, dialect, func(t testing.TB, mem memory.Allocator, timeZone string) warehouse.Warehouse {
		c := config(s)
		c.Allocator, c.TimeZone = mem, timeZone
		w, err := snowflake.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		return w
	})
}

// read runs a query to its end and returns its rows and error.
func read(ctx context.Context, w warehouse.Warehouse, sql string) (rows int64, err error) {
	result, err := w.Query(ctx, warehouse.Statement{SQL: sql})
	if err != nil {
		return 0, err
	}
	for err == nil {
		var batch interface {
			NumRows() int64
			Release()
		}
		if batch, err = result.Next(ctx); err == nil {
			rows += batch.NumRows()
			batch.Release()
		}
	}
	if closeErr := result.Close(); err == io.EOF {
		err = closeErr
	}
	return rows, err
}

// failure returns the warehouse error that a query must end with.
func failure(t *testing.T, w warehouse.Warehouse, sql string) *warehouse.Error {
	t.Helper()
	rows, err := read(t.Context(), w, sql)
	var e *warehouse.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: ended after %d rows with %v", sql, rows, err)
	}
	return e
}

func series(n int) string { return fmt.Sprintf(dialect.Series, n) }

func TestCredentials(t *testing.T) {
	plain := pem(t, "plain.pem")
	publicKey := publicKeyOf(t, plain)
	s := account(t, snowflaketest.Config{Users: []snowflaketest.User{{
		Name: "ANN", Password: "pass word", AccessTokens: []string{"access"}, OAuthTokens: []string{"oauth"},
		PublicKeys: publicKey,
	}}})
	with := func(change func(*snowflake.Config)) snowflake.Config {
		c := config(s)
		c.User, c.Password = "ANN", ""
		change(&c)
		return c
	}
	for name, c := range map[string]snowflake.Config{
		"password":     with(func(c *snowflake.Config) { c.Password = "pass word" }),
		"access token": with(func(c *snowflake.Config) { c.AccessToken = "access" }),
		"OAuth":        with(func(c *snowflake.Config) { c.OAuthToken = "oauth" }),
		"key":          with(func(c *snowflake.Config) { c.KeyPair = &snowflake.KeyPair{PEM: plain} }),
		"des3 key": with(func(c *snowflake.Config) {
			c.KeyPair = &snowflake.KeyPair{PEM: pem(t, "des3.pem"), Passphrase: "passphrase"}
		}),
		"aes128 key": with(func(c *snowflake.Config) {
			c.KeyPair = &snowflake.KeyPair{PEM: pem(t, "aes128.pem"), Passphrase: "passphrase"}
		}),
		"aes256 key": with(func(c *snowflake.Config) {
			c.KeyPair = &snowflake.KeyPair{PEM: pem(t, "aes256.pem"), Passphrase: "passphrase"}
		}),
	} {
		id, err := open(t, c).Identify(t.Context())
		if err != nil {
			t.Errorf("%s: %v (cause: %v)", name, err, errors.Unwrap(err))
		} else if id.User != "ANN" || id.Account == "" {
			t.Errorf("%s: %+v", name, id)
		}
	}
	for name, c := range map[string]snowflake.Config{
		"password":     with(func(c *snowflake.Config) { c.Password = "wrong" }),
		"access token": with(func(c *snowflake.Config) { c.AccessToken = "wrong" }),
		"OAuth":        with(func(c *snowflake.Config) { c.OAuthToken = "wrong" }),
		"key":          with(func(c *snowflake.Config) { c.User, c.KeyPair = "BOB", &snowflake.KeyPair{PEM: plain} }),
	} {
		_, err := open(t, c).Identify(t.Context())
		var e *warehouse.Error
		if !errors.As(err, &e) || e.Kind != warehouse.KindCredentials {
			t.Errorf("a wrong %s: %v", name, err)
		} else if strings.Contains(e.Error(), "wrong") {
			t.Errorf("a wrong %s: the error tells it: %v", name, e)
		}
	}
}

func TestOpenChecksTheConfiguration(t *testing.T) {
	valid := snowflake.Config{Account: "org-account", User: "ANN", Password: "p"}
	for name, test := range map[string]struct {
		change func(*snowflake.Config)
		kind   warehouse.Kind
	}{
		"no account":           {func(c *snowflake.Config) { c.Account = "" }, warehouse.KindConfiguration},
		"an account as a URL":  {func(c *snowflake.Config) { c.Account = "evil.example/x" }, warehouse.KindConfiguration},
		"a host with a path":   {func(c *snowflake.Config) { c.Host = "a.example/x" }, warehouse.KindConfiguration},
		"http to a host":       {func(c *snowflake.Config) { c.Host, c.Protocol = "a.example", "http" }, warehouse.KindConfiguration},
		"no http at all":       {func(c *snowflake.Config) { c.Protocol = "ftp" }, warehouse.KindConfiguration},
		"no user":              {func(c *snowflake.Config) { c.User = "" }, warehouse.KindConfiguration},
		"no credentials":       {func(c *snowflake.Config) { c.Password = "" }, warehouse.KindCredentials},
		"two credentials":      {func(c *snowflake.Config) { c.AccessToken = "t" }, warehouse.KindCredentials},
		"a key that is none":   {key("nonsense", ""), warehouse.KindCredentials},
		"a key in PKCS #1":     {key(pem(t, "pkcs1.pem"), ""), warehouse.KindCredentials},
		"no passphrase":        {key(pem(t, "aes256.pem"), ""), warehouse.KindCredentials},
		"a wrong passphrase":   {key(pem(t, "aes256.pem"), "wrong"), warehouse.KindCredentials},
		"a wrong passphrase 2": {key(pem(t, "des3.pem"), "wrong"), warehouse.KindCredentials},
	} {
		c := valid
		test.change(&c)
		w, err := snowflake.Open(c)
		var e *warehouse.Error
		if !errors.As(err, &e) || e.Kind != test.kind || w != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	open(t, valid)
}

func key(text, passphrase string) func(*snowflake.Config) {
	return func(c *snowflake.Config) {
		c.Password, c.KeyPair = "", &snowflake.KeyPair{PEM: text, Passphrase: passphrase}
	}
}

func pem(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFailures(t *testing.T) {
	s := account(t, snowflaketest.Config{Roles: []snowflaketest.Role{{Name: snowflaketest.DefaultRole, Select: []string{"APP.PUBLIC.OPEN"}}}},
		`CREATE DATABASE "APP"`, `CREATE TABLE "APP"."PUBLIC"."OPEN" ("A" NUMBER(10,0))`, `CREATE TABLE "APP"."PUBLIC"."SECRET" ("A" NUMBER(10,0))`)
	c := config(s)
	c.Database = "APP"
	w := open(t, c)
	for _, test := range []struct {
		sql     string
		kind    warehouse.Kind
		object  string
		message string
	}{
		{`SELECT * FROM APP.PUBLIC.SECRET`, warehouse.KindPermission, "APP.PUBLIC.SECRET", "not granted"},
		{`SELECT * FROM APP.PUBLIC.GONE`, warehouse.KindPermission, "APP.PUBLIC.GONE", "not granted"},
		{`SELECT "B" FROM APP.PUBLIC.OPEN`, warehouse.KindInvalidSQL, "", `B`},
		{`PUT file:///etc/passwd @~`, warehouse.KindInvalidSQL, "", "not a query"},
		{`/* a */ GET @~/x file:///tmp`, warehouse.KindInvalidSQL, "", "not a query"},
		{`DROP TABLE APP.PUBLIC.OPEN`, warehouse.KindInvalidSQL, "", "not a query"},
		{`SELECTED`, warehouse.KindInvalidSQL, "", "not a query"},
		{`/* SELECT 1`, warehouse.KindInvalidSQL, "", "not a query"},
	} {
		e := failure(t, w, test.sql)
		if e.Kind != test.kind || e.Object != test.object || !strings.Contains(e.Message, test.message) {
			t.Errorf("%s: object %q: %v (cause: %v)", test.sql, e.Object, e, e.Err)
		}
	}
	for _, sql := range []string{
		"-- a\n// b\n/* c */ select 1", "(select 1)", "with q as (select 1) select * from q", "select(1)", "/* x */ select '*/ put file' as a",
	} {
		if rows, err := read(t.Context(), w, sql); rows != 1 || err != nil {
			t.Errorf("%s: %d rows, %v (cause: %v)", sql, rows, err, errors.Unwrap(err))
		}
	}
}

func TestLoginFailures(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	for name, test := range map[string]struct {
		change func(*snowflake.Config)
		faults snowflaketest.Faults
		kind   warehouse.Kind
	}{
		"network policy": {func(*snowflake.Config) {}, snowflaketest.Faults{Login: func(string) *snowflaketest.Error { return snowflaketest.NetworkPolicyError() }}, warehouse.KindConfiguration},
		"role":           {func(c *snowflake.Config) { c.Role = "NOBODY" }, snowflaketest.Faults{}, warehouse.KindConfiguration},
		"database":       {func(c *snowflake.Config) { c.Database = "NOWHERE" }, snowflaketest.Faults{}, warehouse.KindConfiguration},
		"account":        {func(*snowflake.Config) {}, snowflaketest.Faults{Status: func(string) int { return 403 }}, warehouse.KindConfiguration},
		"not found":      {func(*snowflake.Config) {}, snowflaketest.Faults{Status: func(string) int { return 404 }}, warehouse.KindConfiguration},
		"no answer":      {func(c *snowflake.Config) { c.Port = 1 }, snowflaketest.Faults{}, warehouse.KindUnavailable},
	} {
		s.SetFaults(test.faults)
		c := config(s)
		test.change(&c)
		_, err := open(t, c).Identify(t.Context())
		var e *warehouse.Error
		if !errors.As(err, &e) || e.Kind != test.kind {
			t.Errorf("%s: %v (cause: %v)", name, err, errors.Unwrap(err))
		}
		s.SetFaults(snowflaketest.Faults{})
	}
}

func TestSession(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	c := config(s)
	c.StatementTimeout = 90 * time.Second
	w := open(t, c)
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT 1", Tag: "acme/model"})
	if err != nil {
		t.Fatal(err)
	}
	queries := s.Queries()
	last := queries[len(queries)-1]
	if last.Tag != "acme/model" || last.ID != result.QueryID() || last.ID == "" {
		t.Errorf("the query history says tag %q and id %q; the result's id is %q", last.Tag, last.ID, result.QueryID())
	}
	for name, want := range map[string]string{
		"TIMEZONE": "UTC", "STATEMENT_TIMEOUT_IN_SECONDS": "90", "ROWS_PER_RESULTSET": "0", "CLIENT_TELEMETRY_ENABLED": "false",
	} {
		if got := last.Parameters[name]; got != want {
			t.Errorf("the session's %s is %q instead of %q", name, got, want)
		}
	}
	if err := result.Close(); err != nil {
		t.Error(err)
	}
}

func TestLostSessionsAreReplaced(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	w := open(t, config(s))
	for name, lose := range map[string]func(){"token": s.ExpireTokens, "session": s.ExpireSessions} {
		if _, err := read(t.Context(), w, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		lose()
		if rows, err := read(t.Context(), w, "SELECT 1"); rows != 1 || err != nil {
			t.Errorf("after the loss of the %s: %d rows, %v", name, rows, err)
		}
	}
}

func TestCancelAbortsTheQuery(t *testing.T) {
	s := account(t, snowflaketest.Config{InProgressAfter: time.Millisecond})
	w := open(t, config(s))
	if _, err := w.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s.SetFaults(snowflaketest.Faults{BeforeRun: func(ctx context.Context, _ snowflaketest.Query) *snowflaketest.Error {
		close(started)
		<-ctx.Done()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT 'cancelled'"})
		ended <- err
	}()
	<-started
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the query ended with %v", err)
	}
	if err := s.WaitIdle(t.Context()); err != nil {
		t.Error(err)
	}
	queries := s.Queries()
	if last := queries[len(queries)-1]; last.State != snowflaketest.StateAborted {
		t.Errorf("the query's state is %s", last.State)
	}
}

func TestCloseAbortsWhatRuns(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	w := open(t, config(s))
	started := make(chan struct{})
	s.SetFaults(snowflaketest.Faults{BeforeRun: func(ctx context.Context, _ snowflaketest.Query) *snowflaketest.Error {
		close(started)
		<-ctx.Done()
		return nil
	}})
	ended := make(chan error)
	go func() {
		_, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT 1"})
		ended <- err
	}()
	<-started
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	var e *warehouse.Error
	if err := <-ended; !errors.As(err, &e) || e.Kind != warehouse.KindUnavailable {
		t.Errorf("the query ended with %v", err)
	}
	if running, sessions := len(s.Running()), s.Sessions(); running != 0 || sessions != 0 {
		t.Errorf("%d queries and %d sessions are left", running, sessions)
	}
}

func TestTimestamps(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	w := open(t, config(s))
	for _, scale := range []int{0, 3, 6, 9} {
		sql := fmt.Sprintf(`SELECT '2024-02-29 12:34:56'::TIMESTAMP_NTZ(%d), '0001-01-01 00:00:00'::TIMESTAMP_LTZ(%d), '9999-12-31 23:59:59'::TIMESTAMP_NTZ(%d)`,
			scale, scale, scale)
		got := fmt.Sprint(warehousetest.Read(t, w, sql).Rows)
		if got != "[[2024-02-29 12:34:56.000000 0001-01-01 00:00:00.000000+00:00 9999-12-31 23:59:59.000000]]" {
			t.Errorf("scale %d: %s", scale, got)
		}
	}
}

// TestSameRowsAsDuckDB reads the suite's values through both adapters.
func TestSameRowsAsDuckDB(t *testing.T) {
	const sql = `SELECT * FROM (SELECT 9007199254740993::BIGINT AS "A", 12.3456789012::DECIMAL(38,10) AS "B", DATE '1969-07-20' AS "C",
		TIMESTAMP '1969-07-20 20:17:40.123456' AS "D", 'Zürich 😀' AS "E", NULL::VARCHAR AS "F", '' AS "G", TRUE AS "H", 1.5::DOUBLE AS "I")`
	local := duckdb.Open(duckdb.Config{})
	defer func() {
		if err := local.Close(); err != nil {
			t.Error(err)
		}
	}()
	remote := open(t, config(account(t, snowflaketest.Config{})))
	want, got := warehousetest.Read(t, local, sql), warehousetest.Read(t, remote, sql)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestDriverIsQuiet proves that the driver did not load its shared library.
func TestDriverIsQuiet(t *testing.T) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("no /proc/self/maps to look for the library in: ", err)
	}
	if strings.Contains(string(maps), "mini_core") {
		t.Error("the driver loaded its shared library")
	}
}

// A session whose login nobody waited for is the pool's: Snowflake would keep it for
// hours.
func TestALoginThatNobodyWaitsForLeavesNoSession(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := account(t, snowflaketest.Config{})
	s.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
		close(begun)
		<-goOn
		return nil
	}})
	w, err := snowflake.Open(config(s))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT 1"})
		failed <- err
	}()
	<-begun
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the query that was left failed with %v", err)
	}
	close(goOn)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are still logged in", n)
	}
	if queries := s.Queries(); len(queries) != 0 {
		t.Errorf("these ran: %v", queries)
	}
}
