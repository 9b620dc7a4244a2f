package sigmasql

import (
	"strings"
)

// Output is a column of the query's result, followed through the queries that it selects from.
type Output struct {
	// Label is the column's display name, or empty where the text gives the column none.
	Label string
	// Constants are string constants that values of the column come from, at most maxConstants. Of an expression they are
	// only those in the form of Sigma's messages.
	Constants []Literal
	// IsConstant is set where each value is one of Constants or null, through any number of renames.
	IsConstant bool
	// IsNull is set where each value is null. It is not set for a null beside aggregates: Sigma writes it for a level of a pivot
	// that a row does not have.
	IsNull bool
	// IsUnstable is set where a value can change from read to read, because of one of [Traits.UnstableFunctions].
	IsUnstable bool
	// IsLookup is set where the text writes '*' in the place of a value that several rows give.
	IsLookup bool
	// Table and Column name the column of a table that the output is, through any number of renames and casts, in the form of
	// [Query.Tables]. They are empty for other outputs, and may be empty where the text holds nothing that needs them: they are
	// there for each output with IsLocalCast.
	Table  []string
	Column string
	// IsLocalCast is set where the output is a cast of a column to a timestamp of the local zone and
	// nothing else. If Column is a DATE, so is the output.
	IsLocalCast bool
	// IsDateCast is set where the text shows that the output is a cast of a DATE column to a timestamp of the local zone and
	// nothing else.
	IsDateCast bool
}

// maxConstants bounds the constants that are followed for one column.
const maxConstants = 16

// operand is one select of a query: all of it, or a part between set operators.
type operand struct {
	items     []item
	relations []relation
	child     int32 // the query in brackets that the operand is, or noScope
	next      int32 // the operand behind the next set operator, or -1
	scope     int32 // that it is part of
	outer     int32 // the operand in whose expression it stands, and whose columns it can name, or noOperand
	queries   []subquery
	dedups    bool // leaves out equal rows, or groups by items that it does not name
	groups    bool
	marks     []itemMarks // in the order of the items
	// aggregates counts the aggregates that are no window functions.
	aggregates int32
}

// item is an item of a select list.
type item struct {
	span
	alias int // where the alias at the end of a function call begins; 0 for items that need another look
}

// subquery is a query in an operand's expression.
type subquery struct {
	span
	scope int32
}

// noOperand stands for no operand.
const noOperand = -1

// noScope marks a relation whose columns the text does not tell, such as a table.
const noScope = -1

func newOperand(scope int32) operand {
	return operand{child: noScope, next: noOperand, scope: scope, outer: noOperand}
}

// relation is something that an operand selects from.
type relation struct {
	scope  int32 // the query, or noScope
	table  int32 // the index of the table among the query's, plus 1, or 0
	alias  string
	opaque bool // the columns have other names or values than the query's
	join   joinKind
	on     int // the byte behind the word "on", or 0
}

// gate is a name outside of a select list, where its values decide about the rows.
type gate struct {
	operand int32
	name    string
}

// endItem ends the current item of a select list, if there is one.
func (p *parser) endItem(f *frame) {
	if !f.query || f.clause != clauseList || f.itemStart < 0 || f.prev.End <= f.itemStart {
		return
	}
	o := &p.operands[p.scopes[f.scope].lastOperand]
	i := item{span: span{f.itemStart, f.prev.End}}
	if f.itemIsCall && f.prev.isName() && f.prev2.c == ')' && !p.endsOperand(f.prev) {
		i.alias = f.prev.Start
	}
	o.items = append(o.items, i)
	p.mayBeConstant = p.mayBeConstant || startsConstant(p.text[f.itemStart:])
	f.itemStart = -1
}

// startsCall reports whether the current token begins a function call that is no cast.
func (p *parser) startsCall() bool {
	if p.cur.Kind != Word || p.nxt.c != '(' || p.isWord(p.cur, "cast") || p.isWord(p.cur, "try_cast") {
		return false
	}
	return p.cur.kw == kwNone || p.cur.kw == kwAggregate || p.cur.kw == kwTimestamp
}

// endsOperand reports whether a word behind a bracket can be part of the expression, and no alias.
func (p *parser) endsOperand(l lexeme) bool {
	return p.isWord(l, "end") || p.isWord(l, "isnull") || p.isWord(l, "notnull")
}

// startsConstant reports whether an item may be nothing but a string constant, under a cast or in brackets. The words in
// front of the first item of a list belong to it here.
func startsConstant(item string) bool {
	if item[0] == '\'' || item[0] == '(' {
		return true
	}
	for _, word := range [...]string{"cast", "try_cast", "distinct", "all", "top"} {
		if len(item) > len(word) && strings.EqualFold(item[:len(word)], word) {
			return true
		}
	}
	return false
}

// nextOperand begins the operand behind a set operator.
func (p *parser) nextOperand(s *scope) {
	next := int32(len(p.operands))
	last := &p.operands[s.lastOperand]
	last.next = next
	operand := newOperand(last.scope)
	operand.outer = last.outer
	p.operands = append(p.operands, operand)
	s.lastOperand = next
}

// aliasRelation gives the last relation the current word as its alias.
func (p *parser) aliasRelation(f *frame) {
	if relations := p.operands[p.scopes[f.scope].lastOperand].relations; len(relations) > 0 {
		relations[len(relations)-1].alias = p.name(p.cur)
	}
	if p.nxt.c == '(' {
		p.makeOpaque(f)
	}
}

// makeOpaque marks the last relation as one whose columns the text does not tell.
func (p *parser) makeOpaque(f *frame) {
	if relations := p.operands[p.scopes[f.scope].lastOperand].relations; len(relations) > 0 {
		relations[len(relations)-1].opaque = true
	}
}

// endSubquery notes where the query in an expression ends that f is.
func (p *parser) endSubquery(f *frame) {
	queries := p.operands[p.scopes[p.scopes[f.scope].parent].lastOperand].queries
	queries[len(queries)-1].end = p.cur.End
}

// showsOnly reports whether an expression in the frame shows or orders values and does not decide about rows.
func (f *frame) showsOnly() bool {
	return f.inList || f.inOrder || f.query && f.clause == clauseList
}

// gate records the current name if it may stand for a message and decide about rows: in a filter, a join or a grouping.
func (p *parser) gate(f *frame) {
	if len(p.messages) == 0 || !f.decides && f.showsOnly() || f.wantsTable || f.afterRelation {
		return
	}
	if p.nxt.c == '(' || p.nxt.c == '.' {
		return
	}
	p.groupKey(f)
	p.gates = append(p.gates, gate{operand: p.scopes[f.scope].lastOperand, name: p.name(p.cur)})
}

// groupKey notes a grouping by items that it does not name: group by all, group by 2.
func (p *parser) groupKey(f *frame) {
	if f.inGroup && (p.cur.Kind == Number || p.isWord(p.cur, "all")) && (f.prev.kw == kwBy || f.prev.c == ',') {
		p.operands[p.scopes[f.scope].lastOperand].dedups = true
	}
}
