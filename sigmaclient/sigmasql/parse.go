package sigmasql

import (
	"crypto/sha256"
	"hash"
	"strings"
)

// maxDepth bounds brackets within brackets. Sigma nests by the tens.
const maxDepth = 1000

// parser makes one pass over a text, with one significant token of foresight, and keeps only what Query tells. It
// follows brackets, the clauses of each query and the relations between queries; expressions it only walks through.
type parser struct {
	text   string
	lex    lexer
	cur    lexeme
	nxt    lexeme
	err    *Error
	end    int // of the text that is kept
	semi   bool
	sender sigmaFields // of the comment at the end
	digest digest

	frames []frame
	scopes []scope
	bounds []bound
	ctes   cteSet
	tables tableSet
	frozen []Literal

	operands      []operand
	messages      []Literal // in select lists, in the forms of Sigma's messages
	hasConstants  bool      // a select list holds a string constant outside custom SQL
	gates         []gate    // only names behind the first message
	mayBeConstant bool      // an item may be nothing but a string constant
	mayBeNull     bool      // an item may be nothing but null
	unknownLimit  int       // the byte of a word that refuseLimit refuses, or -1

	constant lexeme // the last string
	calling  call   // the function whose arguments come next
	noted    traits

	custom []span // where the author's custom SQL stands
}

// lexeme is a significant token: neither white space nor comment.
type lexeme struct {
	Token
	kw        keyword
	c         byte // the byte of a Punctuation
	afterLine bool // a line comment stands before it
	after     int  // where the token or comment before it ends
	kept      int  // where the text would end without it and all that follows
}

// endOfText is the kind of the lexeme behind the last one, and of the one before the first in a frame.
const endOfText Kind = 255

// lexeme returns the lexeme of a significant token.
func (l *lexer) lexeme(t Token) lexeme {
	switch t.Kind {
	case Word:
		return lexeme{Token: t, kw: l.lexicon.keyword(l.text[t.Start:t.End])}
	case Punctuation:
		return lexeme{Token: t, c: l.text[t.Start]}
	}
	return lexeme{Token: t}
}

func (l lexeme) isName() bool { return l.Kind == Word || l.Kind == Identifier }

// role is what a bracketed query is to the query around it.
type role uint8

const (
	roleExpression role = iota // part of an expression, or no query at all
	roleRoot                   // the text itself
	roleOperand                // an operand of union, except, intersect, or the body behind a with
	roleRelation               // something to select from
	roleCTE                    // the body of a common table expression
)

// clause is where in a query the pass is.
type clause uint8

const (
	clauseOther clause = iota
	clauseOperand
	clauseWithName // a CTE's name comes next
	clauseWithAs
	clauseWithBody
	clauseWithNext // a comma or the main query comes next
	clauseList
	clauseFrom
	clauseValues
)

// frame is an open bracket, or the text as a whole.
type frame struct {
	start      int  // of the bracket
	closer     byte // what closes it
	role       role
	query      bool // its words are clauses of scopes[scope]
	started    bool
	recursive  bool
	wantsTable bool // a relation comes next
	isCall     bool // the bracket holds the arguments of a table function, or what else is a relation
	inList     bool // an expression within a select list
	inOrder    bool // within an order by, which does not decide about rows
	inGroup    bool // within a group by
	decides    bool // in a part of a query around it that decides about rows, such as a filter
	callsTable bool // the arguments of a table function come next
	// afterRelation is set between a relation and its alias, or what else follows it.
	afterRelation bool
	// itemStart is the byte at which the current item of the select list starts, or -1.
	itemStart  int
	itemIsCall bool // it begins with a function call
	renames    bool // of a with clause: a list of column names stands behind the name
	clause     clause
	scope      int32 // the innermost query that the bracket is in, or is
	relations  int32 // begun in this from clause
	ctes       int   // how many CTE names were in sight when it opened
	name       lexeme
	prev       lexeme
	prev2      lexeme

	inItem   bool // an expression within an item of the select list of its query
	join     joinKind
	call     call // whose arguments the bracket holds
	closed   call // the last one whose arguments ended in the frame
	left     leftSide
	filter   filter
	ordering ordering
}

