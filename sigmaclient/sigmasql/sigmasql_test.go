package sigmasql_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

func TestPrepareRefuses(t *testing.T) {
	deep := strings.Repeat("(", 2000) + "select 1" + strings.Repeat(")", 2000)
	tests := []struct {
		text   string
		reason sigmasql.Reason
		offset int
	}{
		{"", sigmasql.Empty, 0},
		{" \n-- a\n/* b */ ;", sigmasql.Empty, 0},
		{"delete from T", sigmasql.NotAQuery, 0},
		{" update T set A = 1", sigmasql.NotAQuery, 1},
		{"merge into T using S on true when matched then delete", sigmasql.NotAQuery, 0},
		{"create table T as select 1", sigmasql.NotAQuery, 0},
		{"call P()", sigmasql.NotAQuery, 0},
		{"set X = 1", sigmasql.NotAQuery, 0},
		{"use role ADMIN", sigmasql.NotAQuery, 0},
		{"explain select 1", sigmasql.NotAQuery, 0},
		{"begin select 1; end", sigmasql.NotAQuery, 0},
		{"execute immediate 'select 1'", sigmasql.NotAQuery, 0},
		{"table T", sigmasql.NotAQuery, 0},
		{`"select" 1`, sigmasql.NotAQuery, 0},
		{"'select 1'", sigmasql.NotAQuery, 0},
		{"(delete from T)", sigmasql.NotAQuery, 1},
		{"()", sigmasql.NotAQuery, 1},
		{"(", sigmasql.Unbalanced, 0},
		{"select 1 union all delete from T", sigmasql.NotAQuery, 19},
		{"select 1 union (delete from T)", sigmasql.NotAQuery, 16},
		{"select 1 union", sigmasql.NotAQuery, 14},
		{"with", sigmasql.NotAQuery, 4},
		{"with X as (select 1)", sigmasql.NotAQuery, 20},
		{"with X as (update T set A = 1 returning *) select 1", sigmasql.NotAQuery, 11},
		{"with X as (with Y as (delete from T returning *) select * from Y) select 1", sigmasql.NotAQuery, 22},
		{"with X as materialized (insert into T values (1) returning *) select 1", sigmasql.NotAQuery, 24},
		{"with X as (select 1) delete from T", sigmasql.NotAQuery, 21},
		{"with X as (select 1), Y as () select 1", sigmasql.NotAQuery, 28},
		{"select A into T from S", sigmasql.NotAQuery, 9},
		{"select A from T for no key update", sigmasql.NotAQuery, 16},
		{"select 1; select 2", sigmasql.MultipleStatements, 10},
		{"select 1;;", sigmasql.MultipleStatements, 9},
		{"select (1; select 2)", sigmasql.MultipleStatements, 11},
		{"select 1 ->> select 2", sigmasql.MultipleStatements, 9},
		{"select '", sigmasql.Unterminated, 7},
		{"select \"A", sigmasql.Unterminated, 7},
		{"select 1 /* ", sigmasql.Unterminated, 9},
		{"select $$ a", sigmasql.Unterminated, 7},
		{"select 1; -- a\n'", sigmasql.Unterminated, 15},
		{"select (1", sigmasql.Unbalanced, 7},
		{"select 1)", sigmasql.Unbalanced, 8},
		{"select [1)", sigmasql.Unbalanced, 9},
		{deep, sigmasql.TooDeep, 1000},
		{"select array_agg(A order by B limit 1000) from T", sigmasql.UnknownLimit, 30},
		{"select A from T limit -1", sigmasql.UnknownLimit, 16},
		{"select A fetch +1 from T", sigmasql.UnknownLimit, 9},
		{"select top (5) A from T", sigmasql.UnknownLimit, 7},
		{"select A from T U limit - 5 limit 1000", sigmasql.UnknownLimit, 18},
	}
	for _, tt := range tests {
		q, err := sigmasql.Prepare(tt.text, sigmasql.Options{})
		var refused *sigmasql.Error
		if q != nil || !errors.As(err, &refused) {
			t.Errorf("Prepare(%.80q) = %v, %v, want an *Error", tt.text, q, err)
			continue
		}
		if refused.Reason != tt.reason || refused.Offset != tt.offset {
			t.Errorf("Prepare(%.80q): %v, want %q at %d", tt.text, err, tt.reason, tt.offset)
		}
		if want := fmt.Sprintf("sigmasql: %s at byte %d", tt.reason, tt.offset); err.Error() != want {
			t.Errorf("error reads %q, want %q", err, want)
		}
	}
}

