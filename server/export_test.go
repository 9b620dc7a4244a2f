package server

import "context"

// Tick does what is due, as the server does by itself every few seconds.
func (s *Server) Tick(ctx context.Context) error { return s.catalog.Tick(ctx) }
