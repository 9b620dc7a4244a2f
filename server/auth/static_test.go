package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/sigmasource/sigmasource/server/auth"
)

func newStatic(t testing.TB, tokens ...auth.Token) *auth.Static {
	t.Helper()
	s, err := auth.NewStatic(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return s
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
	s := newStatic(t,
		auth.Token{Principal: "platform", Hash: hash, Workspaces: []string{"acme"}},
		auth.Token{Principal: "platform", Hash: strings.Replace(strings.ToUpper(nextHash), "SHA256", "sha256", 1), Workspaces: []string{"acme"}})
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
		if p := auth.PrincipalFrom(ctx); p == nil || p.Name != "platform" || !p.MayUse("acme") || p.MayUse("acme2") {
			t.Errorf("%s: principal %+v", name, p)
		}
	}
	if p := auth.PrincipalFrom(t.Context()); p != nil {
		t.Errorf("a principal from nowhere: %+v", p)
	}
}

func TestMayUse(t *testing.T) {
	for _, c := range []struct {
		workspaces []string
		workspace  string
		want       bool
	}{
		{[]string{"a", "b"}, "b", true},
		{[]string{"a"}, "b", false},
		{[]string{"a"}, "", false},
		{[]string{"a"}, "*", false},
		{[]string{"*"}, "b", true},
		{nil, "b", false},
	} {
		if got := (&auth.Principal{Workspaces: c.workspaces}).MayUse(c.workspace); got != c.want {
			t.Errorf("%v may use %q: %v", c.workspaces, c.workspace, got)
		}
	}
}

func TestLoadFile(t *testing.T) {
	_, hash := auth.NewToken()
	_, other := auth.NewToken()
	entry := func(principal, hash, workspaces string) string {
		return fmt.Sprintf(`{"principal": %q, "hash": %q, "workspaces": %s}`, principal, hash, workspaces)
	}
	for name, c := range map[string]struct {
		text string
		want string // in the error; empty for none
	}{
		"two":                 {`{"tokens": [` + entry("a", hash, `["x"]`) + `,` + entry("a", other, `["*"]`) + `]}`, ""},
		"none":                {`{"tokens": []}`, ""},
		"nothing":             {``, "EOF"},
		"no JSON":             {`tokens:`, "invalid character"},
		"two documents":       {`{"tokens": []} {}`, "follows"},
		"a misspelt field":    {`{"tokens": [{"principal": "a", "workspace": "x"}]}`, "workspace"},
		"no principal":        {`{"tokens": [` + entry("", hash, `["x"]`) + `]}`, "token 1: principal"},
		"no workspaces":       {`{"tokens": [` + entry("a", hash, `[]`) + `]}`, "token 1: workspaces"},
		"no such workspace":   {`{"tokens": [` + entry("a", hash, `["X/y"]`) + `]}`, `"X/y"`},
		"a wildcard":          {`{"tokens": [` + entry("a", hash, `["x*"]`) + `]}`, `"x*"`},
		"a token, not a hash": {`{"tokens": [` + entry("a", "sgs_abc", `["x"]`) + `]}`, "hash is not"},
		"another hash":        {`{"tokens": [` + entry("a", strings.Replace(hash, "sha256", "md5", 1), `["x"]`) + `]}`, "hash is not"},
		"a short hash":        {`{"tokens": [` + entry("a", hash[:len(hash)-2], `["x"]`) + `]}`, "hash is not"},
		"the same hash twice": {`{"tokens": [` + entry("a", hash, `["x"]`) + `,` + entry("b", hash, `["y"]`) + `]}`, "token 2: hash is listed twice"},
	} {
		path := filepath.Join(t.TempDir(), "tokens.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := auth.LoadFile(path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "sgs_abc"):
			t.Errorf("%s: the error holds what may be a token", name)
		}
	}
	if _, err := auth.LoadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	token, hash := auth.NewToken()
	s := newStatic(f, auth.Token{Principal: "p", Hash: hash, Workspaces: []string{"*"}})
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

func BenchmarkAuthenticate(b *testing.B) {
	var tokens []auth.Token
	var token string
	for i := range 10_000 {
		t, hash := auth.NewToken()
		tokens = append(tokens, auth.Token{Principal: fmt.Sprint("p", i), Hash: hash, Workspaces: []string{"acme"}})
		token = t
	}
	s := newStatic(b, tokens...)
	known := withHeader(b.Context(), "Bearer "+token)
	unknown := withHeader(b.Context(), "Bearer "+token+"x")
	b.Run("known", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Authenticate(known); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unknown", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Authenticate(unknown); err == nil {
				b.Fatal("no error")
			}
		}
	})
}
