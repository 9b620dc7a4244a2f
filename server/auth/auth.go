// Package auth decides who may call what: it turns a bearer token or a client
// certificate into a principal, and admits a request when the principal has the
// role that the method needs in the workspace that the request names.
//
// Both are interceptors, so that no handler can forget them, and both are closed
// by default: a method that the table of roles does not list is refused, and so
// is a request that names no workspace. The package's errors are typed and carry
// no status: package errmap, whose interceptor lies outside of these, gives them
// their codes. It may import the contract, server/resource and server/reload, and
// no other part of the server.
package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// AnyWorkspace, among the workspaces of a principal's roles, stands for all of
// them.
const AnyWorkspace = "*"

// Roles are a principal's roles by workspace id, or by AnyWorkspace.
type Roles map[string]Role

// in returns the role in a workspace, or 0. The greater of the two counts where
// AnyWorkspace has one, too.
func (r Roles) in(workspace string) Role { return max(r[workspace], r[AnyWorkspace]) }

// Principal is an authenticated caller.
type Principal struct {
	Name  string // for logs and audit
	Via   string // what vouches for it: `token`, `certificate`, or the URL of a JWT's issuer
	Roles Roles
}

// authorize fails if the principal has not the role in the workspace. A stranger
// to a workspace learns nothing of it, not even what it would take.
func (p *Principal) authorize(workspace string, needed Role) error {
	switch has := p.Roles.in(workspace); {
	case has == 0:
		return ErrForbidden
	case has < needed:
		return &Error{Reason: RoleTooLow, Needed: needed}
	}
	return nil
}

type principalKey struct{}

// WithPrincipal returns a context in which p is the caller, and tells those who
// asked with Witness.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	if w, _ := ctx.Value(witnessKey{}).(*atomic.Pointer[Principal]); w != nil {
		w.Store(p)
	}
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns the caller, or nil if nobody was authenticated.
func PrincipalFrom(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}

type witnessKey struct{}

// Witness lets an interceptor that stands outside of Authenticate know whom it
// found: the function returns the caller, or nil as long as nobody was
// authenticated.
func Witness(ctx context.Context) (context.Context, func() *Principal) {
	var found atomic.Pointer[Principal]
	return context.WithValue(ctx, witnessKey{}, &found), found.Load
}

// Reason tells why a caller was refused.
type Reason int

const (
	// Missing: the call carries neither a bearer token nor a client certificate.
	Missing Reason = iota + 1
	// Invalid: the token or the certificate is malformed, unknown or not valid
	// now.
	Invalid
	// Forbidden: the principal has no role in the workspace, or the request names
	// none. Whether the workspace exists plays no part.
	Forbidden
	// RoleTooLow: the principal's role in the workspace does not suffice.
	RoleTooLow
	// IssuerUnavailable: the token's issuer does not tell its keys just now.
	IssuerUnavailable
)

// Error is a refusal. It holds nothing of the token.
type Error struct {
	Reason  Reason
	Problem string // what is wrong with a token whose signature is good; may be empty
	Needed  Role   // of RoleTooLow
	Err     error  // for the log only
}

// The refusals, to compare with errors.Is.
var (
	ErrMissing           = &Error{Reason: Missing}
	ErrInvalid           = &Error{Reason: Invalid}
	ErrForbidden         = &Error{Reason: Forbidden}
	ErrRoleTooLow        = &Error{Reason: RoleTooLow}
	ErrIssuerUnavailable = &Error{Reason: IssuerUnavailable}
)

// Error says what is wrong and what to do.
func (e *Error) Error() string {
	switch e.Reason {
	case Missing:
		return "no bearer token: send the metadata `authorization: Bearer <token>`"
	case Invalid:
		if e.Problem != "" {
			return "the bearer token is refused: " + e.Problem
		}
		return "the bearer token or client certificate is malformed or unknown"
	case RoleTooLow:
		return fmt.Sprintf("the caller needs the role %s in this workspace for this method", e.Needed)
	case IssuerUnavailable:
		return "the keys of the token's issuer cannot be had just now; try again"
	default:
		return "the caller may not use this workspace"
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is a refusal for the same reason.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Reason == e.Reason
}
