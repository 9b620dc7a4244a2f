package connections

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/warehouse"
)

// inspected is a warehouse that counts how often it is asked for its sessions.
type inspected struct {
	warehouse.Warehouse
	asked int
	err   error
}

func (w *inspected) InspectSession(context.Context) (warehouse.Session, error) {
	w.asked++
	return warehouse.Session{Role: "SYNC"}, w.err
}

// A session is asked for once, and again after a failure and when it is old.
func TestSessionsAreAskedForSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &inspected{err: errors.New("unavailable")}
		link := &Link{Warehouse: w, session: newCached[warehouse.Session](sessionMaxAge)}
		for i, step := range []struct {
			pause time.Duration
			err   error
			asked int
		}{{0, w.err, 1}, {0, nil, 2}, {sessionMaxAge - 1, nil, 2}, {1, nil, 3}, {sessionMaxAge, w.err, 4}, {0, nil, 5}} {
			<-time.After(step.pause)
			w.err = step.err
			session, err := link.Session(t.Context())
			if !errors.Is(err, step.err) || w.asked != step.asked || err == nil && session.Role != "SYNC" {
				t.Errorf("step %d: %v, %v, asked %d times", i+1, session, err, w.asked)
			}
		}
	})
}

func TestAWarehouseWithoutSessions(t *testing.T) {
	link := &Link{Warehouse: struct{ warehouse.Warehouse }{}, session: newCached[warehouse.Session](sessionMaxAge)}
	if session, err := link.Session(t.Context()); session != nil || err != nil {
		t.Errorf("%v, %v", session, err)
	}
}
