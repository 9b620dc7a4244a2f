package query

import (
	"hash/maphash"
	"testing"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Sigma exports whole seconds, and the warehouse has finer ones: two zones are still the likely cause where the clock of one of
// them changes between the first and the last time.
func TestAnotherZoneIsTheCauseOfShiftedTimes(t *testing.T) {
	t.Parallel()
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	first, last := time.Date(2026, 1, 1, 12, 0, 0, 1000, time.UTC), time.Date(2026, 7, 1, 12, 0, 0, 999_999_000, time.UTC)
	for name, test := range map[string]struct {
		lastInSigma time.Time
		want        string
	}{
		"another zone":      {last, "time_zone"},
		"another last time": {last.Add(-72 * time.Hour), ""},
	} {
		seed := maphash.MakeSeed()
		sigma, house := &measure{}, &measure{}
		for _, at := range []time.Time{first, test.lastInSigma} {
			sigma.addExported(seed, at.Format(time.DateTime))
		}
		for _, at := range []time.Time{first, last} {
			house.addWallClock(seed, at.In(newYork).Format("2006-01-02T15:04:05.999999999"), "2006-01-02T15:04:05", time.Second)
		}
		c := compareColumn("At", pb.ColumnType_COLUMN_TYPE_TIMESTAMP, sigma, house)
		if got := causeOf(c, sigma, house, nil); got != test.want {
			t.Errorf("%s: the cause of %v is %q, want %q", name, c.GetDifferences(), got, test.want)
		}
	}
}
