package query

import (
	"context"
	"errors"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
	"github.com/sigmasource/sigmasource/warehouse"
)

// prepareAgain returns a new plan where a query failed because one of its tables is missing, and Sigma's SQL is another one by
// now: Sigma replaces the tables of its materializations while a query is on its way. It returns nil where the failure stays.
func (s *Service) prepareAgain(ctx context.Context, failed error, link *connections.Link, p *plan, asked request) *plan {
	if !isTableMissing(failed, p.query) {
		return nil
	}
	asking := time.Now()
	again, err := s.prepare(ctx, link, p.name, asked, nil)
	if err != nil || again.query.Hash() == p.query.Hash() {
		return nil
	}
	again.findings.Info(pb.FindingCode_FINDING_CODE_SQL_CHANGED,
		"A table of Sigma's SQL was missing in the warehouse, so Sigma was asked again, at %s. The rows are those of the new SQL.", asking.UTC().Format(time.RFC3339))
	return again
}

// isTableMissing reports whether the warehouse does not find a table of the query, or does not show it to our role.
func isTableMissing(err error, query *sigmasql.Query) bool {
	var refused *warehouse.Error
	if !errors.As(err, &refused) || refused.Kind != warehouse.KindPermission {
		return false
	}
	object := plainName(refused.Object)
	for _, parts := range query.Tables() {
		if object != "" && strings.HasSuffix("."+plainName(strings.Join(parts, ".")), "."+object) {
			return true
		}
	}
	return false
}

// plainName is a name without its quotes.
func plainName(name string) string { return strings.ReplaceAll(name, `"`, "") }
