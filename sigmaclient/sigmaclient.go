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
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"time"
	"weak"

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
	tokens    *tokens

	mu       sync.Mutex
	limiters map[string]weak.Pointer[limiter] // by host and organization, or client; alive as long as a Client is
}

// New returns a Service. Close it to free what it holds.
func New(options Options) *Service {
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
		limiters:  map[string]weak.Pointer[limiter]{},
	}
	if s.transport == nil {
		s.transport = cleanhttp.DefaultPooledTransport()
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	s.tokens = newTokens(httpClient(s.attempts(), shouldRetry, grantBackoff))
	return s
}

// Close ends what runs in the background and closes idle connections.
func (s *Service) Close() {
	s.tokens.close()
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
	credential *credential
	tokens     *tokens
	http       *retryablehttp.Client
	places     int
}

// Places is how many calls the client's organization may have under way while it
// is not throttled.
func (c *Client) Places() int { return c.places }

// Format prints, for every verb, which credential the client uses and not its
// secret: without it package fmt would print all that the client holds.
func (c Client) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "sigmaclient.Client(%s at %s)", c.credential.clientID, c.credential.base)
}

// Format prints nothing of the tokens that the service holds.
func (s *Service) Format(f fmt.State, _ rune) { fmt.Fprint(f, "sigmaclient.Service") }

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
	l := s.limiter(base + " " + organization)
	return &Client{
		credential: &credential{base: base, clientID: credentials.ClientID, secret: credentials.ClientSecret},
		tokens:     s.tokens,
		http:       httpClient(&limited{next: s.attempts(), limiter: l}, shouldRetry, backoff),
		places:     l.most,
	}, nil
}

func (s *Service) limiter(key string) *limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.limiters[key].Value(); l != nil {
		return l
	}
	l := newLimiter(s.options.InFlight)
	s.limiters[key] = weak.Make(l)
	runtime.AddCleanup(l, s.dropLimiter, key)
	return l
}

func (s *Service) dropLimiter(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limiters[key].Value() == nil {
		delete(s.limiters, key)
	}
}

func (s *Service) attempts() *attempts {
	return &attempts{next: s.transport, timeout: s.options.RequestTimeout, logger: s.logger}
}
