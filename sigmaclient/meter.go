package sigmaclient

import (
	"context"
	"sync/atomic"
	"time"
)

// Meter measures the calls that are made with a context. The zero value is ready
// for use.
type Meter struct {
	calls     atomic.Int64
	throttled atomic.Int64 // nanoseconds
	underWay  atomic.Int64 // nanoseconds
}

// Calls is how many attempts were made, grants of tokens aside.
func (m *Meter) Calls() int64 { return m.calls.Load() }

// Throttled is how long calls have waited because Sigma throttles, added up.
func (m *Meter) Throttled() time.Duration { return time.Duration(m.throttled.Load()) }

// UnderWay is how long calls have been under way, added up. Measured against the
// places that an organization has (see Client.Places) it tells whether Sigma is
// waited for, or Sigma waits.
func (m *Meter) UnderWay() time.Duration { return time.Duration(m.underWay.Load()) }

type meterKey struct{}

// WithMeter returns a context whose calls m measures.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// meterOf returns the context's meter, or one that nobody reads.
func meterOf(ctx context.Context) *Meter {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok {
		return m
	}
	return &Meter{}
}

// waited adds the part of a wait that a pause of the limiter took.
func (m *Meter) waited(from, until, resume time.Time) {
	if resume.Before(until) {
		until = resume
	}
	if wait := until.Sub(from); wait > 0 {
		m.throttled.Add(int64(wait))
	}
}