func TestPrepareAccepts(t *testing.T) {
	for _, text := range []string{
		"select 1", "SELECT 1;", " /* a */ select 1 ; -- b", "(select 1)", "((select 1) union all (select 2)) order by 1", "values (1)",
		"with X (A, B) as (select 1, 2), Y as not materialized (values (1)) select * from X, Y", "with X as (select 1) (select * from X)",
		"select 1 minus select 2 except select 3 intersect select 4", "select 1 union distinct select 2", "select 1 union all by name select 2",
		`select "delete", 'insert into', T.into, X:update from T`, "select A as into from T", "select * from T where A is distinct from B",
		"select trim(both ' ' from A), extract(year from B) from T", "select exists (select 1), array(select 2)",
		"select * from ((T join U on true) left outer join (select 1) V on true), lateral (select 2) W",
		"select 1 union all with X as (select 2) select * from X", "select X:into from T", "select * except (A) from T", "select {'a': [1, 2]}, A[0] from T", "select A from T for system_time as of 'x'",
	} {
		prepare(t, text, sigmasql.Options{})
	}
	prepare(t, "select A ->> 'x' from T", sigmasql.Options{Dialect: sigmasql.DuckDB})
}

func TestLimits(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"select limit(1000) from T", nil},
		{"select LIMIT from T", nil},
		{"select A limit, B from T", nil},
		{"select A from T limit where A = 1", nil},
		{"select T.limit, X:limit 1000 from T", nil},
		{"select A from T order by limit", nil},
		{"select A from limit", nil},
		{"select A from T where limit = 1000 and limit > 1", nil},
		{"select A from T sample (1000 rows)", nil},
		{"select A from T tablesample bernoulli (20) seed (1000)", nil},
		{"select sum(A) over (order by B rows 1000 preceding) from T", nil},
		{"select top, fetch from T", nil},
		{"select A offset from T", nil},

		{"select A from T limit 1000", []string{"preview 1000 @0"}},
		{"select A from T LIMIT\n1000", []string{"preview 1000 @0"}},
		{"select * from T limit limit 1000", []string{"preview 1000 @0"}},
		{"select 1 limit 1000", []string{"preview 1000 @0"}},
		{"select * limit 1000", []string{"preview 1000 @0"}},
		{"select A from DB.by limit 1000", []string{"preview 1000 @0"}},
		{"select A from T limit 999", []string{"author? 999 @0"}},
		{"select A from T limit 1000 offset 0", []string{"author? 1000 @0"}},
		{"select A from T offset 5 limit 1000", []string{"author? 1000 @0"}},
		{"select A from T limit 1000, 5", []string{"author -1 @0"}},
		{"select A from T limit 1000.0", []string{"author -1 @0"}},
		{"select A from T limit 1e3", []string{"author -1 @0"}},
		{"select A from T limit 1000x", []string{"author -1 @0"}},
		{"select A from T limit 1000 + 1", []string{"author -1 @0"}},
		{"select A from T limit 1000 %", []string{"author -1 @0"}},
		{"select A from T limit 99999999999999999999", []string{"author -1 @0"}},
		{"select A from T limit (select 1000)", []string{"author -1 @0"}},
		{"select A from T limit ?", []string{"author -1 @0"}},
		{"select A from T limit all", []string{"author -1 @0"}},
		{"select A from T limit N", []string{"author -1 @0"}},
		{"select A from T limit ''", []string{"author -1 @0"}},
		{"select A from T limit 1000 limit 1000", []string{"author -1 @0", "author? 1000 @0"}},
		{"select top 1000 A from T limit 1000", []string{"author? 1000 @0", "author? 1000 @0"}},
		{"select distinct top 5 A from T", []string{"author? 5 @0"}},
		{"select A from T fetch next 1000 rows only", []string{"author? 1000 @0"}},
		{"select A from T fetch 7", []string{"author? 7 @0"}},
		{"select A from T fetch first row only", []string{"author -1 @0"}},
		{"select A from T fetch first 5 rows with ties", []string{"author -1 @0"}},
		{"(select A from T limit 201) limit 1000", []string{"preview? 201 @1", "preview 1000 @0"}},
		{"select A from (select B from T limit 1000) limit 50", []string{"author? 1000 @1", "author? 50 @0"}},

		// Copies where Sigma puts them.
		{"select A from (select * from T limit 201) Q1 limit 201", []string{"preview 201 @1", "preview 201 @0"}},
		{"select A from (select * from T limit 201) Q1 limit 1000", []string{"preview? 201 @1", "preview 1000 @0"}},
		{"select A from (select A from T order by A limit 1000) Q1 left join U on X order by A limit 1000",
			[]string{"preview 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T limit 1000) Q1 left outer join U on X limit 1000", []string{"preview 1000 @1", "preview 1000 @0"}},
		{"select A from T limit 1000 union all select B from U limit 1000", []string{"preview 1000 @0", "preview 1000 @0"}},

		// Copies where a limit changes more than the number of rows.
		{"select A from U left join (select * from T limit 1000) Q1 on X limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T limit 1000) Q1 inner join U on X limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T limit 1000) Q1, U limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T limit 1000) Q1 group by A limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select round(sum(A), 2) B from (select * from T limit 1000) Q1 limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select iff(A > avg(A) over (), 1, 2) B from (select * from T limit 1000) Q1 limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select distinct A from (select * from T limit 1000) Q1 limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T limit 1000) Q1 order by A limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select * from T order by A limit 1000) Q1 limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select A from (select * from T limit 1000) Q1 limit 7) Q2 limit 1000",
			[]string{"preview? 1000 @2", "author? 7 @1", "preview 1000 @0"}},
		{"select A from ((select A from T limit 1000) except (select B from U limit 1000)) Q1 limit 1000",
			[]string{"preview? 1000 @2", "preview? 1000 @2", "preview 1000 @0"}},

		{"select row_number() over (order by A) B from (select * from T limit 1000) Q1 limit 1000", []string{"preview? 1000 @1", "preview 1000 @0"}},
		{"select A from (select A from (select * from T limit 1000) Q1 order by A) Q2 limit 1000", []string{"preview? 1000 @2", "preview 1000 @0"}},
		{"select A from (select A from (select * from T limit 1000) Q1 offset 5) Q2 limit 1000", []string{"preview? 1000 @2", "preview 1000 @0"}},
		{"select A from (select A from (select * from T limit 1000) Q1 using sample 5) Q2 limit 1000", []string{"preview? 1000 @2", "preview 1000 @0"}},
		{"select A from T limit 1000 union select B from U limit 1000", []string{"preview? 1000 @0", "preview 1000 @0"}},
		{"select A from (with Q as (select * from T limit 1000) select * from Q) Q1 limit 1000", []string{"preview? 1000 @2", "preview 1000 @0"}},

		// Expressions hold no copies.
		{"select (select max(A) from (select * from T limit 1000) Q1) B from U limit 1000", []string{"author? 1000 @2", "preview 1000 @0"}},
		{"select A from T where exists (select 1 from U limit 1000) limit 1000", []string{"author? 1000 @1", "preview 1000 @0"}},
	}
	for _, tt := range tests {
		q := prepare(t, tt.text, sigmasql.Options{})
		var got []string
		for _, l := range q.Limits() {
			whose := "author"
			if l.Preview {
				whose = "preview"
			}
			if l.Ambiguous {
				whose += "?"
			}
			got = append(got, fmt.Sprintf("%s %d @%d", whose, l.Rows, l.Depth))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestPreview(t *testing.T) {
	tests := []struct {
		text string
		n    int64
		want string
	}{
		{"select A from T", 5, "select A from T\nlimit 5"},
		{"select A from T -- a", 5, "select A from T -- a\nlimit 5"},
		{"select A from T", -1, "select A from T\nlimit 0"},
		{"select A from T", math.MaxInt64, "select A from T\nlimit 9223372036854775807"},
		{"select A from T limit 50", 5, "select A from T limit 5"},
		{"select A from T limit 50", 500, "select A from T limit 50"},
		{"select A from T limit 50 offset 3", 5, "select A from T limit 5 offset 3"},
		{"select top 50 A from T", 5, "select top 5 A from T"},
		{"select A from T fetch first 50 rows only", 5, "select A from T fetch first 5 rows only"},
		{"select A from T union all select top 50 B from U", 5, "select * from (\nselect A from T union all select top 50 B from U\n) as PREVIEW\nlimit 5"},
		{"select A from T limit 50 union all select B from U", 5, "select A from T limit 50 union all select B from U\nlimit 5"},
		{"select A from T offset 3", 5, "select * from (\nselect A from T offset 3\n) as PREVIEW\nlimit 5"},
		{"select A from T limit all -- a", 5, "select * from (\nselect A from T limit all -- a\n) as PREVIEW\nlimit 5"},
		{"select A from T using sample 10", 5, "select * from (\nselect A from T using sample 10\n) as PREVIEW\nlimit 5"},
		{"(select A from T order by A)", 5, "(select A from T order by A)\nlimit 5"},
		{"((select A from T limit 9))", 5, "select * from (\n((select A from T limit 9))\n) as PREVIEW\nlimit 5"},
		{"(select A from T limit 9) union all (select 1)", 5, "(select A from T limit 9) union all (select 1)\nlimit 5"},
		{"with Q as (select 1) (select A from T limit 9)", 5, "select * from (\nwith Q as (select 1) (select A from T limit 9)\n) as PREVIEW\nlimit 5"},
		{"select A from (select * from T limit 1000) Q1 limit 1000", 1000, "select A from (select * from T limit 1000) Q1 limit 1000"},
		{"select A from (select * from T limit 1000) Q1 limit 1000", 1001, "select A from (select * from T) Q1 limit 1001"},
		{"select A from (select * from T limit 1000) Q1 where B limit 1000", 5, "select A from (select * from T) Q1 where B limit 5"},
		{"select A from (select * from T limit 1000) Q1 limit 50", 60, "select A from (select * from T limit 1000) Q1 limit 50"},
	}
	for _, tt := range tests {
		if got := prepare(t, tt.text, sigmasql.Options{}).Preview(tt.n); got != tt.want {
			t.Errorf("preview of %d of %s:\n%s\nwant:\n%s", tt.n, tt.text, got, tt.want)
		}
	}
}

func TestFullKeepsNeighboursApart(t *testing.T) {
	tests := []struct{ text, want string }{
		{"select A from T limit 1000", "select A from T"},
		{"select A from T\n\tlimit 1000 ; ", "select A from T"},
		{"select A from (select (1)limit 1000)limit 1000", "select A from (select (1))"},
		{"select A from (select 1 limit 1000/**/union all select 2) limit 1000", "select A from (select 1 /**/union all select 2)"},
		{"select A from (select 1)limit 1000/**/union all select 2 limit 1000", "select A from (select 1) /**/union all select 2"},
		{"select A from (select 1 --a\nlimit 1000) limit 1000 --b", "select A from (select 1 --a\n) --b"},
		{"select A from (select 1 limit--a\n1000) limit/*b*/1000", "select A from (select 1 --a\n) /*b*/"},
		{"select A from T --a\n limit 1000", "select A from T --a"},
		{"select A from T limit -- Sigma Σ {}\n1000", "select A from T"},
		{"select A from T -- Sigma Σ {}\nlimit 1000", "select A from T"},
		{"select A from T limit 1000 -- Sigma Σ {}\n; -- Sigma Σ {}", "select A from T"},
	}
	for _, tt := range tests {
		q := prepare(t, tt.text, sigmasql.Options{})
		if got := q.Full(); got != tt.want {
			t.Errorf("%q in full: %q, want %q", tt.text, got, tt.want)
		}
		requireIdempotent(t, q, sigmasql.Options{})
	}
}

func TestCustomSQLIsLeftAlone(t *testing.T) {
	const sent = "select A from (select A from (select A -- x\nfrom T\nlimit 1000) Q1 limit 1000) Q2 limit 1000"
	tests := []struct {
		name   string
		custom []string
		want   string
	}{
		{"unknown", nil, "select A from (select A from (select A -- x\nfrom T) Q1) Q2"},
		{"other gaps", []string{"select A from T /* y */ limit 1000 ;\n"}, "select A from (select A from (select A -- x\nfrom T\nlimit 1000) Q1) Q2"},
		{"several", []string{"select 1", "", "  ;", "select A from T limit 1000"}, "select A from (select A from (select A -- x\nfrom T\nlimit 1000) Q1) Q2"},
		{"part of a token", []string{"elect A from T limit 1000"}, "select A from (select A from (select A -- x\nfrom T) Q1) Q2"},
		{"not the limit", []string{"select A from T"}, "select A from (select A from (select A -- x\nfrom T) Q1) Q2"},
		{"the whole", []string{sent}, sent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := prepare(t, sent, sigmasql.Options{CustomSQL: tt.custom}).Full(); got != tt.want {
				t.Errorf("in full:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
	const definition = "select A from T where K in ({{the-kinds}}) and D > {{#raw since}} limit {{most}}"
	const filled = "select A from (select A from T where K in ('a', 'b)') and D > '2026-01-01'::date limit 1000) Q1 limit 1000"
	controls := prepare(t, filled, sigmasql.Options{CustomSQL: []string{definition}})
	if got, want := controls.Full(), strings.TrimSuffix(filled, " limit 1000"); got != want {
		t.Errorf("with values for its controls:\n%s\nwant:\n%s", got, want)
	}
	if frozen := controls.FrozenLiterals(); len(frozen) != 0 {
		t.Errorf("an author's dates count as frozen: %v", frozen)
	}
	for _, other := range []string{"select A from T where K in ({{k}}) and E > {{d}} limit {{n}}", "select A from T limit {{n}}", "{{a}} limit {{n}}", "select A from T {{"} {
		if got := prepare(t, filled, sigmasql.Options{CustomSQL: []string{other}}).Full(); strings.Contains(got, "1000") {
			t.Errorf("%s counts as the author's text of %s", filled, other)
		}
	}
	quiet := prepare(t, `select 'Unknown column "[X]"' A`, sigmasql.Options{CustomSQL: []string{`select 'Unknown column "[X]"' A`}})
	if broken := quiet.BrokenLiterals(); len(broken) != 0 {
		t.Errorf("an author's text counts as broken: %v", broken)
	}
}

func TestTables(t *testing.T) {
	tests := []struct {
		dialect sigmasql.Dialect
		text    string
		want    [][]string
	}{
		{sigmasql.Snowflake, "select 1", [][]string{}},
		{sigmasql.Snowflake, `select * from db.Schema."Table" T, "a""b".c X`, [][]string{{"DB", "SCHEMA", "Table"}, {`a"b`, "C"}}},
		{sigmasql.DuckDB, `select * from db.Schema."Table"`, [][]string{{"db", "Schema", "Table"}}},
		{sigmasql.Snowflake, "select * from A join B on A.X = B.X left join (C cross join D) on true natural join A",
			[][]string{{"A"}, {"B"}, {"C"}, {"D"}}},
		{sigmasql.Snowflake, "select * from DB..T", [][]string{{"DB", "PUBLIC", "T"}}},
		{sigmasql.Snowflake, "select * from table(F(1)), lateral flatten(X), values (1), U sample (3), @STAGE/T, S.F(1)", [][]string{{"U"}}},
		{sigmasql.Snowflake, "select extract(day from X), trim(Y from Z) from T where A is distinct from B", [][]string{{"T"}}},
		{sigmasql.Snowflake, "select (select max(A) from U) from T where B in (select C from V)", [][]string{{"U"}, {"T"}, {"V"}}},
		{sigmasql.Snowflake, "with Q as (select * from T), R as (select * from Q) select * from R, q, DB.Q", [][]string{{"T"}, {"DB", "Q"}}},
		{sigmasql.Snowflake, `with Q as (select * from Q) select * from "q"`, [][]string{{"Q"}, {"q"}}},
		{sigmasql.Snowflake, "with recursive Q as (select 1 union all select * from Q) select * from Q", [][]string{}},
		{sigmasql.DuckDB, "with Q as (select * from T) select * from q", [][]string{{"T"}}},
		{sigmasql.Snowflake, "select * from (with Q as (select 1) select * from Q) X, Q", [][]string{{"Q"}}},
	}
	for _, tt := range tests {
		got := prepare(t, tt.text, sigmasql.Options{Dialect: tt.dialect}).Tables()
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestSigmaCommentIsCutOnlyAtTheEnd(t *testing.T) {
	tests := []struct{ text, want, id string }{
		{"select 1\n\n-- Sigma Σ {\"request-id\":\"a\"}", "select 1", "a"},
		{"select 1 -- Sigma Σ {\"request-id\":\"a\"}\n\n ", "select 1", "a"},
		{"select 1\n-- Sigma Î£ {\"email\":\"e\",\"request-id\":\"a\"}", "select 1", "a"},
		{"select 1\n-- Sigma Σ {\"request-id\":", "select 1", ""},
		{"select 1\n-- Sigma Σ", "select 1", ""},
		{"select 1\n-- Sigma is a letter", "select 1\n-- Sigma is a letter", ""},
		{"select 1\n/* Sigma Σ {\"request-id\":\"a\"} */", "select 1\n/* Sigma Σ {\"request-id\":\"a\"} */", ""},
		{"select 1\n-- Sigma Σ {\"request-id\":\"a\"}\n-- mine", "select 1\n-- Sigma Σ {\"request-id\":\"a\"}\n-- mine", ""},
		{"select 1\n-- Sigma Σ {\"request-id\":\"a\"}\n, 2", "select 1\n-- Sigma Σ {\"request-id\":\"a\"}\n, 2", ""},
	}
	for _, tt := range tests {
		q := prepare(t, tt.text, sigmasql.Options{})
		if q.Text() != tt.want || q.RequestID() != tt.id {
			t.Errorf("%q becomes %q with id %q, want %q with %q", tt.text, q.Text(), q.RequestID(), tt.want, tt.id)
		}
	}
}

func TestBrokenAndFrozenLiterals(t *testing.T) {
	q := prepare(t, `with Q1 as (select 'Unknown column "[A''s]"' V_1 from T), Q0 as (select 'Unknown column \"[B]\"' V_9 from T)
		select Q1.V_1 "First", V_2 "Second", 'Circular column reference to [C]' "Third", 'unknown column "[d]"' "Fourth", to_date('2026-03-01') "Fifth"
		from Q1, (select 'Reference to errored column "[E]"' V_2 from T where A = 'Unknown column "[F]"' and B > date '2026-02-01' and C = '2026-01-01') Q2
		where D < timestamp_ltz '2026-05-01 00:00' and E = to_timestamp_ltz('not a date') and F = upper('2026-01-01')
		and G < '2026-06-01T00:00'::timestamp_ltz and H::date = '2026-01-01' and '2026-01-01' = I::date and to_date('2026-07-01'::date) = J`, sigmasql.Options{})
	var got []string
	for _, b := range q.BrokenLiterals() {
		got = append(got, b.Column+": "+b.Value)
	}
	for _, l := range q.FrozenLiterals() {
		got = append(got, l.Value)
	}
	want := []string{
		`First: Unknown column "[A's]"`, `: Unknown column "[B]"`, `Third: Circular column reference to [C]`,
		`Second: Reference to errored column "[E]"`,
		"2026-03-01", "2026-02-01", "2026-05-01 00:00", "2026-06-01T00:00", "2026-07-01",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for text, want := range map[string]string{
		`select "A" "B", 'Incomplete formula.' "A" from T`:                                              "A",
		`select 'Incomplete formula.' || A "B" from T`:                                                  "B",
		`select A "B" from T union all select V_1 "C" from (select 'Incomplete formula.' V_1 from T) U`: "B",
	} {
		broken := prepare(t, text, sigmasql.Options{}).BrokenLiterals()
		if len(broken) != 1 || broken[0].Column != want || text[broken[0].Offset] != '\'' {
			t.Errorf("%s: broken %+v, want column %q", text, broken, want)
		}
	}
}

func TestHashTellsTokensApart(t *testing.T) {
	seen := map[string]string{}
	for _, text := range []string{"select A B", "select AB", "select A, B", `select "A B"`, "select 'A' B", "select A B limit 1000", "select a b",
		"select '" + strings.Repeat("x", 5000) + "'", "select '" + strings.Repeat("x", 5001) + "'"} {
		hash := prepare(t, text, sigmasql.Options{}).Hash()
		if other, ok := seen[hash]; ok || len(hash) != 64 {
			t.Errorf("%.40q and %.40q have the hash %s", text, other, hash)
		}
		seen[hash] = text
	}
}

func ExamplePrepare() {
	q, err := sigmasql.Prepare(`select NAME "Name" from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e","email":"ana.lima@example.com"}`, sigmasql.Options{Dialect: sigmasql.Snowflake})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(q.Full())
	fmt.Println(q.Preview(100))
	fmt.Println(q.Preview(5000))
	for _, table := range q.Tables() {
		fmt.Println(strings.Join(table, "."))
	}
	// Output:
	// select NAME "Name" from (select * from SHOP.SALES.ORDERS ORDERS) Q1
	// select NAME "Name" from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 100
	// select NAME "Name" from (select * from SHOP.SALES.ORDERS ORDERS) Q1 limit 5000
	// SHOP.SALES.ORDERS
}

// longText is a text of at least size bytes in Sigma's grouped shape, with a wide select list at each level.
func longText(size int) string {
	var outer, inner strings.Builder
	for i := 0; outer.Len()+inner.Len() < size; i++ {
		if i > 0 {
			outer.WriteString(", ")
			inner.WriteString(", ")
		}
		fmt.Fprintf(&outer, "Q3.IF_%d \"Column %d of the table\"", i, i)
		fmt.Fprintf(&inner, "iff(equal_null(AMOUNT_%d, 0), 'none''s', to_char(CREATED_AT_%d::timestamp_ltz, 'YYYY')) IF_%d", i, i, i)
	}
	return "select " + outer.String() + " from (select " + inner.String() + " from SHOP.SALES.ORDERS ORDERS order by ID asc limit 1000) Q3 " +
		"left join (select STATUS, count(1) COUNT_1 from SHOP.SALES.ORDERS group by STATUS) Q6 on equal_null(Q3.STATUS, Q6.STATUS) " +
		"order by ID asc limit 1000\n\n-- Sigma Σ {\"request-id\":\"5f0c1d6e\",\"email\":\"ana.lima@example.com\"}"
}

func TestPrepareAllocatesLittle(t *testing.T) {
	text := longText(100 << 10)
	for name, opts := range map[string]sigmasql.Options{
		"plain":           {},
		"with custom SQL": {CustomSQL: []string{"select STATUS, count(1) COUNT_1 from SHOP.SALES.ORDERS group by STATUS"}},
	} {
		const runs = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			prepare(t, text, opts)
		}
		runtime.ReadMemStats(&after)
		if got, most := (after.TotalAlloc-before.TotalAlloc)/runs, uint64(4*len(text)); got > most {
			t.Errorf("%s: preparing %d bytes allocates %d, more than %d", name, len(text), got, most)
		}
	}
}

func BenchmarkPrepare(b *testing.B) {
	text := longText(100 << 10)
	for name, text := range map[string]string{
		"nothing to follow": text,
		"columns to follow": strings.Replace(text, "select Q3", `select Q3.CREATED_AT::timestamp_ltz "Created At", Q3`, 1),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sigmasql.Prepare(text, sigmasql.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
