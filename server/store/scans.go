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
	"github.com/sigmasource/sigmasource/server/resource"
)

const (
	// leaseTime is how long a scan belongs to whom has taken it up, unless they
	// keep it. It bounds how long a killed replica's scan stands still. All leases
	// are by the database's clock, so that the replicas' own need not agree.
	leaseTime = 15 * time.Second

	// queueTime is how long a scan that was asked for may wait before it is asked
	// for again.
	queueTime = time.Minute
)

// Claim is a scan that was taken up, once. Nothing can be written under it after
// somebody else has taken the scan up, or the scan is over.
type Claim struct {
	Scan string // the resource name
	Run  int64  // how often the scan was taken up, this time included
}

// Ask tells a queue that there is a scan to take up, within the transaction that
// says so. A nil Ask tells nobody.
type Ask func(ctx context.Context, tx *sql.Tx, scan string) error

func (a Ask) ask(ctx context.Context, tx *sql.Tx, scan string) error {
	if a == nil {
		return nil
	}
	return a(ctx, tx, scan)
}

// StartScan stores a scan that is to be run, unless one runs for its connection
// already: then it returns that one, and false. It fails with ErrNotFound if there
// is no such connection, with ErrExists if there is a scan of that name, and with
// ErrTooManyScans if the workspace would have more than most scans running; 0
// means any number.
func (s *Store) StartScan(ctx context.Context, scan *pb.Scan, most int, ask Ask) (running *pb.Scan, started bool, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		running, started, err = s.startScan(ctx, tx, scan, most, ask)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("start scan: %w", err)
	}
	return running, started, nil
}

func (s *Store) startScan(ctx context.Context, tx *sql.Tx, scan *pb.Scan, most int, ask Ask) (running *pb.Scan, started bool, err error) {
	name, err := resource.ParseScan(scan.GetName())
	if err != nil {
		return nil, false, err
	}
	running = proto.CloneOf(scan)
	running.State = pb.ScanState_SCAN_STATE_RUNNING
	data, err := proto.Marshal(running)
	if err != nil {
		return nil, false, err
	}
	connection, workspace := name.Connection.String(), resource.WorkspaceName(name.Connection.Workspace)
	// So that those who count the workspace's scans count one after the other.
	if err := s.dialect.lock(ctx, tx, "scans of "+workspace); err != nil {
		return nil, false, err
	}
	result, err := tx.ExecContext(ctx, `
		INSERT INTO scans (name, connection, state, resource, lease, first_seq)
		VALUES ($1, $2, $3, $4, -(`+s.dialect.now+` + $5), COALESCE((SELECT change_seq FROM connections WHERE name = $2), 0))
		ON CONFLICT DO NOTHING`, scan.GetName(), connection, int32(running.GetState()), data, queueTime.Milliseconds())
	switch err := changed(result, err); {
	case s.dialect.isOrphan(err):
		return nil, false, ErrNotFound
	case err == nil:
		if err := refuseMoreScans(ctx, tx, workspace, most); err != nil {
			return nil, false, err
		}
		return running, true, ask.ask(ctx, tx, scan.GetName())
	case !errors.Is(err, ErrNotFound):
		return nil, false, err
	}
	running.Reset()
	err = readOne(ctx, tx, running, `SELECT resource FROM scans WHERE connection = $1 AND state = $2`,
		connection, int32(pb.ScanState_SCAN_STATE_RUNNING))
	if errors.Is(err, ErrNotFound) {
		err = ErrExists
	}
	return running, false, err
}

func refuseMoreScans(ctx context.Context, tx *sql.Tx, workspace string, most int) error {
	var running int
	err := tx.QueryRowContext(ctx, `
		SELECT count(*) FROM scans JOIN connections ON connections.name = scans.connection
		WHERE connections.workspace = $1 AND scans.state = $2`,
		workspace, int32(pb.ScanState_SCAN_STATE_RUNNING)).Scan(&running)
	if err == nil && most > 0 && running > most {
		return ErrTooManyScans
	}
	return err
}

