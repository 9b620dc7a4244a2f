package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

const (
	// keyRefresh is how often an issuer's keys are read anew.
	keyRefresh = 15 * time.Minute

	// unknownKeyPause lies between two reads of the keys that tokens with
	// unknown keys may cause: a key that was rotated in is found at once, and
	// nobody can have the issuer flooded.
	unknownKeyPause = 10 * time.Second

	// issuerTimeout bounds each request to an issuer, and issuerPause lies
	// between two attempts at one that failed.
	issuerTimeout = 10 * time.Second
	issuerPause   = 5 * time.Second

	// maxIssuerAnswer is far beyond what any issuer's keys take, in bytes.
	maxIssuerAnswer = 1 << 20

	defaultClockSkew = 30 * time.Second
	maxClockSkew     = 5 * time.Minute

	defaultRolesClaim = "sigmasource_roles"
)

// algorithms are those that an issuer may use. Symmetric ones are not among them:
// whoever verifies such a token could forge it.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Issuer is whoever signs JWTs that stand for callers, such as an OpenID provider.
type Issuer struct {
	// Issuer is the URL in the claim `iss`. Its keys are found by OpenID Connect
	// Discovery, unless JWKSURI tells where they are. Plain http is for loopback
	// only.
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
	// Audiences are the values of which the claim `aud` must hold one.
	Audiences []string `json:"audiences"`
	// Algorithms are the signatures that are taken. Empty means RS256.
	Algorithms []string `json:"algorithms"`
	// ClockSkew is by how much the clocks may differ, such as `30s`, which is the
	// default.
	ClockSkew string `json:"clock_skew"`
	// PrincipalClaim names the claim with the caller's name. Empty means `sub`.
	PrincipalClaim string `json:"principal_claim"`
	// RolesClaim names the claim with the caller's roles: an object
	// {"WORKSPACE": "ROLE"}, or a list of strings `WORKSPACE=ROLE` among which
	// others are passed over. Empty means `sigmasource_roles`.
	RolesClaim string `json:"roles_claim"`
	// Principals gives roles to callers by name, for issuers whose tokens cannot
	// hold them.
	Principals map[string]Roles `json:"principals"`
}

func (i *Issuer) check() error {
	if err := checkIssuerURL(i.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if i.JWKSURI != "" {
		if err := checkIssuerURL(i.JWKSURI); err != nil {
			return fmt.Errorf("jwks_uri: %w", err)
		}
	}
	if len(i.Audiences) == 0 || slices.Contains(i.Audiences, "") {
		return errors.New("audiences is empty, or one of them is: any service's tokens would be taken")
	}
	for _, algorithm := range i.Algorithms {
		if !slices.Contains(algorithms, algorithm) {
			return fmt.Errorf("algorithm %q: want one of %s", algorithm, strings.Join(algorithms, ", "))
		}
	}
	for name, roles := range i.Principals {
		if err := checkPrincipal(name, roles); err != nil {
			return fmt.Errorf("principals: %w", err)
		}
	}
	return nil
}

// checkIssuerURL keeps the keys from being read where others could change them on
// the way.
func checkIssuerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("it is no URL of a host")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return errors.New("it must be https")
	}
	return nil
}

// issuer verifies one issuer's tokens.
type issuer struct {
	Issuer
	parser *jwt.Parser
	client *http.Client
	logger *slog.Logger
	ctx    context.Context // ends with close
	close  context.CancelFunc
	now    func() time.Time

	asking singleflight.Group
	known  atomic.Pointer[keyfunc.Keyfunc] // nil until the issuer has told its keys
	failed error                           // why it did not, when it was last asked; of asking
	again  time.Time                       // when to ask it again; of asking
}

