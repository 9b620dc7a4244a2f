package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
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
	if p.bookmark != "" {
		return undecided("Sigma exports the published state, and this read uses a bookmark"), nil
	}
	if p.stored.GetElementType() == "pivot-table" {
		return undecided("Sigma exports a pivot table as a grid, with other columns than the model has"), nil
	}
	comparison, seed := &pb.Comparison{}, maphash.MakeSeed()
	inWarehouse, err := p.measureModel(ctx, link, schema, seed)
	if err != nil {
		return nil, err
	}
	comparison.WarehouseRowCount = inWarehouse.rows
	sigma := map[string]*measure{}
	waiting, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	export, err := link.Sigma.ExportElement(waiting, p.name.WorkbookID, p.name.ElementID, link.Connection.GetVersionTag(), maxExport, measureExport(sigma, seed))
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
	if export.Rows < maxExport && inWarehouse.rows < maxExport {
		comparison.Columns = compareColumns(schema, sigma, inWarehouse.columns, p.findings.All())
	}
	comparison.Verdict, comparison.Message = verdict(comparison)
	return comparison, nil
}

// measuredModel is the rows of a model, measured by column.
type measuredModel struct {
	rows    int64
	columns []*measure
}

// measureModel reads the model's rows from the warehouse, at most maxExport of them, and counts the others there.
func (p *plan) measureModel(ctx context.Context, link *connections.Link, schema *pb.Schema, seed comparisonSeed) (*measuredModel, error) {
	inWarehouse := &measuredModel{}
	sql := `select count(*) as "rows" from (` + "\n" + p.query.Full() + "\n) as MODEL"
	if err := p.each(ctx, link.Warehouse, p.internal(sql), func(values []*pb.Value) error {
		inWarehouse.rows = values[0].GetInt64Value()
		return nil
	}); err != nil || inWarehouse.rows >= maxExport {
		return inWarehouse, err
	}
	zone := cmp.Or(link.TimeZone, time.UTC)
	for range schema.GetColumns() {
		inWarehouse.columns = append(inWarehouse.columns, &measure{})
	}
	return inWarehouse, p.each(ctx, link.Warehouse, p.statement(p.query.Preview(maxExport)), func(values []*pb.Value) error {
		for i := range min(len(values), len(inWarehouse.columns), maxComparedColumns) {
			inWarehouse.columns[i].addValue(seed, values[i], zone)
		}
		return nil
	})
}

// measureExport returns what measures the rows of an export by their labels. Labels that occur twice are not measured.
func measureExport(columns map[string]*measure, seed comparisonSeed) func(labels []string) func(row []string) {
	return func(labels []string) func(row []string) {
		measures := make([]*measure, min(len(labels), maxComparedColumns))
		for i := range measures {
			measures[i] = &measure{}
			if _, isTwice := columns[labels[i]]; isTwice {
				columns[labels[i]] = nil
				continue
			}
			columns[labels[i]] = measures[i]
		}
		return func(row []string) {
			for i := range min(len(row), len(measures)) {
				measures[i].addExported(seed, row[i])
			}
		}
	}
}

// compareColumns compares the columns that both sides have once.
func compareColumns(schema *pb.Schema, sigma map[string]*measure, inWarehouse []*measure, findings []*pb.Finding) []*pb.ColumnComparison {
	count := map[string]int{}
	for _, column := range schema.GetColumns() {
		count[column.GetName()]++
	}
	var compared []*pb.ColumnComparison
	for i, column := range schema.GetColumns() {
		exported := sigma[column.GetName()]
		if i >= maxComparedColumns || exported == nil || count[column.GetName()] > 1 {
			continue
		}
		c := compareColumn(column.GetName(), column.GetType(), exported, inWarehouse[i])
		c.Cause = causeOf(c, exported, inWarehouse[i], findings)
		compared = append(compared, c)
	}
	return compared
}

func verdict(c *pb.Comparison) (pb.ComparisonVerdict, string) {
	const (
		same      = pb.ComparisonVerdict_COMPARISON_VERDICT_SAME
		different = pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT
	)
	switch sigma, inWarehouse := c.GetSigmaRowCount(), c.GetWarehouseRowCount(); {
	case len(c.GetOnlyInSigma()) > 0 || len(c.GetOnlyInWarehouse()) > 0:
		return different, "Sigma's export and the model have different columns"
	case sigma >= maxExport && inWarehouse >= maxExport:
		return pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED,
			fmt.Sprintf("the columns are the same, and both have at least %d rows, which is as far as the comparison counts", maxExport)
	case sigma != inWarehouse:
		return different, fmt.Sprintf("Sigma shows %d rows and the warehouse gives %d; look at the findings about limits, and whether the warehouse role and the credentials' owner see the same rows", sigma, inWarehouse)
	}
	return judgeColumns(c)
}

// judgeColumns decides about a comparison whose labels and counts are the same.
func judgeColumns(c *pb.Comparison) (pb.ComparisonVerdict, string) {
	var different, unread []string
	for _, column := range c.GetColumns() {
		switch column.GetVerdict() {
		case pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT:
			text := fmt.Sprintf("%q (%s)", column.GetLabel(), strings.Join(column.GetDifferences(), ", "))
			if column.GetCause() != "" {
				text += ", likely cause: " + column.GetCause()
			}
			different = append(different, text)
		case pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED:
			unread = append(unread, strconv.Quote(column.GetLabel()))
		}
	}
	switch {
	case len(different) > 0:
		return pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT,
			fmt.Sprintf("both have %d rows, and values differ in columns: %s", c.GetSigmaRowCount(), strings.Join(different[:min(len(different), maxNamedColumns)], "; "))
	case len(unread) > 0:
		return pb.ComparisonVerdict_COMPARISON_VERDICT_SAME,
			fmt.Sprintf("both have %d rows, and the values that can be compared are the same; Sigma exports these columns in a form of display: %s", c.GetSigmaRowCount(), strings.Join(unread[:min(len(unread), maxNamedColumns)], ", "))
	}
	return pb.ComparisonVerdict_COMPARISON_VERDICT_SAME, fmt.Sprintf("the columns and their values are the same, and both have %d rows", c.GetSigmaRowCount())
}

// maxNamedColumns is the maximum count of columns that a message names.
const maxNamedColumns = 10

func undecided(message string) *pb.Comparison {
	return &pb.Comparison{Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED, Message: message}
}

// without returns the elements of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
