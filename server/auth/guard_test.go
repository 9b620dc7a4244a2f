package auth_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// codeOf is what package errmap does with the refusals.
func codeOf(err error) error {
	var refusal *auth.Error
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Reason {
	case auth.Missing, auth.Invalid:
		return status.Error(codes.Unauthenticated, refusal.Error())
	default:
		return status.Error(codes.PermissionDenied, refusal.Error())
	}
}

// serve serves the whole contract, unimplemented: a call that is admitted ends as
// UNIMPLEMENTED.
func serve(t *testing.T, tokens ...auth.Token) (conn *grpc.ClientConn) {
	t.Helper()
	guard := &auth.Guard{
		Authenticate: newCallers(t, auth.Config{Tokens: tokens}).Authenticate,
		Open:         []string{"grpc.health.v1.Health"},
		Unscoped:     []string{"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"},
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(
			func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				answer, err := handler(ctx, request)
				return answer, codeOf(err)
			}, guard.AuthenticateUnary(), guard.AuthorizeUnary()),
		grpc.ChainStreamInterceptor(
			func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
				return codeOf(handler(server, stream))
			}, guard.AuthenticateStream(), guard.AuthorizeStream()))
	pb.RegisterSigmaConnectionsServer(server, pb.UnimplementedSigmaConnectionsServer{})
	pb.RegisterModelCatalogServer(server, pb.UnimplementedModelCatalogServer{})
	pb.RegisterModelQueryServer(server, pb.UnimplementedModelQueryServer{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)

	listener := bufconn.Listen(1 << 16)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// methods are all methods of the contract, by `/service/method`.
func methods(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	all := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("sigmasource.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				all["/"+string(service.FullName())+"/"+string(method.Name())] = method
			}
		}
		return true
	})
	if len(all) < 13 {
		t.Fatalf("found only %d methods", len(all))
	}
	return all
}

// request returns a request whose every text that could name a resource names one
// in the workspace.
func request(t *testing.T, method protoreflect.MethodDescriptor, workspace string) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	m := kind.New()
	name := protoreflect.ValueOfString("workspaces/" + workspace + "/connections/prod")
	for _, field := range []protoreflect.Name{"name", "parent"} {
		if f := m.Descriptor().Fields().ByName(field); f != nil {
			m.Set(f, name)
		}
	}
	if f := m.Descriptor().Fields().ByName("connection"); f != nil {
		connection := m.Mutable(f).Message()
		if method.Name() == "CreateConnection" { // where the contract says that it is ignored
			name = protoreflect.ValueOfString("workspaces/elsewhere/connections/prod")
		}
		connection.Set(connection.Descriptor().Fields().ByName("name"), name)
	}
	return m.Interface()
}

// call makes a call of any shape and returns how it ended.
func call(ctx context.Context, conn *grpc.ClientConn, path string, method protoreflect.MethodDescriptor, request proto.Message) error {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return err
	}
	answer := kind.New().Interface()
	if !method.IsStreamingServer() && !method.IsStreamingClient() {
		return conn.Invoke(ctx, path, request, answer)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg has the status
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(answer)
}

// TestEveryMethodIsGuarded fails for a method whose request names no workspace
// that the guard can find, and for one that it does not guard.
func TestEveryMethodIsGuarded(t *testing.T) {
	token, hash := auth.NewToken()
	everywhere, everywhereHash := auth.NewToken()
	conn := serve(t,
		auth.Token{Principal: "platform", Hash: hash, Roles: auth.Roles{"acme": auth.Admin, "globex": auth.Admin}},
		auth.Token{Principal: "on-call", Hash: everywhereHash, Roles: auth.Roles{auth.AnyWorkspace: auth.Admin}})
	for path, method := range methods(t) {
		t.Run(strings.TrimPrefix(path, "/sigmasource.v1."), func(t *testing.T) {
			empty := request(t, method, "acme")
			proto.Reset(empty)
			for name, c := range map[string]struct {
				token   string
				request proto.Message
				want    codes.Code
			}{
				"own workspace":             {token, request(t, method, "acme"), codes.Unimplemented},
				"second workspace":          {token, request(t, method, "globex"), codes.Unimplemented},
				"any workspace":             {everywhere, request(t, method, "initech"), codes.Unimplemented},
				"other workspace":           {token, request(t, method, "initech"), codes.PermissionDenied},
				"workspace that begins so":  {token, request(t, method, "acme2"), codes.PermissionDenied},
				"workspace in other case":   {token, request(t, method, "Acme"), codes.PermissionDenied},
				"the star itself":           {everywhere, request(t, method, "*"), codes.PermissionDenied},
				"a way out":                 {token, request(t, method, "acme/../initech"), codes.Unimplemented}, // still acme: no name is ever walked
				"a way in":                  {token, request(t, method, "initech/../acme"), codes.PermissionDenied},
				"no workspace":              {token, empty, codes.PermissionDenied},
				"no workspace, but any one": {everywhere, empty, codes.PermissionDenied},
				"no token":                  {"", request(t, method, "acme"), codes.Unauthenticated},
				"unknown token":             {token + "x", request(t, method, "acme"), codes.Unauthenticated},
			} {
				err := call(withToken(t.Context(), c.token), conn, path, method, c.request)
				if status.Code(err) != c.want {
					t.Errorf("%s: %v, want %v", name, err, c.want)
				}
			}
		})
	}
}

