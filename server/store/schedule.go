package store

import (
	"context"
	"database/sql"
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
	due, err := readAll(ctx, s.read, func(rows *sql.Rows) (*pb.Connection, error) {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		connection := &pb.Connection{}
		return connection, proto.Unmarshal(data, connection)
	}, `SELECT resource FROM connections WHERE next_scan > 0 AND next_scan <= $1 ORDER BY next_scan LIMIT $2`, now.UnixMilli(), maxDue)
	if err != nil {
		return nil, fmt.Errorf("list connections that are due: %w", err)
	}
	return due, nil
}

// SetNextScan sets when a connection is due next, if it is still as it was read. Its
// etag stays: nobody who changes the connection need know. It fails with ErrNotFound.
func (s *Store) SetNextScan(ctx context.Context, connection *pb.Connection, next time.Time) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		current := &pb.Connection{}
		if err := readOne(ctx, tx, current, `SELECT resource FROM connections WHERE name = $1`, connection.GetName()); err != nil {
			return err
		}
		if !proto.Equal(current.GetNextScanTime(), connection.GetNextScanTime()) {
			return nil
		}
		current.NextScanTime = timestamppb.New(next)
		data, err := proto.Marshal(current)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE connections SET resource = $2, next_scan = $3 WHERE name = $1 AND etag = $4`,
			current.GetName(), data, nextScan(current), current.GetEtag())
		return err
	})
	if err != nil {
		return fmt.Errorf("set the next scan: %w", err)
	}
	return nil
}
