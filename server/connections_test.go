package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// bare is a world without any connection.
func bare(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book("One", table("A"))}}, snowflaketest.Config{})
	w.fill("", "")
	return w
}

func (w *world) createRequest(change func(*pb.CreateConnectionRequest)) *pb.CreateConnectionRequest {
	request := &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: "prod", Connection: w.snowflakeConnection(), SkipScan: true}
	change(request)
	return request
}

// stored lists what is stored, by id.
func (w *world) stored() []string {
	w.t.Helper()
	list, err := w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace})
	w.must(err)
	names := []string{}
	for _, c := range list.GetConnections() {
		names = append(names, strings.TrimPrefix(c.GetName(), workspace+"/connections/"))
	}
	return names
}

func (w *world) wantStored(ids ...string) {
	w.t.Helper()
	if got := w.stored(); !slices.Equal(got, ids) {
		w.t.Errorf("stored are %q instead of %q", got, ids)
	}
}

func TestAConnectionIsKeptWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	w := bare(t)
	created := w.create(snowflakeName, w.snowflakeConnection())
	want := w.snowflakeConnection()
	want.Sigma.ClientSecret = ""
	snowflake := want.GetWarehouse().GetSnowflake()
	snowflake.Authentication = nil
	snowflake.AuthenticationMethod = pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PASSWORD
	want.Name, want.OrganizationId = snowflakeName, w.sigma.Organization().ID
	want.Etag, want.CreateTime, want.UpdateTime = created.GetEtag(), created.GetCreateTime(), created.GetUpdateTime()
	if !proto.Equal(created, want) || created.GetEtag() == "" || created.GetCreateTime() == nil || created.GetUpdateTime() == nil {
		t.Errorf("created was %v\ninstead of %v", created, want)
	}
	got, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.must(err)
	list, err := w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace})
	w.must(err)
	if len(list.GetConnections()) != 1 || !proto.Equal(got.GetConnection(), created) || !proto.Equal(list.GetConnections()[0], created) {
		t.Errorf("kept is %v, listed %v", got, list)
	}
	others, err := w.connections.ListConnections(w.others, &pb.ListConnectionsRequest{Parent: "workspaces/globex"})
	w.must(err)
	if len(others.GetConnections()) != 0 {
		t.Errorf("another workspace sees %v", others)
	}
}

// TestSecretsOfEveryKind plants secrets wherever a connection holds one. What
// looks for them is the harness, in all that gets out.
func TestSecretsOfEveryKind(t *testing.T) {
	t.Parallel()
	w := bare(t)
	for id, snowflake := range map[string]*pb.SnowflakeWarehouse{
		"key": {Authentication: &pb.SnowflakeWarehouse_KeyPair{KeyPair: &pb.SnowflakeKeyPair{PrivateKeyPem: canary + "pem", Passphrase: canary + "passphrase"}}},
		"pat": {Authentication: &pb.SnowflakeWarehouse_ProgrammaticAccessToken{ProgrammaticAccessToken: accessToken}},
		"sso": {Authentication: &pb.SnowflakeWarehouse_OauthToken{OauthToken: canary + "oauth"}},
	} {
		request := w.createRequest(func(r *pb.CreateConnectionRequest) {
			kept := r.GetConnection().GetWarehouse().GetSnowflake()
			kept.Authentication = snowflake.Authentication
			r.ConnectionId, r.SkipCheck = id, id == "sso"
		})
		created, err := w.connections.CreateConnection(w.ctx, request)
		if id == "key" { // the text is no key
			wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID)
			continue
		}
		w.must(err)
		if method := created.GetConnection().GetWarehouse().GetSnowflake().GetAuthenticationMethod(); int(method) != map[string]int{"pat": 3, "sso": 4}[id] {
			t.Errorf("%s is kept as %s", id, method)
		}
		checked, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: created.GetConnection().GetName()})
		w.must(err)
		want := pb.CheckOutcome_CHECK_OUTCOME_PASS
		if id == "sso" {
			want = pb.CheckOutcome_CHECK_OUTCOME_FAIL // the account knows no such token
		}
		if got := checkOf(checked, pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN).GetOutcome(); got != want {
			t.Errorf("%s signs in to the warehouse: %s", id, got)
		}
	}
}

