package query

import (
	"context"
	"errors"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/warehouse"
)

// defaultDescribeAfter is for how long a query may take before its columns are asked
// for. Who looks at a screen hardly notices it, and most previews are over by then:
// they cost no second statement, and no second session.
const defaultDescribeAfter = 500 * time.Millisecond

// maxMisdescribed bounds how many models are remembered to be described wrongly.
const maxMisdescribed = 1000

// describeMeanwhile asks the warehouse for the columns of a query that runs, once it
// has taken its time. It gives up when the context ends, which it does as soon as the
// query answers by itself. A failure of the warehouse is none of the query's: that
// tells its own. A choice of columns that the description refutes ends the query.
func (s *Service) describeMeanwhile(ctx context.Context, house warehouse.Warehouse, q *sharedQuery) {
	patience := time.NewTimer(s.describeAfter)
	defer patience.Stop()
	select {
	case <-patience.C:
	case <-ctx.Done():
		return
	}
	schema, err := house.Describe(ctx, q.statement)
	if ctx.Err() != nil {
		return // the query has answered, or nobody waits for it any more
	}
	var refuted *errmap.Error
	if errors.As(err, &refuted) {
		q.fail(refuted)
		return
	}
	if err != nil {
		s.logger.Debug("a running query was not described", "query", q.key.tag, "error", err.Error())
		return
	}
	q.change(func() { q.early = schema })
}

// describable reports whether a model's columns are worth being asked for while its
// query runs: where Query gives them earlier anyway, Describe would do the same work
// once more. The caller holds the lock.
func (q *sharedQueries) describable(house warehouse.Warehouse, tag string) bool {
	_, waits := house.(warehouse.Waiter)
	return waits && !q.misdescribed[tag]
}

// distrust notes a model whose description was not what came, so that whoever tries
// again gets the columns of the result itself, whatever it was that went wrong.
func (q *sharedQueries) distrust(tag string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.misdescribed) >= maxMisdescribed {
		clear(q.misdescribed)
	}
	q.misdescribed[tag] = true
}

// misfit is why the rows of a result do not fit the columns that were sent before it
// was there, or nil. Names, ids, types and order have to be the same, and the types as
// Arrow has them, too: whole numbers are one type to a caller of rows, and several to
// one of Arrow. The warehouse's own words for a type may differ, such as the length of
// a text.
func misfit(described, came *arrow.Schema, sent, now *pb.Schema, queryID string) error {
	changes := differences(sent, now)
	if sent.GetFingerprint() == now.GetFingerprint() {
		for i, before := range described.Fields() {
			if after := came.Field(i); !arrow.TypeEqual(before.Type, after.Type) || before.Nullable != after.Nullable {
				changes = append(changes, &pb.SchemaChange{
					Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RETYPED, Column: before.Name,
					From: sent.GetColumns()[i].GetWarehouseType(), To: now.GetColumns()[i].GetWarehouseType(),
				})
			}
		}
		if len(changes) == 0 {
			return nil
		}
	}
	return &warehouse.Error{
		Kind: warehouse.KindUnavailable, QueryID: queryID,
		Message: "the columns changed while the query ran, so that its rows do not fit those that were sent: " + summarize(changes) + "; try again",
	}
}
