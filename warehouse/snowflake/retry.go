package snowflake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// The retry policy of downloads is the same for each chunk, whether the driver or this
// package sends the request: the transport ends the driver's request at its first
// failure.
//
// A request without a response, or with a status that asks for patience, is repeated
// after an exponential backoff, or later where Retry-After says so. A download whose
// body fails is repeated at once: the store does respond.
const (
	maxRefusals = 6 // requests of a chunk without a body
	maxBodies   = 3 // bodies of a chunk that fail

	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 16 * time.Second
	// waitBudget bounds all backoffs of a chunk together.
	waitBudget = time.Minute
)

// refusedError is the request of a chunk that got no body: there was no response, or
// its status is another one than 200.
type refusedError struct {
	status     int           // 0: there was no response
	retryAfter time.Duration // as the response asks; 0: not at all
	err        error         // why there was no response; without the address
}

func (e *refusedError) Error() string {
	if e.status == 0 {
		return "snowflake: the download of a chunk gets no response: " + e.err.Error()
	}
	return fmt.Sprintf("snowflake: the download of a chunk answers with status %d", e.status)
}

func (e *refusedError) Unwrap() error { return e.err }

// isTransient reports whether a later request may get the chunk.
func (e *refusedError) isTransient() bool {
	switch {
	case e.status == 0:
		return !errors.Is(e.err, errRedirected)
	case e.status == http.StatusTooManyRequests, e.status == http.StatusRequestTimeout:
		return true
	}
	return e.status >= 500
}

// refusedBy returns the error of a response of another status than 200.
func refusedBy(response *http.Response) *refusedError {
	e := &refusedError{status: response.StatusCode}
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		e.retryAfter = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		e.retryAfter = max(0, time.Until(at))
	}
	return e
}

// retries counts the failed downloads of a chunk. The zero value is ready for use.
type retries struct {
	bodies, refusals int
	waited           time.Duration
}

// next returns for how long to wait before the next download, or false where there is
// none.
func (r *retries) next(err error) (wait time.Duration, again bool) {
	var refused *refusedError
	if !errors.As(err, &refused) || !refused.isTransient() {
		r.bodies++
		return 0, r.bodies < maxBodies
	}
	wait = min(firstBackoff<<r.refusals, maxBackoff)
	wait = max(wait/2+rand.N(wait/2), refused.retryAfter)
	r.refusals++
	r.waited += wait
	return wait, r.refusals < maxRefusals && r.waited <= waitBudget
}

// sleep waits, or returns the context's error where that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
