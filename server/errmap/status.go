package errmap

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Domain is the domain of every google.rpc.ErrorInfo that this service sends.
const Domain = "sigmasource"

// defaultRetry is asked for where whoever failed did not say how long to wait.
const defaultRetry = 5 * time.Second

// toStatus puts a failure into the form in which it travels.
func toStatus(e *Error, requestID string) *status.Status {
	code, ok := codeOf[e.Reason]
	if !ok {
		code = codes.Internal
	}
	metadata := map[string]string{"request_id": requestID}
	for key, value := range e.Metadata {
		if value != "" {
			metadata[key] = value
		}
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.ErrorInfo{
		Reason:   reasonName(e.Reason),
		Domain:   Domain,
		Metadata: metadata,
	})}
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, field := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: field.Path, Description: field.Problem,
			})
		}
		details = append(details, protoadapt.MessageV1Of(bad))
	}
	if e.Resource != "" {
		details = append(details, protoadapt.MessageV1Of(&errdetails.ResourceInfo{
			ResourceType: resourceType(e.Resource), ResourceName: e.Resource, Description: e.Message,
		}))
	}
	if e.RetryAfter > 0 {
		details = append(details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}))
	}
	for _, detail := range e.Details {
		details = append(details, protoadapt.MessageV1Of(detail))
	}
	s := status.New(code, e.Message)
	detailed, err := s.WithDetails(details...)
	if err != nil {
		return s
	}
	return detailed
}

func reasonName(reason pb.ErrorReason) string {
	return strings.TrimPrefix(reason.String(), "ERROR_REASON_")
}

// resourceType is the type in the contract's resource annotations.
func resourceType(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) < 2 {
		return ""
	}
	switch parts[len(parts)-2] {
	case "workspaces":
		return "sigmasource/Workspace"
	case "connections":
		return "sigmasource/Connection"
	case "scans":
		return "sigmasource/Scan"
	case "workbooks":
		return "sigmasource/Workbook"
	case "models":
		return "sigmasource/Model"
	case "sessions":
		return "sigmasource/Session"
	case "streams":
		return "sigmasource/Stream"
	}
	return ""
}
