// Package sigmasql makes a statement that a warehouse can run of the SQL that Sigma returns for an element.
//
// Sigma's text is the query behind its own screen. It carries limits that keep the screen quick, a comment with a
// person's address, and messages about broken formulas in the place of values. [Prepare] takes one text apart, and the
// [Query] it returns gives the first rows ([Query.Preview]) or all rows that the element's author meant ([Query.Full]),
// and tells what it found on the way.
//
// The package is pure: it reads text and writes text, imports the standard library only, and must not import the rest of
// sigmaclient, a warehouse, or the server. It cuts texts into tokens and follows their brackets and clauses; it is no
// parser of expressions, and leaves it to the warehouse to refuse what does not compile.
package sigmasql

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Options say how to read a text. The zero value reads Snowflake's SQL without custom SQL in it.
type Options struct {
	Dialect Dialect
	// CustomSQL are the definitions of the custom SQL that the element builds on, as Sigma's lineage and sources give
	// them. Where one occurs in the text nothing is changed: its limits and its constants are the author's.
	CustomSQL []string
	// CustomSQLUnknown is set where Sigma did not return the definitions, so that any inner limit may be an author's. Such
	// limits are ambiguous.
	CustomSQLUnknown bool
	// LimitPolicy decides about ambiguous limits. The zero value decides for each by its number and its place.
	LimitPolicy LimitPolicy
}

// LimitPolicy is what becomes of ambiguous limits.
type LimitPolicy uint8

// The policies.
const (
	Likelier      LimitPolicy = iota // by number and place, see Limit
	KeepAmbiguous                    // all are kept
	LiftAmbiguous                    // all that can be lifted are lifted
)

// Query is a text that has been found to be exactly one query. It does not change, and may be used concurrently.
type Query struct {
	text    string
	dialect Dialect
	bounds  []bound
	own     int  // index in bounds of the one number that bounds the outermost query, or -1
	wrap    bool // the outermost query is bounded, or shaped, so that no limit can be put at its end
	request string
	hash    [sha256.Size]byte
	tables  [][]string
	outputs []Output
	listed  bool // outputs are all columns
	broken  []BrokenLiteral
	frozen  []Literal
	traits  Traits
	grain   Grain
}

// Prepare reads the text that Sigma returned for an element. It fails with an [*Error] unless the text is one query and
// nothing else: no other statement before or after it, and nothing in it that writes or locks.
func Prepare(text string, opts Options) (*Query, error) {
	custom, isComplete := customSpans(text, opts.Dialect, opts.CustomSQL)
	p := newParser(text, opts.Dialect, custom)
	if err := p.parse(); err != nil {
		return nil, err
	}
	p.classify()
	for i := range p.bounds {
		b := &p.bounds[i]
		b.Ambiguous = b.Ambiguous || opts.CustomSQLUnknown && b.Preview && b.Depth > 0
		if b.Ambiguous && opts.LimitPolicy != Likelier {
			b.Preview = opts.LimitPolicy == LiftAmbiguous && b.Liftable
		}
	}
	q := &Query{
		text: text[:p.end], dialect: opts.Dialect, bounds: p.bounds, request: p.sender.RequestID, hash: p.digest.sum(),
		tables: p.tables.list, frozen: p.frozen, traits: p.traits(opts.CustomSQLUnknown || !isComplete),
	}
	t := newTracer(p)
	q.outputs, q.listed, q.broken = t.trace()
	q.grain = t.grain()
	q.own, q.wrap = p.outermostBound()
	return q, nil
}

// Text returns the text as Sigma sent it, less its comment and a semicolon at the end.
func (q *Query) Text() string { return q.text }

// Hash identifies what the text asks for: 64 hexadecimal digits over its tokens, so that white space and comments,
// Sigma's and others, don't count. Limits do.
func (q *Query) Hash() string { return hex.EncodeToString(q.hash[:]) }

// RequestID is Sigma's id for the request that the text answered, or empty where the text doesn't tell.
func (q *Query) RequestID() string { return q.request }

// Limits returns every limit in the text, in the order in which they stand there.
func (q *Query) Limits() []Limit {
	limits := make([]Limit, len(q.bounds))
	for i, b := range q.bounds {
		limits[i] = b.Limit
	}
	return limits
}

// Tables returns the tables and views that the text reads, each once, as the parts of their names: database, schema and
// table where the text is as complete as Sigma's. Names have the form in which the warehouse stores them.
func (q *Query) Tables() [][]string {
	tables := make([][]string, len(q.tables))
	for i, parts := range q.tables {
		tables[i] = slices.Clone(parts)
	}
	return tables
}

