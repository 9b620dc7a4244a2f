package sigmasql

import (
	"strconv"
	"strings"
)

// previewLimits are the numbers that Sigma writes by itself to spare its screen and the warehouse: 1000 into the SQL
// that its API returns, the others into queries that its own pages run (seen in public query logs and integrations).
var previewLimits = [...]int64{201, 1000, 10001, 25001, 1000001}

// Limit is one place where a query bounds its rows.
type Limit struct {
	// Rows is the bound, or -1 where it isn't one plain number: limit 10 percent, fetch … with ties, limit null.
	Rows int64
	// Depth counts the brackets around it. The outermost query has depth 0.
	Depth int
	// Start and End delimit it in [Query.Text], from the keyword to the number.
	Start, End int
	// Preview is set on a limit that Sigma wrote to keep its own screen quick. All others are the author's.
	Preview bool
	// Ambiguous is set where the text alone can't tell whose the limit is, and Preview is only the likelier answer: it has
	// Sigma's number, but stands where Sigma is not known to put it. Either no such limit bounds the outermost query, or
	// this one is below a filter, a grouping or a join, where it changes the rows and not only their number, or has an
	// order of its own, or another like it around it.
	Ambiguous bool
}

// bound is a limit with what the pass learns of it.
type bound struct {
	Limit
	word   lexeme // limit, fetch or top
	number lexeme // the number, if Rows >= 0
	scope  int32
	sole   bool // "limit N" and nothing else bounds its operand
	last   bool // no set operator follows in its query
}

// boundKeyword handles limit, fetch, top and offset where they are clauses, and not names that spell the same.
func (p *parser) boundKeyword(f *frame, s *scope, kw keyword, wantedTable bool) {
	isClause := false
	switch next := p.nxt; kw {
	case kwTop:
		isClause = (f.prev.kw == kwSelect || f.prev.kw == kwDistinct || f.prev.kw == kwAll) && next.Kind == Number
	case kwFetch:
		isClause = endsExpression(f.prev) && (next.Kind == Number || next.kw == kwRows)
	case kwLimit, kwOffset:
		isClause = endsExpression(f.prev) && p.startsCount(f)
	}
	switch {
	case isClause && kw == kwOffset:
		f.clause, s.offset = clauseOther, true
	case isClause:
		if kw != kwTop {
			f.clause = clauseOther
		}
		s.odd = s.odd || s.bound >= 0
		s.bound = int32(len(p.bounds))
		p.bounds = append(p.bounds, p.bound(f.scope))
	case wantedTable:
		p.table(f)
	}
}

// endsExpression reports whether a clause can follow the token, rather than an operand.
func endsExpression(l lexeme) bool {
	switch l.Kind {
	case Word:
		return !l.kw.expectsOperand()
	case Identifier, Number, String:
		return true
	}
	return l.c == ')' || l.c == ']' || l.c == '}' || l.c == '*'
}

// startsCount reports whether the next token can be a number of rows.
func (p *parser) startsCount(f *frame) bool {
	switch next := p.nxt; next.Kind {
	case Number, String:
		return true
	case Word:
		return next.kw == kwNull || next.kw == kwAll || next.kw == kwNone && f.clause != clauseList
	default:
		return next.c != 0 && strings.IndexByte("(?$:@", next.c) >= 0
	}
}

// bound reads limit N, fetch first N rows only, or top N.
func (p *parser) bound(scope int32) bound {
	b := bound{word: p.cur, scope: scope}
	b.Limit = Limit{Rows: -1, Depth: len(p.frames) - 1, Start: p.cur.Start, End: p.cur.End}
	if p.nxt.kw == kwRows {
		p.advance()
	}
	if p.nxt.Kind != Number {
		return b
	}
	p.advance()
	b.number, b.End = p.cur, p.cur.End
	if b.word.kw == kwFetch {
		for p.nxt.kw == kwRows || p.nxt.kw == kwOnly {
			p.advance()
		}
	}
	rows, err := strconv.ParseInt(p.text[b.number.Start:b.number.End], 10, 64)
	if err == nil && (b.word.kw == kwTop || p.endsCount()) {
		b.Rows = rows
	}
	return b
}

