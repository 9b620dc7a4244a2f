package store

import (
	"context"
	"strings"
)

// walker goes through a part of a list in a level's order.
type walker struct {
	*finder
	level *level
	gone  int
	left  int // of the effort
}

const (
	// firstWalk is how many entries are walked before more is thought worth it: a
	// database that is asked for many at once prepares for having to read them all.
	firstWalk = 1000

	// maxChecked bounds how many entries that the index does not rule out are looked
	// at together.
	maxChecked = 1000
)

// walk returns up to n entries of the level after a position, and where it stopped
// if there may be more but it is out of effort.
func (w *walker) walk(ctx context.Context, after *position, n int) (found []*position, stopped *position, err error) {
	d := w.store.dialect
	if d.levelCondition(d.arguments(), w.level) == "" { // all within the bounds
		found, err = w.read(ctx, after, nil, n, 0, d.levelCondition)
		return found, nil, err
	}
	step, cost := w.plain, costOfWalked
	if d.indexedCondition(d.arguments(), w.level) != "" {
		step, cost = w.indexed, costOfIndexed
	}
	for length := firstWalk; ; length *= 3 {
		if length = min(length, w.left/cost); length < 1 {
			if after == nil {
				after = &position{}
			}
			return found, after, nil
		}
		end, err := w.ahead(ctx, after, length)
		if err != nil {
			return nil, nil, err
		}
		w.left -= min(length, w.total) * cost
		rows, reached, err := step(ctx, after, end, n-len(found))
		if err != nil {
			return nil, nil, err
		}
		if found = append(found, rows...); reached == nil || len(found) == n {
			return found, nil, nil
		}
		after = reached
	}
}

// plain looks at each entry up to an end, and returns that.
func (w *walker) plain(ctx context.Context, after, end *position, n int) (found []*position, reached *position, err error) {
	found, err = w.read(ctx, after, end, n, 0, w.store.dialect.levelCondition)
	return found, end, err
}

// indexed looks at the entries up to an end that the order's index does not rule
// out. It stops before if it is out of effort, and returns where.
func (w *walker) indexed(ctx context.Context, after, end *position, n int) (found []*position, reached *position, err error) {
	for number := n + n/8; ; number = min(2*number, maxChecked) {
		likely, err := w.read(ctx, after, end, number, 0, w.store.dialect.indexedCondition)
		if err != nil {
			return nil, nil, err
		}
		rows, err := w.check(ctx, likely, n-len(found))
		if err != nil {
			return nil, nil, err
		}
		found = append(found, rows...)
		if len(likely) < number {
			return found, end, nil
		}
		if after = likely[number-1]; len(found) == n || w.left <= 0 {
			return found, after, nil
		}
	}
}

// check returns those of the positions whose entries are of the level.
func (w *walker) check(ctx context.Context, likely []*position, n int) ([]*position, error) {
	if len(likely) == 0 || w.level.where == nil && w.level.in == titleText { // the index tells all
		return likely[:min(n, len(likely))], nil
	}
	w.left -= len(likely) * costOfGathered
	args := w.store.dialect.arguments()
	var ids []string
	for _, p := range likely {
		ids = append(ids, args.add(p.id))
	}
	where := []string{`id IN (` + strings.Join(ids, ", ") + `)`, w.store.dialect.levelCondition(args, w.level)}
	return w.positions(ctx, w.level, "entries", where, args, n, 0)
}

// ahead returns the position that lies so many entries ahead, nil if there are not
// so many.
func (w *walker) ahead(ctx context.Context, after *position, length int) (*position, error) {
	found, err := w.read(ctx, after, nil, 1, length-1, func(*arguments, *level) string { return "" })
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

func (w *walker) read(ctx context.Context, after, end *position, n, skip int, condition func(*arguments, *level) string) ([]*position, error) {
	args := w.store.dialect.arguments()
	where := []string{`catalog = ` + args.add(w.catalog), `list = ` + args.add(w.list), `gone = ` + args.add(w.gone),
		w.level.order.between(args, after, end, w.level.bounds()), w.level.part(), condition(args, w.level)}
	return w.positions(ctx, w.level, "entries", where, args, n, skip)
}
