package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/sigmasource/sigmasource/server/auth"
)

func newCallers(t testing.TB, config auth.Config) *auth.Callers {
	t.Helper()
	callers, err := auth.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(callers.Close)
	return callers
}

func withHeader(ctx context.Context, values ...string) context.Context {
	md := metadata.MD{}
	md.Append("authorization", values...)
	return metadata.NewIncomingContext(ctx, md)
}

func TestNewToken(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		token, hash := auth.NewToken()
		if seen[token] || len(token) != len("sgs_")+43 || !strings.HasPrefix(token, "sgs_") {
			t.Fatalf("a token of %d characters, seen before: %v", len(token), seen[token])
		}
		seen[token] = true
		if hash != auth.HashToken(token) || !strings.HasPrefix(hash, "sha256:") || strings.Contains(hash, token) {
			t.Fatalf("hash %s", hash)
		}
	}
	// The digest of "abc" in FIPS 180-2.
	if got := auth.HashToken("abc"); got != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash of abc: %s", got)
	}
}

func TestAuthenticate(t *testing.T) {
	token, hash := auth.NewToken()
	next, nextHash := auth.NewToken()
	strange, _ := auth.NewToken()
	acme := auth.Roles{"acme": auth.Admin}
	s := newCallers(t, auth.Config{Tokens: []auth.Token{
		{Principal: "platform", Hash: hash, Roles: acme},
		{Principal: "platform", Hash: strings.Replace(strings.ToUpper(nextHash), "SHA256", "sha256", 1), Roles: acme},
	}})
	for name, c := range map[string]struct {
		ctx  context.Context
		want error
	}{
		"a token":                    {withHeader(t.Context(), "Bearer "+token), nil},
		"the scheme in other case":   {withHeader(t.Context(), "bearer "+token), nil},
		"the principal's next token": {withHeader(t.Context(), "Bearer "+next), nil},
		"no metadata":                {t.Context(), auth.ErrMissing},
		"other metadata":             {metadata.NewIncomingContext(t.Context(), metadata.Pairs("token", token)), auth.ErrMissing},
		"nothing":                    {withHeader(t.Context(), ""), auth.ErrInvalid},
		"no scheme":                  {withHeader(t.Context(), token), auth.ErrInvalid},
		"another scheme":             {withHeader(t.Context(), "Basic "+token), auth.ErrInvalid},
		"no token":                   {withHeader(t.Context(), "Bearer "), auth.ErrInvalid},
		"an unknown token":           {withHeader(t.Context(), "Bearer "+strange), auth.ErrInvalid},
		"half a token":               {withHeader(t.Context(), "Bearer "+token[:20]), auth.ErrInvalid},
		"a token and more":           {withHeader(t.Context(), "Bearer "+token+" x"), auth.ErrInvalid},
		"a space too many":           {withHeader(t.Context(), "Bearer  "+token), auth.ErrInvalid},
		"the hash for the token":     {withHeader(t.Context(), "Bearer "+hash), auth.ErrInvalid},
		"two tokens":                 {withHeader(t.Context(), "Bearer "+token, "Bearer "+token), auth.ErrInvalid},
		"a huge token":               {withHeader(t.Context(), "Bearer "+strings.Repeat("a", 1<<20)), auth.ErrInvalid},
	} {
		ctx, err := s.Authenticate(c.ctx)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
			continue
		}
		if err != nil {
			if strings.Contains(err.Error(), token) {
				t.Errorf("%s: the error holds the token", name)
			}
			continue
		}
		if p := auth.PrincipalFrom(ctx); p == nil || p.Name != "platform" || p.Via != "token" || len(p.Roles) != 1 || p.Roles["acme"] != auth.Admin {
			t.Errorf("%s: principal %+v", name, p)
		}
	}
	if p := auth.PrincipalFrom(t.Context()); p != nil {
		t.Errorf("a principal from nowhere: %+v", p)
	}
}

