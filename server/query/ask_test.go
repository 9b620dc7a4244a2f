package query

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

// sigma answers with its text as it was when it was asked, once it is let.
type sigma struct {
	mu      sync.Mutex
	text    string
	asked   int
	ended   int
	release chan struct{}
}

func (s *sigma) question() *question {
	return &question{
		ask: func(ctx context.Context) (answers, error) {
			s.mu.Lock()
			text := s.text
			s.asked++
			s.mu.Unlock()
			select {
			case <-s.release:
				return answers{query: sigmaclient.Query{SQL: text}}, nil
			case <-ctx.Done():
				return answers{}, ctx.Err()
			}
		},
		release: func() { s.mu.Lock(); defer s.mu.Unlock(); s.ended++ },
	}
}

func (s *sigma) set(text string) { s.mu.Lock(); defer s.mu.Unlock(); s.text = text }

func newAsking() *asking {
	return &asking{asks: map[document]*asked{}, work: &sync.WaitGroup{}}
}

// Those who wait share one question, and its answer is not older than they are.
func TestWhoComesWhileSigmaIsAskedSharesTheNextQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s, d := newAsking(), &sigma{text: "old", release: make(chan struct{})}, document{id: "book"}
		var callers sync.WaitGroup
		ask := func(want string) {
			callers.Go(func() {
				if got, err := a.ask(t.Context(), d, s.question); err != nil || got.query.SQL != want {
					t.Errorf("%q, %v instead of %q", got.query.SQL, err, want)
				}
			})
		}
		for range askedAtOnce {
			ask("old")
		}
		synctest.Wait()
		s.set("new")
		for range 20 {
			ask("new")
		}
		synctest.Wait()
		if s.asked != askedAtOnce {
			t.Errorf("%d questions are under way", s.asked)
		}
		close(s.release)
		callers.Wait()
		a.work.Wait()
		if s.asked != askedAtOnce+1 || s.ended != s.asked || len(a.asks) != 0 {
			t.Errorf("%d were asked and %d released; %d documents are left", s.asked, s.ended, len(a.asks))
		}
	})
}

func TestWhatNobodyWaitsForEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s, d := newAsking(), &sigma{release: make(chan struct{})}, document{id: "book"}
		gone := errors.New("gone")
		ctx, leave := context.WithCancelCause(t.Context())
		var callers sync.WaitGroup
		askAndLeave := func() {
			callers.Go(func() {
				if _, err := a.ask(ctx, d, s.question); !errors.Is(err, gone) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		for range askedAtOnce + 3 {
			askAndLeave()
		}
		leave(gone)
		callers.Wait()
		a.work.Wait()
		// The last may have begun when one of the others was given up.
		if s.ended != askedAtOnce+1 || len(a.asks) != 0 {
			t.Errorf("%d were asked and %d released; %d documents are left", s.asked, s.ended, len(a.asks))
		}
		// The next one is asked again, and one who leaves takes nobody along.
		ctx, leave = context.WithCancelCause(t.Context())
		for range askedAtOnce + 1 {
			askAndLeave()
		}
		callers.Go(func() {
			if _, err := a.ask(t.Context(), d, s.question); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		leave(gone)
		synctest.Wait()
		close(s.release)
		callers.Wait()
		a.work.Wait()
	})
}
