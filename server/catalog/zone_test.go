package catalog

import (
	"slices"
	"testing"
	"time"

	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// A connection keeps the newest dates, however many a scan has seen.
func TestZoneEvidenceIsBounded(t *testing.T) {
	var evidence zoneEvidence
	first := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3 * maxOffsets {
		date := first.AddDate(0, 0, i).Format(time.DateOnly)
		evidence.add([]sigmasql.ZoneOffset{{Date: date, Seconds: 3600}, {Date: date, Seconds: 3600}})
	}
	kept := newest(evidence.seen)
	last := first.AddDate(0, 0, 3*maxOffsets-1).Format(time.DateOnly)
	if len(kept) != maxOffsets || kept[maxOffsets-1].Date != last || !slices.IsSortedFunc(kept, store.ZoneOffset.Compare) {
		t.Errorf("%d dates are kept, the last of %v", len(kept), kept[len(kept)-1])
	}
	for i := range 20 * maxOffsets {
		evidence.add([]sigmasql.ZoneOffset{{Date: first.AddDate(0, 0, -i).Format(time.DateOnly)}})
	}
	if len(evidence.seen) > 10*maxOffsets {
		t.Errorf("a scan collects %d dates", len(evidence.seen))
	}
}
