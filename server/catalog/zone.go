package catalog

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// maxOffsets is the maximum number of dates with offsets that a connection keeps. The
// dates of the last year tell the zones apart that the dates of any other year do.
const maxOffsets = 400

// zoneEvidence collects the offsets of dates in Sigma's SQL, which are those of the
// organization's time zone. It is safe for concurrent use. The zero value is empty.
type zoneEvidence struct {
	mu   sync.Mutex
	seen map[store.ZoneOffset]bool
}

// add adds the offsets of a text, except those that tell nothing. A scan whose texts have more different ones than it
// can use leaves out the further ones.
func (e *zoneEvidence) add(offsets []sigmasql.ZoneOffset) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, offset := range offsets {
		if e.seen == nil {
			e.seen = map[store.ZoneOffset]bool{}
		}
		if model.Tells(offset) && len(e.seen) < 10*maxOffsets {
			e.seen[store.ZoneOffset(offset)] = true
		}
	}
}

// newest returns the offsets of the newest dates, at most maxOffsets, sorted.
func newest(offsets map[store.ZoneOffset]bool) []store.ZoneOffset {
	all := make([]store.ZoneOffset, 0, len(offsets))
	for offset := range offsets {
		all = append(all, offset)
	}
	slices.SortFunc(all, store.ZoneOffset.Compare)
	return all[max(0, len(all)-maxOffsets):]
}

// keepOffsets stores the offsets that the scan has seen, together with those of
// earlier scans. Those of earlier scans are dropped where the organization has another
// time zone now: a zone has all offsets of this scan, and none has those of both.
func (s *scanner) keepOffsets(ctx context.Context) error {
	if len(s.offsets.seen) == 0 {
		return nil
	}
	stored, err := s.store.ZoneOffsets(ctx, s.connection)
	if err != nil {
		return fmt.Errorf("read the offsets of earlier scans: %w", err)
	}
	seen := newest(s.offsets.seen)
	both := map[store.ZoneOffset]bool{}
	for _, offset := range slices.Concat(seen, stored) {
		both[offset] = true
	}
	kept := newest(both)
	if !haveZone(kept) && haveZone(seen) {
		kept = seen
	}
	if slices.Equal(kept, stored) {
		return nil
	}
	if err := s.store.PutZoneOffsets(ctx, s.connection, kept); err != nil {
		return fmt.Errorf("store the offsets of dates: %w", err)
	}
	return nil
}

// haveZone reports whether some time zone has all the offsets.
func haveZone(offsets []store.ZoneOffset) bool {
	dates := make([]sigmasql.ZoneOffset, len(offsets))
	for i, offset := range offsets {
		dates[i] = sigmasql.ZoneOffset(offset)
	}
	return len(model.Zones(dates)) > 0
}
