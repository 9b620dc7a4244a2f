package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// addChanges writes n changes to a connection's feed, each in a transaction.
func addChanges(t testing.TB, s *store.Store, connection string, n int) {
	t.Helper()
	for range n {
		page, err := s.ListChanges(t.Context(), connection, store.ChangeCursor{}, 1000)
		check(t, err)
		check(t, put(t.Context(), s, workbook(connection, fmt.Sprint("w", len(page.Changes)), "p", "n"), nil))
	}
}

func newestCursor(t testing.TB, s *store.Store, connection string) store.ChangeCursor {
	t.Helper()
	page, err := s.ListChanges(t.Context(), connection, store.ChangeCursor{}, 1)
	check(t, err)
	return page.Newest
}

// wantProblem makes sure that a feed does not go on from a cursor.
func wantProblem(t testing.TB, s *store.Store, connection string, after store.ChangeCursor, want store.CursorProblem) {
	t.Helper()
	_, err := s.ListChanges(t.Context(), connection, after, 0)
	var refused *store.CursorError
	if !errors.As(err, &refused) || refused.Problem != want {
		t.Errorf("after %d: error %v, want %s", after.Sequence, err, want)
	}
}

func testChangeCursors(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	before := newestCursor(t, s, prod)
	equal(t, []any{before.Sequence, len(before.ChangeID), len(before.Epoch)}, []any{int64(0), 0, 16})
	addChanges(t, s, prod, 5)
	newest := newestCursor(t, s, prod)

	// Each position gives the changes after it, whichever page it is of.
	seen := map[string]bool{string(before.Epoch): true}
	for at := (store.ChangeCursor{}); ; {
		page, err := s.ListChanges(ctx, prod, at, 2)
		check(t, err)
		equal(t, page.Newest, newest)
		if len(page.Changes) == 0 {
			equal(t, page.Next, newest)
			break
		}
		for i, c := range page.Changes {
			cursor, err := store.DecodeChangeCursor(prod, c.GetCursor())
			check(t, err)
			equal(t, cursor.Sequence, at.Sequence+int64(i)+1)
			if id := string(cursor.ChangeID); len(id) != 16 || seen[id] {
				t.Errorf("the change %d has the id %x", cursor.Sequence, id)
			} else {
				seen[id] = true
			}
			rest, err := s.ListChanges(ctx, prod, cursor, 0)
			check(t, err)
			equal(t, int64(len(rest.Changes)), 5-cursor.Sequence)
		}
		at = page.Next
	}

	foreign, other, beyond := newest, newest, newest
	foreign.Epoch = bytes.Repeat([]byte{1}, 16)
	other.ChangeID = bytes.Repeat([]byte{1}, 16)
	beyond.Sequence++
	wantProblem(t, s, prod, foreign, store.EpochMismatch)
	wantProblem(t, s, prod, other, store.HistoryMismatch)
	wantProblem(t, s, prod, beyond, store.BeyondEnd)
	wantProblem(t, s, prod, store.ChangeCursor{Sequence: 6}, store.BeyondEnd)

	// What is no longer stored: first some, then all.
	two := cursorOf(t, s, prod, 2)
	check(t, s.Exec(ctx, `DELETE FROM changes WHERE connection = $1 AND seq <= 2`, prod))
	wantProblem(t, s, prod, before, store.Expired)
	wantProblem(t, s, prod, store.ChangeCursor{Sequence: 1}, store.Expired)
	wantProblem(t, s, prod, two, store.Expired) // nothing is missing after it, and its history is not known
	equal(t, len(changesAfter(t, s, prod, 2, 0)), 3)
	check(t, s.Exec(ctx, `DELETE FROM changes WHERE connection = $1`, prod))
	wantProblem(t, s, prod, store.ChangeCursor{Sequence: 4}, store.Expired)
	wantProblem(t, s, prod, newest, store.Expired)
	page, err := s.ListChanges(ctx, prod, store.ChangeCursor{Sequence: 5}, 0)
	check(t, err)
	equal(t, []any{len(page.Changes), page.Next.Sequence, len(page.Next.ChangeID)}, []any{0, int64(5), 0})
	check(t, put(ctx, s, workbook(prod, "w5", "p", "n"), nil))
	last, err := s.ListChanges(ctx, prod, page.Next, 0)
	check(t, err)
	equal(t, len(last.Changes), 1)

	check(t, s.DeleteConnection(ctx, prod, ""))
	_, err = s.ListChanges(ctx, prod, last.Next, 0)
	wantError(t, err, store.ErrNotFound)
	connect(t, s, prod)
	wantProblem(t, s, prod, last.Next, store.EpochMismatch)
	wantProblem(t, s, prod, before, store.EpochMismatch)
}

