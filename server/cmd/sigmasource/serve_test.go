package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/sigmasource/sigmasource/server/auth/authtest"
	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/demo"
)

// operator is the folder of one who runs a server.
type operator struct {
	t    testing.TB
	dir  string
	file func(string) string
}

// newOperator makes a folder with a token of the workspace acme, which the
// clients of this test send from now on.
func newOperator(t testing.TB) *operator {
	t.Helper()
	dir := t.TempDir()
	o := &operator{t: t, dir: dir, file: func(name string) string { return filepath.Join(dir, name) }}
	entry, token, err := run(t.Context(), "", "token", "--principal", "platform", "--role", "acme=admin")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(entry, strings.TrimSpace(token)) {
		t.Error("the entry holds the token itself")
	}
	o.write("callers.json", `{"tokens": [`+entry+`]}`)
	t.Setenv("SIGMASOURCE_TOKEN", strings.TrimSpace(token))
	return o
}

func (o *operator) write(name, text string) string {
	o.t.Helper()
	if err := os.WriteFile(o.file(name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return o.file(name)
}

// flags are what serve needs at least.
func (o *operator) flags(more ...string) []string {
	return append([]string{"serve", "--callers", o.file("callers.json"), "--data-dir", o.file("data")}, more...)
}

// serve starts a server and points the clients to it.
func (o *operator) serve(more ...string) *pipe {
	o.t.Helper()
	_, log := start(o.t, o.flags(append([]string{"--listen", "127.0.0.1:0"}, more...)...)...)
	o.t.Setenv("SIGMASOURCE_SERVER", log.await(o.t, `"msg":"serving","address":"([^"]+)"`)[1])
	return log
}

func TestServeAsTheReadmeSays(t *testing.T) {
	o := newOperator(t)
	o.serve()
	out, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme")
	if err != nil || !strings.Contains(out, "warehouse") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/globex"); err == nil {
		t.Error("a token of another workspace was let in")
	}
}

func TestServeWithTLS(t *testing.T) {
	o := newOperator(t)
	authority := newAuthority(t)
	cert, key := o.issue(authority, onLoopback, "server")
	o.serve("--tls-cert", cert, "--tls-key", key)
	ca := o.write("ca.pem", authority.PEM)
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", ca); err != nil {
		t.Error(err)
	}
	other := o.write("other.pem", newAuthority(t).PEM)
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", other); err == nil {
		t.Error("a server of an unknown authority was believed")
	}
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme"); err == nil {
		t.Error("it answers in the clear")
	}
}

