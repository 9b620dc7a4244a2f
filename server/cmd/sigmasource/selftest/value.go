package selftest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// wallOf returns what the wall clock of New York shows at a value, as a time in UTC. A
// value without a zone is a wall clock already.
func wallOf(value *pb.Value) (time.Time, error) {
	const datetime = "2006-01-02T15:04:05.999999999"
	switch v := value.GetKind().(type) {
	case *pb.Value_DateValue:
		return time.Parse(time.DateOnly, v.DateValue)
	case *pb.Value_DatetimeValue:
		return time.Parse(datetime, v.DatetimeValue)
	case *pb.Value_TimestampValue:
		t := v.TimestampValue.AsTime().In(newYork)
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), nil
	}
	return time.Time{}, probeError("a value is neither a date nor a time")
}

// integerOf returns a value that is a whole number.
func integerOf(value *pb.Value) (int64, error) {
	switch v := value.GetKind().(type) {
	case *pb.Value_Int64Value:
		return v.Int64Value, nil
	case *pb.Value_DoubleValue:
		if n := int64(v.DoubleValue); float64(n) == v.DoubleValue {
			return n, nil
		}
	case *pb.Value_DecimalValue:
		whole, fraction, _ := strings.Cut(v.DecimalValue, ".")
		if n, err := strconv.ParseInt(whole, 10, 64); err == nil && strings.Trim(fraction, "0") == "" {
			return n, nil
		}
	}
	return 0, probeError("an id is no whole number")
}

// textOf returns a value that is a text.
func textOf(value *pb.Value) (string, bool) {
	v, ok := value.GetKind().(*pb.Value_StringValue)
	if !ok {
		return "", false
	}
	return v.StringValue, true
}

func typeName(column *pb.SchemaColumn) string {
	name := strings.TrimPrefix(column.GetType().String(), "COLUMN_TYPE_")
	switch {
	case column.GetTimeZone() == Zone:
		name += " in the script's zone"
	case column.GetTimeZone() != "":
		name += " in another zone"
	}
	return name
}

// tally counts things by name, such as offsets.
type tally map[string]int

// String lists the things, the most frequent first.
func (t tally) String() string {
	names := slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		if t[a] != t[b] {
			return t[b] - t[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s (%d)", name, t[name]))
	}
	return strings.Join(parts, ", ")
}

// dated is a row of an element on EVENTS.
type dated struct {
	event event
	wall  time.Time // of the value
	null  bool
}

// dated returns the values of a column of dates or times, with the rows of EVENTS that
// they belong to.
func (r *Rows) dated(name string) (rows []dated, column *pb.SchemaColumn, err error) {
	id, err := r.column("Id")
	if err != nil {
		return nil, nil, err
	}
	at, err := r.column(name)
	if err != nil {
		return nil, nil, err
	}
	for _, values := range r.Values {
		n, err := integerOf(values[id])
		if err != nil {
			return nil, nil, err
		}
		if n < 1 || n > int64(len(events)) {
			return nil, nil, probeError("the element has a row that the script's table does not have")
		}
		row := dated{event: events[n-1]}
		if _, row.null = values[at].GetKind().(*pb.Value_NullValue); !row.null {
			if row.wall, err = wallOf(values[at]); err != nil {
				return nil, nil, probeError(fmt.Sprintf("column %q: no dates or times in the type %s", name, typeName(r.Columns[at])))
			}
		}
		rows = append(rows, row)
	}
	return rows, r.Columns[at], nil
}

// compareWalls compares the values of a column with the wall clocks that they should
// show, and says how far off they are.
func compareWalls(o *Observation, name string, want func(event) time.Time) (seen string, same bool, err error) {
	all, err := o.Rows()
	if err != nil {
		return "", false, err
	}
	rows, column, err := all.dated(name)
	if err != nil {
		return "", false, err
	}
	right, off := 0, tally{}
	for _, row := range rows {
		switch difference := row.wall.Sub(want(row.event)); {
		case row.null:
			off["null"]++
		case difference == 0:
			right++
		default:
			off[fmt.Sprintf("off by %s", difference)]++
		}
	}
	seen = fmt.Sprintf("type %s; %d rows of %d; %d as known", typeName(column), len(rows), len(events), right)
	if len(off) > 0 {
		seen += "; " + off.String()
	}
	return seen, right == len(events) && len(rows) == len(events), nil
}
