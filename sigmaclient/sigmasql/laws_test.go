package sigmasql_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// prepare fails the test where Prepare does.
func prepare(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string, opts sigmasql.Options) *sigmasql.Query {
	t.Helper()
	q, err := sigmasql.Prepare(text, opts)
	if err != nil {
		t.Fatalf("Prepare: %v\n%s", err, text)
	}
	return q
}

// texts returns the tokens' texts, without comments.
func texts(sql string) []string {
	var list []string
	for _, p := range significant(sql, sigmasql.Snowflake) {
		if p.kind > sigmasql.BlockComment {
			list = append(list, p.text)
		}
	}
	return list
}

// opaque returns what has an inside that nobody may change: strings, quoted names and comments. It leaves out the comments
// at the end that pass for Sigma's, since they are cut off where they come to be last.
func opaque(sql string) []string {
	var list []string
	for _, p := range significant(sql, sigmasql.Snowflake) {
		switch p.kind {
		case sigmasql.String, sigmasql.Identifier, sigmasql.LineComment, sigmasql.BlockComment:
			list = append(list, p.text)
		}
	}
	for len(list) > 0 && strings.HasPrefix(list[len(list)-1], "-- Sigma Σ") {
		list = list[:len(list)-1]
	}
	return list
}

func TestFullLiftsSigmasLimitsAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		text := s.drawWritten(t, "gaps")
		full := prepare(t, text, s.opts).Full()
		if diff := cmp.Diff(texts(strings.Join(s.kept(s.opts.LimitPolicy), " ")), texts(full)); diff != "" {
			t.Fatalf("tokens of Full (-want +got):\n%s\n%s", diff, text)
		}
		if diff := cmp.Diff(opaque(text), opaque(full)); diff != "" {
			t.Fatalf("strings, names and comments (-before +after):\n%s", diff)
		}
	})
}

func TestPreviewChangesNothingButLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		text := s.drawWritten(t, "gaps")
		n := rapid.Int64Range(0, 2_000_000).Draw(t, "n")
		preview := prepare(t, text, s.opts).Preview(n)
		if diff := cmp.Diff(opaque(text), opaque(preview)); diff != "" {
			t.Fatalf("strings, names and comments (-before +after):\n%s", diff)
		}
		want := n
		for _, l := range s.limits {
			if lifted, _ := s.isLifted(l, s.opts.LimitPolicy); l.isOuter && !lifted {
				want = min(n, l.rows)
			}
		}
		limits := prepare(t, preview, s.opts).Limits()
		if outer := limits[len(limits)-1]; outer.Depth != 0 || outer.Rows != want {
			t.Fatalf("outermost limit %+v, want %d rows\n%s", outer, want, preview)
		}
	})
}

func TestPreparingTwiceEqualsPreparingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		opts := s.opts
		opts.LimitPolicy = rapid.SampledFrom(policies).Draw(t, "policy")
		requireIdempotent(t, prepare(t, s.drawWritten(t, "gaps"), opts), opts)
	})
	for _, c := range corpus(t) {
		if q, err := sigmasql.Prepare(c.sql, c.opts); err == nil {
			requireIdempotent(t, q, c.opts)
		}
	}
}

func requireIdempotent(t interface {
	Helper()
	Fatalf(string, ...any)
}, q *sigmasql.Query, opts sigmasql.Options) {
	t.Helper()
	full := q.Full()
	again := prepare(t, full, opts)
	if again.Full() != full || again.Text() != full {
		t.Fatalf("prepared once:\n%q\ntwice:\n%q", full, again.Full())
	}
}

func TestTrailingCommentNeverMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		opts := s.opts
		text := s.drawWritten(t, "gaps")
		comment, id := drawComment(t)
		bare, sent := prepare(t, text, opts), prepare(t, text+comment, opts)
		if sent.RequestID() != id || bare.RequestID() != "" {
			t.Fatalf("request ids %q and %q, want %q and none", sent.RequestID(), bare.RequestID(), id)
		}
		if bare.Text() != sent.Text() || bare.Full() != sent.Full() || bare.Hash() != sent.Hash() {
			t.Fatalf("with the comment:\n%q\nwithout:\n%q", sent.Full(), bare.Full())
		}
		for _, out := range []string{sent.Text(), sent.Full(), sent.Preview(7)} {
			if strings.Contains(out, "@example.com") {
				t.Fatalf("an address got through:\n%s", out)
			}
		}
	})
}

func TestHashIgnoresGapsAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		one := prepare(t, s.drawWritten(t, "gaps"), s.opts)
		other := prepare(t, s.drawWritten(t, "other gaps"), s.opts)
		if one.Hash() != other.Hash() {
			t.Fatalf("hashes differ:\n%s\n%s", one.Text(), other.Text())
		}
		i := rapid.IntRange(0, len(s.tokens)-1).Draw(t, "changed token")
		if s.tokens[i].text != "A" {
			return
		}
		s.tokens[i].text = "AA"
		if changed := prepare(t, s.drawWritten(t, "gaps"), s.opts); changed.Hash() == one.Hash() {
			t.Fatalf("equal hashes:\n%s\n%s", one.Text(), changed.Text())
		}
	})
}
