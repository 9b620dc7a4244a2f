package errmap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
)

// Problem describes a failure as the catalog keeps it. It takes what classify
// makes of the error, so that a scan and a call tell the same story.
func Problem(err error, resource string) *pb.Problem {
	failure := classify(context.Background(), err)
	if resource == "" {
		resource = failure.Resource
	}
	return &pb.Problem{
		Reason:         failure.Reason,
		Message:        failure.Message,
		Resource:       resource,
		SigmaCode:      failure.Metadata["sigma_code"],
		SigmaRequestId: failure.Metadata["sigma_request_id"],
	}
}

// ProblemWithFacts is Problem with the facts of the error.
func ProblemWithFacts(err error, resource string) *pb.Problem {
	problem := Problem(err, resource)
	problem.Metadata = maps.Clone(classify(context.Background(), err).Metadata)
	return problem
}

// Explained is what a caller is told of an error.
func Explained(err error) *Error { return classify(context.Background(), err) }

// CodeOf returns the gRPC code of a reason.
func CodeOf(reason pb.ErrorReason) codes.Code { return codeOf[reason] }

// classify finds the reason of an error. What the caller did (leave, or run out
// of time) comes before what that led to further down.
func classify(ctx context.Context, err error) *Error {
	if left := ended(ctx.Err()); left != nil {
		left.Err = err
		return left
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var refused *auth.Error
	if errors.As(err, &refused) {
		return fromAuth(refused, err)
	}
	var sigma *sigmaclient.Error
	if errors.As(err, &sigma) {
		return fromSigma(sigma, err)
	}
	var house *warehouse.Error
	if errors.As(err, &house) {
		return fromWarehouse(house, err)
	}
	if invalid := fromValidation(err); invalid != nil {
		return invalid
	}
	if left := ended(err); left != nil {
		return left
	}
	if code := status.Code(err); code == codes.Canceled || code == codes.Unavailable {
		return ended(context.Canceled) // the transport's word that the caller left
	}
	return &Error{
		Reason:  pb.ErrorReason_ERROR_REASON_INTERNAL,
		Message: "the server failed for a reason of its own; quote the request id when reporting it",
		Err:     err,
	}
}

func ended(err error) *Error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Reason: pb.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED, Message: "the deadline passed before the answer was complete", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Reason: pb.ErrorReason_ERROR_REASON_CANCELLED, Message: "the call was cancelled", Err: err}
	}
	return nil
}

var authReasons = map[auth.Reason]pb.ErrorReason{
	auth.Missing:           pb.ErrorReason_ERROR_REASON_TOKEN_MISSING,
	auth.Invalid:           pb.ErrorReason_ERROR_REASON_TOKEN_INVALID,
	auth.Forbidden:         pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN,
	auth.RoleTooLow:        pb.ErrorReason_ERROR_REASON_ROLE_TOO_LOW,
	auth.IssuerUnavailable: pb.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE,
}

func fromAuth(refused *auth.Error, err error) *Error {
	failure := &Error{Reason: authReasons[refused.Reason], Message: refused.Error(), Err: err}
	switch refused.Reason {
	case auth.RoleTooLow:
		failure.Metadata = map[string]string{"needed_role": refused.Needed.String()}
	case auth.IssuerUnavailable:
		failure.RetryAfter = defaultRetry
	}
	return failure
}

// sigmaReasons and their texts are what Sigma's failures mean to a caller of
// this service, who did nothing wrong: never UNAUTHENTICATED.
var sigmaReasons = map[sigmaclient.Kind]struct {
	reason  pb.ErrorReason
	message string
}{
	sigmaclient.KindInternal:         {pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE, "Sigma failed on this request; if it keeps failing, ask Sigma's support with the request id"},
	sigmaclient.KindCredentials:      {pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID, "Sigma refuses the credentials: the client id or secret is wrong or revoked, the base URL is of another region than the organization's, or the organization's API allow-list does not admit this service's address"},
	sigmaclient.KindForbidden:        {pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN, "the owner of the Sigma credentials may not read this; share it with them in Sigma, or check the organization's API allow-list of IP addresses"},
	sigmaclient.KindNotFound:         {pb.ErrorReason_ERROR_REASON_MODEL_GONE, "Sigma has no query for this element: the element or its workbook is gone, or it is no table or chart"},
	sigmaclient.KindArchived:         {pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED, "the workbook, or something that the element reads from, is archived in Sigma; restore it there"},
	sigmaclient.KindBroken:           {pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, "Sigma cannot produce the element's query: it, or something it depends on, has an error; open the workbook in Sigma and mend it"},
	sigmaclient.KindWarehouseRefused: {pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, "the element's query fails in Sigma's own warehouse connection; open the workbook in Sigma and mend it"},
	sigmaclient.KindInvalidRequest:   {pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "Sigma refuses this request; ask Sigma's support with the request id"},
	sigmaclient.KindThrottled:        {pb.ErrorReason_ERROR_REASON_SIGMA_THROTTLED, "Sigma throttles the organization's API calls; try again later"},
	sigmaclient.KindUnavailable:      {pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE, "Sigma cannot be reached, or failed in passing; try again"},
	sigmaclient.KindProtocol:         {pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL, "Sigma answered something that this version does not understand"},
}

