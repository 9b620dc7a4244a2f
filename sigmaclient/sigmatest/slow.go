package sigmatest

import (
	"net/http"
	"time"
)

// Delay lets the server answer after a while.
func Delay(d time.Duration) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		wait(r, d)
		return false
	}
}

// wait gives up on a caller who leaves.
func wait(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// SlowBody lets the server answer, with a body that comes in pieces and a pause
// before each.
func SlowBody(pieces int, pause time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if answer, served := w.(*statusWriter); served {
			answer.slow = func(data []byte) (int, error) {
				for i := range pieces {
					wait(r, pause)
					write(answer.ResponseWriter, string(data[i*len(data)/pieces:(i+1)*len(data)/pieces]))
					flush(answer.ResponseWriter)
				}
				return len(data), nil
			}
		}
		return false
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
