package model

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // for machines without a database of time zones

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// zoneNames are the names of time zones, one a line: those of large organizations first, then one for each other history of
// offsets in the IANA database of Go 1.26. The standard library has no list of names. A zone that a later database adds is
// missing here; it can be set all the same.
//
//go:embed zones.txt
var zoneNames string

// zones returns all zones of zoneNames.
var zones = sync.OnceValue(func() []*time.Location {
	var all []*time.Location
	for name := range strings.FieldsSeq(zoneNames) {
		if zone, err := time.LoadLocation(name); err == nil {
			all = append(all, zone)
		}
	}
	return all
})

// Agrees reports whether a zone has the offset at some time of its date: on the day of a change there are two. A date that
// says nothing rules nothing out.
func Agrees(zone *time.Location, offset sigmasql.ZoneOffset) bool {
	midnight, err := time.Parse(time.DateOnly, offset.Date)
	if err != nil || !Tells(offset) {
		return true
	}
	first := midnight.Add(-time.Duration(offset.Seconds) * time.Second)
	return offsetAt(zone, first) == offset.Seconds || offsetAt(zone, first.Add(24*time.Hour-time.Second)) == offset.Seconds
}

// Tells reports whether an offset can say anything about the zone: its date is one for which databases of time zones agree.
// Before 1970, Kolkata has an offset with seconds for one and that of today for another; after 2037, many end.
func Tells(offset sigmasql.ZoneOffset) bool {
	midnight, err := time.Parse(time.DateOnly, offset.Date)
	return err == nil && midnight.Year() >= 1970 && midnight.Year() <= 2037
}

func offsetAt(zone *time.Location, at time.Time) int {
	_, seconds := at.In(zone).Zone()
	return seconds
}

func agreesWithAll(zone *time.Location, offsets []sigmasql.ZoneOffset) bool {
	return !slices.ContainsFunc(offsets, func(o sigmasql.ZoneOffset) bool { return !Agrees(zone, o) })
}

// Zones returns the names of the zones that have all offsets on their dates, the most common first. It returns none where no
// zone has them, as after a change of the zone, or where a zone is not known to it. Zones with the same history of offsets
// have one name.
func Zones(offsets []sigmasql.ZoneOffset) []string {
	var names []string
	for _, zone := range zones() {
		if agreesWithAll(zone, offsets) {
			names = append(names, zone.String())
		}
	}
	return names
}

// maxCandidates is the maximum number of zones that a finding names.
const maxCandidates = 10

// addZone adds what the text shows about the time zone of the session.
func (m *Model) addZone(traits sigmasql.Traits, o Options) {
	if !traits.DependsOnZone {
		return
	}
	facts, candidates := map[string]string{}, ""
	isMismatch := o.TimeZone != nil && !agreesWithAll(o.TimeZone, traits.ZoneOffsets)
	if (o.TimeZone == nil || isMismatch) && slices.ContainsFunc(traits.ZoneOffsets, Tells) {
		names := Zones(traits.ZoneOffsets)
		names = names[:min(len(names), maxCandidates)]
		if candidates = " No known time zone has the offsets of the dates in the SQL."; len(names) > 0 {
			facts["candidates"] = strings.Join(names, ",")
			candidates = " The dates in the SQL agree with " + strings.Join(names, ", ") + "."
		}
	}
	switch {
	case o.TimeZone == nil:
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_TIME_ZONE_UNKNOWN, facts,
			"The result depends on the time zone of the session, and the connection has none, so the query runs in UTC. Set sigma.time_zone of the connection to the account time zone of the organization.%s", candidates)
	case isMismatch:
		facts["time_zone"] = o.TimeZone.String()
		const text = "Dates in Sigma's SQL have another offset than the time zone of the connection, %s, so day boundaries would be wrong. Set sigma.time_zone of the connection to the account time zone of the organization.%s"
		severity := pb.FindingSeverity_FINDING_SEVERITY_WARNING
		if !o.AllowTimeZoneMismatch {
			severity = pb.FindingSeverity_FINDING_SEVERITY_ERROR
			m.fullRead = append(m.fullRead, &errmap.Error{
				Reason: pb.ErrorReason_ERROR_REASON_TIME_ZONE_MISMATCH, Resource: m.Name, Metadata: facts,
				Message: "dates in Sigma's SQL contradict sigma.time_zone of the connection, " + o.TimeZone.String() + "; set it to the account time zone of the organization, or set allow_time_zone_mismatch." + candidates,
			})
		}
		m.Findings.add(pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH, severity, facts, text, o.TimeZone, candidates)
	}
}
