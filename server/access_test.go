package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func TestReflectionListsTheServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	stream, err := reflectionpb.NewServerReflectionClient(w.conn).ServerReflectionInfo(w.ctx)
	w.must(err)
	w.must(stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
	response, err := stream.Recv()
	w.must(err)
	var names []string
	for _, s := range response.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range []string{"sigmasource.v1.SigmaConnections", "sigmasource.v1.ModelCatalog", "sigmasource.v1.ModelQuery", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %q", want, names)
		}
	}
	// What grpcurl asks next: the file that describes a service.
	w.must(stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "sigmasource.v1.ModelQuery",
	}}))
	response, err = stream.Recv()
	w.must(err)
	if files := response.GetFileDescriptorResponse().GetFileDescriptorProto(); len(files) == 0 {
		t.Errorf("no description came: %v", response)
	}
	w.must(stream.CloseSend())
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestHealthIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	for _, service := range []string{"", "sigmasource.v1.SigmaConnections", "sigmasource.v1.ModelCatalog", "sigmasource.v1.ModelQuery"} {
		answer, err := healthpb.NewHealthClient(w.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("the service %q: %v, %v", service, answer.GetStatus(), err)
		}
	}
}

// requests holds a well-formed request for every method, about what is there
// and what is not.
func requests(connection, scan, workbook, element string) map[string]proto.Message {
	model := modelName(connection, workbook, element)
	return map[string]proto.Message{
		"CreateConnection": &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: connection[len(workspace+"/connections/"):], Connection: &pb.Connection{
			Sigma:     &pb.SigmaCredentials{BaseUrl: "https://aws-api.sigmacomputing.com", ClientId: "id", ClientSecret: "secret"},
			Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "SHOP"}}},
		}},
		"GetConnection":    &pb.GetConnectionRequest{Name: connection},
		"ListConnections":  &pb.ListConnectionsRequest{Parent: workspace},
		"UpdateConnection": &pb.UpdateConnectionRequest{Connection: &pb.Connection{Name: connection, DisplayName: "Mine"}},
		"DeleteConnection": &pb.DeleteConnectionRequest{Name: connection},
		"CheckConnection":  &pb.CheckConnectionRequest{Name: connection},
		"CheckModel":       &pb.CheckModelRequest{Name: connection + "/models/w.e"},

		"CreateReadSession": &pb.CreateReadSessionRequest{Name: connection + "/models/w.e"},
		"GetReadSession":    &pb.GetReadSessionRequest{Name: connection + "/sessions/s"},
		"DeleteReadSession": &pb.DeleteReadSessionRequest{Name: connection + "/sessions/s"},
		"ReadRows":          &pb.ReadRowsRequest{Name: connection + "/sessions/s/streams/0"},
		"StartScan":         &pb.StartScanRequest{Parent: connection},
		"GetScan":           &pb.GetScanRequest{Name: scan},
		"ListScans":         &pb.ListScansRequest{Parent: connection},
		"CancelScan":        &pb.CancelScanRequest{Name: scan},
		"ListChanges":       &pb.ListChangesRequest{Parent: connection},
		"WatchChanges":      &pb.WatchChangesRequest{Parent: connection},
		"WatchScan":         &pb.WatchScanRequest{Name: scan},
		"ListWorkbooks":     &pb.ListWorkbooksRequest{Parent: connection},
		"ListModels":        &pb.ListModelsRequest{Parent: connection},
		"GetModel":          &pb.GetModelRequest{Name: model},
		"PreviewModel":      &pb.PreviewModelRequest{Name: model},
	}
}

// call calls a method of the contract, to its end.
func (w *world) call(ctx context.Context, method protoreflect.MethodDescriptor, request proto.Message) error {
	w.t.Helper()
	path := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	answers, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	w.must(err)
	if !method.IsStreamingServer() {
		return w.conn.Invoke(ctx, path, request, answers.New().Interface())
	}
	stream, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	w.must(stream.SendMsg(request))
	w.must(stream.CloseSend())
	for {
		if err := stream.RecvMsg(answers.New().Interface()); err != nil {
			return err
		}
	}
}

// methods are all methods of the contract.
func methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_sigmasource_v1_connections_proto, pb.File_sigmasource_v1_catalog_proto, pb.File_sigmasource_v1_query_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				all = append(all, service.Methods().Get(j))
			}
		}
	}
	return all
}

func TestCallersAreToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill("", "")
	w.create(snowflakeName, w.snowflakeConnection())
	model := w.model(snowflakeName, `select 1 "One"`)
	scan := w.scan(snowflakeName)

	there := requests(snowflakeName, scan.GetName(), scratch, model[len(snowflakeName+"/models/"+scratch+"."):])
	missing := requests(workspace+"/connections/missing", workspace+"/connections/missing/scans/missing", "missing", "missing")
	all := methods()
	if len(all) != len(there) {
		t.Fatalf("the contract has %d methods, this test %v", len(all), slices.Sorted(maps.Keys(there)))
	}
	for _, method := range all {
		name := string(method.Name())
		t.Run(name, func(t *testing.T) {
			if there[name] == nil {
				t.Fatal("this test has no request for the method")
			}
			empty := there[name].ProtoReflect().New().Interface()
			for _, request := range []proto.Message{there[name], missing[name], empty} {
				err := w.call(t.Context(), method, request)
				wantError(t, err, codes.Unauthenticated, pb.ErrorReason_ERROR_REASON_TOKEN_MISSING)
				err = w.call(withToken(t.Context(), "sgs_unknown"), method, request)
				wantError(t, err, codes.Unauthenticated, pb.ErrorReason_ERROR_REASON_TOKEN_INVALID)
			}
			err := w.call(w.others, method, there[name])
			wantError(t, err, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN)
			other := w.call(w.others, method, missing[name])
			if a, b := withoutRequestID(err), withoutRequestID(other); a != b {
				t.Errorf("a stranger can tell what is there:\n%s\n%s", a, b)
			}
		})
	}
	// Nothing of this was done.
	got, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.must(err)
	if got.GetConnection().GetDisplayName() != "The shop" {
		t.Errorf("the connection was changed: %v", got)
	}
	list, err := w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace})
	w.must(err)
	if len(list.GetConnections()) != 1 {
		t.Errorf("%d connections", len(list.GetConnections()))
	}
}

// withoutRequestID is all that a caller can see of an error, less what is new
// at every call.
func withoutRequestID(err error) string {
	s := status.Convert(err)
	text := s.Code().String() + " " + s.Message()
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			delete(info.Metadata, "request_id")
		}
		if m, ok := d.(proto.Message); ok {
			data, err := prototext.MarshalOptions{}.Marshal(m)
			if err != nil {
				return err.Error()
			}
			text += "\n" + string(data)
		}
	}
	return text
}

// TestSecretsAreMarked: what is input only is a secret here, and every printer of
// messages must know it.
func TestSecretsAreMarked(t *testing.T) {
	t.Parallel()
	marked := map[string]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			field := m.Fields().Get(i)
			behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
			if slices.Contains(behaviors, annotations.FieldBehavior_INPUT_ONLY) && field.Kind() == protoreflect.StringKind {
				if !field.Options().(*descriptorpb.FieldOptions).GetDebugRedact() {
					t.Errorf("%s is not marked with debug_redact", field.FullName())
				}
				marked[string(field.Name())] = true
			}
		}
		for i := range m.Messages().Len() {
			walk(m.Messages().Get(i))
		}
	}
	messages := pb.File_sigmasource_v1_connections_proto.Messages()
	for i := range messages.Len() {
		walk(messages.Get(i))
	}
	for _, secret := range []string{"client_secret", "private_key_pem", "passphrase", "password", "programmatic_access_token", "oauth_token"} {
		if !marked[secret] {
			t.Errorf("%s is not marked as input only", secret)
		}
	}
	request := &pb.CreateConnectionRequest{Parent: workspace, Connection: &pb.Connection{
		Sigma: &pb.SigmaCredentials{ClientSecret: canary},
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{Account: "VISIBLE",
			Authentication: &pb.SnowflakeWarehouse_KeyPair{KeyPair: &pb.SnowflakeKeyPair{PrivateKeyPem: canary, Passphrase: canary}}}}},
	}}
	var printed strings.Builder
	for _, value := range []any{request, request.GetConnection(), request.GetConnection().GetSigma(), request.GetConnection().GetWarehouse(), []*pb.CreateConnectionRequest{request}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
	}
	for _, logger := range []*slog.Logger{slog.New(slog.NewJSONHandler(&printed, nil)), slog.New(slog.NewTextHandler(&printed, nil))} {
		logger.Info("m", "request", request, "connection", request.GetConnection())
	}
	if strings.Contains(printed.String(), canary) || !strings.Contains(printed.String(), "VISIBLE") || !strings.Contains(printed.String(), "[redacted]") {
		t.Errorf("printed: %s", printed.String())
	}
	if request.GetConnection().GetSigma().GetClientSecret() != canary {
		t.Error("printing took the secret away")
	}
	if got := fmt.Sprint((*pb.Connection)(nil)); got != "<nil>" {
		t.Errorf("nothing prints as %q", got)
	}
}
