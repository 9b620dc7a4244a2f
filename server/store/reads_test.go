package store_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// testReads: the store keeps the last read of each kind, and no more kinds than its maximum.
func testReads(t *testing.T, open opener) {
	s := open(t)
	ctx := t.Context()
	connect(t, s, prod)
	model := prod + "/models/w.e"
	start := time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)
	read := func(minute int, policy, bookmark string, distinct bool, rows int64) *pb.CompletedRead {
		return &pb.CompletedRead{
			RowCount: rows, LimitPolicy: policy, BookmarkId: bookmark, DistinctGroup: distinct,
			CompleteTime: timestamppb.New(start.Add(time.Duration(minute) * time.Minute)),
		}
	}
	kinds := []*pb.CompletedRead{
		read(0, "", "", false, 1), read(1, "", "b1", false, 2), read(2, "KEEP_AMBIGUOUS", "", false, 3), read(3, "", "", true, 4),
	}
	for _, r := range kinds {
		check(t, s.PutRead(ctx, model, r))
	}
	check(t, s.PutRead(ctx, prod+"/models/w.other", read(9, "", "", false, 99)))
	newer := read(4, "", "", false, 5)
	check(t, s.PutRead(ctx, model, newer))
	got, err := s.Reads(ctx, model)
	check(t, err)
	want := []*pb.CompletedRead{newer, kinds[3], kinds[2], kinds[1]}
	if len(got) != len(want) {
		t.Fatalf("the store has %d reads, want %d", len(got), len(want))
	}
	for i := range want {
		equal(t, got[i], want[i])
	}

	for i := range 30 {
		check(t, s.PutRead(ctx, model, read(10+i, "", fmt.Sprintf("c%d", i), false, int64(i))))
	}
	if got, err = s.Reads(ctx, model); err != nil || len(got) != 10 || got[0].GetBookmarkId() != "c29" || got[9].GetBookmarkId() != "c20" {
		t.Errorf("after 30 bookmarks the store has %v: %v", got, err)
	}
	check(t, s.DeleteReads(ctx, start.Add(35*time.Minute)))
	if got, err = s.Reads(ctx, model); err != nil || len(got) != 5 {
		t.Errorf("after the deletion the store has %v: %v", got, err)
	}

	wantError(t, s.PutRead(ctx, "workspaces/acme/connections/none/models/w.e", newer), store.ErrNotFound)
	check(t, s.DeleteConnection(ctx, prod, ""))
	if got, err = s.Reads(ctx, model); err != nil || len(got) != 0 {
		t.Errorf("after the connection's deletion the store has %v: %v", got, err)
	}
}
