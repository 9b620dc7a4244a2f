package query

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
)

// choice returns the positions of the columns that the caller wants of a result
// whose columns have the given names, in the caller's order: all but Sigma's
// helper columns where the caller names none. It has no side effect, since a
// warehouse may call it more than once at a time.
func (p *plan) choice(names []string) ([]int, error) {
	chosen := []int{}
	if p.wanted == nil {
		for i, isHelper := range p.assessed.Helpers(names) {
			if !isHelper {
				chosen = append(chosen, i)
			}
		}
		return chosen, nil
	}
	positions := make(map[string][]int, len(names))
	for i, name := range names {
		positions[name] = append(positions[name], i)
	}
	for i, label := range p.wanted {
		switch found := positions[label]; len(found) {
		case 0:
			return nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), p.absence(label))
		case 1:
			chosen = append(chosen, found[0])
		default:
			return nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), "several columns have this label; rename one of them in Sigma")
		}
	}
	return chosen, nil
}

// absence says why a column that the caller names is not in the result.
func (p *plan) absence(label string) string {
	if slices.ContainsFunc(p.columns.List, func(c sigmaclient.Column) bool { return c.Label == label }) {
		return fmt.Sprintf("Sigma lists the column %q, and its SQL does not have it; name other columns", label)
	}
	return fmt.Sprintf("the model has no column %q; name a column by its id or its label, in which capital letters count", label)
}

// compareOutputs adds the findings about the columns of a result, given the names of all of them.
func (p *plan) compareOutputs(names []string) {
	if p.wanted == nil {
		p.assessed.CompareOutputs(names)
	}
}

// recordedNames are the names of a result's columns, as the warehouse passed them to a statement's Choose last.
type recordedNames struct {
	mu    sync.Mutex
	names []string
}

// record returns a function that records the names and calls choose.
func (r *recordedNames) record(choose func([]string) ([]int, error)) func([]string) ([]int, error) {
	return func(names []string) ([]int, error) {
		r.mu.Lock()
		r.names = slices.Clone(names)
		r.mu.Unlock()
		return choose(names)
	}
}

func (r *recordedNames) get() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names
}

// choiceKey is equal for plans that choose the same columns of every result, in the same types and the same state of the
// workbook.
func (p *plan) choiceKey() string {
	if p.wanted != nil {
		return fmt.Sprintf("%q %q %q", p.bookmark, p.days, p.wanted)
	}
	return fmt.Sprintf("%q %q %s", p.bookmark, p.days, p.columns.Key())
}

// statement is a query that delivers the columns of choice. Columns that are not
// chosen fail nothing, whatever their types and values are: the select list of
// Sigma's SQL stays as it is, because it decides about the rows under `distinct`,
// `group by all`, `order by 1` and `union`.
func (p *plan) statement(sql string) warehouse.Statement {
	statement := warehouse.Statement{SQL: sql, Tag: queryTag(p.name), Choose: p.choice}
	if len(p.days) > 0 {
		statement.Days = p.dayPositions
	}
	return statement
}

func columnNotFound(of resource.Model, field, problem string) error {
	return named(model.ColumnNotFound(field, problem), of)
}

// named adds the model's name to an error about columns that a caller names.
func named(err error, of resource.Model) error {
	var failure *errmap.Error
	if errors.As(err, &failure) && failure.Reason == pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND {
		failure.Resource = of.String()
	}
	return err
}
