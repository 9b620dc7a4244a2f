package server_test

import (
	"context"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// TestSnowflakesNumbers walks Snowflake's errors through the driver, the table and
// the wire. Their texts hold what must not travel.
func TestSnowflakesNumbers(t *testing.T) {
	t.Parallel()
	const (
		credentials   = pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID
		configuration = pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID
		permission    = pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION
		invalid       = pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID
		data          = pb.ErrorReason_ERROR_REASON_WAREHOUSE_DATA_INVALID
		timeout       = pb.ErrorReason_ERROR_REASON_WAREHOUSE_TIMEOUT
		cancelled     = pb.ErrorReason_ERROR_REASON_WAREHOUSE_CANCELLED
		throttled     = pb.ErrorReason_ERROR_REASON_WAREHOUSE_THROTTLED
		unavailable   = pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE
	)
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, plainOrders)
	for _, test := range []struct {
		number, state, message string
		code                   codes.Code
		reason                 pb.ErrorReason
		object                 string
	}{
		{"000603", "53000", "Too many statements of " + canary, codes.Unavailable, throttled, ""},
		{"000604", "57014", "SQL execution canceled by " + canary, codes.Aborted, cancelled, ""},
		{"000606", "57P03", "No active warehouse selected in the current session. " + canary, codes.FailedPrecondition, configuration, ""},
		{"000630", "57014", "Statement reached its statement or warehouse timeout of " + canary, codes.DeadlineExceeded, timeout, ""},
		{"000900", "42601", "Empty SQL statement " + canary, codes.FailedPrecondition, invalid, ""},
		{"000904", "42000", "SQL compilation error: error line 1 at position 7\ninvalid identifier '\"Amount\"' " + canary, codes.FailedPrecondition, invalid, ""},
		{"001003", "42000", "SQL compilation error:\nsyntax error line 1 at position 7 unexpected '" + canary + "'.", codes.FailedPrecondition, invalid, ""},
		{"002003", "42S02", "SQL compilation error:\nObject 'SHOP.SALES.ORDERS' does not exist or not authorized.", codes.PermissionDenied, permission, "SHOP.SALES.ORDERS"},
		{"002043", "02000", "SQL compilation error:\nSchema 'SHOP.SALES' does not exist or not authorized.", codes.PermissionDenied, permission, "SHOP.SALES"},
		{"003001", "42501", "SQL access control error:\nInsufficient privileges to operate on table 'ORDERS'", codes.PermissionDenied, permission, "ORDERS"},
		{"100038", "22018", "Numeric value '" + canary + "' is not recognized", codes.FailedPrecondition, data, ""},
		{"100051", "22012", "Division by zero in " + canary, codes.FailedPrecondition, data, ""},
		{"100183", "42710", "Something about " + canary, codes.FailedPrecondition, invalid, ""},
		{"370001", "XX000", "Internal error with " + canary, codes.Unavailable, unavailable, ""},
		{"000999", "08006", "Connection failure to " + canary, codes.Unavailable, unavailable, ""},
	} {
		t.Run(test.number, func(t *testing.T) {
			w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
				if q.Tag == "" {
					return nil
				}
				return &snowflaketest.Error{Code: test.number, State: test.state, Message: test.message}
			}})
			err := w.fails(model)
			facts := wantError(t, err, test.code, test.reason)
			if facts["warehouse_code"] != test.number || facts["sql_state"] != test.state || facts["query_id"] == "" || facts["object"] != test.object {
				t.Errorf("the facts are %v", facts)
			}
			if retry := detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration(); (retry > 0) != (test.code == codes.Unavailable) {
				t.Errorf("the caller is asked to wait %s", retry)
			}
		})
	}
	for _, test := range []struct {
		number string
		reason pb.ErrorReason
	}{
		{"390100", credentials}, {"390101", credentials}, {"390102", credentials}, {"390144", credentials}, {"390303", credentials}, {"390318", credentials},
		{"394300", credentials}, {"394400", credentials}, {"390199", credentials}, {"390422", configuration}, {"390189", configuration}, {"390201", configuration},
	} {
		t.Run(test.number, func(t *testing.T) {
			w.snowflake.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
				return &snowflaketest.Error{Code: test.number, Message: "No, because of " + canary}
			}})
			_, err := w.connections.CreateConnection(w.ctx, w.createRequest(func(r *pb.CreateConnectionRequest) { r.ConnectionId = "new" }))
			if facts := wantError(t, err, codes.FailedPrecondition, test.reason); facts["warehouse_code"] != test.number {
				t.Errorf("the facts are %v", facts)
			}
		})
	}
	w.wantStored("local", "prod")
}
