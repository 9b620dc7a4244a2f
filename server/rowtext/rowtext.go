// Package rowtext writes the rows of a model as text without loss, as CSV and as JSON
// lines.
package rowtext

import (
	"fmt"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Sink takes the columns of a result, then its rows one after the other, and at last
// its end. A row's values are in the order of the columns.
type Sink interface {
	Columns([]*pb.SchemaColumn) error
	Row([]*pb.Value) error
	End() error
}

// Zones are the time zones of columns.
type Zones []*time.Location

// ZonesOf returns the time zones of columns, which is UTC where they name none.
func ZonesOf(columns []*pb.SchemaColumn) (Zones, error) {
	of := make(Zones, len(columns))
	for i, column := range columns {
		of[i] = time.UTC
		if column.GetTimeZone() == "" {
			continue
		}
		var err error
		if of[i], err = zone.Load(column.GetTimeZone()); err != nil {
			return nil, fmt.Errorf("column %q: %w", column.GetName(), err)
		}
	}
	return of, nil
}

// UniqueNames returns the columns' names, no two of them equal: the second column of
// a name gets the suffix ` (2)`, the third ` (3)`, and so on. A suffix that makes the
// name of another column is passed over.
func UniqueNames(columns []*pb.SchemaColumn) []string {
	taken := map[string]bool{}
	for _, column := range columns {
		taken[column.GetName()] = true
	}
	names := make([]string, len(columns))
	suffix := map[string]int{} // to try next, by name
	for i, column := range columns {
		name := column.GetName()
		names[i] = name
		if suffix[name] == 0 { // the first of the name
			suffix[name] = 2
			continue
		}
		for taken[names[i]] {
			names[i] = fmt.Sprintf("%s (%d)", name, suffix[name])
			suffix[name]++
		}
		taken[names[i]] = true
	}
	return names
}
