package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// maxReads is the maximum count of completed reads that are stored for one model.
const maxReads = 10

// PutRead stores the figures of a complete read of a model. It replaces those of the earlier read with the same limit
// policy, bookmark and value of distinct_group, and deletes the oldest beyond maxReads. It fails with ErrNotFound if the
// model's connection is gone.
func (s *Store) PutRead(ctx context.Context, model string, read *pb.CompletedRead) error {
	name, err := resource.ParseModel(model)
	if err != nil {
		return fmt.Errorf("put read: %w", err)
	}
	data, err := proto.Marshal(read)
	if err != nil {
		return fmt.Errorf("put read: %w", err)
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO reads (connection, model, limit_policy, bookmark, distinct_group, complete_time, resource)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (model, limit_policy, bookmark, distinct_group) DO UPDATE SET complete_time = excluded.complete_time, resource = excluded.resource`,
			name.Connection.String(), model, read.GetLimitPolicy(), read.GetBookmarkId(), flag(read.GetDistinctGroup()),
			read.GetCompleteTime().AsTime().UnixMilli(), data)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM reads WHERE model = $1 AND complete_time < (
				SELECT MIN(complete_time) FROM (SELECT complete_time FROM reads WHERE model = $1 ORDER BY complete_time DESC LIMIT $2) AS newest)`,
			model, maxReads)
		return err
	})
	if s.dialect.isOrphan(err) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("put read: %w", err)
	}
	return nil
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

// Reads returns the last complete reads of a model, the newest first: at most one for each limit policy, bookmark and value
// of distinct_group.
func (s *Store) Reads(ctx context.Context, model string) ([]*pb.CompletedRead, error) {
	reads, err := readMessages[pb.CompletedRead](ctx, s.read, `SELECT resource FROM reads WHERE model = $1 ORDER BY complete_time DESC LIMIT $2`, model, maxReads)
	if err != nil {
		return nil, fmt.Errorf("read the completed reads: %w", err)
	}
	return reads, nil
}

// DeleteReads deletes the figures of reads that were complete before the given time.
func (s *Store) DeleteReads(ctx context.Context, before time.Time) error {
	if _, err := s.write.ExecContext(ctx, `DELETE FROM reads WHERE complete_time < $1`, before.UnixMilli()); err != nil {
		return fmt.Errorf("delete completed reads: %w", err)
	}
	return nil
}
