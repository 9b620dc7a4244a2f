package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/sigmasource/sigmasource/server/resource"
)

const (
	tokenPrefix = "sgs_" // lets scanners of leaked secrets recognise a token
	hashPrefix  = "sha256:"
)

// Token is one static bearer token, known by its hash. Several tokens may stand
// for one principal, so that a token can be replaced without a gap: add the new
// one, move the callers, remove the old one.
type Token struct {
	Principal string `json:"principal"`
	Hash      string `json:"hash"` // `sha256:` and 64 hexadecimal digits, as NewToken gives it
	Roles     Roles  `json:"roles"`
}

// tokens are the static tokens' principals. The key is a SHA-256. A fast hash is
// right here, since a token has 256 random bits and cannot be guessed; and since
// the key is a hash, what the time of a look-up may tell about stored keys helps
// nobody to a token.
type tokens map[[sha256.Size]byte]*Principal

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

func newTokens(list []Token) (tokens, error) {
	known := make(tokens, len(list))
	for i, t := range list {
		if err := known.add(t); err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
	}
	return known, nil
}

func (known tokens) add(t Token) error {
	digits, ok := strings.CutPrefix(t.Hash, hashPrefix)
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != sha256.Size {
		return errors.New("hash is not `sha256:` and 64 hexadecimal digits")
	}
	if err := checkPrincipal(t.Principal, t.Roles); err != nil {
		return err
	}
	key := [sha256.Size]byte(sum)
	if _, taken := known[key]; taken {
		return errors.New("hash is listed twice")
	}
	known[key] = &Principal{Name: t.Principal, Via: "token", Roles: t.Roles}
	return nil
}

func checkPrincipal(name string, roles Roles) error {
	if name == "" {
		return errors.New("principal is empty")
	}
	return checkRoles(roles)
}

func checkRoles(roles Roles) error {
	if len(roles) == 0 {
		return errors.New("roles is empty")
	}
	for workspace := range roles {
		if err := checkWorkspace(workspace); err != nil {
			return err
		}
	}
	return nil
}

func checkWorkspace(id string) error {
	if _, err := resource.ParseWorkspace(resource.WorkspaceName(id)); err != nil && id != AnyWorkspace {
		return fmt.Errorf("workspace %q is no id of a workspace", id)
	}
	return nil
}
