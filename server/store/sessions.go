package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// Session is a read session as it is stored.
type Session struct {
	Resource *pb.ReadSession
	Lease    time.Duration // for how long somebody looks after a running session, from its creation on
	Lapsed   bool          // that is over, by the database's clock, as the replicas' own need not agree
	Manifest []byte        // how to find the rows; the store does not read it
	Key      []byte        // a secret of the session's own, sealed in the database
}

// SessionPart is a part of a session's rows that is there to be read.
type SessionPart struct {
	Rows  int64
	Bytes int64
}

// sessionKeyOf is what a session's key is bound to.
func sessionKeyOf(name string) string { return name + "\x00key" }

// CreateSession stores a new session. It fails with ErrNotFound if there is no such
// connection, and with ErrExists if there is a session of that name.
func (s *Store) CreateSession(ctx context.Context, session *Session) error {
	name, err := resource.ParseSession(session.Resource.GetName())
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	data, err := proto.Marshal(session.Resource)
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	sealed, err := s.sealer.seal(sessionKeyOf(session.Resource.GetName()), session.Key)
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	result, err := s.write.ExecContext(ctx, `
		INSERT INTO sessions (name, id, connection, state, expire_time, lease_time, resource, manifest, sealed_key)
		VALUES ($1, $2, $3, $4, $5, `+s.dialect.now+` + $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		session.Resource.GetName(), name.ID, name.Connection.String(), int32(session.Resource.GetState()),
		session.Resource.GetExpireTime().AsTime().UnixMilli(), session.Lease.Milliseconds(), data, notNull(session.Manifest), sealed)
	if s.dialect.isOrphan(err) {
		err = ErrNotFound
	} else if err = changed(result, err); errors.Is(err, ErrNotFound) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	return nil
}

func notNull(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// Session returns a session. It fails with ErrNotFound, and with ErrSealed if its
// key does not open.
func (s *Store) Session(ctx context.Context, name string) (*Session, error) {
	var data, manifest, sealed []byte
	var lapsed int
	err := s.read.QueryRowContext(ctx, `
		SELECT resource, manifest, sealed_key, CASE WHEN lease_time < `+s.dialect.now+` THEN 1 ELSE 0 END FROM sessions WHERE name = $1`, name).
		Scan(&data, &manifest, &sealed, &lapsed)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	session := &Session{Resource: &pb.ReadSession{}, Lapsed: lapsed != 0, Manifest: manifest}
	if err := proto.Unmarshal(data, session.Resource); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if session.Key, err = s.sealer.open(sessionKeyOf(name), sealed); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	return session, nil
}

// UpdateSession replaces a running session's resource, and so its state; its parts,
// its manifest and its key stay. It fails with ErrNotFound if there is none of that
// name, or if it does not run any more.
func (s *Store) UpdateSession(ctx context.Context, session *pb.ReadSession) error {
	data, err := proto.Marshal(session)
	if err != nil {
		return fmt.Errorf("update session: %w", err)
	}
	result, err := s.write.ExecContext(ctx, `UPDATE sessions SET state = $2, resource = $3 WHERE name = $1 AND state = $4`,
		session.GetName(), int32(session.GetState()), data, int32(pb.ReadSessionState_READ_SESSION_STATE_RUNNING))
	if err := changed(result, err); err != nil {
		return fmt.Errorf("update session: %w", err)
	}
	return nil
}

// ExtendSession says that parts, from a number on, are there to be read, and for how
// long from now on somebody looks after the session. It fails with ErrNotFound if
// there is none of that name.
func (s *Store) ExtendSession(ctx context.Context, name string, first int, parts []SessionPart, lease time.Duration) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE sessions SET lease_time = `+s.dialect.now+` + $2 WHERE name = $1`, name, lease.Milliseconds())
		if err := changed(result, err); err != nil {
			return err
		}
		for i, part := range parts {
			if _, err := tx.ExecContext(ctx, `INSERT INTO session_parts (session, part, row_count, byte_count) VALUES ($1, $2, $3, $4)`,
				name, first+i, part.Rows, part.Bytes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("extend session: %w", err)
	}
	return nil
}

// SessionParts returns the parts of a session that are there, from a number on, in
// their order.
func (s *Store) SessionParts(ctx context.Context, name string, from int) ([]SessionPart, error) {
	parts, err := readAll(ctx, s.read, func(rows *sql.Rows) (part SessionPart, err error) {
		return part, rows.Scan(&part.Rows, &part.Bytes)
	}, `SELECT row_count, byte_count FROM session_parts WHERE session = $1 AND part >= $2 ORDER BY part`, name, from)
	if err != nil {
		return nil, fmt.Errorf("read parts of a session: %w", err)
	}
	return parts, nil
}

// DeleteSession deletes a session. It fails with ErrNotFound.
func (s *Store) DeleteSession(ctx context.Context, name string) error {
	result, err := s.write.ExecContext(ctx, `DELETE FROM sessions WHERE name = $1`, name)
	if err := changed(result, err); err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}

// SessionLives reports whether there is a session of that id which has not expired
// by then.
func (s *Store) SessionLives(ctx context.Context, id string, then time.Time) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM sessions WHERE id = $1 AND expire_time > $2`, id, then.UnixMilli()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for a session: %w", err)
	}
	return n > 0, nil
}

// ForgetSessions deletes the sessions that had expired by then.
func (s *Store) ForgetSessions(ctx context.Context, then time.Time) error {
	if _, err := s.write.ExecContext(ctx, `DELETE FROM sessions WHERE expire_time <= $1`, then.UnixMilli()); err != nil {
		return fmt.Errorf("forget sessions: %w", err)
	}
	return nil
}
