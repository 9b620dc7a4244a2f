package server_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// update sends a change of the connection prod.
func (w *world) update(change *pb.Connection, paths ...string) (*pb.Connection, error) {
	change.Name = snowflakeName
	request := &pb.UpdateConnectionRequest{Connection: change}
	if len(paths) > 0 {
		request.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
	}
	response, err := w.connections.UpdateConnection(w.ctx, request)
	return response.GetConnection(), err
}

func (w *world) get() *pb.Connection {
	w.t.Helper()
	got, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.must(err)
	return got.GetConnection()
}

// wantWorking makes sure that the stored settings still sign in on both sides.
func (w *world) wantWorking() {
	w.t.Helper()
	response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
	w.must(err)
	for _, c := range response.GetChecks() {
		if c.GetOutcome() == pb.CheckOutcome_CHECK_OUTCOME_FAIL {
			w.t.Errorf("the stored settings do not work: %v", c)
		}
	}
}

func TestUpdateChangesWhatTheMaskNames(t *testing.T) {
	t.Parallel()
	w := bare(t)
	before := w.create(snowflakeName, w.snowflakeConnection())
	other := &pb.Connection{DisplayName: "Renamed", Sigma: &pb.SigmaCredentials{BaseUrl: "https://evil.example.com", ClientId: "x", ClientSecret: wrongSigmaSecret}}

	after, err := w.update(proto.CloneOf(other), "display_name")
	w.must(err)
	if after.GetDisplayName() != "Renamed" || !proto.Equal(after.GetSigma(), before.GetSigma()) || !proto.Equal(after.GetWarehouse(), before.GetWarehouse()) {
		t.Errorf("a mask of one field gave %v", after)
	}
	if after.GetEtag() == before.GetEtag() || !after.GetUpdateTime().AsTime().After(before.GetUpdateTime().AsTime()) || !proto.Equal(after.GetCreateTime(), before.GetCreateTime()) {
		t.Errorf("%v became %v", before, after)
	}
	// An empty mask means what is set.
	after, err = w.update(&pb.Connection{DisplayName: "Again"})
	w.must(err)
	if after.GetDisplayName() != "Again" || !proto.Equal(after.GetSigma(), before.GetSigma()) {
		t.Errorf("an empty mask gave %v", after)
	}
	// What the server sets cannot be set.
	after, err = w.update(&pb.Connection{OrganizationId: "other", CreateTime: before.GetUpdateTime(), DisplayName: "Last"})
	w.must(err)
	if after.GetOrganizationId() != before.GetOrganizationId() || !proto.Equal(after, w.get()) {
		t.Errorf("got %v, kept is %v", after, w.get())
	}
	// Whole messages keep their secrets where these would go to the same place.
	warehouse := w.snowflakeConnection().GetWarehouse()
	warehouse.GetSnowflake().Authentication, warehouse.GetSnowflake().Schema, warehouse.GetSnowflake().Database = nil, "SALES", "SHOP"
	after, err = w.update(&pb.Connection{Sigma: &pb.SigmaCredentials{BaseUrl: w.sigma.URL(), ClientId: w.sigma.Organization().ClientID}, Warehouse: warehouse}, "sigma", "warehouse")
	w.must(err)
	if after.GetWarehouse().GetSnowflake().GetSchema() != "SALES" || after.GetWarehouse().GetSnowflake().GetAuthenticationMethod() != pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PASSWORD {
		t.Errorf("got %v", after)
	}
	w.wantWorking()
	// From one kind of warehouse to the other and back.
	after, err = w.update(&pb.Connection{Warehouse: w.duckdbConnection().GetWarehouse()}, "warehouse")
	w.must(err)
	if after.GetWarehouse().GetDuckdb().GetDatabase() != "SHOP" {
		t.Errorf("got %v", after)
	}
	_, err = w.update(&pb.Connection{Warehouse: warehouse}, "warehouse")
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "connection.warehouse.snowflake.authentication") // its secret went with it
	_, err = w.update(&pb.Connection{Warehouse: w.snowflakeConnection().GetWarehouse()}, "warehouse")
	w.must(err)
	w.wantWorking()
}

