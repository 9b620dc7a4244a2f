package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/auth/authtest"
)

func newIssuer(t testing.TB) *authtest.Issuer {
	t.Helper()
	issuer, err := authtest.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return issuer
}

// trusting returns callers whom the issuer vouches for.
func trusting(t testing.TB, issuer *authtest.Issuer) *auth.Callers {
	t.Helper()
	return newCallers(t, auth.Config{Issuers: []auth.Issuer{{Issuer: issuer.URL, Audiences: []string{authtest.Audience, "another"}}}})
}

func sign(t testing.TB, issuer *authtest.Issuer, token authtest.Token) string {
	t.Helper()
	signed, err := issuer.Sign(token)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func bearer(ctx context.Context, token string) context.Context {
	return withHeader(ctx, "Bearer "+token)
}

func TestRolesOfAToken(t *testing.T) {
	issuer := newIssuer(t)
	callers := newCallers(t, auth.Config{Issuers: []auth.Issuer{{
		Issuer: issuer.URL, Audiences: []string{authtest.Audience}, PrincipalClaim: "client", RolesClaim: "grants",
		Principals: map[string]auth.Roles{"known": {"acme": auth.Operator}},
	}}})
	for name, test := range map[string]struct {
		claims map[string]any
		want   auth.Roles
	}{
		"an object":             {map[string]any{"grants": map[string]any{"acme": "viewer", "globex": "admin"}}, auth.Roles{"acme": auth.Viewer, "globex": auth.Admin}},
		"a list among others":   {map[string]any{"grants": []string{"staff", "acme=operator", "x=y=z", "*=viewer"}}, auth.Roles{"acme": auth.Operator, "*": auth.Viewer}},
		"the greater of two":    {map[string]any{"grants": []string{"acme=admin", "acme=viewer"}}, auth.Roles{"acme": auth.Admin}},
		"none":                  {nil, auth.Roles{}},
		"a text":                {map[string]any{"grants": "acme=admin"}, auth.Roles{}},
		"unknown roles":         {map[string]any{"grants": map[string]any{"acme": "owner", "globex": 3, "Up": "viewer", "a/b": "viewer"}}, auth.Roles{}},
		"by name":               {map[string]any{"client": "known"}, auth.Roles{"acme": auth.Operator}},
		"by name and by claim":  {map[string]any{"client": "known", "grants": map[string]any{"acme": "viewer", "globex": "viewer"}}, auth.Roles{"acme": auth.Operator, "globex": auth.Viewer}},
		"those of another name": {map[string]any{"client": "Known"}, auth.Roles{}},
	} {
		claims := map[string]any{"client": "somebody"}
		for key, value := range test.claims {
			claims[key] = value
		}
		ctx, err := callers.Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{Claims: claims})))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := auth.PrincipalFrom(ctx); p.Via != issuer.URL || p.Name != claims["client"] || fmt.Sprint(p.Roles) != fmt.Sprint(test.want) {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{}))); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "client") {
		t.Errorf("without a name: %v", err)
	}
}

func TestAKeyIsRotated(t *testing.T) {
	issuer := newIssuer(t)
	callers := trusting(t, issuer)
	try := func(token string) error {
		_, err := callers.Authenticate(bearer(t.Context(), token))
		return err
	}
	first := sign(t, issuer, authtest.Token{})
	if err := try(first); err != nil {
		t.Fatal(err)
	}
	asked := issuer.Requests()
	for range 100 {
		if err := try(first); err != nil {
			t.Fatal(err)
		}
		if err := try(sign(t, issuer, authtest.Token{Claims: map[string]any{"jti": time.Now().String()}})); err != nil {
			t.Fatal(err)
		}
	}
	if got := issuer.Requests(); got != asked {
		t.Errorf("the issuer was asked %d times for what was known", got-asked)
	}

	if err := issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	second := sign(t, issuer, authtest.Token{})
	if err := try(second); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if err := try(sign(t, issuer, authtest.Token{Claims: map[string]any{"jti": "other"}})); err != nil {
		t.Errorf("another of it: %v", err)
	}
	if err := try(first); err != nil {
		t.Errorf("a token of the former key, which is still published: %v", err)
	}
	if got := issuer.Requests(); got != asked+1 {
		t.Errorf("the issuer was asked %d times", got-asked)
	}
}

// TestUnknownKeysFloodNobody: whoever invents keys neither has the issuer asked
// each time, nor waits.
func TestUnknownKeysFloodNobody(t *testing.T) {
	issuer := newIssuer(t)
	callers := trusting(t, issuer)
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{}))); err != nil {
		t.Fatal(err)
	}
	asked := issuer.Requests()
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less than the pause that a library would wait
		token := sign(t, issuer, authtest.Token{Header: map[string]any{"kid": fmt.Sprint("invented ", i)}})
		_, err := callers.Authenticate(bearer(ctx, token))
		if i == 0 && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the first: %v", err)
		}
		if i > 0 && !errors.Is(err, auth.ErrIssuerUnavailable) {
			t.Errorf("another: %v", err)
		}
		cancel()
	}
	if got := issuer.Requests(); got != asked+1 {
		t.Errorf("the issuer was asked %d times", got-asked)
	}
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{Claims: map[string]any{"jti": "x"}}))); err != nil {
		t.Errorf("an honest caller meanwhile: %v", err)
	}
}

