package sigmasql

import (
	"cmp"
	"slices"
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
}

// maxConstants bounds the constants that are followed for one column.
const maxConstants = 16

// operand is one select of a query: all of it, or a part between set operators.
type operand struct {
	items     []span
	relations []relation
	child     int32 // the query in brackets that the operand is, or noScope
	next      int32 // the operand behind the next set operator, or -1
	scope     int32 // that it is part of
	outer     int32 // the operand in whose expression it stands, and whose columns it can name, or noOperand
	queries   []subquery
	dedups    bool // leaves out equal rows, or groups by items that it does not name
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
	alias  string
	opaque bool // the columns have other names or values than the query's
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
	o.items = append(o.items, span{f.itemStart, f.prev.End})
	p.mayBeConstant = p.mayBeConstant || startsConstant(p.text[f.itemStart:])
	f.itemStart = -1
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

func newTracer(p *parser) *tracer {
	return &tracer{
		parser: p, named: map[columnKey]found{}, items: map[itemKey]*flow{}, lists: map[int32]*list{}, whole: map[int32]flow{},
		aliases: map[int32]map[string][]int{},
	}
}

// trace follows the outermost columns to constants.
func (t *tracer) trace() (outputs []Output, complete bool, broken []BrokenLiteral) {
	outputs, complete = t.outputs(0)
	if len(t.messages) == 0 {
		return outputs, complete, nil
	}
	gating := t.gating()
	labels := map[int][]string{} // of the outputs that a constant reaches, by its offset
	for _, o := range outputs {
		for _, c := range o.Constants {
			if o.Label != "" {
				labels[c.Offset] = append(labels[c.Offset], o.Label)
			}
		}
	}
	for _, message := range t.messages {
		for _, label := range labels[message.Offset] {
			broken = append(broken, BrokenLiteral{Literal: message, Column: label})
		}
		if len(labels[message.Offset]) == 0 || gating[message.Offset] {
			broken = append(broken, BrokenLiteral{Literal: message})
		}
	}
	return outputs, complete, broken
}

// gating returns the offsets of the constants that decide about rows.
func (t *tracer) gating() map[int]bool {
	gating := map[int]bool{}
	add := func(of flow) {
		for _, c := range of.constants {
			gating[c.Offset] = true
		}
	}
	for _, g := range t.gates {
		of, _ := t.lookup(g.operand, len(t.operands[g.operand].items), "", g.name)
		add(of)
	}
	for o, operand := range t.operands {
		if operand.dedups || t.scopes[operand.scope].dedups {
			add(t.operandFlow(int32(o)))
		}
	}
	return gating
}

// scopeFlow returns the flow of all columns of a query.
func (t *tracer) scopeFlow(scope int32) flow {
	var of flow
	for o := t.scopes[scope].firstOperand; o != noOperand; o = t.operands[o].next {
		of.merge(t.operandFlow(o))
	}
	return of
}

// operandFlow returns the flow of all columns of an operand.
func (t *tracer) operandFlow(o int32) flow {
	if known, ok := t.whole[o]; ok {
		return known
	}
	if !t.enter() {
		return flow{}
	}
	t.depth++
	defer func() { t.depth-- }()
	t.whole[o] = flow{}
	var of flow
	operand := &t.operands[o]
	if t.isBracket(o) {
		of = t.scopeFlow(t.child(o))
	}
	shapes := t.list(o).shapes
	for i, s := range shapes {
		if s.kind != shapeStar {
			of.merge(t.item(o, i))
		}
	}
	for _, r := range operand.relations {
		isShown := len(shapes) == 0 || slices.ContainsFunc(shapes, func(s shape) bool {
			return s.kind == shapeStar && (s.qualifier == "" || t.sameName(s.qualifier, r.alias))
		})
		if isShown && r.scope != noScope {
			of.merge(t.scopeFlow(r.scope))
		}
	}
	t.whole[o] = of
	return of
}

// Bounds of the tracing of one text. A column that is not followed to its end has no constants, so that a message which
// may be in it counts as one that reaches no column.
const (
	maxTraceSteps = 1 << 20
	maxTraceDepth = 10_000
)

// tracer follows columns. Each item is read once.
type tracer struct {
	*parser
	named   map[columnKey]found
	items   map[itemKey]*flow
	lists   map[int32]*list            // by operand
	whole   map[int32]flow             // of all of an operand's columns
	aliases map[int32]map[string][]int // by operand, see aliased
	tokens  []lexeme                   // reused
	steps   int
	depth   int
}

// list is the select list of an operand, taken apart.
type list struct {
	shapes    []shape
	labels    map[string]int // the position of each label's first item
	firstStar int            // behind which the positions of columns are unknown; the number of items where there is none
}

type columnKey struct {
	scope int32
	name  string
}

type itemKey struct {
	operand int32
	item    int
}

// flow is where a column's values come from.
type flow struct {
	constants []Literal
	whole     bool // from nowhere else, but nulls
}

// found is a flow, and whether the text shows that it is the one of the name that was looked for.
type found struct {
	flow
	ok bool
}

// or returns the flow of the name if f is not: what f may have counts too.
func (f found) or(other flow, ok bool) found {
	if len(f.constants) > 0 {
		other.whole = false
	}
	other.constants = slices.Clip(other.constants)
	other.merge(flow{constants: f.constants, whole: true})
	return found{other, ok}
}

// merge adds what another operand, or another name in an expression, has.
func (f *flow) merge(other flow) {
	for _, c := range other.constants {
		if len(f.constants) < maxConstants && !slices.Contains(f.constants, c) {
			f.constants = append(f.constants, c)
		}
	}
	f.whole = f.whole && other.whole
}

// messagesOnly leaves out the constants that are no messages.
func (f flow) messagesOnly() flow {
	return flow{constants: slices.DeleteFunc(slices.Clone(f.constants), func(c Literal) bool { return !IsFormulaMessage(c.Value) })}
}

// enter counts a step, and reports whether the tracing may go on.
func (t *tracer) enter() bool {
	t.steps++
	return t.steps <= maxTraceSteps && t.depth < maxTraceDepth
}

// outputs returns the columns of a query.
func (t *tracer) outputs(scope int32) (outputs []Output, complete bool) {
	o := t.labelled(scope)
	shapes := t.list(o).shapes
	complete = len(shapes) > 0
	for i, s := range shapes {
		if s.kind == shapeStar {
			complete = false
			continue
		}
		out := Output{Label: s.label}
		if p := t.parser; p.hasConstants && (p.mayBeConstant || len(p.messages) > 0) {
			of := t.position(0, i, s.label)
			out.Constants, out.IsConstant = of.constants, of.whole && len(of.constants) > 0
		}
		outputs = append(outputs, out)
	}
	return outputs, complete
}

// position returns the flow of a query's column at a position, in all operands. The label serves where a star makes the
// position uncertain.
func (t *tracer) position(scope int32, i int, label string) flow {
	if !t.enter() {
		return flow{}
	}
	t.depth++
	defer func() { t.depth-- }()
	of := flow{whole: true}
	for o := t.scopes[scope].firstOperand; o >= 0; o = t.operands[o].next {
		switch {
		case t.isBracket(o):
			of.merge(t.position(t.child(o), i, label))
		case i < t.list(o).firstStar:
			of.merge(t.item(o, i))
		default:
			of.merge(t.inOperandOrAny(o, label))
		}
	}
	return of
}

// inOperandOrAny returns the flow of an operand's column by its name. Of an operand without such a name it may be any
// column, where a star hides the positions.
func (t *tracer) inOperandOrAny(o int32, name string) flow {
	if of, ok := t.inOperand(o, name); ok {
		return of
	}
	of := t.operandFlow(o)
	of.whole = false
	return of
}

// column returns the flow of a query's column by its name. It is false where the query has no such column, as far as the
// text shows; the flow is then what the column has if a star hides it.
func (t *tracer) column(scope int32, name string) (flow, bool) {
	key := columnKey{scope, t.fold(name)}
	if known, ok := t.named[key]; ok {
		return known.flow, known.ok
	}
	if !t.enter() {
		return flow{}, false
	}
	t.depth++
	defer func() { t.depth-- }()
	t.named[key] = found{} // while it is followed: a recursive query, or one without such a column
	var of found
	labelled := t.labelled(scope)
	if i, ok := t.positionOf(labelled, name); ok && i < t.list(labelled).firstStar {
		of = found{t.position(scope, i, name), true}
	} else {
		first := t.scopes[scope].firstOperand
		of.flow, of.ok = t.inOperand(first, name)
		isHidden := t.list(labelled).firstStar < len(t.list(labelled).shapes)
		for o := t.operands[first].next; (of.ok || isHidden) && o >= 0; o = t.operands[o].next {
			of.merge(t.inOperandOrAny(o, name))
		}
	}
	t.named[key] = of
	return of.flow, of.ok
}

// labelled returns the operand that names a query's columns: the first one, within its brackets.
func (t *tracer) labelled(scope int32) int32 {
	o := t.scopes[scope].firstOperand
	for t.isBracket(o) {
		o = t.scopes[t.child(o)].firstOperand
	}
	return o
}

// isBracket reports whether an operand is a query in brackets.
func (t *tracer) isBracket(o int32) bool { return t.child(o) != noScope }

// child returns the query in brackets that an operand is, or noScope. Before its set operator the first operand within
// brackets looks like a relation of a join in brackets.
func (t *tracer) child(o int32) int32 {
	operand := &t.operands[o]
	switch {
	case len(operand.items) > 0:
		return noScope
	case operand.child == noScope && len(operand.relations) == 1 && !operand.relations[0].opaque:
		return operand.relations[0].scope
	}
	return operand.child
}

// inOperand returns the flow of an operand's column by its name.
func (t *tracer) inOperand(o int32, name string) (flow, bool) {
	operand := &t.operands[o]
	if t.isBracket(o) {
		return t.column(t.child(o), name)
	}
	if i, ok := t.positionOf(o, name); ok {
		return t.item(o, i), true
	}
	if len(operand.items) == 0 { // relations in brackets
		return t.inRelations(o, "", name)
	}
	var of found
	for _, s := range t.list(o).shapes {
		if s.kind == shapeStar && !s.opaque && !of.ok {
			of = of.or(t.inRelations(o, s.qualifier, name))
		}
	}
	return of.flow, of.ok
}

// inRelations looks a column up in the relations that an operand selects from.
func (t *tracer) inRelations(o int32, qualifier, name string) (flow, bool) {
	var of found
	relations := t.operands[o].relations
	if qualifier == "" {
		for i := 0; i < len(relations) && !of.ok && t.enter(); i++ {
			of = of.or(t.inRelation(relations[i], name))
		}
		return of.flow, of.ok
	}
	for _, i := range t.aliased(o)[t.fold(qualifier)] {
		if !of.ok && t.enter() {
			of = of.or(t.inRelation(relations[i], name))
		}
	}
	return of.flow, of.ok
}

func (t *tracer) inRelation(r relation, name string) (flow, bool) {
	if r.scope == noScope || r.opaque {
		return flow{}, false
	}
	return t.column(r.scope, name)
}

// aliased returns the indexes of an operand's relations by their aliases.
func (t *tracer) aliased(o int32) map[string][]int {
	if known, ok := t.aliases[o]; ok {
		return known
	}
	aliased := make(map[string][]int, len(t.operands[o].relations))
	for i, r := range t.operands[o].relations {
		alias := t.fold(r.alias)
		aliased[alias] = append(aliased[alias], i)
	}
	t.aliases[o] = aliased
	return aliased
}

// lookup returns the flow of a name in an operand's expression: a column of its relations, or else an item of its own list
// before the given one.
func (t *tracer) lookup(o int32, before int, qualifier, name string) (flow, bool) {
	var of found
	of.flow, of.ok = t.inRelations(o, qualifier, name)
	if of.ok {
		return of.flow, true
	}
	if i, ok := t.positionOf(o, name); ok && qualifier == "" && i < before {
		of = of.or(t.item(o, i), true)
		of.whole = of.whole && !t.hasTable(o) // a table's own column comes before an item of the same name
		return of.flow, true
	}
	if outer := t.operands[o].outer; outer != noOperand && t.enter() {
		t.depth++
		of = of.or(t.lookup(outer, 0, qualifier, name))
		t.depth--
		of.whole = of.whole && !t.hasTable(o)
	}
	return of.flow, of.ok
}

func (t *tracer) hasTable(o int32) bool {
	return slices.ContainsFunc(t.operands[o].relations, func(r relation) bool { return r.scope == noScope || r.opaque })
}

// positionOf returns the first item of an operand that has the label.
func (t *tracer) positionOf(o int32, label string) (int, bool) {
	l := t.list(o)
	if l.labels == nil {
		l.labels = make(map[string]int, len(l.shapes))
		for i, s := range slices.Backward(l.shapes) {
			if s.kind != shapeStar && s.label != "" {
				l.labels[t.fold(s.label)] = i
			}
		}
	}
	i, ok := l.labels[t.fold(label)]
	return i, ok
}

// list returns the select list of an operand.
func (t *tracer) list(o int32) *list {
	if known, ok := t.lists[o]; ok {
		return known
	}
	items := t.operands[o].items
	l := &list{shapes: make([]shape, len(items)), firstStar: len(items)}
	for i, item := range items {
		l.shapes[i] = t.shapeOf(t.significant(item))
		if l.shapes[i].kind == shapeStar {
			l.firstStar = min(l.firstStar, i)
		}
	}
	t.lists[o] = l
	return l
}

// item returns the flow of an item of a select list.
func (t *tracer) item(o int32, i int) flow {
	key := itemKey{o, i}
	if known, ok := t.items[key]; ok {
		if known == nil {
			return flow{}
		}
		return *known
	}
	if !t.enter() {
		return flow{}
	}
	t.depth++
	defer func() { t.depth-- }()
	t.items[key] = nil
	of := t.flowOf(o, i)
	t.items[key] = &of
	return of
}

func (t *tracer) flowOf(o int32, i int) flow {
	item := t.operands[o].items[i]
	s := t.list(o).shapes[i]
	if covered(t.custom, item.start) {
		return flow{}
	}
	switch s.kind {
	case shapeConstant:
		return flow{constants: []Literal{s.constant}, whole: true}
	case shapeNull:
		return flow{whole: true}
	case shapeName:
		of, _ := t.lookup(o, i, s.qualifier, s.name)
		return of
	case shapeExpression:
		if len(t.messages) > 0 {
			return t.expression(o, i, item)
		}
	}
	return flow{}
}

// expression returns the messages that stand in an expression, or come with one of its names.
func (t *tracer) expression(o int32, i int, item span) flow {
	var of flow
	tokens := slices.Clone(t.significant(item))
	queries := t.operands[o].queries
	for n, token := range tokens {
		for len(queries) > 0 && queries[0].end <= token.Start {
			queries = queries[1:]
		}
		switch {
		case len(queries) > 0 && token.Start == queries[0].start:
			of.merge(t.scopeFlow(queries[0].scope).messagesOnly())
		case len(queries) > 0 && token.Start > queries[0].start:
		case token.Kind == String && t.text[token.Start] == '\'' && !covered(t.custom, token.Start):
			value := t.unescape(t.text[token.Start+1 : token.End-1])
			of.merge(flow{constants: []Literal{{Offset: token.Start, Value: value}}}.messagesOnly())
		case token.isName():
			if n+1 < len(tokens) && (tokens[n+1].c == '(' || tokens[n+1].c == '.') {
				continue
			}
			qualifier := ""
			if n > 1 && tokens[n-1].c == '.' && tokens[n-2].isName() {
				qualifier = t.name(tokens[n-2])
			}
			found, _ := t.lookup(o, i, qualifier, t.name(token))
			of.merge(found.messagesOnly())
		}
	}
	of.whole = false
	return of
}

// significant returns the significant tokens of a span. The slice is valid until the next call.
func (t *tracer) significant(item span) []lexeme {
	t.tokens = t.tokens[:0]
	lex := lexer{text: t.text[:item.end], pos: item.start, lexicon: t.lex.lexicon}
	for lex.pos < item.end {
		token := lex.next()
		if token.Kind > BlockComment {
			t.tokens = append(t.tokens, lex.lexeme(token))
		}
	}
	t.steps += len(t.tokens) / 8
	return t.tokens
}

// shapeKind is what an item of a select list is.
type shapeKind uint8

const (
	shapeExpression shapeKind = iota
	shapeStar
	shapeConstant // a string constant, also under a cast or in brackets
	shapeNull
	shapeName // a column, also under a cast or in brackets
)

// shape is an item taken apart.
type shape struct {
	kind      shapeKind
	label     string
	opaque    bool   // of a star: some columns have other values
	qualifier string // of a name or a star
	name      string
	constant  Literal
}

func (t *tracer) shapeOf(tokens []lexeme) shape {
	for len(tokens) > 1 && (tokens[0].kw == kwDistinct || tokens[0].kw == kwAll) {
		tokens = tokens[1:]
	}
	if len(tokens) > 2 && tokens[0].kw == kwTop && tokens[1].Kind == Number {
		tokens = tokens[2:]
	}
	if star, ok := t.starOf(tokens); ok {
		return star
	}
	body, label := t.splitAlias(tokens)
	s := t.bodyOf(body)
	s.label = cmp.Or(label, s.name)
	return s
}

// starOf reads "*" and "Q1.*", with what excludes or replaces columns.
func (t *tracer) starOf(tokens []lexeme) (shape, bool) {
	for n, token := range tokens {
		switch {
		case token.c == '*' && (n == 0 || tokens[n-1].c == '.'):
			s := shape{kind: shapeStar}
			if n > 1 {
				s.qualifier = t.name(tokens[n-2])
			}
			for _, rest := range tokens[n+1:] {
				s.opaque = s.opaque || t.isWord(rest, "replace") || t.isWord(rest, "rename")
			}
			return s, true
		case token.isName(), token.c == '.':
		default:
			return shape{}, false
		}
	}
	return shape{}, false
}

// splitAlias separates an item's alias from what it names. The label is empty where there is no alias.
func (t *tracer) splitAlias(tokens []lexeme) (body []lexeme, label string) {
	n := len(tokens)
	if n < 2 || !tokens[n-1].isName() {
		return tokens, ""
	}
	before := tokens[n-2]
	switch {
	case before.kw == kwAs:
		return tokens[:n-2], t.name(tokens[n-1])
	case before.c == '.', before.c == ':', !endsExpression(before):
		return tokens, ""
	case t.isWord(tokens[n-1], "end") && t.isOpenCase(tokens[:n-1]):
		return tokens, ""
	case t.lex.lexicon.nullTests && (t.isWord(tokens[n-1], "isnull") || t.isWord(tokens[n-1], "notnull")):
		return tokens, ""
	}
	return tokens[:n-1], t.name(tokens[n-1])
}

// isOpenCase reports whether a case among the tokens has no end.
func (t *tracer) isOpenCase(tokens []lexeme) bool {
	open := 0
	for _, token := range tokens {
		switch {
		case t.isWord(token, "case"):
			open++
		case t.isWord(token, "end"):
			open--
		}
	}
	return open > 0
}

// bodyOf reads an item without its alias.
func (t *tracer) bodyOf(tokens []lexeme) shape {
	tokens = t.withoutCasts(tokens)
	switch {
	case len(tokens) == 0:
		return shape{}
	case len(tokens) == 1 && tokens[0].Kind == String && t.text[tokens[0].Start] == '\'':
		l := tokens[0]
		return shape{kind: shapeConstant, constant: Literal{Offset: l.Start, Value: t.unescape(t.text[l.Start+1 : l.End-1])}}
	case len(tokens) == 1 && tokens[0].kw == kwNull:
		return shape{kind: shapeNull}
	case len(tokens) == 1 && (t.isWord(tokens[0], "true") || t.isWord(tokens[0], "false")): // no names in any dialect
		return shape{}
	}
	for n, token := range tokens {
		if n%2 == 0 && !token.isName() || n%2 == 1 && token.c != '.' {
			return shape{}
		}
	}
	if len(tokens)%2 == 0 {
		return shape{}
	}
	s := shape{kind: shapeName, name: t.name(tokens[len(tokens)-1])}
	if len(tokens) > 2 {
		s.qualifier = t.name(tokens[len(tokens)-3])
	}
	return s
}

// withoutCasts takes away brackets around the whole, casts behind it, and cast(… as …).
func (t *tracer) withoutCasts(tokens []lexeme) []lexeme {
	for range maxDepth {
		n := len(tokens)
		switch {
		case n > 2 && tokens[0].c == '(' && closes(tokens) == n-1 && tokens[1].kw != kwSelect && tokens[1].kw != kwWith:
			tokens = tokens[1 : n-1]
		case n > 4 && (t.isWord(tokens[0], "cast") || t.isWord(tokens[0], "try_cast")) && tokens[1].c == '(' && closes(tokens[1:]) == n-2:
			as := slices.IndexFunc(tokens, func(l lexeme) bool { return l.kw == kwAs })
			if as < 0 || !isType(tokens[as+1:n-1]) {
				return tokens
			}
			tokens = tokens[2:as]
		default:
			colon := castAt(tokens)
			if colon <= 0 || !isType(tokens[colon+2:]) {
				return tokens
			}
			tokens = tokens[:colon]
		}
	}
	return tokens
}

// closes returns the index of the bracket that closes the first one, or -1.
func closes(tokens []lexeme) int {
	depth := 0
	for n, token := range tokens {
		switch token.c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth == 0 {
				return n
			}
		}
	}
	return -1
}

// castAt returns the index of the first "::" outside brackets, or -1.
func castAt(tokens []lexeme) int {
	depth := 0
	for n, token := range tokens {
		switch token.c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ':':
			if depth == 0 && n+1 < len(tokens) && tokens[n+1].c == ':' {
				return n
			}
		}
	}
	return -1
}

// isType reports whether the tokens can be the name of a type, or of several casts in a row.
func isType(tokens []lexeme) bool {
	for _, token := range tokens {
		switch token.Kind {
		case Word, Identifier:
			if token.kw.expectsOperand() {
				return false
			}
		case Number:
		case Punctuation:
			if !strings.ContainsRune("(),:[].", rune(token.c)) {
				return false
			}
		default:
			return false
		}
	}
	return len(tokens) > 0
}
