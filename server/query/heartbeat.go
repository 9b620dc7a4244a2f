package query

import (
	"sync"
	"time"
)

// defaultHeartbeat is well below the minute after which proxies cut what is idle.
const defaultHeartbeat = 5 * time.Second

// heart carries a stream's messages, one at a time as gRPC asks for, and repeats
// the latest progress whenever nothing was sent for a while. So a caller sees
// that the call lives and what it does, whoever stands in between keeps the
// stream open, and a caller who has gone is noticed.
type heart[M any] struct {
	send  func(M) error
	every time.Duration

	mu       sync.Mutex
	progress M         // the latest
	last     time.Time // when a message was sent
	timer    *time.Timer
	stopped  bool
	err      error // of a heartbeat
}

// newHeart returns a heart that beats from the first progress on, until it is
// stopped.
func newHeart[M any](send func(M) error, every time.Duration) *heart[M] {
	if every <= 0 {
		every = defaultHeartbeat
	}
	return &heart[M]{send: send, every: every}
}

// Tell sends a progress message, and repeats it from then on.
func (h *heart[M]) Tell(progress M) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = progress
	if err := h.sendLocked(progress); err != nil {
		return err
	}
	if h.timer == nil {
		h.timer = time.AfterFunc(h.every, h.beat)
	}
	return nil
}

// Send sends any other message.
func (h *heart[M]) Send(message M) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sendLocked(message)
}

func (h *heart[M]) sendLocked(message M) error {
	if h.err == nil {
		h.err = h.send(message)
		h.last = time.Now()
	}
	return h.err
}

func (h *heart[M]) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped || h.err != nil {
		return
	}
	if quiet := time.Since(h.last); quiet < h.every {
		h.timer.Reset(h.every - quiet)
		return
	}
	// A failure is told by the next Send; the stream's context ends as well.
	if h.sendLocked(h.progress) == nil {
		h.timer.Reset(h.every)
	}
}

// Stop returns once no heartbeat is under way, and none will come: a stream must
// not be used when its handler has returned.
func (h *heart[M]) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.timer != nil {
		h.timer.Stop()
	}
}
