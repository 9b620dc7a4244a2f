// Package auth decides who may call: it turns a bearer token into a principal,
// and admits a request when the principal may use the workspace that the request
// names.
//
// Both are interceptors, so that no handler can forget them. The package's errors
// are typed and carry no status: package errmap, whose interceptor lies outside
// of these, gives them their codes. It may import the contract and
// server/resource, and no other part of the server.
package auth

import (
	"context"
	"slices"
)

// AnyWorkspace, in a principal's list of workspaces, stands for all of them.
const AnyWorkspace = "*"

// Principal is an authenticated caller.
type Principal struct {
	Name       string   // for logs and audit
	Workspaces []string // ids, or AnyWorkspace
}

// MayUse reports whether the principal may use a workspace, by its id.
func (p *Principal) MayUse(workspace string) bool {
	return slices.Contains(p.Workspaces, workspace) || slices.Contains(p.Workspaces, AnyWorkspace)
}

type principalKey struct{}

// WithPrincipal returns a context in which p is the caller.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the caller, or nil if nobody was authenticated.
func PrincipalFrom(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}

// Reason tells why a caller was refused.
type Reason int

const (
	// Missing: the call carries no bearer token.
	Missing Reason = iota + 1
	// Invalid: the token is malformed or unknown.
	Invalid
	// Forbidden: the principal may not use the workspace, or the request names
	// none. Whether the workspace exists plays no part.
	Forbidden
)

// Error is a refusal. It holds nothing of the token.
type Error struct {
	Reason Reason
}

// The refusals, to compare with errors.Is.
var (
	ErrMissing   = &Error{Missing}
	ErrInvalid   = &Error{Invalid}
	ErrForbidden = &Error{Forbidden}
)

// Error says what is wrong and what to do.
func (e *Error) Error() string {
	switch e.Reason {
	case Missing:
		return "no bearer token: send the metadata `authorization: Bearer <token>`"
	case Invalid:
		return "the bearer token is malformed or unknown"
	default:
		return "the caller may not use this workspace"
	}
}

// Is reports whether target is a refusal for the same reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason
}
