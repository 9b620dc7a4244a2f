package catalog

import (
	"context"
	"errors"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/schedule"
	"github.com/sigmasource/sigmasource/server/store"
)

// fullEvery is how long after a full scan the next one is full by itself.
const fullEvery = 7 * 24 * time.Hour

// Tick asks for the scans whose replica is gone, and begins those that are due. That
// it is called on two replicas at once, or not for a while, does no harm.
func (s *Service) Tick(ctx context.Context) error {
	rescued, err := s.store.RescueScans(ctx, s.ask)
	if rescued > 0 {
		s.logger.Warn("scans are asked for again that nobody ran any more", "scans", rescued)
	}
	return errors.Join(err, s.startDue(ctx))
}

// startDue begins the scans of the connections that are due. The scan comes before
// the next time is set: it may be begun twice by that, but not be left out.
func (s *Service) startDue(ctx context.Context) error {
	now := s.now()
	due, err := s.store.DueConnections(ctx, now)
	if err != nil {
		return err
	}
	for _, connection := range due {
		name := connection.GetName()
		plan, err := schedule.Parse(connection.GetScanSchedule())
		if err != nil { // it was valid when it was stored: the time zone is no longer known
			s.logger.Error("a connection's schedule cannot be read any more", "connection", name, "error", err)
			continue
		}
		_, err = s.start(ctx, name, false, pb.ScanTrigger_SCAN_TRIGGER_SCHEDULE)
		if err != nil {
			s.logger.Warn("a scan that is due did not begin", "connection", name, "error", err)
			continue
		}
		// The replica whose clock is ahead must not leave its successor the same time.
		after := connection.GetNextScanTime().AsTime()
		if now.After(after) {
			after = now
		}
		if err := s.store.SetNextScan(ctx, connection, plan.Next(after, name)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// fullIsDue reports whether it is time for a scan that reads everything. The first
// scan of a connection does so in any case.
func (s *Service) fullIsDue(ctx context.Context, connection string) (bool, error) {
	page := store.Page{Size: 100}
	for {
		scans, next, err := s.store.ListScans(ctx, connection, page)
		if err != nil {
			return false, err
		}
		for _, scan := range scans {
			if scan.GetFull() && scan.GetState() == pb.ScanState_SCAN_STATE_SUCCEEDED {
				return s.now().Sub(scan.GetCreateTime().AsTime()) > fullEvery, nil
			}
		}
		if page.Token = next; next == "" {
			return true, nil
		}
	}
}
