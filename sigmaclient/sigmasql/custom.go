package sigmasql

import (
	"slices"
	"sort"
	"strings"
)

// span is a stretch of a text.
type span struct{ start, end int }

// covered reports whether a byte lies in one of the spans, which are sorted by their start.
func covered(spans []span, offset int) bool {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].start > offset })
	return slices.ContainsFunc(spans[:i], func(s span) bool { return offset < s.end })
}

// customSpans finds where custom SQL stands in a text, token by token: white space, comments and the semicolon at the end
// of a definition don't count.
func customSpans(text string, dialect Dialect, definitions []string) []span {
	var spans []span
	var in *tokenString
	for _, definition := range definitions {
		wanted := newTokenString(definition, dialect).trimSemicolon()
		if wanted == "\x00" {
			continue
		}
		if in == nil {
			in = newTokenString(text, dialect)
		}
		for from := 0; ; {
			n := strings.Index(in.text[from:], wanted)
			if n < 0 {
				break
			}
			first, last := from+n+len("\x00"), from+n+len(wanted)-len("\x00")
			spans = append(spans, span{in.tokenAt(first).start, in.tokenAt(last - 1).end})
			from = last
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	return spans
}

// tokenString is a text's significant tokens as one string, each with a NUL before and behind it.
type tokenString struct {
	text   string
	tokens []placedToken
}

type placedToken struct {
	at         int // where it begins in tokenString.text
	start, end int // where it stands in the original text
}

func newTokenString(text string, dialect Dialect) *tokenString {
	t := &tokenString{}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteByte(0)
	for token := range Tokens(text, dialect) {
		if token.Kind <= BlockComment {
			continue
		}
		t.tokens = append(t.tokens, placedToken{b.Len(), token.Start, token.End})
		b.WriteString(text[token.Start:token.End])
		b.WriteByte(0)
	}
	t.text = b.String()
	return t
}

func (t *tokenString) trimSemicolon() string {
	return strings.TrimSuffix(t.text, ";\x00")
}

// tokenAt returns the token that holds a byte of t.text.
func (t *tokenString) tokenAt(at int) placedToken {
	return t.tokens[sort.Search(len(t.tokens), func(i int) bool { return t.tokens[i].at > at })-1]
}
