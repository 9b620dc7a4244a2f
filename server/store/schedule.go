package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// maxDue bounds how many connections are due at once; the others are a little
// later.
const maxDue = 100

// nextScan is the column by which connections that are due are found.
func nextScan(connection *pb.Connection) int64 {
	if connection.GetNextScanTime() == nil {
		return 0
	}
	return connection.GetNextScanTime().AsTime().UnixMilli()
}

// DueConnections returns connections whose next_scan_time has come, the longest due
// first.
func (s *Store) DueConnections(ctx context.Context, now time.Time) ([]*pb.Connection, error) {
	due, err := readMessages[pb.Connection](ctx, s.read, `SELECT resource FROM connections WHERE next_scan > 0 AND next_scan <= $1 ORDER BY next_scan LIMIT $2`, now.UnixMilli(), maxDue)
	if err != nil {
		return nil, fmt.Errorf("list connections that are due: %w", err)
	}
	return due, nil
}

// StartDueScan starts the scan of a connection that is due, as StartScan does, and
// sets when it is due next, both or neither. A connection that is due at another time
// than was read has been dealt with, and is left alone; its etag stays in any case,
// since nobody who changes the connection need know. It fails as StartScan does.
func (s *Store) StartDueScan(ctx context.Context, connection *pb.Connection, next time.Time, scan *pb.Scan, most int, ask Ask) (started bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		started = false
		if err := s.dialect.lock(ctx, tx, "schedule of "+connection.GetName()); err != nil {
			return err
		}
		current := &pb.Connection{}
		if err := readOne(ctx, tx, current, `SELECT resource FROM connections WHERE name = $1`, connection.GetName()); err != nil {
			return err
		}
		if !proto.Equal(current.GetNextScanTime(), connection.GetNextScanTime()) {
			return nil
		}
		current.NextScanTime = nil
		if !next.IsZero() {
			current.NextScanTime = timestamppb.New(next)
		}
		data, err := proto.Marshal(current)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `UPDATE connections SET resource = $2, next_scan = $3 WHERE name = $1 AND etag = $4`,
			current.GetName(), data, nextScan(current), current.GetEtag())
		switch err := changed(result, err); {
		case errors.Is(err, ErrNotFound): // it was changed at the same moment
			return nil
		case err != nil:
			return err
		}
		_, started, err = s.startScan(ctx, tx, scan, most, ask)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("start a scan that is due: %w", err)
	}
	return started, nil
}
