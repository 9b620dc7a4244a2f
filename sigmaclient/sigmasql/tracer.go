package sigmasql

import (
	"slices"
	"strings"
)

func newTracer(p *parser) *tracer {
	return &tracer{
		parser: p, named: map[columnKey]found{}, lists: make([]*list, len(p.operands)), whole: map[int32]flow{},
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
	lists   []*list                    // by operand
	whole   map[int32]flow             // of all of an operand's columns
	aliases map[int32]map[string][]int // by operand, see aliased
	tokens  []lexeme                   // reused
	steps   int
	depth   int
}

// list is the select list of an operand, taken apart.
type list struct {
	shapes    []shape
	flows     []itemFlow     // of the items, or nil
	labels    map[string]int // the position of each label's first item
	firstStar int            // behind which the positions of columns are unknown; the number of items where there is none
}

type columnKey struct {
	scope int32
	name  string
}

// itemFlow is the flow of an item, once it has been followed. It is empty while that goes on.
type itemFlow struct {
	flow
	isBegun bool
}

// flow is where a column's values come from.
type flow struct {
	constants []Literal
	whole     bool // from nowhere else, but nulls
	marks     marks
	column    sourceColumn
}

// sourceColumn is the column that a flow is nothing but another name for. The zero value is none.
type sourceColumn struct {
	table  int32 // its index in the query's tables, plus 1
	name   string
	isCast bool // to a timestamp of the local zone
	isDate bool // the text shows that the column is a DATE
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
	other.merge(flow{constants: f.constants, whole: true, marks: f.marks, column: other.column})
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
	f.marks |= other.marks & inherited
	if f.column != other.column {
		f.column = sourceColumn{}
	}
}

// messagesOnly leaves out the constants that are no messages.
func (f flow) messagesOnly() flow {
	return flow{marks: f.marks, constants: slices.DeleteFunc(slices.Clone(f.constants), func(c Literal) bool { return !IsFormulaMessage(c.Value) })}
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
	outputs = make([]Output, 0, len(shapes))
	for i, s := range shapes {
		if s.kind == shapeStar {
			complete = false
			continue
		}
		out := Output{Label: s.label}
		if t.matters() {
			of := t.position(0, i, s.label)
			out.Constants, out.IsConstant, out.IsNull = of.constants, of.whole && len(of.constants) > 0, of.whole && len(of.constants) == 0 && of.marks&markPlaceholder == 0
			out.IsUnstable, out.IsLookup = of.marks&markUnstable != 0, of.marks&markLookup != 0
			out.IsLocalCast, out.IsDateCast, out.Column = of.column.isCast, of.column.isDate, of.column.name
			if of.column.table > 0 {
				out.Table = slices.Clone(t.tables.list[of.column.table-1])
			}
		}
		outputs = append(outputs, out)
	}
	return outputs, complete
}

// matters reports whether the text holds anything that is worth following.
func (t *tracer) matters() bool {
	p := t.parser
	return p.hasConstants && (p.mayBeConstant || len(p.messages) > 0) || p.mayBeNull || p.noted.marked&followed != 0
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
	first := t.scopes[scope].firstOperand
	for o := first; o >= 0; o = t.operands[o].next {
		var column flow
		switch {
		case t.isBracket(o):
			column = t.position(t.child(o), i, label)
		case i < t.list(o).firstStar:
			column = t.item(o, i)
		default:
			column = t.inOperandOrAny(o, label)
		}
		if o == first {
			of.column = column.column
		}
		of.merge(column)
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
	labelled := t.labelled(scope)
	if labelled == t.scopes[scope].firstOperand && t.operands[labelled].next == noOperand {
		if i, ok := t.positionOf(labelled, name); ok { // an item, which is followed once
			return t.item(labelled, i), true
		}
	}
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
	if known := t.lists[o]; known != nil {
		return known
	}
	items := t.operands[o].items
	l := &list{shapes: make([]shape, len(items)), firstStar: len(items)}
	for i, item := range items {
		if item.alias > 0 {
			l.shapes[i].label = t.unquote(t.text[item.alias:item.end])
			continue
		}
		l.shapes[i] = t.shapeOf(t.significant(item.span))
		if l.shapes[i].kind == shapeStar {
			l.firstStar = min(l.firstStar, i)
		}
	}
	for _, m := range t.operands[o].marks {
		if int(m.item) < len(l.shapes) {
			l.shapes[m.item].marks |= m.marks
		}
	}
	t.lists[o] = l
	return l
}

// item returns the flow of an item of a select list.
func (t *tracer) item(o int32, i int) flow {
	l := t.list(o)
	if l.flows == nil {
		l.flows = make([]itemFlow, len(l.shapes))
	}
	known := &l.flows[i]
	if known.isBegun {
		return known.flow
	}
	if !t.enter() {
		return flow{}
	}
	t.depth++
	defer func() { t.depth-- }()
	known.isBegun = true
	known.flow = t.flowOf(o, i)
	return known.flow
}

// tableColumn returns the column of a table that a name in an operand is, if no other relation can have it.
func (t *tracer) tableColumn(o int32, qualifier, name string) sourceColumn {
	relations := t.operands[o].relations
	of := -1
	if qualifier != "" {
		if aliased := t.aliased(o)[t.fold(qualifier)]; len(aliased) == 1 {
			of = aliased[0]
		}
	} else if len(relations) == 1 {
		of = 0
	}
	if of < 0 || relations[of].table == 0 || relations[of].opaque {
		return sourceColumn{}
	}
	return sourceColumn{table: relations[of].table, name: name}
}

// castsOfDates is how old texts of Sigma's begin the names of columns that are DATE columns as timestamps.
const castsOfDates = "CAST_DATE_TO_DATETIME"

func (t *tracer) flowOf(o int32, i int) flow {
	item := t.operands[o].items[i]
	s := t.list(o).shapes[i]
	own := s.marks
	var of flow
	switch s.kind {
	case shapeConstant:
		of = flow{constants: []Literal{s.constant}, whole: true}
	case shapeNull:
		of = flow{whole: true}
		if operand := &t.operands[o]; operand.groups || operand.aggregates > 0 {
			of.marks = markPlaceholder
		}
	case shapeName:
		var ok bool
		if of, ok = t.lookup(o, i, s.qualifier, s.name); !ok {
			of.column = t.tableColumn(o, s.qualifier, s.name)
		}
		if own&markLocal != 0 {
			isDate := strings.HasPrefix(strings.ToUpper(s.label), castsOfDates)
			of.column.isCast, of.column.isDate = true, isDate || of.column.isDate
		}
	case shapeExpression:
		if len(t.messages) > 0 || t.noted.marked&inExpressions != 0 {
			of = t.expression(o, i, item.span)
		}
	}
	of.marks |= own
	if of.marks&markOne != 0 && of.marks&markCount != 0 {
		of.marks |= markSeveral
	}
	if of.marks&markStar != 0 && of.marks&markSeveral != 0 {
		of.marks |= markLookup
	}
	of.marks &= inherited
	if covered(t.custom, item.start) { // its constants are the author's
		of.constants, of.whole = nil, false
	}
	return of
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
	of.whole, of.column = false, sourceColumn{}
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
