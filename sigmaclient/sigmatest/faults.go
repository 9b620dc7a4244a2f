package sigmatest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault answers a request in the server's place and reports true, or reports
// false to let the server answer. It runs after the request was recorded and
// before its token is looked at, and may edit the organization.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// On limits a fault to requests for a path. A "*" in the path stands for any
// one segment, a "**" at its end for any number.
func On(path string, fault Fault) Fault {
	want := strings.Split(path, "/")
	return func(w http.ResponseWriter, r *http.Request) bool {
		return matches(want, strings.Split(r.URL.Path, "/")) && fault(w, r)
	}
}

func matches(want, got []string) bool {
	for i, segment := range want {
		switch {
		case segment == "**" && i == len(want)-1:
			return true
		case i >= len(got) || segment != "*" && segment != got[i]:
			return false
		}
	}
	return len(got) == len(want)
}

// Times lets a fault have the first n requests that come to it.
func Times(n int, fault Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) <= int64(n) && fault(w, r) }
}

// After keeps a fault from the first n requests that come to it.
func After(n int, fault Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool { return seen.Add(1) > int64(n) && fault(w, r) }
}

// Sometimes lets a fault have a share of the requests. Which ones follows from
// the seed, the request's URL, and how often that was asked for before: not from
// the order of requests that run side by side.
func Sometimes(seed uint64, share float64, fault Fault) Fault {
	var mu sync.Mutex
	asked := map[string]uint64{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		key := r.Method + " " + r.URL.RequestURI()
		mu.Lock()
		asked[key]++
		n := asked[key]
		mu.Unlock()
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", seed, n, key))
		const exact = 1 << 53 // integers of a float64
		return float64(binary.BigEndian.Uint64(sum[:])%exact)/exact < share && fault(w, r)
	}
}

// Throttle answers as the proxy before Sigma does: 429 with a page of HTML.
// retryAfter is the header's text; empty leaves the header out, as is common.
func Throttle(retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		writeHTML(w, http.StatusTooManyRequests, "Access denied | error 1015 | You are being rate limited")
		return true
	}
}

// Gateway answers 502, 503 or 504 with a page of HTML.
func Gateway(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		writeHTML(w, status, http.StatusText(status))
		return true
	}
}

// Fail answers with Sigma's own kind of error.
func Fail(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(status, code, message).write(w)
		return true
	}
}

// Answer answers 200 with a text of JSON, right or wrong.
func Answer(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		writeJSON(w, http.StatusOK, []byte(text))
		return true
	}
}

// Do runs a function, such as an edit, and lets the server answer.
func Do(f func()) Fault {
	return func(http.ResponseWriter, *http.Request) bool {
		f()
		return false
	}
}

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

// CutBody breaks the connection off in the middle of an answer.
func CutBody() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		beginBody(w)
		panic(http.ErrAbortHandler)
	}
}

// Drop breaks the connection off without an answer.
func Drop() Fault {
	return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
}

// HugeBody answers with a list whose one entry is of a size in bytes.
func HugeBody(size int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		write(w, `{"entries":[{"name":"`)
		chunk := strings.Repeat("x", 1<<16)
		for left := size; left > 0; left -= len(chunk) {
			if _, err := io.WriteString(w, chunk[:min(left, len(chunk))]); err != nil {
				panic(http.ErrAbortHandler) // the caller has had enough
			}
		}
		write(w, `"}],"nextPage":null}`)
		return true
	}
}

func beginBody(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "1000")
	write(w, `{"entries":[`)
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func writeHTML(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	write(w, "<!DOCTYPE html><html><head><title>"+title+"</title></head><body>"+title+"</body></html>")
}

// write gives up on a caller who has left, as a server does.
func write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		panic(http.ErrAbortHandler)
	}
}
