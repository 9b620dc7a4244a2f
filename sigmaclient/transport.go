package sigmaclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	retries    = 5
	minBackoff = 500 * time.Millisecond
	maxBackoff = 10 * time.Second

	// maxBody is the largest answer that is read. A page of a thousand queries
	// of ten kilobytes each is a tenth of it.
	maxBody = 128 << 20
)

var errBodyTooLarge = errors.New("the answer is too large")

// httpClient returns a client that retries within an organization's limiter.
func (s *Service) httpClient(l *limiter) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: &attempts{next: s.transport, limiter: l, timeout: s.options.RequestTimeout, logger: s.logger},
			// A redirect could lead anywhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     retries,
		CheckRetry:   shouldRetry,
		Backoff:      backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// attempts sends one attempt at a time, within the limiter and a time limit,
// and reads its whole answer, so that a body that breaks off is a failed
// attempt like any other.
type attempts struct {
	next    http.RoundTripper
	limiter *limiter
	timeout time.Duration
	logger  *slog.Logger
}

func (a *attempts) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := a.limiter.acquire(request.Context()); err != nil {
		return nil, err
	}
	defer a.limiter.release()
	ctx, cancel := context.WithTimeout(request.Context(), a.timeout)
	defer cancel()
	start := time.Now()
	response, err := a.next.RoundTrip(request.WithContext(ctx))
	if err == nil {
		err = readBody(response)
	}
	a.log(request, response, err, time.Since(start))
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusTooManyRequests {
		wait, _ := parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
		a.limiter.throttle(wait)
	} else {
		a.limiter.success()
	}
	return response, nil
}

// readBody replaces the body by one in memory.
func readBody(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if closeErr := response.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxBody {
		return errBodyTooLarge
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// log leaves out the query, which holds cursors, and error texts, which may
// quote it.
func (a *attempts) log(request *http.Request, response *http.Response, err error, took time.Duration) {
	attributes := []slog.Attr{
		slog.String("method", request.Method),
		slog.String("host", request.URL.Host),
		slog.String("path", request.URL.Path),
		slog.Duration("took", took),
	}
	if err != nil {
		attributes = append(attributes, slog.String("error", fmt.Sprintf("%T", err)))
	} else {
		attributes = append(attributes, slog.Int("status", response.StatusCode))
	}
	a.logger.LogAttrs(request.Context(), slog.LevelDebug, "call to Sigma", attributes...)
}

// shouldRetry retries what may pass: throttling, gateways and lost connections.
// HTTP 500 is left out on purpose: it is Sigma's steady answer for the lineage
// of some elements.
func shouldRetry(ctx context.Context, response *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		again, _ := retryablehttp.DefaultRetryPolicy(ctx, nil, err)
		return again && !errors.Is(err, errBodyTooLarge), nil
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		wait, _ := parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
		return wait <= maxRetryAfter, nil
	}
	return false, nil
}

// backoff leaves the wait after throttling to the limiter, which makes the
// whole organization wait and not this call alone.
func backoff(_, _ time.Duration, attempt int, response *http.Response) time.Duration {
	if response != nil {
		if response.StatusCode == http.StatusTooManyRequests {
			return 0
		}
		if wait, ok := parseRetryAfter(response.Header.Get("Retry-After"), time.Now()); ok {
			return wait
		}
	}
	wait := min(maxBackoff, minBackoff<<min(attempt, 10))
	return wait/2 + rand.N(wait/2+1)
}

// parseRetryAfter reads both forms of the header: seconds and a date. A date
// in the past means no wait.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil {
		if !(seconds >= 0) {
			return 0, false
		}
		return time.Duration(min(seconds, (24*time.Hour).Seconds()) * float64(time.Second)), true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(24*time.Hour, max(0, date.Sub(now))), true
}
