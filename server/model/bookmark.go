package model

import (
	"fmt"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// UnknownBookmark returns the error about a bookmark that Sigma does not list for a workbook. It wraps
// [sigmaclient.ErrBookmarkUnknown]. The bookmark is one of the request, or else one of the connection's settings.
func UnknownBookmark(resource, bookmark string, isOfRequest bool) error {
	const problem = "Sigma lists no saved view with this id for the workbook; it is deleted, or it is another member's and not shared"
	failure := &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, Resource: resource,
		Message:  fmt.Sprintf("bookmark_ids of the connection: %s (%q); name another one, or remove the entry", problem, bookmark),
		Metadata: map[string]string{"bookmark_id": bookmark},
		Err:      sigmaclient.ErrBookmarkUnknown,
	}
	if isOfRequest {
		failure.Reason, failure.Message = pb.ErrorReason_ERROR_REASON_REQUEST_INVALID, "bookmark_id: "+problem
		failure.Fields = []errmap.Field{{Path: "bookmark_id", Problem: problem}}
	}
	return failure
}
