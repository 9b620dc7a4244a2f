package sigmatest

import (
	"net/http"
	"time"
)

// Delay lets the server answer after a while.
func Delay(d time.Duration) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// Stall leaves the request without an answer until the caller leaves, or until
// release is closed: then the server answers. A nil release never is.
func Stall(release <-chan struct{}) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
			return false
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// StallBody sends a part of an answer and then nothing until the caller leaves.
func StallBody() Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		beginBody(w)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}
