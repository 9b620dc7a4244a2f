package sigmaclient_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const baseURL = "https://aws-api.sigmacomputing.com"

// sigma is an organization and a service that reads it, in memory: no network
// is touched, so that time may be virtual.
type sigma struct {
	*sigmatest.Server
	service   *sigmaclient.Service
	transport *http.Transport
}

func newSigma(t *testing.T, organization sigmatest.Organization, options ...func(*sigmaclient.Options)) *sigma {
	t.Helper()
	s := &sigma{Server: sigmatest.New(organization)}
	s.transport = s.Transport()
	o := sigmaclient.Options{Transport: s.transport, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, option := range options {
		option(&o)
	}
	s.service = sigmaclient.New(o)
	t.Cleanup(func() { s.close(t) })
	return s
}

func (s *sigma) close(t *testing.T) {
	t.Helper()
	s.service.Close()
	s.transport.CloseIdleConnections()
	if err := s.Server.Close(); err != nil {
		t.Error(err)
	}
}

func (s *sigma) credentials() sigmaclient.Credentials {
	org := s.Organization()
	return sigmaclient.Credentials{
		BaseURL: baseURL, ClientID: org.ClientID, ClientSecret: sigmaclient.Secret(org.ClientSecret), OrganizationID: org.ID,
	}
}

func (s *sigma) client(t *testing.T) *sigmaclient.Client {
	t.Helper()
	return s.clientFor(t, s.credentials())
}

func (s *sigma) clientFor(t *testing.T, credentials sigmaclient.Credentials) *sigmaclient.Client {
	t.Helper()
	client, err := s.service.Client(credentials)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// grants counts the requests for tokens.
func (s *sigma) grants() int { return s.Count("/v2/auth/token") }

// small is an organization of one workbook with one table.
func small() sigmatest.Organization {
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{{Name: "Production", Account: "ACME"}},
		Workbooks: []sigmatest.Workbook{{Name: "Churn", Path: "Growth", Pages: []sigmatest.Page{{Name: "Page 1", Elements: []sigmatest.Element{
			{Name: "Customers", Columns: sigmatest.Columns("Id:number", "E-Mail")},
		}}}}},
	}
}

// failure is the error as a *sigmaclient.Error of a kind, or ends the test.
func failure(t *testing.T, err error, kind sigmaclient.Kind) *sigmaclient.Error {
	t.Helper()
	var failed *sigmaclient.Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want an error of Sigma's: %v", err, kind)
	}
	if failed.Kind != kind {
		t.Fatalf("got %v, want %v", err, kind)
	}
	return failed
}

func whoAmI(ctx context.Context, client *sigmaclient.Client) error {
	_, err := client.WhoAmI(ctx)
	return err
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
