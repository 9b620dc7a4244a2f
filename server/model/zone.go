package model

import (
	"slices"
	"time"
	_ "time/tzdata" // for machines without a database of their own

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// commonZones are zones with different offsets, the most common first.
var commonZones = []string{
	"UTC", "America/New_York", "America/Los_Angeles", "America/Chicago", "America/Denver", "Europe/London", "Europe/Berlin", "Asia/Kolkata",
	"Australia/Sydney", "Asia/Tokyo", "America/Sao_Paulo", "America/Phoenix", "Europe/Athens", "Asia/Singapore", "Asia/Dubai", "America/Halifax",
	"Pacific/Auckland", "America/Anchorage", "Pacific/Honolulu", "Africa/Johannesburg", "Africa/Lagos", "Asia/Bangkok", "Australia/Brisbane",
	"Australia/Adelaide", "America/St_Johns", "Asia/Kathmandu", "America/Mexico_City", "America/Bogota", "America/Argentina/Buenos_Aires",
}

// Agrees reports whether a zone has the offset at some time of its date.
func Agrees(zone *time.Location, offset sigmasql.ZoneOffset) bool {
	day, err := time.ParseInLocation("2006-01-02", offset.Date, zone)
	if err != nil {
		return true
	}
	_, first := day.Zone()
	_, last := day.AddDate(0, 0, 1).Zone()
	return offset.Seconds == first || offset.Seconds == last
}

// Zones returns the zones that agree with all offsets, the most common first.
func Zones(offsets []sigmasql.ZoneOffset) []string {
	var agree []string
	for _, name := range commonZones {
		zone, err := time.LoadLocation(name)
		if err == nil && !slices.ContainsFunc(offsets, func(o sigmasql.ZoneOffset) bool { return !Agrees(zone, o) }) {
			agree = append(agree, name)
		}
	}
	return agree
}
