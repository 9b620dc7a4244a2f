package store

import "context"

// ExpireLease brings a scan to where it is once nobody has kept it for long.
func (s *Store) ExpireLease(ctx context.Context, scan string) error {
	return changed(s.write.ExecContext(ctx, `UPDATE scans SET lease = 1 WHERE name = $1`, scan))
}