// scope is a query, with what decides whether a limit could have been pushed through it.
type scope struct {
	parent    int32
	bound     int32 // of its last operand, or -1
	role      role
	first     bool // the first relation of its parent's from clause, or no relation
	reduces   bool // filters, groups, deduplicates or computes over rows
	merges    bool // joins or combines rows other than by left join and union all
	leftJoins bool
	ordered   bool
	sets      bool
	offset    bool // its last operand skips rows
	odd       bool // its last operand is bounded in a way that one number doesn't tell
	dedups    bool // a set operator leaves out equal rows

	firstOperand, lastOperand int32 // in parser.operands
}

func newParser(text string, dialect Dialect, custom []span) *parser {
	p := &parser{
		text:         text,
		lex:          lexer{text: text, lexicon: lexicons[dialect]},
		custom:       custom,
		unknownLimit: -1,
		digest:       digest{hash: sha256.New()},
		frames:       make([]frame, 1, 8),
		scopes:       make([]scope, 1, 8),
	}
	p.frames[0] = frame{role: roleRoot, query: true, itemStart: -1}
	p.frames[0].prev.Kind, p.frames[0].prev2.Kind = endOfText, endOfText
	p.scopes[0] = scope{parent: -1, bound: -1, role: roleRoot, first: true}
	p.operands = append(p.operands, newOperand(0))
	return p
}

// parse runs the pass.
func (p *parser) parse() *Error {
	p.nxt = p.scan()
	for p.advance(); p.err == nil && p.cur.Kind != endOfText; p.advance() {
		p.step()
	}
	if p.err == nil {
		p.finish()
	}
	return p.err
}

func (p *parser) fail(reason Reason, offset int) {
	if p.err == nil {
		p.err = &Error{Reason: reason, Offset: offset}
	}
}

func (p *parser) advance() {
	p.cur = p.nxt
	p.nxt = p.scan()
}

// scan returns the next significant token, and finds the text's end on the way: before a last semicolon and before
// Sigma's comment.
func (p *parser) scan() lexeme {
	after, afterLine, kept := p.lex.pos, false, p.end
	for p.lex.pos < len(p.text) {
		t := p.lex.next()
		if t.Unterminated {
			p.fail(Unterminated, t.Start)
			break
		}
		switch t.Kind {
		case Space:
		case LineComment, BlockComment:
			after, afterLine = t.End, t.Kind == LineComment
			if fields, ok := sigmaComment(p.text[t.Start:t.End]); ok {
				p.sender = fields
			} else if !p.semi {
				p.end, p.sender = t.End, sigmaFields{}
				kept = p.end
			}
		default:
			l := p.lex.lexeme(t)
			l.after, l.afterLine, l.kept = after, afterLine, kept
			switch {
			case p.semi:
				p.fail(MultipleStatements, t.Start)
			case l.c == ';':
				p.semi = true
				continue
			}
			p.end, p.sender = t.End, sigmaFields{}
			p.digest.token(p.text[t.Start:t.End])
			return l
		}
	}
	return lexeme{Token: Token{Kind: endOfText, Start: len(p.text), End: len(p.text)}}
}

// step handles the current token.
func (p *parser) step() {
	f := &p.frames[len(p.frames)-1]
	if !f.started {
		f.started = true
		p.begin(f)
	}
	if f.clause == clauseList && f.itemStart < 0 {
		f.itemStart, f.itemIsCall = p.cur.Start, p.startsCall()
	}
	afterRelation := f.afterRelation
	switch p.cur.Kind {
	case Punctuation:
		if p.punctuation(f) {
			return
		}
	case Word, Identifier:
		p.cast(f)
		p.word(f)
	case String:
		p.literal(f)
		p.constant = p.cur
		f.wantsTable = false
	default:
		p.groupKey(f)
		p.noteNumber(f)
		f.wantsTable = false
	}
	if afterRelation && p.cur.kw != kwAs {
		f.afterRelation = false
	}
	f.prev2, f.prev = f.prev, p.cur
}

// begin decides by a bracket's first token what the bracket holds.
func (p *parser) begin(f *frame) {
	starts := p.cur.kw == kwSelect || p.cur.kw == kwWith || p.cur.kw == kwValues
	switch {
	case f.role == roleExpression:
		if f.closer == ')' && (p.cur.kw == kwSelect || p.cur.kw == kwWith) {
			f.query, f.filter = true, filter{}
			around := p.scopes[f.scope].lastOperand
			f.scope = p.newScope(f.scope, roleExpression, true)
			p.operands[around].queries = append(p.operands[around].queries, subquery{scope: f.scope, span: span{start: f.start}})
		}
	case starts:
	case p.cur.c == '(':
		f.clause = clauseOperand
	case f.role == roleRelation: // a join in brackets, or a table
		f.clause, f.wantsTable, f.relations = clauseFrom, true, 1
	default:
		p.fail(NotAQuery, p.cur.Start)
	}
}

