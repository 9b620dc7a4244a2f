package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	certificate, key := authority.issue("127.0.0.1")
	o.serve("--tls-cert", o.write("cert.pem", certificate), "--tls-key", o.write("key.pem", key))
	ca := o.write("ca.pem", authority.pem)
	if _, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme", "--ca", ca); err != nil {
		t.Error(err)
	}
	other := o.write("other.pem", newAuthority(t).pem)
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

// authority signs certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, certificate, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))}
}

// issue signs a server's certificate for an address.
func (a *authority) issue(address string) (certificate, key string) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.certificate, own.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}))
}
