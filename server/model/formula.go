package model

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// formula is what a formula of Sigma's is made of, as far as it decides whether a constant is the author's. The zero value
// is a formula of which nothing is known.
type formula struct {
	isKnown    bool
	texts      []string // text literals
	references []string // names in brackets
	functions  []string // in lower case
	others     int      // numbers, words and operators; brackets do not count
}

// parseFormula cuts a formula into tokens. An unknown form leaves it unknown.
func parseFormula(text string) formula {
	var f formula
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case unicode.IsSpace(r) || r == '(' || r == ')':
			text = text[size:]
		case r == '"':
			value, rest, ok := quotedText(text)
			if !ok {
				return formula{}
			}
			f.texts = append(f.texts, value)
			text = rest
		case r == '[':
			name, rest, ok := reference(text)
			if !ok {
				return formula{}
			}
			f.references = append(f.references, name)
			text = rest
		case unicode.IsLetter(r) || r == '_':
			end := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '.' })
			if end < 0 {
				end = len(text)
			}
			if strings.HasPrefix(strings.TrimLeftFunc(text[end:], unicode.IsSpace), "(") {
				f.functions = append(f.functions, strings.ToLower(text[:end]))
			} else {
				f.others++
			}
			text = text[end:]
		default:
			f.others++
			text = text[size:]
		}
		f.isKnown = true
	}
	return f
}

// quotedText reads a text literal. A quote in it is doubled, or has a backslash before it.
func quotedText(text string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		case c == '"' && i+1 < len(text) && text[i+1] == '"':
			i++
			b.WriteByte(c)
		case c == '"':
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// reference reads a name in brackets. A bracket in it has a backslash before it.
func reference(text string) (name, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == ']':
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// isLiteral reports whether the formula is made of literals only, so that a constant in its place is the author's.
func (f formula) isLiteral() bool {
	return f.isKnown && len(f.references) == 0 && len(f.functions) == 0
}

// isContext reports whether the formula depends on the user or the moment, so that Sigma writes its value as a constant.
func (f formula) isContext() bool {
	for _, name := range f.functions {
		if strings.HasPrefix(name, "current") || name == "today" || name == "now" {
			return true
		}
	}
	return false
}

// isReference reports whether the formula is nothing but the name of a column, a control or a parameter.
func (f formula) isReference() bool {
	return len(f.references) == 1 && len(f.functions) == 0 && len(f.texts) == 0 && f.others == 0
}
