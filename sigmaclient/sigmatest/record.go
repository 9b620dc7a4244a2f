package sigmatest

import (
	"maps"
	"net/url"
	"slices"
	"sync"
)

// Request is a call that the server got.
type Request struct {
	Method  string
	Path    string
	Pattern string // of the path, such as "/v2/workbooks/{workbookId}/queries"; empty for an unknown one
	Query   url.Values
	Client  string // id of the API credential; empty where the token is not accepted
	Status  int    // of the answer; 0 while there is none, or where the connection was broken off
}

// recorded is how many requests are kept.
const recorded = 100_000

// record is what a server remembers of its requests.
type record struct {
	mu       sync.Mutex
	requests []*Request
	calls    map[string]int
	inFlight int
	most     int
}

// Requests returns the requests so far, in the order in which they came; of very
// many the last ones.
func (s *Server) Requests() []Request {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	requests := make([]Request, len(s.record.requests))
	for i, r := range s.record.requests {
		requests[i] = *r
	}
	return requests
}

// Calls counts the requests so far by method and pattern, as in
// "GET /v2/workbooks/{workbookId}/queries".
func (s *Server) Calls() map[string]int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return maps.Clone(s.record.calls)
}

// Count counts the requests so far for a path.
func (s *Server) Count(path string) int {
	n := 0
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	for _, r := range s.record.requests {
		if r.Path == path {
			n++
		}
	}
	return n
}

// MostAtOnce is the most requests that have been under way at one time, those
// for tokens left out.
func (s *Server) MostAtOnce() int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.most
}

// ResetRecords forgets the requests so far.
func (s *Server) ResetRecords() {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.requests, s.record.calls, s.record.most = nil, nil, s.record.inFlight
}

func (r *record) enter(request *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Path != tokenPath {
		r.inFlight++
		r.most = max(r.most, r.inFlight)
	}
	if len(r.requests) == recorded {
		r.requests = slices.Delete(r.requests, 0, recorded/2)
	}
	if r.calls == nil {
		r.calls = map[string]int{}
	}
	r.requests = append(r.requests, request)
	r.calls[request.Method+" "+request.Pattern]++
}

func (r *record) leave(request *Request, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	request.Status = status
	if request.Path != tokenPath {
		r.inFlight--
	}
}