func TestOpen(t *testing.T) {
	_, hash := auth.NewToken()
	_, other := auth.NewToken()
	entry := func(principal, hash, roles string) string {
		return fmt.Sprintf(`{"principal": %q, "hash": %q, "roles": %s}`, principal, hash, roles)
	}
	for name, c := range map[string]struct {
		text string
		want string // in the error; empty for none
	}{
		"two":                        {`{"tokens": [` + entry("a", hash, `{"x": "viewer"}`) + `,` + entry("a", other, `{"*": "admin"}`) + `]}`, ""},
		"none":                       {`{"tokens": []}`, "no callers"},
		"nothing":                    {``, "EOF"},
		"no JSON":                    {`tokens:`, "invalid character"},
		"two documents":              {`{"tokens": []} {}`, "follows"},
		"a misspelt field":           {`{"tokens": [{"principal": "a", "role": "x"}]}`, "role"},
		"an unknown role":            {`{"tokens": [` + entry("a", hash, `{"x": "owner"}`) + `]}`, "viewer, operator or admin"},
		"a certificate":              {`{"certificates": [{"principal": "a", "spiffe_id": "spiffe://example.com/a", "roles": {"x": "viewer"}}, {"principal": "b", "dns_name": "b.example.com", "roles": {"x": "viewer"}}]}`, ""},
		"a certificate of two names": {`{"certificates": [{"principal": "a", "spiffe_id": "spiffe://example.com/a", "dns_name": "b", "roles": {"x": "viewer"}}]}`, "certificate 1: give either"},
		"a certificate of no name":   {`{"certificates": [{"principal": "a", "roles": {"x": "viewer"}}]}`, "certificate 1: give either"},
		"a SPIFFE id that is none":   {`{"certificates": [{"principal": "a", "spiffe_id": "https://example.com/a", "roles": {"x": "viewer"}}]}`, "spiffe://"},
		"a certificate for nothing":  {`{"certificates": [{"principal": "a", "dns_name": "b"}]}`, "certificate 1: roles"},
		"an issuer":                  {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"]}]}`, ""},
		"an issuer twice":            {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"]}, {"issuer": "https://login.example.com", "audiences": ["b"]}]}`, "issuer 2: it is listed twice"},
		"an issuer in the clear":     {`{"issuers": [{"issuer": "http://login.example.com", "audiences": ["a"]}]}`, "https"},
		"keys in the clear":          {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "jwks_uri": "http://login.example.com/keys"}]}`, "jwks_uri: it must be https"},
		"an issuer with a password":  {`{"issuers": [{"issuer": "https://a:b@login.example.com", "audiences": ["a"]}]}`, "no URL"},
		"no audience":                {`{"issuers": [{"issuer": "https://login.example.com"}]}`, "audiences"},
		"an empty audience":          {`{"issuers": [{"issuer": "https://login.example.com", "audiences": [""]}]}`, "audiences"},
		"a symmetric algorithm":      {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "algorithms": ["HS256"]}]}`, `"HS256"`},
		"no algorithm":               {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "algorithms": ["none"]}]}`, `"none"`},
		"a long clock skew":          {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "clock_skew": "1h"}]}`, "clock_skew"},
		"no clock skew":              {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "clock_skew": "soon"}]}`, "clock_skew"},
		"principals without roles":   {`{"issuers": [{"issuer": "https://login.example.com", "audiences": ["a"], "principals": {"b": {}}}]}`, "principals: roles"},
		"no principal":               {`{"tokens": [` + entry("", hash, `{"x": "viewer"}`) + `]}`, "token 1: principal"},
		"no roles":                   {`{"tokens": [` + entry("a", hash, `{}`) + `]}`, "token 1: roles"},
		"no such workspace":          {`{"tokens": [` + entry("a", hash, `{"X/y": "viewer"}`) + `]}`, `"X/y"`},
		"a wildcard":                 {`{"tokens": [` + entry("a", hash, `{"x*": "viewer"}`) + `]}`, `"x*"`},
		"a token, not a hash":        {`{"tokens": [` + entry("a", "sgs_abc", `{"x": "viewer"}`) + `]}`, "hash is not"},
		"another hash":               {`{"tokens": [` + entry("a", strings.Replace(hash, "sha256", "md5", 1), `{"x": "viewer"}`) + `]}`, "hash is not"},
		"a short hash":               {`{"tokens": [` + entry("a", hash[:len(hash)-2], `{"x": "viewer"}`) + `]}`, "hash is not"},
		"the same hash twice":        {`{"tokens": [` + entry("a", hash, `{"x": "viewer"}`) + `,` + entry("b", hash, `{"y": "viewer"}`) + `]}`, "token 2: hash is listed twice"},
	} {
		path := filepath.Join(t.TempDir(), "tokens.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := auth.Open(path, time.Hour, slog.New(slog.DiscardHandler))
		if err == nil {
			opened.Close()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "sgs_abc"):
			t.Errorf("%s: the error holds what may be a token", name)
		}
	}
	if _, err := auth.Open(filepath.Join(t.TempDir(), "none"), time.Hour, slog.Default()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	token, hash := auth.NewToken()
	s := newCallers(f, auth.Config{Tokens: []auth.Token{{Principal: "p", Hash: hash, Roles: auth.Roles{"*": auth.Admin}}}})
	for _, seed := range []string{"", "Bearer " + token, "Bearer", "bearer  x", "Basic eDp5", "Bearer \x00", hash} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		ctx, err := s.Authenticate(withHeader(t.Context(), header))
		known := len(header) > len("bearer ") && strings.EqualFold(header[:len("bearer ")], "bearer ") && header[len("bearer "):] == token
		if known != (err == nil) {
			t.Fatalf("error %v", err)
		}
		if err == nil && auth.PrincipalFrom(ctx) == nil {
			t.Fatal("no principal")
		}
	})
}
