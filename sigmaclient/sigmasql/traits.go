package sigmasql

import (
	"slices"
	"strings"
)

// Traits are what a text shows about rows and values that depend on more than the tables: the session, the user, the
// moment, and what Sigma wrote for the owner of its credential. Custom SQL counts, except for ZoneOffsets.
type Traits struct {
	// DependsOnZone is set where the time zone of the session decides about rows or values for certain. A date function of a
	// column counts where the text shows that the column is zone-aware: the type of a column alone is not in the text.
	DependsOnZone bool
	// ZoneOffsets are the offsets that dates of the local zone have, each once, in the order of the text. They are those of the
	// zone in which Sigma wrote the text. Where the custom SQL is not known, or not all of it is in the text, only dates
	// with Sigma's format count.
	ZoneOffsets []ZoneOffset
	// NamesOwner is set where a string constant is the e-mail address in Sigma's comment, in any case.
	NamesOwner bool
	// KeepsNoRows is set where a filter is never true: where false, or a comparison with null.
	KeepsNoRows bool
	// Unqualified are the tables whose names have fewer than three parts, in the form of [Query.Tables]. DUAL is none of them: it is
	// the same table in every schema.
	Unqualified [][]string
	// ContextFunctions are the functions whose values depend on the session, in lower case, each once.
	ContextFunctions []string
	// DependsOnWeeks is set where session parameters decide on which day a week begins, or which number it has. It is never set
	// for a dialect without such parameters.
	DependsOnWeeks bool
	// UnstableFunctions are the functions whose values can change from read to read, in lower case, each once. [Output] shows
	// which columns they reach.
	UnstableFunctions []string
	// HasUnstableRows is set where a filter or a sample keeps other rows at each read.
	HasUnstableRows bool
	// HasSort is set where a window function or a list has an order.
	HasSort bool
}

// Traits returns what the text shows about rows and values that depend on more than the tables.
func (q *Query) Traits() Traits {
	t := q.traits
	t.ZoneOffsets, t.ContextFunctions, t.UnstableFunctions = slices.Clone(t.ZoneOffsets), slices.Clone(t.ContextFunctions), slices.Clone(t.UnstableFunctions)
	for _, table := range q.tables {
		if len(table) < qualifiedParts && !(len(table) == 1 && strings.EqualFold(table[0], "dual")) {
			t.Unqualified = append(t.Unqualified, slices.Clone(table))
		}
	}
	return t
}

// qualifiedParts are the parts of a name that no session resolves: database, schema and table.
const qualifiedParts = 3

// traits are what the pass over a text notes for [Traits].
type traits struct {
	addresses []span // string constants with an at sign
	literals  []zoneLiteral
	marked    marks // of all items
	windows   int   // open brackets with an order of rows
	names     int   // names within them

	localNames, dayNames []span // columns that are compared with a local date, and those that a date function is about

	zone, weeks, noRows, unstableRows, hasSort bool
	context, unstable                          []string
}

// itemMarks are properties of an item of a select list.
type itemMarks struct {
	item  int32
	marks marks
}

// marks are properties of items, as bits.
type marks uint8

const (
	markUnstable    marks = 1 << iota
	markCount             // a count comes into it
	markOne               // it compares something with 1
	markSeveral           // it compares a count with 1
	markStar              // it chooses the constant '*'
	markLookup            // it chooses '*' where a count is more than 1
	markLocal             // it is cast to a timestamp of the local zone
	markPlaceholder       // it is null in a query that aggregates
)

// followed are the marks that make it worthwhile to follow columns, and inExpressions those that come out of expressions.
const (
	followed      = inExpressions | markLocal
	inExpressions = markUnstable | markStar
)

// inherited are the marks that a column takes over from the columns that come into it.
const inherited = markUnstable | markCount | markSeveral | markLookup | markPlaceholder

// traits returns the traits of a text that has been parsed.
func (p *parser) traits(customSQLUnknown bool) Traits {
	t := Traits{
		DependsOnZone: p.noted.zone || p.truncatesLocal(), NamesOwner: p.namesOwner(), KeepsNoRows: p.noted.noRows,
		ContextFunctions: p.noted.context, DependsOnWeeks: p.noted.weeks && p.lex.lexicon.weekParameters,
		UnstableFunctions: p.noted.unstable, HasUnstableRows: p.noted.unstableRows, HasSort: p.noted.hasSort,
	}
	seen := map[ZoneOffset]bool{}
	for _, l := range p.noted.literals {
		if !seen[l.ZoneOffset] && (l.hasMask || !customSQLUnknown) {
			seen[l.ZoneOffset] = true
			t.ZoneOffsets = append(t.ZoneOffsets, l.ZoneOffset)
		}
	}
	return t
}

