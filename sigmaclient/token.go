package sigmaclient

import (
	"context"
	"errors"
	"maps"
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

// credential is what a token is granted for. The secret is part of it, so that
// a new secret is tried and not served with the old one's token.
type credential struct {
	base     string
	clientID string
	secret   Secret
}

// tokens are the access tokens of a process.
type tokens struct {
	http   *retryablehttp.Client
	ctx    context.Context // ends with the Service, and with it the grants under way
	cancel context.CancelFunc
	grants sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	of      map[credential]*token
	sweepAt int                      // the size of the map at which it is swept
	next    map[credential]time.Time // when a client may ask for a grant again; without the secrets
}

// token is the newest token of one credential. All who need a new one at the
// same time share one grant.
type token struct {
	access  string
	renewAt time.Time
	grant   *grant // under way, or nil
}

type grant struct {
	done   chan struct{}
	access string
	err    error
}

func newTokens(client *retryablehttp.Client) *tokens {
	t := &tokens{http: client, of: map[credential]*token{}, next: map[credential]time.Time{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// close ends the grants under way and refuses new ones.
func (t *tokens) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.grants.Wait()
}

// get returns a token other than stale, which the caller has seen refused;
// stale may be empty. The grant goes on when its caller leaves, for the others.
func (t *tokens) get(ctx context.Context, who *credential, stale string) (string, error) {
	g, access, err := t.join(who, stale)
	if g == nil {
		return access, err
	}
	select {
	case <-g.done:
		return g.access, g.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// join returns a token, or the grant that will bring one.
func (t *tokens) join(who *credential, stale string) (g *grant, access string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.of[*who]
	if k == nil {
		t.sweep()
		k = &token{}
		t.of[*who] = k
	}
	if k.access != "" && k.access != stale && time.Now().Before(k.renewAt) {
		return nil, k.access, nil
	}
	if k.grant == nil {
		if t.closed {
			return nil, "", &Error{Kind: KindUnavailable, Call: tokenCall, Err: errors.New("the service is closed")}
		}
		k.grant = &grant{done: make(chan struct{})}
		t.grants.Go(func() { t.run(who, k) })
	}
	return k.grant, "", nil
}

// sweep drops what is of no more use, each time that the map has doubled.
func (t *tokens) sweep() {
	if len(t.of) < t.sweepAt {
		return
	}
	now := time.Now()
	maps.DeleteFunc(t.of, func(_ credential, k *token) bool { return k.grant == nil && !now.Before(k.renewAt) })
	maps.DeleteFunc(t.next, func(_ credential, next time.Time) bool { return !now.Before(next) })
	t.sweepAt = 2*len(t.of) + 64
}

// run fills the token's grant.
func (t *tokens) run(who *credential, k *token) {
	ctx, cancel := context.WithTimeout(t.ctx, grantTimeout)
	defer cancel()
	var access string
	var life time.Duration
	err := t.pause(ctx, who)
	if err == nil {
		access, life, err = t.ask(ctx, who)
	}
	if err != nil && ctx.Err() != nil { // no caller's context, so no caller's error
		err = &Error{Kind: KindUnavailable, Call: tokenCall, Err: errors.New("no token was granted in time")}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		k.access = access
		k.renewAt = time.Now().Add(life - min(life/10, time.Minute))
	}
	k.grant.access, k.grant.err = access, err
	close(k.grant.done)
	k.grant = nil
}

// pause waits until the client may ask for a grant.
func (t *tokens) pause(ctx context.Context, who *credential) error {
	client := credential{base: who.base, clientID: who.clientID}
	t.mu.Lock()
	now := time.Now()
	at := now
	if next := t.next[client]; next.After(at) {
		at = next
	}
	t.next[client] = at.Add(grantSpacing)
	t.mu.Unlock()
	if !at.After(now) {
		return nil
	}
	timer := time.NewTimer(at.Sub(now))
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
func (t *tokens) ask(ctx context.Context, who *credential) (access string, life time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {who.clientID}, "client_secret": {string(who.secret)}}
	request, err := newRequest(ctx, http.MethodPost, who.base+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, &Error{Kind: KindInvalidRequest, Call: tokenCall, Err: errors.New("the request cannot be made")}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
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
	if err := decodeObject(body, &granted); err != nil || granted.AccessToken == "" {
		return "", 0, &Error{Kind: KindProtocol, Call: tokenCall, Status: status, Err: errors.New("the answer holds no token")}
	}
	if !(granted.ExpiresIn > 0) {
		granted.ExpiresIn = time.Hour.Seconds() // as documented
	}
	return granted.AccessToken, time.Duration(min(granted.ExpiresIn, (24*time.Hour).Seconds()) * float64(time.Second)), nil
}
