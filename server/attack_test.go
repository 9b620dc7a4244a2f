package server_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/auth/authtest"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// fortress is a service with every way of knowing its callers, over TLS.
type fortress struct {
	*world
	issuer    *authtest.Issuer
	authority *authtest.Authority
}

const trustedID = "spiffe://example.com/sync"

func newFortress(t *testing.T) *fortress {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book("One", table("A")), book("Two", table("B"))}}, snowflaketest.Config{})
	w.fill("", "")
	f := &fortress{world: w}
	var err error
	f.issuer, err = authtest.NewIssuer()
	w.must(err)
	t.Cleanup(func() { w.close(f.issuer.Close()) })
	f.authority, err = authtest.NewAuthority()
	w.must(err)
	config := auth.Config{
		Issuers: []auth.Issuer{{Issuer: f.issuer.URL, Audiences: []string{authtest.Audience}}},
		Certificates: []auth.Certificate{
			{Principal: "sync", SPIFFEID: trustedID, Roles: auth.Roles{"acme": auth.Viewer}},
			{Principal: "platform", DNSName: "platform.example.com", Roles: auth.Roles{"acme": auth.Admin}},
		},
	}
	for i, id := range []string{"acme", "globex"} {
		config.Tokens = append(config.Tokens, auth.Token{Principal: id, Hash: auth.HashToken(w.tokens[i]), Roles: auth.Roles{id: auth.Admin}})
	}
	callers, err := auth.New(config, slog.New(slog.DiscardHandler))
	w.must(err)
	t.Cleanup(callers.Close)

	own, err := f.authority.IssueTLS(x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	w.must(err)
	w.dialWith = f.client(nil)
	w.restart(func(c *server.Config) {
		c.Callers = callers
		c.TLS = credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: f.authority.Pool()})
	})
	w.create(snowflakeName, w.snowflakeConnection())
	return f
}

// client is the client's side of TLS, with a certificate or none.
func (f *fortress) client(certificate *tls.Certificate) credentials.TransportCredentials {
	config := &tls.Config{RootCAs: f.authority.Pool(), MinVersion: tls.VersionTLS12}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	return credentials.NewTLS(config)
}

// get is the plainest call there is.
func get(ctx context.Context, conn grpc.ClientConnInterface) error {
	_, err := pb.NewSigmaConnectionsClient(conn).GetConnection(ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	return err
}

// jwt makes a call with a token that differs from an honest one.
func (f *fortress) jwt(ctx context.Context, differences authtest.Token) error {
	f.t.Helper()
	honest := map[string]any{"sigmasource_roles": map[string]string{"acme": "viewer"}}
	for claim, value := range differences.Claims {
		honest[claim] = value
	}
	differences.Claims = honest
	token, err := f.issuer.Sign(differences)
	f.must(err)
	return get(withToken(ctx, token), f.conn)
}

// certified makes a call with a client certificate instead of a token.
func (f *fortress) certified(ctx context.Context, by *authtest.Authority, template x509.Certificate, call func(context.Context, grpc.ClientConnInterface) error) error {
	f.t.Helper()
	certificate, err := by.IssueTLS(template)
	f.must(err)
	conn := f.dial(f.client(&certificate))
	defer func() { f.close(conn.Close()) }()
	return call(ctx, conn)
}

func uris(t *testing.T, texts ...string) (all []*url.URL) {
	t.Helper()
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

func TestHonestCallersAreLetIn(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	f.must(get(f.ctx, f.conn))
	f.must(f.jwt(t.Context(), authtest.Token{}))
	f.must(f.jwt(t.Context(), authtest.Token{Header: map[string]any{"typ": "at+jwt"}}))
	f.must(f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"aud": []string{"another", authtest.Audience}}}))
	f.must(f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"exp": time.Now().Add(-10 * time.Second).Unix()}})) // within the clocks' difference
	f.must(f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, trustedID)}, get))
	f.must(f.certified(t.Context(), f.authority, x509.Certificate{DNSNames: []string{"x.example.com", "platform.example.com"}}, get))
	f.must(f.issuer.Rotate())
	f.must(f.jwt(t.Context(), authtest.Token{}))
	if err := f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, "spiffe://example.com/other")},
		func(_ context.Context, conn grpc.ClientConnInterface) error { return get(f.ctx, conn) }); err != nil {
		t.Errorf("a token over an unknown certificate: %v", err)
	}
}

