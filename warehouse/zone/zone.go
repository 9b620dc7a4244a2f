// Package zone loads time zones by their IANA names, also on machines without a
// database of time zones, and reads instants in them.
//
// It imports nothing of this module.
package zone

import (
	"fmt"
	"time"
	_ "time/tzdata" // for machines without a database of their own
)

// Load returns the time zone of an IANA name such as "Europe/Berlin". It fails for
// a name that the database does not have, for the empty name and for "Local": the
// time package reads the last two as UTC and as the zone of the machine.
func Load(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("zone: %q is no IANA name of a time zone", name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone: %q is no IANA name of a time zone: %w", name, err)
	}
	return location, nil
}

// Format returns an instant as text with the offset of its location, as RFC 3339
// has it: 2026-03-01T00:00:00+01:00. RFC 3339 has no seconds in offsets; an offset
// with seconds, which zones have before about 1900, is written as +00:53:28, since
// the text would be another instant without them.
func Format(t time.Time) string {
	if _, offset := t.Zone(); offset%60 != 0 {
		return t.Format("2006-01-02T15:04:05.999999999Z07:00:00")
	}
	return t.Format(time.RFC3339Nano)
}

const secondsPerDay = 24 * 60 * 60

// Day returns the day, counted from 1970-01-01, whose beginning an instant is in its
// location. ok is false where it is the beginning of no day. A day begins at midnight,
// and after it where a change of the clock leaves midnight out.
//
// A warehouse has its own database of time zones, which can be of another year than
// ours, and before 1970 databases differ in most zones: a beginning of a day there can
// be another time here. So the beginning is the nearest midnight, at most maxDrift
// away, and a whole second.
func Day(t time.Time) (day int64, ok bool) {
	day, second := wall(t)
	switch {
	case t.Nanosecond() != 0:
		return day, false
	case second >= secondsPerDay-maxDrift:
		return day + 1, true
	}
	return day, second <= maxDrift
}

// maxDrift is the maximum difference of two databases of time zones that is expected,
// in seconds.
const maxDrift = 2 * 60 * 60

// wall returns the day and the second of the day that a clock at t's location shows.
func wall(t time.Time) (day, second int64) {
	_, offset := t.Zone()
	seconds := t.Unix() + int64(offset)
	day, second = seconds/secondsPerDay, seconds%secondsPerDay
	if second < 0 {
		return day - 1, second + secondsPerDay
	}
	return day, second
}
