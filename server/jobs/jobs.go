// Package jobs runs scans and what is due by the clock as jobs of River, the queue
// that lives in the store's own database: PostgreSQL, where any replica takes up
// what any other has asked for, or the embedded SQLite. The code is the same for
// both.
//
// A job is only the sign that there is something to do; what there is to do, who
// has taken it up and how far it has come is in the store. So a job that is lost,
// comes twice or comes late does no harm. River itself rescues a job by its age
// alone, which cannot tell a long scan from a dead one: the store's leases do that.
//
// It knows neither Sigma nor the contract, and must not import the services that
// use it.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
)

const (
	// scanQueue has the scans, and clockQueue what is to be done now and then,
	// which must not wait for scans to end.
	scanQueue  = "scans"
	clockQueue = "clock"

	// maxScans is how many scans a replica runs at once. They mostly wait for
	// Sigma.
	maxScans = 32

	// clockInterval is how often it is looked for what is due.
	clockInterval = 5 * time.Second

	// pollInterval is how often a job is looked for that nobody has told of: on
	// PostgreSQL notices may be lost, and they come late on SQLite.
	pollInterval = 250 * time.Millisecond

	// maxScanTime ends a job that has not ended by itself. The scan goes on with
	// another.
	maxScanTime = 24 * time.Hour

	// retention is how long jobs are kept that are over.
	retention = time.Hour
)

// Work is what there is to do. Both must return soon after their context ends.
type Work interface {
	// Scan brings a scan to its end, by its name, unless somebody else does.
	Scan(ctx context.Context, name string) error
	// Tick does what is due. It is called every few seconds, on one replica.
	Tick(ctx context.Context) error
}

// Runner asks for jobs and runs them. Its methods may be called from many
// goroutines.
type Runner struct {
	client *river.Client[*sql.Tx]
}

type scanArgs struct {
	Scan string `json:"scan"`
}

func (scanArgs) Kind() string { return "scan" }

type tickArgs struct{}

func (tickArgs) Kind() string { return "tick" }

// worker turns a function into River's worker.
type worker[T river.JobArgs] struct {
	river.WorkerDefaults[T]
	logger  *slog.Logger
	timeout time.Duration
	do      func(context.Context, T) error
}

func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return w.timeout }

// Work never lets a panic's value or an error's text into River's tables: either
// may hold what must not be kept.
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.logger.Error("job panicked", "job", job.Kind, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = river.JobCancel(errors.New("panic"))
		}
	}()
	if err := w.do(ctx, job.Args); err != nil {
		if ctx.Err() == nil {
			w.logger.Warn("job failed", "job", job.Kind, "error", err)
		}
		return river.JobCancel(errors.New("see the log"))
	}
	return nil
}

// New returns a runner of the jobs in the database behind driver. It runs none before
// Start.
func New(driver riverdriver.Driver[*sql.Tx], work Work, logger *slog.Logger) (*Runner, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker[scanArgs]{logger: logger, timeout: maxScanTime,
		do: func(ctx context.Context, args scanArgs) error { return work.Scan(ctx, args.Scan) }})
	river.AddWorker(workers, &worker[tickArgs]{logger: logger, timeout: time.Minute,
		do: func(ctx context.Context, _ tickArgs) error { return work.Tick(ctx) }})
	client, err := river.NewClient(driver, &river.Config{
		Queues:            map[string]river.QueueConfig{scanQueue: {MaxWorkers: maxScans}, clockQueue: {MaxWorkers: 1}},
		Workers:           workers,
		MaxAttempts:       1,
		FetchPollInterval: pollInterval,
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(clockInterval),
			func() (river.JobArgs, *river.InsertOpts) { return tickArgs{}, &river.InsertOpts{Queue: clockQueue} }, &river.PeriodicJobOpts{RunOnStart: true})},
		CompletedJobRetentionPeriod: retention,
		CancelledJobRetentionPeriod: retention,
		DiscardedJobRetentionPeriod: retention,
		Logger:                      slog.New(quiet{logger.Handler()}),
	})
	if err != nil {
		return nil, fmt.Errorf("prepare jobs: %w", err)
	}
	return &Runner{client: client}, nil
}

// Start begins to run jobs, until Close. The context bounds the start only.
func (r *Runner) Start(ctx context.Context) error {
	// River takes its context for the life of the client.
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	return nil
}

// AskForScan has a replica run a scan as soon as the transaction is done.
func (r *Runner) AskForScan(ctx context.Context, tx *sql.Tx, name string) error {
	if _, err := r.client.InsertTx(ctx, tx, scanArgs{Scan: name}, &river.InsertOpts{Queue: scanQueue}); err != nil {
		return fmt.Errorf("ask for a scan: %w", err)
	}
	return nil
}

// Close ends the contexts of all jobs that run here and waits until they are over,
// or the context is.
func (r *Runner) Close(ctx context.Context) error {
	if err := r.client.StopAndCancel(ctx); err != nil {
		return fmt.Errorf("jobs still running: %w", err)
	}
	return nil
}