func TestServeRefusesToStart(t *testing.T) {
	o := newOperator(t)
	bad := o.write("bad.json", `{"tokens": [{"principal": "p", "hash": "sha256:short", "roles": {"acme": "admin"}}]}`)
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"without callers", `"callers"`, []string{"serve"}},
		{"with a bad hash", "--callers", []string{"serve", "--callers", bad}},
		{"in the clear for others", "--insecure", o.flags("--listen", "0.0.0.0:0")},
		{"in the clear on every address", "--insecure", o.flags("--listen", ":0")},
		{"without a port", "want HOST:PORT", o.flags("--listen", "localhost")},
		{"with half of TLS", "--tls-key", o.flags("--tls-cert", "cert.pem")},
		{"with an authority of clients and no certificate", "--tls-client-ca", o.flags("--tls-client-ca", "ca.pem")},
		{"with unknown access", "--reflection", o.flags("--reflection", "everybody")},
		{"with an unknown schema check", "--snowflake-schema-check", o.flags("--snowflake-schema-check", "loose")},
		{"with an audit that cannot be written", "--audit-log", o.flags("--audit-log", o.file("missing/audit.log"))},
		{"with an unknown level", "--log-level", o.flags("--log-level", "loud")},
		{"with a host that is none", "--allow-host", o.flags("--allow-host", "https://example.com/path")},
		{"with a key file that is none", "key", o.flags("--key-file", bad)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, _, err := run(t.Context(), "", test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServeInTheClearIsLoud(t *testing.T) {
	o := newOperator(t)
	_, log := start(t, o.flags("--listen", "0.0.0.0:0", "--insecure")...)
	log.await(t, `"level":"WARN","msg":"INSECURE: serving without TLS`)
	log.await(t, `"msg":"serving"`)
}

// TestServeKeepsTheKey never lets a server come up with a key that cannot open
// what its store holds.
func TestServeKeepsTheKey(t *testing.T) {
	o := newOperator(t)
	t.Run("first", func(t *testing.T) {
		first := *o
		first.t = t
		first.serve().await(t, "made a new key")
	})
	keyset, err := os.ReadFile(o.file("data/keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.file("data/keyset.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t.Context(), "", o.flags("--listen", "127.0.0.1:0")...); err == nil || !strings.Contains(err.Error(), "sealed with another key") {
		t.Errorf("without its key: %v", err)
	}
	t.Setenv("SIGMASOURCE_KEYSET", string(keyset))
	o.serve()
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme"); err != nil {
		t.Error(err)
	}
}

// eventually runs a command until it ends as it should, since a server takes up
// what has changed within a second or so.
func eventually(t *testing.T, well func(error) bool, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, _, err := run(ctx, "", args...)
		if well(err) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
}

func succeeds(err error) bool { return err == nil }
func fails(err error) bool    { return err != nil }

// TestServeTakesUpChanges replaces the certificate and the callers under a server
// that runs.
func TestServeTakesUpChanges(t *testing.T) {
	o := newOperator(t)
	first, second := newAuthority(t), newAuthority(t)
	cert, key := o.issue(first, onLoopback, "server")
	log := o.serve("--tls-cert", cert, "--tls-key", key)
	list := func(authority *authtest.Authority, name string) []string {
		return []string{"connections", "list", "workspaces/acme", "--ca", o.write(name, authority.PEM)}
	}
	if _, _, err := run(t.Context(), "", list(first, "first.pem")...); err != nil {
		t.Fatal(err)
	}
	o.issue(second, onLoopback, "server")
	eventually(t, succeeds, list(second, "second.pem")...)
	eventually(t, fails, list(first, "first.pem")...)

	former := os.Getenv("SIGMASOURCE_TOKEN")
	entry, token, err := run(t.Context(), "", "token", "--principal", "platform", "--role", "acme=viewer")
	if err != nil {
		t.Fatal(err)
	}
	o.write("callers.json", `{"tokens": [`+entry+`]}`)
	eventually(t, fails, list(second, "second.pem")...)
	t.Setenv("SIGMASOURCE_TOKEN", strings.TrimSpace(token))
	if _, _, err := run(t.Context(), "", list(second, "second.pem")...); err != nil {
		t.Error(err)
	}
	_, _, err = run(t.Context(), "", "connections", "delete", "workspaces/acme/connections/prod", "--ca", o.file("second.pem"))
	if err == nil || !strings.Contains(err.Error(), "role admin") {
		t.Errorf("a viewer deletes: %v", err)
	}

	o.write("callers.json", `{"tokens": [`)
	log.await(t, `cannot be taken up[^\n]*callers.json`)
	if _, _, err := run(t.Context(), "", list(second, "second.pem")...); err != nil {
		t.Errorf("with a file that is broken: %v", err)
	}
	if strings.Contains(log.String(), former) || strings.Contains(log.String(), strings.TrimSpace(token)) {
		t.Error("the log holds a token")
	}
}

func TestServeWithClientCertificates(t *testing.T) {
	o := newOperator(t)
	authority := newAuthority(t)
	cert, key := o.issue(authority, onLoopback, "server")
	ca := o.write("ca.pem", authority.PEM)
	o.write("callers.json", `{"certificates": [{"principal": "sync", "spiffe_id": "spiffe://example.com/sync", "roles": {"acme": "viewer"}}]}`)
	t.Setenv("SIGMASOURCE_TOKEN", "")
	o.serve("--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca)
	id, err := url.Parse("spiffe://example.com/sync")
	if err != nil {
		t.Fatal(err)
	}
	own, ownKey := o.issue(authority, x509.Certificate{URIs: []*url.URL{id}}, "client")
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", ca, "--cert", own, "--key-file", ownKey); err != nil {
		t.Error(err)
	}
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", ca); err == nil {
		t.Error("without a certificate it was let in")
	}
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", ca, "--cert", own, "--key-file", key); err == nil {
		t.Error("with another's key it was let in")
	}
}

