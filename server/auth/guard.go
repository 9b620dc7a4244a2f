package auth

import (
	"context"
	"slices"
	"strings"

	grpcauth "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// Guard makes the interceptors. The order in a chain is: error mapping,
// Authenticate, request validation, Authorize. Validation lies between, so that
// a misspelt name is told as such to a caller who is known, and only to them.
type Guard struct {
	// Authenticate finds the caller, as (*Callers).Authenticate does.
	Authenticate grpcauth.AuthFunc
	// Open are services that anyone may call, by full name, such as
	// `grpc.health.v1.Health`.
	Open []string
	// Unscoped are services whose requests name no workspace: any authenticated
	// caller may call them.
	Unscoped []string
}

// AuthenticateUnary puts the caller's principal into the context, or refuses.
func (g *Guard) AuthenticateUnary() grpc.UnaryServerInterceptor {
	authenticate := grpcauth.UnaryServerInterceptor(g.Authenticate)
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if g.isOpen(info.FullMethod) {
			return handler(ctx, request)
		}
		return authenticate(ctx, request, info, handler)
	}
}

// AuthenticateStream is AuthenticateUnary for streams.
func (g *Guard) AuthenticateStream() grpc.StreamServerInterceptor {
	authenticate := grpcauth.StreamServerInterceptor(g.Authenticate)
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if g.isOpen(info.FullMethod) {
			return handler(server, stream)
		}
		return authenticate(server, stream, info, handler)
	}
}

// AuthorizeUnary admits a request whose caller has the role that the method
// needs in the request's workspace.
func (g *Guard) AuthorizeUnary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !g.needsNoWorkspace(info.FullMethod) {
			if err := authorize(ctx, info.FullMethod, request); err != nil {
				return nil, err
			}
		}
		return handler(ctx, request)
	}
}

// AuthorizeStream is AuthorizeUnary for streams. It looks at every message that
// the caller sends.
func (g *Guard) AuthorizeStream() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if g.needsNoWorkspace(info.FullMethod) {
			return handler(server, stream)
		}
		return handler(server, &authorizedStream{stream, info.FullMethod})
	}
}

type authorizedStream struct {
	grpc.ServerStream
	method string
}

// RecvMsg fails before the handler has seen a message that the caller may not
// send.
func (s *authorizedStream) RecvMsg(message any) error {
	if err := s.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	return authorize(s.Context(), s.method, message)
}

// authorize fails for a method without a role, and for a request without a
// workspace: what is new is closed until it is opened.
func authorize(ctx context.Context, method string, request any) error {
	p := PrincipalFrom(ctx)
	if p == nil {
		return ErrMissing
	}
	role, known := needed[method]
	workspace, err := resource.WorkspaceOf(ResourceOf(request))
	if !known || err != nil {
		return ErrForbidden
	}
	return p.authorize(workspace, role)
}

// ResourceOf returns the name of the resource that a request is about, or its
// parent's, or nothing.
func ResourceOf(request any) string {
	switch r := request.(type) {
	case interface{ GetName() string }:
		return r.GetName()
	case interface{ GetParent() string }:
		return r.GetParent()
	case interface{ GetConnection() *pb.Connection }:
		return r.GetConnection().GetName()
	}
	return ""
}

func (g *Guard) isOpen(method string) bool {
	return slices.Contains(g.Open, service(method))
}

func (g *Guard) needsNoWorkspace(method string) bool {
	return g.isOpen(method) || slices.Contains(g.Unscoped, service(method))
}

// service returns the service's full name from `/service/method`.
func service(method string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return name
}
