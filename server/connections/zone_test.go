package connections

import (
	"strings"
	"testing"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

func TestTimeZoneIsComparedWithDates(t *testing.T) {
	const (
		winter, summer = "2026-01-15", "2026-07-15"
		hour           = 3600
	)
	newYork := []store.ZoneOffset{{Date: winter, Seconds: -5 * hour}, {Date: summer, Seconds: -4 * hour}}
	for name, row := range map[string]struct {
		zone       string
		isAllowed  bool
		offsets    []store.ZoneOffset
		outcome    pb.CheckOutcome
		candidates string // the first of them
	}{
		"nothing seen":      {"America/New_York", false, nil, pb.CheckOutcome_CHECK_OUTCOME_SKIPPED, ""},
		"agrees":            {"America/New_York", false, newYork, pb.CheckOutcome_CHECK_OUTCOME_PASS, "America/New_York"},
		"contradicts":       {"Europe/Berlin", false, newYork, pb.CheckOutcome_CHECK_OUTCOME_FAIL, "America/New_York"},
		"is allowed to":     {"Europe/Berlin", true, newYork, pb.CheckOutcome_CHECK_OUTCOME_WARN, "America/New_York"},
		"differs in summer": {"UTC", false, []store.ZoneOffset{{Date: winter}, {Date: summer, Seconds: hour}}, pb.CheckOutcome_CHECK_OUTCOME_FAIL, "Europe/London"},
		"not set":           {"", false, newYork, pb.CheckOutcome_CHECK_OUTCOME_WARN, "America/New_York"},
		"of no zone":        {"", false, []store.ZoneOffset{{Date: winter, Seconds: 7 * hour}, {Date: winter, Seconds: -7 * hour}}, pb.CheckOutcome_CHECK_OUTCOME_WARN, ""},
		"night of a change": {"Europe/Berlin", false, []store.ZoneOffset{{Date: "2026-03-29", Seconds: hour}, {Date: "2026-03-29", Seconds: 2 * hour}}, pb.CheckOutcome_CHECK_OUTCOME_PASS, "Europe/Berlin"},
	} {
		connection := &pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: row.zone}, AllowTimeZoneMismatch: row.isAllowed}
		var location *time.Location
		if row.zone != "" {
			var err error
			if location, err = zone.Load(row.zone); err != nil {
				t.Fatal(err)
			}
		}
		check := checkTimeZone(&Link{Connection: connection, TimeZone: location}, row.offsets)
		first, _, _ := strings.Cut(check.GetFacts()["candidates"], ",")
		if check.GetOutcome() != row.outcome || first != row.candidates || check.GetFacts()["time_zone"] != row.zone {
			t.Errorf("%s: %v", name, check)
		}
	}
}
