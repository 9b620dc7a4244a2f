package main

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/server/auth/authtest"
)

// operator is the folder of one who runs a server.
type operator struct {
	t    *testing.T
	dir  string
	file func(string) string
}

// newOperator makes a folder with a token of the workspace acme, which the
// clients of this test send from now on.
func newOperator(t *testing.T) *operator {
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