// isInItem reports whether the frame is in an item of the select list of its query.
func (f *frame) isInItem() bool {
	if f.query {
		return f.clause == clauseList
	}
	return f.inItem
}

// mark gives the current item marks, if the frame is in one.
func (p *parser) mark(f *frame, m marks) bool {
	if !f.isInItem() {
		return false
	}
	operand := &p.operands[p.scopes[f.scope].lastOperand]
	operand.marks = append(operand.marks, itemMarks{int32(len(operand.items)), m})
	p.noted.marked |= m
	return true
}

// markUnstable notes that the value of a function in the frame can change from read to read.
func (p *parser) markUnstable(f *frame, name span) {
	p.noted.unstable = p.addName(p.noted.unstable, name)
	if !p.mark(f, markUnstable) && !f.inOrder {
		p.noted.unstableRows = true
	}
}

// addName adds a name in lower case to a list that has each once.
func (p *parser) addName(list []string, name span) []string {
	lower := strings.ToLower(p.text[name.start:name.end])
	if slices.Contains(list, lower) || len(list) == maxNames {
		return list
	}
	return append(list, lower)
}

// maxNames bounds the list of functions of one kind.
const maxNames = 100

// namesOwner reports whether a string constant is the address in Sigma's comment.
func (p *parser) namesOwner() bool {
	if p.sender.Email == "" {
		return false
	}
	return slices.ContainsFunc(p.noted.addresses, func(s span) bool {
		return strings.EqualFold(p.unescape(p.text[s.start+1:s.end-1]), p.sender.Email)
	})
}

// noteLiteral notes what a string constant shows, wherever it stands.
func (p *parser) noteLiteral(f *frame, content string) {
	switch {
	case f.call.fn == fnDayFirst && f.prev.Kind == endOfText, f.call.fn == fnDayLast && p.nxt.c == ')':
		p.noted.weeks = p.noted.weeks || isWeekPart(content)
	case f.call.fn == fnLocal && f.prev.c == ',': // a format
		p.noted.zone = p.noted.zone || !strings.Contains(strings.ToUpper(content), "TZ") && !strings.EqualFold(content, "auto")
	case content == "*":
		if (f.call.fn == fnChoice && f.prev.c == ',' || p.isWord(f.prev, "then") || p.isWord(f.prev, "else")) && !covered(p.custom, p.cur.Start) {
			p.mark(f, markStar)
		}
	case strings.IndexByte(content, '@') >= 0:
		p.noted.addresses = append(p.noted.addresses, span{p.cur.Start, p.cur.End})
	}
}

// noteNumber notes a comparison with 1.
func (p *parser) noteNumber(f *frame) {
	if p.cur.End-p.cur.Start == 1 && p.text[p.cur.Start] == '1' && isComparison(f.prev.c) {
		p.mark(f, markOne)
	}
}

func isComparison(c byte) bool { return c == '=' || c == '<' || c == '>' }

// noteWord notes what a word shows that is no clause: the name of a function, a column, or a part of a date.
func (p *parser) noteWord(f *frame, kw keyword) {
	if f.filter.isOpen {
		p.filterWord(f, kw)
	}
	if p.noted.windows > 0 {
		p.windowWord(f, kw)
	}
	if f.call.fn.isDay() {
		p.dayArgument(f)
	}
	switch {
	case p.cur.Kind != Word, f.query && f.clause >= clauseWithName && f.clause <= clauseWithNext:
		return
	case kw == kwNull && f.isInItem():
		p.mayBeNull = p.mayBeNull || f.itemStart == p.cur.Start || f.prev.Kind == endOfText
		return
	case kw == kwOperator && p.isWord(p.cur, "between"):
		p.noteComparison(f)
		return
	case f.afterRelation:
		p.noteSample()
		return
	case p.nxt.c == '(' && !kw.expectsOperand():
		p.noteCall(f)
		return
	case kw != kwNone, f.prev.c == '.', p.nxt.c == '.', f.wantsTable, f.prev.kw == kwAs, endsExpression(f.prev):
		return
	}
	if fn, ok := p.isBareFunction(p.cur); ok {
		p.noteContext(f, fn, span{p.cur.Start, p.cur.End}, p.nxt)
	}
}

