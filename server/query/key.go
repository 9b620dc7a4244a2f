package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/warehouse"
)

// maxDuplicates is how many duplicated keys are shown.
const maxDuplicates = 10

// countKey counts a key's values over the whole model, in the warehouse: charts
// and grouped tables come out of Sigma at the grain of their base rows, so a
// column that looks like a key often is none.
func (p *plan) countKey(ctx context.Context, house warehouse.Warehouse, sql string, outputs, names []string) (*pb.KeyReport, error) {
	key, err := p.keyColumns(outputs, names)
	if err != nil {
		return nil, err
	}
	from := "(\n" + sql + "\n) as MODEL"
	present := strings.Join(key, " is not null and ") + " is not null"
	list := strings.Join(key, ", ")

	report := &pb.KeyReport{}
	counts := fmt.Sprintf(`select count(*) as "rows", count(case when %s then 1 end) as "present" from %s`, present, from)
	err = p.each(ctx, house, p.internal(counts), func(values []*pb.Value) error {
		report.RowCount = values[0].GetInt64Value()
		report.NullCount = report.GetRowCount() - values[1].GetInt64Value()
		return nil
	})
	if err != nil {
		return nil, err
	}
	count := `"__rows"`
	for slices.Contains(key, count) { // a column of the key has this label
		count = `"_` + count[1:]
	}
	groups := fmt.Sprintf(`select %s, count(*) as %s from %s where %s group by %s`, list, count, from, present, list)
	err = p.each(ctx, house, p.internal(`select count(*) as "keys" from (`+groups+`) as KEYS`), func(values []*pb.Value) error {
		report.DistinctCount = values[0].GetInt64Value()
		return nil
	})
	if err != nil || report.GetDistinctCount() == report.GetRowCount()-report.GetNullCount() {
		return report, err
	}
	duplicates := fmt.Sprintf(`%s having count(*) > 1 order by %s desc, %s limit %d`, groups, count, list, maxDuplicates)
	err = p.each(ctx, house, p.internal(duplicates), func(values []*pb.Value) error {
		report.Duplicates = append(report.Duplicates, &pb.DuplicateKey{
			Values: values[:len(key)], RowCount: values[len(key)].GetInt64Value(),
		})
		return nil
	})
	return report, err
}

// checkKey counts the values of the request's key before any row is read. It fails with KEY_UNSTABLE, and with
// KEY_NOT_UNIQUE where a key occurs in several rows or is null.
//
// Without a key in the request, the first read of a model whose values repeat counts the keys of its groups, so that a caller
// who takes them for a key sees that they are none; that never fails the read, unless the warehouse cannot be reached. It
// returns nil where nothing is counted.
func (p *plan) checkKey(ctx context.Context, house warehouse.Warehouse, statement warehouse.Statement, outputs *recordedNames, request *pb.CreateReadSessionRequest, expected *rowExpectation) (*pb.KeyReport, error) {
	names := request.GetKeyColumns()
	isAsked := len(names) > 0
	if !isAsked && expected.last == nil && !request.GetDistinctGroup() && p.wanted == nil {
		names = p.assessed.Grain().Keys
	}
	if len(names) == 0 {
		return nil, nil
	}
	if _, err := house.Describe(ctx, statement); err != nil {
		return nil, err
	}
	key, err := p.countKey(ctx, house, statement.SQL, outputs.get(), names)
	var unfit *errmap.Error // a key that cannot be counted: not among the columns, or unstable
	switch {
	case !isAsked && (errors.As(err, &unfit) || isRefusal(err)):
		return nil, nil
	case err != nil:
		return nil, err
	case key.GetDistinctCount() == key.GetRowCount():
		return key, nil
	case !isAsked:
		p.warnAboutKey(key)
		return key, p.refuseFindings()
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

// isRefusal reports whether the warehouse refuses the statement itself: for one, types that it does not group by.
func isRefusal(err error) bool {
	var refused *warehouse.Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Kind {
	case warehouse.KindInvalidSQL, warehouse.KindData, warehouse.KindUnsupported, warehouse.KindTimeout:
		return true
	}
	return false
}

// warnAboutKey adds the finding about a key that is not unique.
func (p *plan) warnAboutKey(key *pb.KeyReport) {
	p.findings.Warn(pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE,
		"The key has %d values for %d rows (%d rows have a null in it). A sync by this key would overwrite rows; choose another key, or group the element in Sigma by it.",
		key.GetDistinctCount(), key.GetRowCount(), key.GetNullCount())
}

// requireStable fails with KEY_UNSTABLE where a column of the key has values that can change from read to read.
func (p *plan) requireStable(labels []string) error {
	unstable := p.assessed.UnstableLabels()
	labels = slices.DeleteFunc(slices.Clone(labels), func(label string) bool { return !slices.Contains(unstable, label) })
	if len(labels) == 0 {
		return nil
	}
	columns := model.QuoteAll(labels)
	return &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_KEY_UNSTABLE, Resource: p.name.String(),
		Message:  fmt.Sprintf("the values of %s can change from read to read, so they are no key; choose other columns, or sort in Sigma by unique columns", columns),
		Metadata: map[string]string{"columns": columns},
	}
}

// groupStatement is a query for the distinct rows of the group's columns.
func (p *plan) groupStatement(columns []string) (warehouse.Statement, error) {
	group := p.assessed.Grain().Group
	switch {
	case len(columns) > 0:
		return warehouse.Statement{}, errmap.InvalidField("columns", "distinct_group decides about the columns; leave columns empty")
	case len(group) == 0:
		return warehouse.Statement{}, errmap.InvalidField("distinct_group", "the model has no group whose values repeat, or its key is not among the columns; read it without distinct_group")
	}
	quoted := make([]string, len(group))
	for i, label := range group {
		quoted[i] = quoteIdentifier(label)
	}
	return p.statement("select distinct " + strings.Join(quoted, ", ") + " from (\n" + p.query.Full() + "\n) as MODEL"), nil
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
	if err := p.requireStable(labels); err != nil {
		return nil, err
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
