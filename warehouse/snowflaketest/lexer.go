package snowflaketest

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	word   tokenKind = iota // unquoted identifier or keyword, as written
	quoted                  // "identifier", without its quotes
	text                    // 'string' or $$string$$, without its quotes and escapes
	number
	symbol // operator or punctuation
	group  // (…) with its nodes; made by nest
	raw    // finished DuckDB text of one operand; made by the translator
)

// token is a token or, once nested, a node: comments and space are gone.
type token struct {
	kind  tokenKind
	text  string
	inner []token // of a group
}

func (t token) is(keyword string) bool {
	return t.kind == word && strings.EqualFold(t.text, keyword)
}

func (t token) isSymbol(s string) bool { return t.kind == symbol && t.text == s }

// symbols of more than one character, longest first.
var symbols = []string{"::", "||", "=>", "->", "<>", "!=", "<=", ">="}

// lex splits Snowflake's SQL into tokens.
// https://docs.snowflake.com/en/sql-reference/identifiers-syntax and
// https://docs.snowflake.com/en/sql-reference/data-types-text#string-constants
func lex(sql string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(sql); {
		rest := sql[i:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r):
			i += size
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "//"):
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return nil, syntaxError("unterminated comment")
			}
			i += 2 + n + 2
		case r == '\'':
			s, n, err := lexString(rest)
			if err != nil {
				return nil, err
			}
			tokens, i = append(tokens, token{kind: text, text: s}), i+n
		case strings.HasPrefix(rest, "$$"):
			n := strings.Index(rest[2:], "$$")
			if n < 0 {
				return nil, syntaxError("unterminated string literal")
			}
			tokens, i = append(tokens, token{kind: text, text: rest[2 : 2+n]}), i+2+n+2
		case r == '"':
			s, n, err := lexQuoted(rest)
			if err != nil {
				return nil, err
			}
			tokens, i = append(tokens, token{kind: quoted, text: s}), i+n
		case r >= '0' && r <= '9', r == '.' && len(rest) > 1 && isDigit(rest[1]) && !endsOperand(tokens):
			n := numberLength(rest)
			tokens, i = append(tokens, token{kind: number, text: rest[:n]}), i+n
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
			})
			if n < 0 {
				n = len(rest)
			}
			tokens, i = append(tokens, token{kind: word, text: rest[:n]}), i+n
		default:
			n := size
			for _, s := range symbols {
				if strings.HasPrefix(rest, s) {
					n = len(s)
					break
				}
			}
			tokens, i = append(tokens, token{kind: symbol, text: rest[:n]}), i+n
		}
	}
	return tokens, nil
}

// lexString reads '…' with doubled quotes and backslash escapes.
func lexString(s string) (value string, length int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' && i+1 < len(s) && s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case c == '\'':
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteString(unescape(s[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, syntaxError("unterminated string literal")
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'b':
		return "\b"
	case 'f':
		return "\f"
	}
	return string(rune(c))
}

func lexQuoted(s string) (name string, length int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '"':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '"':
			b.WriteByte('"')
			i++
		default:
			return b.String(), i + 1, nil
		}
	}
	return "", 0, syntaxError("unterminated identifier")
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func numberLength(s string) int {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		i++
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for i = j; i < len(s) && isDigit(s[i]); i++ {
			}
		}
	}
	return i
}

// endsOperand reports whether a dot after the tokens is a path's dot.
func endsOperand(tokens []token) bool {
	if len(tokens) == 0 {
		return false
	}
	last := tokens[len(tokens)-1]
	return last.kind == word || last.kind == quoted || last.isSymbol(")") || last.isSymbol("]")
}

// maxNesting bounds the recursion over parentheses and over CASE.
const maxNesting = 500

// nest turns parentheses into groups.
func nest(tokens []token) ([]token, error) {
	stack := [][]token{nil}
	cases := 0
	for _, t := range tokens {
		top := len(stack) - 1
		if t.is("CASE") {
			cases++
		} else if t.is("END") {
			cases--
		}
		if cases > maxNesting {
			return nil, syntaxError("statement is nested too deeply")
		}
		switch {
		case t.isSymbol("("):
			if len(stack) > maxNesting {
				return nil, syntaxError("statement is nested too deeply")
			}
			stack = append(stack, nil)
		case t.isSymbol(")"):
			if top == 0 {
				return nil, syntaxError("syntax error unexpected ')'.")
			}
			inner := stack[top]
			stack = stack[:top]
			stack[top-1] = append(stack[top-1], token{kind: group, inner: inner})
		default:
			stack[top] = append(stack[top], t)
		}
	}
	if len(stack) != 1 {
		return nil, syntaxError("syntax error unexpected end of statement.")
	}
	return stack[0], nil
}

// splitTokens splits at a separator outside parentheses and leaves out what is
// empty.
func splitTokens(tokens []token, separator string) [][]token {
	var parts [][]token
	start := 0
	for i, t := range tokens {
		if t.isSymbol(separator) {
			if i > start {
				parts = append(parts, tokens[start:i])
			}
			start = i + 1
		}
	}
	if start < len(tokens) {
		parts = append(parts, tokens[start:])
	}
	return parts
}

// parseStatements returns the statements of a text as nodes.
func parseStatements(sql string) ([][]token, error) {
	tokens, err := lex(sql)
	if err != nil {
		return nil, err
	}
	nodes, err := nest(tokens)
	if err != nil {
		return nil, err
	}
	return splitTokens(nodes, ";"), nil
}

// parseStatement returns the one statement of a text as nodes.
func parseStatement(sql string) ([]token, error) {
	statements, err := parseStatements(sql)
	if err != nil {
		return nil, err
	}
	switch len(statements) {
	case 0:
		return nil, &Error{Code: "000900", State: "42601", Message: "SQL compilation error:\nEmpty SQL Statement."}
	case 1:
		return statements[0], nil
	}
	return nil, &Error{Code: "000008", State: "0A000", Message: fmt.Sprintf(
		"Actual statement count %d did not match the desired statement count 1.", len(statements))}
}

func quoteIdentifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteText(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
