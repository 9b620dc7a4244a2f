package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testZoneOffsets(t *testing.T, open opener) {
	s := open(t)
	connection, err := s.CreateConnection(t.Context(), &pb.Connection{Name: prod}, nil, store.Request{})
	check(t, err)
	winter, summer := store.ZoneOffset{Date: "2026-01-15", Seconds: -18000}, store.ZoneOffset{Date: "2026-07-15", Seconds: -14400}
	for _, want := range [][]store.ZoneOffset{nil, {winter}, {winter, summer}, {summer}} {
		if want != nil {
			check(t, s.PutZoneOffsets(t.Context(), prod, want))
		}
		got, err := s.ZoneOffsets(t.Context(), prod)
		check(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	wantError(t, s.PutZoneOffsets(t.Context(), "workspaces/acme/connections/none", []store.ZoneOffset{winter}), store.ErrNotFound)
	check(t, s.DeleteConnection(t.Context(), prod, connection.GetEtag()))
	if got, err := s.ZoneOffsets(t.Context(), prod); err != nil || got != nil {
		t.Errorf("after the connection is deleted: %v, %v", got, err)
	}
}
