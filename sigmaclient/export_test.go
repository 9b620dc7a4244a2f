package sigmaclient

import "context"

// What is parsed from Sigma's answers, for fuzzing.
var (
	NewError        = newError
	ParseRetryAfter = parseRetryAfter
	DecodePage      = decodePage[Workbook]
)

// NewLimiter makes a limiter, to see it without calls.
var NewLimiter = newLimiter

func (l *limiter) Acquire(ctx context.Context) error {
	_, err := l.acquire(ctx)
	return err
}

func (l *limiter) Release() { l.release() }

// Tokens is how many credentials the service remembers.
func (s *Service) Tokens() int {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	return max(len(s.tokens.of), len(s.tokens.next))
}