func (p *parser) newScope(parent int32, r role, first bool) int32 {
	operand := int32(len(p.operands))
	outer := int32(noOperand)
	if around := p.scopes[parent].lastOperand; r == roleExpression {
		outer = around
	} else if r == roleOperand {
		outer = p.operands[around].outer
	}
	p.operands = append(p.operands, newOperand(int32(len(p.scopes))))
	p.operands[operand].outer = outer
	p.scopes = append(p.scopes, scope{parent: parent, bound: -1, role: r, first: first, firstOperand: operand, lastOperand: operand})
	return int32(len(p.scopes) - 1)
}

// punctuation reports whether the token changed the frame.
func (p *parser) punctuation(f *frame) bool {
	wantedTable := f.wantsTable
	f.wantsTable = false
	switch p.cur.c {
	case '(':
		p.open(f, ')', wantedTable)
		return true
	case '[':
		p.open(f, ']', false)
		return true
	case '{':
		p.open(f, '}', false)
		return true
	case ')', ']', '}':
		p.close(f)
		return true
	case ',':
		switch {
		case !f.query:
		case f.clause == clauseList:
			p.endItem(f)
		case f.clause == clauseFrom:
			f.wantsTable, f.join = true, joinOther
			f.relations++
			p.scopes[f.scope].merges = true
		case f.clause == clauseWithNext:
			f.clause = clauseWithName
		case f.clause == clauseValues:
			f.wantsTable = p.nxt.isName() // from values (1), (2), T
		}
	case '=', '<', '>':
		p.noteComparison(f)
	case '-':
		if p.lex.lexicon.flowOperator && strings.HasPrefix(p.text[p.cur.Start:], "->>") {
			p.fail(MultipleStatements, p.cur.Start)
		}
	}
	return false
}

// open enters a bracket and tells from what stands before it what it is to the query around it.
func (p *parser) open(f *frame, closer byte, wantedTable bool) {
	if len(p.frames) > maxDepth {
		p.fail(TooDeep, p.cur.Start)
		return
	}
	child := frame{
		start: p.cur.Start, closer: closer, scope: f.scope, itemStart: -1,
		inList: f.inList || f.query && f.clause == clauseList, inOrder: f.inOrder, inItem: f.isInItem(), call: p.calling,
	}
	p.calling = call{}
	p.openWindow(f, &child)
	child.filter.isOpen = closer == ')' && f.filter.isOpen && p.startsCondition(f)
	if f.query && f.clause == clauseWithAs {
		f.renames = true
	}
	if f.afterRelation { // a list of column names, a pivot, or another way to change what the relation has
		p.makeOpaque(f)
		f.afterRelation = false
	}
	child.prev.Kind, child.prev2.Kind = endOfText, endOfText
	if closer == ')' {
		child.role = p.roleOf(f, wantedTable)
	}
	child.decides = f.decides || child.role == roleExpression && !f.showsOnly()
	if f.prev.kw == kwAggregate && closer == ')' {
		p.scopes[f.scope].reduces = true
		p.operands[p.scopes[f.scope].lastOperand].aggregates++
	}
	switch child.role {
	case roleCTE, roleOperand, roleRelation:
		child.query, child.inList, child.inOrder = true, false, false
		child.scope = p.newScope(f.scope, child.role, child.role != roleRelation || f.relations <= 1)
	}
	switch around := &p.operands[p.scopes[f.scope].lastOperand]; child.role {
	case roleCTE:
		if f.recursive {
			p.ctes.add(cte{name: p.fold(p.name(f.name)), scope: child.scope, opaque: f.renames})
		}
	case roleOperand:
		around.child = child.scope
	case roleRelation:
		around.relations = append(around.relations, relation{scope: child.scope, join: f.join})
	default:
		if wantedTable {
			around.relations = append(around.relations, relation{scope: noScope, join: f.join})
		}
		child.isCall = wantedTable || f.callsTable
		f.callsTable = false
	}
	child.ctes = len(p.ctes.list)
	f.prev2, f.prev = f.prev, p.cur
	p.frames = append(p.frames, child)
}

