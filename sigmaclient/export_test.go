package sigmaclient

import (
	"context"
	"math/big"
	"strings"
)

// What is parsed from Sigma's answers, for fuzzing.
var (
	NewError        = newError
	ParseRetryAfter = parseRetryAfter
)

// DecodePage returns the workbooks of a page, the cursor of the next one, and what
// is missing of the list so far.
func DecodePage(body []byte) (entries []Workbook, next string, report IncompleteList, err error) {
	p, err := decodePage(body)
	l := listing[Workbook]{by: uniqueBy("workbookId"), seen: map[string]bool{}}
	l.add(p)
	return l.entries, p.next, l.report, err
}

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

// CanonicalID returns the one spelling of an id.
var CanonicalID = canonicalID

// URLID returns the id that stands for a UUID in URLs.
func URLID(uuid string) string {
	number, _ := new(big.Int).SetString(strings.ReplaceAll(uuid, "-", ""), 16)
	return number.Text(62)
}

// DecodeObjects decodes an object into types that have every kind of field.
func DecodeObjects(body []byte) []error {
	return []error{
		decodeObject(body, &Workbook{}), decodeObject(body, &Element{}), decodeObject(body, &Column{}),
		decodeObject(body, &ElementLineage{}), decodeObject(body, &errorBody{}),
	}
}
