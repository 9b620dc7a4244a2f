package warehouse_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Timestamps are canonical without a zone, or with the IANA name of one.
func TestCanonicalTimeZones(t *testing.T) {
	for zone, want := range map[string]bool{
		"": true, "UTC": true, "Europe/Berlin": true, "America/New_York": true, "Asia/Kolkata": true,
		"Local": false, "+01:00": false, "Mars/Olympus": false, "../UTC": false,
	} {
		for unit, allowed := range map[arrow.TimeUnit]bool{arrow.Microsecond: true, arrow.Nanosecond: true, arrow.Millisecond: false, arrow.Second: false} {
			typ := &arrow.TimestampType{Unit: unit, TimeZone: zone}
			if got := warehouse.Canonical(typ); got != (want && allowed) {
				t.Errorf("%s: %t", typ, got)
			}
			err := warehouse.CheckSchema(arrow.NewSchema([]arrow.Field{{Name: "At", Type: typ}}, nil))
			if (err == nil) != (want && allowed) {
				t.Errorf("%s: %v", typ, err)
			}
		}
	}
}
