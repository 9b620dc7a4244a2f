package errmap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
)

// secret stands for what only the log may tell.
const secret = "CANARY of the inside"

// TestTable walks over every kind of failure of the layers below, as their
// errors arrive: wrapped.
func TestTable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		code   codes.Code
		reason string
		facts  map[string]string
		retry  time.Duration
	}{
		{err: auth.ErrMissing, code: codes.Unauthenticated, reason: "TOKEN_MISSING"},
		{err: auth.ErrInvalid, code: codes.Unauthenticated, reason: "TOKEN_INVALID"},
		{err: auth.ErrForbidden, code: codes.PermissionDenied, reason: "WORKSPACE_FORBIDDEN"},
		{err: &auth.Error{Reason: auth.RoleTooLow, Needed: auth.Admin}, code: codes.PermissionDenied, reason: "ROLE_TOO_LOW", facts: map[string]string{"needed_role": "admin"}},
		{err: auth.ErrIssuerUnavailable, code: codes.Unavailable, reason: "ISSUER_UNAVAILABLE", retry: 5 * time.Second},

		{err: &sigmaclient.Error{Kind: sigmaclient.KindInternal, Call: "the query of an element", Status: 500, RequestID: "r1", Code: "internal"},
			code: codes.Unavailable, reason: "SIGMA_UNAVAILABLE", retry: 5 * time.Second,
			facts: map[string]string{"sigma_status": "500", "sigma_request_id": "r1", "sigma_code": "internal", "sigma_call": "the query of an element"}},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindCredentials, Status: 401}, code: codes.FailedPrecondition, reason: "SIGMA_CREDENTIALS_INVALID"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindForbidden, Status: 403}, code: codes.FailedPrecondition, reason: "SIGMA_FORBIDDEN"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindNotFound, Status: 404}, code: codes.NotFound, reason: "MODEL_GONE"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindArchived, Status: 409}, code: codes.FailedPrecondition, reason: "MODEL_ARCHIVED"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindBroken, Status: 409}, code: codes.FailedPrecondition, reason: "MODEL_BROKEN"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindWarehouseRefused, Status: 400}, code: codes.FailedPrecondition, reason: "MODEL_BROKEN"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindInvalidRequest, Status: 400, Call: "GET /v2/workbooks/{}/elements/{}/query"}, code: codes.FailedPrecondition, reason: "MODEL_WITHOUT_SQL"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindInvalidRequest, Status: 451, Call: "GET /v2/workbooks/{}/elements/{}/query"}, code: codes.FailedPrecondition, reason: "SIGMA_REQUEST_REFUSED"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindInvalidRequest, Status: 400, Call: "GET /v2/workbooks/{}/lineage"}, code: codes.FailedPrecondition, reason: "SIGMA_REQUEST_REFUSED"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindNotFound, Status: 404, Call: "GET /v2/workbooks/{}/columns"}, code: codes.FailedPrecondition, reason: "SIGMA_REQUEST_REFUSED"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindNotFound, Status: 404, Call: "GET /v2/workbooks/{}/tags"}, code: codes.FailedPrecondition, reason: "SIGMA_REQUEST_REFUSED"},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindThrottled, Status: 429, RetryAfter: 17 * time.Second}, code: codes.Unavailable, reason: "SIGMA_THROTTLED", retry: 17 * time.Second},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindUnavailable}, code: codes.Unavailable, reason: "SIGMA_UNAVAILABLE", retry: 5 * time.Second},
		{err: &sigmaclient.Error{Kind: sigmaclient.KindProtocol}, code: codes.Unavailable, reason: "SIGMA_PROTOCOL"},
		{err: &sigmaclient.Error{Kind: 1000}, code: codes.Unavailable, reason: "SIGMA_PROTOCOL"},

		{err: &warehouse.Error{Kind: warehouse.KindUnknown}, code: codes.Unavailable, reason: "WAREHOUSE_UNAVAILABLE", retry: 5 * time.Second},
		{err: &warehouse.Error{Kind: warehouse.KindCredentials, Code: "390100", State: "08004"}, code: codes.FailedPrecondition, reason: "WAREHOUSE_CREDENTIALS_INVALID",
			facts: map[string]string{"warehouse_code": "390100", "sql_state": "08004"}},
		{err: &warehouse.Error{Kind: warehouse.KindConfiguration}, code: codes.FailedPrecondition, reason: "WAREHOUSE_CONFIGURATION_INVALID"},
		{err: &warehouse.Error{Kind: warehouse.KindPermission, Object: "SHOP.SALES.ORDERS", QueryID: "q1"}, code: codes.PermissionDenied, reason: "WAREHOUSE_PERMISSION",
			facts: map[string]string{"object": "SHOP.SALES.ORDERS", "query_id": "q1"}},
		{err: &warehouse.Error{Kind: warehouse.KindInvalidSQL}, code: codes.FailedPrecondition, reason: "WAREHOUSE_SQL_INVALID"},
		{err: &warehouse.Error{Kind: warehouse.KindData}, code: codes.FailedPrecondition, reason: "WAREHOUSE_DATA_INVALID"},
		{err: &warehouse.Error{Kind: warehouse.KindTimeout}, code: codes.DeadlineExceeded, reason: "WAREHOUSE_TIMEOUT"},
		{err: &warehouse.Error{Kind: warehouse.KindCancelled}, code: codes.Aborted, reason: "WAREHOUSE_CANCELLED"},
		{err: &warehouse.Error{Kind: warehouse.KindThrottled}, code: codes.Unavailable, reason: "WAREHOUSE_THROTTLED", retry: 5 * time.Second},
		{err: &warehouse.Error{Kind: warehouse.KindUnavailable}, code: codes.Unavailable, reason: "WAREHOUSE_UNAVAILABLE", retry: 5 * time.Second},
		{err: &warehouse.Error{Kind: warehouse.KindIncomplete}, code: codes.DataLoss, reason: "RESULT_INCOMPLETE"},
		{err: &warehouse.Error{Kind: warehouse.KindUnsupported, Column: "Amount", Row: 7}, code: codes.FailedPrecondition, reason: "VALUE_UNSUPPORTED",
			facts: map[string]string{"column": "Amount", "row": "7"}},

		{err: context.Canceled, code: codes.Canceled, reason: "CANCELLED"},
		{err: context.DeadlineExceeded, code: codes.DeadlineExceeded, reason: "DEADLINE_EXCEEDED"},
		{err: status.Error(codes.Unavailable, "transport is closing"), code: codes.Canceled, reason: "CANCELLED"},
		{err: errors.New(secret), code: codes.Internal, reason: "INTERNAL"},
		{err: status.Error(codes.DataLoss, secret), code: codes.Internal, reason: "INTERNAL"},
	} {
		t.Run(fmt.Sprintf("%s of %v", test.reason, test.err), func(t *testing.T) {
			t.Parallel()
			failed, _ := call(t, t.Context(), fmt.Errorf("while reading: %w", test.err))
			info := infoOf(t, failed)
			if failed.Code() != test.code || info.GetReason() != test.reason || info.GetDomain() != errmap.Domain {
				t.Errorf("got %s %s of %s, want %s %s", failed.Code(), info.GetReason(), info.GetDomain(), test.code, test.reason)
			}
			if failed.Message() == "" || strings.Contains(failed.Message(), secret) {
				t.Errorf("the caller is told %q", failed.Message())
			}
			for key, want := range test.facts {
				if got := info.GetMetadata()[key]; got != want {
					t.Errorf("metadata %s = %q, want %q", key, got, want)
				}
			}
			for key, value := range info.GetMetadata() {
				if value == "" {
					t.Errorf("metadata %s is empty, where it should be absent", key)
				}
			}
			if got := detail[*errdetails.RetryInfo](failed).GetRetryDelay().AsDuration(); got != test.retry {
				t.Errorf("retry in %s, want %s", got, test.retry)
			}
		})
	}
}

