package auth

import "time"

// SetNow sets the clock of callers.
func SetNow(c *Callers, now func() time.Time) { c.now = now }

// Forget forgets the tokens that were verified.
func Forget(c *Callers) { c.verified.Purge() }
