package snowflaketest

import (
	"context"
	"time"
)

// State is the state of a query, in the words of Snowflake's query history.
type State string

// The states.
const (
	StateRunning State = "RUNNING"
	StateSuccess State = "SUCCESS"
	StateFailed  State = "FAILED_WITH_ERROR"
	StateAborted State = "ABORTED"
)

// Query is a row of the account's query history.
type Query struct {
	ID           string
	RequestID    string // the driver's name for it; retries of a request share it
	SessionID    int64
	User         string
	Role         string
	Warehouse    string
	Database     string
	Schema       string
	SQL          string
	Tag          string
	Parameters   map[string]string // the session's at the start, by upper-case name; not to be changed
	DescribeOnly bool
	State        State
	Error        *Error // of a query that failed or was aborted
	Rows         int64  // of a query that succeeded
	Start, End   time.Time
}

// Queries is the history of the last 10,000 queries in the order of their arrival.
func (s *Server) Queries() []Query { return s.list(func(Query) bool { return true }) }

// Running is the list of queries that have not ended.
func (s *Server) Running() []Query {
	return s.list(func(q Query) bool { return q.State == StateRunning })
}

func (s *Server) list(match func(Query) bool) []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Query
	for _, q := range s.order {
		if match(q.Query) {
			list = append(list, q.Query)
		}
	}
	return list
}

// WaitQuery returns the first query in the history that matches, as soon as
// there is one.
func (s *Server) WaitQuery(ctx context.Context, match func(Query) bool) (Query, error) {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if list := s.list(match); len(list) > 0 {
			return list[0], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Query{}, context.Cause(ctx)
		}
	}
}

// Downloads is how many chunks are under way.
func (s *Server) Downloads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sending
}

// WaitIdle returns as soon as no query runs and no chunk is under way.
func (s *Server) WaitIdle(ctx context.Context) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if len(s.Running()) == 0 && s.Downloads() == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
