package sigmaclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	tokenPath = "/v2/auth/token"
	tokenCall = "POST " + tokenPath

	// grantSpacing keeps to Sigma's published limit of one grant a second.
	grantSpacing = time.Second

	// grantTimeout bounds a grant that all its callers may have left.
	grantTimeout = 2 * time.Minute
)

type tokenKey struct {
	base     string
	clientID string
	secret   [sha256.Size]byte // so that a new secret is tried, and not the old one's token
}

// tokenCache holds the access token of one API credential. All who need a new
// one at the same time share one grant.
type tokenCache struct {
	service  *Service
	http     *retryablehttp.Client
	base     string
	clientID string
	secret   Secret

	mu      sync.Mutex
	access  string
	renewAt time.Time
	granted time.Time // when the last grant was asked for
	grant   *grant    // under way, or nil
}

type grant struct {
	done   chan struct{}
	access string
	err    error
}

// get returns a token other than stale, which the caller has seen refused;
// stale may be empty. The grant goes on when its caller leaves, for the others.
func (t *tokenCache) get(ctx context.Context, stale string) (string, error) {
	t.mu.Lock()
	if t.access != "" && t.access != stale && time.Now().Before(t.renewAt) {
		defer t.mu.Unlock()
		return t.access, nil
	}
	g := t.grant
	if g == nil {
		if t.service.ctx.Err() != nil {
			t.mu.Unlock()
			return "", &Error{Kind: KindUnavailable, Call: tokenCall, Err: t.service.ctx.Err()}
		}
		g = &grant{done: make(chan struct{})}
		t.grant = g
		wait := time.Until(t.granted.Add(grantSpacing))
		t.service.grants.Go(func() { t.run(g, wait) })
	}
	t.mu.Unlock()
	select {
	case <-g.done:
		return g.access, g.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (t *tokenCache) run(g *grant, wait time.Duration) {
	ctx, cancel := context.WithTimeout(t.service.ctx, grantTimeout)
	defer cancel()
	var life time.Duration
	if g.err = pause(ctx, wait); g.err == nil {
		t.mu.Lock()
		t.granted = time.Now()
		t.mu.Unlock()
		g.access, life, g.err = t.ask(ctx)
	}
	if g.err != nil && ctx.Err() != nil { // no caller's context, so no caller's error
		g.err = &Error{Kind: KindUnavailable, Call: tokenCall, Err: g.err}
	}
	t.mu.Lock()
	t.grant = nil
	if g.err != nil && t.access == "" {
		t.service.forget(t) // credentials that never worked need not be remembered
	}
	if g.err == nil {
		t.access = g.access
		t.renewAt = time.Now().Add(life - min(life/10, time.Minute))
	}
	t.mu.Unlock()
	close(g.done)
}

func pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask makes the grant. Sigma's contract prints a JSON body; its own examples
// and every client known send a form.
func (t *tokenCache) ask(ctx context.Context) (access string, life time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {t.clientID}, "client_secret": {string(t.secret)}}
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, t.base+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, &Error{Kind: KindInvalidRequest, Call: tokenCall, Err: errors.New("the request cannot be made")}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	status, body, err := send(t.http, request, tokenCall)
	var refused *Error
	if errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 500 && refused.Kind != KindThrottled {
		// What Sigma answers to a wrong secret is not published: 400, 401, 403
		// and even 404 mean no more than that it does not grant.
		refused.Kind = KindCredentials
	}
	if err != nil {
		return "", 0, err
	}
	var granted struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(body, &granted); err != nil || granted.AccessToken == "" {
		return "", 0, &Error{Kind: KindProtocol, Call: tokenCall, Status: status, Err: errors.New("the answer holds no token")}
	}
	if !(granted.ExpiresIn > 0) {
		granted.ExpiresIn = time.Hour.Seconds() // as documented
	}
	return granted.AccessToken, time.Duration(min(granted.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second)), nil
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
