package store_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func newSession(name string) *store.Session {
	now := time.Now().Truncate(time.Millisecond)
	return &store.Session{
		Resource: &pb.ReadSession{Name: name, State: pb.ReadSessionState_READ_SESSION_STATE_RUNNING, ExpireTime: timestamppb.New(now.Add(time.Hour))},
		Lease:    time.Minute, Manifest: []byte(`{"schema":"x"}`), Key: []byte("a key of thirty-two bytes, or so."),
	}
}

func testSessions(t *testing.T, open opener) {
	s := open(t)
	_, err := s.CreateConnection(t.Context(), &pb.Connection{Name: prod}, nil, store.Request{})
	check(t, err)
	now := time.Now().Truncate(time.Millisecond)
	session := newSession(prod + "/sessions/s1")
	check(t, s.CreateSession(t.Context(), session))
	wantError(t, s.CreateSession(t.Context(), session), store.ErrExists)
	orphan := &store.Session{Resource: &pb.ReadSession{Name: "workspaces/acme/connections/none/sessions/s2"}}
	wantError(t, s.CreateSession(t.Context(), orphan), store.ErrNotFound)

	got, err := s.Session(t.Context(), session.Resource.GetName())
	check(t, err)
	equal(t, got.Resource, session.Resource)
	if string(got.Key) != string(session.Key) || string(got.Manifest) != string(session.Manifest) || got.Lapsed {
		t.Errorf("the session is %v", got)
	}
	_, err = s.Session(t.Context(), prod+"/sessions/none")
	wantError(t, err, store.ErrNotFound)

	parts := []store.SessionPart{{Rows: 3, Bytes: 30}, {Rows: 4, Bytes: 40}, {Rows: 5, Bytes: 50}}
	check(t, s.ExtendSession(t.Context(), session.Resource.GetName(), 0, parts[:2], time.Minute))
	check(t, s.ExtendSession(t.Context(), session.Resource.GetName(), 2, parts[2:], -time.Millisecond))
	for from := range 4 {
		there, err := s.SessionParts(t.Context(), session.Resource.GetName(), from)
		check(t, err)
		if len(there) != 3-from || from < 3 && there[0] != parts[from] {
			t.Errorf("from %d on there are %v", from, there)
		}
	}
	if got, err = s.Session(t.Context(), session.Resource.GetName()); err != nil || !got.Lapsed {
		t.Errorf("the session is %v: %v", got, err)
	}
	check(t, s.ExtendSession(t.Context(), session.Resource.GetName(), 3, nil, time.Minute))
	if got, err = s.Session(t.Context(), session.Resource.GetName()); err != nil || got.Lapsed {
		t.Errorf("the session is %v: %v", got, err)
	}
	wantError(t, s.ExtendSession(t.Context(), prod+"/sessions/none", 0, parts, time.Minute), store.ErrNotFound)

	session.Resource.State = pb.ReadSessionState_READ_SESSION_STATE_COMPLETE
	check(t, s.UpdateSession(t.Context(), session.Resource))
	wantError(t, s.UpdateSession(t.Context(), session.Resource), store.ErrNotFound) // it does not run any more

	for then, want := range map[time.Time]bool{now: true, now.Add(time.Hour): false} {
		lives, err := s.SessionLives(t.Context(), "s1", then)
		check(t, err)
		if lives != want {
			t.Errorf("at %s it lives: %v", then.Sub(now), lives)
		}
	}
	check(t, s.ForgetSessions(t.Context(), now))
	_, err = s.Session(t.Context(), session.Resource.GetName())
	check(t, err)
	check(t, s.ForgetSessions(t.Context(), now.Add(time.Hour)))
	_, err = s.Session(t.Context(), session.Resource.GetName())
	wantError(t, err, store.ErrNotFound)
	if left, err := s.SessionParts(t.Context(), session.Resource.GetName(), 0); err != nil || len(left) != 0 {
		t.Errorf("its parts stayed: %v, %v", left, err)
	}

	session.Resource.State = pb.ReadSessionState_READ_SESSION_STATE_RUNNING
	check(t, s.CreateSession(t.Context(), session))
	check(t, s.DeleteConnection(t.Context(), prod, ""))
	wantError(t, s.DeleteSession(t.Context(), session.Resource.GetName()), store.ErrNotFound)
}
