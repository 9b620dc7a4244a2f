package snowflake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// values returns the columns and the values of a statement.
func values(ctx context.Context, w warehouse.Warehouse, statement warehouse.Statement) (_ *arrow.Schema, rows []string, err error) {
	result, err := w.Query(ctx, statement)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	rows, err = rest(ctx, result)
	return result.Schema(), rows, err
}

func rest(ctx context.Context, from interface {
	Next(context.Context) (arrow.RecordBatch, error)
}) (rows []string, err error) {
	for {
		batch, err := from.Next(ctx)
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		for i := range int(batch.NumRows()) {
			var row []string
			for _, column := range batch.Columns() {
				row = append(row, strings.Clone(column.ValueStr(i)))
			}
			rows = append(rows, strings.Join(row, " "))
		}
		batch.Release()
	}
}

const instants = `SELECT D::TIMESTAMP_LTZ "Due", L, Z, N, L::DATE FROM (SELECT '2026-03-01'::DATE D, '2026-02-28T23:30:00+00:00'::TIMESTAMP_LTZ L,
	'2026-02-28T23:30:00+09:00'::TIMESTAMP_TZ Z, '2026-02-28 23:30:00'::TIMESTAMP_NTZ N)`

// Sessions read local-zone values in their zone, and name it in the column. The
// column of a TIMESTAMP_TZ is the same in each zone.
func TestTimeZone(t *testing.T) {
	s := account(t, snowflaketest.Config{Parameters: map[string]string{"TIMEZONE": "Asia/Tokyo"}})
	for zone, want := range map[string]string{
		"":                 "2026-03-01T00:00:00Z 2026-02-28T23:30:00Z 2026-02-28T14:30:00Z 2026-02-28T23:30:00 2026-02-28",
		"UTC":              "2026-03-01T00:00:00Z 2026-02-28T23:30:00Z 2026-02-28T14:30:00Z 2026-02-28T23:30:00 2026-02-28",
		"Europe/Berlin":    "2026-03-01T00:00:00+01:00 2026-03-01T00:30:00+01:00 2026-02-28T14:30:00Z 2026-02-28T23:30:00 2026-03-01",
		"America/New_York": "2026-03-01T00:00:00-05:00 2026-02-28T18:30:00-05:00 2026-02-28T14:30:00Z 2026-02-28T23:30:00 2026-02-28",
	} {
		c := config(s)
		c.TimeZone = zone
		schema, rows, err := values(t.Context(), open(t, c), warehouse.Statement{SQL: instants})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rows, "; "); got != want {
			t.Errorf("%q: %s instead of %s", zone, got, want)
		}
		if err := warehouse.CheckSchema(schema); err != nil {
			t.Error(err)
		}
		if described, err := open(t, c).Describe(t.Context(), warehouse.Statement{SQL: instants}); err != nil || !described.Equal(schema) {
			t.Errorf("%q: described as %v, %v", zone, described, err)
		}
	}
	for _, zone := range []string{"Local", "Mars/Olympus"} {
		c := config(s)
		c.TimeZone = zone
		if _, err := snowflake.Open(c); err == nil {
			t.Errorf("%q is taken", zone)
		}
	}
}