func fromSigma(e *sigmaclient.Error, err error) *Error {
	row, ok := sigmaReasons[e.Kind]
	switch {
	case !ok:
		row = sigmaReasons[sigmaclient.KindProtocol]
	case e.Kind == sigmaclient.KindNotFound && isSideCall(e.Call):
		row.reason, row.message = pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "Sigma does not find what it is asked for, about something that it lists"
	case e.Kind == sigmaclient.KindInvalidRequest && e.Status == http.StatusBadRequest && strings.HasSuffix(e.Call, "/query"):
		row.reason, row.message = pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, "Sigma refuses to produce a query for this element (HTTP 400); texts, images and controls have none"
	}
	failure := &Error{
		Reason:  row.reason,
		Message: row.message,
		Metadata: map[string]string{
			"sigma_call":       e.Call,
			"sigma_code":       e.Code,
			"sigma_request_id": e.RequestID,
		},
		RetryAfter: e.RetryAfter,
		Err:        err,
	}
	if e.Status != 0 {
		failure.Metadata["sigma_status"] = fmt.Sprint(e.Status)
	}
	if codeOf[failure.Reason] == codes.Unavailable && failure.RetryAfter == 0 && row.reason != pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL {
		failure.RetryAfter = defaultRetry
	}
	return failure
}

// isSideCall reports whether a call is for a list about a document or an element, which are there whatever it answers.
func isSideCall(call string) bool {
	for _, list := range [...]string{"/columns", "/lineage", "/sources", "/queries", "/controls", "/bookmarks", "/tags"} {
		if strings.HasSuffix(call, list) {
			return true
		}
	}
	return false
}

var warehouseReasons = map[warehouse.Kind]pb.ErrorReason{
	warehouse.KindUnknown:       pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE,
	warehouse.KindCredentials:   pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID,
	warehouse.KindConfiguration: pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID,
	warehouse.KindPermission:    pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION,
	warehouse.KindInvalidSQL:    pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID,
	warehouse.KindData:          pb.ErrorReason_ERROR_REASON_WAREHOUSE_DATA_INVALID,
	warehouse.KindTimeout:       pb.ErrorReason_ERROR_REASON_WAREHOUSE_TIMEOUT,
	warehouse.KindCancelled:     pb.ErrorReason_ERROR_REASON_WAREHOUSE_CANCELLED,
	warehouse.KindThrottled:     pb.ErrorReason_ERROR_REASON_WAREHOUSE_THROTTLED,
	warehouse.KindUnavailable:   pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE,
	warehouse.KindIncomplete:    pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE,
	warehouse.KindUnsupported:   pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED,
	warehouse.KindGone:          pb.ErrorReason_ERROR_REASON_SESSION_LOST,
}

func fromWarehouse(e *warehouse.Error, err error) *Error {
	reason, ok := warehouseReasons[e.Kind]
	if !ok {
		reason = pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE
	}
	failure := &Error{
		Reason:  reason,
		Message: "the warehouse refused: " + e.Kind.String(),
		Metadata: map[string]string{
			"warehouse_code": e.Code,
			"sql_state":      e.State,
			"query_id":       e.QueryID,
			"object":         e.Object,
			"column":         e.Column,
		},
		Err: err,
	}
	if e.Row > 0 {
		failure.Metadata["row"] = strconv.FormatInt(e.Row, 10)
	}
	if e.Message != "" {
		failure.Message = e.Message
	}
	if codeOf[reason] == codes.Unavailable {
		failure.RetryAfter = defaultRetry
	}
	return failure
}

// fromValidation names the fields that break the contract's rules, or returns
// nil. Rules are checked before a handler, where the interceptor has wrapped
// the violations already, and by handlers.
func fromValidation(err error) *Error {
	var violations []*validatepb.Violation
	var direct *protovalidate.ValidationError
	if errors.As(err, &direct) {
		violations = direct.ToProto().GetViolations()
	} else if s, ok := status.FromError(err); ok && s.Code() == codes.InvalidArgument {
		for _, detail := range s.Details() {
			if v, ok := detail.(*validatepb.Violations); ok {
				violations = v.GetViolations()
			}
		}
	}
	if len(violations) == 0 {
		return nil
	}
	failure := &Error{Reason: pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, Err: err}
	var texts []string
	for _, v := range violations {
		field := Field{Path: protovalidate.FieldPathString(v.GetField()), Problem: v.GetMessage()}
		failure.Fields = append(failure.Fields, field)
		texts = append(texts, field.Path+": "+field.Problem)
	}
	failure.Message = strings.Join(texts, "; ")
	return failure
}