func TestUpdateThatIsRefusedChangesNothing(t *testing.T) {
	t.Parallel()
	w := bare(t)
	before := w.create(snowflakeName, w.snowflakeConnection())
	warehouse := func(change func(*pb.SnowflakeWarehouse)) *pb.Connection {
		c := &pb.Connection{Warehouse: w.snowflakeConnection().GetWarehouse()}
		change(c.GetWarehouse().GetSnowflake())
		return c
	}
	sigma := func(change func(*pb.SigmaCredentials)) *pb.Connection {
		c := &pb.Connection{Sigma: w.sigmaCredentials()}
		change(c.GetSigma())
		return c
	}
	for _, test := range []struct {
		name   string
		change *pb.Connection
		mask   string
		code   codes.Code
		reason pb.ErrorReason
		field  string
	}{
		{"unknown field", &pb.Connection{}, "name", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "update_mask"},
		{"field of the server's", &pb.Connection{}, "organization_id", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "update_mask"},
		{"empty secret", &pb.Connection{}, "sigma.client_secret", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.sigma.client_secret"},
		{"no Sigma", &pb.Connection{}, "sigma", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.sigma.client_secret"},
		{"long name", &pb.Connection{DisplayName: strings.Repeat("x", 201)}, "display_name", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.display_name"},
		{"stale etag", &pb.Connection{Etag: "stale", DisplayName: "x"}, "display_name", codes.Aborted, pb.ErrorReason_ERROR_REASON_ETAG_MISMATCH, ""},
		{"host of another", sigma(func(s *pb.SigmaCredentials) { s.BaseUrl = "https://evil.example.com" }), "sigma", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED, "connection.sigma.base_url"},
		{"warehouse host of another", warehouse(func(s *pb.SnowflakeWarehouse) { s.Url = "https://evil.example.com" }), "warehouse", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED, "connection.warehouse.snowflake.url"},
		{"wrong secret", sigma(func(s *pb.SigmaCredentials) { s.ClientSecret = wrongSigmaSecret }), "sigma.client_secret", codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID, ""},
		{"wrong password", warehouse(func(s *pb.SnowflakeWarehouse) {
			s.Authentication = &pb.SnowflakeWarehouse_Password{Password: wrongPassword}
		}), "warehouse", codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID, ""},
		{"wrong role", warehouse(func(s *pb.SnowflakeWarehouse) { s.Role = "ADMIN" }), "warehouse", codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID, ""},
		{"another client without its secret", sigma(func(s *pb.SigmaCredentials) { s.ClientId, s.ClientSecret = "another", "" }), "sigma", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.sigma.client_secret"},
		{"another client alone", sigma(func(s *pb.SigmaCredentials) { s.ClientId, s.ClientSecret = "another", "" }), "sigma.client_id", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.sigma.client_secret"},
		{"another user without their password", warehouse(func(s *pb.SnowflakeWarehouse) { s.User, s.Authentication = "ANOTHER", nil }), "warehouse", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.warehouse.snowflake.authentication"},
		{"another account without its password", warehouse(func(s *pb.SnowflakeWarehouse) { s.Account, s.Authentication = "ANOTHER", nil }), "warehouse", codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "connection.warehouse.snowflake.authentication"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := w.update(test.change, test.mask)
			wantError(t, err, test.code, test.reason)
			if test.field != "" {
				wantField(t, err, test.field)
			}
			if now := w.get(); !proto.Equal(now, before) {
				t.Errorf("the connection is now %v", now)
			}
		})
	}
	w.wantWorking()
	_, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{
		Connection: &pb.Connection{Name: snowflakeName, DisplayName: "Only tried"}, ValidateOnly: true,
	})
	w.must(err)
	if now := w.get(); !proto.Equal(now, before) {
		t.Errorf("a validation changed the connection to %v", now)
	}
	_, err = w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: workspace + "/connections/missing"}})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
	_, err = w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: workspace + "/connections/"}})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "connection.name")
}

