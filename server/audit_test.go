package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// audited is a line of the audit.
type audited struct {
	Message   string `json:"msg"`
	RequestID string `json:"request_id"`
	Method    string `json:"method"`
	Resource  string `json:"resource"`
	Principal string `json:"principal"`
	Via       string `json:"via"`
	Peer      string `json:"peer"`
	Fields    string `json:"fields"`
	Code      string `json:"code"`
	Reason    string `json:"reason"`
	Rows      int64  `json:"rows"`
	QueryID   string `json:"query_id"`
}

func (w *world) auditLines() (all []audited) {
	w.t.Helper()
	for line := range strings.Lines(w.audit.String()) {
		var a audited
		w.must(json.Unmarshal([]byte(line), &a))
		all = append(all, a)
	}
	return all
}

func TestTheAuditTellsWhoDidWhat(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, plainOrders)
	ids := map[string]bool{}
	for _, test := range []struct {
		name string
		do   func(context.Context) error
		code codes.Code
		want []audited // less what is new each time
	}{
		{"a change", func(ctx context.Context) error {
			_, err := w.connections.UpdateConnection(ctx, &pb.UpdateConnectionRequest{
				Connection: &pb.Connection{Name: snowflakeName, DisplayName: canary + "name", Sigma: &pb.SigmaCredentials{ClientSecret: sigmaSecret}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"sigma.client_secret"}},
			})
			return err
		}, codes.OK, []audited{{Message: "call", Method: "sigmasource.v1.SigmaConnections/UpdateConnection", Resource: snowflakeName, Fields: "sigma.client_secret", Code: "OK"}}},
		{"a change that is refused", func(ctx context.Context) error {
			_, err := w.connections.UpdateConnection(ctx, &pb.UpdateConnectionRequest{
				Connection: &pb.Connection{Name: snowflakeName, Sigma: &pb.SigmaCredentials{ClientSecret: wrongSigmaSecret}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"sigma.client_secret"}},
			})
			return err
		}, codes.FailedPrecondition, []audited{{Message: "call", Method: "sigmasource.v1.SigmaConnections/UpdateConnection", Resource: snowflakeName, Fields: "sigma.client_secret",
			Code: "FailedPrecondition", Reason: "SIGMA_CREDENTIALS_INVALID"}}},
		{"a new connection", func(ctx context.Context) error {
			_, err := w.connections.CreateConnection(ctx, w.createRequest(func(r *pb.CreateConnectionRequest) { r.ConnectionId = "new" }))
			return err
		}, codes.OK, []audited{{Message: "call", Method: "sigmasource.v1.SigmaConnections/CreateConnection", Resource: workspace + "/connections/new", Code: "OK"}}},
		{"its end", func(ctx context.Context) error {
			_, err := w.connections.DeleteConnection(ctx, &pb.DeleteConnectionRequest{Name: workspace + "/connections/new"})
			return err
		}, codes.OK, []audited{{Message: "call", Method: "sigmasource.v1.SigmaConnections/DeleteConnection", Resource: workspace + "/connections/new", Code: "OK"}}},
		{"a read", func(ctx context.Context) error {
			_, err := w.preview(ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 700})
			return err
		}, codes.OK, []audited{
			{Message: "read begins", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model},
			{Message: "call", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model, Code: "OK", Rows: 700, QueryID: "?"},
		}},
		{"a read in Arrow", func(ctx context.Context) error {
			_, err := w.preview(ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 300, Format: pb.DataFormat_DATA_FORMAT_ARROW})
			return err
		}, codes.OK, []audited{
			{Message: "read begins", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model},
			{Message: "call", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model, Code: "OK", Rows: 300, QueryID: "?"},
		}},
		{"a read of nothing", func(ctx context.Context) error {
			_, err := w.preview(ctx, &pb.PreviewModelRequest{Name: model + "x"})
			return err
		}, codes.NotFound, []audited{
			{Message: "read begins", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model + "x"},
			{Message: "call", Method: "sigmasource.v1.ModelQuery/PreviewModel", Resource: model + "x", Code: "NotFound", Reason: "MODEL_GONE"},
		}},
		{"what is not well-formed", func(ctx context.Context) error {
			_, err := w.connections.GetConnection(ctx, &pb.GetConnectionRequest{Name: strings.Repeat("x", 1000)})
			return err
		}, codes.InvalidArgument, []audited{{Message: "call", Method: "sigmasource.v1.SigmaConnections/GetConnection", Resource: strings.Repeat("x", 400) + "…", Code: "InvalidArgument", Reason: "REQUEST_INVALID"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mark := len(w.auditLines())
			err := test.do(w.ctx)
			if got := status.Code(err); got != test.code {
				t.Fatalf("got %v", err)
			}
			got := w.auditLines()[mark:]
			if len(got) != len(test.want) {
				t.Fatalf("%d lines: %+v", len(got), got)
			}
			for i, line := range got {
				if line.RequestID == "" || !strings.HasPrefix(line.Peer, "127.0.0.1:") || line.Principal != "acme platform" || line.Via != "token" {
					t.Errorf("line %d: %+v", i, line)
				}
				if i == 0 && ids[line.RequestID] || i > 0 && !ids[line.RequestID] {
					t.Errorf("line %d has the request id %s", i, line.RequestID)
				}
				ids[line.RequestID] = true
				if test.want[i].QueryID == "?" && line.QueryID != "" {
					line.QueryID = "?"
				}
				line.RequestID, line.Peer, line.Principal, line.Via = "", "", "", ""
				if line != test.want[i] {
					t.Errorf("line %d is %+v\ninstead of %+v", i, line, test.want[i])
				}
			}
		})
	}

	t.Run("a stranger", func(t *testing.T) {
		mark := len(w.auditLines())
		wantError(t, get(t.Context(), w.conn), codes.Unauthenticated, pb.ErrorReason_ERROR_REASON_TOKEN_MISSING)
		wantError(t, get(w.others, w.conn), codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN)
		lines := w.auditLines()[mark:]
		if len(lines) != 2 || lines[0].Principal != "" || lines[0].Reason != "TOKEN_MISSING" || lines[0].Resource != snowflakeName ||
			lines[1].Principal != "globex platform" || lines[1].Reason != "WORKSPACE_FORBIDDEN" || lines[1].Resource != snowflakeName {
			t.Errorf("%+v", lines)
		}
	})
	t.Run("what concerns nobody", func(t *testing.T) {
		mark := len(w.auditLines())
		_, err := healthpb.NewHealthClient(w.conn).Check(w.ctx, &healthpb.HealthCheckRequest{})
		w.must(err)
		if lines := w.auditLines()[mark:]; len(lines) != 0 {
			t.Errorf("%+v", lines)
		}
	})
	t.Run("a caller that leaves", func(t *testing.T) {
		mark := len(w.auditLines())
		w.must(w.leaves(model))
		w.stop() // waits for the call's end
		lines := w.auditLines()[mark:]
		if len(lines) != 2 || lines[1].Message != "call" || lines[1].Principal != "acme platform" {
			t.Errorf("%+v", lines)
		}
	})
}
