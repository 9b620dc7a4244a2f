package sigmaclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestTokenIsSharedByClientsOfOneCredential(t *testing.T) {
	s := newSigma(t, small())
	for range 3 {
		client := s.client(t)
		for range 2 {
			if err := whoAmI(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := s.grants(); n != 1 {
		t.Errorf("%d grants, want 1", n)
	}
}

func TestOneGrantForAllWhoWaitAndNoneForALeaverToSpoil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		release := make(chan struct{})
		s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Stall(release)))
		client := s.client(t)
		first, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if err := whoAmI(first, client); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		})
		synctest.Wait() // the first leads
		for range 5 {
			group.Go(func() {
				if err := whoAmI(t.Context(), client); err != nil {
					t.Errorf("one who stayed got %v", err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		group.Wait()
		if n := s.grants(); n != 1 {
			t.Errorf("%d grants, want 1", n)
		}
	})
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetOptions(sigmatest.Options{TokenLife: 10 * time.Minute})
		client := s.client(t)
		for range 60 {
			if err := whoAmI(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
		}
		for _, r := range s.Requests() {
			if r.Status == http.StatusUnauthorized {
				t.Error("an expired token was sent")
			}
		}
		if n := s.grants(); n < 6 || n > 8 {
			t.Errorf("%d grants in an hour of ten-minute tokens", n)
		}
	})
}

func TestRefusedTokenIsReplacedOnceAndTheCallRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		client := s.client(t)
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		s.RevokeTokens()
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				if err := whoAmI(t.Context(), client); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := s.grants(); n != 2 {
			t.Errorf("%d grants, want 2", n)
		}
	})
}

func TestSteady401IsAskedTwiceAndNamesTheCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/whoami", sigmatest.Fail(http.StatusUnauthorized, "unauthorized", "Token missing or malformed")))
		failed := failure(t, whoAmI(t.Context(), s.client(t)), sigmaclient.KindCredentials)
		if failed.Code != "unauthorized" || failed.RequestID == "" || failed.Status != http.StatusUnauthorized {
			t.Errorf("got %+v", failed)
		}
		if s.Count("/v2/whoami") != 2 || s.grants() != 2 {
			t.Errorf("%d calls and %d grants, want 2 and 2", s.Count("/v2/whoami"), s.grants())
		}
	})
}

func TestAnotherRegionRefusesTheCredentials(t *testing.T) {
	s := newSigma(t, small())
	s.SetOptions(sigmatest.Options{Host: "api.sigmacomputing.com"})
	failure(t, whoAmI(t.Context(), s.client(t)), sigmaclient.KindCredentials)
	right := s.credentials()
	right.BaseURL = "https://api.sigmacomputing.com"
	if err := whoAmI(t.Context(), s.clientFor(t, right)); err != nil {
		t.Error(err)
	}
}

func TestRefusedCredentialsAreNotRetried(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404} {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Fail(status, "", "no")))
		failed := failure(t, whoAmI(t.Context(), s.client(t)), sigmaclient.KindCredentials)
		if failed.Status != status || s.grants() != 1 {
			t.Errorf("HTTP %d: %d grants, error %v", status, s.grants(), failed)
		}
	}
}

func TestChangedSecretIsNotServedByTheOldToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetOptions(sigmatest.Options{LimitGrants: true})
		if err := whoAmI(t.Context(), s.client(t)); err != nil {
			t.Fatal(err)
		}
		wrong := s.credentials()
		wrong.ClientSecret = "another"
		start := time.Now()
		failure(t, whoAmI(t.Context(), s.clientFor(t, wrong)), sigmaclient.KindCredentials)
		if waited := time.Since(start); waited < time.Second {
			t.Errorf("asked again after %v: Sigma grants once a second", waited)
		}
		if err := whoAmI(t.Context(), s.client(t)); err != nil {
			t.Errorf("the right secret no longer works: %v", err)
		}
	})
}

func TestGrantsKeepToOneASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetOptions(sigmatest.Options{LimitGrants: true})
		client := s.client(t)
		start := time.Now()
		if err := whoAmI(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the first call waited %v", took)
		}
		for range 3 {
			s.RevokeTokens()
			if err := whoAmI(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("four grants took %v, want 3s", took)
		}
		for _, r := range s.Requests() {
			if r.Status == http.StatusTooManyRequests {
				t.Error("Sigma had to throttle a grant")
			}
		}
	})
}

func TestGrantsAreRetriedWhenTheFailureMayPass(t *testing.T) {
	for name, row := range map[string]struct {
		fault  sigmatest.Fault
		grants int
		kind   sigmaclient.Kind
	}{
		"throttled":    {sigmatest.Throttle(""), 2, -1},
		"gateway":      {sigmatest.Gateway(503), 2, -1},
		"internal":     {sigmatest.Fail(500, "internal", ""), 1, sigmaclient.KindInternal},
		"dropped":      {sigmatest.Drop(), 2, -1},
		"no token":     {sigmatest.Answer(`{"token_type":"bearer"}`), 1, sigmaclient.KindProtocol},
		"not JSON":     {sigmatest.Answer(`<html>`), 1, sigmaclient.KindProtocol},
		"long wait":    {sigmatest.Throttle("3600"), 1, sigmaclient.KindThrottled},
		"cut in body":  {sigmatest.CutBody(), 2, -1},
		"stalled":      {sigmatest.Stall(nil), 2, -1},
		"redirect":     {redirect, 1, sigmaclient.KindProtocol},
		"odd lifetime": {sigmatest.Answer(`{"access_token":"x","expires_in":-1}`), 2, sigmaclient.KindCredentials}, // and refused
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSigma(t, small())
				times := 1
				if name == "odd lifetime" {
					times = 2
				}
				s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Times(times, row.fault)))
				err := whoAmI(t.Context(), s.client(t))
				if row.kind < 0 && err != nil {
					t.Error(err)
				}
				if row.kind >= 0 {
					failure(t, err, row.kind)
				}
				if s.grants() != row.grants {
					t.Errorf("%d grants, want %d", s.grants(), row.grants)
				}
			})
		})
	}
}

func redirect(w http.ResponseWriter, r *http.Request) bool {
	http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
	return true
}

func TestCredentialsOfThePastAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		credentials := s.credentials()
		for range 20 {
			for i := range 50 { // none of which is granted a token
				credentials.ClientID = fmt.Sprint("client ", i, time.Now())
				failure(t, whoAmI(t.Context(), s.clientFor(t, credentials)), sigmaclient.KindCredentials)
			}
			<-time.After(time.Minute)
		}
		if n := s.service.Tokens(); n > 200 {
			t.Errorf("%d of a thousand are remembered", n)
		}
	})
}

func TestStalledGrantEndsWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Stall(nil)))
		client := s.client(t)
		done := make(chan error, 1)
		go func() { done <- whoAmI(t.Context(), client) }()
		synctest.Wait()
		s.service.Close()
		failure(t, <-done, sigmaclient.KindUnavailable)
		failure(t, whoAmI(t.Context(), client), sigmaclient.KindUnavailable)
	})
}

func TestStalledGrantEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/auth/token", sigmatest.Stall(nil)))
		err := whoAmI(t.Context(), s.client(t))
		failure(t, err, sigmaclient.KindUnavailable)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Error("it passes for the caller's deadline")
		}
	})
}