func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	const next = canary + "next-secret"
	w := bare(t)
	before := w.create(snowflakeName, w.snowflakeConnection())
	w.sigma.Change(func(o *sigmatest.Organization) { o.ClientSecret = next })
	w.sigma.RevokeTokens()
	response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
	w.must(err)
	if got := checkOf(response, pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS).GetReason(); got != pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID {
		t.Fatalf("the old secret is told as %s", got)
	}
	after, err := w.update(&pb.Connection{Etag: before.GetEtag(), Sigma: &pb.SigmaCredentials{ClientSecret: next}}, "sigma.client_secret")
	w.must(err)
	if !proto.Equal(after.GetSigma(), before.GetSigma()) || after.GetEtag() == before.GetEtag() {
		t.Errorf("%v became %v", before, after)
	}
	warehouse := w.snowflakeConnection().GetWarehouse()
	warehouse.GetSnowflake().Authentication = &pb.SnowflakeWarehouse_ProgrammaticAccessToken{ProgrammaticAccessToken: accessToken}
	after, err = w.update(&pb.Connection{Etag: after.GetEtag(), Warehouse: warehouse}, "warehouse")
	w.must(err)
	if method := after.GetWarehouse().GetSnowflake().GetAuthenticationMethod(); method != pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PROGRAMMATIC_ACCESS_TOKEN {
		t.Errorf("the new way to sign in is %s", method)
	}
	w.wantWorking()
	w.mustScan(snowflakeName)
}

// Whoever may change a host must not learn by it the secret that was given for
// another, even where the operator admits both.
func TestSecretsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	w := bare(t)
	otherSigma, err := sigmatest.NewServer(w.sigma.Organization())
	w.must(err)
	t.Cleanup(func() { w.close(otherSigma.Close()) })
	otherSnowflake, err := snowflaketest.NewServer(snowflaketest.Config{
		Account: snowflakeAccount, Users: []snowflaketest.User{{Name: snowflakeUser, Password: password}},
		Faults: snowflaketest.Faults{Status: func(path string) int {
			t.Errorf("the other account was called at %s", path)
			return 0
		}},
	})
	w.must(err)
	t.Cleanup(func() { w.close(otherSnowflake.Close()) })
	w.stop()
	w.admitted = []string{otherSigma.Host(), strings.TrimPrefix(otherSnowflake.URL(), "http://")}
	w.start()
	before := w.create(snowflakeName, w.snowflakeConnection())

	sigma := func() *pb.Connection {
		return &pb.Connection{Sigma: &pb.SigmaCredentials{BaseUrl: otherSigma.URL(), ClientId: w.sigma.Organization().ClientID}}
	}
	warehouse := &pb.Connection{Warehouse: w.snowflakeConnection().GetWarehouse()}
	warehouse.GetWarehouse().GetSnowflake().Url, warehouse.GetWarehouse().GetSnowflake().Authentication = otherSnowflake.URL(), nil
	for _, test := range []struct {
		name, field string
		change      *pb.Connection
		mask        []string
	}{
		{"sigma", "connection.sigma.client_secret", sigma(), []string{"sigma"}},
		{"sigma.base_url", "connection.sigma.client_secret", sigma(), []string{"sigma.base_url"}},
		{"empty mask", "connection.sigma.client_secret", sigma(), nil},
		{"warehouse", "connection.warehouse.snowflake.authentication", warehouse, []string{"warehouse"}},
	} {
		for _, skip := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				request := &pb.UpdateConnectionRequest{Connection: proto.CloneOf(test.change), SkipCheck: skip}
				request.Connection.Name = snowflakeName
				if test.mask != nil {
					request.UpdateMask = &fieldmaskpb.FieldMask{Paths: test.mask}
				}
				_, err := w.connections.UpdateConnection(w.ctx, request)
				wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
				wantField(t, err, test.field)
			})
		}
	}
	if n := len(otherSigma.Requests()); n != 0 {
		t.Errorf("the other Sigma was called %d times", n)
	}
	if now := w.get(); !proto.Equal(now, before) {
		t.Errorf("the connection is now %v", now)
	}
	// With the secret it may move.
	change := sigma()
	change.Sigma.ClientSecret = sigmaSecret
	_, err = w.update(change, "sigma")
	w.must(err)
	w.wantWorking()
	if len(otherSigma.Requests()) == 0 {
		t.Error("the other Sigma was not called")
	}
}

