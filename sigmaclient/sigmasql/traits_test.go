package sigmasql_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

const (
	april     = `to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')`
	midApril  = `to_timestamp_ltz('2026-04-02T23:59:59.999000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')`
	aprilUTC  = `to_timestamp_ltz('2026-04-01T00:00:00.000000000+00:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')`
	aprilZone = `to_timestamp_ntz('2026-04-01 00:00:00.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9')`
)

// The zone of the session decides about what is cast to the local zone, about days of zone-aware columns, and about "today". It
// does not decide about instants, and about columns without a zone that are compared as such.
func TestTheTextShowsWhetherTheZoneMatters(t *testing.T) {
	for _, test := range []struct {
		name, text string
		custom     string
		duckdb     bool
		want       bool
	}{
		{name: "zone-less column against a zone-less constant", text: `select A "A" from T where AT >= ` + aprilZone},
		{name: "date column against a date", text: `select A "A" from T where D >= to_date('2026-04-08', 'YYYY-MM-DD')`},
		{name: "aware column against an instant", text: `select A "A" from T where AT >= ` + april},
		{name: "aware column between instants", text: `select A "A" from T where AT between ` + april + ` and ` + midApril},
		{name: "days of a cast against instants", want: true, text: `select A "A" from T where date_trunc(day, AT::timestamp_ltz) >= ` + april},
		{name: "days of a column against instants", want: true, text: `select A "A" from T where date_trunc(day, Q.AT) >= ` + april},
		{name: "another function against instants", text: `select A "A" from T where coalesce(AT, B) >= ` + april},
		{name: "days between instants", want: true, text: `select A "A" from T where date_trunc('day', AT) between ` + april + ` and ` + midApril},
		{name: "days of a column that is compared with an instant", want: true, text: `select date_part(hour, Q."At") "H" from T Q where "At" <= ` + april},
		{name: "days of a column that is compared with a cast instant", want: true, text: `select hour(AT) "H" from T where AT <= '2026-04-01T00:00:00-04:00'::timestamp_ltz`},
		{name: "days of a column that is not compared with the instant", text: `select hour(AT) "H", AT > 1 "B", to_timestamp_ltz('2026-04-01T00:00:00-04:00') "C" from T`},
		{name: "days of another column", text: `select date_part(hour, B) "H" from T where AT <= ` + april},
		{name: "cast in a select list", want: true, text: `select AT::timestamp_ltz "At" from T`},
		{name: "cast function", want: true, text: `select cast(AT as timestamp_ltz) "At" from T`},
		{name: "try_cast", want: true, text: `select try_cast(AT as timestamp_ltz(9)) "At" from T`},
		{name: "conversion with a label", want: true, text: `select convert_timezone('UTC', 'America/New_York', AT::timestamp_ntz)::timestamp_ltz "At" from T`},
		{name: "conversion without one", text: `select convert_timezone('UTC', 'America/New_York', AT::timestamp_ntz) "At" from T`},
		{name: "cast to another type", text: `select AT::timestamp_ntz "At", cast(B as date) "B", C::timestamp_tz "C" from T`},
		{name: "cast instant", text: `select '2026-04-01T00:00:00Z'::timestamp_ltz "At" from T`},
		{name: "cast constant without a zone", want: true, text: `select '2026-04-01T00:00:00'::timestamp_ltz "At" from T`},
		{name: "converted constant without a zone", want: true, text: `select A "A" from T where AT < to_timestamp_ltz('2026-04-01')`},
		{name: "converted column without a zone", want: true, text: `select to_timestamp_ltz(C, 'YYYY-MM-DD') "At" from T`},
		{name: "converted column with a zone", text: `select to_timestamp_ltz(C, 'YYYY-MM-DD TZH:TZM') "At" from T`},
		{name: "converted seconds", text: `select to_timestamp_ltz(C) "At" from T`},
		{name: "cast of a date", want: true, text: `select to_date('2026-04-01')::timestamp_ltz "At" from T`},
		{name: "today", want: true, text: `select A "A" from (select *, current_date D from SHOP.A.T) Q`, custom: `select *, current_date D from SHOP.A.T`},
		{name: "called today", want: true, text: `select A "A" from T where D < Current_Date()`},
		{name: "the present day", want: true, text: `select A "A" from T where D < current_timestamp::date`},
		{name: "the present day of a call", want: true, text: `select A "A" from T where D < getdate()::date`},
		{name: "the present week", want: true, text: `select A "A" from T where D < date_trunc('week', current_timestamp())`},
		{name: "the present instant", text: `select A "A" from T where AT < current_timestamp()`},
		{name: "the present instant in UTC", text: `select A "A" from T where AT < sysdate()`},
		{name: "column of that name", text: `select Q.current_date "A", A current_date from T as current_date`},
		{name: "old text", want: true, text: `select C "C" from (select AT::timestamp_ltz CAST_TIMESTAMP_TO_DATETIME_6, A C from T) Q1 where CAST_TIMESTAMP_TO_DATETIME_6 >= ` + april},
		{name: "words in a constant and in a name", text: `select '::timestamp_ltz current_date' "::timestamp_ltz" from T -- ::timestamp_ltz`},
		{name: "DuckDB's type", duckdb: true, want: true, text: `select AT::timestamptz "At" from T`},
		{name: "DuckDB's type in words", duckdb: true, want: true, text: `select AT::timestamp with time zone "At" from T`},
		{name: "Snowflake's type of that name has a zone of its own", text: `select AT::timestamptz "At" from T`},
		{name: "DuckDB's plain type", duckdb: true, text: `select AT::timestamp "At" from T`},
	} {
		opts := sigmasql.Options{}
		if test.duckdb {
			opts.Dialect = sigmasql.DuckDB
		}
		if test.custom != "" {
			opts.CustomSQL = []string{test.custom}
		}
		if got := prepare(t, test.text+" limit 1000", opts).Traits().DependsOnZone; got != test.want {
			t.Errorf("%s: depends on the zone: %v, want %v", test.name, got, test.want)
		}
	}
}

