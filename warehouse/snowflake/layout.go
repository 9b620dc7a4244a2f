package snowflake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// rowType is a column as Snowflake describes it, and as a manifest keeps it.
type rowType struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Precision int32  `json:"precision"`
	Scale     int32  `json:"scale"`
	Length    int64  `json:"length"`
	Position  int    `json:"position"` // among all columns of the result, from 0
	// HoldsDays is set for a TIMESTAMP_LTZ that is delivered as dates.
	HoldsDays bool `json:"holds_days,omitempty"`
}

// layout is the delivered columns of a result, and where they stand among all
// of its columns.
type layout struct {
	width     int            // number of all columns
	zone      *time.Location // of the session that ran the query
	types     []rowType
	columns   []column
	positions []int
	schema    *arrow.Schema
}

// choiceError is an error of the statement's Choose, which is returned unchanged.
type choiceError struct{ err error }

func (e *choiceError) Error() string { return e.err.Error() }
func (e *choiceError) Unwrap() error { return e.err }

// chosenLayout returns the layout of the columns that a statement chooses. It
// fails with a *choiceError or an *unsupportedError.
func chosenLayout(stmt warehouse.Statement, all []rowType, session *time.Location) (layout, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	positions, err := stmt.Columns(names)
	if err != nil {
		return layout{}, &choiceError{err}
	}
	holdsDays := stmt.HoldsDays(names)
	types := make([]rowType, len(positions))
	for i, position := range positions {
		types[i] = all[position]
		types[i].HoldsDays = holdsDays[position]
	}
	return newLayout(len(all), types, session)
}

// newLayout fails with an *unsupportedError that names the first column whose
// type has no canonical form.
func newLayout(width int, types []rowType, session *time.Location) (layout, error) {
	l := layout{width: width, zone: session, types: types}
	var fields []arrow.Field
	for _, t := range types {
		c, err := newColumn(t, session)
		if err != nil {
			return layout{}, err
		}
		l.columns, l.positions, fields = append(l.columns, c), append(l.positions, t.Position), append(fields, c.field)
	}
	l.schema = arrow.NewSchema(fields, nil)
	return l, nil
}

// difference describes the first difference between the columns of a layout and those
// that Snowflake declares for the same result, of which all has every one; it is empty
// where there is none. Lengths are not compared: no value depends on them.
func (l layout) difference(all []rowType) string {
	if len(all) != l.width {
		return fmt.Sprintf("%d columns instead of %d", len(all), l.width)
	}
	for _, want := range l.types {
		got := all[want.Position]
		switch {
		case got.Name != want.Name:
			return fmt.Sprintf("column %d is %q instead of %q", want.Position+1, got.Name, want.Name)
		case !strings.EqualFold(got.Type, want.Type) || got.Precision != want.Precision || got.Scale != want.Scale:
			return fmt.Sprintf("column %q is %s(%d,%d) instead of %s(%d,%d)", want.Name, got.Type, got.Precision, got.Scale, want.Type, want.Precision, want.Scale)
		}
	}
	return ""
}

// layoutRecord is a layout as a manifest keeps it.
type layoutRecord struct {
	Width   int       `json:"width"`
	Columns []rowType `json:"columns"`
	// TimeZone is that of the session that ran the query; empty is UTC.
	TimeZone string `json:"time_zone,omitempty"`
}

func (l layout) encode() (json.RawMessage, error) {
	record := layoutRecord{Width: l.width, Columns: l.types}
	if l.zone != time.UTC {
		record.TimeZone = l.zone.String()
	}
	return json.Marshal(record)
}

// decodeLayout reads what encode wrote. Manifests of earlier versions hold a
// list of all columns instead.
func decodeLayout(data json.RawMessage) (layout, error) {
	var record layoutRecord
	into := any(&record)
	isList := bytes.HasPrefix(bytes.TrimSpace(data), []byte("["))
	if isList {
		into = &record.Columns
	}
	if err := json.Unmarshal(data, into); err != nil {
		return layout{}, fmt.Errorf("snowflake: decode the columns of a manifest: %w", err)
	}
	if isList {
		record.Width = len(record.Columns)
		for i := range record.Columns {
			record.Columns[i].Position = i
		}
	}
	for _, t := range record.Columns {
		if t.Position < 0 || t.Position >= record.Width {
			return layout{}, fmt.Errorf("snowflake: decode the columns of a manifest: column %d of %d", t.Position, record.Width)
		}
	}
	session, err := zone.Load(cmp.Or(record.TimeZone, "UTC"))
	if err != nil {
		return layout{}, fmt.Errorf("snowflake: decode the columns of a manifest: %w", err)
	}
	return newLayout(record.Width, record.Columns, session)
}
