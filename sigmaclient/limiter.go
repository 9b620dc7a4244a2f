package sigmaclient

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// minPause and maxPause bound how long an organization is left alone after
	// a throttled call that does not say how long to wait, as is common.
	minPause = 500 * time.Millisecond
	maxPause = 30 * time.Second

	// maxRetryAfter is the longest wait that Sigma may ask for and get. A
	// caller who is asked for more is told so at once.
	maxRetryAfter = time.Minute
)

// limiter bounds the calls that an organization has under way. A throttled
// call halves the bound and pauses all; calls that succeed raise it again, one
// place for every full round. Waiters are served in their order.
type limiter struct {
	mu        sync.Mutex
	most      int
	limit     int
	inFlight  int
	succeeded int // since the limit last changed
	throttled int // in a row
	resume    time.Time
	timer     *time.Timer // wakes waiters at resume
	waiters   list.List   // of chan struct{}
}

func newLimiter(most int) *limiter { return &limiter{most: most, limit: most} }

// acquire waits for a place.
func (l *limiter) acquire(ctx context.Context) error {
	l.mu.Lock()
	if l.waiters.Len() == 0 && l.free() {
		l.inFlight++
		l.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	place := l.waiters.PushBack(ready)
	l.wake()
	l.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-ready: // it was given the place at the same moment
		l.inFlight--
	default:
		l.waiters.Remove(place)
	}
	l.wake()
	return ctx.Err()
}

// release gives the place back.
func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.wake()
}

// success tells that a call was answered without being throttled.
func (l *limiter) success() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.throttled = 0
	l.succeeded++
	if l.limit < l.most && l.succeeded >= l.limit {
		l.limit++
		l.succeeded = 0
		l.wake()
	}
}

// throttle tells that a call was throttled, and for how long Sigma asked to
// wait; 0 means that it did not say.
func (l *limiter) throttle(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait <= 0 {
		wait = min(maxPause, minPause<<min(l.throttled, 6))
		wait += rand.N(wait) / 2 // so that replicas do not return together
	}
	resume := time.Now().Add(min(wait, maxRetryAfter))
	if resume.After(l.resume) {
		l.resume = resume
	}
	l.throttled++
	l.succeeded = 0
	l.limit = max(1, l.limit/2)
	l.wake()
}

func (l *limiter) free() bool {
	return l.inFlight < l.limit && !time.Now().Before(l.resume)
}

// wake lets in as many waiters as there are places, or sees to it that it is
// called again when the pause is over.
func (l *limiter) wake() {
	for l.waiters.Len() > 0 && l.free() {
		close(l.waiters.Remove(l.waiters.Front()).(chan struct{}))
		l.inFlight++
	}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if pause := time.Until(l.resume); l.waiters.Len() > 0 && pause > 0 {
		l.timer = time.AfterFunc(pause, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.wake()
		})
	}
}
