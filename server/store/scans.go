package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// StartScan stores a scan that runs, unless one runs for its connection already:
// then it returns that one, and false. It fails with ErrNotFound if there is no
// such connection, with ErrExists if there is a scan of that name, and with
// ErrTooManyScans if the workspace would have more than most scans running; 0
// means any number.
func (s *Store) StartScan(ctx context.Context, scan *pb.Scan, most int) (running *pb.Scan, started bool, err error) {
	name, err := resource.ParseScan(scan.GetName())
	if err != nil {
		return nil, false, err
	}
	running = proto.CloneOf(scan)
	running.State = pb.ScanState_SCAN_STATE_RUNNING
	data, err := proto.Marshal(running)
	if err != nil {
		return nil, false, fmt.Errorf("encode scan: %w", err)
	}
	connection := name.Connection.String()
	err = s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `
			INSERT INTO scans (name, connection, state, resource) VALUES ($1, $2, $3, $4)
			ON CONFLICT DO NOTHING`, scan.GetName(), connection, int32(running.GetState()), data)
		switch err := changed(result, err); {
		case s.dialect.isOrphan(err):
			return ErrNotFound
		case err == nil:
			started = true
			return refuseMoreScans(ctx, tx, resource.WorkspaceName(name.Connection.Workspace), most)
		case !errors.Is(err, ErrNotFound):
			return err
		}
		running.Reset()
		err = readOne(ctx, tx, running, `SELECT resource FROM scans WHERE connection = $1 AND state = $2`,
			connection, int32(pb.ScanState_SCAN_STATE_RUNNING))
		if errors.Is(err, ErrNotFound) {
			return ErrExists
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("start scan: %w", err)
	}
	return running, started, nil
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

// UpdateScan replaces a scan that runs. It fails with ErrNotFound, or with
// ErrScanOver if the stored scan does not run any more.
func (s *Store) UpdateScan(ctx context.Context, scan *pb.Scan) error {
	data, err := proto.Marshal(scan)
	if err != nil {
		return fmt.Errorf("encode scan: %w", err)
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE scans SET state = $2, resource = $3 WHERE name = $1 AND state = $4`,
			scan.GetName(), int32(scan.GetState()), data, int32(pb.ScanState_SCAN_STATE_RUNNING))
		err = changed(result, err)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := readOne(ctx, tx, &pb.Scan{}, `SELECT resource FROM scans WHERE name = $1`, scan.GetName()); err != nil {
			return err
		}
		return ErrScanOver
	})
	if err != nil {
		return fmt.Errorf("update scan: %w", err)
	}
	return nil
}

// Scan returns a scan. It fails with ErrNotFound.
func (s *Store) Scan(ctx context.Context, name string) (*pb.Scan, error) {
	scan := &pb.Scan{}
	if err := readOne(ctx, s.read, scan, `SELECT resource FROM scans WHERE name = $1`, name); err != nil {
		return nil, fmt.Errorf("read scan: %w", err)
	}
	return scan, nil
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
	scans, err = readAll(ctx, s.read, readScan, `
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

func readScan(rows *sql.Rows) (*pb.Scan, error) {
	var data []byte
	if err := rows.Scan(&data); err != nil {
		return nil, err
	}
	scan := &pb.Scan{}
	return scan, proto.Unmarshal(data, scan)
}

// InterruptScans ends all scans that run as FAILED with the given error, and
// returns how many there were. It is for the start of the process, when the
// process that ran them is gone.
func (s *Store) InterruptScans(ctx context.Context, problem *pb.Problem) (int, error) {
	interrupted := 0
	err := s.change(ctx, func(tx *sql.Tx) error {
		running, err := readAll(ctx, tx, readScan, `SELECT resource FROM scans WHERE state = $1`, int32(pb.ScanState_SCAN_STATE_RUNNING))
		if err != nil {
			return err
		}
		for _, scan := range running {
			scan.State = pb.ScanState_SCAN_STATE_FAILED
			scan.Phase = pb.ScanPhase_SCAN_PHASE_DONE
			scan.EndTime = timestamppb.Now()
			scan.Error = problem
			data, err := proto.Marshal(scan)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE scans SET state = $2, resource = $3 WHERE name = $1`,
				scan.GetName(), int32(scan.GetState()), data); err != nil {
				return err
			}
		}
		interrupted = len(running)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("interrupt scans: %w", err)
	}
	return interrupted, nil
}