// TestEveryReasonHasACode fails when a reason was added to the contract and not
// to the table.
func TestEveryReasonHasACode(t *testing.T) {
	t.Parallel()
	for value, name := range pb.ErrorReason_name {
		reason := pb.ErrorReason(value)
		if reason == pb.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue
		}
		if errmap.CodeOf(reason) == codes.OK {
			t.Errorf("%s has no code", name)
		}
		failed, _ := call(t, t.Context(), errmap.New(reason, "", "told"))
		if got := "ERROR_REASON_" + infoOf(t, failed).GetReason(); got != name || failed.Code() != errmap.CodeOf(reason) {
			t.Errorf("%s travels as %s %s", name, failed.Code(), got)
		}
	}
}

// TestWhatTheCallerDidComesFirst: a caller who left is not told of what
// their leaving broke.
func TestWhatTheCallerDidComesFirst(t *testing.T) {
	t.Parallel()
	left, leave := context.WithCancel(t.Context())
	leave()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]codes.Code{left: codes.Canceled, late: codes.DeadlineExceeded} {
		failed, _ := call(t, ctx, &warehouse.Error{Kind: warehouse.KindUnavailable})
		if failed.Code() != want {
			t.Errorf("got %s, want %s", failed.Code(), want)
		}
	}
}

