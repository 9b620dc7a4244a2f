package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
)

const (
	// maxExport is how many rows of Sigma's export are counted, and exportTime
	// how long it is waited for. The contract states both.
	maxExport  = 100_000
	exportTime = 2 * time.Minute
)

// compare has Sigma run the element by itself and holds that against the
// warehouse. Sigma's trouble with its export leaves the question undecided.
func (p *plan) compare(ctx context.Context, link *connections.Link, schema *pb.Schema) (*pb.Comparison, error) {
	if p.stored.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL {
		return undecided("Sigma exports elements of workbooks only, and this is one of a data model"), nil
	}
	if p.stored.GetElementType() == "pivot-table" {
		return undecided("Sigma exports a pivot table as a grid, with other columns than the model has"), nil
	}
	comparison := &pb.Comparison{}
	sql := `select count(*) as "rows" from (` + "\n" + p.query.Full() + "\n) as MODEL"
	if err := p.each(ctx, link.Warehouse, sql, func(values []*pb.Value) error {
		comparison.WarehouseRowCount = values[0].GetInt64Value()
		return nil
	}); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	export, err := link.Sigma.ExportElement(waiting, p.name.WorkbookID, p.name.ElementID, link.Connection.GetVersionTag(), maxExport)
	if err != nil {
		if ctx.Err() == nil && (concernsTheElement(err) || errors.Is(err, context.DeadlineExceeded)) {
			return undecided("Sigma did not give its export of the element"), nil
		}
		return nil, fmt.Errorf("export from Sigma: %w", err)
	}
	comparison.SigmaRowCount = int64(export.Rows)
	names := make([]string, len(schema.GetColumns()))
	for i, c := range schema.GetColumns() {
		names[i] = c.GetName()
	}
	comparison.OnlyInSigma = without(export.Columns, names)
	comparison.OnlyInWarehouse = without(names, export.Columns)
	comparison.Verdict, comparison.Message = verdict(comparison)
	return comparison, nil
}

func verdict(c *pb.Comparison) (pb.ComparisonVerdict, string) {
	const (
		same      = pb.ComparisonVerdict_COMPARISON_VERDICT_SAME
		different = pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT
	)
	switch sigma, house := c.GetSigmaRowCount(), c.GetWarehouseRowCount(); {
	case len(c.GetOnlyInSigma()) > 0 || len(c.GetOnlyInWarehouse()) > 0:
		return different, "Sigma's export and the model have different columns"
	case sigma >= maxExport && house >= maxExport:
		return pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED,
			fmt.Sprintf("the columns are the same, and both have at least %d rows, which is as far as the comparison counts", maxExport)
	case sigma != house:
		return different, fmt.Sprintf("Sigma shows %d rows and the warehouse gives %d; look at the findings about limits, and whether the warehouse role and the credentials' owner see the same rows", sigma, house)
	}
	return same, fmt.Sprintf("the columns are the same, and both have %d rows", c.GetSigmaRowCount())
}

func undecided(message string) *pb.Comparison {
	return &pb.Comparison{Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED, Message: message}
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