// TestAttacks tries to get in, out, and further, through a real listener.
func TestAttacks(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	before, err := f.connections.GetConnection(f.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	f.must(err)
	globex := f.snowflakeConnection()
	_, err = f.connections.CreateConnection(f.others, &pb.CreateConnectionRequest{Parent: "workspaces/globex", ConnectionId: "prod", Connection: globex, SkipScan: true})
	f.must(err)
	_, err = f.connections.CreateConnection(f.others, &pb.CreateConnectionRequest{Parent: "workspaces/globex", ConnectionId: "second", Connection: globex, SkipScan: true})
	f.must(err)
	f.create(workspace+"/connections/second", f.snowflakeConnection())
	f.scan(snowflakeName)
	mark := len(f.sigma.Requests())

	ownKey, err := rsa.GenerateKey(rand.Reader, 2048)
	f.must(err)
	publicKey, err := x509.MarshalPKIXPublicKey(f.issuer.PublicKey())
	f.must(err)
	stranger, err := authtest.NewAuthority()
	f.must(err)
	honest, err := f.issuer.Sign(authtest.Token{Claims: map[string]any{"sigmasource_roles": map[string]string{"acme": "viewer"}}})
	f.must(err)
	parts := strings.Split(honest, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(
		`{"iss":%q,"aud":%q,"sub":"caller","exp":%d,"sigmasource_roles":{"*":"admin"}}`, f.issuer.URL, authtest.Audience, time.Now().Add(time.Minute).Unix())))
	header := func(values ...string) error {
		ctx := t.Context()
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
		}
		return get(ctx, f.conn)
	}
	viewer := withToken(t.Context(), honest)
	name := func(name string) error {
		_, err := f.connections.GetConnection(f.ctx, &pb.GetConnectionRequest{Name: name})
		return err
	}
	update := func(ctx context.Context, change *pb.Connection, paths ...string) error {
		change.Name = snowflakeName
		_, err := f.connections.UpdateConnection(ctx, &pb.UpdateConnectionRequest{Connection: change, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
		return err
	}
	page := func(ctx context.Context, of, parent, at string) error {
		first, err := f.connections.ListConnections(f.ctx, &pb.ListConnectionsRequest{Parent: workspace, PageSize: 1})
		f.must(err)
		token := first.GetNextPageToken()
		switch at {
		case "cut":
			token = token[:len(token)/2]
		case "changed":
			token = "A" + token[1:]
		case "invented":
			token = base64.RawURLEncoding.EncodeToString([]byte(parent))
		}
		if of == "models" {
			_, err = f.catalog.ListModels(ctx, &pb.ListModelsRequest{Parent: parent, PageToken: token})
		} else {
			_, err = f.connections.ListConnections(ctx, &pb.ListConnectionsRequest{Parent: parent, PageToken: token})
		}
		return err
	}
	base := func(url string) error {
		_, err := f.connections.CreateConnection(f.ctx, f.createRequest(func(r *pb.CreateConnectionRequest) {
			r.ConnectionId, r.Connection.Sigma.BaseUrl = "ssrf", url
		}))
		return err
	}

	const (
		missing   = pb.ErrorReason_ERROR_REASON_TOKEN_MISSING
		invalid   = pb.ErrorReason_ERROR_REASON_TOKEN_INVALID
		forbidden = pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN
		tooLow    = pb.ErrorReason_ERROR_REASON_ROLE_TOO_LOW
		request   = pb.ErrorReason_ERROR_REASON_REQUEST_INVALID
		host      = pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED
		transport = pb.ErrorReason_ERROR_REASON_UNSPECIFIED // refused below our code, without a reason
	)
	for _, attack := range []struct {
		name   string
		code   codes.Code
		reason pb.ErrorReason
		err    error
	}{
		// Tokens.
		{"no token", codes.Unauthenticated, missing, get(t.Context(), f.conn)},
		{"a token under another name", codes.Unauthenticated, missing, get(metadata.AppendToOutgoingContext(t.Context(), "x-token", f.tokens[0]), f.conn)},
		{"nothing as a token", codes.Unauthenticated, invalid, header("")},
		{"the scheme alone", codes.Unauthenticated, invalid, header("Bearer")},
		{"another scheme", codes.Unauthenticated, invalid, header("Basic " + f.tokens[0])},
		{"two tokens, one good", codes.Unauthenticated, invalid, header("Bearer wrong", "Bearer "+f.tokens[0])},
		{"a token and a character", codes.Unauthenticated, invalid, header("Bearer " + f.tokens[0] + "x")},
		{"a token less a character", codes.Unauthenticated, invalid, header("Bearer " + f.tokens[0][:len(f.tokens[0])-1])},
		{"the hash of a token", codes.Unauthenticated, invalid, header("Bearer " + auth.HashToken(f.tokens[0]))},
		{"a token of many kilobytes", codes.Unauthenticated, invalid, header("Bearer " + strings.Repeat("a", 9<<10))},
		{"a header that no server takes", codes.Internal, transport, header("Bearer " + strings.Repeat("a", 64<<10))},

		// JWTs.
		{"no JWT", codes.Unauthenticated, invalid, header("Bearer a.b.c")},
		{"a JWT of nothing", codes.Unauthenticated, invalid, header("Bearer ..")},
		{"no signature, and alg none", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Method: jwt.SigningMethodNone, Key: jwt.UnsafeAllowNoneSignatureType})},
		{"the public key as a secret", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Method: jwt.SigningMethodHS256, Key: publicKey})},
		{"a key of the caller's own", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Key: ownKey})},
		{"the same, without its name", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Key: ownKey, Header: map[string]any{"kid": nil}})},
		{"the same, in the header", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Key: ownKey, Header: map[string]any{
			"jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(ownKey.N.Bytes()), "e": "AQAB"}}})},
		{"the same, at a URL in the header", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Key: ownKey, Header: map[string]any{"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/cert"}})},
		{"a name of a key that is no text", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Header: map[string]any{"kid": []string{"key 1"}}})},
		{"another algorithm than agreed", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Method: jwt.SigningMethodRS512})},
		{"claims changed after signing", codes.Unauthenticated, invalid, header("Bearer " + parts[0] + "." + forged + "." + parts[2])},
		{"the signature cut off", codes.Unauthenticated, invalid, header("Bearer " + parts[0] + "." + parts[1] + ".")},
		{"another issuer", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"iss": "https://evil.example.com"}})},
		{"an issuer and a slash", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"iss": f.issuer.URL + "/"}})},
		{"another audience", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"aud": "another"}})},
		{"no audience", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"aud": nil}})},
		{"expired", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}})},
		{"never expiring", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"exp": nil}})},
		{"not yet valid", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}})},
		{"nobody's", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"sub": nil}})},
		{"a token for signing out", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Header: map[string]any{"typ": "logout+jwt"}})},
		{"rules that nobody knows", codes.Unauthenticated, invalid, f.jwt(t.Context(), authtest.Token{Header: map[string]any{"crit": []string{"x"}, "x": true}})},
		{"no roles", codes.PermissionDenied, forbidden, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"sigmasource_roles": nil}})},
		{"roles in another workspace", codes.PermissionDenied, forbidden, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"sigmasource_roles": []string{"globex=admin"}}})},
		{"a role that there is not", codes.PermissionDenied, forbidden, f.jwt(t.Context(), authtest.Token{Claims: map[string]any{"sigmasource_roles": []string{"acme=root"}}})},

		// Certificates.
		{"a certificate of a stranger", codes.Unavailable, transport, f.certified(t.Context(), stranger, x509.Certificate{URIs: uris(t, trustedID)}, get)},
		{"an expired certificate", codes.Unavailable, transport, f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, trustedID), NotAfter: time.Now().Add(-time.Minute)}, get)},
		{"a certificate of an unknown name", codes.Unauthenticated, invalid, f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, trustedID+"/more")}, get)},
		{"a certificate of two identities", codes.Unauthenticated, invalid, f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, trustedID, "spiffe://example.com/other")}, get)},
		{"a name in the wrong place", codes.Unauthenticated, invalid, f.certified(t.Context(), f.authority, x509.Certificate{Subject: pkix.Name{CommonName: "platform.example.com"}}, get)},
		{"a wildcard certificate", codes.Unauthenticated, invalid, f.certified(t.Context(), f.authority, x509.Certificate{DNSNames: []string{"*.example.com"}}, get)},
		{"the server's own certificate", codes.Unauthenticated, invalid, f.certified(t.Context(), f.authority, x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, get)},
		{"a certificate for looking only", codes.PermissionDenied, tooLow, f.certified(t.Context(), f.authority, x509.Certificate{URIs: uris(t, trustedID)}, func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := pb.NewSigmaConnectionsClient(conn).DeleteConnection(ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
			return err
		})},
		{"no TLS", codes.Unavailable, transport, func() error {
			conn := f.plain()
			defer func() { f.close(conn.Close()) }()
			return get(f.ctx, conn)
		}()},

		// Roles and workspaces.
		{"a viewer that deletes", codes.PermissionDenied, tooLow, func() error {
			_, err := f.connections.DeleteConnection(viewer, &pb.DeleteConnectionRequest{Name: snowflakeName})
			return err
		}()},
		{"a viewer that scans", codes.PermissionDenied, tooLow, func() error {
			_, err := f.catalog.StartScan(viewer, &pb.StartScanRequest{Parent: snowflakeName})
			return err
		}()},
		{"a viewer that changes a host", codes.PermissionDenied, tooLow, update(viewer, &pb.Connection{Sigma: &pb.SigmaCredentials{BaseUrl: "https://evil.example.com"}}, "sigma.base_url")},
		{"another workspace's connection", codes.PermissionDenied, forbidden, name("workspaces/globex/connections/prod")},
		{"what no workspace has", codes.PermissionDenied, forbidden, name("workspaces/initech/connections/prod")},
		{"a connection sent under another's name", codes.PermissionDenied, forbidden, func() error {
			_, err := f.connections.UpdateConnection(f.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: "workspaces/globex/connections/prod", DisplayName: "mine"}})
			return err
		}()},
		{"reflection without a token", codes.Unauthenticated, missing, func() error {
			stream, err := reflectionpb.NewServerReflectionClient(f.conn).ServerReflectionInfo(t.Context())
			f.must(err)
			_, err = stream.Recv()
			return err
		}()},
		{"a method that there is not", codes.Unimplemented, transport, f.conn.Invoke(f.ctx, "/sigmasource.v1.SigmaConnections/RevealSecrets", &pb.GetConnectionRequest{Name: snowflakeName}, &pb.Connection{})},

		// Names.
		{"a way out of a name", codes.InvalidArgument, request, name("workspaces/acme/../globex/connections/prod")},
		{"a way out, encoded", codes.InvalidArgument, request, name("workspaces/acme%2f..%2fglobex/connections/prod")},
		{"a way out behind the name", codes.InvalidArgument, request, name(snowflakeName + "/../../../globex/connections/prod")},
		{"a name with a line break", codes.InvalidArgument, request, name(snowflakeName + "\n")},
		{"a name with a NUL", codes.InvalidArgument, request, name(snowflakeName + "\x00")},
		{"a name in other letters", codes.InvalidArgument, request, name("workspaces/аcme/connections/prod")},
		{"a name in capitals", codes.InvalidArgument, request, name("workspaces/ACME/connections/prod")},
		{"a name with a wildcard", codes.InvalidArgument, request, name("workspaces/*/connections/prod")},
		{"a name of 100 kB", codes.InvalidArgument, request, name("workspaces/acme/connections/" + strings.Repeat("a", 100<<10))},
		{"a message of 2 MB", codes.ResourceExhausted, transport, name(strings.Repeat("a", 2<<20))},
		{"a model's id with slashes", codes.InvalidArgument, request, func() error {
			_, err := f.catalog.GetModel(f.ctx, &pb.GetModelRequest{Name: snowflakeName + "/models/../../x.y"})
			return err
		}()},
		{"a way out of the folder of databases", codes.InvalidArgument, request, func() error {
			_, err := f.connections.CreateConnection(f.ctx, f.createRequest(func(r *pb.CreateConnectionRequest) {
				r.Connection = f.duckdbConnection()
				r.Connection.GetWarehouse().GetDuckdb().Database = "../store"
			}))
			return err
		}()},

		// Hosts. More of them are in TestHostsAreRefused.
		{"a loopback address", codes.InvalidArgument, host, base("https://127.0.0.1")},
		{"a loopback address in other digits", codes.InvalidArgument, host, base("https://2130706433")},
		{"a loopback address in plain http", codes.InvalidArgument, host, base("http://127.0.0.1:1")},
		{"an IPv6 loopback address", codes.InvalidArgument, host, base("https://[::1]")},
		{"the cloud's metadata", codes.InvalidArgument, host, base("http://169.254.169.254")},
		{"the cloud's metadata by name", codes.InvalidArgument, host, base("https://metadata.google.internal")},
		{"a name that resolves inward", codes.InvalidArgument, host, base("https://127.0.0.1.nip.io")},
		{"a name of Sigma's kind", codes.InvalidArgument, host, base("https://aws-api.sigmacomputing.com.evil.example.com")},
		{"a user in the URL", codes.InvalidArgument, host, base("https://aws-api.sigmacomputing.com@evil.example.com")},
		{"a file", codes.InvalidArgument, host, base("file:///etc/passwd")},

		// Field masks.
		{"a mask of a secret of the warehouse", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{}, "warehouse.snowflake.password")},
		{"a mask of everything", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{}, "*")},
		{"a mask of the name", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{}, "name")},
		{"a mask of the organization", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{OrganizationId: "mine"}, "organization_id")},
		{"a secret as a mask", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{}, "sigma."+canary+"secret")},
		{"an empty secret", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{}, "sigma.client_secret")},
		{"another host for a kept secret", codes.InvalidArgument, request, update(f.ctx, &pb.Connection{Sigma: &pb.SigmaCredentials{BaseUrl: "https://aws-api.sigmacomputing.com"}}, "sigma.base_url")},

		// Page tokens.
		{"a page of another caller's list", codes.InvalidArgument, request, page(f.others, "connections", "workspaces/globex", "")},
		{"a page of another list", codes.InvalidArgument, request, page(f.ctx, "models", snowflakeName, "")},
		{"a page token cut", codes.InvalidArgument, request, page(f.ctx, "connections", workspace, "cut")},
		{"a page token changed", codes.InvalidArgument, request, page(f.ctx, "connections", workspace, "changed")},
		{"a page token invented", codes.InvalidArgument, request, page(f.ctx, "connections", workspace, "invented")},
	} {
		t.Run(attack.name, func(t *testing.T) {
			if attack.reason != transport {
				wantError(t, attack.err, attack.code, attack.reason)
			} else if status.Code(attack.err) != attack.code {
				t.Errorf("got %v", attack.err)
			}
		})
	}

	after, err := f.connections.GetConnection(f.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	f.must(err)
	if !proto.Equal(before, after) {
		t.Errorf("something was changed:\n%v\n%v", before, after)
	}
	f.wantStored("prod", "second")
	if n := len(f.sigma.Requests()) - mark; n != 0 {
		t.Errorf("Sigma was called %d times", n)
	}
}

