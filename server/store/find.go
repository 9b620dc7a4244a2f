package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// A page is found in one of two ways. Where the counted terms tell that few entries
// can match, those are gathered by their terms, looked at and sorted. Where many
// can, the list is walked in its order until the page is full; the marks in the
// order's index tell most of what need not be looked at.
//
// Neither is sure to be quick: of many that could match, few may. So the work on a
// page is bounded, whatever is asked. When it is done, the page is what was found,
// and its token goes on from where the walk stopped.

// effort is the most work on a page, in rows of an order's index that are passed.
const effort = 16_000

const (
	costOfIndexed  = 1 // passing what the order's index alone tells enough about
	costOfWalked   = 3 // passing an entry in order
	costOfGathered = 6 // picking an entry from anywhere

	// perRow is how many entries of terms are read in the time of one row.
	perRow = 8
)

// finder finds one page.
type finder struct {
	store   *Store
	list    list
	catalog int64
	gone    []int // the values of the column that are listed
	total   int   // entries of the list
	left    int   // of the effort
}

// find returns the numbers of a page's entries, and the position of the next page,
// nil after the last.
func (s *Store) find(ctx context.Context, l list, parent string, w wanted, after *position, size int) ([]int64, *position, error) {
	f := &finder{store: s, list: l, gone: []int{0}, left: s.effort}
	if w.showGone {
		f.gone = []int{0, 1}
	}
	err := s.read.QueryRowContext(ctx, `SELECT id FROM catalogs WHERE connection = $1`, parent).Scan(&f.catalog)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	levels, err := s.levels(ctx, f.catalog, l, w.where, w.words, w.order)
	if err != nil {
		return nil, nil, err
	}
	first := 0
	if after != nil {
		if first = after.level; first >= len(levels) {
			return nil, nil, ErrBadPageToken
		}
		if after, err = after.in(levels[first].order); err != nil {
			return nil, nil, err
		}
	}
	if err := f.estimate(ctx, levels[first:]); err != nil {
		return nil, nil, err
	}
	var found []*position
	for i := first; i < len(levels); i++ {
		rows, stopped, err := f.level(ctx, &levels[i], after, size+1-len(found))
		if err != nil {
			return nil, nil, err
		}
		for _, row := range append(rows, stopped) {
			if row != nil {
				row.level = i
			}
		}
		if found = append(found, rows...); len(found) > size {
			return idsOf(found[:size]), found[size-1], nil
		}
		if stopped != nil {
			return idsOf(found), stopped, nil
		}
		after = nil
	}
	return idsOf(found), nil, nil
}

func idsOf(found []*position) (ids []int64) {
	for _, p := range found {
		ids = append(ids, p.id)
	}
	return ids
}

// estimate finds out how many entries can match each level.
func (f *finder) estimate(ctx context.Context, levels []level) error {
	all, incomplete := term{kind: listLetter[f.list] + termAll}, term{kind: listLetter[f.list] + termIncomplete}
	counts := map[term]int64{all: 0, incomplete: 0}
	for _, l := range levels {
		l.need.terms(counts)
	}
	if err := f.store.lookUp(ctx, f.catalog, counts); err != nil {
		return err
	}
	f.total = int(counts[all])
	for i := range levels {
		l := &levels[i]
		if l.need == nil {
			continue
		}
		if counts[incomplete] > 0 { // of these, terms do not tell whether they match
			l.need = needAny(l.need, &need{term: incomplete})
		}
		l.need.estimate(counts, float64(f.total))
	}
	return nil
}

// level finds up to n entries of a level. It returns where it stopped if that was
// before the level's end for want of effort.
func (f *finder) level(ctx context.Context, l *level, after *position, n int) (found []*position, stopped *position, err error) {
	if l.need != nil && l.need.most == 0 {
		return nil, nil, nil
	}
	few, err := f.areFew(ctx, l.need)
	if err != nil {
		return nil, nil, err
	}
	if few {
		found, err = f.gather(ctx, l, after, n)
		return found, nil, err
	}
	return f.walk(ctx, l, after, n)
}

// areFew reports whether so few entries have the need that all can be looked at,
// and takes the effort for that.
func (f *finder) areFew(ctx context.Context, n *need) (bool, error) {
	if n == nil {
		return false, nil
	}
	cost, number := n.work/perRow, n.most
	most := (float64(f.left) - cost) / costOfGathered
	if number > most {
		// Many may have it, but few are likely to: that is worth counting.
		cost *= 2
		most = (float64(f.left) - cost) / costOfGathered
		if n.likely > most || cost > float64(f.left)*3/5 { // the rest is for walking
			return false, nil
		}
		args := f.store.dialect.arguments()
		from, having := f.store.dialect.candidates(args.add(n.match(f.store.dialect, f.catalog)))
		err := f.store.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM `+from+` WHERE `+having+`
			LIMIT `+strconv.Itoa(int(most)+1)+`) AS counted`, args.values...).Scan(&number)
		if err != nil {
			return false, err
		}
	}
	f.left -= int(cost)
	if number > most {
		return false, nil
	}
	f.left -= int(number) * costOfGathered
	return true, nil
}

// gather looks at all entries that have the level's need.
func (f *finder) gather(ctx context.Context, l *level, after *position, n int) ([]*position, error) {
	args := f.store.dialect.arguments()
	from, having := f.store.dialect.candidates(args.add(l.need.match(f.store.dialect, f.catalog)))
	where := []string{having, `catalog = ` + args.add(f.catalog), `list = ` + args.add(f.list), `gone <= ` + args.add(slices.Max(f.gone)),
		l.order.between(args, after, nil, l.bounds()), f.store.dialect.levelCondition(args, l)}
	return f.positions(ctx, l, from, where, args, n, 0)
}

// positions reads entries in a level's order, after so many others.
func (f *finder) positions(ctx context.Context, l *level, from string, where []string, args *arguments, n, skip int) ([]*position, error) {
	where = slices.DeleteFunc(where, func(condition string) bool { return condition == "" })
	return readAll(ctx, f.store.read, func(rows *sql.Rows) (*position, error) {
		p := &position{}
		return p, rows.Scan(&p.id, &p.key)
	}, `SELECT id, `+l.order.column+` FROM `+from+` WHERE `+strings.Join(where, ` AND `)+`
		ORDER BY `+l.order.by()+` LIMIT `+strconv.Itoa(n)+` OFFSET `+strconv.Itoa(skip), args.values...)
}

// walk looks at the entries of a level in their order. What is gone lies apart, so
// that lists without it need not pass it.
func (f *finder) walk(ctx context.Context, l *level, after *position, n int) (found []*position, stopped *position, err error) {
	left := max(f.left/len(f.gone), costOfWalked) // one entry at least, so that there is an end
	for _, gone := range f.gone {
		w := &walker{finder: f, level: l, gone: gone, left: left}
		rows, end, err := w.walk(ctx, after, n)
		if err != nil {
			return nil, nil, err
		}
		f.left -= left - w.left
		found = append(found, rows...)
		if end != nil && (stopped == nil || l.order.compare(end, stopped) < 0) {
			stopped = end
		}
	}
	slices.SortFunc(found, l.order.compare)
	if stopped != nil {
		found = slices.DeleteFunc(found, func(p *position) bool { return l.order.compare(p, stopped) > 0 })
	}
	return found[:min(n, len(found))], stopped, nil
}
