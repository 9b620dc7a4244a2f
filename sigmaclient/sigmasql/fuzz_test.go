package sigmasql_test

import (
	"errors"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

func FuzzTokens(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.sql)
	}
	for _, seed := range []string{"", "'", `"`, "$", "$$", "$a$ $a", "/*/", "/* /* */", "--", "//", "e'\\'", "1e+", "\xce\xa3", `'\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		requireRoundTrip(t, text, sigmasql.Snowflake)
		requireRoundTrip(t, text, sigmasql.DuckDB)
	})
}

func FuzzPrepare(f *testing.F) {
	for _, c := range corpus(f) {
		custom := ""
		if len(c.opts.CustomSQL) > 0 {
			custom = c.opts.CustomSQL[0]
		}
		f.Add(c.sql, custom, int64(10), false)
	}
	for _, seed := range []string{
		"select 1limit 1000", "select(1)limit 1000", "select 1 limit/**/1000", "select 1 limit--\n1000", "select 1 limit 1000 limit 1000",
		"(select 1 limit 201) limit 1000", "select 1 from (select 2 limit 1000--\n) limit 1000;", "select 1 from ((values(1)) limit 201) limit 201",
		"select 1 -- Sigma Σ {}\n; -- Sigma Σ {}", "select a union all", "with q as (select 1) (select 2 limit 1000) limit 1000", "with", "select (",
		"select x from T limit limit 1000", "select 'Unknown column \"[", "select '", "select 1 from (", "select [1, (2}", "select count(", "values",
	} {
		f.Add(seed, "select 1", int64(1), true)
	}
	f.Fuzz(func(t *testing.T, text, custom string, n int64, duckdb bool) {
		opts := sigmasql.Options{CustomSQL: []string{custom}}
		if duckdb {
			opts.Dialect = sigmasql.DuckDB
		}
		q, err := sigmasql.Prepare(text, opts)
		if err != nil {
			var refused *sigmasql.Error
			if !errors.As(err, &refused) || refused.Offset < 0 || refused.Offset > len(text) || refused.Reason.String() == "unknown" {
				t.Fatalf("error %#v for %q", err, text)
			}
			return
		}
		for _, l := range q.Limits() {
			if l.Start < 0 || l.Start >= l.End || l.End > len(q.Text()) {
				t.Fatalf("limit %+v in %q", l, q.Text())
			}
		}
		full := q.Full()
		requireBalanced(t, full, opts.Dialect)
		requireBalanced(t, q.Preview(n), opts.Dialect)
		requireIdempotent(t, q, opts)
		if hash := prepare(t, q.Text(), opts).Hash(); hash != q.Hash() {
			t.Fatalf("the text without comment has hash %s, not %s: %q", hash, q.Hash(), text)
		}
	})
}

// requireBalanced checks that brackets match and that nothing is cut off.
func requireBalanced(t *testing.T, sql string, dialect sigmasql.Dialect) {
	t.Helper()
	closers := map[string]string{"(": ")", "[": "]", "{": "}"}
	var open []string
	for token := range sigmasql.Tokens(sql, dialect) {
		text := sql[token.Start:token.End]
		switch closer, opens := closers[text]; {
		case token.Unterminated:
			t.Fatalf("unterminated token in %q", sql)
		case token.Kind != sigmasql.Punctuation:
		case opens:
			open = append(open, closer)
		case text == ")" || text == "]" || text == "}":
			if len(open) == 0 || open[len(open)-1] != text {
				t.Fatalf("unbalanced: %q", sql)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Fatalf("unbalanced: %q", sql)
	}
}