// Dates of the local zone carry the organization's offset, except for those that an author wrote.
func TestOffsetsAreTheOrganizations(t *testing.T) {
	const custom = `select A from T where B > to_timestamp_ltz('2026-07-01T00:00:00+02:00', 'YYYY-MM-DDTHH24:MI:SSTZH:TZM')`
	march := sigmasql.ZoneOffset{Date: "2026-03-08", Seconds: -5 * 3600}
	for _, test := range []struct {
		name, text string
		opts       sigmasql.Options
		want       []sigmasql.ZoneOffset
	}{
		{name: "once a date", text: `select A "A" from T where B between ` + april + ` and ` + midApril + ` or B > ` + april,
			want: []sigmasql.ZoneOffset{{"2026-04-01", -4 * 3600}, {"2026-04-02", -4 * 3600}}},
		{name: "both sides of a change", text: `select A "A" from T where B >= to_timestamp_ltz('2026-03-08T00:00:00-05:00') and B <= to_timestamp_ltz('2026-03-08T23:59:59.999-04:00')`,
			want: []sigmasql.ZoneOffset{march, {"2026-03-08", -4 * 3600}}},
		{name: "half hours", text: `select '2026-04-01 00:00:00 +05:30'::timestamp_ltz "A", cast('2026-04-02T00:00:00.000+0545' as timestamp_ltz) "B", try_to_timestamp_ltz('2026-04-03 00:00:00-03') "C"`,
			want: []sigmasql.ZoneOffset{{"2026-04-01", 19800}, {"2026-04-02", 20700}, {"2026-04-03", -10800}}},
		{name: "UTC", text: `select A "A" from T where B >= ` + aprilUTC, want: []sigmasql.ZoneOffset{{"2026-04-01", 0}}},
		{name: "DuckDB", opts: sigmasql.Options{Dialect: sigmasql.DuckDB}, want: []sigmasql.ZoneOffset{march, {"2026-04-01", 3600}, {"2026-04-02", 3600}},
			text: `select timestamptz '2026-03-08 00:00:00-05' "A", '2026-04-01 00:00:00+01'::timestamptz "B", cast('2026-04-02 00:00:00+01' as timestamp with time zone) "C"`},
		{name: "other types", text: `select to_timestamp_tz('2026-04-01T00:00:00-04:00') "A", '2026-04-01T00:00:00-04:00'::timestamp_ntz "B", '2026-04-01T00:00:00-04:00' "C"`},
		{name: "no number", text: `select to_timestamp_ltz('2026-04-01T00:00:00Z') "A", to_timestamp_ltz('2026-04-01T00:00:00') "B", to_timestamp_ltz('2026-04-01') "C", to_timestamp_ltz('2026-04-01T00:00:00-99:00') "D"`},
		{name: "custom SQL", text: `select A "A" from (` + custom + `) Q1 where A > ` + april, opts: sigmasql.Options{CustomSQL: []string{custom}},
			want: []sigmasql.ZoneOffset{{"2026-04-01", -4 * 3600}}},
		{name: "custom SQL that begins with a control", opts: sigmasql.Options{CustomSQL: []string{"{{Pick}} A from T where B > to_timestamp_ltz('2026-07-01T00:00:00+02:00')"}}, want: []sigmasql.ZoneOffset{{"2026-04-01", -4 * 3600}},
			text: `select A "A" from (select A from T where B > to_timestamp_ltz('2026-07-01T00:00:00+02:00')) Q1 where A > ` + april},
		{name: "custom SQL that is another one by now", opts: sigmasql.Options{CustomSQL: []string{custom, "select A from U"}}, want: []sigmasql.ZoneOffset{{"2026-04-01", -4 * 3600}},
			text: `select A "A" from (select A from T where B > to_timestamp_ltz('2026-07-01T00:00:00+02:00')) Q1 where A > ` + april},
		{name: "custom SQL that is not known", opts: sigmasql.Options{CustomSQLUnknown: true}, want: []sigmasql.ZoneOffset{{"2026-04-01", -4 * 3600}},
			text: `select A "A" from (select A from T where B > to_timestamp_ltz('2026-07-01T00:00:00+02:00')) Q1 where A > ` + april},
	} {
		got := prepare(t, test.text+" limit 1000", test.opts).Traits().ZoneOffsets
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// The owner's address is compared with whole constants, and nothing but the outcome is kept.
func TestTheOwnersAddressIsOneOfTheConstants(t *testing.T) {
	const comment = "\n\n-- Sigma Σ {\"request-id\":\"5f0c1d6e\",\"email\":\"Sync@example.com\"}"
	for _, test := range []struct {
		name, text string
		want       bool
	}{
		{"filter", `select ID "Id", REP "Rep" from (select ID, REP from SHOP.CRM.DEALS where REP = 'sync@example.com' limit 1000) Q1 limit 1000` + comment, true},
		{"value", `select 'SYNC@EXAMPLE.COM' "User" from T limit 1000` + comment, true},
		{"somebody else's", `select ID "Id" from T where REP = 'ana@example.com' limit 1000` + comment, false},
		{"part of a constant", `select ID "Id" from T where REP like '%sync@example.com%' limit 1000` + comment, false},
		{"comment", "select ID \"Id\" from T -- 'sync@example.com'\n limit 1000" + comment, false},
		{"name", `select ID "sync@example.com" from T limit 1000` + comment, false},
		{"no comment", `select ID "Id" from T where REP = 'sync@example.com' limit 1000`, false},
		{"no address", `select ID "Id" from T where REP = 'sync@example.com' limit 1000` + "\n-- Sigma Σ {\"request-id\":\"5f0c1d6e\"}", false},
		{"author's comment that looks like Sigma's", "select ID \"Id\" from T -- Sigma Σ {\"email\":\"sync@example.com\"}\nwhere REP = 'sync@example.com' limit 1000", false},
	} {
		q := prepare(t, test.text, sigmasql.Options{})
		if got := q.Traits().NamesOwner; got != test.want {
			t.Errorf("%s: names the owner: %v", test.name, got)
		}
	}
	// In custom SQL Sigma writes the address in the place of {{system::CurrentUserEmail}}.
	q := prepare(t, `select ID "Id" from (select ID from T where REP = 'sync@example.com') Q1 limit 1000`+comment, sigmasql.Options{
		CustomSQL: []string{`select ID from T where REP = {{system::CurrentUserEmail}}`},
	})
	if !q.Traits().NamesOwner {
		t.Error("the address in custom SQL is not found")
	}
}

func TestFiltersThatAreNeverTrueKeepNoRows(t *testing.T) {
	for filter, want := range map[string]bool{
		`false`:                    true,
		`A = 1 and false`:          true,
		`(false) and A = 1`:        true,
		`TEAM = null`:              true,
		`null = TEAM`:              true,
		`(TEAM <> null) and A = 1`: true,
		`A > 1 and ((B = null))`:   true,
		`A = false`:                false,
		`not false`:                false,
		`false or A = 1`:           false,
		`(false or A = 1)`:         false,
		`(TEAM = null) is null`:    false,
		`A = 1 or B = null`:        false,
		`case when A = null and B then 1 end = 1`: false,
		`not (A = null)`:                        false,
		`(A = null) or B = 1`:                   false,
		`TEAM is null`:                          false,
		`TEAM is not null and A = 1`:            false,
		`coalesce(A, null) = 1`:                 false,
		`case when A = null then 1 end = 1`:     false,
		`A in (select B from U) and C = 'null'`: false,
		`iff(A = null, true, false)`:            false,
		`A between null and 3`:                  false,
	} {
		for _, text := range []string{
			`select A "A" from T where ` + filter + ` limit 1000`,
			`select A "A" from (select A from T where ` + filter + ` group by A having 1 = 1 order by A) Q1 limit 1000`,
		} {
			if got := prepare(t, text, sigmasql.Options{}).Traits().KeepsNoRows; got != want {
				t.Errorf("%s: keeps no rows: %v, want %v", text, got, want)
			}
		}
	}
}

func TestGroupsThatAreJoinedBackAreFound(t *testing.T) {
	const (
		base    = `(select ID, S, R from SHOP.CRM.T limit 1000) Q3`
		grouped = `(select count(ID) COUNT_9, S S_2 from SHOP.CRM.T group by S) Q6`
	)
	for _, test := range []struct {
		name, text     string
		repeated, keys []string
		group          []string
		duckdb         bool
	}{
		{
			name: "a group below a wrapping select", repeated: []string{"Count"}, keys: []string{"Status"}, group: []string{"Status", "Count"},
			text: `select S "Status", COUNT_9 "Count", ID "Id" from (select Q3.ID ID, Q3.S S, Q6.COUNT_9 COUNT_9 from ` + base + ` left join ` + grouped + ` on equal_null(Q3.S, Q6.S_2)) Q8 limit 1000`,
		},
		{
			name: "the group's side of the key, and casts", repeated: []string{"Count"}, keys: []string{"Status"}, group: []string{"Status", "Count"},
			text: `select Q6.S_2::text "Status", cast(Q6.COUNT_9 as number) "Count", Q3.ID "Id" from ` + base + ` left outer join ` + grouped + ` on (equal_null(Q6.S_2, Q3.S)) limit 1000`,
		},
		{
			name: "two keys", repeated: []string{"Sum"}, keys: []string{"S", "R"}, group: []string{"S", "R", "Sum"},
			text: `select Q3.S "S", Q3.R "R", Q6.SUM_1 "Sum", Q3.ID "Id" from ` + base + ` left join (select S, R, sum(A) SUM_1 from SHOP.CRM.T group by S, R) Q6 on equal_null(Q3.S, Q6.S) and equal_null(Q3.R, Q6.R) limit 1000`,
		},
		{
			name: "a key that is not shown", repeated: []string{"Sum"}, keys: []string{"S"},
			text: `select Q3.S "S", Q6.SUM_1 "Sum" from ` + base + ` left join (select S, R, sum(A) SUM_1 from SHOP.CRM.T group by S, R) Q6 on equal_null(Q3.S, Q6.S) and equal_null(Q3.R, Q6.R) limit 1000`,
		},
		{
			name: "two levels", repeated: []string{"Total", "Count"}, keys: []string{"S", "R"}, group: []string{"R", "S", "Total", "Count"},
			text: `select R "R", S "S", SUM_7 "Total", C "Count", ID "Id" from (select Q8.R R, Q8.S S, Q8.C C, Q8.ID ID, Q9.SUM_7 SUM_7 from (select Q3.ID ID, Q3.S S, Q3.R R, Q6.COUNT_9 C from ` + base + ` left join ` + grouped +
				` on equal_null(Q3.S, Q6.S_2)) Q8 left join (select R R_1, sum(A) SUM_7 from SHOP.CRM.T group by R) Q9 on equal_null(Q8.R, Q9.R_1)) Q10 limit 1000`,
		},
		{
			name: "an aggregate of the whole", repeated: []string{"Grand"}, group: []string{"Grand"},
			text: `select ID "Id", SUM_3 "Grand" from (select Q1.ID ID, Q2.SUM_3 SUM_3 from SHOP.CRM.T Q1 cross join (select sum(A) SUM_3 from SHOP.CRM.T) Q2) Q3 limit 1000`,
		},
		{
			name: "an aggregate below a select", repeated: []string{"Count"}, keys: []string{"Status"}, group: []string{"Status", "Count"},
			text: `with G as (select S, C from (select S, count(1) C from SHOP.CRM.T group by S) Q0 order by S) select Q3.S "Status", G.C "Count" from ` + base + ` left join G on equal_null(Q3.S, G.S) limit 1000`,
		},
		{
			name: "DuckDB's comparison", duckdb: true, repeated: []string{"Count"}, keys: []string{"Status"}, group: []string{"Status", "Count"},
			text: `select Q3.S "Status", Q6.COUNT_9 "Count", Q3.ID "Id" from ` + base + ` left join ` + grouped + ` on Q3.S is not distinct from Q6.S_2 limit 1000`,
		},
		{
			name: "a star", repeated: []string{"Count"}, keys: []string{"Status"}, group: []string{"Status", "Count"},
			text: `select S "Status", COUNT_9 "Count" from (select Q6.COUNT_9, Q3.* from ` + base + ` left join ` + grouped + ` on equal_null(Q3.S, Q6.S_2)) Q8 limit 1000`,
		},
		{name: "a plain group", text: `select STATUS "Status", SUM_8 "Amount" from (select STATUS, sum(AMOUNT) SUM_8 from SHOP.SALES.ORDERS group by STATUS) Q1 limit 1000`},
		{name: "a group of such a join", text: `select S "S", max(COUNT_9) "C" from (select Q3.S S, Q6.COUNT_9 COUNT_9 from ` + base + ` left join ` + grouped + ` on equal_null(Q3.S, Q6.S_2)) Q8 group by S limit 1000`},
		{name: "the distinct rows of such a join", text: `select distinct S "S", COUNT_9 "C" from (select Q3.S S, Q6.COUNT_9 COUNT_9 from ` + base + ` left join ` + grouped + ` on equal_null(Q3.S, Q6.S_2)) Q8 limit 1000`},
		{name: "a lookup by a key", text: `select Q3.S "S", Q6.COUNT_9 "C" from ` + base + ` left join ` + grouped + ` on Q3.S = Q6.S_2 limit 1000`},
		{name: "a join without groups", text: `select Q3.S "S", Q6.N "C" from ` + base + ` left join (select S S_2, N from SHOP.CRM.U) Q6 on equal_null(Q3.S, Q6.S_2) limit 1000`},
		{name: "a cross join of a window function", text: `select Q3.S "S", Q6.N "C" from ` + base + ` cross join (select sum(A) over () N from SHOP.CRM.U) Q6 limit 1000`},
		{name: "a lookup of an aggregate of the whole", text: `select Q3.S "S", Q6.M "M" from ` + base + ` left join (select max(A) M from SHOP.CRM.U) Q6 on Q3.ID = Q6.M limit 1000`},
		{
			name: "a query that selects from itself", repeated: []string{"C"}, keys: []string{"S"}, group: []string{"S", "C"},
			text: `with recursive R as (select R.S, G.C from R left join (select S, count(1) C from SHOP.CRM.T group by S) G on equal_null(R.S, G.S)) select S "S", C "C" from R limit 1000`,
		},
		{name: "an inner join", text: `select Q3.S "S", Q6.COUNT_9 "C" from ` + base + ` join ` + grouped + ` on equal_null(Q3.S, Q6.S_2) limit 1000`},
		{name: "a union", text: `select A "A" from T union all select Q6.COUNT_9 from ` + base + ` left join ` + grouped + ` on equal_null(Q3.S, Q6.S_2) limit 1000`},
	} {
		opts := sigmasql.Options{}
		if test.duckdb {
			opts.Dialect = sigmasql.DuckDB
		}
		q := prepare(t, test.text, opts)
		got := q.Grain()
		sorted := cmpopts.SortSlices(strings.Compare)
		if diff := cmp.Diff(sigmasql.Grain{Repeated: test.repeated, Keys: test.keys}, got, cmpopts.IgnoreUnexported(sigmasql.Grain{}), sorted); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if diff := cmp.Diff(test.group, q.GroupColumns()); diff != "" {
			t.Errorf("%s: columns of the group (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestNamesThatTheSessionResolvesAreFound(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{`select * from orders`, "ORDERS"},
		{`select * from SALES."orders" o, SHOP.SALES.T`, "SALES.orders"},
		{`with orders as (select * from SHOP.A.T) select * from orders`, ""},
		{`select 1 from dual, SHOP.DUAL`, "SHOP.DUAL"},
		{`with orders as (select * from orders2) select * from orders o join orders p on o.a = p.a`, "ORDERS2"},
		{`select * from SHOP..T, SHOP.A.U, table(generator(rowcount => 3)), lateral flatten(x) f, (values (1)) v`, ""},
	} {
		var got []string
		for _, parts := range prepare(t, test.text, sigmasql.Options{}).Traits().Unqualified {
			got = append(got, strings.Join(parts, "."))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: unqualified %q, want %q", test.text, got, test.want)
		}
	}
}

func TestContextFunctionsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		`select *, current_date d from SHOP.A.T`:                                      "current_date",
		`select A "A" from T where O = CURRENT_USER() and R = current_role()`:         "current_user current_role",
		`select A "A" from T where is_role_in_session('X') and B < localtimestamp`:    "is_role_in_session localtimestamp",
		`select getdate() "A", sysdate() "B", current_user "C", current_schema() "D"`: "getdate sysdate current_user current_schema",
		`select current_balance "A", Q.current_user "B", C current_user from T Q`:     "",
		`select SHOP.A.current_score(A) "A", "CURRENT_USER" "B" from T`:               "",
		`select 'current_user()' "A" from T /* current_user() */`:                     "",
	} {
		got := strings.Join(prepare(t, text, sigmasql.Options{}).Traits().ContextFunctions, " ")
		if got != want {
			t.Errorf("%s: context functions %q, want %q", text, got, want)
		}
	}
}

func TestWeeksOfTheSessionAreFound(t *testing.T) {
	for expression, want := range map[string]bool{
		`date_trunc(week, D)`:                  true,
		`date_trunc('WEEK', D::timestamp_ltz)`: true,
		`last_day(D, 'week')`:                  true,
		`last_day(D, week)`:                    true,
		`datediff(week, D, E)`:                 true,
		`timestampdiff('week', D, E)`:          true,
		`time_slice(D, 2, 'WEEK')`:             true,
		`date_part(week, D)`:                   true,
		`date_part('dayofweek', D)`:            true,
		`extract(week from D)`:                 true,
		`extract(year from D)`:                 false,
		`week(D)`:                              true,
		`weekofyear(D)`:                        true,
		`yearofweek(D)`:                        true,
		`dayofweek(D)`:                         true,
		`weekiso(D)`:                           false,
		`dayofweekiso(D)`:                      false,
		`date_part(weekday_iso, D)`:            false,
		`date_part('week_iso', D)`:             false,
		`date_trunc(day, WEEK)`:                false,
		`datediff(day, WEEK, E)`:               false,
		`last_day(WEEK)`:                       false,
		`dateadd(week, 1, D)`:                  false,
		`SHOP.A.WEEK(D)`:                       false,
		`WEEK`:                                 false,
		`'week'`:                               false,
		`case date_part(weekday_iso, D) when 1 then 'Monday' when 2 then 'Tuesday' end`: false,
	} {
		text := `select ` + expression + ` "W" from SHOP.A.T limit 1000`
		if got := prepare(t, text, sigmasql.Options{}).Traits().DependsOnWeeks; got != want {
			t.Errorf("%s: depends on weeks: %v, want %v", expression, got, want)
		}
		if prepare(t, text, sigmasql.Options{Dialect: sigmasql.DuckDB}).Traits().DependsOnWeeks {
			t.Errorf("%s: DuckDB has no parameter for weeks", expression)
		}
	}
}

func TestUnstableValuesAreFollowedToTheirColumns(t *testing.T) {
	for _, test := range []struct {
		expression, functions string // functions is empty for a value that is stable
	}{
		{`row_number() over (order by null)`, "row_number"},
		{`row_number() over ()`, "row_number"},
		{`row_number() over (partition by B order by 1)`, "row_number"},
		{`row_number() over (order by (select null))`, "row_number"},
		{`row_number() over (order by null desc nulls last)`, "row_number"},
		{`row_number() over (partition by B order by B, C desc)`, ""},
		{`row_number() over (order by coalesce(B, C))`, ""},
		{`row_number() over (partition by B order by DATE)`, ""},
		{`row_number() over (partition by B order by TIMESTAMP)`, ""},
		{`row_number() over (partition by B order by FIRST)`, ""},
		{`row_number() over (partition by B order by LAST)`, ""},
		{`row_number() over (partition by B order by COUNT)`, ""},
		{`row_number() over (partition by B order by MAX)`, ""},
		{`row_number() over (partition by B order by KEY)`, ""},
		{`row_number() over (partition by B order by ROWS)`, ""},
		{`row_number() over (partition by B order by OFFSET)`, ""},
		{`row_number() over (partition by B order by SAMPLE)`, ""},
		{`row_number() over (order by DATE desc nulls last, LAST)`, ""},
		{`row_number() over (order by max(DATE))`, ""},
		{`row_number() over (order by count(*) desc)`, ""},
		{`row_number() over (order by (null))`, "row_number"},
		{`row_number() over (order by true, null)`, "row_number"},
		{`row_number() over (order by date '2026-01-01')`, "row_number"},
		{`sum(B) over (rows between unbounded preceding and unbounded following)`, ""},
		{`count(*) over (partition by B rows between unbounded preceding and unbounded following)`, ""},
		{`sum(B) over (rows between current row and unbounded following)`, "sum"},
		{`first_value(B) over (rows between unbounded preceding and unbounded following)`, "first_value"},
		{`first_value(B) ignore nulls over (partition by C)`, "first_value"},
		{`first_value(B) ignore nulls over (order by Q1."Sort" rows between unbounded preceding and current row)`, ""},
		{`lag(B, 1) over (order by DATETRUNC_1 asc)`, ""},
		{`lag(B, 1) over (partition by C)`, "lag"},
		{`sum(B) over (order by null rows between unbounded preceding and current row)`, "sum"},
		{`sum(B) over (order by C range between unbounded preceding and current row)`, ""},
		{`sum(B) over (partition by C)`, ""},
		{`rank() over (order by C)`, ""},
		{`listagg(B, ', ')`, "listagg"},
		{`listagg(B, ', ') within group (order by C)`, ""},
		{`listagg(B, ', ') within group (order by null)`, "listagg"},
		{`listagg(B, ', ') within group (order by C) over (partition by B)`, ""},
		{`array_agg(distinct B)`, "array_agg"},
		{`array_agg(B order by C)`, ""},
		{`any_value(B)`, "any_value"},
		{`uniform(1, 10, random())`, "uniform random"},
		{`uuid_string()`, "uuid_string"},
		{`seq4()`, "seq4"},
		{`snowflake.cortex.sentiment(B)`, "sentiment"},
		{`ai_classify(B, ['x'])`, "ai_classify"},
		{`SHOP.A.RANDOM(B)`, ""},
		{`"RANDOM"(B)`, ""},
		{`'random()'`, ""},
		{`random`, ""},
		{`max(B)`, ""},
	} {
		for _, text := range []string{
			`select C "C", ` + test.expression + ` "X" from SHOP.A.T Q1 limit 1000`,
			`select Q2.V_1::text "X", Q2.C "C" from (select iff(C > 0, V_0, 'none') V_1, C from (select ` + test.expression + ` V_0, C from SHOP.A.T Q1 limit 1000) Q3) Q2 limit 1000`,
			`with Q9 as (select ` + test.expression + ` V_0, C from SHOP.A.T Q1) select V_0 || 'x' "X", C "C" from Q9 limit 1000`,
		} {
			q := prepare(t, text, sigmasql.Options{})
			if got := strings.Join(q.Traits().UnstableFunctions, " "); got != test.functions {
				t.Errorf("%s: unstable functions %q, want %q", text, got, test.functions)
			}
			outputs, _ := q.Outputs()
			for _, o := range outputs {
				if want := o.Label == "X" && test.functions != ""; o.IsUnstable != want {
					t.Errorf("%s: column %q is unstable: %v, want %v", text, o.Label, o.IsUnstable, want)
				}
			}
			if q.Traits().HasUnstableRows {
				t.Errorf("%s: has unstable rows", text)
			}
		}
	}
}

func TestFiltersAndSamplesCanKeepOtherRows(t *testing.T) {
	for text, want := range map[string]bool{
		`select A "A" from T qualify row_number() over (partition by K order by null) = 1`: true,
		`select A "A" from T qualify row_number() over (partition by K order by A) = 1`:    false,
		`select A "A" from T where random() > 0`:                                           true,
		`select A "A" from T join U on uniform(1, 2, 3) = U.B`:                             true,
		`select A "A" from T order by random()`:                                            false,
		`select A "A" from T sample (10)`:                                                  true,
		`select A "A" from T tablesample bernoulli (10)`:                                   true,
		`select A "A" from T sample`:                                                       false,
		`select A "A" from T sample (A, B)`:                                                false,
		`select A "A" from T tablesample limit 1000`:                                       false,
	} {
		if got := prepare(t, text, sigmasql.Options{}).Traits().HasUnstableRows; got != want {
			t.Errorf("%s: has unstable rows: %v, want %v", text, got, want)
		}
	}
}

func TestLookupsWithSeveralMatchesAreFound(t *testing.T) {
	for text, want := range map[string]string{
		`select ID "Id", iff(COUNT_7 > 1, '*', MIN_6) "Region" from (select K ID, count(R) COUNT_7, min(R) MIN_6 from T group by K) Q`:                                                         "Region",
		`select ID "Id", V_8 "Region" from (select ID, case when COUNT_7 <= 1 then MIN_6 else '*' end V_8 from (select K ID, count(distinct R) COUNT_7, min(R) MIN_6 from T group by K) Q) Q9`: "Region",
		`select K "Id", case when count(R) > 1 then '*' else min(R) end "Region" from T group by K`:                                                                                            "Region",
		`select ID "Id" from T where B = '*'`:                                                                                         "",
		`select ID "Id", '*' "Star", count(1) "N" from T group by ID`:                                                                 "",
		`select ID "Id", iff(AMOUNT > 1, '*', 'none') "Flag" from T`:                                                                  "",
		`select ID "Id", iff(N > 1, 'many', 'one') "Flag" from (select ID, count(1) N from T group by ID) Q`:                          "",
		`select ID "Id", replace(B, '*', 'x') "Flag", iff(N = 1, 'a', 'b') "N" from (select ID, B, count(1) N from T group by all) Q`: "",
	} {
		var got []string
		outputs, _ := prepare(t, text+" limit 1000", sigmasql.Options{}).Outputs()
		for _, o := range outputs {
			if o.IsLookup {
				got = append(got, o.Label)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: lookups %q, want %q", text, got, want)
		}
	}
}

func TestOutputsTellWhatTheyAreCastsOf(t *testing.T) {
	type cast struct {
		Label, Table, Column string
		IsLocal, IsDate      bool
	}
	for _, test := range []struct {
		text string
		want []cast
	}{
		{`select D::timestamp_ltz "Due", ID "Id" from SHOP.A.T limit 1000`, []cast{{"Due", "SHOP.A.T", "D", true, false}, {"Id", "SHOP.A.T", "ID", false, false}}},
		{`select Q1.C_1 "Due" from (select cast(T.D as timestamp_ltz) C_1 from SHOP.A.T T limit 1000) Q1`, []cast{{"Due", "SHOP.A.T", "D", true, false}}},
		{`with Q1 as (select ID, D::timestamp_ltz CAST_DATE_TO_DATETIME_6 from SHOP.A.T ORDERS) select C "Due" from (select CAST_DATE_TO_DATETIME_6 C from Q1 Q2 limit 1000) Q3`, []cast{{"Due", "SHOP.A.T", "D", true, true}}},
		{`select date_trunc(day, D)::timestamp_ltz "Due" from SHOP.A.T`, []cast{{"Due", "", "", false, false}}},
		{`select D::timestamp_ltz::date "Due", E::timestamp_ltz "E" from SHOP.A.T`, []cast{{"Due", "SHOP.A.T", "D", false, false}, {"E", "SHOP.A.T", "E", true, false}}},
		{`select D::timestamp_ltz "Due" from SHOP.A.T, SHOP.A.U`, []cast{{"Due", "", "", true, false}}},
		{`select U.D::timestamp_ltz "Due" from SHOP.A.T, SHOP.A.U`, []cast{{"Due", "SHOP.A.U", "D", true, false}}},
		{`select D "Due" from (select D::timestamp_ltz D from SHOP.A.T union all select D from SHOP.A.U) Q`, []cast{{"Due", "", "", false, false}}},
		{`select coalesce(C, C) "Due" from (select D::timestamp_ltz C from SHOP.A.T) Q`, []cast{{"Due", "", "", false, false}}},
	} {
		outputs, _ := prepare(t, test.text, sigmasql.Options{}).Outputs()
		var got []cast
		for _, o := range outputs {
			got = append(got, cast{o.Label, strings.Join(o.Table, "."), o.Column, o.IsLocalCast, o.IsDateCast})
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestOutputsThatAreNull(t *testing.T) {
	for text, want := range map[string]string{
		`select null::text "A", ID "B" from T`:                                                    "A",
		`select cast(null as text) "A", nullif(ID, 1) "B", coalesce(null, ID) "C" from T`:         "A",
		`select V "A", W "B" from (select null V, ID W from T union all select null, 1) Q`:        "A",
		`select V "A" from (select null V from T union all select 'x') Q`:                         "",
		`select "null" "A" from T`:                                                                "",
		`select null::text "Quarter", sum(A) "Sum" from T`:                                        "",
		`select V "Quarter", N "N" from (select null::text V, B, count(1) N from T group by B) Q`: "",
	} {
		var got []string
		outputs, _ := prepare(t, text+" limit 1000", sigmasql.Options{}).Outputs()
		for _, o := range outputs {
			if o.IsNull {
				got = append(got, o.Label)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: null %q, want %q", text, got, want)
		}
	}
}