// endsCount reports whether the next token leaves the number before it a plain number of rows.
func (p *parser) endsCount() bool {
	switch p.nxt.kw {
	case kwUnion, kwIntersect, kwExcept, kwOffset:
		return true
	}
	return p.nxt.Kind == endOfText || p.nxt.c == ')'
}

// settle judges the bound of a query's operand that has been read to its end.
func (p *parser) settle(s *scope, last bool) {
	if s.bound < 0 {
		return
	}
	b := &p.bounds[s.bound]
	b.last = last
	b.sole = b.word.kw == kwLimit && b.Rows >= 0 && !s.odd && !s.offset
}

// classify tells Sigma's preview limits from the author's: the outermost query's own limit with a number of Sigma's, and
// its copies with the same number in the queries that it selects from.
func (p *parser) classify() {
	outer := int64(-1)
	if own := p.scopes[0].bound; own >= 0 {
		if b := &p.bounds[own]; p.couldBeSigmas(b) {
			b.Preview, outer = true, b.Rows
		}
	}
	for i := range p.bounds {
		b := &p.bounds[i]
		if b.Preview || !p.couldBeSigmas(b) {
			continue
		}
		switch pushed, harmless := p.path(b); {
		case outer < 0:
			b.Ambiguous = true
		case b.Rows == outer:
			b.Preview, b.Ambiguous = pushed, !pushed || !harmless
		}
	}
}

// couldBeSigmas reports whether the limit looks like one that Sigma writes.
func (p *parser) couldBeSigmas(b *bound) bool {
	if !b.sole || covered(p.custom, b.Start) {
		return false
	}
	for _, n := range previewLimits {
		if b.Rows == n {
			return true
		}
	}
	return false
}

// path follows a limit outwards. It can have been pushed inwards from the outermost query if only relations lie between.
// It was harmless there, in that the first rows of the limited query still give first rows of the whole, if no query on
// the way filters, groups, orders, joins or bounds them. Sigma keeps an order at both ends, and pushes a limit once.
func (p *parser) path(b *bound) (pushed, harmless bool) {
	inner := p.scopes[b.scope]
	harmless = (b.last || !inner.merges) && inner.ordered == p.scopes[0].ordered
	for s := inner; s.role != roleRoot; {
		around := p.scopes[s.parent]
		switch {
		case s.role == roleExpression:
			return false, false
		case s.role == roleCTE, around.reduces, around.merges, around.leftJoins && !s.first, around.ordered && !inner.ordered,
			around.offset, around.odd:
			harmless = false
		case around.role != roleRoot && around.bound >= 0:
			harmless = false
		}
		s = around
	}
	return true, harmless
}

// outermostBound returns the index of the limit whose number bounds the outermost query, or -1 where none does, and whether
// the query must be wrapped for a limit of ours: a bound that one number doesn't tell, an offset alone, a top that belongs
// to one operand of a union, or a bound within brackets around the whole, behind which no second one may stand.
func (p *parser) outermostBound() (own int, wrap bool) {
	s := p.scopes[0]
	switch {
	case s.odd:
		return -1, true
	case s.bound < 0:
		return -1, s.offset || p.boundInBrackets()
	}
	b := &p.bounds[s.bound]
	if b.Rows < 0 || b.word.kw == kwTop && s.sets {
		return -1, true
	}
	return int(s.bound), false
}

func (p *parser) boundInBrackets() bool {
	outer := int32(0)
	for i, s := range p.scopes {
		if s.role != roleOperand || s.parent != outer || p.scopes[outer].sets {
			continue
		}
		if s.bound >= 0 || s.offset || s.odd {
			return true
		}
		outer = int32(i)
	}
	return false
}
