package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
	"github.com/sigmasource/sigmasource/warehouse"
)

// lastAltered returns when the warehouse last changed the oldest of the materializations that the model reads. It returns the
// zero time where the model reads none, or the warehouse does not show it: the read itself is not concerned.
func (p *plan) lastAltered(ctx context.Context, link *connections.Link) time.Time {
	tables := slices.DeleteFunc(p.assessed.MaterializedTables(), func(parts []string) bool { return len(parts) != qualifiedParts })
	inspector, ok := link.Warehouse.(warehouse.TableInspector)
	if !ok || len(tables) == 0 {
		return time.Time{}
	}
	times, err := inspector.LastAltered(ctx, tables)
	if err != nil {
		return time.Time{}
	}
	var oldest time.Time
	for _, t := range times {
		if oldest.IsZero() || !t.IsZero() && t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}

// qualifiedParts is the count of the parts of a table's whole name: database, schema and table.
const qualifiedParts = 3

// addAge adds to the findings when the materializations were last changed, unless the time is zero.
func (p *plan) addAge(lastAltered time.Time) {
	if !lastAltered.IsZero() {
		p.assessed.SetMaterialized(lastAltered, time.Now())
	}
}

// maxInspectedTables is the maximum count of tables whose policies or columns are looked at for one call.
const maxInspectedTables = 20

// policyTables returns the tables of the query to which policies for rows or values apply, as far as our role sees them. A
// table whose policies cannot be read is left out.
func policyTables(ctx context.Context, link *connections.Link, tables [][]string) ([]string, error) {
	inspector, ok := link.Warehouse.(warehouse.PolicyInspector)
	if !ok {
		return nil, nil
	}
	tables = tables[:min(len(tables), maxInspectedTables)]
	found := make([]string, len(tables))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for i, table := range tables {
		if len(table) != qualifiedParts {
			continue
		}
		group.Go(func() error {
			policies, err := inspector.Policies(ctx, table)
			var refused *warehouse.Error
			if err != nil && !errors.As(err, &refused) {
				return err
			}
			if len(policies) > 0 {
				found[i] = strings.Join(table, ".")
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(found, func(name string) bool { return name == "" }), err
}

// findDays finds the outputs that are nothing but a cast of a DATE column to a timestamp of the local zone. They are delivered
// as dates: as instants, they would be the evening before for a reader in UTC who takes the date of a value from the east of
// it. The warehouse describes the column's table. Where it does not, Sigma's alias decides.
//
// In UTC nothing is done, because it would change the types that callers already know.
func (p *plan) findDays(ctx context.Context, link *connections.Link) error {
	if link.TimeZone == nil || link.TimeZone.String() == "UTC" {
		return nil
	}
	outputs, _ := p.query.Outputs()
	schemas, err := p.describeSources(ctx, link, outputs)
	if err != nil {
		return err
	}
	for _, output := range outputs {
		isDate := output.IsDateCast
		if field, ok := fieldOf(schemas[quoteName(output.Table)], output.Column); ok && output.IsLocalCast {
			isDate = field.Type.ID() == arrow.DATE32
		}
		if isDate && output.Label != "" && isOnlyLabel(outputs, output.Label) {
			p.days = append(p.days, output.Label)
		}
	}
	return nil
}

func isOnlyLabel(outputs []sigmasql.Output, label string) bool {
	count := 0
	for _, output := range outputs {
		if output.Label == label {
			count++
		}
	}
	return count == 1
}

// describeSources describes the tables whose columns the outputs cast to a timestamp of the local zone, by their quoted names.
// A table that the warehouse refuses to describe is missing: the refusal is the query's as well, or concerns other columns.
func (p *plan) describeSources(ctx context.Context, link *connections.Link, outputs []sigmasql.Output) (map[string]*arrow.Schema, error) {
	tables := map[string][]string{}
	for _, output := range outputs {
		if output.IsLocalCast && len(output.Table) > 0 && len(tables) < maxInspectedTables {
			tables[quoteName(output.Table)] = output.Table
		}
	}
	var mu sync.Mutex
	schemas := map[string]*arrow.Schema{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for name, table := range tables {
		group.Go(func() error {
			schema, err := link.Warehouse.Describe(ctx, warehouse.Statement{
				SQL: "select * from " + name, Tag: queryTag(p.name), Choose: castColumns(outputs, table),
			})
			var refused *warehouse.Error
			if errors.As(err, &refused) && (refused.Kind == warehouse.KindPermission || refused.Kind == warehouse.KindUnsupported || refused.Kind == warehouse.KindInvalidSQL) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("describe a table for the types of its columns: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			schemas[name] = schema
			return nil
		})
	}
	return schemas, group.Wait()
}

func fieldOf(schema *arrow.Schema, name string) (arrow.Field, bool) {
	if schema == nil {
		return arrow.Field{}, false
	}
	fields, ok := schema.FieldsByName(name)
	if !ok {
		return arrow.Field{}, false
	}
	return fields[0], true
}

// castColumns chooses the columns of a table that outputs cast, so that types of other columns fail nothing.
func castColumns(outputs []sigmasql.Output, table []string) func(names []string) ([]int, error) {
	return func(names []string) ([]int, error) {
		chosen := []int{}
		for i, name := range names {
			if slices.ContainsFunc(outputs, func(o sigmasql.Output) bool { return o.IsLocalCast && o.Column == name && slices.Equal(o.Table, table) }) {
				chosen = append(chosen, i)
			}
		}
		return chosen, nil
	}
}

// dayPositions returns the positions of the columns that findDays found, among the names of all columns of a result.
func (p *plan) dayPositions(names []string) []int {
	var positions []int
	for i, name := range names {
		if slices.Contains(p.days, name) {
			positions = append(positions, i)
		}
	}
	return positions
}
