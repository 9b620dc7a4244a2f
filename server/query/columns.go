package query

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/warehouse"
)

// choice is the columns of a result that the caller wants, in that order, or all
// but Sigma's helper columns. It is the same schema where that is all of them.
func (p *plan) choice(schema *arrow.Schema) (*arrow.Schema, []int, error) {
	var indexes []int
	if p.wanted == nil {
		indexes = p.withoutHelpers(schema)
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

// withoutHelpers returns the columns of a result that are the element's own, and notes what earlier versions of this service
// would have delivered.
func (p *plan) withoutHelpers(schema *arrow.Schema) (indexes []int) {
	labels := make([]string, schema.NumFields())
	for i, field := range schema.Fields() {
		labels[i] = field.Name
	}
	var earlier []arrow.Field
	for i, isHelper := range p.assessed.Match(labels) {
		if !isHelper {
			indexes = append(indexes, i)
		}
		if !isHelper || !strings.HasPrefix(labels[i], "__cond_") {
			earlier = append(earlier, schema.Field(i))
		}
	}
	p.earlier = nil
	if len(earlier) != len(indexes) {
		p.earlier = arrow.NewSchema(earlier, nil)
	}
	return indexes
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
