package sigmasql

import (
	"cmp"
	"slices"
	"strings"
)

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
	marks     marks // of the item
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
