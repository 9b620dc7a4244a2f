// Package errmap turns the errors of every layer into gRPC statuses with
// google.rpc details. The table in table.go is the only place where a failure
// gets its code; nothing else in the service calls package status.
//
// It knows the error types of the layers below (sigmaclient, sigmasql,
// warehouse, auth) and the contract. The packages below must not import it.
package errmap

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Error is a failure that a service of this server has found by itself, or
// whose reason it knows better than the layer below.
type Error struct {
	Reason pb.ErrorReason
	// Message tells a person what happened and what to do. It goes to the
	// caller as it is: no secret, no e-mail address, no SQL.
	Message string
	// Metadata are the facts that the reason promises in the contract.
	Metadata map[string]string
	// Fields are the request's fields that are wrong.
	Fields []Field
	// Resource is the name of the resource that the failure is about.
	Resource string
	// Details are further messages of the contract that the reason promises.
	Details []proto.Message
	// RetryAfter asks the caller to wait that long; 0 says nothing.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

// Field is a field of a request and what is wrong with it.
type Field struct {
	Path    string // such as `connection.sigma.base_url`
	Problem string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error about a resource, which may be empty.
func New(reason pb.ErrorReason, resource, message string) *Error {
	return &Error{Reason: reason, Resource: resource, Message: message}
}

// WithDetail returns what a caller is told of an error, with one more message
// of the contract that the reason promises.
func WithDetail(err error, detail proto.Message) *Error {
	told := *Explained(err)
	told.Details = append(slices.Clone(told.Details), detail)
	return &told
}

// Explain returns what a caller is told of an error, in better words and with
// further facts.
func Explain(err error, message string, facts map[string]string) *Error {
	told := *Explained(err)
	told.Message = message
	told.Metadata = maps.Clone(told.Metadata)
	if told.Metadata == nil {
		told.Metadata = map[string]string{}
	}
	maps.Copy(told.Metadata, facts)
	return &told
}

// InvalidField returns a REQUEST_INVALID about one field.
func InvalidField(path, problem string) *Error {
	return &Error{
		Reason:  pb.ErrorReason_ERROR_REASON_REQUEST_INVALID,
		Message: path + ": " + problem,
		Fields:  []Field{{Path: path, Problem: problem}},
	}
}
