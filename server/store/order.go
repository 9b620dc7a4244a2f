package store

import (
	"bytes"
	"cmp"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sigmasource/sigmasource/server/filter"
)

// order is a column that a list is ordered by, equals by their numbers.
type order struct {
	column string
	desc   bool
}

var (
	byPath  = order{column: "path_key"}
	byTitle = order{column: "title"}
	byTime  = order{column: "update_time"}
	bySize  = order{column: "size"}
)

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

// part is the SQL for the part of the list that has an index of its own in the
// level's order and holds all of the level; empty if there is none.
func (l *level) part() string {
	if l.order.column == byPath.column && !l.marks.leavesReadable() {
		return "state <> 1" // in the words of the index, by which the databases choose it
	}
	return ""
}

// bounds are the least key, and the first that is too great; nil for none.
type bounds struct{ from, to any }

// between is the SQL for what lies after one position, up to another, and within
// bounds. It gives the database one bound on either side, so that it uses it.
func (o order) between(args *arguments, after, end *position, within bounds) string {
	above, upTo := " > ", " <= "
	start, stop := after, end
	if o.desc {
		start, stop, above, upTo = end, after, " >= ", " < "
	}
	var parts []string
	switch {
	case start != nil:
		parts = append(parts, "("+o.column+", id)"+above+"("+args.add(start.key)+", "+args.add(start.id)+")")
	case within.from != nil:
		parts = append(parts, o.column+" >= "+args.add(within.from))
	}
	switch {
	case stop != nil:
		parts = append(parts, "("+o.column+", id)"+upTo+"("+args.add(stop.key)+", "+args.add(stop.id)+")")
	case within.to != nil:
		parts = append(parts, o.column+" < "+args.add(within.to))
	}
	return strings.Join(parts, " AND ")
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
	case o.column == byPath.column && t.Field.Kind == filter.Folder && t.Text != "" && len(t.Text) <= maxSortPart-utf8.UTFMax:
		// The folder's own key goes on with a zero, those below it with a slash, which
		// is followed by the digit 0. Keys hold paths up to where they are cut.
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
