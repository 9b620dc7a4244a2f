package zone_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/warehouse/zone"
)

func TestLoad(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Etc/GMT+5"} {
		if location, err := zone.Load(name); err != nil || location.String() != name {
			t.Errorf("%s: %v, %v", name, location, err)
		}
	}
	for _, name := range []string{"", "Local", "Mars/Olympus", "../../etc/passwd", "+01:00", " UTC", "Europe/Berlin\x00"} {
		if location, err := zone.Load(name); err == nil {
			t.Errorf("%q is taken for %v", name, location)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, test := range []struct{ name, instant, want string }{
		{"UTC", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z"},
		{"Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-01T00:00:00+01:00"},
		{"Europe/Berlin", "2026-07-01T00:00:00.000001Z", "2026-07-01T02:00:00.000001+02:00"},
		{"America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T01:30:00-04:00"},
		{"America/New_York", "2026-11-01T06:30:00Z", "2026-11-01T01:30:00-05:00"},
		{"Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T05:30:00+05:30"},
		{"Europe/London", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		{"Europe/Berlin", "1890-01-01T00:00:00Z", "1890-01-01T00:53:28+00:53:28"},
	} {
		at, err := time.Parse(time.RFC3339Nano, test.instant)
		if err != nil {
			t.Fatal(err)
		}
		if got := zone.Format(at.In(load(t, test.name))); got != test.want {
			t.Errorf("%s in %s: %s instead of %s", test.instant, test.name, got, test.want)
		}
	}
}

func load(t interface{ Fatal(...any) }, name string) *time.Location {
	location, err := zone.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func TestDay(t *testing.T) {
	for _, test := range []struct{ name, instant, want string }{
		{"UTC", "2026-03-01T00:00:00Z", "2026-03-01"},
		{"UTC", "1969-12-31T00:00:00Z", "1969-12-31"},
		{"UTC", "2026-03-01T00:00:00.000001Z", ""},
		{"UTC", "2026-02-28T23:59:59.999999Z", ""},
		{"Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-01"},
		{"Europe/Berlin", "2026-03-01T01:00:01Z", ""},
		{"Europe/Berlin", "2026-02-28T20:59:59Z", ""},
		{"Europe/Berlin", "2026-06-30T22:00:00Z", "2026-07-01"},
		{"America/New_York", "2026-03-01T05:00:00Z", "2026-03-01"},
		{"Europe/Berlin", "1799-12-31T23:06:32Z", "1800-01-01"},
		// Midnights by other databases of time zones: Amsterdam had a time of its own until 1937,
		// which Go's database leaves out, and Vancouver no winter time from 2026 on, which others do not know yet.
		{"Europe/Amsterdam", "1899-12-31T23:40:28Z", "1900-01-01"},
		{"America/Vancouver", "9999-12-31T08:00:00Z", "9999-12-31"},
		{"America/Vancouver", "9999-12-31T07:00:00Z", "9999-12-31"},
		// The clock went from 0:00 to 1:00, and from 0:00 back to 23:00.
		{"America/Sao_Paulo", "2017-10-15T03:00:00Z", "2017-10-15"},
		{"America/Sao_Paulo", "2018-02-18T03:00:00Z", "2018-02-18"},
		// The clock went from 1:00 back to 0:00: the day has two midnights.
		{"America/Havana", "2026-11-01T04:00:00Z", "2026-11-01"},
		{"America/Havana", "2026-11-01T05:00:00Z", "2026-11-01"},
		// There was no 2011-12-30.
		{"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31"},
	} {
		at, err := time.Parse(time.RFC3339Nano, test.instant)
		if err != nil {
			t.Fatal(err)
		}
		day, ok := zone.Day(at.In(load(t, test.name)))
		got := time.Unix(day*86400, 0).UTC().Format(time.DateOnly)
		if ok != (test.want != "") || ok && got != test.want {
			t.Errorf("%s in %s: %s, %t", test.instant, test.name, got, ok)
		}
	}
}

// The first instant of each day is the beginning of that day, and no instant is that is far
// from it, or between two seconds.
func TestDayOfEveryInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		location := load(t, rapid.SampledFrom([]string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe"}).Draw(t, "zone"))
		at := time.UnixMicro(rapid.Int64Range(-5e15, 5e15).Draw(t, "instant")).In(location)
		year, month, date := at.Date()
		want := time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / 86400
		first := at // of the day, found without looking for midnight
		for step := int64(1) << 38; step > 0; step /= 2 {
			earlier := first.Add(-time.Duration(step) * time.Microsecond)
			if y, m, d := earlier.Date(); y == year && m == month && d == date {
				first = earlier
			}
		}
		if day, ok := zone.Day(first); !ok || day != want {
			t.Fatalf("%s begins its day: %d, %t", first, day, ok)
		}
		hour, _, _ := at.Clock()
		if day, ok := zone.Day(at); hour > 2 && hour < 22 && ok || at.Nanosecond() != 0 && ok {
			t.Fatalf("%s: %d, %t", at, day, ok)
		}
	})
}
