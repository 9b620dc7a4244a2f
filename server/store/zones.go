package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ZoneOffset is the offset from UTC that the time zone of a Sigma organization has on a
// date, at some time of that day.
type ZoneOffset struct {
	Date    string // such as 2026-04-01
	Seconds int    // east of UTC
}

// Compare sorts offsets by date.
func (o ZoneOffset) Compare(other ZoneOffset) int {
	return cmp.Or(strings.Compare(o.Date, other.Date), cmp.Compare(o.Seconds, other.Seconds))
}

// PutZoneOffsets replaces the offsets that are stored for a connection. It fails with
// ErrNotFound if the connection is gone.
func (s *Store) PutZoneOffsets(ctx context.Context, connection string, offsets []ZoneOffset) error {
	data, err := json.Marshal(offsets)
	if err != nil {
		return fmt.Errorf("put zone offsets: %w", err)
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO zone_offsets (connection, offsets) VALUES ($1, $2)
		ON CONFLICT (connection) DO UPDATE SET offsets = excluded.offsets`, connection, string(data))
	if s.dialect.isOrphan(err) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("put zone offsets: %w", err)
	}
	return nil
}

// ZoneOffsets returns the offsets that are stored for a connection, as they were put.
func (s *Store) ZoneOffsets(ctx context.Context, connection string) (offsets []ZoneOffset, err error) {
	var data string
	err = s.read.QueryRowContext(ctx, `SELECT offsets FROM zone_offsets WHERE connection = $1`, connection).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &offsets)
	}
	if err != nil {
		return nil, fmt.Errorf("read zone offsets: %w", err)
	}
	return offsets, nil
}
