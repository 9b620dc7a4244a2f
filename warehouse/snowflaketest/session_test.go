package snowflaketest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func withParameter(name, value string) func(*gosnowflake.Config) {
	return func(c *gosnowflake.Config) {
		if c.Params == nil {
			c.Params = map[string]*string{}
		}
		c.Params[name] = &value
	}
}

// The session's time zone decides about casts to and truncations of local-zone
// values, and about the current date.
func TestTimeZonesMatter(t *testing.T) {
	s := newServer(t, snowflaketest.Config{}, `create database DB; create table DB.PUBLIC.T (N timestamp_ntz, L timestamp_ltz, Z timestamp_tz, D date);
		insert into DB.PUBLIC.T values ('2026-03-01 02:30:00', '2026-03-01T02:30:00+00:00', '2026-03-01T02:30:00+09:00'::timestamp_tz, '2026-03-01')`)
	for expression, want := range map[string][3]string{ // in UTC, Berlin, New York
		`date_part(epoch_second, N::timestamp_ltz)`: {"1772332200", "1772328600", "1772350200"},
		`date_part(epoch_second, D::timestamp_ltz)`: {"1772323200", "1772319600", "1772341200"},
		`date_part(epoch_second, Z::timestamp_ltz)`: {"1772299800", "1772299800", "1772299800"},
		`L::date`:                               {"2026-03-01", "2026-03-01", "2026-02-28"},
		`to_char(date_trunc(month, L), 'YYYY')`: {"2026", "2026", "2026"},
		`date_part(epoch_second, date_trunc(day, N::timestamp_ltz))`:       {"1772323200", "1772319600", "1772341200"},
		`date_trunc(day, N)::date`:                                         {"2026-03-01", "2026-03-01", "2026-03-01"},
		`date_part(hour, L)`:                                               {"2", "3", "21"},
		`datediff(day, current_date, current_timestamp::date)`:             {"0", "0", "0"},
		`convert_timezone('UTC', 'America/New_York', N)::date`:             {"2026-02-28", "2026-02-28", "2026-02-28"},
		`date_part(epoch_second, to_timestamp_ltz('2026-03-01T00:00:00'))`: {"1772323200", "1772319600", "1772341200"},
	} {
		for i, zone := range []string{"UTC", "Europe/Berlin", "America/New_York"} {
			_, rows, err := sqlRows(t, s, `select (`+expression+`)::varchar from DB.PUBLIC.T`, withParameter("timezone", zone))
			if got := strings.Join(rows, " "); err != nil || got != want[i] {
				t.Errorf("%s in %s: %s, %v", expression, zone, got, err)
			}
		}
	}
}

// The week parameters of the account, the user and the session decide about weeks.
func TestWeeks(t *testing.T) {
	for _, test := range []struct{ start, policy, expression, want string }{
		{"0", "0", `date_trunc(week, '2026-03-01'::date)`, "2026-02-23"},
		{"1", "0", `date_trunc(week, '2026-03-01'::date)`, "2026-02-23"},
		{"7", "0", `date_trunc(week, '2026-03-01'::date)`, "2026-03-01"},
		{"7", "0", `date_trunc('week', '2026-02-28 23:59:59'::timestamp_ntz)::date`, "2026-02-22"},
		{"7", "0", `date_trunc('week', '2026-02-28 23:59:59'::timestamp_ltz)::date`, "2026-02-22"},
		{"3", "0", `date_trunc(week, '2026-03-03'::date)`, "2026-02-25"},
		{"3", "0", `date_trunc(week, '2026-03-04'::date)`, "2026-03-04"},
		{"0", "0", `week('2027-01-01'::date)`, "53"},
		{"0", "1", `week('2027-01-01'::date)`, "1"},
		{"0", "0", `date_part(week, '2027-01-01'::date)`, "53"},
		{"7", "1", `weekofyear('2027-01-03'::date)`, "2"},
		{"0", "0", `yearofweek('2027-01-01'::date)`, "2026"},
		{"0", "1", `yearofweek('2027-01-01'::date)`, "2027"},
		{"7", "1", `date_part(week_iso, '2027-01-01'::date)`, "53"},
		{"7", "0", `date_part(weekday_iso, '2026-03-01'::date)`, "7"},
		{"0", "0", `dayofweek('2026-03-01'::date)`, "0"},
		{"1", "0", `dayofweek('2026-03-01'::date)`, "7"},
		{"7", "0", `dayofweek('2026-03-01'::date)`, "1"},
		{"0", "0", `datediff(week, '2026-02-28'::date, '2026-03-01'::date)`, "0"},
		{"7", "0", `datediff(week, '2026-02-28'::date, '2026-03-01'::date)`, "1"},
		{"0", "0", `last_day('2026-03-01'::date, 'week')`, "2026-03-01"},
		{"7", "0", `last_day('2026-03-01'::date, week)`, "2026-03-07"},
		{"7", "0", `last_day('2026-03-01'::date)`, "2026-03-31"},
		{"7", "0", `last_day('2026-03-01'::date, 'year')`, "2026-12-31"},
	} {
		own := map[string]string{"WEEK_START": test.start, "WEEK_OF_YEAR_POLICY": test.policy}
		s := newServer(t, snowflaketest.Config{Parameters: own}, "create database DB")
		_, rows, err := sqlRows(t, s, "select ("+test.expression+")::varchar")
		if got := fmt.Sprint(rows); err != nil || got != "["+test.want+"]" {
			t.Errorf("%s with week start %s and policy %s: %s, %v", test.expression, test.start, test.policy, got, err)
		}
	}
}

