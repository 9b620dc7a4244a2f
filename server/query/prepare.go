package query

import (
	"context"
	"errors"
	"fmt"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// prepare asks Sigma for the element's SQL as it is now, and takes it apart. A
// kept text is never used: Sigma writes relative dates and the owner's row-level
// rules into it as literals.
func prepare(ctx context.Context, link *connections.Link, name resource.Model) (*sigmasql.Query, error) {
	answer, err := link.Sigma.ElementQuery(ctx, name.WorkbookID, name.ElementID)
	if err != nil {
		return nil, fmt.Errorf("ask Sigma for the query: %w", err)
	}
	switch {
	case answer.Error != "":
		return nil, errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, name.String(),
			"Sigma cannot produce the element's query; open the workbook in Sigma and mend the element")
	case answer.SQL == "":
		return nil, errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, name.String(),
			"Sigma has no query for this element: it is no table or chart, or it is built on a retired dataset")
	}
	query, err := sigmasql.Prepare(answer.SQL, sigmasql.Options{Dialect: link.Dialect})
	var unsupported *sigmasql.Error
	if errors.As(err, &unsupported) {
		return nil, &errmap.Error{
			Reason:   pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED,
			Resource: name.String(),
			Message:  "Sigma's text for this element is not one query that can be read safely: " + unsupported.Reason.String(),
			Metadata: map[string]string{"problem": unsupported.Reason.String()},
			Err:      err,
		}
	}
	if err != nil {
		return nil, err
	}
	return query, refuseBroken(query, name)
}

// refuseBroken refuses a query that would deliver Sigma's error messages as
// data: Sigma writes them into the SQL as string literals.
func refuseBroken(query *sigmasql.Query, name resource.Model) error {
	broken := query.BrokenLiterals()
	if len(broken) == 0 {
		return nil
	}
	failure := errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, name.String(),
		"a formula of the element has an error, and Sigma would put its message into every row; open the workbook in Sigma and mend the formula")
	if column := broken[0].Column; column != "" {
		failure.Message = fmt.Sprintf("the formula of the column %q has an error, and Sigma would put its message into every row; open the workbook in Sigma and mend the formula", column)
		failure.Metadata = map[string]string{"column": column}
	}
	return failure
}
