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
	pauses    int // that began, ever
	throttled int // pauses in a row, no call having succeeded after one
	resume    time.Time
	timer     *time.Timer // wakes waiters at resume
	waiters   list.List   // of *waiter
}

// place is one of the limiter's places. The calls that are under way when Sigma
// begins to throttle are refused together: they count as one sign, so a place
// remembers how many pauses there had been when it was taken.
type place struct{ pauses int }

type waiter struct {
	ready chan struct{}
	place place
}

func newLimiter(most int) *limiter { return &limiter{most: most, limit: most} }

// acquire waits for a place.
func (l *limiter) acquire(ctx context.Context) (place, error) {
	l.mu.Lock()
	if l.waiters.Len() == 0 && l.free() {
		l.inFlight++
		defer l.mu.Unlock()
		return place{pauses: l.pauses}, nil
	}
	w := &waiter{ready: make(chan struct{})}
	turn := l.waiters.PushBack(w)
	l.wake()
	l.mu.Unlock()
	select {
	case <-w.ready:
		return w.place, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // it was given the place at the same moment
		l.inFlight--
	default:
		l.waiters.Remove(turn)
	}
	l.wake()
	return place{}, ctx.Err()
}

// release gives a place back.
func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.wake()
}

// success tells that a call was answered without being throttled.
func (l *limiter) success(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.pauses != l.pauses { // it says nothing about the time since the pause
		return
	}
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
func (l *limiter) throttle(p place, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := p.pauses != l.pauses // a sign of what is known already
	if again && wait <= 0 {
		return
	}
	if wait <= 0 {
		wait = min(maxPause, minPause<<min(l.throttled, 6))
		wait += rand.N(wait) / 2 // so that replicas do not return together
	}
	if resume := time.Now().Add(min(wait, maxRetryAfter)); resume.After(l.resume) {
		l.resume = resume
	}
	if !again {
		l.pauses++
		l.throttled++
		l.succeeded = 0
		l.limit = max(1, l.limit/2)
	}
	l.wake()
}

// resumption is when the last pause ends or ended.
func (l *limiter) resumption() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resume
}

func (l *limiter) free() bool {
	return l.inFlight < l.limit && !time.Now().Before(l.resume)
}

// wake lets in as many waiters as there are places, and sees to it that it is
// called again when a pause is over. Waiters or not: the timer keeps a limiter
// alive that no client has any more, so that the next client pauses too.
func (l *limiter) wake() {
	for l.waiters.Len() > 0 && l.free() {
		w := l.waiters.Remove(l.waiters.Front()).(*waiter)
		w.place = place{pauses: l.pauses}
		close(w.ready)
		l.inFlight++
	}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if pause := time.Until(l.resume); pause > 0 {
		l.timer = time.AfterFunc(pause, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.wake()
		})
	}
}
