package sigmasql

import "strings"

// Literal is a string constant in a text.
type Literal struct {
	Offset int // in [Query.Text]
	Value  string
}

// BrokenLiteral is a formula that Sigma could not compile. Sigma answers without an error and puts the message into the
// SQL as a string constant, so the query runs and each row holds the message.
type BrokenLiteral struct {
	Literal // its value is Sigma's message
	// Column is the display name of the output column that shows the message. It is empty where the constant doesn't
	// reach an output column under its own name, such as within a larger expression.
	Column string
}

// brokenLiteral is a BrokenLiteral whose column is looked up once the select list is known.
type brokenLiteral struct {
	Literal
	alias  string
	output bool // it stands in the outermost select list
}

// outputColumn is an item of the outermost select list that renames a column: NAME "Label".
type outputColumn struct{ name, label string }

// formulaErrors are how Sigma's messages begin. The first two are sourced from Sigma's own checking scripts, the third
// from public query logs; Sigma's pages show the fourth.
var formulaErrors = [...]string{
	`Unknown column "[`, `Circular column reference to [`, `Incomplete formula.`, `Reference to errored column "[`,
}

// literal looks for messages and dates among string constants. What the author wrote as custom SQL is left alone.
func (p *parser) literal(f *frame) {
	text := p.text[p.cur.Start:p.cur.End]
	if text[0] != '\'' || covered(p.custom, p.cur.Start) {
		return
	}
	content := text[1 : len(text)-1]
	if f.frozen(p) && isDate(content) {
		p.freeze(p.cur)
		return
	}
	if !f.inList && !(f.query && f.clause == clauseList) {
		return
	}
	for _, start := range formulaErrors {
		if content == "" || content[0] != start[0] {
			continue
		}
		message := p.unescape(content)
		if !strings.HasPrefix(message, start) {
			continue
		}
		b := brokenLiteral{Literal: Literal{Offset: p.cur.Start, Value: message}}
		starts := f.prev.c == ',' || f.prev.kw == kwSelect || f.prev.kw == kwDistinct
		if f.query && starts && p.nxt.isName() && p.nxt.kw == kwNone {
			b.alias, b.output = p.text[p.nxt.Start:p.nxt.End], len(p.frames) == 1
		}
		p.broken = append(p.broken, b)
		return
	}
}

// backslashes are the escapes that occur in a message: of quotes, and of the backslash itself.
var backslashes = strings.NewReplacer(`\"`, `"`, `\'`, `'`, `\\`, `\`)

// unescape gives the message that a string constant holds.
func (p *parser) unescape(content string) string {
	content = strings.ReplaceAll(content, "''", "'")
	if p.lex.lexicon.backslash && strings.IndexByte(content, '\\') >= 0 {
		content = backslashes.Replace(content)
	}
	return content
}

// frozen reports whether the frame makes a date of the constant that follows: to_timestamp_ltz('…'), date '…'.
func (f *frame) frozen(p *parser) bool {
	if f.prev.kw == kwTimestamp {
		return true
	}
	return f.prev.Kind == endOfText && len(p.frames) > 1 && p.frames[len(p.frames)-2].prev2.kw == kwTimestamp
}

// cast looks for a constant that a cast makes a date of: '…'::timestamp_ltz.
func (p *parser) cast(f *frame) {
	if p.cur.kw != kwTimestamp || f.prev.c != ':' || f.prev2.c != ':' || p.constant.End == 0 || p.constant.End != f.prev2.after {
		return
	}
	text := p.text[p.constant.Start:p.constant.End]
	told := len(p.frozen) > 0 && p.frozen[len(p.frozen)-1].Offset == p.constant.Start
	if text[0] == '\'' && isDate(text[1:len(text)-1]) && !told && !covered(p.custom, p.constant.Start) {
		p.freeze(p.constant)
	}
}

func (p *parser) freeze(l lexeme) {
	p.frozen = append(p.frozen, Literal{Offset: l.Start, Value: p.text[l.Start+1 : l.End-1]})
}

// isDate reports whether a constant begins with a date such as 2026-03-26.
func isDate(s string) bool {
	if len(s) < len("2006-01-02") || s[4] != '-' || s[7] != '-' {
		return false
	}
	for _, i := range [...]int{0, 1, 2, 3, 5, 6, 8, 9} {
		if classes[s[i]]&digitByte == 0 {
			return false
		}
	}
	return true
}

// column ends an item of the outermost select list.
func (p *parser) column(f *frame) {
	if len(p.frames) > 1 || f.clause != clauseList || p.scopes[0].sets || !f.prev.isName() {
		return
	}
	label := p.text[f.prev.Start:f.prev.End]
	name := label
	if f.prev2.isName() && f.prev2.kw == kwNone {
		name = p.text[f.prev2.Start:f.prev2.End]
	}
	p.columns = append(p.columns, outputColumn{name: name, label: label})
}

// brokenLiterals finds the output columns of the broken constants.
func (p *parser) brokenLiterals() []BrokenLiteral {
	var list []BrokenLiteral
	for _, b := range p.broken {
		found := BrokenLiteral{Literal: b.Literal}
		if b.output {
			found.Column = p.unquote(b.alias)
		}
		for _, c := range p.columns {
			if !b.output && b.alias != "" && c.name == b.alias {
				found.Column = p.unquote(c.label)
				break
			}
		}
		list = append(list, found)
	}
	return list
}