func TestAnotherOrganizationNeedsAnotherConnection(t *testing.T) {
	t.Parallel()
	w := bare(t)
	before := w.create(snowflakeName, w.snowflakeConnection())
	w.sigma.Change(func(o *sigmatest.Organization) { o.ID = "another" })
	_, err := w.update(&pb.Connection{Sigma: w.sigmaCredentials()}, "sigma")
	facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED)
	if facts["organization_id"] != "another" || facts["expected_organization_id"] != before.GetOrganizationId() {
		t.Errorf("the facts are %v", facts)
	}
	if now := w.get(); !proto.Equal(now, before) {
		t.Errorf("the connection is now %v", now)
	}
}

func TestOfTwoChangesWithOneEtagOneWins(t *testing.T) {
	t.Parallel()
	w := bare(t)
	before := w.create(snowflakeName, w.snowflakeConnection())
	results := make(chan error)
	for _, name := range []string{"Left", "Right"} {
		go func() {
			_, err := w.update(&pb.Connection{Etag: before.GetEtag(), DisplayName: name}, "display_name")
			results <- err
		}()
	}
	first, second := <-results, <-results
	if (first == nil) == (second == nil) {
		t.Fatalf("both came to the same: %v, %v", first, second)
	}
	if first == nil {
		first = second
	}
	wantError(t, first, codes.Aborted, pb.ErrorReason_ERROR_REASON_ETAG_MISMATCH)
}

// TestFieldsOfTheSnowflakeSession are updated by themselves, and the credential stays.
func TestFieldsOfTheSnowflakeSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(``, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	want := w.get().GetWarehouse().GetSnowflake()
	sent := &pb.SnowflakeWarehouse{Database: "SHOP", Schema: "SALES", WeekStart: new(int32(1)), WeekOfYearPolicy: new(int32(0)), SecondaryRoles: pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_NONE}
	update := func(sent *pb.SnowflakeWarehouse, paths ...string) error {
		_, err := w.update(&pb.Connection{Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: sent}}}, paths...)
		return err
	}
	w.must(update(sent, "warehouse.snowflake.database", "warehouse.snowflake.week_start", "warehouse.snowflake.week_of_year_policy", "warehouse.snowflake.secondary_roles"))
	want.Database, want.WeekStart, want.WeekOfYearPolicy, want.SecondaryRoles = "SHOP", new(int32(1)), new(int32(0)), sent.GetSecondaryRoles()
	if got := w.get().GetWarehouse().GetSnowflake(); !proto.Equal(got, want) {
		t.Errorf("the warehouse is %v, want %v", got, want)
	}
	_, err := w.update(&pb.Connection{}, "warehouse.snowflake.week_start")
	w.must(err)
	want.WeekStart = nil
	if got := w.get().GetWarehouse().GetSnowflake(); !proto.Equal(got, want) {
		t.Errorf("after it was cleared, the warehouse is %v, want %v", got, want)
	}
	for _, path := range []string{"warehouse.snowflake.account", "warehouse.snowflake.user", "warehouse.snowflake.password", "role", "warehouse.snowflake.", "warehouse.duckdb.database"} {
		wantField(t, update(sent, path), "update_mask")
	}
	wantField(t, update(&pb.SnowflakeWarehouse{WeekStart: new(int32(9))}, "warehouse.snowflake.week_start"), "connection.warehouse.snowflake.week_start")
}
