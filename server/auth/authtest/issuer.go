// Package authtest vouches for callers in tests: an issuer of tokens over HTTP, as
// an OpenID provider is one, and an authority of certificates. They sign what they
// are asked to, also what no honest one would. Nothing but tests imports it.
package authtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Audience is what the tokens are for, unless a claim says otherwise.
const Audience = "sigmasource"

// Issuer signs tokens, and publishes the keys to verify them.
type Issuer struct {
	URL string

	server *http.Server
	served chan error

	mu       sync.Mutex
	keys     []key // the last signs; all are published
	named    int
	claimed  string // the issuer that discovery tells, if not URL
	down     bool
	requests int
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

// NewIssuer starts an issuer on loopback.
func NewIssuer() (*Issuer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &Issuer{URL: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	if err := i.Rotate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.jwks)
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { i.served <- i.server.Serve(listener) }()
	return i, nil
}

// Close stops the issuer.
func (i *Issuer) Close() error {
	err := i.server.Close()
	if served := <-i.served; served != http.ErrServerClosed {
		return served
	}
	return err
}

// Rotate signs with a new key from now on; the former ones stay published.
func (i *Issuer) Rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.named++
	i.keys = append(i.keys, key{fmt.Sprint("key ", i.named), private})
	return nil
}

// Revoke publishes the newest key only.
func (i *Issuer) Revoke() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// SetDown has the issuer fail, or answer again.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Claim has discovery tell another issuer's URL.
func (i *Issuer) Claim(url string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claimed = url
}

// Requests is how often the issuer was asked for anything.
func (i *Issuer) Requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// Token is what differs from an honest token of the issuer.
type Token struct {
	Claims map[string]any    // nil removes a claim
	Header map[string]any    // nil removes a field
	Method jwt.SigningMethod // nil means RS256
	Key    crypto.PrivateKey // or the bytes of a symmetric key; nil means the issuer's newest
}

// PublicKey is the newest key's public half.
func (i *Issuer) PublicKey() *rsa.PublicKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return &i.keys[len(i.keys)-1].private.PublicKey
}

// Sign returns a token that is good for a minute, with the given differences.
func (i *Issuer) Sign(differences Token) (string, error) {
	i.mu.Lock()
	newest := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": i.URL, "aud": Audience, "sub": "caller", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	override(claims, differences.Claims)
	method := differences.Method
	if method == nil {
		method = jwt.SigningMethodRS256
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = newest.id
	override(token.Header, differences.Header)
	if differences.Key == nil {
		return token.SignedString(newest.private)
	}
	return token.SignedString(differences.Key)
}

func override(of, with map[string]any) {
	maps.Copy(of, with)
	maps.DeleteFunc(of, func(_ string, value any) bool { return value == nil })
}

// asked counts a request, and reports whether it is to be answered.
func (i *Issuer) asked(w http.ResponseWriter) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests++
	if i.down {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return !i.down
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	if !i.asked(w) {
		return
	}
	i.mu.Lock()
	issuer := i.claimed
	i.mu.Unlock()
	if issuer == "" {
		issuer = i.URL
	}
	answer(w, map[string]string{"issuer": issuer, "jwks_uri": i.URL + "/keys"})
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	if !i.asked(w) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jwkset.JWKSMarshal
	for _, k := range i.keys {
		public, err := jwkset.NewJWKFromKey(&k.private.PublicKey, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: k.id, ALG: jwkset.AlgRS256, USE: jwkset.UseSig},
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, public.Marshal())
	}
	answer(w, set)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
