package sigmasql

import (
	"strconv"
	"strings"
)

// ZoneOffset is the offset from UTC that the zone of a session has on a date, at some time of that day.
type ZoneOffset struct {
	Date    string // such as 2026-04-01
	Seconds int    // east of UTC
}

// zoneLiteral is a date with an offset that the text turns into a timestamp of the local zone.
type zoneLiteral struct {
	ZoneOffset
	hasMask bool // a format with a zone stands behind it, as Sigma writes it
}

// isLocal reports whether a word is the name of the type of timestamps in the zone of the session, or of a function that makes
// one of text.
func (p *parser) isLocal(l, next lexeme) bool {
	if l.kw != kwTimestamp {
		return false
	}
	name := p.text[l.Start:l.End]
	if suffix := p.lex.lexicon.localSuffix; len(name) >= len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix) {
		return true
	}
	return p.lex.lexicon.localWithZone && next.kw == kwWith && p.isWord(l, "timestamp") // timestamp with time zone
}

// localLiteral notes a date that the text turns into a timestamp of the local zone.
func (p *parser) localLiteral(l lexeme, hasMask bool) {
	content := p.text[l.Start+1 : l.End-1]
	offset, hasZone, ok := offsetOf(content)
	if !hasZone {
		p.noted.zone = true
	}
	if ok && !covered(p.custom, l.Start) {
		p.noted.literals = append(p.noted.literals, zoneLiteral{ZoneOffset{Date: content[:len("2006-01-02")], Seconds: offset}, hasMask})
	}
}

// convertedLiteral notes the current constant, which is the argument of a function that converts it, or stands behind the name
// of a type.
func (p *parser) convertedLiteral(f *frame) {
	around, converter := f, f.prev
	if f.prev.Kind == endOfText {
		around = &p.frames[len(p.frames)-2]
		converter = around.prev2
	}
	if p.isLocal(converter, lexeme{}) {
		p.compareWithLocal(around, converter)
		mask := p.nxt.c == ',' && around != f && p.hasZoneFormat(p.peek())
		p.localLiteral(p.cur, mask)
	}
}

// hasZoneFormat reports whether a token is a format that reads an offset: 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM'.
func (p *parser) hasZoneFormat(l lexeme) bool {
	return l.Kind == String && strings.Contains(strings.ToUpper(p.text[l.Start:l.End]), "TZH")
}

// compareWithLocal notes what a date of the local zone is compared with, if it is. The date begins with the given token.
func (p *parser) compareWithLocal(f *frame, first lexeme) {
	switch left := f.left; {
	case left.until == 0 || left.until != first.after:
	case left.isCall:
		p.noted.zone = p.noted.zone || left.fn.isDay()
	default:
		p.noted.localNames = append(p.noted.localNames, left.span)
	}
}

// leftSide is what stands before a comparison: the last name, or the function whose arguments end there.
type leftSide struct {
	call
	isCall bool
	until  int // where the operator ends, or 0
}

// noteComparison keeps what stands before a comparison: the current token is its operator.
func (p *parser) noteComparison(f *frame) {
	switch {
	case f.left.until == p.cur.Start && f.left.until > 0: // the operator's second byte
	case f.prev.c == ')':
		f.left = leftSide{call: f.closed, isCall: true}
	case f.prev.isName():
		f.left = leftSide{call: call{span: span{f.prev.Start, f.prev.End}}}
	default:
		f.left = leftSide{}
		return
	}
	f.left.until = p.cur.End
}

// dayArgument notes the name of a column, or of a part of a date, in the arguments of a date function.
func (p *parser) dayArgument(f *frame) {
	isPart := p.cur.Kind == Word && f.prev.c != '.' &&
		(f.call.fn == fnDayFirst && f.prev.Kind == endOfText || f.call.fn == fnDayLast && p.nxt.c == ')' && f.prev.Kind != endOfText)
	switch {
	case isPart:
		p.noted.weeks = p.noted.weeks || isWeekPart(p.text[p.cur.Start:p.cur.End])
	case f.prev.c != ':' && (p.nxt.c == ')' || p.nxt.c == ','):
		p.noted.dayNames = append(p.noted.dayNames, span{p.cur.Start, p.cur.End})
	}
}

// truncatesLocal reports whether a date function is about a column that the text compares with a date of the local zone: the
// column is zone-aware, and its days depend on the zone.
func (p *parser) truncatesLocal() bool {
	if len(p.noted.localNames) == 0 || len(p.noted.dayNames) == 0 {
		return false
	}
	local := make(map[string]bool, len(p.noted.localNames))
	for _, s := range p.noted.localNames {
		local[p.fold(p.unquote(p.text[s.start:s.end]))] = true
	}
	for _, s := range p.noted.dayNames {
		if local[p.fold(p.unquote(p.text[s.start:s.end]))] {
			return true
		}
	}
	return false
}

// localCast notes that something other than a constant is cast to a timestamp of the local zone: it gets the zone of the
// session, or its days become those of the session.
func (p *parser) localCast(f *frame) {
	p.noted.zone = true
	if (f.query || f.call.fn == fnCast) && p.nxt.c != ':' {
		p.mark(f, markLocal)
	}
}

// offsetOf returns the offset from UTC, in seconds, at the end of a constant that begins with a date. It is not ok where the
// constant has none, or names a zone in another way; hasZone is set for those.
func offsetOf(constant string) (seconds int, hasZone, ok bool) {
	rest := constant[len("2006-01-02"):]
	sign := strings.LastIndexAny(rest, "+-")
	if sign <= 0 || strings.IndexByte(rest[:sign], ':') < 0 {
		hasZone = len(rest) > 1 && classes[rest[len(rest)-1]]&wordStart != 0
		return 0, hasZone, false
	}
	digits := strings.Replace(rest[sign+1:], ":", "", 1)
	if len(digits) == len("04") {
		digits += "00"
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != len("0400") || number%100 >= 60 || number > 1500 {
		return 0, true, false
	}
	seconds = int(number/100*3600 + number%100*60)
	if rest[sign] == '-' {
		seconds = -seconds
	}
	return seconds, true, true
}
