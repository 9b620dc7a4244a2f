package sigmatest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

// Do runs a function, such as an edit, and lets the server answer.
func Do(f func()) Fault {
	return func(http.ResponseWriter, *http.Request) bool {
		f()
		return false
	}
}