// A kept result keeps the zone of the session that ran it, whatever the zone of the
// one that opens it again.
func TestKeptResultsKeepTheirZone(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	c := config(s)
	c.TimeZone = "Europe/Berlin"
	days := func([]string) []int { return []int{0} }
	result, err := open(t, c).Query(t.Context(), warehouse.Statement{SQL: instants, Days: days})
	if err != nil {
		t.Fatal(err)
	}
	manifest, parts, err := result.(warehouse.Kept).Keep()
	if err != nil {
		t.Fatal(err)
	}
	c.TimeZone = "America/New_York"
	again, err := open(t, c).Reopen(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []warehouse.Parts{parts, again} {
		part, err := p.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := rest(t.Context(), part)
		if want := []string{"2026-03-01 2026-03-01T00:30:00+01:00 2026-02-28T14:30:00Z 2026-02-28T23:30:00 2026-03-01"}; err != nil || !slices.Equal(rows, want) {
			t.Errorf("%q, %v", rows, err)
		}
		if !p.Schema().Equal(result.Schema()) {
			t.Errorf("the columns are %v instead of %v", p.Schema(), result.Schema())
		}
		if err := errors.Join(part.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A column of casts of dates is delivered as dates, and a value of it that is not a
// midnight is an error by column and row.
func TestDays(t *testing.T) {
	s := account(t, snowflaketest.Config{}, `CREATE DATABASE DB; CREATE TABLE DB.PUBLIC.T (ID INT, D DATE); INSERT INTO DB.PUBLIC.T VALUES
		(1, '2026-03-01'), (2, NULL), (3, '9999-12-31'), (4, '2026-03-29'), (5, '1800-01-01')`)
	days := func(names []string) []int { return []int{slices.Index(names, "Due"), -1} }
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo"} {
		c := config(s)
		c.TimeZone = zone
		w := open(t, c)
		schema, rows, err := values(t.Context(), w, warehouse.Statement{SQL: `SELECT ID, D::TIMESTAMP_LTZ "Due", D FROM DB.PUBLIC.T ORDER BY ID`, Days: days,
			Choose: func([]string) ([]int, error) { return []int{1, 2}, nil }})
		want := []string{"2026-03-01 2026-03-01", "(null) (null)", "9999-12-31 9999-12-31", "2026-03-29 2026-03-29", "1800-01-01 1800-01-01"}
		if err != nil || !slices.Equal(rows, want) {
			t.Errorf("%s: %q, %v", zone, rows, err)
		}
		if typ, _ := schema.Field(0).Metadata.GetValue(warehouse.MetadataType); schema.Field(0).Type.ID() != arrow.DATE32 || typ != "TIMESTAMP_LTZ(9)" {
			t.Errorf("%s: the column is %v, %s", zone, schema.Field(0), typ)
		}
		_, _, err = values(t.Context(), w, warehouse.Statement{SQL: `SELECT DATEADD(hour, IFF(ID = 3, 12, 0), D::TIMESTAMP_LTZ) "Due" FROM DB.PUBLIC.T ORDER BY ID`, Days: days})
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindUnsupported || failure.Column != "Due" || failure.Row != 3 || !strings.Contains(err.Error(), "beginning of a day") {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

func rolesAccount(t *testing.T) *snowflaketest.Server {
	return account(t, snowflaketest.Config{
		Users: []snowflaketest.User{{Name: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword, Roles: []string{"SYNC", "BI"},
			Warehouse: snowflaketest.DefaultWarehouse, Parameters: map[string]string{"TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ", "LOG_LEVEL": "INFO", "A_PARAMETER_OF_TOMORROW": "on"}}},
		Parameters: map[string]string{"WEEK_START": "7"},
		Roles:      []snowflaketest.Role{{Name: "SYNC", Select: []string{"DB.PUBLIC.*"}}},
		Policies: []snowflaketest.Policy{
			{Name: "DB.RULES.REGIONS", Table: "DB.PUBLIC.T", Rows: "IS_ROLE_IN_SESSION('BI') OR ID <= 2"},
			{Name: "DB.RULES.MAILS", Table: "DB.PUBLIC.T", Column: "MAIL", Value: "'****'"},
		},
	}, `CREATE DATABASE DB; CREATE SCHEMA DB.SECRET; CREATE TABLE DB.PUBLIC.T (ID INT, MAIL TEXT); CREATE TABLE DB.PUBLIC."it's" (ID INT);
		CREATE TABLE DB.SECRET.U (ID INT); CREATE VIEW DB.PUBLIC.V AS SELECT 1 AS ID; INSERT INTO DB.PUBLIC.T VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')`)
}

// The secondary roles of the configuration are active in each session, also in one
// that replaces another.
func TestSecondaryRoles(t *testing.T) {
	for roles, want := range map[snowflake.SecondaryRoles]int64{snowflake.DefaultSecondaryRoles: 2, snowflake.NoSecondaryRoles: 2, snowflake.AllSecondaryRoles: 5} {
		s := rolesAccount(t)
		c := config(s)
		c.Role, c.SecondaryRoles = "SYNC", roles
		w := open(t, c)
		for range 2 {
			if rows, err := read(t.Context(), w, "SELECT * FROM DB.PUBLIC.T"); err != nil || rows != want {
				t.Errorf("%q: %d rows, %v", roles, rows, err)
			}
			s.ExpireSessions()
		}
		for _, query := range s.Queries() {
			if strings.HasPrefix(query.SQL, "USE") != (query.SQL == "USE SECONDARY ROLES "+string(roles)) {
				t.Errorf("%q: %s", roles, query.SQL)
			}
		}
	}
}

// Secondary roles and parameters that Snowflake refuses are a matter of the
// configuration, and leave no session.
func TestRefusedSessions(t *testing.T) {
	s := rolesAccount(t)
	c := config(s)
	c.SecondaryRoles = "SOME"
	_, err := read(t.Context(), open(t, c), "SELECT 1")
	var failure *warehouse.Error
	if !errors.As(err, &failure) || failure.Kind != warehouse.KindConfiguration || !strings.Contains(err.Error(), "secondary roles SOME") {
		t.Errorf("%v", err)
	}
	s.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
		return &snowflaketest.Error{Code: "001006", State: "22023", Message: "invalid value [Europe/Berlin] for parameter 'TIMEZONE'"}
	}})
	_, err = read(t.Context(), open(t, config(s)), "SELECT 1")
	if !errors.As(err, &failure) || failure.Kind != warehouse.KindConfiguration || !strings.Contains(err.Error(), "time zone") {
		t.Errorf("%v", err)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// A statement of a caller cannot change the session.
func TestStatementsCannotChangeRoles(t *testing.T) {
	c := config(rolesAccount(t))
	c.Role, c.SecondaryRoles = "SYNC", snowflake.NoSecondaryRoles
	w := open(t, c)
	for _, sql := range []string{"USE SECONDARY ROLES ALL", " -- select\nuse secondary roles all", "ALTER SESSION SET TIMEZONE = 'UTC'"} {
		var failure *warehouse.Error
		if _, err := read(t.Context(), w, sql); !errors.As(err, &failure) || failure.Kind != warehouse.KindInvalidSQL {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestInspectSession(t *testing.T) {
	s := rolesAccount(t)
	c := config(s)
	weekOfYear := 1
	c.Role, c.Database, c.Schema, c.TimeZone, c.WeekOfYearPolicy = "SYNC", "DB", "PUBLIC", "Europe/Berlin", &weekOfYear
	for roles, want := range map[snowflake.SecondaryRoles]string{snowflake.DefaultSecondaryRoles: "NONE", snowflake.NoSecondaryRoles: "NONE", snowflake.AllSecondaryRoles: "ALL"} {
		c.SecondaryRoles = roles
		session, err := open(t, c).InspectSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if session.Role != "SYNC" || session.SecondaryRoles != want || session.Database != "DB" || session.Schema != "PUBLIC" {
			t.Errorf("%q: %+v", roles, session)
		}
		found := map[string]string{}
		for _, p := range session.Parameters {
			found[p.Name] = fmt.Sprintf("%s %s %t %t", p.Value, p.Level, p.IsPinned, p.AffectsRows)
		}
		for name, want := range map[string]string{
			"TIMEZONE": "Europe/Berlin SESSION true true", "WEEK_START": "7 ACCOUNT false true", "WEEK_OF_YEAR_POLICY": "1 SESSION true true",
			"TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ USER false true", "LOG_LEVEL": "INFO USER false false",
			"A_PARAMETER_OF_TOMORROW": "on USER false true", "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM  false true",
			"QUOTED_IDENTIFIERS_IGNORE_CASE": "false SESSION true true", "BINARY_INPUT_FORMAT": "HEX SESSION true true", "BINARY_OUTPUT_FORMAT": "HEX SESSION true true",
		} {
			if found[name] != want {
				t.Errorf("%s is %q instead of %q", name, found[name], want)
			}
		}
	}
	for _, q := range s.Queries() { // metadata needs no virtual warehouse
		if strings.Contains(q.SQL, "GENERATOR") {
			t.Errorf("%s ran", q.SQL)
		}
	}
}

func TestLastAltered(t *testing.T) {
	s := rolesAccount(t)
	c := config(s)
	c.Role, c.TimeZone = "SYNC", "Asia/Kolkata"
	at := time.Date(2026, 4, 1, 2, 3, 4, 0, time.UTC)
	s.SetAltered("DB.PUBLIC.T", at)
	s.SetAltered("DB.SECRET.U", at)
	got, err := open(t, c).LastAltered(t.Context(), [][]string{{"DB", "PUBLIC", "NONE"}, {"DB", "PUBLIC", "T"}, {"DB", "SECRET", "U"}, {"DB", "PUBLIC", "it's"}})
	if err != nil {
		t.Fatal(err)
	}
	if !got[0].IsZero() || !got[1].Equal(at) || !got[2].IsZero() || got[3].IsZero() {
		t.Errorf("%v", got)
	}
	if _, err := open(t, c).LastAltered(t.Context(), [][]string{{"T"}}); err == nil {
		t.Error("a short name is taken")
	}
}

func TestPolicies(t *testing.T) {
	c := config(rolesAccount(t))
	c.Role = "SYNC"
	w := open(t, c)
	got, err := w.Policies(t.Context(), []string{"DB", "PUBLIC", "T"})
	slices.SortFunc(got, func(a, b warehouse.Policy) int { return strings.Compare(a.Name, b.Name) })
	if want := []warehouse.Policy{{Kind: "MASKING_POLICY", Name: "DB.RULES.MAILS", Column: "MAIL"}, {Kind: "ROW_ACCESS_POLICY", Name: "DB.RULES.REGIONS"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, table := range []string{"V", "it's", "NONE"} {
		if got, err := w.Policies(t.Context(), []string{"DB", "PUBLIC", table}); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", table, got, err)
		}
	}
}

// Weeks begin as the account has it, unless the configuration has a day.
func TestWeekParameters(t *testing.T) {
	s := account(t, snowflaketest.Config{Parameters: map[string]string{"WEEK_START": "7", "WEEK_OF_YEAR_POLICY": "1"}})
	const sql = `SELECT DATE_TRUNC(week, '2026-03-01'::DATE), WEEK('2027-01-01'::DATE), DATEDIFF(week, '2026-02-28'::DATE, '2026-03-01'::DATE)`
	zero := 0
	for _, test := range []struct {
		start, policy *int
		want          string
	}{{nil, nil, "2026-03-01 1 1"}, {&zero, nil, "2026-02-23 1 0"}, {nil, &zero, "2026-03-01 52 1"}, {&zero, &zero, "2026-02-23 53 0"}} {
		c := config(s)
		c.WeekStart, c.WeekOfYearPolicy = test.start, test.policy
		if _, rows, err := values(t.Context(), open(t, c), warehouse.Statement{SQL: sql}); err != nil || strings.Join(rows, "; ") != test.want {
			t.Errorf("%q instead of %s, %v", rows, test.want, err)
		}
	}
}
