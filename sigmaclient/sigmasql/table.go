package sigmasql

import "strings"

// tableSet holds the tables of a query in the order of their first mention.
type tableSet struct {
	list [][]string
	seen map[string]int32 // the index of each, plus 1
}

// add returns the index of the table, plus 1.
func (t *tableSet) add(parts []string) int32 {
	key := strings.Join(parts, "\x00")
	if index := t.seen[key]; index > 0 {
		return index
	}
	if t.seen == nil {
		t.seen = make(map[string]int32)
	}
	t.list = append(t.list, parts)
	t.seen[key] = int32(len(t.list))
	return t.seen[key]
}

// table reads the name of a relation: a table or view, a common table expression, or a table function. Only the first is
// added to the query's tables.
func (p *parser) table(f *frame) {
	parts := make([]string, 1, 3)
	parts[0] = p.name(p.cur)
	f.prev2, f.prev = f.prev, p.cur
	for p.nxt.c == '.' && p.nxt.Kind == Punctuation {
		p.advance()
		if !p.nxt.isName() {
			if schema := p.lex.lexicon.defaultSchema; schema != "" { // DB..TABLE
				parts = append(parts, schema)
			}
			continue
		}
		p.advance()
		p.cur.kw = kwNone
		parts = append(parts, p.name(p.cur))
	}
	around := &p.operands[p.scopes[f.scope].lastOperand]
	from := relation{scope: noScope, alias: parts[len(parts)-1], join: f.join}
	if p.nxt.c == '(' {
		around.relations = append(around.relations, from)
		f.callsTable = true
		return
	}
	f.afterRelation = true
	if len(parts) == 1 {
		if c := p.cteNamed(parts[0]); c != nil {
			from.scope, from.opaque = c.scope, c.opaque
			around.relations = append(around.relations, from)
			return
		}
	}
	from.table = p.tables.add(parts)
	around.relations = append(around.relations, from)
}

// cte is a common table expression that a query can select from.
type cte struct {
	name   string // folded
	scope  int32
	opaque bool // its column names are given behind its name
	hides  int  // the index in cteSet.list of the one of the same name around it, or -1
}

// cteSet holds the common table expressions in sight.
type cteSet struct {
	list   []cte
	byName map[string]int // the index of the innermost one
}

func (s *cteSet) add(c cte) {
	if s.byName == nil {
		s.byName = make(map[string]int)
	}
	c.hides = -1
	if i, ok := s.byName[c.name]; ok {
		c.hides = i
	}
	s.byName[c.name] = len(s.list)
	s.list = append(s.list, c)
}

// truncate leaves the first n in sight.
func (s *cteSet) truncate(n int) {
	for i := len(s.list) - 1; i >= n; i-- {
		if c := s.list[i]; c.hides >= 0 {
			s.byName[c.name] = c.hides
		} else {
			delete(s.byName, c.name)
		}
	}
	s.list = s.list[:n]
}

// cteNamed returns the innermost common table expression of the name, or nil.
func (p *parser) cteNamed(name string) *cte {
	if i, ok := p.ctes.byName[p.fold(name)]; ok {
		return &p.ctes.list[i]
	}
	return nil
}

// fold returns the form of a name in which two names of the same thing are equal.
func (p *parser) fold(name string) string {
	if p.lex.lexicon.foldsUpper {
		return name
	}
	return strings.ToLower(name)
}

// sameName reports whether two names, in the form in which the warehouse stores them, name the same thing.
func (p *parser) sameName(a, b string) bool {
	if p.lex.lexicon.foldsUpper {
		return a == b
	}
	return strings.EqualFold(a, b)
}

// name is what the warehouse calls the thing that a word or quoted name stands for.
func (p *parser) name(l lexeme) string {
	return p.unquote(p.text[l.Start:l.End])
}

func (p *parser) unquote(name string) string {
	switch {
	case strings.HasPrefix(name, `"`):
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	case p.lex.lexicon.foldsUpper:
		return strings.ToUpper(name)
	}
	return name
}
