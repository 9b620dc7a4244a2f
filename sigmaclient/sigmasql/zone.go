package sigmasql

import (
	"regexp"
	"time"
)

// ZoneOffset is the offset from UTC that the zone of a session has on a date, at some time of that day.
type ZoneOffset struct {
	Date    string // such as 2026-04-01
	Seconds int    // east of UTC
}

var localLiteral = regexp.MustCompile(`(?i)to_timestamp_ltz\('(\d{4}-\d\d-\d\dT[0-9:.]+[+-]\d\d:\d\d)'`)

// ZoneOffsets returns the offsets of the dates that the text turns into timestamps of the local zone.
func (q *Query) ZoneOffsets() []ZoneOffset {
	var all []ZoneOffset
	for _, found := range localLiteral.FindAllStringSubmatch(q.Full(), -1) {
		if at, err := time.Parse("2006-01-02T15:04:05.999999999-07:00", found[1]); err == nil {
			_, seconds := at.Zone()
			all = append(all, ZoneOffset{Date: found[1][:len("2006-01-02")], Seconds: seconds})
		}
	}
	return all
}
