//lint:file-ignore SA1019 the driver's v1.19.1 deprecates these fields and offers nothing in their place

package snowflaketest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// code is the driver's number of a Snowflake error, 0 without one.
func code(err error) int {
	var se *sf.SnowflakeError
	if errors.As(err, &se) {
		return se.Number
	}
	return 0
}

func ping(ctx context.Context, db *sql.DB) error {
	var one int
	return db.QueryRowContext(ctx, "select 1").Scan(&one)
}

func TestLogin(t *testing.T) {
	key, other := newKey(t), newKey(t)
	s := newServer(t, snowflaketest.Config{
		Account:    "ACME",
		Warehouses: []string{"WH", "BIG"},
		Users: []snowflaketest.User{{
			Name: "ALICE", Password: "secret", PublicKeys: []*rsa.PublicKey{&other.PublicKey, &key.PublicKey},
			AccessTokens: []string{"pat-1"}, OAuthTokens: []string{"oauth-1"},
			Roles: []string{"ANALYST", "ADMIN"}, Warehouse: "WH",
		}, {Name: "BOB", Password: "bobs"}},
	}, `create database SALES; create schema SALES.CORE`)
	tests := []struct {
		name   string
		change func(*sf.Config)
		code   int // 0 where the login succeeds
	}{
		{"password", func(c *sf.Config) {}, 0},
		{"lower-case user", func(c *sf.Config) { c.User = "alice" }, 0},
		{"wrong password", func(c *sf.Config) { c.Password = "no" }, 390100},
		{"unknown user", func(c *sf.Config) { c.User = "EVE" }, 390100},
		{"another user's password", func(c *sf.Config) { c.User = "BOB" }, 390100},
		{"unknown account", func(c *sf.Config) { c.Account = "OTHER" }, 390100},
		{"key pair", func(c *sf.Config) { c.Authenticator, c.PrivateKey = sf.AuthTypeJwt, key }, 0},
		{"second key of the pair", func(c *sf.Config) { c.Authenticator, c.PrivateKey = sf.AuthTypeJwt, other }, 0},
		{"unregistered key", func(c *sf.Config) { c.Authenticator, c.PrivateKey = sf.AuthTypeJwt, newKey(t) }, 390144},
		{"key of another user", func(c *sf.Config) { c.User, c.Authenticator, c.PrivateKey = "BOB", sf.AuthTypeJwt, key }, 390144},
		{"expired key token", func(c *sf.Config) {
			c.Authenticator, c.PrivateKey, c.JWTExpireTimeout = sf.AuthTypeJwt, key, -60e9
		}, 390144},
		{"too long a key token", func(c *sf.Config) {
			c.Authenticator, c.PrivateKey, c.JWTExpireTimeout = sf.AuthTypeJwt, key, 7200e9
		}, 390144},
		{"access token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "pat-1" }, 0},
		{"wrong access token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "pat-2" }, 394400},
		{"access token of another user", func(c *sf.Config) { c.User, c.Authenticator, c.Token = "BOB", sf.AuthTypePat, "pat-1" }, 394400},
		{"oauth", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypeOAuth, "oauth-1" }, 0},
		{"wrong oauth token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypeOAuth, "oauth-2" }, 390303},
		{"granted role", func(c *sf.Config) { c.Role = "admin" }, 0},
		{"role not granted", func(c *sf.Config) { c.Role = "SYSADMIN" }, 390189},
		{"warehouse, database, schema", func(c *sf.Config) { c.Warehouse, c.Database, c.Schema = "big", "sales", "core" }, 0},
		{"unknown warehouse", func(c *sf.Config) { c.Warehouse = "NONE" }, 390201},
		{"unknown database", func(c *sf.Config) { c.Database = "NONE" }, 390201},
		{"unknown schema", func(c *sf.Config) { c.Database, c.Schema = "SALES", "NONE" }, 390201},
		{"unknown warehouse, not validated", func(c *sf.Config) {
			c.Warehouse, c.ValidateDefaultParameters = "NONE", sf.ConfigBoolFalse
		}, 0},
		{"invalid time zone", func(c *sf.Config) { zone := "Mars/Base"; c.Params["timezone"] = &zone }, 1006},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := openDB(t, s, func(c *sf.Config) { c.User, c.Password = "ALICE", "secret" }, tt.change)
			err := ping(t.Context(), db)
			if code(err) != tt.code || (err != nil) != (tt.code != 0) {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
		})
	}
	if n := s.TelemetryRequests(); n != 0 {
		t.Errorf("the driver sent telemetry %d times", n)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions left open", n)
	}
}

func TestSessionContext(t *testing.T) {
	s := newServer(t, snowflaketest.Config{
		Warehouses: []string{"WH"},
		Users:      []snowflaketest.User{{Name: "ALICE", Password: "p", Roles: []string{"ANALYST", "ADMIN"}}},
	}, `create database SALES; create schema SALES.CORE; create table SALES.CORE.T (A int); insert into SALES.CORE.T values (7)`)
	db := openDB(t, s, func(c *sf.Config) { c.User, c.Password = "ALICE", "p" })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{`use role admin`, `use warehouse "WH"`, `use database SALES`, `use schema core`,
		`alter session set TIMEZONE = 'Asia/Tokyo', QUERY_TAG = 'tagged'`} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	var got [7]string
	if err := db.QueryRowContext(t.Context(), `select current_user(), current_role(), current_warehouse(), current_database(), current_schema(),
		'2026-01-01 00:00:00+00'::timestamp_ltz::text, A from T`).Scan(&got[0], &got[1], &got[2], &got[3], &got[4], &got[5], &got[6]); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got[:], "|"); s != "ALICE|ADMIN|WH|SALES|CORE|2026-01-01 09:00:00.000 +0900|7" {
		t.Error(s)
	}
	q := s.Queries()
	if last := q[len(q)-1]; last.Tag != "tagged" || last.Role != "ADMIN" || last.Parameters["TIMEZONE"] != "Asia/Tokyo" || last.Rows != 1 {
		t.Errorf("history has %+v", last)
	}
	for statement, want := range map[string]int{`use role ORGADMIN`: 3013, `use warehouse NONE`: 2043, `use schema NONE`: 2043,
		`drop table T`: 3001, `insert into T values (1)`: 3001, `alter session set TIMEZONE = 'x'`: 1006, `select 1; select 2`: 8} {
		if _, err := db.ExecContext(t.Context(), statement); code(err) != want {
			t.Errorf("%s: %v, want code %d", statement, err, want)
		}
	}
}