// TestRolesOfMethods is the table of who may do what. A method of the contract
// that it does not know fails it.
func TestRolesOfMethods(t *testing.T) {
	want := map[string]auth.Role{
		"CreateConnection": auth.Admin, "UpdateConnection": auth.Admin, "DeleteConnection": auth.Admin,
		"CheckConnection": auth.Operator, "StartScan": auth.Operator, "CancelScan": auth.Operator, "CheckModel": auth.Operator,
		"CreateReadSession": auth.Operator, "GetReadSession": auth.Operator, "DeleteReadSession": auth.Operator, "ReadRows": auth.Operator,
		"GetConnection": auth.Viewer, "ListConnections": auth.Viewer, "GetScan": auth.Viewer, "WatchScan": auth.Viewer,
		"ListScans": auth.Viewer, "ListChanges": auth.Viewer, "WatchChanges": auth.Viewer,
		"ListWorkbooks": auth.Viewer, "ListModels": auth.Viewer, "GetModel": auth.Viewer, "PreviewModel": auth.Viewer,
	}
	var tokens []auth.Token
	tokenOf := map[auth.Role]string{}
	for _, role := range []auth.Role{auth.Viewer, auth.Operator, auth.Admin} {
		token, hash := auth.NewToken()
		tokenOf[role] = token
		tokens = append(tokens, auth.Token{Principal: role.String(), Hash: hash, Roles: auth.Roles{"acme": role, "*": auth.Viewer, "globex": auth.Viewer}})
	}
	conn := serve(t, tokens...)
	for path, method := range methods(t) {
		needed, ok := want[string(method.Name())]
		if !ok {
			t.Errorf("%s is not in the table of this test", path)
			continue
		}
		for role, token := range tokenOf {
			for workspace, has := range map[string]auth.Role{"acme": role, "globex": auth.Viewer, "initech": auth.Viewer} {
				err := call(withToken(t.Context(), token), conn, path, method, request(t, method, workspace))
				expected := codes.Unimplemented
				if has < needed {
					expected = codes.PermissionDenied
				}
				if status.Code(err) != expected {
					t.Errorf("%s by %s in %s: %v, want %v", path, role, workspace, err, expected)
				}
				if expected == codes.PermissionDenied && !strings.Contains(err.Error(), "the role "+needed.String()) {
					t.Errorf("%s by %s: the refusal does not name the role: %v", path, role, err)
				}
			}
		}
	}
}

// TestAMethodWithoutARoleIsClosed: what is new is refused until it has a row in
// the table.
func TestAMethodWithoutARoleIsClosed(t *testing.T) {
	guard := &auth.Guard{}
	ctx := auth.WithPrincipal(t.Context(), &auth.Principal{Name: "p", Roles: auth.Roles{"*": auth.Admin}})
	_, err := guard.AuthorizeUnary()(ctx, &pb.GetConnectionRequest{Name: "workspaces/acme/connections/prod"},
		&grpc.UnaryServerInfo{FullMethod: "/sigmasource.v1.SigmaConnections/StealConnection"},
		func(context.Context, any) (any, error) { return nil, errors.New("the handler was called") })
	if !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("error %v", err)
	}
}

func TestHealthIsOpen(t *testing.T) {
	_, hash := auth.NewToken()
	client := healthpb.NewHealthClient(serve(t, auth.Token{Principal: "p", Hash: hash, Roles: auth.Roles{"acme": auth.Viewer}}))
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Error(err)
	}
}

func TestReflectionNeedsAToken(t *testing.T) {
	token, hash := auth.NewToken()
	conn := serve(t, auth.Token{Principal: "p", Hash: hash, Roles: auth.Roles{"acme": auth.Admin}})
	for token, want := range map[string]codes.Code{token: codes.OK, "": codes.Unauthenticated, "x": codes.Unauthenticated} {
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(withToken(t.Context(), token))
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != want {
			t.Errorf("with the token %q: %v, want %v", token, err, want)
		}
	}
}

// TestRefusalsTellNothing: what a caller may not see is refused in the same words
// whether it exists or not, and even whether the request makes sense.
func TestRefusalsTellNothing(t *testing.T) {
	token, hash := auth.NewToken()
	conn := serve(t, auth.Token{Principal: "p", Hash: hash, Roles: auth.Roles{"acme": auth.Admin}})
	client := pb.NewModelCatalogClient(conn)
	texts := map[string]bool{}
	for _, name := range []string{"workspaces/globex/connections/a/models/w.e", "workspaces/none/connections/a/models/w.e", "nonsense", ""} {
		_, err := client.GetModel(withToken(t.Context(), token), &pb.GetModelRequest{Name: name})
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("different refusals: %v", texts)
	}
}

// TestAuthorizeAlone: without the interceptor before it, it refuses.
func TestAuthorizeAlone(t *testing.T) {
	guard := &auth.Guard{}
	_, err := guard.AuthorizeUnary()(t.Context(), &pb.GetConnectionRequest{Name: "workspaces/acme/connections/prod"},
		&grpc.UnaryServerInfo{FullMethod: "/sigmasource.v1.SigmaConnections/GetConnection"},
		func(context.Context, any) (any, error) { return nil, errors.New("the handler was called") })
	if !errors.Is(err, auth.ErrMissing) {
		t.Errorf("error %v", err)
	}
}
