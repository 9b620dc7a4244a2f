package snowflake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds that the driver lacks.
const (
	dialTimeout = 15 * time.Second
	// headerTimeout is longer than the 45 s for which Snowflake keeps a request
	// for a running query waiting.
	headerTimeout = 90 * time.Second
	// farewellTimeout bounds an abort and a logout, which the driver sends
	// without the caller's context: the wait for the answer, and each wait for
	// more of it. It also bounds a login whose caller has left.
	farewellTimeout = 5 * time.Second
)

// transport carries all of the driver's requests. It ends a download that
// stands still (the driver would wait for ever and could take it for the end:
// https://github.com/snowflakedb/gosnowflake/issues/1789), and requests that
// the driver does not bound.
type transport struct {
	base        *http.Transport
	readTimeout time.Duration
}

func newTransport(readTimeout time.Duration) *transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &transport{
		base: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   dialTimeout,
			ResponseHeaderTimeout: headerTimeout,
			MaxIdleConnsPerHost:   defaultMaxSessions,
			IdleConnTimeout:       time.Minute,
			// Chunks come compressed by Snowflake, and the driver undoes it.
			DisableCompression: true,
		},
		readTimeout: readTimeout,
	}
}

// transport returns the transport of the driver's requests.
func (c Config) transport() http.RoundTripper {
	transport := newTransport(cmp.Or(c.ReadTimeout, defaultReadTimeout))
	if c.WrapTransport == nil {
		return transport
	}
	return c.WrapTransport(transport)
}

// giveUpKey is the context's key of the function that ends a login.
type giveUpKey struct{}

// networkError is a login that got no answer.
type networkError struct{ err error }

func (e *networkError) Error() string { return "snowflake: no answer: " + e.err.Error() }
func (e *networkError) Unwrap() error { return e.err }

// errRedirected: requests carry credentials, and whoever was allowed to have them
// is the host that was asked, not the one that it names.
var errRedirected = errors.New("snowflake: the host answers with a redirect to another one, which is not followed")

var errStalled = errors.New("snowflake: the download stands still")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if isUninvited(request) {
		return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody, Header: http.Header{}, Request: request, ProtoMajor: 1, ProtoMinor: 1}, nil
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	readTimeout := t.readTimeout
	if isFarewell(request) {
		readTimeout = min(readTimeout, farewellTimeout)
		timer := time.AfterFunc(farewellTimeout, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	response, err := t.base.RoundTrip(request.WithContext(ctx))
	if err == nil && leadsElsewhere(response) {
		err = errors.Join(errRedirected, response.Body.Close())
	}
	if err != nil {
		// The driver repeats a login without an answer for minutes, also where
		// the host does not exist.
		if giveUp, ok := ctx.Value(giveUpKey{}).(context.CancelCauseFunc); ok && request.Context().Err() == nil {
			giveUp(&networkError{err})
		}
		refuse(ctx, &refusedError{err: unexpectedEnd(err)})
		cancel(err)
		return nil, err
	}
	if isDownload(ctx) && response.StatusCode >= http.StatusBadRequest {
		refused := refusedBy(response)
		refuse(ctx, refused)
		err = errors.Join(refused, response.Body.Close())
		cancel(err)
		return nil, err
	}
	if isDownload(ctx) && !hasDeclaredEnd(response) {
		response.Body = readCloser{endless{response.Body}, response.Body}
	}
	response.Body = &watchedBody{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timeout: readTimeout}
	if c, ok := ctx.Value(captureKey{}).(*capture); ok && isResult(request) && response.StatusCode == http.StatusOK {
		response.Body = c.listen(response.Body)
	}
	return response, nil
}

// refuse ends the request of a chunk, and is without effect on other requests.
func refuse(ctx context.Context, err *refusedError) {
	if end, ok := ctx.Value(downloadKey{}).(context.CancelCauseFunc); ok {
		end(err)
	}
}

// CloseIdleConnections lets http.Client close what a logout leaves open.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// isUninvited reports whether the driver downloads a chunk on its own account. It
// would decode the chunk in a goroutine that recovers from no panic. The answers that
// the driver itself decodes, of SHOW and of USE, are small and have no chunks.
func isUninvited(request *http.Request) bool {
	return request.Method == http.MethodGet && !isDownload(request.Context()) &&
		!strings.HasPrefix(request.Header.Get("Authorization"), "Snowflake Token=")
}

func isFarewell(request *http.Request) bool {
	return strings.HasPrefix(request.URL.Path, "/queries/v1/abort-request") ||
		request.URL.Path == "/session" && request.URL.Query().Get("delete") == "true"
}

// watchedBody fails when a read waits too long. Between two reads it does not
// count: a slow reader is welcome.
type watchedBody struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timeout time.Duration
	timer   *time.Timer
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.timeout, func() { b.cancel(errStalled) })
	} else {
		b.timer.Reset(b.timeout)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	err := b.ReadCloser.Close()
	b.cancel(context.Canceled)
	return err
}

// hasDeclaredEnd reports whether HTTP tells the end of a body from a connection that
// breaks.
func hasDeclaredEnd(response *http.Response) bool {
	return response.ProtoMajor > 1 || response.ContentLength >= 0 || len(response.TransferEncoding) > 0
}

var errNoDeclaredEnd = fmt.Errorf("snowflake: the response has neither a length nor chunks, so that its end cannot be proven: %w", io.ErrUnexpectedEOF)

// endless is a body whose end proves nothing.
type endless struct{ io.Reader }

func (e endless) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err == io.EOF {
		err = errNoDeclaredEnd
	}
	return n, err
}

func leadsElsewhere(response *http.Response) bool {
	if response.StatusCode < 300 || response.StatusCode > 399 {
		return false
	}
	location, err := response.Location()
	return err == nil && location.Host != response.Request.URL.Host
}
