package sigmatest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// Fault answers a request in the server's place and reports true, or reports
// false to let the server answer. It runs after the request was recorded and
// before its token is looked at.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// Matching limits a fault to the requests that match.
func Matching(match func(*http.Request) bool, fault Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request) bool { return match(r) && fault(w, r) }
}

// Path matches requests for a path.
func Path(path string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Path == path }
}

// Times lets a fault happen n times and no more.
func Times(n int, fault Fault) Fault {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	return func(w http.ResponseWriter, r *http.Request) bool {
		select {
		case <-left:
			if fault(w, r) {
				return true
			}
			left <- struct{}{}
		default:
		}
		return false
	}
}

// Sometimes lets a fault happen with a probability, the same for the same seed
// and order of requests.
func Sometimes(seed uint64, probability float64, fault Fault) Fault {
	dice := make(chan *rand.Rand, 1)
	dice <- rand.New(rand.NewPCG(seed, seed))
	return func(w http.ResponseWriter, r *http.Request) bool {
		d := <-dice
		hit := d.Float64() < probability
		dice <- d
		return hit && fault(w, r)
	}
}

// Throttle answers as the proxy before Sigma does: 429 with a page of HTML.
// retryAfter is the header's text; empty leaves the header out, as is common.
func Throttle(retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><title>Access denied | error 1015</title></head><body>You are being rate limited</body></html>")
		return true
	}
}

// Gateway answers 502, 503 or 504 with a page of HTML.
func Gateway(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><body><h1>%d %s</h1></body></html>", status, http.StatusText(status))
		return true
	}
}

// Fail answers with Sigma's own kind of error.
func Fail(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		writeError(w, status, code, message)
		return true
	}
}

// Stall leaves the request without an answer until the caller leaves or
// release is closed.
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

// CutBody breaks the connection off in the middle of an answer.
func CutBody() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"entries":[`)
		panic(http.ErrAbortHandler)
	}
}

// Options are steady habits of an organization.
type Options struct {
	TokenLife time.Duration // 0 means an hour
	// LimitGrants refuses more than one grant a second, as Sigma does.
	LimitGrants bool
	// TersePages leaves out what the contract lets a page leave out.
	TersePages bool
	// RepeatCursor never ends a list.
	RepeatCursor bool
	// PageSize caps the entries of a page. 0 means as asked, up to 1000.
	PageSize int
}
