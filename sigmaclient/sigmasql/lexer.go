package sigmasql

import (
	"iter"
	"strings"
)

// Dialect is the SQL that a connection's warehouse speaks, as far as the cutting of a text into tokens is concerned.
type Dialect uint8

// The dialects. The zero value is Snowflake's.
const (
	Snowflake Dialect = iota
	DuckDB
)

// lexicon is how a dialect differs from the SQL that all of them share.
type lexicon struct {
	slashComments  bool // "//" starts a line comment
	nestedComments bool // "/*" inside a block comment needs a "*/" of its own
	backslash      bool // every '…' string knows backslash escapes, not only E'…'
	dollarTags     bool // $tag$ … $tag$ beside $$ … $$
	foldsUpper     bool // unquoted names are stored in upper case
	flowOperator   bool // ->> chains statements

	topClause   bool // select top 5
	minus       bool // minus is a set operator
	regexpWords bool // regexp and rlike are operators
	onlyTables  bool // from only T
	nullTests   bool // isnull and notnull are operators behind their operand

	weekParameters bool   // session parameters decide on which day a week begins
	localSuffix    string // of the names of types and functions for timestamps in the zone of the session
	localWithZone  bool   // timestamp with time zone is such a type

	defaultSchema string // that DB..TABLE means; empty where the dialect has no such form
}

// Snowflake: docs.snowflake.com/en/sql-reference/data-types-text (constants), /identifiers-syntax, /operators-flow,
// /name-resolution (two dots).
// DuckDB: its scanner is PostgreSQL's (postgresql.org/docs/current/sql-syntax-lexical.html); it keeps a name's case.
var lexicons = [...]lexicon{
	Snowflake: {slashComments: true, backslash: true, foldsUpper: true, flowOperator: true,
		topClause: true, minus: true, regexpWords: true, weekParameters: true, localSuffix: "_ltz", defaultSchema: "PUBLIC"},
	DuckDB: {nestedComments: true, dollarTags: true, onlyTables: true, nullTests: true, localSuffix: "timestamptz", localWithZone: true},
}

// Kind is what a token is.
type Kind uint8

// The kinds of token.
const (
	Space        Kind = iota // a run of white space
	LineComment              // to the end of the line, without the line break
	BlockComment             // with its delimiters
	String                   // '…', E'…' or $$…$$, with its delimiters
	Identifier               // "…", with its quotes
	Number                   // an unsigned number
	Word                     // a keyword or an unquoted name
	Punctuation              // any other single byte
)

// Token is a piece of a text: text[Start:End].
type Token struct {
	Kind       Kind
	Start, End int
	// Unterminated is set on a string, quoted name or block comment that the text's end cuts off.
	Unterminated bool
}

// Tokens cuts a text into tokens. Each begins where the one before it ended, and together they are the text, byte for
// byte, whatever the text holds.
func Tokens(text string, dialect Dialect) iter.Seq[Token] {
	return func(yield func(Token) bool) {
		for lex := (lexer{text: text, lexicon: lexicons[dialect]}); lex.pos < len(text); {
			if !yield(lex.next()) {
				return
			}
		}
	}
}

// lexer yields tokens one at a time and keeps none.
type lexer struct {
	text    string
	pos     int
	lexicon lexicon
}

// Bytes by class. Bytes beyond ASCII belong to words, so that text in any encoding survives.
const (
	spaceByte = 1 << iota
	digitByte
	wordStart
	wordByte
)

var classes = func() (c [256]uint8) {
	for _, b := range " \t\n\r\f\v" {
		c[b] = spaceByte
	}
	for b := range c {
		switch {
		case b >= '0' && b <= '9':
			c[b] = digitByte | wordByte
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b == '_', b >= 0x80:
			c[b] = wordStart | wordByte
		case b == '$':
			c[b] = wordByte
		}
	}
	return c
}()