// plain connects without TLS.
func (f *fortress) plain() *grpc.ClientConn {
	f.t.Helper()
	kept := f.dialWith
	defer func() { f.dialWith = kept }()
	return f.dial(nil)
}

// TestRedirectsAreNotFollowed: a host that was admitted must not lead to one that
// was not, with the secret in hand.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := bare(t)
	var inside atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(target.Close)
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		redirect := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, target.URL+r.URL.Path, code)
		}))
		t.Cleanup(redirect.Close)
		w.admitted = append(w.admitted, strings.TrimPrefix(redirect.URL, "http://"))
		w.restart(nil)
		for field, change := range map[string]func(*pb.Connection){
			"Sigma":     func(c *pb.Connection) { c.Sigma.BaseUrl = redirect.URL },
			"Snowflake": func(c *pb.Connection) { c.GetWarehouse().GetSnowflake().Url = redirect.URL },
		} {
			ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
			_, err := w.connections.CreateConnection(ctx, w.createRequest(func(r *pb.CreateConnectionRequest) { change(r.GetConnection()) }))
			cancel()
			if err == nil {
				t.Errorf("%s with a redirect %d was believed", field, code)
			}
			if n := inside.Load(); n != 0 {
				t.Fatalf("%s with a redirect %d: it was followed", field, code)
			}
		}
	}
	w.wantStored()
}
