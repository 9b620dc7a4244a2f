package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func TestCreateCanBeRepeated(t *testing.T) {
	t.Parallel()
	w := bare(t)
	request := w.createRequest(func(r *pb.CreateConnectionRequest) { r.RequestId = "7a6f6f31-first" })
	create := func(change func(*pb.CreateConnectionRequest)) (*pb.Connection, error) {
		changed := proto.CloneOf(request)
		change(changed)
		response, err := w.connections.CreateConnection(w.ctx, changed)
		return response.GetConnection(), err
	}
	same := func(*pb.CreateConnectionRequest) {}

	// Many at once, as callers that lost their patience: one connection comes of it.
	var mu sync.Mutex
	etags := map[string]int{}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			made, err := create(same)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			etags[made.GetEtag()]++
		})
	}
	callers.Wait()
	if len(etags) != 1 {
		t.Errorf("the callers got %v", etags)
	}
	w.wantStored("prod")

	updated, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: snowflakeName, DisplayName: "Since then"}})
	w.must(err)
	calls := len(w.sigma.Requests())
	again, err := create(same)
	w.must(err)
	if !proto.Equal(again, updated.GetConnection()) {
		t.Errorf("a late repetition got %v", again)
	}
	if n := len(w.sigma.Requests()) - calls; n != 0 {
		t.Errorf("it called Sigma %d times", n)
	}

	for name, test := range map[string]struct {
		change func(*pb.CreateConnectionRequest)
		code   codes.Code
		reason pb.ErrorReason
	}{
		"other content": {func(r *pb.CreateConnectionRequest) { r.Connection.DisplayName = "Another" },
			codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED},
		"another secret": {func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.ClientSecret = wrongSigmaSecret },
			codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED},
		"another connection": {func(r *pb.CreateConnectionRequest) { r.ConnectionId = "other" },
			codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED},
		"another id": {func(r *pb.CreateConnectionRequest) { r.RequestId = "second" },
			codes.AlreadyExists, pb.ErrorReason_ERROR_REASON_CONNECTION_EXISTS},
		"no id": {func(r *pb.CreateConnectionRequest) { r.RequestId = "" },
			codes.AlreadyExists, pb.ErrorReason_ERROR_REASON_CONNECTION_EXISTS},
		"an id that is none": {func(r *pb.CreateConnectionRequest) { r.RequestId = "a b" },
			codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID},
	} {
		_, err := create(test.change)
		t.Run(name, func(t *testing.T) {
			wantError(t, err, test.code, test.reason)
			if test.code == codes.InvalidArgument {
				wantField(t, err, "request_id")
			}
		})
	}
	w.wantStored("prod")

	// A trial leaves no trace.
	_, err = create(func(r *pb.CreateConnectionRequest) {
		r.ConnectionId, r.RequestId, r.ValidateOnly = "other", "third", true
	})
	w.must(err)
	_, err = create(func(r *pb.CreateConnectionRequest) { r.ConnectionId, r.RequestId = "other", "third" })
	w.must(err)
	w.wantStored("other", "prod")
}

// regions answers for Sigma's own hosts: the home of the organization, and
// others that know nothing of it.
type regions struct {
	home   string // a host of Sigma
	answer map[bool]http.RoundTripper
	target map[bool]string

	mu    sync.Mutex
	asked map[string]int
}

func (r *regions) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.asked[request.URL.Host]++
	r.mu.Unlock()
	isHome := request.URL.Host == r.home
	to := request.Clone(request.Context())
	to.URL.Scheme, to.URL.Host, to.Host = "http", r.target[isHome], ""
	return r.answer[isHome].RoundTrip(to)
}

