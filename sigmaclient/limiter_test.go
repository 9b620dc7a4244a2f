package sigmaclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// shared is an organization with several API credentials.
func shared(credentials int) sigmatest.Organization {
	org := small()
	for i := range credentials - 1 {
		org.Others = append(org.Others, sigmatest.Client{ID: fmt.Sprint("client", i)})
	}
	return org
}

// clients are one for each credential of the organization, which have each got
// their token.
func (s *sigma) clients(t *testing.T) []*sigmaclient.Client {
	t.Helper()
	all := []*sigmaclient.Client{s.client(t)}
	for _, other := range s.Organization().Others {
		credentials := s.credentials()
		credentials.ClientID, credentials.ClientSecret = other.ID, sigmaclient.Secret(other.Secret)
		all = append(all, s.clientFor(t, credentials))
	}
	for _, client := range all {
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestClientsOfOneOrganizationShareItsPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, shared(3))
		clients := s.clients(t)
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)))
		s.ResetRecords()
		start := time.Now()
		var group sync.WaitGroup
		for i := range 24 {
			group.Go(func() {
				if err := whoAmI(t.Context(), clients[i%len(clients)]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if took := time.Since(start); s.MostAtOnce() != 4 || took != 6*time.Second {
			t.Errorf("24 calls of a second: %d at once, took %v; want 4 and 6s", s.MostAtOnce(), took)
		}
	})
}

func TestOrganizationsDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		busy, other := s.client(t), s.credentials()
		other.OrganizationID = "another"
		free := s.clientFor(t, other)
		s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.Throttle("30")))
		ctx, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := busy.Workbooks(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
		synctest.Wait() // it waits for the pause to end
		start := time.Now()
		if err := whoAmI(t.Context(), free); err != nil || time.Since(start) != 0 {
			t.Errorf("the other organization waited %v: %v", time.Since(start), err)
		}
		leave()
		group.Wait()
	})
}

// TestPauseOutlivesTheClientThatMetIt: servers make a client for each request.
func TestPauseOutlivesTheClientThatMetIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.Throttle("90")))
		start := time.Now()
		_, err := s.client(t).Workbooks(t.Context())
		failure(t, err, sigmaclient.KindThrottled)
		runtime.GC()
		if err := whoAmI(t.Context(), s.client(t)); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited != time.Minute { // the longest that a pause lasts
			t.Errorf("the next client called after %v, want 1m", waited)
		}
	})
}

// gauge counts the requests under way on the client's side: a server notices
// only later that a caller has left.
type gauge struct {
	next http.RoundTripper

	mu        sync.Mutex
	now, most int
}

func (g *gauge) RoundTrip(request *http.Request) (*http.Response, error) {
	g.add(1)
	defer g.add(-1)
	return g.next.RoundTrip(request)
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

// reset returns the most requests at once since the last reset.
func (g *gauge) reset() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	most := g.most
	g.most = g.now
	return most
}

// TestPlacesAreNeitherLostNorInvented is a law: whoever leaves, whenever, and
// however Sigma throttles, no more calls run at once than may, and in the end
// as many as may.
func TestPlacesAreNeitherLostNorInvented(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(rt, "most")
		after := rapid.IntRange(0, 8).Draw(rt, "throttled after")
		times := rapid.IntRange(0, 4).Draw(rt, "throttled times")
		patience := rapid.SliceOfN(rapid.IntRange(0, 6), 0, 20).Draw(rt, "patience in seconds")
		synctest.Test(t, func(t *testing.T) {
			var calls gauge
			s := newSigma(t, small(), func(o *sigmaclient.Options) {
				calls.next = o.Transport
				o.InFlight, o.Transport = most, &calls
			})
			client := s.client(t)
			if err := whoAmI(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			slow := sigmatest.On(whoami, sigmatest.Delay(time.Second))
			s.SetFaults(slow, sigmatest.After(after, sigmatest.Times(times, sigmatest.Throttle("2"))))
			var group sync.WaitGroup
			for _, wait := range patience {
				group.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(wait)*time.Second)
					defer cancel()
					if err := whoAmI(ctx, client); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if got := calls.reset(); got > most {
				t.Errorf("%d at once, want %d at most", got, most)
			}

			s.SetFaults(slow)
			for range 20 { // enough to have grown back
				if err := whoAmI(t.Context(), client); err != nil {
					t.Fatal(err)
				}
			}
			calls.reset()
			for range 3 * most {
				group.Go(func() {
					if err := whoAmI(t.Context(), client); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if got := calls.reset(); got != most {
				t.Errorf("%d at once in the end, want %d", got, most)
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// TestLeaversAtTheMomentOfTheirTurn: a caller may leave just when a place is
// given to it, and the place must come back.
func TestLeaversAtTheMomentOfTheirTurn(t *testing.T) {
	const most = 2
	limiter := sigmaclient.NewLimiter(most)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 2_000 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if limiter.Acquire(ctx) == nil {
					runtime.Gosched()
					limiter.Release()
				}
			}
		})
	}
	group.Wait()
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range most {
		if err := limiter.Acquire(impatient); err != nil {
			t.Fatalf("%d places of %d are left", n, most)
		}
	}
	if limiter.Acquire(impatient) == nil {
		t.Errorf("there are more than %d places", most)
	}
}

func TestPausesGrowWhileThrottlingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		var at []time.Time
		s.SetFaults(sigmatest.On(whoami, sigmatest.Do(func() { at = append(at, time.Now()) })), sigmatest.On(whoami, sigmatest.Throttle("")))
		failure(t, whoAmI(t.Context(), s.client(t)), sigmaclient.KindThrottled)
		least := 500 * time.Millisecond
		for i := range at[1:] {
			// Up to a half more, so that replicas do not return together.
			if wait := at[i+1].Sub(at[i]); wait < least || wait > least*3/2 {
				t.Errorf("attempt %d came %v after the one before, want from %v to %v", i+2, wait, least, least*3/2)
			}
			least = min(2*least, 30*time.Second)
		}
	})
}
