// Package jobs runs work that outlives the call that asked for it: one job per
// key at a time, cancellable by key, waited for at shutdown.
//
// It knows neither Sigma nor the contract, and must not import the services
// that use it.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// ErrClosed is returned once the runner was closed.
var ErrClosed = errors.New("jobs: shutting down")

// ErrCancelled is the cause of a job's context that Cancel ended.
var ErrCancelled = errors.New("jobs: cancelled")

// Runner runs jobs in this process. The zero value is ready for use.
type Runner struct {
	Logger *slog.Logger // nil means slog.Default

	mu      sync.Mutex
	closed  bool
	running map[string]*job
	wait    sync.WaitGroup
}

type job struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// Start runs do in the background under a key, with a context that ends when
// the job is cancelled or the runner closed; context.Cause tells which. It
// reports false, and does nothing, if a job of that key runs already.
func (r *Runner) Start(key string, do func(context.Context)) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, ErrClosed
	}
	if _, ok := r.running[key]; ok {
		return false, nil
	}
	if r.running == nil {
		r.running = map[string]*job{}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	j := &job{cancel: cancel, done: make(chan struct{})}
	r.running[key] = j
	r.wait.Go(func() {
		defer func() {
			cancel(nil)
			r.mu.Lock()
			delete(r.running, key)
			r.mu.Unlock()
			close(j.done)
		}()
		r.run(ctx, key, do)
	})
	return true, nil
}

// run keeps a panic in one job from ending the process with all the others.
func (r *Runner) run(ctx context.Context, key string, do func(context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			logger := r.Logger
			if logger == nil {
				logger = slog.Default()
			}
			logger.Error("job panicked", "job", key, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	do(ctx)
}

// Cancel ends the job of a key and waits until it is over. No such job is no
// error.
func (r *Runner) Cancel(ctx context.Context, key string) error {
	r.mu.Lock()
	j := r.running[key]
	r.mu.Unlock()
	if j == nil {
		return nil
	}
	j.cancel(ErrCancelled)
	return r.Wait(ctx, key)
}

// Wait waits until the job of a key is over. No such job is no error.
func (r *Runner) Wait(ctx context.Context, key string) error {
	r.mu.Lock()
	j := r.running[key]
	r.mu.Unlock()
	if j == nil {
		return nil
	}
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all jobs and waits until they are over, or the context is.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for _, j := range r.running {
		j.cancel(ErrClosed)
	}
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		r.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("jobs still running: %w", ctx.Err())
	}
}
