package model

import (
	"errors"
	"fmt"
	"net/http"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// stateOf returns the state that Sigma's answer to the question for the query shows, and the problem where the answer is
// no SQL.
func stateOf(e Element) (pb.ModelState, *errmap.Error) {
	switch {
	case e.QueryErr != nil:
		problem := explainRefusal(e)
		return stateOfReason(problem.Reason), problem
	case e.Query.Error != "":
		return pb.ModelState_MODEL_STATE_BROKEN, errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, e.Name,
			"Sigma cannot produce the element's query; open the workbook in Sigma and correct the element")
	case e.Query.SQL == "":
		return pb.ModelState_MODEL_STATE_WITHOUT_SQL, errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, e.Name,
			"Sigma answers without SQL for this element; an element on a retired dataset has to be moved to a data model")
	}
	return pb.ModelState_MODEL_STATE_READY, nil
}

// explainRefusal returns the problem of a refused question for the query. The general texts of errmap suit an element of
// which nothing is known. Of an element that Sigma lists as a table or a chart, the refusal itself is the problem.
func explainRefusal(e Element) *errmap.Error {
	problem := *errmap.Explained(e.QueryErr)
	problem.Resource = e.Name
	var refused *sigmaclient.Error
	if !e.IsListed || !errors.As(e.QueryErr, &refused) {
		return &problem
	}
	switch {
	case refused.Kind == sigmaclient.KindNotFound, refused.Kind == sigmaclient.KindInvalidRequest && refused.Status == http.StatusGone:
		problem.Reason = pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL
		problem.Message = fmt.Sprintf("Sigma lists this element and has no query for it (HTTP %d); open the workbook in Sigma, and publish it anew if the element shows data there", refused.Status)
	case refused.Kind == sigmaclient.KindInvalidRequest:
		problem.Reason = pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED
		problem.Message = fmt.Sprintf("Sigma lists this element and refuses the request for its query (HTTP %d); if the element shows data in Sigma, ask Sigma's support with the request id", refused.Status)
	}
	return &problem
}

func stateOfReason(reason pb.ErrorReason) pb.ModelState {
	switch reason {
	case pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED:
		return pb.ModelState_MODEL_STATE_ARCHIVED
	case pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN:
		return pb.ModelState_MODEL_STATE_FORBIDDEN
	case pb.ErrorReason_ERROR_REASON_MODEL_GONE, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED:
		return pb.ModelState_MODEL_STATE_WITHOUT_SQL
	}
	return pb.ModelState_MODEL_STATE_BROKEN
}