// next returns the token at the lexer's position, which must be before the text's end.
func (l *lexer) next() Token {
	start := l.pos
	kind, terminated := Punctuation, true
	c := l.text[start]
	switch class := classes[c]; {
	case class&spaceByte != 0:
		kind = Space
		l.run(spaceByte)
	case (c == 'e' || c == 'E') && l.at(1) == '\'' && !l.lexicon.backslash:
		kind = String
		l.pos++
		terminated = l.quoted('\'', true)
	case class&wordStart != 0:
		kind = Word
		l.run(wordByte)
	case class&digitByte != 0:
		kind = Number
		l.number()
	case c == '\'':
		kind = String
		terminated = l.quoted('\'', l.lexicon.backslash)
	case c == '"':
		kind = Identifier
		terminated = l.quoted('"', false)
	case c == '-' && l.at(1) == '-', c == '/' && l.at(1) == '/' && l.lexicon.slashComments:
		kind = LineComment
		l.line()
	case c == '/' && l.at(1) == '*':
		kind = BlockComment
		terminated = l.block()
	case c == '$' && l.tag() > 0:
		kind = String
		terminated = l.dollar(l.tag())
	default:
		l.pos++
	}
	return Token{Kind: kind, Start: start, End: l.pos, Unterminated: !terminated}
}

// at returns the byte n after the position, or 0 beyond the end.
func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.text) {
		return l.text[l.pos+n]
	}
	return 0
}

func (l *lexer) run(class uint8) {
	for l.pos < len(l.text) && classes[l.text[l.pos]]&class != 0 {
		l.pos++
	}
}

// number reads digits, a fraction and an exponent. What follows at once, as in 12months, is a token of its own.
func (l *lexer) number() {
	l.run(digitByte)
	if l.at(0) == '.' && classes[l.at(1)]&digitByte != 0 {
		l.pos++
		l.run(digitByte)
	}
	if l.at(0)|0x20 != 'e' {
		return
	}
	sign := 0
	if l.at(1) == '+' || l.at(1) == '-' {
		sign = 1
	}
	if classes[l.at(1+sign)]&digitByte != 0 {
		l.pos += 1 + sign
		l.run(digitByte)
	}
}

// quoted reads to the closing quote. A doubled quote is part of the content, and so is an escaped one.
func (l *lexer) quoted(quote byte, backslash bool) (terminated bool) {
	for l.pos++; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; {
		case c == quote && l.at(1) == quote, c == '\\' && backslash:
			l.pos++
		case c == quote:
			l.pos++
			return true
		}
	}
	l.pos = len(l.text)
	return false
}

// line reads a line comment. A lone carriage return ends it too: taking more of a text for code than the warehouse does
// is the safe mistake.
func (l *lexer) line() {
	if n := strings.IndexAny(l.text[l.pos:], "\r\n"); n >= 0 {
		l.pos += n
	} else {
		l.pos = len(l.text)
	}
}

func (l *lexer) block() (terminated bool) {
	depth := 1
	for l.pos += 2; l.pos < len(l.text); l.pos++ {
		switch c := l.text[l.pos]; {
		case c == '*' && l.at(1) == '/':
			l.pos++
			if depth--; depth == 0 {
				l.pos++
				return true
			}
		case c == '/' && l.at(1) == '*' && l.lexicon.nestedComments:
			l.pos++
			depth++
		}
	}
	l.pos = len(l.text)
	return false
}

// tag returns the length of the $$ or $tag$ at the position, or 0 where there is none.
func (l *lexer) tag() int {
	if l.at(1) == '$' {
		return 2
	}
	if !l.lexicon.dollarTags || classes[l.at(1)]&wordStart == 0 {
		return 0
	}
	for n := 2; ; n++ {
		switch c := l.at(n); {
		case c == '$':
			return n + 1
		case classes[c]&wordByte == 0:
			return 0
		}
	}
}

func (l *lexer) dollar(tag int) (terminated bool) {
	delimiter := l.text[l.pos : l.pos+tag]
	l.pos += tag
	if n := strings.Index(l.text[l.pos:], delimiter); n >= 0 {
		l.pos += n + tag
		return true
	}
	l.pos = len(l.text)
	return false
}
