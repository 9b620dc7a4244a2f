package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/filter"
)

// need is what an entry must have so that a filter or a search can hold for it, as
// far as terms tell: a term, all of some needs, or any of some. The database's index
// finds the entries that have it. A nil need tells nothing.
type need struct {
	term   term
	prefix bool // a term that begins like that
	all    []*need
	any    []*need

	// most is how many entries can have it, likely about how many do: as if having
	// one term said nothing about having another. work is about how many entries of
	// terms have to be read to find them.
	most, likely, work float64
}

// needOf is what a filter needs.
func needOf(letter string, e filter.Expr) *need {
	switch e := e.(type) {
	case filter.And:
		return needAll(needsOf(letter, e, needOf)...)
	case filter.Or:
		return needAny(needsOf(letter, e, needOf)...)
	case filter.Not:
		return needNot(letter, e.Expr)
	case filter.Test:
		return needTest(letter, e)
	}
	return nil
}

func needsOf(letter string, all []filter.Expr, of func(string, filter.Expr) *need) (needs []*need) {
	for _, e := range all {
		needs = append(needs, of(letter, e))
	}
	return needs
}

// needNot is what it needs for a filter not to hold.
func needNot(letter string, e filter.Expr) *need {
	switch e := e.(type) {
	case filter.And:
		return needAny(needsOf(letter, e, needNot)...)
	case filter.Or:
		return needAll(needsOf(letter, e, needNot)...)
	case filter.Not:
		return needOf(letter, e.Expr)
	case filter.Test:
		// Most models can be read, so that those that cannot are worth finding.
		if e.Field.Name == "state" && e.Number == int32(pb.ModelState_MODEL_STATE_READY) {
			return &need{term: term{letter + termState, unreadable}}
		}
	}
	return nil
}

func needTest(letter string, t filter.Test) *need {
	kind := stored[t.Field.Name].kind
	switch {
	case kind == "" || t.Field.Kind == filter.Folder && t.Text == "":
		return nil
	case t.Op == filter.Present:
		return &need{term: term{letter + kind, anything}}
	case t.Field.Kind == filter.Enum || t.Field.Kind == filter.EnumSet:
		return &need{term: term{letter + kind, strconv.Itoa(int(t.Number))}}
	}
	return &need{term: term{letter + kind, digest(plain(t.Text))}}
}

// needAll leaves out the needs that tell nothing.
func needAll(needs ...*need) *need {
	needs = slices.DeleteFunc(needs, func(n *need) bool { return n == nil })
	switch len(needs) {
	case 0:
		return nil
	case 1:
		return needs[0]
	}
	return &need{all: needs}
}

// needAny tells nothing if one of the needs does not.
func needAny(needs ...*need) *need {
	if slices.Contains(needs, nil) {
		return nil
	}
	if len(needs) == 1 {
		return needs[0]
	}
	return &need{any: needs}
}

// terms adds the terms whose numbers of entries have to be known.
func (n *need) terms(all map[term]int64) {
	switch {
	case n == nil:
	case n.all != nil || n.any != nil:
		for _, part := range append(n.all, n.any...) {
			part.terms(all)
		}
	case n.most == 0: // else it was looked up already
		all[n.term] = 0
	}
}

// estimate fills in the numbers, for a list of total entries. Of needs for all it
// keeps those that narrow the result down.
func (n *need) estimate(counts map[term]int64, total float64) {
	for _, part := range append(n.all, n.any...) {
		part.estimate(counts, total)
	}
	switch {
	case n.all != nil:
		slices.SortFunc(n.all, func(a, b *need) int { return cmp.Compare(a.most, b.most) })
		// To look for a term that nearly all have costs more than it spares.
		const wide = 20
		n.all = slices.DeleteFunc(n.all, func(part *need) bool { return part.most > wide*max(n.all[0].most, 1) })
		n.most, n.likely, n.work = n.all[0].most, total, 0
		for _, part := range n.all {
			n.likely *= part.likely / max(total, 1)
			n.work += part.work
		}
	case n.any != nil:
		n.most, n.likely = 0, 0
		for _, part := range n.any {
			n.most, n.likely = n.most+part.most, n.likely+part.likely
		}
		const asked = 6 // terms can be asked which is next while one entry is read
		n.work = n.most * (1 + float64(len(n.any))/asked)
	default:
		if n.most == 0 {
			n.most = float64(counts[n.term])
		}
		n.likely, n.work = n.most, n.most
	}
}

// match writes a need that entries can have as the database's index understands it.
func (n *need) match(d dialect, catalog int64) string {
	switch {
	case n.all != nil:
		return matches(d, catalog, n.all, d.and)
	case n.any != nil:
		return matches(d, catalog, n.any, d.or)
	case n.prefix:
		return d.quote + n.term.token(catalog) + d.quote + d.prefix
	}
	return d.quote + n.term.token(catalog) + d.quote
}

func matches(d dialect, catalog int64, needs []*need, operator string) string {
	var parts []string
	for _, part := range needs {
		if part.most > 0 {
			parts = append(parts, part.match(d, catalog))
		}
	}
	return "(" + strings.Join(parts, operator) + ")"
}

// marked is the SQL for marks that do not rule the need out.
func (n *need) marked(d dialect, args *arguments) string {
	operator, parts := " AND ", n.all
	switch {
	case n.any != nil:
		operator, parts = " OR ", n.any
	case n.all == nil:
		return d.find("marks", args.add(markOf(n.term))) + " > 0"
	}
	var texts []string
	for _, part := range parts {
		texts = append(texts, part.marked(d, args))
	}
	return "(" + strings.Join(texts, operator) + ")"
}

// leavesReadable reports whether a model that can be read may have the need.
func (n *need) leavesReadable() bool {
	switch {
	case n == nil:
		return true
	case n.all != nil:
		return !slices.ContainsFunc(n.all, func(part *need) bool { return !part.leavesReadable() })
	case n.any != nil:
		return slices.ContainsFunc(n.any, (*need).leavesReadable)
	}
	return n.term.kind != listLetter[modelList]+termState || n.term.text == strconv.Itoa(int(pb.ModelState_MODEL_STATE_READY))
}

// lookUp fills the numbers of entries that have the terms.
func (s *Store) lookUp(ctx context.Context, catalog int64, counts map[term]int64) error {
	if len(counts) == 0 {
		return nil
	}
	args := s.dialect.arguments()
	var wanted []string
	id := args.add(catalog)
	for t := range counts {
		wanted = append(wanted, "("+args.add(t.kind)+", "+args.add(t.text)+")")
	}
	type counted struct {
		term    term
		entries int64
	}
	all, err := readAll(ctx, s.read, func(rows *sql.Rows) (c counted, err error) {
		return c, rows.Scan(&c.term.kind, &c.term.text, &c.entries)
	}, `SELECT kind, term, entries FROM terms WHERE catalog = `+id+` AND (kind, term) IN (VALUES `+strings.Join(wanted, ", ")+`)`, args.values...)
	for _, c := range all {
		counts[c.term] = c.entries
	}
	return err
}
