package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Certificate is a caller with a client certificate, known by its SPIFFE id or by
// a DNS name. Exactly one of the two is set. The server's TLS has verified the
// certificate against the authorities that the operator gave.
type Certificate struct {
	Principal string `json:"principal"`
	SPIFFEID  string `json:"spiffe_id"` // the certificate's only URI, such as `spiffe://example.com/sync`
	DNSName   string `json:"dns_name"`  // one of its DNS names, as it stands there
	Roles     Roles  `json:"roles"`
}

func (c Certificate) check() error {
	switch {
	case (c.SPIFFEID == "") == (c.DNSName == ""):
		return errors.New("give either spiffe_id or dns_name")
	case c.SPIFFEID != "":
		id, err := url.Parse(c.SPIFFEID)
		if err != nil || id.Scheme != "spiffe" || id.Host == "" || id.User != nil || id.RawQuery != "" || id.Fragment != "" {
			return errors.New("spiffe_id is not of the form spiffe://TRUST-DOMAIN/PATH")
		}
	}
	return checkPrincipal(c.Principal, c.Roles)
}

func (c Certificate) names(leaf *x509.Certificate) bool {
	if c.DNSName != "" {
		return slices.Contains(leaf.DNSNames, c.DNSName)
	}
	// A SPIFFE certificate has one URI. Of several, none is its identity
	// (X.509-SVID, section 2).
	return len(leaf.URIs) == 1 && leaf.URIs[0].String() == c.SPIFFEID
}

// byCertificate finds the caller by the client certificate.
func (c *Callers) byCertificate(ctx context.Context) (*Principal, error) {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil, ErrMissing
	}
	tls, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(tls.State.VerifiedChains) == 0 {
		return nil, ErrMissing
	}
	leaf := tls.State.VerifiedChains[0][0]
	if c.now().After(leaf.NotAfter) { // a connection may live for longer than its certificate
		return nil, &Error{Reason: Invalid, Problem: "the client certificate has expired"}
	}
	for _, known := range c.certificates {
		if known.names(leaf) {
			return &Principal{Name: known.Principal, Via: "certificate", Roles: known.Roles}, nil
		}
	}
	return nil, ErrInvalid
}
