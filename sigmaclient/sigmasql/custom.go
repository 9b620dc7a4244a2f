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
	var in string
	for _, definition := range definitions {
		wanted := strings.TrimSuffix(normalize(definition, dialect), ";\x00")
		if len(wanted) <= len("\x00") {
			continue
		}
		if in == "" {
			in = normalize(text, dialect)
		}
		for from := 0; ; {
			n := strings.Index(in[from:], wanted)
			if n < 0 {
				break
			}
			last := from + n + len(wanted) - len("\x00")
			spans = append(spans, span{from + n + len("\x00"), last})
			from = last
		}
	}
	denormalize(text, dialect, spans)
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	return spans
}

// normalize writes a text's significant tokens with a NUL before and behind each.
func normalize(text string, dialect Dialect) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/4)
	b.WriteByte(0)
	for token := range Tokens(text, dialect) {
		if token.Kind > BlockComment {
			b.WriteString(text[token.Start:token.End])
			b.WriteByte(0)
		}
	}
	return b.String()
}

// denormalize turns spans of the normalized text into spans of the text.
func denormalize(text string, dialect Dialect, spans []span) {
	edges := make([]*int, 0, 2*len(spans))
	for i := range spans {
		edges = append(edges, &spans[i].start, &spans[i].end)
	}
	slices.SortFunc(edges, func(a, b *int) int { return *a - *b })
	at := len("\x00")
	for token := range Tokens(text, dialect) {
		if len(edges) == 0 {
			return
		}
		if token.Kind <= BlockComment {
			continue
		}
		next := at + token.End - token.Start + len("\x00")
		for len(edges) > 0 && *edges[0] < next {
			*edges[0] += token.Start - at
			edges = edges[1:]
		}
		at = next
	}
}