func TestAWrongRegionIsToldFromAWrongSecret(t *testing.T) {
	t.Parallel()
	w := bare(t)
	elsewhere, err := sigmatest.NewServer(sigmatest.Organization{ClientSecret: "another"})
	w.must(err)
	t.Cleanup(func() { w.close(elsewhere.Close()) })
	const wrong, home = "https://aws-api.sigmacomputing.com", "https://api.eu.aws.sigmacomputing.com"
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	hosts := &regions{
		home:   "api.eu.aws.sigmacomputing.com",
		answer: map[bool]http.RoundTripper{true: transport, false: transport},
		target: map[bool]string{true: w.sigma.Host(), false: elsewhere.Host()},
		asked:  map[string]int{},
	}
	w.restart(func(c *server.Config) { c.SigmaTransport = hosts })
	create := func(id, url, secret string, skip bool) (*pb.Connection, error) {
		response, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) {
			r.ConnectionId, r.SkipCheck = id, skip
			r.Connection.Sigma.BaseUrl, r.Connection.Sigma.ClientSecret = url, secret
		}))
		return response.GetConnection(), err
	}

	_, err = create("prod", wrong, sigmaSecret, false)
	facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID)
	if facts["suggested_base_url"] != home || facts["sigma_request_id"] == "" {
		t.Errorf("the facts are %v", facts)
	}
	if message := status.Convert(err).Message(); message != fmt.Sprintf("Sigma accepts these credentials in another region: set the base URL to %s (AWS, Europe)", home) {
		t.Errorf("it says %q", message)
	}
	_, err = create("prod", wrong, wrongSigmaSecret, false)
	if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID); facts["suggested_base_url"] != "" {
		t.Errorf("a wrong secret belongs to %v", facts)
	}
	w.wantStored()
	if len(hosts.asked) != 13 {
		t.Errorf("these hosts were asked: %v", hosts.asked)
	}

	// A check tells the same of what is stored.
	_, err = create("unchecked", wrong, sigmaSecret, true)
	w.must(err)
	checked, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: workspace + "/connections/unchecked"})
	w.must(err)
	check := checkOf(checked, pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS)
	if check.GetOutcome() != pb.CheckOutcome_CHECK_OUTCOME_FAIL || check.GetFacts()["suggested_base_url"] != home {
		t.Errorf("the check is %v", check)
	}
	_, err = create("prod", home, sigmaSecret, false)
	w.must(err)
}

// TestOnlySigmasOwnHostsAreAskedForARegion: credentials of a host that the
// operator admitted are nobody else's business.
func TestOnlySigmasOwnHostsAreAskedForARegion(t *testing.T) {
	t.Parallel()
	w := bare(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	hosts := &regions{
		answer: map[bool]http.RoundTripper{false: transport},
		target: map[bool]string{false: w.sigma.Host()},
		asked:  map[string]int{},
	}
	w.restart(func(c *server.Config) { c.SigmaTransport = hosts })
	_, err := w.connections.CreateConnection(context.WithoutCancel(w.ctx), w.createRequest(func(r *pb.CreateConnectionRequest) {
		r.Connection.Sigma.ClientSecret = wrongSigmaSecret
	}))
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID)
	if len(hosts.asked) != 1 {
		t.Errorf("these hosts were asked: %v", hosts.asked)
	}
}

// TestSecretsThatDoNotOpen: a server with another key says so, and goes on with
// what needs none.
func TestSecretsThatDoNotOpen(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, plainOrders)
	w.stop()
	w.must(os.Remove(w.keyset().Path))
	w.must(keyring.Create(t.Context(), w.keyset()))
	w.start()
	const sealed = pb.ErrorReason_ERROR_REASON_SECRETS_SEALED
	wantError(t, w.fails(model), codes.FailedPrecondition, sealed)
	_, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
	wantError(t, err, codes.FailedPrecondition, sealed)
	_, err = w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: snowflakeName, DisplayName: "x"}})
	wantError(t, err, codes.FailedPrecondition, sealed)
	w.wantStored("local", "prod")
	_, err = w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
	w.must(err)
	w.create(snowflakeName, w.snowflakeConnection())
	if _, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 1}); err != nil {
		t.Error(err)
	}
}