// TestOwnErrors shows that what a service says itself wins over its cause, and
// that all of it travels.
func TestOwnErrors(t *testing.T) {
	t.Parallel()
	const model = "workspaces/acme/connections/prod/models/w.e"
	failed, log := call(t, t.Context(), fmt.Errorf("read: %w", &errmap.Error{
		Reason:     pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT,
		Message:    "the columns changed",
		Metadata:   map[string]string{"fingerprint": "f2"},
		Fields:     []errmap.Field{{Path: "expected_fingerprint", Problem: "it is old"}},
		Resource:   model,
		Details:    nil,
		RetryAfter: time.Minute,
		Err:        &sigmaclient.Error{Kind: sigmaclient.KindThrottled},
	}))
	if failed.Code() != codes.FailedPrecondition || failed.Message() != "the columns changed" {
		t.Errorf("got %s %q", failed.Code(), failed.Message())
	}
	if got := infoOf(t, failed).GetMetadata()["fingerprint"]; got != "f2" {
		t.Errorf("fingerprint %q", got)
	}
	if got := detail[*errdetails.BadRequest](failed).GetFieldViolations(); len(got) != 1 || got[0].GetField() != "expected_fingerprint" {
		t.Errorf("fields %v", got)
	}
	if got := detail[*errdetails.ResourceInfo](failed); got.GetResourceName() != model || got.GetResourceType() != "sigmasource/Model" {
		t.Errorf("resource %v", got)
	}
	if got := detail[*errdetails.RetryInfo](failed).GetRetryDelay().AsDuration(); got != time.Minute {
		t.Errorf("retry in %s", got)
	}
	if log != "" {
		t.Errorf("what the caller was told was logged as our own fault: %s", log)
	}
}

// TestResourceTypes holds the types against the contract's collections.
func TestResourceTypes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"workspaces/acme":                                "sigmasource/Workspace",
		"workspaces/acme/connections/prod":               "sigmasource/Connection",
		"workspaces/acme/connections/prod/scans/s1":      "sigmasource/Scan",
		"workspaces/acme/connections/prod/workbooks/w":   "sigmasource/Workbook",
		"workspaces/acme/connections/prod/models/w.e":    "sigmasource/Model",
		"workspaces/acme/connections/prod/elsewhere/w.e": "",
		"acme": "",
	} {
		failed, _ := call(t, t.Context(), errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_GONE, name, "gone"))
		if got := detail[*errdetails.ResourceInfo](failed).GetResourceType(); got != want {
			t.Errorf("%s: type %q, want %q", name, got, want)
		}
	}
}

// TestInvalidRequest names each field, whether the rule is the contract's or
// a service's own.
func TestInvalidRequest(t *testing.T) {
	t.Parallel()
	broken := protovalidate.Validate(&pb.PreviewModelRequest{Name: "nonsense"})
	var invalid *protovalidate.ValidationError
	if !errors.As(broken, &invalid) {
		t.Fatalf("the contract admits nonsense: %v", broken)
	}
	// The validation interceptor puts the violations into a status.
	wrapped, err := status.New(codes.InvalidArgument, broken.Error()).WithDetails(invalid.ToProto())
	if err != nil {
		t.Fatal(err)
	}
	for how, err := range map[string]error{"by a handler": broken, "by the interceptor": wrapped.Err(), "by a service": errmap.InvalidField("name", "is nonsense")} {
		failed, _ := call(t, t.Context(), err)
		if failed.Code() != codes.InvalidArgument || infoOf(t, failed).GetReason() != "REQUEST_INVALID" {
			t.Errorf("%s: %v", how, failed)
		}
		fields := detail[*errdetails.BadRequest](failed).GetFieldViolations()
		if len(fields) == 0 || fields[0].GetField() != "name" || fields[0].GetDescription() == "" {
			t.Errorf("%s: fields %v", how, fields)
		}
	}
}

