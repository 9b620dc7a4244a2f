package errmap

import (
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// codeOf is the code of every reason. A reason that is missing here fails a
// test. SCAN_INTERRUPTED has one only for completeness: it appears in scans,
// not in statuses.
var codeOf = map[pb.ErrorReason]codes.Code{
	pb.ErrorReason_ERROR_REASON_INTERNAL:                        codes.Internal,
	pb.ErrorReason_ERROR_REASON_TOKEN_MISSING:                   codes.Unauthenticated,
	pb.ErrorReason_ERROR_REASON_TOKEN_INVALID:                   codes.Unauthenticated,
	pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN:             codes.PermissionDenied,
	pb.ErrorReason_ERROR_REASON_REQUEST_INVALID:                 codes.InvalidArgument,
	pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED:                codes.InvalidArgument,
	pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND:            codes.NotFound,
	pb.ErrorReason_ERROR_REASON_CONNECTION_EXISTS:               codes.AlreadyExists,
	pb.ErrorReason_ERROR_REASON_ETAG_MISMATCH:                   codes.Aborted,
	pb.ErrorReason_ERROR_REASON_SCAN_NOT_FOUND:                  codes.NotFound,
	pb.ErrorReason_ERROR_REASON_MODEL_NOT_FOUND:                 codes.NotFound,
	pb.ErrorReason_ERROR_REASON_MODEL_GONE:                      codes.NotFound,
	pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED:                  codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_MODEL_BROKEN:                    codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL:               codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED:           codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID:       codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN:                 codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_SIGMA_THROTTLED:                 codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE:               codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL:                  codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED:      codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID:   codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID: codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION:            codes.PermissionDenied,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID:           codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_DATA_INVALID:          codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_TIMEOUT:               codes.DeadlineExceeded,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_CANCELLED:             codes.Aborted,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_THROTTLED:             codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE:           codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE:               codes.DataLoss,
	pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED:               codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE:                   codes.ResourceExhausted,
	pb.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED:               codes.DeadlineExceeded,
	pb.ErrorReason_ERROR_REASON_CANCELLED:                       codes.Canceled,
	pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN:                   codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT:                    codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND:                codes.InvalidArgument,
	pb.ErrorReason_ERROR_REASON_WAREHOUSE_MISMATCH:              codes.FailedPrecondition,
	pb.ErrorReason_ERROR_REASON_SCAN_INTERRUPTED:                codes.Aborted,
	pb.ErrorReason_ERROR_REASON_ROLE_TOO_LOW:                    codes.PermissionDenied,
	pb.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE:              codes.Unavailable,
	pb.ErrorReason_ERROR_REASON_QUOTA_EXCEEDED:                  codes.ResourceExhausted,
	pb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED:               codes.InvalidArgument,
	pb.ErrorReason_ERROR_REASON_SECRETS_SEALED:                  codes.FailedPrecondition,
}
