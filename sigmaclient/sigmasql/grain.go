package sigmasql

import (
	"iter"
	"slices"
	"strings"
)

// Grain holds the outputs that have the values of a group, repeated in each of its base rows. The zero value is that of a text
// that joins no group back to base rows.
//
// Sigma's SQL for a grouped table or a chart joins the aggregates of each group to the rows that are in it:
//
//	select … from (base rows) Q3 left join (select count(ID) COUNT_9, S S_2 from T group by S) Q6 on equal_null(Q3.S, Q6.S_2)
type Grain struct {
	// Repeated are the labels of the outputs that are aggregates of a group, or of the whole.
	Repeated []string
	// Keys are the labels of the outputs by which the groups are joined.
	Keys []string
	// isComplete is set where each key of each group is among the outputs.
	isComplete bool
}

// Grain returns which outputs are repeated in each base row of their group.
func (q *Query) Grain() Grain {
	g := q.grain
	g.Repeated, g.Keys = slices.Clone(g.Repeated), slices.Clone(g.Keys)
	return g
}

// GroupColumns returns the labels of the outputs that are the same in all base rows of a group, in their order: the keys and
// the repeated ones. The distinct rows of these columns are the groups. It returns nil where the text joins no group back to
// base rows, or where a key of a group is not among the outputs.
func (q *Query) GroupColumns() []string {
	if !q.grain.isComplete || len(q.grain.Repeated) == 0 {
		return nil
	}
	isOfGroup := make(map[string]bool, len(q.grain.Keys)+len(q.grain.Repeated))
	for _, label := range slices.Concat(q.grain.Keys, q.grain.Repeated) {
		isOfGroup[label] = true
	}
	var labels []string
	for _, o := range q.outputs {
		if isOfGroup[o.Label] {
			labels = append(labels, o.Label)
		}
	}
	return labels
}

// joinKind is how a relation is joined to those before it.
type joinKind uint8

const (
	joinNone joinKind = iota
	joinLeft
	joinCross
	joinOther
)

// joinKind returns the kind of the join whose word is the current one.
func (p *parser) joinKind(f *frame) joinKind {
	switch {
	case f.prev.kw == kwLeft, f.prev.kw == kwOuter && f.prev2.kw == kwLeft:
		return joinLeft
	case p.isWord(f.prev, "cross"):
		return joinCross
	}
	return joinOther
}

// joinCondition notes where the condition of the last relation begins.
func (p *parser) joinCondition(f *frame) {
	relations := p.operands[p.scopes[f.scope].lastOperand].relations
	if f.clause == clauseFrom && len(relations) > 0 {
		relations[len(relations)-1].on = p.cur.End
	}
}

// traced is an output on its way inwards, with the name that it has in the query at hand.
type traced struct {
	label           string
	qualifier, name string
}

// at is a column of a relation of an operand.
type at struct {
	relation int
	name     string
}

// grain follows the outputs inwards, through queries that only select and join, to the groups that are joined back.
func (t *tracer) grain() Grain {
	joins := t.joinsOfGroups()
	if len(joins) == 0 {
		return Grain{}
	}
	g := Grain{isComplete: true}
	o := t.labelled(0)
	for columns := t.firstColumns(o); ; {
		if joined, ok := joins[o]; ok {
			t.addGroups(o, joined, columns, &g)
			if delete(joins, o); len(joins) == 0 {
				return g
			}
		}
		var inner []traced
		for c := range columns {
			if relation, ok := t.relationOf(o, c); ok && relation == 0 {
				inner = append(inner, c)
			}
		}
		o = t.labelled(t.operands[o].relations[0].scope)
		columns = slices.Values(t.inside(o, inner))
	}
}

