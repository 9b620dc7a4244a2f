package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
)

// helperPrefix begins the names of output columns that Sigma adds for its own
// screen, for conditional formats.
const helperPrefix = "__cond_"

// columns are an element's columns as Sigma knows them. Nil means that Sigma
// does not tell.
type columns []sigmaclient.Column

// byLabel returns the column of a label, unless several share it.
func (cs columns) byLabel(label string) (column sigmaclient.Column, ok bool) {
	for _, c := range cs {
		if c.Label != label {
			continue
		}
		if ok {
			return sigmaclient.Column{}, false
		}
		column, ok = c, true
	}
	return column, ok
}

// label returns the label of the column that a caller names by id or label.
func (cs columns) label(name string) string {
	for _, c := range cs {
		if c.ColumnID == name {
			return c.Label
		}
	}
	return name
}

// choose notes the columns that the caller names.
func (p *plan) choose(names []string) error {
	for i, name := range names {
		label := p.columns.label(name)
		if slices.Contains(p.wanted, label) {
			return errmap.InvalidField(fmt.Sprintf("columns[%d]", i), "the column is named twice")
		}
		p.wanted = append(p.wanted, label)
	}
	return nil
}

// refuseBroken refuses to read what would deliver Sigma's error messages as
// data: Sigma writes them into the SQL as string literals. Columns that the
// caller leaves out may be broken, where it is known which they are.
func (p *plan) refuseBroken() error {
	var broken []string
	unknown := false
	for _, c := range p.columns {
		if c.Type == "error" {
			broken = append(broken, c.Label)
		}
	}
	for _, literal := range p.query.BrokenLiterals() {
		switch {
		case literal.Column == "":
			unknown = true
		case !slices.Contains(broken, literal.Column):
			broken = append(broken, literal.Column)
		}
	}
	if p.wanted != nil {
		left := slices.DeleteFunc(slices.Clone(broken), func(label string) bool { return slices.Contains(p.wanted, label) })
		broken = slices.DeleteFunc(broken, func(label string) bool { return !slices.Contains(p.wanted, label) })
		if len(left) > 0 {
			p.findings.Warn(pb.FindingCode_FINDING_CODE_COLUMN_LEFT_OUT,
				"Columns whose formulas have errors in Sigma were left out: %s.", quoteAll(left))
		}
	}
	if len(broken) == 0 && !unknown {
		return nil
	}
	failure := errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, p.name.String(),
		"a formula of the element has an error, and Sigma would put its message into every row; open the workbook in Sigma and mend the formula")
	if len(broken) > 0 {
		failure.Message = fmt.Sprintf("formulas have errors, and Sigma would put its messages into every row of the columns %s; mend them in Sigma, or name the other columns in `columns`", quoteAll(broken))
		failure.Metadata = map[string]string{"columns": quoteAll(broken)}
	}
	return failure
}

// quoteAll lists labels, the first ones where they are many.
func quoteAll(labels []string) string {
	const most = 10
	var b strings.Builder
	for i, label := range labels[:min(most, len(labels))] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", label)
	}
	if len(labels) > most {
		fmt.Fprintf(&b, " and %d more", len(labels)-most)
	}
	return b.String()
}

// choice is the columns of a result that the caller wants, in that order, or all
// but Sigma's helper columns. It is the same schema where that is all of them.
func (p *plan) choice(schema *arrow.Schema) (*arrow.Schema, []int, error) {
	var indexes []int
	for i, field := range schema.Fields() {
		if p.wanted == nil && !strings.HasPrefix(field.Name, helperPrefix) {
			indexes = append(indexes, i)
		}
	}
	for i, label := range p.wanted {
		switch found := schema.FieldIndices(label); len(found) {
		case 0:
			return nil, nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), "the model has no such column")
		case 1:
			indexes = append(indexes, found[0])
		default:
			return nil, nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), "several columns have this label; rename one of them in Sigma")
		}
	}
	if p.wanted == nil && len(indexes) == schema.NumFields() {
		return schema, indexes, nil
	}
	fields := make([]arrow.Field, len(indexes))
	for i, index := range indexes {
		fields[i] = schema.Field(index)
	}
	metadata := schema.Metadata()
	return arrow.NewSchema(fields, &metadata), indexes, nil
}

// project narrows a result to the columns of choice.
func (p *plan) project(result warehouse.Result) (warehouse.Result, error) {
	schema, indexes, err := p.choice(result.Schema())
	if err != nil || schema == result.Schema() {
		return result, err
	}
	return &projection{Result: result, schema: schema, indexes: indexes}, nil
}

func columnNotFound(model resource.Model, field, problem string) error {
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND,
		Resource: model.String(),
		Message:  field + ": " + problem,
		Fields:   []errmap.Field{{Path: field, Problem: problem}},
	}
}

// projection is a result with some of its columns.
type projection struct {
	warehouse.Result
	schema  *arrow.Schema
	indexes []int
}

func (p *projection) Schema() *arrow.Schema { return p.schema }

func (p *projection) Next(ctx context.Context) (arrow.RecordBatch, error) {
	batch, err := p.Result.Next(ctx)
	if err != nil {
		return nil, err
	}
	defer batch.Release()
	chosen := make([]arrow.Array, len(p.indexes))
	for i, index := range p.indexes {
		chosen[i] = batch.Column(index)
	}
	return array.NewRecordBatch(p.schema, chosen, batch.NumRows()), nil
}
