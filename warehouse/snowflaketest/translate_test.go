package snowflaketest_test

import (
	"database/sql"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestTranslate reads testdata/translate.txt: statements in Snowflake's
// dialect, each followed by "=>" and the statement that DuckDB runs, with
// lines of dashes between them.
func TestTranslate(t *testing.T) {
	file := filepath.Join("testdata", "translate.txt")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, pair := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n----\n") {
		in, want, _ := strings.Cut(pair, "\n=> ")
		got, err := snowflaketest.Translate(in)
		if err != nil {
			got = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if got != want && !*update {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		out = append(out, in+"\n=> "+got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n----\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDialect runs expressions through the driver and compares the text of
// what comes back with what Snowflake answers.
func TestDialect(t *testing.T) {
	s := newServer(t, snowflaketest.Config{},
		`create database DB; create table DB.PUBLIC.T (X int, G text); insert into DB.PUBLIC.T values (1, 'a'), (2, 'a'), (3, 'b'), (null, 'b')`)
	db := openDB(t, s)
	tests := []struct{ query, want string }{
		{`iff(1 > 2, 'a', 'b')`, "b"},
		{`equal_null(null, null)`, "true"},
		{`equal_null(null, 1)`, "false"},
		{`zeroifnull(null)`, "0"},
		{`nvl(null, 'x')`, "x"},
		{`nvl2(null, 'x', 'y')`, "y"},
		{`nullif(1, 1)`, "<null>"},
		{`div0(3, 0)`, "0"},
		{`concat('a', null)`, "<null>"},
		{`'a' || 'b'`, "ab"},
		{`'it\'s'`, "it's"},
		{`$$it's$$`, "it's"},
		{`len('äöü')`, "3"},
		{`split_part('a.b.c', '.', 2)`, "b"},
		{`contains('abc', 'b')`, "true"},
		{`startswith('abc', 'a')`, "true"},
		{`charindex('b', 'abc')`, "2"},
		{`position('b' in 'abc')`, "2"},
		{`rlike('abc', 'a.c')`, "true"},
		{`'abc' rlike 'b'`, "false"},
		{`'ABC' ilike 'a%'`, "true"},
		{`regexp_replace('a1b2', '[0-9]')`, "ab"},
		{`'5'::int + 1`, "6"},
		{`'1.25'::number(10,2)`, "1.25"},
		{`12345678901234567890123456789012345678::number`, "12345678901234567890123456789012345678"},
		{`to_number('1.5', 10, 2)`, "1.50"},
		{`try_cast('x' as int)`, "<null>"},
		{`cast('2020-02-03' as date)::text`, "2020-02-03"},
		{`null::text`, "<null>"},
		{`date_trunc('month', '2020-02-03'::date)::text`, "2020-02-01"},
		{`date_trunc(month, '2020-02-03 10:00:00'::timestamp_ntz)::text`, "2020-02-01 00:00:00.000"},
		{`dateadd(day, 1, '2020-02-28'::date)::text`, "2020-02-29"},
		{`dateadd('month', 1, '2020-01-31'::date)::text`, "2020-02-29"},
		{`dateadd(hour, 2, '2020-01-31'::date)::text`, "2020-01-31 02:00:00.000"},
		{`datediff(day, '2020-01-01'::date, '2020-03-01'::date)`, "60"},
		{`datediff('week', '2020-01-05'::date, '2020-01-06'::date)`, "1"},
		{`to_char('2020-02-03 04:05:06'::timestamp_ntz, 'YYYY-MM-DD HH24:MI:SS')`, "2020-02-03 04:05:06"},
		{`dayname('2020-02-03'::date)`, "Mon"},
		{`year('2020-02-03'::date)`, "2020"},
		{`to_timestamp_ltz('2026-03-26T00:00:00.000')::text`, "2026-03-26 00:00:00.000 +0000"},
		{`to_timestamp(0)::text`, "1970-01-01 00:00:00.000"},
		{`parse_json('{"b":{"c":["x"]}}'):b.c[0]::string`, "x"},
		{`parse_json('{"b":12345678901234567890}'):b`, "12345678901234567890"},
		{`object_construct('k', 1, 'n', null)`, "{\n  \"k\": 1\n}"},
		{`to_variant('x')`, `"x"`},
		{`array_construct(1, 'a')`, "[\n  1,\n  \"a\"\n]"},
		{`case when true then 1 else 2 end::text`, "1"},
		{`(select sum(X) from DB.PUBLIC.T)`, "6"},
		{`(select array_agg(X) within group (order by X desc) from DB.PUBLIC.T)`, "[\n  3,\n  2,\n  1\n]"},
		{`(select listagg(G, '-') within group (order by X) from DB.PUBLIC.T)`, "a-a-b-b"},
		{`(select listagg(G) from DB.PUBLIC.T where X > 9)`, ""},
		{`(select percentile_cont(0.5) within group (order by X) from DB.PUBLIC.T)`, "2"},
		{`(select count(distinct G) from DB.PUBLIC.T)`, "2"},
		{`(select max(X) from DB.PUBLIC.T qualify row_number() over (order by 1) = 1)`, "3"},
		{`(select X from (select X from DB.PUBLIC.T order by X desc limit 1))`, "<null>"}, // NULLs sort high
		{`(select S2 from (select sum(X) S1, S1 + 1 S2 from DB.PUBLIC.T))`, "7"},
		{`(select count(*) from (select distinct G from DB.PUBLIC.T minus select 'a'))`, "1"},
		{`(select max(seq4()) from table(generator(rowcount => 10)))`, "9"},
		{`current_user()`, "TESTUSER"},
		{`current_role()`, "TESTROLE"},
		{`current_warehouse()`, "TESTWAREHOUSE"},
		{`current_database()`, "<null>"},
		{`current_timestamp() > '2020-01-01'::timestamp_ltz`, "true"},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			var got sql.NullString
			if err := db.QueryRowContext(t.Context(), "select "+tt.query+" V").Scan(&got); err != nil {
				t.Fatal(err)
			}
			if !got.Valid {
				got.String = "<null>"
			}
			if got.String != tt.want {
				t.Errorf("got %q, want %q", got.String, tt.want)
			}
		})
	}
}

func FuzzTranslate(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "translate.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, pair := range strings.Split(string(b), "\n----\n") {
		in, _, _ := strings.Cut(pair, "\n=> ")
		f.Add(in)
	}
	f.Add("select a:b.c[0")
	f.Add("create table t (a")
	f.Add("case when end :: over (")
	f.Fuzz(func(t *testing.T, sql string) {
		got, err := snowflaketest.Translate(sql)
		spaced, spacedErr := snowflaketest.Translate("\n/* comment */ " + sql + "\n-- comment")
		if got != spaced || (err == nil) != (spacedErr == nil) {
			t.Errorf("space and comments changed it:\n%s %v\n%s %v", got, err, spaced, spacedErr)
		}
	})
}

func TestDeepNestingIsRefused(t *testing.T) {
	for _, open := range []string{"(", "case when "} {
		if _, err := snowflaketest.Translate("select " + strings.Repeat(open, 100_000)); err == nil {
			t.Errorf("%q a hundred thousand times was taken", open)
		}
	}
}
