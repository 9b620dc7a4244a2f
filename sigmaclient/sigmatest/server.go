package sigmatest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Server serves an organization. It is an http.Handler, and may be changed
// while it serves.
type Server struct {
	mux      *http.ServeMux
	http     *http.Server
	listener net.Listener
	served   chan struct{}

	mu        sync.Mutex
	org       Organization
	options   Options
	faults    []Fault
	tokens    map[string]time.Time // until when they are good
	lastGrant time.Time
	requests  []Request
	under     int // requests under way
	most      int
}

// Request is a request that was received.
type Request struct {
	Method string
	Path   string
	Query  string
}

// New returns a server for the organization, to be used as a handler.
func New(org Organization) *Server {
	org = org.clone()
	org.complete()
	s := &Server{mux: http.NewServeMux(), org: org, tokens: map[string]time.Time{}}
	s.routes()
	return s
}

// NewServer returns a server that listens on a port of 127.0.0.1. Close it.
func NewServer(org Organization) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sigmatest: listen: %w", err)
	}
	s := New(org)
	s.listener, s.served = listener, make(chan struct{})
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // always http.ErrServerClosed, or Close closed the listener
	}()
	return s, nil
}

// URL is the base URL of a server that listens.
func (s *Server) URL() string { return "http://" + s.Host() }

// Host is its address and port.
func (s *Server) Host() string { return s.listener.Addr().String() }

// Close stops listening and cuts off what is under way.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	<-s.served
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Organization returns the description, with all ids filled in. It is as it was
// at that moment; only Change changes what is served.
func (s *Server) Organization() Organization {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.org
}

// Change changes the organization between two requests. What is added is
// completed as at the start.
func (s *Server) Change(change func(*Organization)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.org.clone() // requests under way read the one before
	change(&next)
	next.complete()
	s.org = next
}

// SetOptions changes the organization's habits.
func (s *Server) SetOptions(options Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
}

// SetFaults replaces the faults. The first that answers wins.
func (s *Server) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// RevokeTokens makes every token that was given out so far invalid.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Requests returns the requests so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count returns how many of the requests so far had the path.
func (s *Server) Count(path string) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

// MostAtOnce returns how many requests were under way at once at the most.
func (s *Server) MostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// ServeHTTP answers as Sigma's API does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery})
	s.under++
	s.most = max(s.most, s.under)
	faults := s.faults
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.under--
		s.mu.Unlock()
	}()
	for _, fault := range faults {
		if fault(w, r) {
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// authorized guards a handler with a token.
func (s *Server) authorized(handler func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := bearer(r)
		s.mu.Lock()
		until, known := s.tokens[token]
		s.mu.Unlock()
		if token == "" || !known || !time.Now().Before(until) {
			writeError(w, http.StatusUnauthorized, "unauthorized", "Token missing or malformed")
			return
		}
		handler(w, r)
	}
}

func bearer(r *http.Request) string {
	const prefix = "Bearer "
	if h := r.Header.Get("Authorization"); len(h) > len(prefix) && h[:len(prefix)] == prefix {
		return h[len(prefix):]
	}
	return ""
}

// token grants tokens, to a form, to JSON, and with Basic credentials: clients
// of all three kinds are in use.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if r.Header.Get("Content-Type") == "application/json" {
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			writeError(w, http.StatusBadRequest, "invalid_request", "the body cannot be read")
			return
		}
	} else {
		asked.GrantType = r.PostFormValue("grant_type")
		asked.ClientID, asked.ClientSecret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id, secret, ok := r.BasicAuth(); ok {
		asked.ClientID, asked.ClientSecret = id, secret
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.options.LimitGrants && now.Sub(s.lastGrant) < time.Second:
		writeError(w, http.StatusTooManyRequests, "too_many_requests", "one token request a second")
		return
	case asked.GrantType != "client_credentials" && asked.GrantType != "refresh_token":
		writeError(w, http.StatusBadRequest, "invalid_request", "unknown grant type")
		return
	case asked.ClientID != s.org.ClientID || asked.ClientSecret != s.org.ClientSecret:
		writeError(w, http.StatusUnauthorized, "unauthorized", "the client is unknown")
		return
	}
	s.lastGrant = now
	life := s.options.TokenLife
	if life <= 0 {
		life = time.Hour
	}
	access := "sigma-" + rand.Text()
	s.tokens[access] = now.Add(life)
	writeJSON(w, map[string]any{
		"access_token":  access,
		"refresh_token": "refresh-" + rand.Text(),
		"token_type":    "bearer",
		"expires_in":    int(life.Seconds()),
	})
}

// writePage answers with the part of a list that the request asks for.
func writePage[T any](s *Server, w http.ResponseWriter, r *http.Request, entries []T) {
	s.mu.Lock()
	options := s.options
	s.mu.Unlock()
	limit, err := positive(r.URL.Query().Get("limit"), 50)
	if err != nil || limit > 1000 {
		writeError(w, http.StatusBadRequest, "invalid_request", "limit must be from 1 to 1000")
		return
	}
	if options.PageSize > 0 {
		limit = min(limit, options.PageSize)
	}
	from := 0
	if page := r.URL.Query().Get("page"); page != "" {
		if from, err = strconv.Atoi(page); err != nil || from < 0 {
			writeError(w, http.StatusBadRequest, "invalid_request", "page is not one of ours")
			return
		}
	}
	from = min(from, len(entries))
	to := min(from+limit, len(entries))
	answer := map[string]any{"entries": append([]T{}, entries[from:to]...), "nextPage": nil}
	if to < len(entries) {
		answer["nextPage"] = strconv.Itoa(to)
	}
	if options.RepeatCursor {
		answer["nextPage"] = strconv.Itoa(limit)
	}
	if !options.TersePages {
		answer["total"] = len(entries)
		answer["hasMore"] = to < len(entries)
	}
	writeJSON(w, answer)
}

func positive(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 1 {
		err = strconv.ErrRange
	}
	return n, err
}

func writeJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the caller may have left
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{
		"requestId": uuid(rand.Text()), "message": message, "code": code,
	})
}
