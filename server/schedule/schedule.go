// Package schedule says when a connection is scanned by itself: cron expressions with
// a time zone, spread so that not all connections are scanned in the same second.
//
// It imports only the contract, and knows neither the store nor a clock.
package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

const (
	// MinInterval is the least time between two scans.
	MinInterval = 5 * time.Minute

	// maxSpread bounds how late a scan may be on purpose.
	maxSpread = 5 * time.Minute

	// looked is how many times ahead are looked at for the least interval. A day of
	// the densest schedule that is allowed has 288.
	looked = 300
)

// Schedule says when. It does not change.
type Schedule struct {
	cron cron.Schedule
	zone *time.Location
}

// Error is what is wrong with a schedule.
type Error struct {
	Field   string // of the contract's ScanSchedule
	Problem string
}

// Error implements error.
func (e *Error) Error() string { return "schedule: " + e.Field + ": " + e.Problem }

// Parse reads a schedule. It fails with an *Error.
func Parse(schedule *pb.ScanSchedule) (*Schedule, error) {
	zone, err := time.LoadLocation(schedule.GetTimeZone())
	if err != nil || schedule.GetTimeZone() == "Local" {
		return nil, &Error{"time_zone", "it is no time zone that is known here; give an IANA name such as Europe/Berlin"}
	}
	expression := strings.TrimSpace(schedule.GetCron())
	if strings.Contains(expression, "=") || strings.HasPrefix(expression, "@every") || strings.HasPrefix(expression, "@reboot") {
		return nil, &Error{"cron", "give five fields such as */15 * * * *, or @hourly, @daily or @weekly"}
	}
	parsed, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, &Error{"cron", "it cannot be read; give minute, hour, day of month, month and day of week, such as 0 6 * * MON-FRI"}
	}
	s := &Schedule{cron: parsed, zone: zone}
	at := parsed.Next(time.Unix(0, 0).In(zone))
	if at.IsZero() {
		return nil, &Error{"cron", "it names no time that ever comes"}
	}
	for range looked {
		next := parsed.Next(at)
		if next.IsZero() {
			break
		}
		if next.Sub(at) < MinInterval {
			return nil, &Error{"cron", fmt.Sprintf("two scans would be %s apart; the least is %s", next.Sub(at), MinInterval)}
		}
		at = next
	}
	return s, nil
}

// Next returns when a connection is due after a time, later by a spread of its own,
// which is the same at every time.
func (s *Schedule) Next(after time.Time, connection string) time.Time {
	digest := sha256.Sum256([]byte(connection))
	share := float64(binary.BigEndian.Uint32(digest[:])) / (1 << 32)
	// A time whose spread has not passed yet is still to come.
	for at := s.cron.Next(after.Add(-maxSpread).In(s.zone)); !at.IsZero(); at = s.cron.Next(at) {
		due := at
		if next := s.cron.Next(at); !next.IsZero() {
			due = at.Add(time.Duration(share * float64(min(maxSpread, next.Sub(at)/10)))).Truncate(time.Second)
		}
		if due.After(after) {
			return due.UTC()
		}
	}
	return time.Time{}
}
