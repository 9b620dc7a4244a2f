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

// startDue begins the scans of the connections that are due.
func (s *Service) startDue(ctx context.Context) error {
	now := s.now()
	due, err := s.store.DueConnections(ctx, now)
	if err != nil {
		return err
	}
	for _, connection := range due {
		// One connection's failure is not the others': it stays due.
		if err := s.startOneDue(ctx, connection, now); err != nil && !errors.Is(err, store.ErrNotFound) {
			s.logger.Warn("a scan that is due did not begin", "connection", connection.GetName(), "error", err)
		}
	}
	return nil
}

func (s *Service) startOneDue(ctx context.Context, connection *pb.Connection, now time.Time) error {
	plan, err := schedule.Parse(connection.GetScanSchedule())
	if err != nil { // it was valid when it was stored: the time zone is no longer known
		return err
	}
	scan, err := s.newScan(ctx, connection.GetName(), false, pb.ScanTrigger_SCAN_TRIGGER_SCHEDULE)
	if err != nil {
		return err
	}
	// A replica whose clock is ahead must not leave the others the same time.
	after := connection.GetNextScanTime().AsTime()
	if now.After(after) {
		after = now
	}
	_, err = s.store.StartDueScan(ctx, connection, plan.Next(after, connection.GetName()), scan, s.most, s.ask)
	return err
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
