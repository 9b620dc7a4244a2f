package sigmasql

import (
	"strconv"
	"strings"
)

// isSigmasNumber reports whether Sigma writes limits of so many rows to bound its own screen: 1000 into the SQL that its
// API returns, 1000000 into exports, and one row more than a page shows (201, 1001, 97001) into the queries of its pages.
// Public query logs show all of these.
func isSigmasNumber(rows int64) bool {
	return rows == 1000 || rows == 1_000_000 || rows > 100 && rows%100 == 1
}

// Limit is one place where a query bounds its rows.
type Limit struct {
	// Rows is the bound, or -1 where it isn't one plain number: limit 10 percent, fetch … with ties, limit null.
	Rows int64
	// Depth counts the brackets around it. The outermost query has depth 0.
	Depth int
	// Start and End delimit it in [Query.Text], from the keyword to the number.
	Start, End int
	// Preview is set on a limit that counts as Sigma's own, which a full read lifts. All others are kept.
	Preview bool
	// Ambiguous is set where the text alone does not show whose the limit is. Certain are only the limits in custom SQL,
	// which are the author's, and Sigma's limit around the whole query with its copies in the queries that it selects from.
	Ambiguous bool
	// Liftable is set on a plain limit: the bound can be taken out of the text without changing anything else. A limit
	// with an offset, a fetch and a top are not.
	Liftable bool
}

// bound is a limit with what the pass learns of it.
type bound struct {
	Limit
	word   lexeme // limit, fetch or top
	number lexeme // the number, if Rows >= 0
	scope  int32
	custom bool // within custom SQL
	last   bool // no set operator follows in its query
}

// boundKeyword handles limit, fetch, top and offset. Each is a clause, or a name that spells the same; a word that is
// neither for certain refuses the text, since a limit that is overlooked loses rows.
func (p *parser) boundKeyword(f *frame, s *scope, kw keyword) {
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
		p.endItem(f)
		f.clause, s.offset = clauseOther, true
	case isClause:
		if kw != kwTop {
			p.endItem(f)
			f.clause = clauseOther
		}
		s.odd = s.odd || s.bound >= 0
		s.bound = int32(len(p.bounds))
		p.bounds = append(p.bounds, p.bound(f.scope))
	case isLimitWord(kw) && !p.isPlainName(f, kw):
		p.refuseLimit()
	default:
		p.cur.kw = kwNone
		if f.afterRelation {
			p.aliasRelation(f)
		}
	}
}

// refuseLimit refuses a text because of the current word, unless the author wrote it as custom SQL.
func (p *parser) refuseLimit() {
	if p.unknownLimit < 0 && !covered(p.custom, p.cur.Start) {
		p.unknownLimit = p.cur.Start
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
	b := bound{word: p.cur, scope: scope, custom: covered(p.custom, p.cur.Start)}
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
	b.Liftable = b.word.kw == kwLimit && b.Rows >= 0 && !s.odd && !s.offset && !b.custom
}

// classify decides for each limit whether it counts as Sigma's, and whether the text alone shows that.
//
// Sigma writes its limit around the whole query and copies it into queries that this one selects from. 1000 around the
// whole is Sigma's, and so is any other number of Sigma's that has a copy inside; without a copy the number alone speaks
// for Sigma. A number that Sigma is not known to write counts as the author's, but only custom SQL shows that for certain.
func (p *parser) classify() {
	outer := p.outermostSigmaLimit()
	hasCopy := false
	for i := range p.bounds {
		b := &p.bounds[i]
		if b.custom || b == outer || b.Rows < 0 {
			continue
		}
		b.Ambiguous = true
		if !p.couldBeSigmas(b) {
			continue
		}
		pushed, harmless := p.path(b)
		switch {
		case outer != nil && b.Rows == outer.Rows:
			b.Preview, b.Ambiguous = pushed, !pushed || !harmless
			hasCopy = hasCopy || pushed
		case outer != nil || b.Rows != 1000:
			b.Preview = pushed
		}
	}
	if outer != nil {
		outer.Preview, outer.Ambiguous = true, outer.Rows != 1000 && !hasCopy
	}
}

// outermostSigmaLimit returns the limit around the whole query if it has one of Sigma's numbers, else nil.
func (p *parser) outermostSigmaLimit() *bound {
	if own := p.scopes[0].bound; own >= 0 && p.couldBeSigmas(&p.bounds[own]) {
		return &p.bounds[own]
	}
	return nil
}

// couldBeSigmas reports whether the limit looks like one that Sigma writes.
func (p *parser) couldBeSigmas(b *bound) bool { return b.Liftable && isSigmasNumber(b.Rows) }

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