// ClaimScan takes a scan up that is to be run and that nobody keeps. It fails with
// ErrScanLost if somebody does, or the scan is over or gone.
func (s *Store) ClaimScan(ctx context.Context, name string) (*pb.Scan, Claim, error) {
	claim := Claim{Scan: name}
	scan := &pb.Scan{}
	var data []byte
	err := s.write.QueryRowContext(ctx, `
		UPDATE scans SET run = run + 1, lease = `+s.dialect.now+` + $2
		WHERE name = $1 AND state = $3 AND lease < `+s.dialect.now+` RETURNING run, resource`,
		name, leaseTime.Milliseconds(), int32(pb.ScanState_SCAN_STATE_RUNNING)).Scan(&claim.Run, &data)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrScanLost
	}
	if err == nil {
		err = proto.Unmarshal(data, scan)
	}
	if err != nil {
		return nil, Claim{}, fmt.Errorf("claim scan: %w", err)
	}
	return scan, claim, nil
}

// KeepScan keeps a scan that was taken up, stores how far it has come, and tells
// whether it is to be cancelled. Whoever has claimed a scan calls it every few
// seconds. It fails with ErrNotFound or ErrScanLost.
func (s *Store) KeepScan(ctx context.Context, claim Claim, scan *pb.Scan) (cancel bool, err error) {
	data, err := proto.Marshal(scan)
	if err != nil {
		return false, fmt.Errorf("encode scan: %w", err)
	}
	var flag int
	err = s.write.QueryRowContext(ctx, `
		UPDATE scans SET resource = $3, lease = `+s.dialect.now+` + $4 WHERE name = $1 AND run = $2 AND state = $5 RETURNING cancel`,
		claim.Scan, claim.Run, data, leaseTime.Milliseconds(), int32(pb.ScanState_SCAN_STATE_RUNNING)).Scan(&flag)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.whyLost(ctx, claim)
	}
	if err != nil {
		return false, fmt.Errorf("keep scan: %w", err)
	}
	return flag != 0, nil
}

// EndScan stores a scan that is over. It fails with ErrNotFound or ErrScanLost.
func (s *Store) EndScan(ctx context.Context, claim Claim, scan *pb.Scan) error {
	data, err := proto.Marshal(scan)
	if err != nil {
		return fmt.Errorf("encode scan: %w", err)
	}
	result, err := s.write.ExecContext(ctx, `UPDATE scans SET state = $3, resource = $4 WHERE name = $1 AND run = $2 AND state = $5`,
		claim.Scan, claim.Run, int32(scan.GetState()), data, int32(pb.ScanState_SCAN_STATE_RUNNING))
	err = changed(result, err)
	if errors.Is(err, ErrNotFound) {
		err = s.whyLost(ctx, claim)
	}
	if err != nil {
		return fmt.Errorf("end scan: %w", err)
	}
	return nil
}

// whyLost tells a scan that is gone, with its connection, from one that is over or
// that somebody else has.
func (s *Store) whyLost(ctx context.Context, claim Claim) error {
	if _, err := s.Scan(ctx, claim.Scan); err != nil {
		return err
	}
	return ErrScanLost
}

