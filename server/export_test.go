package server

import (
	"context"
	"time"
)

// Tick does what is due, as the server does by itself every few seconds.
func (s *Server) Tick(ctx context.Context) error { return s.catalog.Tick(ctx) }

// Sweep removes what is kept of sessions that have expired by then, as the server does by
// itself every minute.
func (s *Server) Sweep(ctx context.Context, then time.Time) error { return s.query.Sweep(ctx, then) }
