package server_test

import (
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func checkOf(response *pb.CheckConnectionResponse, kind pb.CheckKind) *pb.Check {
	for _, c := range response.GetChecks() {
		if c.GetKind() == kind {
			return c
		}
	}
	return nil
}

func TestCheckExplainsWhatItFinds(t *testing.T) {
	t.Parallel()
	const (
		pass    = pb.CheckOutcome_CHECK_OUTCOME_PASS
		warn    = pb.CheckOutcome_CHECK_OUTCOME_WARN
		fail    = pb.CheckOutcome_CHECK_OUTCOME_FAIL
		skipped = pb.CheckOutcome_CHECK_OUTCOME_SKIPPED
	)
	kinds := []pb.CheckKind{
		pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS, pb.CheckKind_CHECK_KIND_SIGMA_ORGANIZATION, pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS,
		pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN, pb.CheckKind_CHECK_KIND_WAREHOUSE_MATCH, pb.CheckKind_CHECK_KIND_WAREHOUSE_QUERY,
		pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION, pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE,
	}
	// The outcomes stand in the order of the kinds.
	for _, test := range []struct {
		name       string
		connection func(*world) *pb.Connection
		change     func(*world)
		outcomes   []pb.CheckOutcome
		reason     pb.ErrorReason // of the first that failed
	}{
		{"all is well", (*world).snowflakeConnection, func(*world) {}, []pb.CheckOutcome{pass, pass, pass, pass, pass, pass, pass}, 0},
		{"no workbooks", (*world).snowflakeConnection, func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.Workbooks = nil })
		}, []pb.CheckOutcome{pass, pass, warn, pass, pass, pass, pass}, 0},
		{"another organization", (*world).snowflakeConnection, func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.ID = "another" })
		}, []pb.CheckOutcome{pass, fail, pass, pass, pass, pass, pass}, pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED},
		{"another account than Sigma's", (*world).snowflakeConnection, func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.Connections[0].Account = "OTHER" })
		}, []pb.CheckOutcome{pass, pass, pass, pass, warn, pass, pass}, 0},
		{"revoked credentials", (*world).snowflakeConnection, func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.ClientSecret = "another" })
			w.sigma.RevokeTokens()
		}, []pb.CheckOutcome{fail, skipped, skipped, pass, skipped, pass, pass}, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID},
		{"a warehouse that refuses", (*world).snowflakeConnection, func(w *world) {
			w.snowflake.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error { return snowflaketest.NetworkPolicyError() }})
			w.stop() // and with it the session
			w.start()
		}, []pb.CheckOutcome{pass, pass, pass, fail, skipped, skipped, skipped}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"a warehouse that is suspended", (*world).snowflakeConnection, func(w *world) {
			w.snowflake.SuspendWarehouse(snowflakeComputer)
		}, []pb.CheckOutcome{pass, pass, pass, pass, pass, fail, pass}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"a role that was taken away", (*world).snowflakeConnection, func(w *world) {
			w.snowflake.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
				return &snowflaketest.Error{Code: "390189", Message: "Role 'READER' specified in the connect string does not exist or not authorized."}
			}})
			w.stop()
			w.start()
		}, []pb.CheckOutcome{pass, pass, pass, fail, skipped, skipped, skipped}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID},
		{"DuckDB", (*world).duckdbConnection, func(*world) {}, []pb.CheckOutcome{pass, pass, pass, pass, warn, pass, pass}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := bare(t)
			w.create(snowflakeName, test.connection(w))
			test.change(w)
			response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
			w.must(err)
			outcomes := append(test.outcomes, skipped) // no scan has seen a date that shows the time zone
			if len(response.GetChecks()) != len(outcomes) {
				t.Fatalf("the checks are %v", response)
			}
			var reason pb.ErrorReason
			for i, c := range response.GetChecks() {
				if c.GetKind() != kinds[i] || c.GetOutcome() != outcomes[i] || c.GetMessage() == "" {
					t.Errorf("check %d is %v", i+1, c)
				}
				if (c.GetOutcome() == fail) != (c.GetReason() != 0) {
					t.Errorf("%s has the reason %s", c.GetOutcome(), c.GetReason())
				}
				if reason == 0 {
					reason = c.GetReason()
				}
			}
			if reason != test.reason {
				t.Errorf("the reason is %s", reason)
			}
		})
	}
}

func TestCheckTellsFacts(t *testing.T) {
	t.Parallel()
	w := bare(t)
	w.create(snowflakeName, w.snowflakeConnection())
	response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
	w.must(err)
	for _, want := range []struct {
		kind       pb.CheckKind
		key, value string
	}{
		{pb.CheckKind_CHECK_KIND_SIGMA_ORGANIZATION, "organization_id", w.sigma.Organization().ID},
		{pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS, "workbooks", "1"},
		{pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN, "role", snowflakeRole},
		{pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN, "warehouse", snowflakeComputer},
		{pb.CheckKind_CHECK_KIND_WAREHOUSE_MATCH, "sigma_connection", "Shop"},
		{pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION, "role", snowflakeRole},
		{pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION, "secondary_roles", "NONE"},
	} {
		if got := checkOf(response, want.kind).GetFacts()[want.key]; got != want.value {
			t.Errorf("%s: %s is %q", want.kind, want.key, got)
		}
	}
}