func TestAnIssuerThatIsDown(t *testing.T) {
	issuer := newIssuer(t)
	issuer.SetDown(true)
	callers := trusting(t, issuer)
	token := sign(t, issuer, authtest.Token{})
	for range 3 {
		if _, err := callers.Authenticate(bearer(t.Context(), token)); !errors.Is(err, auth.ErrIssuerUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if got := issuer.Requests(); got != 1 {
		t.Errorf("it was asked %d times within a moment", got)
	}
	if _, err := callers.Authenticate(bearer(t.Context(), "a.b.c")); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("what is no token: %v", err)
	}

	// One that goes down later goes on being believed.
	up := newIssuer(t)
	callers = trusting(t, up)
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, up, authtest.Token{}))); err != nil {
		t.Fatal(err)
	}
	up.SetDown(true)
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, up, authtest.Token{Claims: map[string]any{"jti": "x"}}))); err != nil {
		t.Error(err)
	}
}

func TestDiscoveryMustBeTheIssuers(t *testing.T) {
	issuer := newIssuer(t)
	issuer.Claim("https://another.example.com")
	if _, err := trusting(t, issuer).Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{}))); !errors.Is(err, auth.ErrIssuerUnavailable) {
		t.Errorf("of another issuer: %v", err)
	}

	// A redirect could lead anywhere.
	honest := newIssuer(t)
	redirect := httptest.NewServer(http.RedirectHandler(honest.URL+"/.well-known/openid-configuration", http.StatusFound))
	t.Cleanup(redirect.Close)
	callers := newCallers(t, auth.Config{Issuers: []auth.Issuer{{Issuer: redirect.URL, Audiences: []string{authtest.Audience}}}})
	token := sign(t, honest, authtest.Token{Claims: map[string]any{"iss": redirect.URL}})
	if _, err := callers.Authenticate(bearer(t.Context(), token)); !errors.Is(err, auth.ErrIssuerUnavailable) || honest.Requests() != 0 {
		t.Errorf("by a redirect: %v, after %d requests", err, honest.Requests())
	}
}

func TestKeysWithoutDiscovery(t *testing.T) {
	issuer := newIssuer(t)
	callers := newCallers(t, auth.Config{Issuers: []auth.Issuer{{
		Issuer: "https://login.example.com", JWKSURI: issuer.URL + "/keys", Audiences: []string{authtest.Audience},
	}}})
	token := sign(t, issuer, authtest.Token{Claims: map[string]any{"iss": "https://login.example.com"}})
	if _, err := callers.Authenticate(bearer(t.Context(), token)); err != nil {
		t.Error(err)
	}
	if _, err := callers.Authenticate(bearer(t.Context(), sign(t, issuer, authtest.Token{}))); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("of an issuer that is not listed: %v", err)
	}
}

// TestAVerifiedTokenExpires: what is remembered of a token does not outlive it.
func TestAVerifiedTokenExpires(t *testing.T) {
	issuer := newIssuer(t)
	callers := trusting(t, issuer)
	token := sign(t, issuer, authtest.Token{})
	if _, err := callers.Authenticate(bearer(t.Context(), token)); err != nil {
		t.Fatal(err)
	}
	auth.SetNow(callers, func() time.Time { return time.Now().Add(10 * time.Minute) })
	if _, err := callers.Authenticate(bearer(t.Context(), token)); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkAuthenticate is the cost per call. Its baseline is a call that needs no
// authentication: nothing.
func BenchmarkAuthenticate(b *testing.B) {
	issuer := newIssuer(b)
	config := auth.Config{Issuers: []auth.Issuer{{Issuer: issuer.URL, Audiences: []string{authtest.Audience}}}}
	var static string
	for i := range 10_000 {
		token, hash := auth.NewToken()
		config.Tokens = append(config.Tokens, auth.Token{Principal: fmt.Sprint("p", i), Hash: hash, Roles: auth.Roles{"acme": auth.Viewer}})
		static = token
	}
	callers := newCallers(b, config)
	jwt := sign(b, issuer, authtest.Token{Claims: map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "sigmasource_roles": map[string]string{"acme": "admin"}}})
	run := func(name, token string, known bool) {
		ctx := bearer(b.Context(), token)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := callers.Authenticate(ctx); (err == nil) != known {
					b.Fatal(err)
				}
			}
		})
	}
	run("static token", static, true)
	run("unknown token", static+"x", false)
	run("verified JWT", jwt, true)
	asked := issuer.Requests()
	b.Run("JWT seen first", func(b *testing.B) {
		tokens := make([]context.Context, 0, 1000)
		for i := range cap(tokens) {
			tokens = append(tokens, bearer(b.Context(), sign(b, issuer, authtest.Token{Claims: map[string]any{"jti": fmt.Sprint(b.N, i), "exp": time.Now().Add(time.Hour).Unix()}})))
		}
		b.ResetTimer()
		for i := range b.N {
			if i%len(tokens) == 0 {
				auth.Forget(callers)
			}
			if _, err := callers.Authenticate(tokens[i%len(tokens)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	if got := issuer.Requests(); got != asked {
		b.Errorf("the issuer was asked %d times", got-asked)
	}
}