func newIssuer(config Issuer, now func() time.Time, logger *slog.Logger) (*issuer, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if len(config.Algorithms) == 0 {
		config.Algorithms = []string{"RS256"}
	}
	if config.PrincipalClaim == "" {
		config.PrincipalClaim = "sub"
	}
	if config.RolesClaim == "" {
		config.RolesClaim = defaultRolesClaim
	}
	skew := defaultClockSkew
	if config.ClockSkew != "" {
		var err error
		if skew, err = time.ParseDuration(config.ClockSkew); err != nil || skew < 0 || skew > maxClockSkew {
			return nil, fmt.Errorf("clock_skew %q: want a duration of at most %s", config.ClockSkew, maxClockSkew)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &issuer{
		Issuer: config,
		parser: jwt.NewParser(
			jwt.WithValidMethods(config.Algorithms),
			jwt.WithIssuer(config.Issuer),
			jwt.WithAudience(config.Audiences...),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(skew),
			jwt.WithTimeFunc(now),
			jwt.WithStrictDecoding(),
		),
		client: &http.Client{
			Timeout:       issuerTimeout,
			Transport:     boundedTransport{http.DefaultTransport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		logger: logger, ctx: ctx, close: cancel, now: now,
	}, nil
}

// byJWT verifies a token with the keys of its issuer, and returns until when it is
// valid.
func (c *Callers) byJWT(ctx context.Context, token string) (*Principal, time.Time, error) {
	var claimed jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claimed); err != nil {
		return nil, time.Time{}, ErrInvalid
	}
	issuer, ok := c.issuers[claimed.Issuer]
	if !ok {
		return nil, time.Time{}, ErrInvalid
	}
	return issuer.verify(ctx, token)
}

func (i *issuer) verify(ctx context.Context, token string) (*Principal, time.Time, error) {
	keys, err := i.keys(ctx)
	if ctx.Err() != nil {
		return nil, time.Time{}, ctx.Err()
	}
	if err != nil {
		return nil, time.Time{}, &Error{Reason: IssuerUnavailable, Err: err}
	}
	claims := jwt.MapClaims{}
	parsed, err := i.parser.ParseWithClaims(token, claims, keyOf(ctx, keys))
	if err != nil {
		return nil, time.Time{}, refusal(ctx, err)
	}
	if !isAccessToken(parsed.Header) {
		return nil, time.Time{}, ErrInvalid
	}
	name, _ := claims[i.PrincipalClaim].(string)
	if name == "" {
		return nil, time.Time{}, &Error{Reason: Invalid, Problem: "it has no claim " + i.PrincipalClaim}
	}
	expires, err := claims.GetExpirationTime()
	if err != nil {
		return nil, time.Time{}, ErrInvalid
	}
	return &Principal{Name: name, Via: i.Issuer.Issuer, Roles: i.roles(name, claims)}, expires.Time, nil
}

// isAccessToken tells tokens that are meant for services from others that an
// issuer signs with the same keys, such as logout tokens; and refuses headers
// with rules that must be understood (RFC 7515, 4.1.11).
func isAccessToken(header map[string]any) bool {
	if _, critical := header["crit"]; critical {
		return false
	}
	kind, ok := header["typ"].(string)
	kind = strings.TrimPrefix(strings.ToLower(kind), "application/")
	return !ok || kind == "jwt" || kind == "at+jwt"
}

// refusal says what is wrong with a token, as far as its signature was good: the
// parser looks at the claims last.
func refusal(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, jwt.ErrTokenExpired):
		return &Error{Reason: Invalid, Problem: "it has expired"}
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return &Error{Reason: Invalid, Problem: "it is not valid yet"}
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return &Error{Reason: Invalid, Problem: "it is for another audience"}
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return &Error{Reason: Invalid, Problem: "a claim that is required is missing"}
	case errors.Is(err, ErrIssuerUnavailable):
		return &Error{Reason: IssuerUnavailable, Err: err}
	}
	return ErrInvalid
}

func (i *issuer) roles(name string, claims jwt.MapClaims) Roles {
	roles := Roles{}
	add := func(workspace string, role Role) { roles[workspace] = max(roles[workspace], role) }
	for workspace, role := range i.Principals[name] {
		add(workspace, role)
	}
	switch claim := claims[i.RolesClaim].(type) {
	case map[string]any:
		for workspace, value := range claim {
			name, _ := value.(string)
			if role, err := ParseRole(name); err == nil && checkWorkspace(workspace) == nil {
				add(workspace, role)
			}
		}
	case []any:
		for _, value := range claim {
			text, _ := value.(string)
			if workspace, role, err := parseGrant(text); err == nil {
				add(workspace, role)
			}
		}
	}
	return roles
}

// keys returns the issuer's keys, which are kept fresh in the background from the
// first time on. An issuer that does not answer is left alone for a moment.
func (i *issuer) keys(ctx context.Context) (keyfunc.Keyfunc, error) {
	if known := i.known.Load(); known != nil {
		return *known, nil
	}
	// Asked once for all who wait, so it does not end with one of them.
	asked := i.asking.DoChan("", func() (any, error) {
		if i.now().Before(i.again) {
			return nil, i.failed
		}
		known, err := i.fetch(i.ctx)
		if err != nil {
			i.failed, i.again = err, i.now().Add(issuerPause)
			i.logger.Warn("an issuer of callers' tokens does not tell its keys", "issuer", i.Issuer.Issuer, "error", err.Error())
			return nil, err
		}
		i.known.Store(&known)
		return nil, nil
	})
	select {
	case answer := <-asked:
		if answer.Err != nil {
			return nil, answer.Err
		}
		return *i.known.Load(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keyOf finds the key that a token names. That an unknown key could not be looked
// for is the issuer's failure, not the token's.
func keyOf(ctx context.Context, keys keyfunc.Keyfunc) jwt.Keyfunc {
	return func(token *jwt.Token) (any, error) {
		if id, ok := token.Header["kid"].(string); ok {
			if _, err := keys.Storage().KeyRead(ctx, id); errors.Is(err, jwkset.ErrKeyNotFound) {
				return nil, err
			} else if err != nil {
				return nil, &Error{Reason: IssuerUnavailable, Err: err}
			}
		}
		return keys.KeyfuncCtx(ctx)(token)
	}
}

func (i *issuer) fetch(ctx context.Context) (known keyfunc.Keyfunc, err error) {
	at := i.JWKSURI
	if at == "" {
		if at, err = i.discover(ctx); err != nil {
			return nil, err
		}
	}
	// The library keeps a goroutine for each attempt, even for one that fails.
	lasting, cancel := context.WithCancel(i.ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	failed := func(ctx context.Context, err error) {
		i.logger.WarnContext(ctx, "an issuer's keys could not be refreshed", "issuer", i.Issuer.Issuer, "error", err.Error())
	}
	set, err := jwkset.NewStorageFromHTTP(at, jwkset.HTTPClientStorageOptions{
		Client: i.client, Ctx: lasting, HTTPTimeout: issuerTimeout, RefreshInterval: keyRefresh, RefreshErrorHandler: failed,
	})
	if err != nil {
		return nil, err
	}
	storage, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs:          map[string]jwkset.Storage{at: set},
		RefreshUnknownKID: rate.NewLimiter(rate.Every(unknownKeyPause), 1),
		RateLimitWaitMax:  issuerTimeout,
	})
	if err != nil {
		return nil, err
	}
	return keyfunc.New(keyfunc.Options{Ctx: lasting, Storage: storage})
}

// discover reads where the keys are (OpenID Connect Discovery 1.0, section 4).
func (i *issuer) discover(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(i.Issuer.Issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return "", err
	}
	response, err := i.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("discover: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read as far as it was needed
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("discover: HTTP status %d", response.StatusCode)
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
		return "", fmt.Errorf("discover: %w", err)
	}
	if document.Issuer != i.Issuer.Issuer {
		return "", errors.New("discover: the document is another issuer's")
	}
	if err := checkIssuerURL(document.JWKSURI); err != nil {
		return "", fmt.Errorf("discover: jwks_uri: %w", err)
	}
	return document.JWKSURI, nil
}

// boundedTransport fails answers that are too long.
type boundedTransport struct{ http.RoundTripper }

func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxIssuerAnswer), response.Body}
	return response, nil
}
