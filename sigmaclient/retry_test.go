package sigmaclient_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

const whoami = "/v2/whoami"

func TestPassingFailuresAreRetried(t *testing.T) {
	for name, fault := range map[string]sigmatest.Fault{
		"429 HTML":     sigmatest.Throttle(""),
		"429 seconds":  sigmatest.Throttle("3"),
		"429 date":     sigmatest.Throttle("Sat, 01 Jan 2000 00:00:09 GMT"), // the bubble's time begins at 0
		"502":          sigmatest.Gateway(502),
		"503":          sigmatest.Gateway(503),
		"504":          sigmatest.Gateway(504),
		"dropped":      sigmatest.Drop(),
		"cut in body":  sigmatest.CutBody(),
		"stalled":      sigmatest.Stall(nil),
		"stalled body": sigmatest.StallBody(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSigma(t, small())
				s.SetFaults(sigmatest.On(whoami, sigmatest.Times(3, fault)))
				if err := whoAmI(t.Context(), s.client(t)); err != nil {
					t.Fatal(err)
				}
				if n := s.Count(whoami); n != 4 {
					t.Errorf("%d calls, want 4", n)
				}
			})
		})
	}
}

func TestSteadyFailuresEnd(t *testing.T) {
	for name, row := range map[string]struct {
		fault sigmatest.Fault
		kind  sigmaclient.Kind
		calls int
	}{
		"429":           {sigmatest.Throttle(""), sigmaclient.KindThrottled, 10},
		"429 for long":  {sigmatest.Throttle("90"), sigmaclient.KindThrottled, 1},
		"502":           {sigmatest.Gateway(502), sigmaclient.KindUnavailable, 6},
		"503 for long":  {unavailableFor("120"), sigmaclient.KindUnavailable, 1},
		"dropped":       {sigmatest.Drop(), sigmaclient.KindUnavailable, 7}, // one more by net/http itself, for the connection that was reused
		"stalled":       {sigmatest.Stall(nil), sigmaclient.KindUnavailable, 6},
		"500":           {sigmatest.Fail(500, "internal_error", ""), sigmaclient.KindInternal, 1},
		"501":           {sigmatest.Gateway(501), sigmaclient.KindUnavailable, 1},
		"400":           {sigmatest.Fail(400, "invalid_request", ""), sigmaclient.KindInvalidRequest, 1},
		"400 broken":    {sigmatest.Fail(400, "unable_to_produce_query", ""), sigmaclient.KindBroken, 1},
		"400 warehouse": {sigmatest.Fail(400, "warehouse_query_failed_user_error", ""), sigmaclient.KindWarehouseRefused, 1},
		"403":           {sigmatest.Fail(403, "", ""), sigmaclient.KindForbidden, 1},
		"404":           {sigmatest.Fail(404, "not_found", ""), sigmaclient.KindNotFound, 1},
		"409 archived":  {sigmatest.Fail(409, "inode_archived", ""), sigmaclient.KindArchived, 1},
		"redirect":      {redirect, sigmaclient.KindProtocol, 1},
		"odd redirect":  {reply(302, http.Header{"Location": {"https://%zz"}}, ""), sigmaclient.KindProtocol, 1},
		"not JSON":      {sigmatest.Answer("<html>"), sigmaclient.KindProtocol, 1},
		"wrong shape":   {sigmatest.Answer("[]"), sigmaclient.KindProtocol, 1},
		"cut JSON":      {sigmatest.Answer(`{"userId":"u`), sigmaclient.KindProtocol, 1},
		"huge":          {sigmatest.HugeBody(65 << 20), sigmaclient.KindProtocol, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSigma(t, small())
				s.SetFaults(sigmatest.On(whoami, row.fault))
				err := whoAmI(t.Context(), s.client(t))
				failed := failure(t, err, row.kind)
				if failed.Call != "GET /v2/whoami" {
					t.Errorf("the call is %q", failed.Call)
				}
				if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
					t.Errorf("%v passes for the caller's own context", err)
				}
				if n := s.Count(whoami); n != row.calls {
					t.Errorf("%d calls, want %d", n, row.calls)
				}
			})
		})
	}
}

func TestSlowAnswersAreWaitedForUpToAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		client := s.client(t)
		s.SetFaults(sigmatest.On(whoami, sigmatest.SlowBody(59, time.Second)))
		start := time.Now()
		if err := whoAmI(t.Context(), client); err != nil || time.Since(start) != 59*time.Second {
			t.Errorf("got %v after %v, want an answer after 59s", err, time.Since(start))
		}
		s.SetFaults(sigmatest.On(whoami, sigmatest.Times(1, sigmatest.SlowBody(61, time.Second))))
		if err := whoAmI(t.Context(), client); err != nil || s.Count(whoami) != 3 {
			t.Errorf("got %v after %d calls, want the slow one tried again", err, s.Count(whoami))
		}
	})
}

func unavailableFor(retryAfter string) sigmatest.Fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", retryAfter)
		return sigmatest.Gateway(503)(w, r)
	}
}

func TestRetryAfterIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On(whoami, sigmatest.Throttle("90")))
		if failed := failure(t, whoAmI(t.Context(), s.client(t)), sigmaclient.KindThrottled); failed.RetryAfter != 90*time.Second {
			t.Errorf("retry after %v, want 90s", failed.RetryAfter)
		}
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	for name, row := range map[string]struct {
		fault sigmatest.Fault
		want  time.Duration
	}{
		"429 seconds": {sigmatest.Throttle("7"), 7 * time.Second},
		"429 date":    {sigmatest.Throttle("Sat, 01 Jan 2000 00:00:09 GMT"), 9 * time.Second},
		"503 seconds": {unavailableFor("11"), 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSigma(t, small())
				s.SetFaults(sigmatest.On(whoami, sigmatest.Times(1, row.fault)))
				start := time.Now()
				if err := whoAmI(t.Context(), s.client(t)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != row.want {
					t.Errorf("came back after %v, want %v", took, row.want)
				}
			})
		})
	}
}

func TestThrottlingOnOneCallPausesTheWholeOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := small()
		org.Others = []sigmatest.Client{{ID: "second"}}
		s := newSigma(t, org)
		second := s.credentials()
		second.ClientID, second.ClientSecret = "second", sigmaclient.Secret(s.Organization().Others[0].Secret)
		one, other := s.client(t), s.clientFor(t, second)
		if err := errors.Join(whoAmI(t.Context(), one), whoAmI(t.Context(), other)); err != nil {
			t.Fatal(err)
		}
		s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.Times(1, sigmatest.Throttle("20"))))
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := one.Workbooks(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := whoAmI(t.Context(), other); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("the other client waited %v, want 20s", took)
		}
		group.Wait()
	})
}

func TestNoMoreThanFourCallsAtOnceAndOneWhenThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		client := s.client(t)
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)))
		all := func(n int) {
			var group sync.WaitGroup
			for range n {
				group.Go(func() {
					if err := whoAmI(t.Context(), client); err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
		}
		start := time.Now()
		all(40)
		if took := time.Since(start); s.MostAtOnce() != 4 || took != 10*time.Second {
			t.Errorf("40 calls of a second: %d at once, took %v; want 4 and 10s", s.MostAtOnce(), took)
		}

		// Four that are throttled together are one sign: from four to two.
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)), sigmatest.On(whoami, sigmatest.Times(4, sigmatest.Throttle("1"))))
		start = time.Now()
		all(4)
		if took := time.Since(start); took != 4*time.Second { // refused, a pause, then two and two
			t.Errorf("four throttled together took %v, want 4s", took)
		}

		// And it grows back.
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)))
		s.ResetRecords()
		all(40)
		if s.MostAtOnce() != 4 {
			t.Errorf("%d at once after a while, want 4 again", s.MostAtOnce())
		}
	})
}

func TestThrottlingHalvesDownToOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		client := s.client(t)
		s.SetFaults(sigmatest.On(whoami, sigmatest.Times(3, sigmatest.Throttle(""))))
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		s.ResetRecords()
		s.SetFaults(sigmatest.On(whoami, sigmatest.Delay(time.Second)))
		var group sync.WaitGroup
		start := time.Now()
		for range 2 {
			group.Go(func() {
				if err := whoAmI(t.Context(), client); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		// The one that came through has raised the limit from one to two.
		if took := time.Since(start); s.MostAtOnce() != 2 || took != time.Second {
			t.Errorf("%d at once, took %v; want 2 and 1s", s.MostAtOnce(), took)
		}
	})
}

func TestWaitersAreServedInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small(), func(o *sigmaclient.Options) { o.InFlight = 1 })
		client := s.client(t)
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		s.SetFaults(sigmatest.Delay(time.Second))
		var group sync.WaitGroup
		var mu sync.Mutex
		var order []int
		for i := range 6 {
			group.Go(func() {
				if err := whoAmI(t.Context(), client); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		group.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

func TestCallerMayLeaveAtEveryWait(t *testing.T) {
	for name, faults := range map[string][]sigmatest.Fault{
		"for the answer":       {sigmatest.On(whoami, sigmatest.Stall(nil))},
		"for the answer's end": {sigmatest.On(whoami, sigmatest.StallBody())},
		"for the token":        {sigmatest.On("/v2/auth/token", sigmatest.Stall(nil))},
		"after throttling":     {sigmatest.On(whoami, sigmatest.Throttle("30"))},
		"for a retry":          {sigmatest.On(whoami, unavailableFor("30"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSigma(t, small())
				s.SetFaults(faults...)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				err := whoAmI(ctx, s.client(t))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestLeavingTheQueueFreesTheNextInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small(), func(o *sigmaclient.Options) { o.InFlight = 1 })
		client := s.client(t)
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		s.SetFaults(sigmatest.Times(1, sigmatest.Delay(5*time.Second)))
		var group sync.WaitGroup
		call := func(ctx context.Context, want error) {
			group.Go(func() {
				if err := whoAmI(ctx, client); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			})
			synctest.Wait()
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call(t.Context(), nil)
		call(impatient, context.DeadlineExceeded)
		call(t.Context(), nil)
		group.Wait()
		if n := s.Count(whoami); n != 3 {
			t.Errorf("%d calls, want 3: the one who left made none", n)
		}
	})
}

func TestBadDaysEndWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := small()
		for i := range 40 {
			org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: strings.Repeat("x", i+1), Pages: org.Workbooks[0].Pages})
		}
		for seed := range uint64(5) {
			s := newSigma(t, org)
			s.SetOptions(sigmatest.Options{TokenLife: 30 * time.Second, LimitGrants: true, PageSize: 7})
			s.SetFaults(
				sigmatest.On("/v2/workbooks/**", sigmatest.Sometimes(seed, 0.10, sigmatest.Throttle(""))),
				sigmatest.On("/v2/workbooks/**", sigmatest.Sometimes(seed+100, 0.02, sigmatest.Gateway(502))),
				sigmatest.On("/v2/workbooks/**", sigmatest.Sometimes(seed+200, 0.01, sigmatest.Stall(nil))),
			)
			client := s.client(t)
			workbooks := must(client.Workbooks(t.Context()))(t)
			if len(workbooks) != 41 {
				t.Fatalf("seed %d: %d workbooks, want 41", seed, len(workbooks))
			}
			var group sync.WaitGroup
			for _, w := range workbooks {
				group.Go(func() {
					queries, err := client.Queries(t.Context(), w.WorkbookID)
					if err != nil || len(queries) != 1 {
						t.Errorf("seed %d: %d queries, %v", seed, len(queries), err)
					}
				})
			}
			group.Wait()
			s.close(t)
		}
	})
}
