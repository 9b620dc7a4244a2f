package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/server/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// until is a job that runs until its context ends, and tells why it ended.
func until(cause *error) func(context.Context) {
	return func(ctx context.Context) {
		<-ctx.Done()
		*cause = context.Cause(ctx)
	}
}

func TestOneJobPerKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runner := &jobs.Runner{}
		var first, other error
		mustStart(t, runner, "a", true, until(&first))
		mustStart(t, runner, "a", false, func(context.Context) { t.Error("a second job of the key ran") })
		mustStart(t, runner, "b", true, until(&other))

		if err := runner.Cancel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(first, jobs.ErrCancelled) || other != nil {
			t.Errorf("a ended by %v, b by %v", first, other)
		}
		var again error
		mustStart(t, runner, "a", true, until(&again))
		if err := runner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(again, jobs.ErrClosed) || !errors.Is(other, jobs.ErrClosed) {
			t.Errorf("closing ended a by %v, b by %v", again, other)
		}
	})
}

func TestClosedRunnerStartsNothing(t *testing.T) {
	t.Parallel()
	runner := &jobs.Runner{}
	if err := runner.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	started, err := runner.Start("a", func(context.Context) { t.Error("ran") })
	if started || !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("started %t, %v", started, err)
	}
}

// TestWaitIsBounded: whoever waits may give up; the job goes on.
func TestWaitIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runner := &jobs.Runner{}
		release := make(chan struct{})
		mustStart(t, runner, "stubborn", true, func(context.Context) { <-release })
		for what, wait := range map[string]func(context.Context) error{
			"Wait":   func(ctx context.Context) error { return runner.Wait(ctx, "stubborn") },
			"Cancel": func(ctx context.Context) error { return runner.Cancel(ctx, "stubborn") },
			"Close":  runner.Close,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
		close(release)
		if err := runner.Wait(t.Context(), "stubborn"); err != nil {
			t.Error(err)
		}
	})
}

func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	runner := &jobs.Runner{}
	if err := errors.Join(runner.Cancel(t.Context(), "none"), runner.Wait(t.Context(), "none")); err != nil {
		t.Error(err)
	}
}

// TestPanic: one job's panic ends that job alone, frees its key, and is logged
// without its value, which may be a secret.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		runner := &jobs.Runner{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		mustStart(t, runner, "a", true, func(context.Context) { panic("CANARY") })
		synctest.Wait()
		mustStart(t, runner, "a", true, func(context.Context) {})
		if err := runner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "job panicked") || strings.Contains(log.String(), "CANARY") {
			t.Errorf("logged %q", log.String())
		}
	})
}

// TestManyStarters: of many who start the same key at once, one wins.
func TestManyStarters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runner := &jobs.Runner{}
		var started, ran atomic.Int32
		for range 100 {
			go func() {
				ok, err := runner.Start("a", func(ctx context.Context) { ran.Add(1); <-ctx.Done() })
				if err != nil {
					t.Error(err)
				}
				if ok {
					started.Add(1)
				}
			}()
		}
		synctest.Wait()
		if started.Load() != 1 || ran.Load() != 1 {
			t.Errorf("%d started, %d ran", started.Load(), ran.Load())
		}
		if err := runner.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func mustStart(t *testing.T, runner *jobs.Runner, key string, want bool, do func(context.Context)) {
	t.Helper()
	if started, err := runner.Start(key, do); err != nil || started != want {
		t.Errorf("start %q: %t, %v; want %t", key, started, err, want)
	}
}