func TestTokenRenewal(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	db := openDB(t, s)
	db.SetMaxOpenConns(1)
	if err := ping(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	s.ExpireTokens()
	if err := ping(t.Context(), db); err != nil {
		t.Fatalf("after the token expired: %v", err)
	}
	if s.Sessions() != 1 {
		t.Errorf("%d sessions, want the one renewed", s.Sessions())
	}
	s.ExpireSessions()
	if err := ping(t.Context(), db); code(err) != 390114 {
		t.Errorf("after the session expired: %v", err)
	}
}

func TestLoginFaults(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	s.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error { return snowflaketest.NetworkPolicyError() }})
	if err := ping(t.Context(), openDB(t, s)); code(err) != 390422 {
		t.Errorf("network policy: %v", err)
	}
	s.SetFaults(snowflaketest.Faults{Status: func(path string) int {
		if strings.HasPrefix(path, "/session/v1/") {
			return http.StatusForbidden
		}
		return 0
	}})
	if err := ping(t.Context(), openDB(t, s)); code(err) != sf.ErrCodeFailedToConnect {
		t.Errorf("403: %v", err)
	}
}

func TestTelemetryIsCounted(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	if err := ping(t.Context(), openDB(t, s, func(c *sf.Config) { c.DisableTelemetry = false })); err != nil {
		t.Fatal(err)
	}
	if s.TelemetryRequests() == 0 {
		t.Error("none counted")
	}
}
