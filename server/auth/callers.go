package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/grpc/metadata"
)

const (
	// maxTokenLength keeps a caller from having megabytes hashed. Tokens of large
	// organizations' issuers stay under 8 KiB, since proxies cut longer headers.
	maxTokenLength = 8 << 10

	// verifiedTokens is how many JWTs are remembered as verified, and
	// verifiedTime how long at the most: so long may a token outlive the removal
	// of its key at the issuer.
	verifiedTokens = 10_000
	verifiedTime   = 5 * time.Minute
)

// Config lists the callers: those with static tokens, those whom an issuer of
// JWTs vouches for, and those with client certificates. In JSON:
//
//	{
//	  "tokens": [
//	    {"principal": "platform", "hash": "sha256:9f86d0...", "roles": {"acme": "admin", "globex": "viewer"}},
//	    {"principal": "on-call", "hash": "sha256:60303a...", "roles": {"*": "operator"}}
//	  ],
//	  "issuers": [
//	    {"issuer": "https://login.example.com", "audiences": ["sigmasource"], "algorithms": ["RS256"]}
//	  ],
//	  "certificates": [
//	    {"principal": "sync", "spiffe_id": "spiffe://example.com/sync", "roles": {"acme": "operator"}}
//	  ]
//	}
type Config struct {
	Tokens       []Token       `json:"tokens"`
	Issuers      []Issuer      `json:"issuers"`
	Certificates []Certificate `json:"certificates"`
}

// ParseConfig reads a configuration in JSON. A field that it does not know is an
// error, lest a misspelt one open a door.
func ParseConfig(text []byte) (Config, error) {
	var config Config
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return Config{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("something follows the JSON document")
	}
	return config, nil
}

// Callers authenticates the callers of a configuration. Close it, since it keeps
// the issuers' keys fresh in the background.
type Callers struct {
	tokens       tokens
	issuers      map[string]*issuer
	certificates []Certificate
	verified     *lru.Cache[[sha256.Size]byte, verified]
	now          func() time.Time
}

// verified is what a JWT stands for, until it has to be looked at again.
type verified struct {
	principal *Principal
	until     time.Time
}

// New returns the callers of a configuration. An error names the entry that is
// wrong, by its number from 1. The logger, slog.Default if nil, is told when an
// issuer does not answer.
func New(config Config, logger *slog.Logger) (*Callers, error) {
	if logger == nil {
		logger = slog.Default()
	}
	if len(config.Tokens)+len(config.Issuers)+len(config.Certificates) == 0 {
		return nil, errors.New("it lists no callers")
	}
	c := &Callers{issuers: map[string]*issuer{}, certificates: config.Certificates, now: time.Now}
	var err error
	if c.tokens, err = newTokens(config.Tokens); err != nil {
		return nil, err
	}
	for i, certificate := range config.Certificates {
		if err := certificate.check(); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	for i, configured := range config.Issuers {
		if _, twice := c.issuers[configured.Issuer]; twice {
			return nil, fmt.Errorf("issuer %d: it is listed twice", i+1)
		}
		if c.issuers[configured.Issuer], err = newIssuer(configured, func() time.Time { return c.now() }, logger); err != nil {
			return nil, fmt.Errorf("issuer %d: %w", i+1, err)
		}
	}
	c.verified, err = lru.New[[sha256.Size]byte, verified](verifiedTokens)
	return c, err
}

// Close ends what runs in the background.
func (c *Callers) Close() {
	for _, issuer := range c.issuers {
		issuer.close()
	}
}

// Authenticate finds the caller by the bearer token in the metadata, or if there
// is none by the client certificate of the connection, and returns a context that
// holds the principal. It fails with ErrMissing, ErrInvalid or
// ErrIssuerUnavailable.
func (c *Callers) Authenticate(ctx context.Context) (context.Context, error) {
	principal, err := c.principal(ctx)
	if err != nil {
		return nil, err
	}
	return WithPrincipal(ctx, principal), nil
}

func (c *Callers) principal(ctx context.Context) (*Principal, error) {
	token, err := bearerToken(ctx)
	if errors.Is(err, ErrMissing) {
		return c.byCertificate(ctx)
	}
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(token))
	if principal, ok := c.tokens[hash]; ok {
		return principal, nil
	}
	if known, ok := c.verified.Get(hash); ok && c.now().Before(known.until) {
		return known.principal, nil
	}
	principal, until, err := c.byJWT(ctx, token)
	if err != nil {
		return nil, err
	}
	if longest := c.now().Add(verifiedTime); until.After(longest) {
		until = longest
	}
	c.verified.Add(hash, verified{principal, until})
	return principal, nil
}

// bearerToken returns the token of the metadata `authorization`.
func bearerToken(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) == 0 {
		return "", ErrMissing
	}
	if len(values) > 1 {
		return "", ErrInvalid
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" || len(token) > maxTokenLength {
		return "", ErrInvalid
	}
	return token, nil
}