// TestInside shows that of our own failures the caller gets an id, and the log
// the same id and the cause.
func TestInside(t *testing.T) {
	t.Parallel()
	failed, log := call(t, t.Context(), errors.New(secret))
	id := infoOf(t, failed).GetMetadata()["request_id"]
	if id == "" || !strings.Contains(log, id) || !strings.Contains(log, secret) {
		t.Errorf("request id %q; log %q", id, log)
	}
}

// TestProblem: a scan tells of a failure what a call would.
func TestProblem(t *testing.T) {
	t.Parallel()
	const name = "workspaces/acme/connections/prod/models/w.e"
	problem := errmap.Problem(fmt.Errorf("scan: %w", &sigmaclient.Error{Kind: sigmaclient.KindArchived, Code: "archived", RequestID: "r9"}), name)
	if problem.GetReason() != pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED || problem.GetResource() != name ||
		problem.GetSigmaCode() != "archived" || problem.GetSigmaRequestId() != "r9" || problem.GetMessage() == "" {
		t.Errorf("got %v", problem)
	}
	told := errmap.Explained(errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, "", "mend it"))
	reason, message := told.Reason, told.Message
	if reason != pb.ErrorReason_ERROR_REASON_MODEL_BROKEN || message != "mend it" {
		t.Errorf("got %s %q", reason, message)
	}
}

// call sends an error through the interceptors, as a unary call and as a
// stream, and returns what the caller gets and what was logged.
func call(t *testing.T, ctx context.Context, err error) (*status.Status, string) {
	t.Helper()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	sent := &streamCall{ctx: ctx}
	ctx = grpc.NewContextWithServerTransportStream(ctx, unaryCall{sent})
	_, unary := errmap.UnaryIdentify(ctx, nil, &grpc.UnaryServerInfo{}, func(ctx context.Context, request any) (any, error) {
		return errmap.UnaryMap(logger)(ctx, request, &grpc.UnaryServerInfo{FullMethod: "/s/m"}, func(context.Context, any) (any, error) {
			return nil, err
		})
	})
	logged := log.String()
	stream := errmap.StreamIdentify(nil, sent, &grpc.StreamServerInfo{}, func(server any, stream grpc.ServerStream) error {
		return errmap.StreamMap(logger)(server, stream, &grpc.StreamServerInfo{FullMethod: "/s/m"}, func(any, grpc.ServerStream) error {
			return err
		})
	})
	inUnary, inStream := status.Convert(unary), status.Convert(stream)
	if inUnary.Code() != inStream.Code() || inUnary.Message() != inStream.Message() || infoOf(t, inUnary).GetReason() != infoOf(t, inStream).GetReason() {
		t.Errorf("a unary call gets %v and a stream %v", inUnary, inStream)
	}
	for _, id := range sent.ids {
		if id == "" {
			t.Error("a call got no id in its header")
		}
	}
	if len(sent.ids) != 2 || sent.ids[0] == sent.ids[1] {
		t.Errorf("two calls got the ids %q", sent.ids)
	}
	return inUnary, logged
}

func infoOf(t *testing.T, failed *status.Status) *errdetails.ErrorInfo {
	t.Helper()
	info := detail[*errdetails.ErrorInfo](failed)
	if info == nil {
		t.Fatalf("%v has no ErrorInfo", failed)
	}
	return info
}

// detail is the first detail of a type, or its zero value.
func detail[T any](failed *status.Status) (none T) {
	for _, d := range failed.Details() {
		if found, ok := d.(T); ok {
			return found
		}
	}
	return none
}