// noteCall notes a function whose arguments come next.
func (p *parser) noteCall(f *frame) {
	name := span{p.cur.Start, p.cur.End}
	if f.prev.c == '.' { // one of a schema: only Cortex is known
		if p.isWord(f.prev2, "cortex") {
			p.markUnstable(f, name)
		}
		return
	}
	fn := functionOf(p.text[name.start:name.end])
	if fn == fnNone && p.cur.kw == kwAggregate {
		fn = fnAggregate
	}
	p.calling = call{name, fn}
	switch fn {
	case fnUnstable:
		p.markUnstable(f, name)
	case fnWeek:
		p.noted.weeks = true
	case fnCount:
		p.mark(f, markCount)
	case fnContext, fnNow, fnToday:
		p.noteContext(f, fn, name, lexeme{})
	}
}

// noteContext notes a function whose value depends on the session. The token behind it is that of a function without
// brackets; what stands behind brackets is seen when they close.
func (p *parser) noteContext(f *frame, fn function, name span, behind lexeme) {
	p.noted.context = p.addName(p.noted.context, name)
	switch fn {
	case fnToday:
		p.noted.zone = true
	case fnNow: // an instant depends on no zone, but the date of it does
		p.noted.zone = p.noted.zone || behind.c == ':' || f.call.fn.isDay()
	}
}

// noteClosed notes what a closed bracket was the end of. The frame is the one around it.
func (p *parser) noteClosed(f, closed *frame) {
	f.closed = closed.call
	if closed.call.fn == fnNow && p.nxt.c == ':' {
		p.noted.zone = true
	}
	if closed.ordering.isOpen {
		p.closeWindow(f, closed)
	}
	if closed.filter.neverTrue() && f.filter.isOpen && p.endsCondition() {
		f.filter.isFalse = true
	}
}

// noteSample notes a sample of the relation before the current word.
func (p *parser) noteSample() {
	if p.cur.kw != kwSample && !p.isWord(p.cur, "tablesample") {
		return
	}
	inner := p.peek()
	if p.nxt.c == '(' && inner.Kind == Number || p.nxt.Kind == Word && inner.c == '(' {
		p.noted.unstable = p.addName(p.noted.unstable, span{p.cur.Start, p.cur.End})
		p.noted.unstableRows = true
	}
}

// filter is a condition about rows, or a bracket in one, as far as it decides whether a row can pass.
type filter struct {
	isOpen  bool
	isFalse bool // a part is never true
	hasMore bool // words whose effect is not followed: or, not, case
}

func (f filter) neverTrue() bool { return f.isOpen && f.isFalse && !f.hasMore }

// endFilter ends the condition of a clause.
func (p *parser) endFilter(f *frame) {
	p.noted.noRows = p.noted.noRows || f.filter.neverTrue()
	f.filter = filter{}
}

// filterWord looks in a condition for parts that are never true.
func (p *parser) filterWord(f *frame, kw keyword) {
	switch {
	case kw == kwNot, kw == kwCase, kw == kwOperator && p.isWord(p.cur, "or"):
		f.filter.hasMore = true
	case kw == kwNull && isComparison(f.prev.c), p.startsCondition(f) && p.isWord(p.cur, "false"):
		f.filter.isFalse = f.filter.isFalse || p.endsCondition()
	case kw == kwNull && p.startsCondition(f) && isComparison(p.nxt.c):
		f.filter.isFalse = true
	}
}

// startsCondition reports whether the current token is the first of a part that must be true.
func (p *parser) startsCondition(f *frame) bool {
	switch f.prev.kw {
	case kwWhere, kwHaving, kwQualify, kwAnd:
		return true
	}
	return f.prev.Kind == endOfText && !f.query
}

// endsCondition reports whether the current token is the last of a part that must be true.
func (p *parser) endsCondition() bool {
	return p.nxt.kw == kwAnd || p.endsItem(p.nxt) && p.nxt.c != ','
}
