package query

import (
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAQuietStreamRepeatsItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []string
		h := newHeart(func(m string) error {
			got = append(got, time.Since(start).String()+" "+m)
			return nil
		}, 5*time.Second)
		do := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		after := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		do(h.Tell("preparing"))
		after(11 * time.Second)
		do(h.Tell("running")) // puts the next one off
		after(6 * time.Second)
		for range 4 { // rows come often enough, so that nothing is repeated
			do(h.Send("rows"))
			after(3 * time.Second)
		}
		after(4 * time.Second)
		h.Stop()
		after(time.Minute)
		want := []string{"0s preparing", "5s preparing", "10s preparing", "11s running", "16s running",
			"17s rows", "20s rows", "23s rows", "26s rows", "31s running"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

// A stream takes one message at a time, and none once its handler has returned.
func TestHeartbeatsDoNotOverlap(t *testing.T) {
	var under, beats atomic.Int64
	enough := make(chan struct{})
	h := newHeart(func(m string) error {
		if under.Add(1) != 1 {
			t.Error("two messages at a time")
		}
		runtime.Gosched()
		under.Add(-1)
		if m == "running" && beats.Add(1) == 100 {
			close(enough)
		}
		return nil
	}, time.Nanosecond)
	if err := h.Tell("running"); err != nil {
		t.Error(err)
	}
	for waiting := true; waiting; {
		select {
		case <-enough:
			waiting = false
		default:
			if err := h.Send("rows"); err != nil {
				t.Error(err)
			}
		}
	}
	h.Stop()
	ended := beats.Load()
	h.beat() // a timer that had fired before
	if beats.Load() != ended || under.Load() != 0 {
		t.Error("a heartbeat after the end")
	}
}

func TestAFailedHeartbeatFailsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, sent := errors.New("gone"), 0
		h := newHeart(func(string) error {
			if sent++; sent > 1 {
				return gone
			}
			return nil
		}, time.Second)
		defer h.Stop()
		if err := h.Tell("running"); err != nil {
			t.Error(err)
		}
		<-time.After(10 * time.Second)
		synctest.Wait()
		if err := h.Send("rows"); !errors.Is(err, gone) || sent != 2 {
			t.Errorf("%v after %d messages", err, sent)
		}
	})
}
