// Package sigmaclient speaks Sigma's REST API, version 2.
//
// A [Service] holds what all clients of a process share: connections, tokens,
// and one limiter for each organization, since Sigma throttles organizations
// and not clients. A [Client] is one API credential. It reads: nothing in Sigma
// is ever changed.
//
// The package knows no gRPC and no warehouse, and must not import them. Facts
// about Sigma that its published contract does not tell are noted where they
// are relied upon.
package sigmaclient

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"
)

// Options are what the clients of a Service have in common. The zero value is
// fit for Sigma.
type Options struct {
	// Hosts are the hosts that may be called. Nil admits Sigma's own only.
	Hosts *Hosts
	// InFlight is how many calls an organization may have under way. 0 means 4:
	// more than about five are throttled routinely, as several clients report.
	InFlight int
	// RequestTimeout bounds one attempt of a call, its answer's body included.
	// 0 means a minute.
	RequestTimeout time.Duration
	// Transport carries the requests. Nil means a transport of its own.
	Transport http.RoundTripper
	// Logger gets a line per attempt at level debug. Nil means slog.Default.
	Logger *slog.Logger
}

// Service makes clients. It is safe for concurrent use.
type Service struct {
	options   Options
	transport http.RoundTripper
	logger    *slog.Logger
	ctx       context.Context // ends with the Service, and with it the grants under way
	cancel    context.CancelFunc
	grants    sync.WaitGroup

	mu       sync.Mutex
	limiters map[string]*limiter // by host and organization, or client
	tokens   map[tokenKey]*tokenCache
}

// New returns a Service. Close it to free what it holds.
func New(options Options) *Service {
	if options.Hosts == nil {
		options.Hosts = &Hosts{}
	}
	if options.InFlight <= 0 {
		options.InFlight = 4
	}
	if options.RequestTimeout <= 0 {
		options.RequestTimeout = time.Minute
	}
	s := &Service{
		options:   options,
		transport: options.Transport,
		logger:    options.Logger,
		limiters:  map[string]*limiter{},
		tokens:    map[tokenKey]*tokenCache{},
	}
	if s.transport == nil {
		s.transport = cleanhttp.DefaultPooledTransport()
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends what runs in the background and closes idle connections.
func (s *Service) Close() {
	s.cancel()
	s.grants.Wait()
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Credentials are an API client of a Sigma organization.
type Credentials struct {
	BaseURL      string
	ClientID     string
	ClientSecret Secret
	// OrganizationID lets the clients of one organization share a limiter.
	// Empty, where it is not known yet, gives the client one of its own.
	OrganizationID string
}

// Client reads a Sigma organization with one API credential. It is safe for
// concurrent use. Its methods fail with an [*Error] or the context's error.
type Client struct {
	base   string
	token  *tokenCache
	http   *retryablehttp.Client
	logger *slog.Logger
}

// Client returns a client for the credentials. It makes no call. It fails with
// a [*HostError] for a base URL that may not be called.
func (s *Service) Client(credentials Credentials) (*Client, error) {
	base, err := s.options.Hosts.CheckSigma(credentials.BaseURL)
	if err != nil {
		return nil, err
	}
	organization := "organization " + credentials.OrganizationID
	if credentials.OrganizationID == "" {
		organization = "client " + credentials.ClientID
	}
	c := &Client{base: base, logger: s.logger}
	c.http = s.httpClient(s.limiter(base + " " + organization))
	c.token = s.tokenCache(base, credentials, c.http)
	return c, nil
}

func (s *Service) limiter(key string) *limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limiters[key]
	if l == nil {
		l = newLimiter(s.options.InFlight)
		s.limiters[key] = l
	}
	return l
}

func (s *Service) tokenCache(base string, credentials Credentials, client *retryablehttp.Client) *tokenCache {
	key := tokenKey{base: base, clientID: credentials.ClientID, secret: sha256.Sum256([]byte(credentials.ClientSecret))}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[key]
	if t == nil {
		t = &tokenCache{service: s, http: client, base: base, clientID: credentials.ClientID, secret: credentials.ClientSecret}
		s.tokens[key] = t
	}
	return t
}

func (s *Service) forget(t *tokenCache) {
	key := tokenKey{base: t.base, clientID: t.clientID, secret: sha256.Sum256([]byte(t.secret))}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[key] == t {
		delete(s.tokens, key)
	}
}
