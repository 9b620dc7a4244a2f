package snowflake

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
)

// rowType is a column as Snowflake describes it, and as a manifest keeps it.
type rowType struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Precision int32  `json:"precision"`
	Scale     int32  `json:"scale"`
	Length    int64  `json:"length"`
	Position  int    `json:"position"` // among all columns of the result, from 0
}

// layout is the delivered columns of a result, and where they stand among all
// of its columns.
type layout struct {
	width     int // number of all columns
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
func chosenLayout(stmt warehouse.Statement, all []rowType) (layout, error) {
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	positions, err := stmt.Columns(names)
	if err != nil {
		return layout{}, &choiceError{err}
	}
	types := make([]rowType, len(positions))
	for i, position := range positions {
		types[i] = all[position]
	}
	return newLayout(len(all), types)
}

// newLayout fails with an *unsupportedError that names the first column whose
// type has no canonical form.
func newLayout(width int, types []rowType) (layout, error) {
	l := layout{width: width, types: types}
	var fields []arrow.Field
	for _, t := range types {
		c, err := newColumn(t.Name, t.Type, t.Precision, t.Scale, t.Length)
		if err != nil {
			return layout{}, err
		}
		l.columns, l.positions, fields = append(l.columns, c), append(l.positions, t.Position), append(fields, c.field)
	}
	l.schema = arrow.NewSchema(fields, nil)
	return l, nil
}

// layoutRecord is a layout as a manifest keeps it.
type layoutRecord struct {
	Width   int       `json:"width"`
	Columns []rowType `json:"columns"`
}

func (l layout) encode() (json.RawMessage, error) {
	return json.Marshal(layoutRecord{Width: l.width, Columns: l.types})
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
	return newLayout(record.Width, record.Columns)
}
