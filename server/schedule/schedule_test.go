package schedule_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/schedule"
)

func parse(t testing.TB, cron, zone string) *schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(&pb.ScanSchedule{Cron: cron, TimeZone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestNextIsTheCronTimeAndASpread(t *testing.T) {
	for _, test := range []struct{ cron, zone, after, from, spread string }{
		{"0 6 * * *", "", "2026-11-25T05:00:00Z", "2026-11-25T06:00:00Z", "5m"},
		{"0 6 * * *", "Europe/Berlin", "2026-11-25T03:00:00Z", "2026-11-25T05:00:00Z", "5m"},
		{"*/15 * * * *", "", "2026-11-25T10:01:31Z", "2026-11-25T10:15:00Z", "90s"},
		{"*/5 * * * *", "", "2026-11-25T10:01:00Z", "2026-11-25T10:05:00Z", "30s"},
		{"0 6 * * MON-FRI", "", "2026-11-27T12:00:00Z", "2026-11-30T06:00:00Z", "5m"},
		{"@hourly", "Asia/Kolkata", "2026-11-25T10:36:00Z", "2026-11-25T11:30:00Z", "5m"},
		{"0 0 13 * FRI", "", "2026-11-25T00:00:00Z", "2027-08-13T00:00:00Z", "5m"}, // both days
		// The clocks go forward at 01:00Z, over 02:30, and back at 01:00Z, through 02:30 twice.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z", "35m"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z", "65m"},
	} {
		t.Run(test.cron+" "+test.zone, func(t *testing.T) {
			spread, err := time.ParseDuration(test.spread)
			if err != nil {
				t.Fatal(err)
			}
			from := at(t, test.from)
			for i := range 50 {
				next := parse(t, test.cron, test.zone).Next(at(t, test.after), fmt.Sprint("workspaces/acme/connections/c", i))
				if next.Before(from) || next.After(from.Add(spread)) {
					t.Errorf("after %s comes %s, want %s and at most %s", test.after, next, from, spread)
				}
			}
		})
	}
}

// Whatever the schedule and the time, the next time lies ahead, is the connection's
// own, and no time is left out: asking at the time before gives the same.
func TestNextIsAheadAndLeavesNothingOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cron := rapid.SampledFrom([]string{"*/5 * * * *", "*/15 * * * *", "@hourly", "@daily", "0 6 * * MON-FRI", "0 0 1 * *", "17 3 29 2 *"}).Draw(t, "cron")
		zone := rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(t, "zone")
		name := rapid.StringMatching("[a-z]{1,8}").Draw(t, "name")
		after := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "after"), 0)
		s, err := schedule.Parse(&pb.ScanSchedule{Cron: cron, TimeZone: zone})
		if err != nil {
			t.Fatal(err)
		}
		next := s.Next(after, name)
		if !next.After(after) {
			t.Fatalf("after %s comes %s", after, next)
		}
		between := after.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(after))-1).Draw(t, "between")))
		if again := s.Next(between, name); !again.Equal(next) {
			t.Fatalf("after %s comes %s, and after %s comes %s", after, next, between, again)
		}
		if further := s.Next(next, name); further.Sub(next) < schedule.MinInterval*9/10 {
			t.Fatalf("%s is too soon after %s", further, next)
		}
	})
}

func TestConnectionsAreSpread(t *testing.T) {
	s := parse(t, "@hourly", "")
	seconds := map[int]bool{}
	for i := range 200 {
		next := s.Next(at(t, "2026-11-25T10:30:00Z"), fmt.Sprint("workspaces/acme/connections/c", i))
		seconds[int(next.Sub(at(t, "2026-11-25T11:00:00Z")).Seconds())/60] = true
	}
	if len(seconds) != 5 {
		t.Errorf("200 connections use the minutes %v of five", seconds)
	}
}

func TestBadSchedules(t *testing.T) {
	for _, test := range []struct{ cron, zone, field string }{
		{"", "", "cron"},
		{"every day", "", "cron"},
		{"* * * *", "", "cron"},
		{"0 0 0 * * *", "", "cron"},
		{"61 * * * *", "", "cron"},
		{"* * * * *", "", "cron"},
		{"0,4 6 * * *", "", "cron"},
		{"59 23 * * *", "Mars/Olympus", "time_zone"},
		{"0 6 * * *", "Local", "time_zone"},
		{"0 6 * * *", "../../etc/passwd", "time_zone"},
		{"0 0 30 2 *", "", "cron"},
		{"@every 1h", "", "cron"},
		{"CRON_TZ=UTC 0 6 * * *", "", "cron"},
		{"TZ=", "", "cron"},
		{"\x00\xff", "", "cron"},
	} {
		_, err := schedule.Parse(&pb.ScanSchedule{Cron: test.cron, TimeZone: test.zone})
		var wrong *schedule.Error
		if !errors.As(err, &wrong) || wrong.Field != test.field || wrong.Problem == "" {
			t.Errorf("%q %q: got %v, want an error of %s", test.cron, test.zone, err, test.field)
		}
	}
	if _, err := schedule.Parse(nil); err == nil {
		t.Error("no schedule is none")
	}
}

func FuzzParse(f *testing.F) {
	for _, cron := range []string{"*/5 * * * *", "0 6 * * MON-FRI", "@daily", "0 0 L * *", "H H * * *", "1-5/2 , * * ?"} {
		f.Add(cron, "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, cron, zone string) {
		s, err := schedule.Parse(&pb.ScanSchedule{Cron: cron, TimeZone: zone})
		if err != nil {
			return
		}
		now := time.Unix(1_800_000_000, 0)
		if next := s.Next(now, "c"); !next.IsZero() && !next.After(now) {
			t.Errorf("after %s comes %s", now, next)
		}
	})
}