// rolesConfig is an account in which the role SYNC sees two of five rows of DB.PUBLIC.T, and BI all.
func rolesConfig(secondary string) snowflaketest.Config {
	return snowflaketest.Config{
		Users: []snowflaketest.User{{Name: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword, Roles: []string{"SYNC", "BI"},
			Warehouse: snowflaketest.DefaultWarehouse, SecondaryRoles: secondary, Parameters: map[string]string{"TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_LTZ"}}},
		Parameters: map[string]string{"week_start": "7"},
		Roles:      []snowflaketest.Role{{Name: "SYNC", Select: []string{"DB.PUBLIC.T"}}, {Name: "BI", Select: []string{"DB.*"}}},
		Policies: []snowflaketest.Policy{
			{Name: "DB.RULES.REGIONS", Table: "DB.PUBLIC.T", Rows: "is_role_in_session('BI') or REGION = 'West'"},
			{Name: "DB.RULES.MAILS", Table: "DB.PUBLIC.T", Column: "MAIL", Value: "iff(current_role() = 'BI', MAIL, '****')"},
			{Name: "DB.RULES.SECRET", Table: "DB.PUBLIC.T", Rows: "true", IsHidden: true},
		},
	}
}

const rolesTables = `create database DB; create table DB.PUBLIC.T (ID int, REGION text, MAIL text); create table DB.PUBLIC.U (ID int);
	insert into DB.PUBLIC.T values (1, 'West', 'a'), (2, 'West', 'b'), (3, 'East', 'c'), (4, 'East', 'd'), (5, null, 'e')`

func TestRolesSeeDifferentRows(t *testing.T) {
	role := func(name string) func(*gosnowflake.Config) {
		return func(c *gosnowflake.Config) { c.Role = name }
	}
	for _, test := range []struct{ secondary, role, query, want string }{
		{"", "SYNC", `select ID, MAIL from DB.PUBLIC.T order by 1`, "[1,**** 2,****]"},
		{"", "BI", `select ID, MAIL from DB.PUBLIC.T order by 1`, "[1,a 2,b 3,c 4,d 5,e]"},
		{"ALL", "SYNC", `select count(*), min(MAIL) from DB.PUBLIC.T`, "[5,****]"},
		{"", "SYNC", `select count(x.ID), max(y.ID) from DB.PUBLIC.T x join DB.PUBLIC.T as y on x.ID = y.ID where x.ID > 0`, "[2,2]"},
		{"", "SYNC", `select T.ID from DB.PUBLIC.T where T.ID > 1`, "[2]"},
		{"", "SYNC", `select "T"."ID" from "DB"."PUBLIC"."T" limit 1`, "[1]"},
		{"", "SYNC", `select count(*) from DB.PUBLIC.U`, "error"},
		{"ALL", "SYNC", `select count(*) from DB.PUBLIC.U`, "[0]"},
		{"", "SYNC", `select current_secondary_roles()`, `[{"roles":"","value":""}]`},
		{"ALL", "SYNC", `select current_secondary_roles()`, `[{"roles":"BI","value":"ALL"}]`},
		{"", "SYNC", `select POLICY_KIND, POLICY_NAME, REF_COLUMN_NAME from table(DB.information_schema.policy_references(ref_entity_name => 'DB.PUBLIC.T', ref_entity_domain => 'table'))`,
			"[MASKING_POLICY,MAILS,MAIL ROW_ACCESS_POLICY,REGIONS,<null>]"},
		{"", "BI", `select POLICY_NAME from table(DB.information_schema.policy_references(ref_entity_name => 'db.public.u', ref_entity_domain => 'table'))`, "[]"},
		{"", "SYNC", `select TABLE_NAME, date_part(epoch_second, LAST_ALTERED) from DB.information_schema.tables where TABLE_SCHEMA = 'PUBLIC'`, "[T,1700000000]"},
	} {
		s := newServer(t, rolesConfig(test.secondary), rolesTables)
		s.SetAltered("DB.PUBLIC.T", time.Unix(1700000000, 0))
		_, rows, err := sqlRows(t, s, test.query, role(test.role))
		slices.Sort(rows)
		if got := fmt.Sprint(rows); err != nil && test.want != "error" || err == nil && got != test.want {
			t.Errorf("%s as %s with secondary roles %q: %s, %v", test.query, test.role, test.secondary, got, err)
		}
	}
}

// SHOW PARAMETERS shows the level at which each value is set.
func TestShowParameters(t *testing.T) {
	s := newServer(t, rolesConfig(""), rolesTables)
	_, rows, err := sqlRows(t, s, "show parameters in session", withParameter("timezone", "Asia/Kolkata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"TIMEZONE,Asia/Kolkata,America/Los_Angeles,SESSION,,STRING", "WEEK_START,7,0,ACCOUNT,,STRING",
		"TIMESTAMP_TYPE_MAPPING,TIMESTAMP_LTZ,,USER,,STRING", "WEEK_OF_YEAR_POLICY,0,0,,,STRING",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("%s is not among %q", want, rows)
		}
	}
	_, rows, err = sqlRows(t, s, "show parameters like 'week%' in session")
	if err != nil || len(rows) != 2 {
		t.Errorf("%q, %v", rows, err)
	}
}

func TestUseSecondaryRoles(t *testing.T) {
	s := newServer(t, rolesConfig(""), rolesTables)
	db := openDB(t, s)
	db.SetMaxOpenConns(1)
	count := func() (n int) {
		if err := db.QueryRowContext(t.Context(), "select count(*) from DB.PUBLIC.T").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, step := range []struct {
		statement string
		rows      int
	}{{"select 1", 2}, {"use secondary roles all", 5}, {"use secondary roles none", 2}} {
		if _, err := db.ExecContext(t.Context(), step.statement); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != step.rows {
			t.Errorf("after %s: %d rows", step.statement, n)
		}
	}
}
