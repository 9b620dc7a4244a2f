package sigmasql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

var kindNames = map[sigmasql.Kind]string{
	sigmasql.Space: "space", sigmasql.LineComment: "line", sigmasql.BlockComment: "block", sigmasql.String: "string",
	sigmasql.Identifier: "identifier", sigmasql.Number: "number", sigmasql.Word: "word", sigmasql.Punctuation: "punctuation",
}

func TestTokens(t *testing.T) {
	const both = sigmasql.Dialect(255)
	tests := []struct {
		name    string
		dialect sigmasql.Dialect
		text    string
		want    []string // kind and text, "!" behind an unterminated one; spaces left out
	}{
		{"words", both, "select A_1$x, größe", []string{"word select", "word A_1$x", "punctuation ,", "word größe"}},
		{"numbers", both, "1 1.5 1.5e-3 2E7 3e 4.x 12months", []string{"number 1", "number 1.5", "number 1.5e-3", "number 2E7",
			"number 3", "word e", "number 4", "punctuation .", "word x", "number 12", "word months"}},
		{"doubled quotes", both, `'it''s' "a""b"`, []string{"string 'it''s'", `identifier "a""b"`}},
		{"comment signs in quotes", both, `'--' "/*" '//'`, []string{"string '--'", `identifier "/*"`, "string '//'"}},
		{"quotes in comments", both, "-- it's\n/* \" */ 1", []string{"line -- it's", `block /* " */`, "number 1"}},
		{"line comment ends at a carriage return", both, "--a\rb", []string{"line --a", "word b"}},
		{"dollar string", both, "$$a 'b' -- $$ c", []string{"string $$a 'b' -- $$", "word c"}},
		{"variable", both, "$1 $x", []string{"punctuation $", "number 1", "punctuation $", "word x"}},
		{"unterminated string", both, "'a''", []string{"string 'a''!"}},
		{"unterminated name", both, `"a`, []string{`identifier "a!`}},
		{"unterminated comment", both, "/* a *", []string{"block /* a *!"}},
		{"shortest comment", both, "/*/ a */", []string{"block /*/ a */"}},
		{"unterminated dollar string", both, "$$ a $", []string{"string $$ a $!"}},
		{"broken encoding", both, "\xff\xfe '\xff'", []string{"word \xff\xfe", "string '\xff'"}},
		{"zero byte", both, "a\x00b", []string{"word a", "punctuation \x00", "word b"}},

		{"slashes", sigmasql.Snowflake, "a // b\nc", []string{"word a", "line // b", "word c"}},
		{"slashes", sigmasql.DuckDB, "a // b", []string{"word a", "punctuation /", "punctuation /", "word b"}},
		{"backslash", sigmasql.Snowflake, `'it\'s' 'a\\' b`, []string{`string 'it\'s'`, `string 'a\\'`, "word b"}},
		{"backslash", sigmasql.DuckDB, `'a\' b`, []string{`string 'a\'`, "word b"}},
		{"backslash at the end", sigmasql.Snowflake, `'a\`, []string{`string 'a\!`}},
		{"escape string", sigmasql.DuckDB, `e'it\'s' x`, []string{`string e'it\'s'`, "word x"}},
		{"nested comment", sigmasql.Snowflake, "/* /* */ a */", []string{"block /* /* */", "word a", "punctuation *", "punctuation /"}},
		{"nested comment", sigmasql.DuckDB, "/* /* */ a */ b", []string{"block /* /* */ a */", "word b"}},
		{"tagged dollar string", sigmasql.DuckDB, "$t$ $$ ' $t$ x", []string{"string $t$ $$ ' $t$", "word x"}},
		{"tagged dollar string", sigmasql.Snowflake, "$t$", []string{"punctuation $", "word t$"}},
	}
	for _, tt := range tests {
		for _, dialect := range []sigmasql.Dialect{sigmasql.Snowflake, sigmasql.DuckDB} {
			if tt.dialect != both && tt.dialect != dialect {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", tt.name, dialect), func(t *testing.T) {
				var got []string
				for _, token := range significant(tt.text, dialect) {
					got = append(got, kindNames[token.kind]+" "+token.text)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("tokens (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// piece is a token and its text, with "!" where it is unterminated.
type piece struct {
	kind       sigmasql.Kind
	text       string
	start, end int
}

// significant returns a text's tokens but white space.
func significant(text string, dialect sigmasql.Dialect) []piece {
	var pieces []piece
	for token := range sigmasql.Tokens(text, dialect) {
		p := piece{token.Kind, text[token.Start:token.End], token.Start, token.End}
		if token.Unterminated {
			p.text += "!"
		}
		if token.Kind != sigmasql.Space {
			pieces = append(pieces, p)
		}
	}
	return pieces
}

// requireRoundTrip checks that the tokens are the text, byte for byte.
func requireRoundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string, dialect sigmasql.Dialect) {
	t.Helper()
	at := 0
	for token := range sigmasql.Tokens(text, dialect) {
		if token.Start != at || token.End <= token.Start || token.End > len(text) {
			t.Fatalf("token %+v at byte %d of %d", token, at, len(text))
		}
		if token.Unterminated && token.End != len(text) {
			t.Fatalf("unterminated token %+v before the end, %d", token, len(text))
		}
		at = token.End
	}
	if at != len(text) {
		t.Fatalf("tokens cover %d of %d bytes", at, len(text))
	}
}

func TestTokensRoundTrip(t *testing.T) {
	parts := rapid.OneOf(
		rapid.SampledFrom([]string{"'", "''", `"`, `\`, "$", "$$", "$a$", "--", "//", "/*", "*/", "\n", "\r", " ", "(", ")", ";",
			"e'", "limit", "1000", "1e", ".", "Σ", "\xce", "\x00"}),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(parts, 0, 30).Draw(t, "parts"), "")
		requireRoundTrip(t, text, sigmasql.Snowflake)
		requireRoundTrip(t, text, sigmasql.DuckDB)
	})
}

func TestTokensStopsEarly(t *testing.T) {
	n := 0
	for range sigmasql.Tokens("a b c", sigmasql.Snowflake) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("saw %d tokens, want 2", n)
	}
}
