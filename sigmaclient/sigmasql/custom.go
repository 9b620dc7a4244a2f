package sigmasql

import (
	"slices"
	"sort"
	"strings"
)

// span is a stretch of a text.
type span struct{ start, end int }

// covered reports whether a byte lies in one of the spans. They are sorted by their start, and none ends before the one in
// front of it.
func covered(spans []span, offset int) bool {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].start > offset })
	return i > 0 && offset < spans[i-1].end
}

// mostOfParameter bounds what Sigma may have written for a parameter, in bytes of its normalized value: a list of a
// thousand names is long. Without a bound two texts that share a beginning and an end would count as one.
const mostOfParameter = 64 << 10

// customSpans finds where custom SQL stands in a text, token by token: white space, comments and the semicolon at the end
// of a definition don't count, and where a definition names a control, {{like-this}}, any value fits. isComplete is not set
// where a definition is not in the text: it was edited meanwhile, or begins with a control.
func customSpans(text string, dialect Dialect, definitions []string) (spans []span, isComplete bool) {
	isComplete = true
	var in string
	for _, definition := range definitions {
		wanted := strings.TrimSuffix(normalize(definition, dialect), ";\x00")
		if len(wanted) <= len("\x00") {
			continue
		}
		if in == "" {
			in = normalize(text, dialect)
		}
		parts := fixedParts(wanted)
		known := len(spans)
		for from := 0; ; {
			first, last := findParts(in, from, parts)
			if last <= first {
				break
			}
			spans = append(spans, span{first + len("\x00"), last})
			from = last
		}
		isComplete = isComplete && len(spans) > known
	}
	denormalize(text, dialect, spans)
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	for i := 1; i < len(spans); i++ { // a definition can stand in another one
		spans[i].end = max(spans[i].end, spans[i-1].end)
	}
	return spans, isComplete
}

// fixedParts splits a normalized definition at its parameters. Each part begins and ends with a NUL, and is one NUL only
// where parameters meet, or one stands at an end.
func fixedParts(definition string) []string {
	const opens, closes = "\x00{\x00{\x00", "\x00}\x00}\x00"
	var parts []string
	for {
		start := strings.Index(definition, opens)
		if start < 0 {
			return append(parts, definition)
		}
		length := strings.Index(definition[start:], closes)
		if length < 0 {
			return append(parts, definition)
		}
		parts = append(parts, definition[:start+len("\x00")])
		definition = definition[start+length+len(closes)-len("\x00"):]
	}
}

// findParts looks for a normalized definition in a normalized text. It returns the offsets of the NULs around it, the same
// twice where it isn't there.
func findParts(in string, from int, parts []string) (first, last int) {
	for ; ; from = first + 1 {
		n := strings.Index(in[from:], parts[0])
		if n < 0 || len(parts[0]) == len("\x00") {
			return 0, 0
		}
		first = from + n
		last = first + len(parts[0]) - len("\x00")
		if last = findRest(in, last, parts[1:]); last > 0 {
			return first, last
		}
	}
}

// findRest looks for the parts behind the first, each behind a value of at least one token, and returns the offset of the
// NUL behind the last of them, or 0.
func findRest(in string, last int, parts []string) int {
	for _, part := range parts {
		value := strings.IndexByte(in[last+len("\x00"):], 0)
		if value < 0 {
			return 0
		}
		last += len("\x00") + value
		n := strings.Index(in[last:min(len(in), last+mostOfParameter+len(part))], part)
		if n < 0 {
			return 0
		}
		last += n + len(part) - len("\x00")
	}
	return last
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
