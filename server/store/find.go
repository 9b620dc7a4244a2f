package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sigmasource/sigmasource/server/filter"
)

// A page is found in one of two ways. Where the counted terms tell that few entries
// can match, those are gathered by their terms, looked at and sorted. Where many
// can, the list is walked in its order until the page is full.
//
// Neither is sure to be quick: of many that could match, few may. So the work on a
// page is bounded, whatever is asked. When it is done, the page is what was found,
// and its token goes on from where the walk stopped.

// effort is the most work on a page, in rows of an order's index that are passed.
const effort = 30_000

const (
	costOfIndexed  = 1 // passing what the order's index alone tells enough about
	costOfWalked   = 3 // passing an entry in order
	costOfGathered = 6 // picking an entry from anywhere

	// firstWalk is how many entries are walked before more is thought worth it: a
	// database that is asked for many at once prepares for having to read them all.
	firstWalk = 1000

	// maxProbed is how many entries may have one of several terms so that it is
	// worth counting those that have them all.
	maxProbed = 150_000
)

var (
	byTime = order{column: "update_time"}
	bySize = order{column: "size"}
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
	all := term{kind: listLetter[f.list] + termAll}
	counts := map[term]int64{all: 0}
	for _, l := range levels {
		l.need.terms(counts)
	}
	if err := f.store.lookUp(ctx, f.catalog, counts); err != nil {
		return err
	}
	f.total = int(counts[all])
	for _, l := range levels {
		if l.need != nil {
			l.need.estimate(counts, float64(f.total))
		}
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
	most := f.left / costOfGathered
	number := n.most
	if number > float64(most) && number <= maxProbed && n.likely <= float64(most) {
		args := f.store.dialect.arguments()
		from, having := f.store.dialect.candidates(args.add(n.match(f.store.dialect, f.catalog)))
		err := f.store.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM `+from+` WHERE `+having+`
			LIMIT `+strconv.Itoa(most+1)+`) AS counted`, args.values...).Scan(&number)
		if err != nil {
			return false, err
		}
	}
	if number > float64(most) {
		return false, nil
	}
	f.left -= int(number) * costOfGathered
	return true, nil
}

// gather looks at all entries that have the level's need.
func (f *finder) gather(ctx context.Context, l *level, after *position, n int) ([]*position, error) {
	args := f.store.dialect.arguments()
	from, having := f.store.dialect.candidates(args.add(l.need.match(f.store.dialect, f.catalog)))
	where := having + ` AND catalog = ` + args.add(f.catalog) + ` AND list = ` + args.add(f.list) + ` AND gone <= ` + args.add(slices.Max(f.gone)) +
		l.order.between(args, after, nil, l.bounds())
	return f.rows(ctx, l, from, where, args, n)
}

// rows reads entries in a level's order.
func (f *finder) rows(ctx context.Context, l *level, from, where string, args *arguments, n int) ([]*position, error) {
	if condition := f.store.dialect.levelCondition(args, l); condition != "" {
		where += " AND " + condition
	}
	return f.positions(ctx, `SELECT id, `+l.order.column+` FROM `+from+` WHERE `+where+` ORDER BY `+l.order.by()+` LIMIT `+strconv.Itoa(n), args)
}

func (f *finder) positions(ctx context.Context, query string, args *arguments) ([]*position, error) {
	return readAll(ctx, f.store.read, func(rows *sql.Rows) (*position, error) {
		p := &position{}
		return p, rows.Scan(&p.id, &p.key)
	}, query, args.values...)
}

// walk looks at the entries of a level in their order. What is gone lies apart, so
// that lists without it need not pass it.
func (f *finder) walk(ctx context.Context, l *level, after *position, n int) (found []*position, stopped *position, err error) {
	cost := costOfWalked
	if l.where == nil && l.in == titleText {
		cost = costOfIndexed
	}
	most := f.left / cost / len(f.gone)
	for _, gone := range f.gone {
		rows, end, looked, err := f.walkPart(ctx, l, gone, after, n, most)
		if err != nil {
			return nil, nil, err
		}
		f.left -= looked * cost
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

// walkPart looks at so many entries at most. It returns where it stopped if there
// are more and n were not found.
func (f *finder) walkPart(ctx context.Context, l *level, gone int, after *position, n, most int) (found []*position, stopped *position, looked int, err error) {
	if l.isFree() {
		found, err := f.walkTo(ctx, l, gone, after, nil, n)
		return found, nil, 0, err
	}
	if most < 1 {
		return nil, cmp.Or(after, &position{}), 0, nil
	}
	for step := min(firstWalk, most); ; step = most - looked {
		end, err := f.ahead(ctx, l, gone, after, step)
		if err != nil {
			return nil, nil, 0, err
		}
		rows, err := f.walkTo(ctx, l, gone, after, end, n-len(found))
		if err != nil {
			return nil, nil, 0, err
		}
		found, looked = append(found, rows...), looked+min(step, f.total)
		switch {
		case end == nil || len(found) == n:
			return found, nil, looked, nil
		case looked >= most:
			return found, end, looked, nil
		}
		after = end
	}
}

// isFree reports whether every entry within the level's bounds is of it.
func (l *level) isFree() bool {
	return l.where == nil && l.in == ""
}

// ahead returns the position that lies so many entries ahead, nil if there are not
// so many.
func (f *finder) ahead(ctx context.Context, l *level, gone int, after *position, step int) (*position, error) {
	args := f.store.dialect.arguments()
	where := f.part(args, gone) + l.order.between(args, after, nil, l.bounds())
	found, err := f.positions(ctx, `SELECT id, `+l.order.column+` FROM entries WHERE `+where+` ORDER BY `+l.order.by()+`
		LIMIT 1 OFFSET `+strconv.Itoa(step-1), args)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func (f *finder) walkTo(ctx context.Context, l *level, gone int, after, end *position, n int) ([]*position, error) {
	args := f.store.dialect.arguments()
	where := f.part(args, gone) + l.order.between(args, after, end, l.bounds())
	return f.rows(ctx, l, "entries", where, args, n)
}

func (f *finder) part(args *arguments, gone int) string {
	return `catalog = ` + args.add(f.catalog) + ` AND list = ` + args.add(f.list) + ` AND gone = ` + args.add(gone)
}

// by is the order's SQL.
func (o order) by() string {
	if o.desc {
		return o.column + " DESC, id DESC"
	}
	return o.column + ", id"
}

// compare tells the order of two positions, as the database does.
func (o order) compare(a, b *position) int {
	var c int
	switch key := a.key.(type) {
	case []byte:
		c = bytes.Compare(key, b.key.([]byte))
	case string:
		c = cmp.Compare(key, b.key.(string))
	case int64:
		c = cmp.Compare(key, b.key.(int64))
	}
	if c = cmp.Or(c, cmp.Compare(a.id, b.id)); o.desc {
		return -c
	}
	return c
}

// bounds are the least key, and the first that is too great; nil for none.
type bounds struct{ from, to any }

// between is the SQL for what lies after one position, up to another, and within
// bounds. It gives the database one bound on either side, so that it uses it.
func (o order) between(args *arguments, after, end *position, within bounds) string {
	above, below, upTo := " > ", " < ", " <= "
	start, stop := after, end
	if o.desc {
		start, stop, above, upTo = end, after, " >= ", " < "
	}
	text := ""
	switch {
	case start != nil:
		text += " AND (" + o.column + ", id)" + above + "(" + args.add(start.key) + ", " + args.add(start.id) + ")"
	case within.from != nil:
		text += " AND " + o.column + " >= " + args.add(within.from)
	}
	switch {
	case stop != nil:
		text += " AND (" + o.column + ", id)" + upTo + "(" + args.add(stop.key) + ", " + args.add(stop.id) + ")"
	case within.to != nil:
		text += " AND " + o.column + below + args.add(within.to)
	}
	return text
}

// bounds are what a level's conditions say about the key of its order.
func (l *level) bounds() (b bounds) {
	switch l.order.column {
	case byTitle.column:
		if l.start != "" {
			return bounds{l.start, l.start + string(utf8.MaxRune)}
		}
	case byPath.column, byTime.column:
		for _, e := range conjuncts(l.where) {
			if test, ok := e.(filter.Test); ok {
				b.narrow(keysOf(l.order, test))
			}
		}
	}
	return b
}

func (b *bounds) narrow(by bounds) {
	if by.from != nil && (b.from == nil || bytes.Compare(b.from.([]byte), by.from.([]byte)) < 0) {
		b.from = by.from
	}
	if by.to != nil && (b.to == nil || bytes.Compare(by.to.([]byte), b.to.([]byte)) < 0) {
		b.to = by.to
	}
}

// keysOf are the bounds of the keys of what passes a test.
func keysOf(o order, t filter.Test) bounds {
	switch {
	case o.column == byPath.column && t.Field.Kind == filter.Folder && len(t.Text) < maxSortPart && t.Text != "":
		// The folder's own key goes on with a zero, those below it with a slash, which
		// is followed by the digit 0.
		return bounds{[]byte(t.Text), []byte(t.Text + "0")}
	case o.column == byTime.column && t.Field.Kind == filter.Time:
		key := []byte(timeKey(timestamppb.New(t.Time)))
		next := append(bytes.Clone(key), 0)
		return map[filter.Op]bounds{
			filter.Equal: {key, next}, filter.Less: {nil, key}, filter.LessOrEqual: {nil, next},
			filter.Greater: {next, nil}, filter.GreaterOrEqual: {key, nil},
		}[t.Op]
	}
	return bounds{}
}
