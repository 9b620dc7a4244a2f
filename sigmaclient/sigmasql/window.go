package sigmasql

// ordering is the order of rows in the brackets behind over or within group, or in those of a list.
type ordering struct {
	isOpen    bool
	of        call
	start     int  // of the names in the order, as traits.names counts them, or -1 before the order
	end       int  // the same, or -1
	hasFrame  bool // the rows around the row at hand
	unbounded int  // ends of the frame that the partition has as well
}

// isOrder reports whether the order is made of columns. One by a constant is none.
func (o ordering) isOrder() bool { return o.start >= 0 && o.end > o.start }

// openWindow begins an ordering where the bracket that opens has one.
func (p *parser) openWindow(f, child *frame) {
	switch {
	case child.call.fn == fnList:
		child.ordering = ordering{isOpen: true, of: child.call, start: -1, end: -1}
	case f.prev.kw == kwOver, f.prev.kw == kwGroup && p.isWord(f.prev2, "within"):
		child.ordering = ordering{isOpen: true, of: f.closed, start: -1, end: -1}
	default:
		return
	}
	p.noted.windows++
}

// windowWord follows an order and counts the names in it.
func (p *parser) windowWord(f *frame, kw keyword) {
	switch o := &f.ordering; {
	case o.isOpen && kw == kwOrder && p.nxt.kw == kwBy:
		o.start, o.end = p.noted.names, -1
	case o.isOpen && o.end < 0 && p.startsFrame(f, kw):
		o.end, o.hasFrame = p.noted.names, true
	case o.isOpen && o.hasFrame && p.isWord(p.cur, "unbounded"):
		o.unbounded++
	case p.isSortColumn(f), kw == kwAggregate && p.nxt.c == '(': // a count(*) names no column
		p.noted.names++
	case kw != kwNone || p.nxt.c == '(' || p.nxt.c == '.':
	case p.cur.Kind == Identifier || !p.isSortWord(p.cur):
		p.noted.names++
	}
}

// startsFrame reports whether the current word begins the part of a window that bounds its rows.
func (p *parser) startsFrame(f *frame, kw keyword) bool {
	if f.prev.kw == kwBy || f.prev.c == ',' || f.prev.c == '.' {
		return false
	}
	return kw == kwRows && p.isWord(p.cur, "rows") || p.isWord(p.cur, "range") || p.isWord(p.cur, "groups")
}

// isSortColumn reports whether a word stands where only a column can: alone as a part of an order, or in the brackets of a
// call. DATE, KEY and COUNT are names of columns there, and LAST as well.
func (p *parser) isSortColumn(f *frame) bool {
	begins := f.prev.kw == kwBy || f.prev.c == ',' || f.prev.Kind == endOfText
	ends := p.nxt.c == ',' || p.nxt.c == ')' || p.isWord(p.nxt, "asc") || p.isWord(p.nxt, "desc") || p.isWord(p.nxt, "nulls")
	return begins && ends && !p.isWord(p.cur, "null") && !p.isWord(p.cur, "true") && !p.isWord(p.cur, "false")
}

// isSortWord reports whether a word in an order is no name.
func (p *parser) isSortWord(l lexeme) bool {
	for _, word := range [...]string{"asc", "desc", "nulls", "last", "first", "true", "false"} {
		if p.isWord(l, word) {
			return true
		}
	}
	return false
}

// closeWindow judges the function that an ordering belongs to. The frame is the one around the bracket that closed.
func (p *parser) closeWindow(f, closed *frame) {
	p.noted.windows--
	o := closed.ordering
	if o.start >= 0 && o.end < 0 {
		o.end = p.noted.names
	}
	p.noted.hasSort = p.noted.hasSort || o.isOrder()
	if closed.call.fn == fnList && (p.nxt.kw == kwOver || p.isWord(p.nxt, "within")) { // its order comes next
		return
	}
	needsOrder := o.of.fn == fnOrdered || o.of.fn == fnList || o.hasFrame && o.unbounded < 2 && (o.of.fn == fnAggregate || o.of.fn == fnCount)
	if needsOrder && !o.isOrder() {
		p.markUnstable(f, o.of.span)
	}
}