func TestServeWithoutReflectionAndHealth(t *testing.T) {
	o := newOperator(t)
	o.serve("--reflection", "off", "--health", "authenticated")
	conn, err := (&client{server: os.Getenv("SIGMASOURCE_SERVER")}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("health: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+os.Getenv("SIGMASOURCE_TOKEN"))
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health with a token: %v", err)
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("reflection: %v", err)
	}
}

// TestKeysRotateUnderAServer makes a key, rotates it and reseals, while a server
// uses it, in the clear and wrapped.
func TestKeysRotateUnderAServer(t *testing.T) {
	for name, kms := range map[string]string{"in the clear": "", "wrapped": "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			t.Setenv("SIGMASOURCE_KMS", kms)
			keys := func(what, want string) {
				t.Helper()
				out, _, err := run(t.Context(), "", "keys", what, "--data-dir", o.file("data"))
				if err != nil || !strings.Contains(out, want) {
					t.Fatalf("keys %s: %v\n%s", what, err, out)
				}
			}
			if _, _, err := run(t.Context(), "", "keys", "reseal", "--data-dir", o.file("data")); err == nil {
				t.Error("a store was resealed that is not there")
			}
			keys("new", "keep a copy")
			if _, _, err := run(t.Context(), "", "keys", "new", "--data-dir", o.file("data")); err == nil {
				t.Error("a key was made over another")
			}
			sigma, err := demo.NewSigma()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := sigma.Close(); err != nil {
					t.Error(err)
				}
			})
			o.serve("--allow-host", sigma.Host(), "--duckdb-dir", o.dir)
			connection := fmt.Sprintf(`{"sigma": {"baseUrl": %q, "clientId": %q, "clientSecret": %q}, "warehouse": {"duckdb": {"database": "none"}}}`,
				sigma.URL(), sigma.Organization().ClientID, sigma.Organization().ClientSecret)
			create := func(name string) {
				t.Helper()
				if _, _, err := run(t.Context(), connection, "connections", "create", name, "-f", "-", "--skip-check"); err != nil {
					t.Fatal(err)
				}
			}
			opens := func(name string) { // the warehouse is missing, and Sigma is let in to
				t.Helper()
				out, _, err := run(t.Context(), "", "connections", "check", name)
				if !strings.Contains(out, "Sigma accepts the credentials") {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			}
			create(mine)
			opens(mine)
			keys("rotate", "keys reseal")
			keys("reseal", "resealed 1 connections and 0 read sessions")
			keys("reseal", "resealed 0 connections and 0 read sessions")
			opens(mine)
			create(mine + "2")
			opens(mine + "2")
			t.Setenv("SIGMASOURCE_KEYSET", "{}")
			if _, _, err := run(t.Context(), "", "keys", "rotate", "--data-dir", o.file("data")); err == nil || !strings.Contains(err.Error(), "SIGMASOURCE_KEYSET") {
				t.Errorf("a variable was rotated: %v", err)
			}
		})
	}
}

func TestServeKeepsAnAudit(t *testing.T) {
	o := newOperator(t)
	o.write("audit.log", `{"msg":"before"}`+"\n")
	o.serve("--audit-log", o.file("audit.log"))
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(o.file("audit.log"))
	if err != nil || !strings.HasPrefix(string(text), `{"msg":"before"}`) || !strings.Contains(string(text), `"method":"sigmasource.v1.SigmaConnections/ListConnections"`) {
		t.Errorf("%v\n%s", err, text)
	}
}

func newAuthority(t *testing.T) *authtest.Authority {
	t.Helper()
	authority, err := authtest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// issue writes a certificate and its key into the operator's folder.
func (o *operator) issue(authority *authtest.Authority, template x509.Certificate, name string) (cert, key string) {
	o.t.Helper()
	certificate, keyText, err := authority.Issue(template)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.write(name+".pem", certificate), o.write(name+"-key.pem", keyText)
}

// onLoopback is what a server on loopback is called.
var onLoopback = x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