// cursorOf returns the cursor of the change with a sequence.
func cursorOf(t testing.TB, s *store.Store, connection string, sequence int64) store.ChangeCursor {
	t.Helper()
	page, err := s.ListChanges(t.Context(), connection, store.ChangeCursor{Sequence: sequence - 1}, 1)
	check(t, err)
	return page.Next
}

// testChangesWithoutIDs: a replica of a version that does not know the ids writes
// connections and changes while replicas of this version read them.
func testChangesWithoutIDs(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	data, err := proto.Marshal(&pb.Change{Sequence: 1})
	check(t, err)
	epochs := map[string]bool{string(newestCursor(t, s, prod).Epoch): true}
	for i := range 3 {
		name := fmt.Sprint(prod, i)
		check(t, s.Exec(ctx, `INSERT INTO connections (name, workspace, sort_key, etag, resource, secrets, change_seq)
			VALUES ($1, $2, $3, $4, $5, $6, 1)`, name, workspace, []byte(name), "e", []byte{}, []byte{}))
		check(t, s.Exec(ctx, `INSERT INTO changes (connection, seq, resource) VALUES ($1, $2, $3)`, name, 1, data))
		newest := newestCursor(t, s, name)
		equal(t, []int{len(newest.Epoch), len(newest.ChangeID)}, []int{16, 16})
		epochs[string(newest.Epoch)] = true
	}
	equal(t, len(epochs), 4)
}

// TestChangesGetIDs: the migration gives ids to what a former version stored, and
// cursors of before the upgrade of another copy do not fit.
func TestChangesGetIDs(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			s := place(t)
			connect(t, s, prod)
			connect(t, s, prod+"2")
			addChanges(t, s, prod, 3)
			former := newestCursor(t, s, prod)
			check(t, s.Former(t.Context()))
			check(t, s.Close())

			s = place(t)
			defer func() { check(t, s.Close()) }()
			ids := map[string]bool{}
			for _, c := range []store.ChangeCursor{cursorOf(t, s, prod, 1), cursorOf(t, s, prod, 2), newestCursor(t, s, prod), newestCursor(t, s, prod+"2")} {
				ids[string(c.Epoch)], ids[string(c.ChangeID)] = true, true
				equal(t, len(c.Epoch), 16)
			}
			equal(t, len(ids), 2+3+1) // epochs, changes, and none before the first change
			equal(t, len(changesAfter(t, s, prod, 0, 0)), 3)
			wantProblem(t, s, prod, former, store.EpochMismatch)
			addChanges(t, s, prod, 1)
			equal(t, newestCursor(t, s, prod).Sequence, int64(4))
			check(t, s.DeleteConnection(t.Context(), prod, ""))
			connect(t, s, prod)
			equal(t, newestCursor(t, s, prod).Sequence, int64(0))
		})
	}
}

func FuzzChangeCursor(f *testing.F) {
	epoch, id := bytes.Repeat([]byte{7}, 16), bytes.Repeat([]byte{9}, 16)
	first := store.ChangeCursor{Epoch: epoch}.Encode(prod)
	full := store.ChangeCursor{Epoch: epoch, Sequence: 12, ChangeID: id}.Encode(prod)
	for _, seed := range []string{"", first, full, full[:len(full)-1], full + "A", full + "AAAA", first + "=", first[:14] + "\n" + first[14:], "\r" + full, "\x00", strings.Repeat("A", 200),
		store.ChangeCursor{Epoch: epoch, Sequence: 12}.Encode(prod), store.ChangeCursor{Epoch: epoch, Sequence: 12, ChangeID: id}.Encode(prod + "2")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cursor, err := store.DecodeChangeCursor(prod, text)
		if err != nil {
			if !errors.Is(err, store.ErrBadCursor) {
				t.Fatal(err)
			}
			return
		}
		if again := cursor.Encode(prod); again != text {
			t.Fatalf("%q decodes to %+v, which encodes to %q", text, cursor, again)
		}
		if len(cursor.Epoch) != 16 || cursor.Sequence < 0 || len(cursor.ChangeID) != 0 && len(cursor.ChangeID) != 16 {
			t.Fatalf("%q decodes to %+v", text, cursor)
		}
		if _, err := store.DecodeChangeCursor(prod+"2", text); !errors.Is(err, store.ErrBadCursor) {
			t.Fatalf("a cursor of another connection decodes: %v", err)
		}
	})
}
