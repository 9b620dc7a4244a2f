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
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	userAgent = "sigmasource"

	// maxFailures is how often a call may fail in passing, and maxAttempts how
	// often it is tried in all: being throttled is no fault of the call's, and
	// the limiter sees to it that the next attempt is better timed.
	maxFailures = 5
	maxAttempts = 10
	minBackoff  = 500 * time.Millisecond
	maxBackoff  = 10 * time.Second

	// maxBody is the largest answer that is read. A page of a thousand queries
	// of ten kilobytes each is a sixth of it.
	maxBody = 64 << 20
)

var (
	errBodyTooLarge = errors.New("the answer is too large")
	errTimeout      = errors.New("no answer in time") // not context.DeadlineExceeded, which is a caller's
)

// tries counts what a call has met: go-retryablehttp tells its policies no more
// than the last attempt.
type tries struct{ attempts, failures int }

type triesKey struct{}

func triesOf(ctx context.Context) *tries { return ctx.Value(triesKey{}).(*tries) }

func newRequest(ctx context.Context, method, url string, body io.Reader) (*retryablehttp.Request, error) {
	ctx = context.WithValue(ctx, triesKey{}, &tries{})
	request, err := retryablehttp.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	return request, nil
}

// send sends a request with retries, and returns the body of a good answer.
func send(client *retryablehttp.Client, request *retryablehttp.Request, call string) (status int, body []byte, err error) {
	response, err := client.Do(request)
	if err != nil {
		if ctxErr := request.Context().Err(); ctxErr != nil {
			return 0, nil, ctxErr
		}
		kind := KindUnavailable
		if errors.Is(err, errBodyTooLarge) {
			kind = KindProtocol
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the wrapping quotes the URL, cursors and all
		}
		return 0, nil, &Error{Kind: kind, Call: call, Err: err}
	}
	body, err = io.ReadAll(response.Body) // from memory, see readBody
	if err != nil {
		return 0, nil, &Error{Kind: KindUnavailable, Call: call, Err: err}
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return response.StatusCode, nil, newError(call, response, body, time.Now())
	}
	return response.StatusCode, body, nil
}

func httpClient(transport http.RoundTripper, retry retryablehttp.CheckRetry, wait retryablehttp.Backoff) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: transport},
		RetryMax:     maxAttempts - 1,
		CheckRetry:   retry,
		Backoff:      wait,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// limited sends attempts within an organization's limiter.
type limited struct {
	next    http.RoundTripper
	limiter *limiter
}

func (l *limited) RoundTrip(request *http.Request) (*http.Response, error) {
	meter, asked := meterOf(request.Context()), time.Now()
	place, err := l.limiter.acquire(request.Context())
	if err != nil {
		return nil, err
	}
	defer l.limiter.release()
	taken := time.Now()
	defer func() { meter.underWay.Add(int64(time.Since(taken))) }()
	meter.waited(asked, taken, l.limiter.resumption())
	meter.calls.Add(1)
	response, err := l.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusTooManyRequests {
		wait, _ := parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
		l.limiter.throttle(place, wait)
	} else {
		l.limiter.success(place)
	}
	return response, nil
}

// attempts sends one attempt at a time, within a time limit, and reads its
// whole answer, so that a body that breaks off is a failed attempt like any
// other.
type attempts struct {
	next    http.RoundTripper
	timeout time.Duration
	logger  *slog.Logger
}

func (a *attempts) RoundTrip(request *http.Request) (*http.Response, error) {
	tried := triesOf(request.Context())
	tried.attempts++
	ctx, cancel := context.WithTimeout(request.Context(), a.timeout)
	defer cancel()
	start := time.Now()
	response, err := a.next.RoundTrip(request.WithContext(ctx))
	if err == nil {
		// A redirect could lead anywhere. Without the header net/http neither
		// follows it nor fails, where it cannot be read, with an error that
		// quotes it.
		response.Header.Del("Location")
		err = readBody(response)
	}
	if err != nil && ctx.Err() != nil && request.Context().Err() == nil {
		err = errTimeout
	}
	a.log(request, response, err, tried.attempts, time.Since(start))
	if err != nil {
		return nil, err
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
func (a *attempts) log(request *http.Request, response *http.Response, err error, attempt int, took time.Duration) {
	attributes := []slog.Attr{
		slog.String("method", request.Method),
		slog.String("host", request.URL.Host),
		slog.String("path", request.URL.Path),
		slog.Int("attempt", attempt),
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
	if err == nil {
		return shouldAskAgain(ctx, response), nil
	}
	again, _ := retryablehttp.DefaultRetryPolicy(ctx, nil, err)
	return again && !errors.Is(err, errBodyTooLarge) && mayFailAgain(ctx), nil
}

func shouldAskAgain(ctx context.Context, response *http.Response) bool {
	wait, _ := parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
	if wait > maxRetryAfter {
		return false
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return mayFailAgain(ctx)
	}
	return false
}

func mayFailAgain(ctx context.Context) bool {
	tried := triesOf(ctx)
	tried.failures++
	return tried.failures <= maxFailures
}

// backoff leaves the wait after throttling to the limiter, which makes the
// whole organization wait and not this call alone.
func backoff(_, _ time.Duration, attempt int, response *http.Response) time.Duration {
	if response != nil && response.StatusCode == http.StatusTooManyRequests {
		return 0
	}
	return waitFor(attempt, response)
}

// grantBackoff keeps grants apart.
func grantBackoff(_, _ time.Duration, attempt int, response *http.Response) time.Duration {
	return max(grantSpacing, waitFor(attempt, response))
}

func waitFor(attempt int, response *http.Response) time.Duration {
	if response != nil {
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