func (p *parser) roleOf(f *frame, wantedTable bool) role {
	switch {
	case !f.query:
		return roleExpression
	case f.clause == clauseWithBody:
		return roleCTE
	case f.clause == clauseWithNext:
		f.clause = clauseOther
		return roleOperand
	case f.clause == clauseOperand:
		f.clause = clauseOther
		if f.role == roleRelation && f.prev.Kind == endOfText {
			f.clause, f.relations = clauseFrom, 1
			return roleRelation
		}
		return roleOperand
	case wantedTable:
		return roleRelation
	}
	return roleExpression
}

// close leaves a bracket.
func (p *parser) close(f *frame) {
	if len(p.frames) == 1 || f.closer != p.cur.c {
		p.fail(Unbalanced, p.cur.Start)
		return
	}
	p.endFrame(f)
	if f.query && f.role == roleExpression {
		p.endSubquery(f)
	}
	p.ctes.truncate(f.ctes)
	p.frames = p.frames[:len(p.frames)-1]
	outer := &p.frames[len(p.frames)-1]
	p.noteClosed(outer, f)
	if f.role == roleCTE {
		outer.clause = clauseWithNext
		p.ctes.add(cte{name: p.fold(p.name(outer.name)), scope: f.scope, opaque: outer.renames})
		outer.renames = false
	}
	outer.afterRelation = f.role == roleRelation || f.isCall
	outer.prev2, outer.prev = outer.prev, p.cur
}

// finish checks that everything that was begun is complete.
func (p *parser) finish() {
	switch f := &p.frames[len(p.frames)-1]; {
	case len(p.frames) > 1:
		p.fail(Unbalanced, f.start)
	case !f.started:
		p.fail(Empty, 0)
	default:
		p.endFrame(f)
	}
	if p.unknownLimit >= 0 {
		p.fail(UnknownLimit, p.unknownLimit)
	}
}

func (p *parser) endFrame(f *frame) {
	switch {
	case !f.query:
	case !f.started && f.role != roleRelation:
		p.fail(NotAQuery, f.start)
	case f.clause >= clauseOperand && f.clause <= clauseWithNext:
		p.fail(NotAQuery, p.cur.Start)
	default:
		p.endItem(f)
		p.endFilter(f)
		p.settle(&p.scopes[f.scope], true)
	}
}

// word handles a word or quoted name.
func (p *parser) word(f *frame) {
	kw := p.meaning(f)
	p.cur.kw = kw
	if kw == kwOver {
		p.scopes[f.scope].reduces = true
		if keywordOf(p.text[f.closed.start:f.closed.end]) == kwAggregate {
			p.operands[p.scopes[f.scope].lastOperand].aggregates--
		}
	}
	p.noteWord(f, kw)
	if kw == kwNone {
		p.gate(f)
	}
	if !f.query {
		if isLimitWord(kw) && !p.isPlainName(f, kw) {
			p.refuseLimit()
		}
		return
	}
	if f.clause >= clauseWithName && f.clause <= clauseWithNext && p.with(f, kw) {
		return
	}
	if f.clause == clauseOperand && !p.startsOperand(f, kw) {
		p.fail(NotAQuery, p.cur.Start)
		return
	}
	if f.afterRelation && kw == kwNone {
		p.aliasRelation(f)
		return
	}
	p.clauseWord(f, kw)
}

