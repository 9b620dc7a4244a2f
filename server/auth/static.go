package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/sigmasource/sigmasource/server/resource"
)

const (
	tokenPrefix = "sgs_" // lets scanners of leaked secrets recognise a token
	hashPrefix  = "sha256:"

	// maxTokenLength keeps a caller from having megabytes hashed.
	maxTokenLength = 1 << 10
)

// Token is one static bearer token, known by its hash. Several tokens may stand
// for one principal, so that a token can be replaced without a gap: add the new
// one, move the callers, remove the old one.
type Token struct {
	Principal  string   `json:"principal"`
	Hash       string   `json:"hash"`       // `sha256:` and 64 hexadecimal digits, as NewToken gives it
	Workspaces []string `json:"workspaces"` // ids, or AnyWorkspace
}

// Static authenticates callers by static tokens.
type Static struct {
	// The key is a SHA-256. A fast hash is right here, since a token has 256
	// random bits and cannot be guessed; and since the key is a hash, what the
	// time of a look-up may tell about stored keys helps nobody to a token.
	principals map[[sha256.Size]byte]*Principal
}

// NewToken makes a token of 256 random bits, and its hash for the configuration.
// The token itself is kept nowhere.
func NewToken() (token, hash string) {
	var random [32]byte
	rand.Read(random[:]) // never fails, by its contract
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return token, HashToken(token)
}

// HashToken returns a token's hash as the configuration holds it.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// NewStatic returns an authenticator that knows the given tokens. An error names
// the entry that is wrong, by its number from 1.
func NewStatic(tokens []Token) (*Static, error) {
	s := &Static{principals: make(map[[sha256.Size]byte]*Principal, len(tokens))}
	for i, t := range tokens {
		if err := s.add(t); err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
	}
	return s, nil
}

func (s *Static) add(t Token) error {
	if t.Principal == "" {
		return errors.New("principal is empty")
	}
	digits, ok := strings.CutPrefix(t.Hash, hashPrefix)
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size {
		return errors.New("hash is not `sha256:` and 64 hexadecimal digits")
	}
	if len(t.Workspaces) == 0 {
		return errors.New("workspaces is empty")
	}
	for _, w := range t.Workspaces {
		if _, err := resource.ParseWorkspace(resource.WorkspaceName(w)); err != nil && w != AnyWorkspace {
			return fmt.Errorf("workspace %q is no id of a workspace", w)
		}
	}
	key := [sha256.Size]byte(sum)
	if _, taken := s.principals[key]; taken {
		return errors.New("hash is listed twice")
	}
	s.principals[key] = &Principal{Name: t.Principal, Workspaces: t.Workspaces}
	return nil
}

// LoadFile reads static tokens from a JSON file:
//
//	{
//	  "tokens": [
//	    {"principal": "platform", "hash": "sha256:9f86d0...", "workspaces": ["acme", "globex"]},
//	    {"principal": "on-call", "hash": "sha256:60303a...", "workspaces": ["*"]}
//	  ]
//	}
//
// A field that it does not know is an error, lest a misspelt one open a door.
func LoadFile(path string) (*Static, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("read tokens from %s: %w", path, err)
	}
	return NewStatic(tokens)
}

func parseTokens(text []byte) ([]Token, error) {
	var file struct {
		Tokens []Token `json:"tokens"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON document")
	}
	return file.Tokens, nil
}

// Authenticate finds the caller by the bearer token in the metadata and returns
// a context that holds the principal. It fails with ErrMissing or ErrInvalid.
func (s *Static) Authenticate(ctx context.Context) (context.Context, error) {
	token, err := bearerToken(ctx)
	if err != nil {
		return nil, err
	}
	p, ok := s.principals[sha256.Sum256([]byte(token))]
	if !ok {
		return nil, ErrInvalid
	}
	return WithPrincipal(ctx, p), nil
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
