package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// changeIDSize is the length of a feed's epoch and of a change's id, in bytes.
const changeIDSize = 16

// ChangeCursor is a position in the change feed of a connection: after the change
// with its sequence. The zero value is the position before the first change of any
// feed.
type ChangeCursor struct {
	// Epoch is the feed's: a connection that is created anew has another. Empty means
	// that it is not compared.
	Epoch []byte
	// Sequence is that of the last change before the position, 0 before the first.
	Sequence int64
	// ChangeID is the id of the change with the sequence. Every change has a random
	// id, so that a feed that was restored from a backup and went on in another way
	// has another one there. Empty means that it is not compared.
	ChangeID []byte
}

// Encode returns the cursor as an opaque text for callers, which is good for the
// connection only.
func (c ChangeCursor) Encode(connection string) string {
	data := bytes.Clone(c.Epoch)
	data = binary.BigEndian.AppendUint64(data, uint64(c.Sequence))
	return encodeToken(feedKey(connection), append(data, c.ChangeID...))
}

// DecodeChangeCursor returns the cursor of a text that Encode returned for the
// connection. It fails with ErrBadCursor on every other text.
func DecodeChangeCursor(connection, text string) (ChangeCursor, error) {
	const withoutID = changeIDSize + 8
	data, err := decodeToken(feedKey(connection), text)
	if err != nil || len(data) != withoutID && len(data) != withoutID+changeIDSize {
		return ChangeCursor{}, ErrBadCursor
	}
	sequence := binary.BigEndian.Uint64(data[changeIDSize:])
	if sequence > math.MaxInt64 || sequence == 0 && len(data) > withoutID {
		return ChangeCursor{}, ErrBadCursor
	}
	return ChangeCursor{Epoch: data[:changeIDSize], Sequence: int64(sequence), ChangeID: data[withoutID:]}, nil
}

func feedKey(connection string) []byte { return listKey("changes", connection) }

// CursorProblem is why a feed does not go on from a cursor.
type CursorProblem int

// The problems of a cursor.
const (
	// EpochMismatch: the cursor is of an earlier connection of the same name.
	EpochMismatch CursorProblem = iota + 1
	// HistoryMismatch: another change is stored at the cursor's sequence.
	HistoryMismatch
	// BeyondEnd: the cursor lies after the newest change.
	BeyondEnd
	// Expired: changes after the cursor, or the cursor's own, are no longer stored.
	Expired
)

// String returns the problem in words.
func (p CursorProblem) String() string {
	switch p {
	case EpochMismatch:
		return "another epoch"
	case HistoryMismatch:
		return "another change at the sequence"
	case BeyondEnd:
		return "after the newest change"
	case Expired:
		return "changes after it are no longer stored"
	}
	return fmt.Sprintf("CursorProblem(%d)", int(p))
}

// CursorError is the error of a cursor that is well-formed and that the feed does not
// go on from.
type CursorError struct {
	Problem CursorProblem
	Newest  ChangeCursor // the position after the newest change
	Oldest  int64        // the sequence of the oldest change that is stored; 0 if there is none
}

// Error implements error.
func (e *CursorError) Error() string {
	return fmt.Sprintf("store: change cursor: %s", e.Problem)
}

// ChangePage is a page of a change feed.
type ChangePage struct {
	Changes []*pb.Change // in order, each with its cursor
	Next    ChangeCursor // the position after the last change of the page
	Newest  ChangeCursor // the position after the newest change of the feed
}

// feed is the state of a connection's change feed at one moment.
type feed struct {
	newest ChangeCursor
	oldest sql.NullInt64
	atID   []byte // the id of the change at the cursor's sequence; nil if none is stored
}

// check returns a CursorError unless the feed goes on from the cursor without a gap.
func (f *feed) check(c ChangeCursor) error {
	oldest := f.newest.Sequence + 1
	if f.oldest.Valid {
		oldest = f.oldest.Int64
	}
	var problem CursorProblem
	switch {
	case len(c.Epoch) > 0 && !bytes.Equal(c.Epoch, f.newest.Epoch):
		problem = EpochMismatch
	case c.Sequence > f.newest.Sequence:
		problem = BeyondEnd
	case c.Sequence < oldest-1, len(c.ChangeID) > 0 && f.atID == nil:
		problem = Expired
	case len(c.ChangeID) > 0 && !bytes.Equal(c.ChangeID, f.atID):
		problem = HistoryMismatch
	default:
		return nil
	}
	return &CursorError{Problem: problem, Newest: f.newest, Oldest: f.oldest.Int64}
}

// listChanges reads a feed and a page of it in one statement, and so as they are at
// one moment: a connection that is created anew in between must not add its changes
// to a page of the former.
const listChanges = `
	SELECT connections.change_epoch, connections.change_seq,
		(SELECT MIN(seq) FROM changes WHERE connection = $1),
		(SELECT id FROM changes WHERE connection = $1 AND seq = connections.change_seq),
		(SELECT id FROM changes WHERE connection = $1 AND seq = $2),
		page.seq, page.id, page.resource
	FROM connections LEFT JOIN
		(SELECT seq, id, resource FROM changes WHERE connection = $1 AND seq > $2 ORDER BY seq LIMIT $3) AS page ON TRUE
	WHERE connections.name = $1 ORDER BY page.seq`

// ListChanges returns the changes of a connection after a cursor, at most as many as
// a page of that size has. It fails with a *CursorError where the feed does not go on
// from the cursor without a gap, and with ErrNotFound if there is no connection.
func (s *Store) ListChanges(ctx context.Context, connection string, after ChangeCursor, size int32) (*ChangePage, error) {
	page, err := s.listChanges(ctx, connection, after, size)
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	return page, nil
}

func (s *Store) listChanges(ctx context.Context, connection string, after ChangeCursor, size int32) (*ChangePage, error) {
	var f *feed
	page := &ChangePage{}
	_, err := readAll(ctx, s.read, func(rows *sql.Rows) (struct{}, error) {
		f = &feed{}
		var seq sql.NullInt64
		var id, resource []byte
		err := rows.Scan(&f.newest.Epoch, &f.newest.Sequence, &f.oldest, &f.newest.ChangeID, &f.atID, &seq, &id, &resource)
		if err != nil || !seq.Valid {
			return struct{}{}, err
		}
		change := &pb.Change{}
		if err := proto.Unmarshal(resource, change); err != nil {
			return struct{}{}, err
		}
		page.Next = ChangeCursor{Epoch: f.newest.Epoch, Sequence: seq.Int64, ChangeID: id}
		change.Cursor = page.Next.Encode(connection)
		page.Changes = append(page.Changes, change)
		return struct{}{}, nil
	}, listChanges, connection, after.Sequence, Page{Size: size}.size())
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, ErrNotFound
	}
	if err := f.check(after); err != nil {
		return nil, err
	}
	page.Newest = f.newest
	if len(page.Changes) == 0 {
		page.Next = ChangeCursor{Epoch: f.newest.Epoch, Sequence: after.Sequence, ChangeID: f.atID}
	}
	return page, nil
}
