package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/warehouse"
)

// maxDuplicates is how many duplicated keys are shown.
const maxDuplicates = 10

// countKey counts a key's values over the whole model, in the warehouse: charts
// and grouped tables come out of Sigma at the grain of their base rows, so a
// column that looks like a key often is none.
func (p *plan) countKey(ctx context.Context, house warehouse.Warehouse, outputs, names []string) (*pb.KeyReport, error) {
	key, err := p.keyColumns(outputs, names)
	if err != nil {
		return nil, err
	}
	model := "(\n" + p.query.Full() + "\n) as MODEL"
	present := strings.Join(key, " is not null and ") + " is not null"
	list := strings.Join(key, ", ")

	report := &pb.KeyReport{}
	counts := fmt.Sprintf(`select count(*) as "rows", count(case when %s then 1 end) as "present" from %s`, present, model)
	err = p.each(ctx, house, p.internal(counts), func(values []*pb.Value) error {
		report.RowCount = values[0].GetInt64Value()
		report.NullCount = report.GetRowCount() - values[1].GetInt64Value()
		return nil
	})
	if err != nil {
		return nil, err
	}
	groups := fmt.Sprintf(`select %s, count(*) as "__rows" from %s where %s group by %s`, list, model, present, list)
	err = p.each(ctx, house, p.internal(`select count(*) as "keys" from (`+groups+`) as KEYS`), func(values []*pb.Value) error {
		report.DistinctCount = values[0].GetInt64Value()
		return nil
	})
	if err != nil || report.GetDistinctCount() == report.GetRowCount()-report.GetNullCount() {
		return report, err
	}
	duplicates := fmt.Sprintf(`%s having count(*) > 1 order by "__rows" desc, %s limit %d`, groups, list, maxDuplicates)
	err = p.each(ctx, house, p.internal(duplicates), func(values []*pb.Value) error {
		report.Duplicates = append(report.Duplicates, &pb.DuplicateKey{
			Values: values[:len(key)], RowCount: values[len(key)].GetInt64Value(),
		})
		return nil
	})
	return report, err
}

// requireKey counts the values of a key before any row is read. It fails with KEY_NOT_UNIQUE where a key occurs in several
// rows or is null.
func (p *plan) requireKey(ctx context.Context, house warehouse.Warehouse, statement warehouse.Statement, outputs *recordedNames, names []string) (*pb.KeyReport, error) {
	if _, err := house.Describe(ctx, statement); err != nil {
		return nil, err
	}
	key, err := p.countKey(ctx, house, outputs.get(), names)
	if err != nil || key.GetDistinctCount() == key.GetRowCount() {
		return key, err
	}
	return nil, &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_KEY_NOT_UNIQUE, Resource: p.name.String(),
		Message: fmt.Sprintf("the key has %d values for %d rows, and %d rows have a null in it; choose another key, or group the element in Sigma by it",
			key.GetDistinctCount(), key.GetRowCount(), key.GetNullCount()),
		Metadata: map[string]string{
			"row_count":      strconv.FormatInt(key.GetRowCount(), 10),
			"distinct_count": strconv.FormatInt(key.GetDistinctCount(), 10),
			"null_count":     strconv.FormatInt(key.GetNullCount(), 10),
		},
	}
}

// keyColumns are the key's columns as quoted identifiers. outputs are the names
// of all columns of the model's query.
func (p *plan) keyColumns(outputs, names []string) ([]string, error) {
	count := make(map[string]int, len(outputs))
	for _, output := range outputs {
		count[output]++
	}
	labels, err := p.columns.Choose("key_columns", names)
	if err != nil {
		return nil, named(err, p.name)
	}
	var key []string
	for i, label := range labels {
		switch found := count[label]; {
		case found == 0:
			return nil, columnNotFound(p.name, fmt.Sprintf("key_columns[%d]", i), p.absence(label))
		case found > 1:
			return nil, columnNotFound(p.name, fmt.Sprintf("key_columns[%d]", i), "several columns have this label; rename one of them in Sigma")
		}
		key = append(key, quoteIdentifier(label))
	}
	return key, nil
}

// internal is a statement whose columns are this package's own.
func (p *plan) internal(sql string) warehouse.Statement {
	return warehouse.Statement{SQL: sql, Tag: queryTag(p.name)}
}

// each runs a statement and passes each row to a function.
func (p *plan) each(ctx context.Context, house warehouse.Warehouse, statement warehouse.Statement, do func([]*pb.Value) error) (err error) {
	result, err := house.Query(ctx, statement)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	encoder := &rowEncoder{schema: result.Schema()}
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF { // itself: a failure may have one for its cause
			return nil
		}
		if err != nil {
			return err
		}
		err = encoder.encode(batch, func(f *frame) error {
			message := &pb.PreviewModelResponse{}
			if err := f.decode(message); err != nil {
				return err
			}
			f.data.Free()
			for _, row := range message.GetRows().GetRows() {
				if err := do(row.GetValues()); err != nil {
					return err
				}
			}
			return nil
		})
		batch.Release()
		if err != nil {
			return err
		}
	}
}
