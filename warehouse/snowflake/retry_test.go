package snowflake

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Each way to a chunk has the same policy: how many requests, and how long between
// them.
func TestDownloadsHaveOneRetryPolicy(t *testing.T) {
	status := func(status int, retryAfter string) func(http.ResponseWriter, []byte) {
		return func(w http.ResponseWriter, _ []byte) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			w.WriteHeader(status)
		}
	}
	closed := func(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, body []byte) { _, _ = w.Write(body[:len(body)/2]) }
	cut := func(w http.ResponseWriter, body []byte) {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // the connection breaks next, with or without this half
		panic(http.ErrAbortHandler)
	}
	const (
		always = 1 << 30
		ms     = time.Millisecond
	)
	backoffs := []time.Duration{500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms} // at most; half of it at least
	for name, test := range map[string]struct {
		respond  func(http.ResponseWriter, []byte)
		times    int
		requests int
		waits    []time.Duration // maxima
		kind     warehouse.Kind  // of the failure; unknown: there is none
	}{
		"busy once":               {status(503, ""), 1, 2, backoffs[:1], 0},
		"busy five times":         {status(500, ""), 5, 6, backoffs, 0},
		"busy":                    {status(503, ""), always, 6, backoffs, warehouse.KindUnavailable},
		"throttled":               {status(429, ""), always, 6, backoffs, warehouse.KindUnavailable},
		"throttled with a delay":  {status(429, "9"), 2, 3, []time.Duration{9 * time.Second, 9 * time.Second}, 0},
		"a delay over the budget": {status(503, "3600"), always, 1, nil, warehouse.KindUnavailable},
		"delays over the budget":  {status(503, "25"), always, 3, []time.Duration{25 * time.Second, 25 * time.Second}, warehouse.KindUnavailable},
		"no response twice":       {closed, 2, 3, backoffs[:2], 0},
		"no response":             {closed, always, 6, backoffs, warehouse.KindUnavailable},
		"not found":               {status(404, ""), always, 3, nil, warehouse.KindUnavailable},
		"forbidden":               {status(403, ""), always, 3, nil, warehouse.KindUnavailable},
		"cut twice":               {cut, 2, 3, nil, 0},
		"cut":                     {cut, always, 3, nil, warehouse.KindUnavailable},
		"half":                    {half, 2, 3, nil, 0},
	} {
		for way, read := range ways {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				requests := 0
				w := endpointWith(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, index, attempt int, body []byte) {
					if index == 1 {
						mu.Lock()
						requests++
						mu.Unlock()
						if attempt < test.times {
							test.respond(w, body)
							return
						}
					}
					_, _ = w.Write(body)
				}), Config{MaxSessions: 1, WrapTransport: func(base http.RoundTripper) http.RoundTripper { return oneRequest{base} }})
				var waits []time.Duration
				w.wait = func(_ context.Context, d time.Duration) error {
					waits = append(waits, d)
					return nil
				}
				texts, err := read(t, w)
				var failure *warehouse.Error
				switch {
				case test.kind == warehouse.KindUnknown && err != nil:
					t.Errorf("%v (cause: %v)", err, errors.Unwrap(err))
				case test.kind == warehouse.KindUnknown:
					wantSeries(t, texts)
				case !errors.As(err, &failure) || failure.Kind != test.kind:
					t.Errorf("the error is %v (cause: %v)", err, errors.Unwrap(err))
				}
				mu.Lock()
				defer mu.Unlock()
				if requests != test.requests || len(waits) != len(test.waits) {
					t.Fatalf("%d requests instead of %d, with the waits %v", requests, test.requests, waits)
				}
				for i, wait := range waits {
					if wait > test.waits[i] || wait < test.waits[i]/2 {
						t.Errorf("wait %d is %s instead of up to %s", i, wait, test.waits[i])
					}
				}
			})
		}
	}
}

// oneRequest uses each connection once: net/http itself repeats a request for which a
// reused connection has no response.
type oneRequest struct{ base http.RoundTripper }

func (o oneRequest) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Close = true
	return o.base.RoundTrip(request)
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	w := endpoint(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, _, _ int, _ []byte) {
		w.Header().Set("Retry-After", "50")
		w.WriteHeader(http.StatusServiceUnavailable)
	}), 1)
	w.wait = func(ctx context.Context, d time.Duration) error {
		cancel()
		err := sleep(ctx, d)
		ended <- err
		return err
	}
	r, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readTexts(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait returned %v", err)
	}
}
