package sigmasql

import "strings"

// Literal is a string constant in a text.
type Literal struct {
	Offset int // in [Query.Text]
	Value  string
}

// BrokenLiteral is a string constant in the form of the message that Sigma writes in the place of a formula with an
// error: Sigma answers without an error, the query runs, and each row holds the message.
type BrokenLiteral struct {
	Literal // its value is the message
	// Column is the display name of an output column whose values come from the constant. It is empty where the constant
	// reaches no output column that has a name, or where it also decides about the rows, as in a filter or a grouping.
	Column string
}

// literal looks for messages and dates among string constants. It ignores the author's custom SQL.
func (p *parser) literal(f *frame) {
	text := p.text[p.cur.Start:p.cur.End]
	if text[0] != '\'' {
		return
	}
	content := text[1 : len(text)-1]
	p.noteLiteral(f, content)
	isFrozen := f.frozen(p) && isDate(content)
	if isFrozen {
		p.convertedLiteral(f)
	}
	if covered(p.custom, p.cur.Start) {
		return
	}
	if isFrozen {
		p.freeze(p.cur)
		return
	}
	if !f.inList && !(f.query && f.clause == clauseList) {
		return
	}
	p.hasConstants = true
	if message := p.unescape(content); IsFormulaMessage(message) {
		p.messages = append(p.messages, Literal{Offset: p.cur.Start, Value: message})
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

// cast looks for what a cast makes a date of: '…'::timestamp_ltz.
func (p *parser) cast(f *frame) {
	if p.cur.kw != kwTimestamp {
		return
	}
	isCast := f.prev.c == ':' && f.prev2.c == ':'
	isConstant := isCast && p.constant.End != 0 && p.constant.End == f.prev2.after
	if !isCast && f.call.fn == fnCast && f.prev.kw == kwAs {
		isCast, isConstant = true, f.prev2.Kind == String
	}
	isConstant = isConstant && p.text[p.constant.Start] == '\'' && isDate(p.text[p.constant.Start+1:p.constant.End-1])
	if isCast && p.isLocal(p.cur, p.nxt) {
		if isConstant {
			first, around := p.constant, f
			if f.prev.c != ':' { // cast('…' as timestamp_ltz)
				around = &p.frames[len(p.frames)-2]
				first = around.prev2
			}
			p.compareWithLocal(around, first)
			p.localLiteral(p.constant, false)
		} else {
			p.localCast(f)
		}
	}
	if !isConstant || f.prev.c != ':' {
		return
	}
	text := p.text[p.constant.Start:p.constant.End]
	told := len(p.frozen) > 0 && p.frozen[len(p.frozen)-1].Offset == p.constant.Start
	if text[0] == '\'' && !told && !covered(p.custom, p.constant.Start) {
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