// joinsOfGroups returns the operands that join groups to their first relation, from the outermost query inwards as long as
// each only selects, with the joins.
func (t *tracer) joinsOfGroups() map[int32]groupJoins {
	var joins map[int32]groupJoins
	scope := int32(0)
	for range len(t.scopes) { // a recursive query has no end
		if scope == noScope || !t.enter() {
			break
		}
		o := t.scopes[scope].firstOperand
		operand := &t.operands[o]
		switch {
		case operand.next != noOperand:
			return joins
		case t.isBracket(o):
			scope = t.child(o)
			continue
		case operand.groups, operand.dedups, operand.aggregates > 0, len(operand.relations) == 0:
			return joins
		}
		if joined := t.groupJoins(o); joined.isGroup != nil {
			if joins == nil {
				joins = map[int32]groupJoins{}
			}
			joins[o] = joined
		}
		if scope = operand.relations[0].scope; operand.relations[0].opaque {
			return joins
		}
	}
	return joins
}

// firstColumns returns the outputs of the operand that names them.
func (t *tracer) firstColumns(o int32) iter.Seq[traced] {
	return func(yield func(traced) bool) {
		for _, s := range t.list(o).shapes {
			if s.kind == shapeName && s.label != "" && !yield(traced{s.label, s.qualifier, s.name}) {
				return
			}
		}
	}
}

// inside returns the columns with the names that an operand's items give them: those that are nothing but the name of
// another column.
func (t *tracer) inside(o int32, columns []traced) []traced {
	list := t.list(o)
	t.steps += len(columns)
	inside := columns[:0]
	for _, c := range columns {
		i, ok := t.positionOf(o, c.name)
		switch {
		case len(list.shapes) == 0: // relations in brackets
			inside = append(inside, traced{label: c.label, name: c.name})
		case ok && list.shapes[i].kind == shapeName:
			inside = append(inside, traced{c.label, list.shapes[i].qualifier, list.shapes[i].name})
		case !ok && list.firstStar < len(list.shapes) && !list.shapes[list.firstStar].opaque:
			inside = append(inside, traced{c.label, list.shapes[list.firstStar].qualifier, c.name})
		}
	}
	return inside
}

// relationOf returns which relation of an operand a column belongs to, as far as the text shows.
func (t *tracer) relationOf(o int32, c traced) (int, bool) {
	relations := t.operands[o].relations
	if c.qualifier != "" {
		if aliased := t.aliased(o)[t.fold(c.qualifier)]; len(aliased) == 1 {
			return aliased[0], true
		}
		return 0, false
	}
	if len(relations) == 1 {
		return 0, true
	}
	found := -1
	for i, r := range relations {
		if r.scope == noScope || r.opaque || !t.enter() {
			return 0, false
		}
		if _, ok := t.positionOf(t.labelled(r.scope), c.name); !ok {
			continue
		}
		if found >= 0 {
			return 0, false
		}
		found = i
	}
	return found, found >= 0
}

// groupJoins are the joins of an operand that join groups to its first relation.
type groupJoins struct {
	isGroup    []bool     // by relation; nil where there is none
	keys       map[at]int // the columns in conditions, with the number of the equality that each is a side of
	equalities int
}

// groupJoins returns an operand's joins of groups: a left join to a query that groups its rows, on equal keys, or a cross join
// to an aggregate of all rows.
func (t *tracer) groupJoins(o int32) groupJoins {
	var j groupJoins
	relations := t.operands[o].relations
	for i, r := range relations {
		if i == 0 || r.scope == noScope || r.opaque || r.join != joinLeft && r.join != joinCross {
			continue
		}
		groups, aggregates := t.isAggregated(r.scope)
		isGroup := aggregates && !groups && r.join == joinCross
		if groups { // a cross join has no condition
			if pairs := t.equalities(o, i); len(pairs) > 0 {
				isGroup = true
				j.addKeys(t, pairs)
			}
		}
		if isGroup && j.isGroup == nil {
			j.isGroup = make([]bool, len(relations))
		}
		if isGroup {
			j.isGroup[i] = true
		}
	}
	return j
}

func (j *groupJoins) addKeys(t *tracer, pairs [][2]at) {
	if j.keys == nil {
		j.keys = map[at]int{}
	}
	for _, pair := range pairs {
		for _, side := range pair {
			j.keys[at{side.relation, t.fold(side.name)}] = j.equalities
		}
		j.equalities++
	}
}

