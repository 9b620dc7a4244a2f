package sigmasql

// meaning returns the keyword that the current word is in its position, or kwNone where the word is a name. Few words are
// reserved in every dialect, so a table, a column or an alias may spell nearly every keyword: DB.S.OVER OVER limit 1000.
func (p *parser) meaning(f *frame) keyword {
	kw := p.cur.kw
	switch {
	case kw == kwNone, f.prev.c == '.', f.prev.c == ':', p.isQualifier():
		return kwNone
	case f.prev.kw == kwAs && f.clause >= clauseList:
		return kwNone
	case f.wantsTable:
		return p.tableMeaning(kw)
	case f.afterRelation && !followsRelation(kw):
		return kwNone
	}
	isOperand := !endsExpression(f.prev)
	if f.prev.kw == kwNot && endsExpression(f.prev2) { // A not like
		isOperand = false
	}
	switch kw {
	case kwOver:
		isCall := f.prev.c == ')' || p.isWord(f.prev, "nulls") // first_value(A) ignore nulls over (…)
		isWindow := p.nxt.c == '(' || p.nxt.isName() && !followsRelation(p.nxt.kw)
		if !isCall || !isWindow {
			return kwNone
		}
	case kwExcept:
		if isOperand || f.prev.c != '*' && !p.startsSetOperand(f) {
			return kwNone
		}
	case kwJoin:
		if isOperand || f.clause == clauseList || f.clause == clauseOther {
			return kwNone
		}
	case kwLateral:
		if isOperand || f.clause != clauseFrom {
			return kwNone
		}
	case kwUsing:
		if isOperand || p.nxt.c != '(' && p.nxt.kw != kwSample {
			return kwNone
		}
	case kwCase:
		isStart := p.isWord(p.cur, "case") || f.prev.kw == kwCase
		if isOperand != isStart || !isStart && p.endsItem(p.nxt) {
			return kwNone
		}
	case kwSimilar:
		if isOperand || !p.isWord(p.nxt, "to") {
			return kwNone
		}
	case kwEscape:
		if isOperand || p.nxt.Kind != String && p.nxt.c != '?' && p.nxt.c != '$' && p.nxt.c != '(' {
			return kwNone
		}
	case kwOperator:
		if isOperand {
			return kwNone
		}
	case kwBy:
		if !p.precedesBy(f.prev) {
			return kwNone
		}
	case kwAll:
		if f.prev.kw == kwBy { // group by all, order by all
			return kwNone
		}
	case kwValues:
		if p.nxt.c != '(' {
			return kwNone
		}
	case kwWindow:
		if isOperand || !p.nxt.isName() || p.nxt.kw != kwNone {
			return kwNone
		}
	case kwRecursive:
		if p.nxt.kw == kwAs || p.nxt.c == '(' {
			return kwNone
		}
	}
	return kw
}

// isQualifier reports whether a dot that begins no number follows the current word.
func (p *parser) isQualifier() bool {
	if p.nxt.c != '.' {
		return false
	}
	return p.nxt.End >= len(p.text) || classes[p.text[p.nxt.End]]&digitByte == 0
}

// isWord reports whether the token is the given word, in any case. The word is in lower case.
func (p *parser) isWord(l lexeme, word string) bool {
	if l.Kind != Word || l.End-l.Start != len(word) {
		return false
	}
	for i := range len(word) {
		c := p.text[l.Start+i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// tableMeaning is the meaning of a word where a relation is expected.
func (p *parser) tableMeaning(kw keyword) keyword {
	isPrefix := p.nxt.c == '(' || p.nxt.isName() && p.nxt.kw == kwNone
	switch kw {
	case kwSelect, kwWith:
		return kw
	case kwValues:
		if p.nxt.c == '(' {
			return kw
		}
	case kwLateral:
		if isPrefix {
			return kw
		}
	case kwOnly:
		if isPrefix && p.lex.lexicon.onlyTables {
			return kw
		}
	}
	return kwNone
}

// endsItem reports whether the token can stand behind an item of a select list or a clause, and so begins no operand.
func (p *parser) endsItem(l lexeme) bool {
	return l.Kind == endOfText || l.c == ',' || l.c == ')' || followsRelation(l.kw)
}

// followsRelation reports whether the keyword can stand directly behind a relation. Operators cannot, so that a word
// which spells one is the relation's alias there.
func followsRelation(kw keyword) bool {
	switch kw {
	case kwAs, kwOn, kwUsing, kwJoin, kwJoinType, kwLeft, kwWhere, kwGroup, kwHaving, kwQualify, kwOrder, kwWindow, kwUnion, kwIntersect,
		kwExcept, kwLimit, kwFetch, kwOffset, kwFor, kwInto, kwSelect, kwFrom, kwSample, kwWith, kwLateral:
		return true
	}
	return false
}

// startsSetOperand reports whether what follows the current word can follow a set operator.
func (p *parser) startsSetOperand(f *frame) bool {
	switch p.nxt.kw {
	case kwSelect, kwValues, kwWith, kwAll, kwDistinct, kwBy:
		return true
	case kwFrom:
		return f.clause != clauseList // except is a label in "select A except from T"
	}
	if p.nxt.c != '(' {
		return false
	}
	inner := p.peek() // a list of column names stands in the brackets behind an alias
	return !inner.isName() || inner.kw != kwNone
}

// peek returns the significant token behind the next one.
func (p *parser) peek() lexeme {
	lex := p.lex
	for lex.pos < len(lex.text) {
		if t := lex.next(); t.Kind > BlockComment {
			return lex.lexeme(t)
		}
	}
	return lexeme{Token: Token{Kind: endOfText}}
}

// precedesBy reports whether the word "by" is a keyword behind the token.
func (p *parser) precedesBy(l lexeme) bool {
	switch l.kw {
	case kwGroup, kwOrder, kwUnion, kwIntersect, kwExcept, kwAll, kwDistinct:
		return true
	}
	for _, word := range [...]string{"partition", "cluster", "distribute", "sort", "connect"} {
		if p.isWord(l, word) {
			return true
		}
	}
	return false
}

// isLimitWord reports whether the keyword bounds rows where it is a clause.
func isLimitWord(kw keyword) bool { return kw == kwLimit || kw == kwFetch || kw == kwTop }

// isPlainName reports whether a word that spells limit, fetch or top, and is no clause where it stands, is a name for
// certain: an operand, or an alias that a separator or a keyword follows.
func (p *parser) isPlainName(f *frame, kw keyword) bool {
	if f.wantsTable {
		return true
	}
	if !endsExpression(f.prev) {
		if kw == kwTop && (f.prev.kw == kwSelect || f.prev.kw == kwDistinct || f.prev.kw == kwAll) {
			return p.nxt.c != '(' && p.nxt.c != '?' && p.nxt.c != '$' && p.nxt.c != '@'
		}
		return true
	}
	switch next := p.nxt; next.Kind {
	case endOfText:
		return true
	case Word:
		return next.kw != kwNone && next.kw != kwNull && next.kw != kwRows
	default:
		return next.c == ',' || next.c == ')' || next.c == ']' || next.c == '}'
	}
}