// clauseWord handles a word of a query itself, outside of the names of its common table expressions.
func (p *parser) clauseWord(f *frame, kw keyword) {
	s := &p.scopes[f.scope]
	wantedTable := f.wantsTable
	f.wantsTable = false
	switch kw {
	case kwWith:
		if f.prev.Kind == endOfText || f.clause == clauseOperand {
			f.clause = clauseWithName
		}
	case kwSelect:
		f.clause, f.inOrder, f.inGroup, f.itemStart = clauseList, false, false, -1
	case kwValues:
		f.clause = clauseValues
	case kwDistinct:
		if f.prev.kw == kwSelect {
			s.reduces, p.operands[s.lastOperand].dedups = true, true
		}
	case kwFrom:
		if f.prev.kw == kwDistinct { // is distinct from
			return
		}
		p.endItem(f)
		f.clause, f.wantsTable, f.relations, f.inOrder, f.join = clauseFrom, true, 1, false, joinNone
	case kwJoin:
		f.join = p.joinKind(f)
		if f.prev.kw == kwLeft || f.prev.kw == kwOuter && f.prev2.kw == kwLeft {
			s.leftJoins = true
		} else {
			s.merges = true
		}
		f.wantsTable = true
		f.relations++
	case kwOn:
		p.joinCondition(f)
	case kwLateral, kwOnly:
		f.wantsTable = wantedTable
	case kwWhere, kwHaving, kwQualify:
		p.endItem(f)
		p.endFilter(f)
		f.filter.isOpen = true
		f.clause, s.reduces, f.inOrder, f.inGroup = clauseOther, true, false, false
	case kwGroup:
		if p.nxt.kw == kwBy {
			p.endItem(f)
			p.endFilter(f)
			p.operands[s.lastOperand].groups = true
			f.clause, s.reduces, f.inOrder, f.inGroup = clauseOther, true, false, true
		}
	case kwOrder:
		if p.nxt.kw == kwBy {
			p.endItem(f)
			p.endFilter(f)
			f.clause, s.ordered, f.inOrder, f.inGroup = clauseOther, true, true, false
		}
	case kwWindow:
		if f.clause == clauseFrom {
			f.clause = clauseOther
		}
	case kwUnion, kwIntersect, kwExcept:
		p.setOperator(f, s, kw)
	case kwInto:
		p.fail(NotAQuery, p.cur.Start)
	case kwFor:
		if p.nxt.kw == kwLocking {
			p.fail(NotAQuery, p.cur.Start)
		}
	case kwUsing:
		s.odd = s.odd || p.nxt.kw == kwSample
		p.noted.unstableRows = p.noted.unstableRows || p.nxt.kw == kwSample
	case kwLimit, kwFetch, kwTop, kwOffset:
		p.boundKeyword(f, s, kw)
	default:
		if wantedTable {
			p.table(f)
		}
	}
}

// with follows the list of common table expressions. It reports whether the word belonged to it.
func (p *parser) with(f *frame, kw keyword) bool {
	switch f.clause {
	case clauseWithName:
		if kw == kwRecursive {
			f.recursive = true
			return true
		}
		f.name, f.clause = p.cur, clauseWithAs
		return true
	case clauseWithAs:
		if kw == kwAs {
			f.clause = clauseWithBody
			return true
		}
	case clauseWithBody:
		if kw == kwNot || kw == kwMaterialized {
			return true
		}
	case clauseWithNext:
		if kw == kwSelect || kw == kwValues {
			return false
		}
	}
	p.fail(NotAQuery, p.cur.Start)
	return true
}

// setOperator ends an operand.
func (p *parser) setOperator(f *frame, s *scope, kw keyword) {
	if f.prev.c == '*' { // select * except (…)
		return
	}
	p.endItem(f)
	p.endFilter(f)
	p.settle(s, false)
	p.nextOperand(s)
	s.bound, s.odd, s.offset, s.sets = -1, false, false, true
	s.dedups = s.dedups || kw != kwUnion || p.nxt.kw != kwAll
	s.merges = s.merges || s.dedups
	f.clause, f.inOrder = clauseOperand, false
}

// startsOperand reports whether the word may stand between a set operator and its operand's list: all, distinct, by name.
func (p *parser) startsOperand(f *frame, kw keyword) bool {
	switch kw {
	case kwSelect, kwValues, kwWith, kwAll, kwDistinct, kwBy:
		return true
	}
	return f.prev.kw == kwBy
}

// digest hashes tokens one by one, through a buffer since they are short.
type digest struct {
	hash hash.Hash
	buf  [512]byte
	n    int
}

func (d *digest) token(text string) {
	if d.n+len(text)+1 > len(d.buf) {
		d.hash.Write(d.buf[:d.n])
		d.n = 0
		for len(text)+1 > len(d.buf) {
			n := copy(d.buf[:], text)
			d.hash.Write(d.buf[:n])
			text = text[n:]
		}
	}
	d.n += copy(d.buf[d.n:], text)
	d.buf[d.n] = '\n'
	d.n++
}

func (d *digest) sum() [sha256.Size]byte {
	d.hash.Write(d.buf[:d.n])
	d.n = 0
	return [sha256.Size]byte(d.hash.Sum(nil))
}
