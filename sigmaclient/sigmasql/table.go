package sigmasql

import (
	"slices"
	"strings"
)

// tableSet holds the tables of a query in the order of their first mention.
type tableSet struct {
	list [][]string
	seen map[string]bool
}

func (t *tableSet) add(parts []string) {
	key := strings.Join(parts, "\x00")
	if t.seen[key] {
		return
	}
	if t.seen == nil {
		t.seen = make(map[string]bool)
	}
	t.seen[key] = true
	t.list = append(t.list, parts)
}

// table reads a name where a relation is expected. A table function and a common table expression are no tables.
func (p *parser) table(f *frame) {
	parts := make([]string, 1, 3)
	parts[0] = p.name(p.cur)
	f.prev2, f.prev = f.prev, p.cur
	for p.nxt.c == '.' && p.nxt.Kind == Punctuation {
		p.advance()
		if !p.nxt.isName() {
			parts = append(parts, "") // DB..TABLE: the default schema
			continue
		}
		p.advance()
		p.cur.kw = kwNone
		parts = append(parts, p.name(p.cur))
	}
	if p.nxt.c == '(' || len(parts) == 1 && p.isCTE(parts[0]) {
		return
	}
	p.tables.add(parts)
}

func (p *parser) isCTE(name string) bool {
	if p.lex.lexicon.foldsUpper {
		return slices.Contains(p.ctes, name)
	}
	return slices.ContainsFunc(p.ctes, func(cte string) bool { return strings.EqualFold(cte, name) })
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
