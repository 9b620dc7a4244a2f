package store

// SetEffort bounds the work on a page otherwise, so that small lists show what
// large ones do.
func (s *Store) SetEffort(effort int) { s.effort = effort }

// Words splits a text as searches do.
var Words = words