// ReleaseScan gives a scan back that is not over, for somebody else to take up at
// once. A claim that is lost already is no error.
func (s *Store) ReleaseScan(ctx context.Context, claim Claim, ask Ask) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE scans SET lease = -(`+s.dialect.now+` + $4) WHERE name = $1 AND run = $2 AND state = $3`,
			claim.Scan, claim.Run, int32(pb.ScanState_SCAN_STATE_RUNNING), queueTime.Milliseconds())
		switch err := changed(result, err); {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		return ask.ask(ctx, tx, claim.Scan)
	})
	if err != nil {
		return fmt.Errorf("release scan: %w", err)
	}
	return nil
}

// RescueScans asks for all scans that are to be run and that nobody keeps or has been
// asked for, and returns how many there are: those whose replica is gone, and those
// of which the queue has lost sight.
func (s *Store) RescueScans(ctx context.Context, ask Ask) (int, error) {
	var lost []string
	err := s.change(ctx, func(tx *sql.Tx) (err error) {
		lost, err = readAll(ctx, tx, func(rows *sql.Rows) (name string, err error) { return name, rows.Scan(&name) }, `
			UPDATE scans SET lease = -(`+s.dialect.now+` + $2) WHERE state = $1 AND ABS(lease) < `+s.dialect.now+` RETURNING name`,
			int32(pb.ScanState_SCAN_STATE_RUNNING), queueTime.Milliseconds())
		if err != nil {
			return err
		}
		for _, name := range lost {
			if err := ask.ask(ctx, tx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("rescue scans: %w", err)
	}
	return len(lost), nil
}

// CancelScan ends a scan that nobody has taken up, and tells those who have that it
// is to end. It returns the scan as it stands. It fails with ErrNotFound.
func (s *Store) CancelScan(ctx context.Context, name string) (*pb.Scan, error) {
	scan := &pb.Scan{}
	err := s.change(ctx, func(tx *sql.Tx) error {
		scan.Reset()
		var data []byte
		var kept int
		err := tx.QueryRowContext(ctx, `
			UPDATE scans SET cancel = 1 WHERE name = $1 AND state = $2
			RETURNING resource, CASE WHEN lease >= `+s.dialect.now+` THEN 1 ELSE 0 END`,
			name, int32(pb.ScanState_SCAN_STATE_RUNNING)).Scan(&data, &kept)
		if errors.Is(err, sql.ErrNoRows) {
			return readOne(ctx, tx, scan, `SELECT resource FROM scans WHERE name = $1`, name)
		}
		if err != nil {
			return err
		}
		if err := proto.Unmarshal(data, scan); err != nil || kept != 0 {
			return err
		}
		scan.State, scan.Phase, scan.EndTime = pb.ScanState_SCAN_STATE_CANCELLED, pb.ScanPhase_SCAN_PHASE_DONE, timestamppb.Now()
		if data, err = proto.Marshal(scan); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE scans SET state = $2, resource = $3 WHERE name = $1`, name, int32(scan.GetState()), data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancel scan: %w", err)
	}
	return scan, nil
}

// Scan returns a scan. It fails with ErrNotFound.
func (s *Store) Scan(ctx context.Context, name string) (*pb.Scan, error) {
	scan := &pb.Scan{}
	if err := readOne(ctx, s.read, scan, `SELECT resource FROM scans WHERE name = $1`, name); err != nil {
		return nil, fmt.Errorf("read scan: %w", err)
	}
	return scan, nil
}

// ScanChanges calls each with every change that a scan has made so far, in order.
func (s *Store) ScanChanges(ctx context.Context, name string, each func(*pb.Change)) error {
	parsed, err := resource.ParseScan(name)
	if err != nil {
		return fmt.Errorf("read a scan's changes: %w", err)
	}
	var after int64
	if err := s.read.QueryRowContext(ctx, `SELECT first_seq FROM scans WHERE name = $1`, name).Scan(&after); err != nil {
		return fmt.Errorf("read a scan's changes: %w", err)
	}
	for {
		changes, err := readMessages[pb.Change](ctx, s.read, `SELECT resource FROM changes WHERE connection = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
			parsed.Connection.String(), after, maxPageSize)
		if err != nil {
			return fmt.Errorf("read a scan's changes: %w", err)
		}
		if len(changes) == 0 {
			return nil
		}
		for _, change := range changes {
			if after = change.GetSequence(); change.GetScan() == name {
				each(change)
			}
		}
	}
}

// ListScans returns a page of a connection's scans, the newest first, and the token
// of the next page, empty after the last. It fails with ErrBadPageToken.
func (s *Store) ListScans(ctx context.Context, parent string, page Page) (scans []*pb.Scan, next string, err error) {
	list := listKey("scans", parent)
	before, err := decodeToken(list, page.Token)
	if err != nil {
		return nil, "", err
	}
	if len(before) == 0 {
		before = []byte(parent + "/scans/~") // after every name
	}
	size := page.size()
	// Names begin with the time, and so order scans by their age.
	scans, err = readMessages[pb.Scan](ctx, s.read, `
		SELECT resource FROM scans WHERE connection = $1 AND name < $2 ORDER BY name DESC LIMIT $3`, parent, string(before), size+1)
	if err != nil {
		return nil, "", fmt.Errorf("list scans: %w", err)
	}
	if len(scans) > size {
		scans = scans[:size]
		next = encodeToken(list, []byte(scans[size-1].GetName()))
	}
	return scans, next, nil
}