// addGroups adds the columns that are keys or aggregates of the groups that an operand joins.
func (t *tracer) addGroups(o int32, j groupJoins, columns iter.Seq[traced], g *Grain) {
	isShown := make([]bool, j.equalities)
	for c := range columns {
		relation, ok := t.relationOf(o, c)
		if !ok {
			continue
		}
		equality, isKey := j.keys[at{relation, t.fold(c.name)}]
		switch {
		case isKey:
			isShown[equality] = true
			g.Keys = append(g.Keys, c.label)
		case j.isGroup[relation]:
			g.Repeated = append(g.Repeated, c.label)
		}
	}
	g.isComplete = g.isComplete && !slices.Contains(isShown, false)
}

// isAggregated reports whether a query groups its rows, or aggregates them, possibly below queries that only select.
func (t *tracer) isAggregated(scope int32) (groups, aggregates bool) {
	for range len(t.scopes) { // a recursive query has no end
		if scope == noScope || !t.enter() {
			break
		}
		o := t.scopes[scope].firstOperand
		operand := &t.operands[o]
		switch {
		case operand.next != noOperand:
			return false, false
		case t.isBracket(o):
			scope = t.child(o)
		case operand.groups || operand.aggregates > 0:
			return operand.groups, operand.aggregates > 0
		case len(operand.relations) != 1 || operand.relations[0].opaque:
			return false, false
		default:
			scope = operand.relations[0].scope
		}
	}
	return false, false
}

// equalities reads the condition of a join up to the first part that is not of the form: pairs of columns that are equal or
// both null, joined by and. One of each pair belongs to the relation.
func (t *tracer) equalities(o int32, relation int) (pairs [][2]at) {
	on := t.operands[o].relations[relation].on
	if on == 0 {
		return nil
	}
	lex := lexer{text: t.text, pos: on, lexicon: t.lex.lexicon}
	c := condition{tracer: t, lex: lex, operand: o}
	c.advance()
	for c.cur.c == '(' {
		c.advance()
	}
	for {
		left, right, ok := c.equality()
		if !ok || left.relation != relation && right.relation != relation {
			return pairs
		}
		pairs = append(pairs, [2]at{left, right})
		for c.cur.c == ')' {
			c.advance()
		}
		if c.cur.kw != kwAnd {
			return pairs
		}
		c.advance()
	}
}

// condition reads the condition of a join.
type condition struct {
	*tracer
	lex     lexer
	cur     lexeme
	operand int32
}

func (c *condition) advance() {
	c.steps++
	for c.lex.pos < len(c.lex.text) {
		if t := c.lex.next(); t.Kind > BlockComment {
			c.cur = c.lex.lexeme(t)
			return
		}
	}
	c.cur = lexeme{Token: Token{Kind: endOfText, Start: len(c.text), End: len(c.text)}}
}

// equality reads equal_null(A, B) or A is not distinct from B.
func (c *condition) equality() (left, right at, ok bool) {
	if c.isWord(c.cur, "equal_null") {
		c.advance()
		return c.sides("(", ",", ")")
	}
	return c.sides("", "is not distinct from", "")
}

// sides reads two columns with the given words around and between them.
func (c *condition) sides(before, between, behind string) (left, right at, ok bool) {
	if !c.skip(before) {
		return left, right, false
	}
	if left, ok = c.column(); !ok || !c.skip(between) {
		return left, right, false
	}
	if right, ok = c.column(); !ok || !c.skip(behind) {
		return left, right, false
	}
	return left, right, true
}

// skip skips the given tokens, which are separated by spaces.
func (c *condition) skip(tokens string) bool {
	for token := range strings.FieldsSeq(tokens) {
		if !c.isWord(c.cur, token) && c.text[c.cur.Start:c.cur.End] != token {
			return false
		}
		c.advance()
	}
	return true
}

// column reads the name of a column.
func (c *condition) column() (at, bool) {
	var column traced
	for {
		if !c.cur.isName() {
			return at{}, false
		}
		column.qualifier, column.name = column.name, c.name(c.cur)
		if c.advance(); c.cur.c != '.' {
			break
		}
		c.advance()
	}
	relation, ok := c.relationOf(c.operand, column)
	return at{relation, column.name}, ok
}