// Outputs returns the columns of the query in their order. It returns complete as false where the text does not name all
// of them, as with a star; the outputs are then those that it names.
func (q *Query) Outputs() (outputs []Output, complete bool) { return slices.Clone(q.outputs), q.listed }

// BrokenLiterals returns the constants in select lists, outside custom SQL, that have the form of one of Sigma's messages
// about a formula with an error: one entry for each column that shows it.
func (q *Query) BrokenLiterals() []BrokenLiteral { return slices.Clone(q.broken) }

// FrozenLiterals returns the dates and timestamps that stand in the text as constants. Sigma computes relative dates such
// as "last 30 days" when it writes the text, so a kept text may mean yesterday's today.
func (q *Query) FrozenLiterals() []Literal { return slices.Clone(q.frozen) }

// Full returns the statement for every row that the author meant: without Sigma's preview limits, with the author's.
// Preparing it again and asking for Full changes nothing.
func (q *Query) Full() string {
	return q.edit(-1, func(b *bound) bool { return b.Preview })
}

// Preview returns the statement for at most n of the rows that [Query.Full] gives. Preview limits inside the query stay
// as long as n is within them and they only spare work. Below zero n counts as zero, which asks for the columns alone.
func (q *Query) Preview(n int64) string {
	n = max(n, 0)
	if q.wrap {
		full := q.Full()
		return "select * from (\n" + full + "\n) as PREVIEW\nlimit " + strconv.FormatInt(n, 10)
	}
	if q.own >= 0 && !q.bounds[q.own].Preview {
		n = min(n, q.bounds[q.own].Rows)
	}
	return q.edit(n, func(b *bound) bool { return q.liftsInPreview(b, n) })
}

// liftsInPreview reports whether [Query.Preview] takes a limit out: one of Sigma's, unless it spares work and the preview
// is within it for certain.
func (q *Query) liftsInPreview(b *bound, n int64) bool {
	isCheap := !q.wrap && q.own >= 0 && n <= q.bounds[q.own].Rows
	return b.Preview && !(isCheap && !b.Ambiguous)
}

// PreviewLimits returns which of Sigma's limits [Query.Preview] takes out, and which it keeps to spare the warehouse work.
// The limit around the whole query, in whose place the preview puts its own, is among those taken out if n is beyond it.
func (q *Query) PreviewLimits(n int64) (lifted, kept []Limit) {
	for i := range q.bounds {
		b := &q.bounds[i]
		switch {
		case !b.Preview:
		case i == q.own && !q.wrap:
			if n > b.Rows {
				lifted = append(lifted, b.Limit)
			}
		case q.liftsInPreview(b, n):
			lifted = append(lifted, b.Limit)
		default:
			kept = append(kept, b.Limit)
		}
	}
	return lifted, kept
}

// edit returns the text with the limits that lift names taken out. With rows of at least 0 the outermost query gets that
// limit, in the place of its own or at the end.
func (q *Query) edit(rows int64, lift func(*bound) bool) string {
	var b strings.Builder
	b.Grow(len(q.text) + len("\nlimit 9223372036854775807"))
	from := 0
	replace := func(start, end int, by string) {
		b.WriteString(q.text[from:start])
		b.WriteString(by)
		from = end
	}
	for i := range q.bounds {
		switch limit := &q.bounds[i]; {
		case i == q.own && rows >= 0:
			replace(limit.number.Start, limit.number.End, strconv.FormatInt(rows, 10))
		case lift(limit):
			q.lift(limit, replace)
		}
	}
	b.WriteString(q.text[from:])
	if rows >= 0 && q.own < 0 {
		b.WriteString("\nlimit ")
		b.WriteString(strconv.FormatInt(rows, 10))
	}
	return b.String()
}

// lift takes a limit's word and number out, and the white space before them, but no comment in between.
func (q *Query) lift(limit *bound, replace func(start, end int, by string)) {
	word, number := limit.word, limit.number
	if number.after == word.End || number.End == len(q.text) && number.kept == word.End {
		q.remove(word, number.End, replace)
		return
	}
	q.remove(word, word.End, replace)
	q.remove(number, number.End, replace)
}

// remove takes out the text from a token to end. What stood on both sides stays apart, a line comment keeps its line
// break, and at the text's end nothing is left that Prepare would cut off.
func (q *Query) remove(first lexeme, end int, replace func(start, end int, by string)) {
	if end == len(q.text) {
		replace(first.kept, end, "")
		return
	}
	apart := q.text[end] == ')' || classes[q.text[end]]&spaceByte != 0
	switch {
	case apart && !first.afterLine:
		replace(first.after, end, "")
	case apart, first.after < first.Start:
		replace(first.Start, end, "")
	default:
		replace(first.Start, end, " ")
	}
}