func TestCreateRefusesWhatIsMalformed(t *testing.T) {
	t.Parallel()
	w := bare(t)
	for _, test := range []struct {
		field  string
		change func(*pb.CreateConnectionRequest)
	}{
		{"parent", func(r *pb.CreateConnectionRequest) { r.Parent = "workspaces/ACME" }},
		{"parent", func(r *pb.CreateConnectionRequest) { r.Parent = "" }},
		{"connection_id", func(r *pb.CreateConnectionRequest) { r.ConnectionId = "" }},
		{"connection_id", func(r *pb.CreateConnectionRequest) { r.ConnectionId = "-prod" }},
		{"connection_id", func(r *pb.CreateConnectionRequest) { r.ConnectionId = "prod/../other" }},
		{"connection_id", func(r *pb.CreateConnectionRequest) { r.ConnectionId = strings.Repeat("x", 64) }},
		{"connection", func(r *pb.CreateConnectionRequest) { r.Connection = nil }},
		{"connection.display_name", func(r *pb.CreateConnectionRequest) { r.Connection.DisplayName = strings.Repeat("x", 201) }},
		{"connection.sigma", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma = nil }},
		{"connection.sigma.base_url", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.BaseUrl = "" }},
		{"connection.sigma.client_id", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.ClientId = "" }},
		{"connection.sigma.client_secret", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.ClientSecret = "" }},
		{"connection.sigma.client_secret", func(r *pb.CreateConnectionRequest) {
			r.Connection.Sigma.ClientSecret = canary + strings.Repeat("x", 1000)
		}},
		{"connection.warehouse", func(r *pb.CreateConnectionRequest) { r.Connection.Warehouse = nil }},
		{"connection.warehouse.kind", func(r *pb.CreateConnectionRequest) { r.Connection.Warehouse.Kind = nil }},
		{"connection.warehouse.snowflake.account", func(r *pb.CreateConnectionRequest) { r.Connection.Warehouse.GetSnowflake().Account = "" }},
		{"connection.warehouse.snowflake.user", func(r *pb.CreateConnectionRequest) { r.Connection.Warehouse.GetSnowflake().User = "" }},
		{"connection.warehouse.snowflake.authentication", func(r *pb.CreateConnectionRequest) { r.Connection.Warehouse.GetSnowflake().Authentication = nil }},
		{"connection.warehouse.snowflake.authentication", func(r *pb.CreateConnectionRequest) {
			r.Connection.Warehouse.GetSnowflake().Authentication = &pb.SnowflakeWarehouse_Password{}
		}},
		{"connection.warehouse.duckdb.database", func(r *pb.CreateConnectionRequest) {
			r.Connection.Warehouse = &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "../SHOP"}}}
		}},
	} {
		_, err := w.connections.CreateConnection(w.ctx, w.createRequest(test.change))
		t.Run(test.field, func(t *testing.T) {
			wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
			wantField(t, err, test.field)
		})
	}
	w.wantStored()
}

func TestHostsAreRefused(t *testing.T) {
	t.Parallel()
	w := bare(t)
	const sigma, snowflake = "connection.sigma.base_url", "connection.warehouse.snowflake.url"
	for _, url := range []string{
		"https://evil.example.com", "https://aws-api.sigmacomputing.com.evil.example", "https://evilsnowflakecomputing.com",
		"http://aws-api.sigmacomputing.com", "http://myorg.snowflakecomputing.com", "http://169.254.169.254", "https://localhost", "http://127.0.0.1:1",
		"https://[::1]", "https://aws-api.sigmacomputing.com:8443", "https://myorg.snowflakecomputing.com:8443",
		"https://user:" + canary + "password@aws-api.sigmacomputing.com", "https://aws-api.sigmacomputing.com@evil.example.com",
		"https://aws-api.sigmacomputing.com/v2", "https://aws-api.sigmacomputing.com?x=1", "https://aws-api.sigmacomputing.com#x",
		"ftp://aws-api.sigmacomputing.com", "file:///etc/passwd", "aws-api.sigmacomputing.com", "https://", "https:aws-api.sigmacomputing.com",
		"//aws-api.sigmacomputing.com", "https://aws-api.sigmacomputing.com.", "https://aws-api.sigmacomputing.com\\@evil.example.com",
		"https://%61ws-api.sigmacomputing.com.evil", "https://\x00", "https://аws-api.sigmacomputing.com", "gopher://x",
	} {
		for _, field := range []string{sigma, snowflake} {
			for _, skip := range []bool{false, true} {
				_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) {
					r.SkipCheck = skip
					if field == sigma {
						r.Connection.Sigma.BaseUrl = url
					} else {
						r.Connection.Warehouse.GetSnowflake().Url = url
					}
				}))
				t.Run(field+" "+url, func(t *testing.T) {
					wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED)
					wantField(t, err, field)
				})
			}
		}
	}
	// The account is part of the host where no URL is given.
	for _, account := range []string{"evil.example.com/", "evil@example", "a b", "a?b", "127.0.0.1#"} {
		_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) {
			r.Connection.Warehouse.GetSnowflake().Url, r.Connection.Warehouse.GetSnowflake().Account = "", account
		}))
		t.Run("account "+account, func(t *testing.T) {
			wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID)
		})
	}
	w.wantStored()
	if len(w.sigma.Requests()) != 0 || w.snowflake.Sessions() != 0 {
		t.Error("Sigma or the warehouse was called")
	}
}

func TestNothingIsStoredThatDoesNotWork(t *testing.T) {
	t.Parallel()
	w := bare(t)
	snowflake := func(change func(*pb.SnowflakeWarehouse)) func(*pb.CreateConnectionRequest) {
		return func(r *pb.CreateConnectionRequest) { change(r.Connection.Warehouse.GetSnowflake()) }
	}
	for _, test := range []struct {
		name   string
		change func(*pb.CreateConnectionRequest)
		reason pb.ErrorReason
	}{
		{"unknown client", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.ClientId = "unknown" }, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID},
		{"wrong secret", func(r *pb.CreateConnectionRequest) { r.Connection.Sigma.ClientSecret = wrongSigmaSecret }, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID},
		{"wrong password", snowflake(func(s *pb.SnowflakeWarehouse) {
			s.Authentication = &pb.SnowflakeWarehouse_Password{Password: wrongPassword}
		}), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID},
		{"unknown user", snowflake(func(s *pb.SnowflakeWarehouse) { s.User = "NOBODY" }), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID},
		{"wrong token", snowflake(func(s *pb.SnowflakeWarehouse) {
			s.Authentication = &pb.SnowflakeWarehouse_ProgrammaticAccessToken{ProgrammaticAccessToken: wrongPassword}
		}), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID},
		{"wrong role", snowflake(func(s *pb.SnowflakeWarehouse) { s.Role = "ADMIN" }), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"wrong warehouse", snowflake(func(s *pb.SnowflakeWarehouse) { s.Warehouse = "NONE" }), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"wrong database", snowflake(func(s *pb.SnowflakeWarehouse) { s.Database = "NONE" }), pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"missing DuckDB file", func(r *pb.CreateConnectionRequest) {
			r.Connection.Warehouse = &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "MISSING"}}}
		}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
	} {
		_, err := w.connections.CreateConnection(w.ctx, w.createRequest(test.change))
		t.Run(test.name, func(t *testing.T) {
			facts := wantError(t, err, codes.FailedPrecondition, test.reason)
			if test.reason == pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID && facts["sigma_request_id"] == "" {
				t.Errorf("Sigma's request id is not told: %v", facts)
			}
		})
		w.wantStored()
	}
	valid := w.createRequest(func(r *pb.CreateConnectionRequest) { r.ValidateOnly = true })
	checked, err := w.connections.CreateConnection(w.ctx, valid)
	w.must(err)
	if checked.GetConnection().GetOrganizationId() == "" || checked.GetConnection().GetEtag() != "" {
		t.Errorf("validation returns %v", checked)
	}
	w.wantStored()
}

func TestNamesAreTakenOnce(t *testing.T) {
	t.Parallel()
	w := bare(t)
	created := w.create(snowflakeName, w.snowflakeConnection())
	for _, validateOnly := range []bool{false, true} {
		_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) {
			r.ValidateOnly, r.Connection.DisplayName = validateOnly, "Another"
		}))
		wantError(t, err, codes.AlreadyExists, pb.ErrorReason_ERROR_REASON_CONNECTION_EXISTS)
	}
	got, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.must(err)
	if !proto.Equal(got.GetConnection(), created) {
		t.Errorf("the connection is now %v", got)
	}
	_, err = w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName, Etag: "stale"})
	wantError(t, err, codes.Aborted, pb.ErrorReason_ERROR_REASON_ETAG_MISMATCH)
	w.wantStored("prod")
	_, err = w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName, Etag: created.GetEtag()})
	w.must(err)
	w.wantStored()
	for name, fail := range map[string]func() error{
		"get": func() error {
			_, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
			return err
		},
		"delete": func() error {
			_, err := w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
			return err
		},
		"check": func() error {
			_, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
			return err
		},
		"preview": func() error {
			_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: modelName(snowflakeName, "one", "a")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, fail(), codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
		})
	}
	w.create(snowflakeName, w.snowflakeConnection())
}

func TestConnectionsAreListedInPages(t *testing.T) {
	t.Parallel()
	w := bare(t)
	var want, got []string
	for i := range 7 {
		id := fmt.Sprintf("c%d", (i*3)%7) // not in their order
		_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) { r.ConnectionId, r.SkipCheck = id, true }))
		w.must(err)
		want = append(want, id)
	}
	slices.Sort(want)
	request := &pb.ListConnectionsRequest{Parent: workspace, PageSize: 3}
	var token string
	for {
		page, err := w.connections.ListConnections(w.ctx, request)
		w.must(err)
		if len(page.GetConnections()) > 3 {
			t.Errorf("a page of %d", len(page.GetConnections()))
		}
		for _, c := range page.GetConnections() {
			got = append(got, strings.TrimPrefix(c.GetName(), workspace+"/connections/"))
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
		token = request.GetPageToken()
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed are %q", got)
	}
	_, err := w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace, PageToken: "nonsense"})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "page_token")
	_, err = w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: workspace + "/connections/c1", PageToken: token})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "page_token")
	_, err = w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace, PageSize: -1})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "page_size")
}

func TestDuckDBNeedsTheOperatorsFolder(t *testing.T) {
	t.Parallel()
	w := bare(t)
	w.create(duckdbName, w.duckdbConnection())
	w.stop()
	w.duckdbDir = ""
	w.start()
	_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) {
		r.ConnectionId, r.Connection = "other", w.duckdbConnection()
	}))
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "connection.warehouse.duckdb")
}
