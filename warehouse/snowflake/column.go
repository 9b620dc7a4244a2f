package snowflake

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
)

// column is a result's column, with Snowflake's type and the canonical field.
//
// Timestamps are in microseconds whatever their scale: TIMESTAMP_NTZ(9), the
// default, seldom holds more, and nanoseconds in 64 bits would not reach the
// 9999-12-31 that warehouses are full of. A timestamp with more digits is an
// error that names it; casting to scale 6 in the model helps. Times of day are
// in nanoseconds where their scale asks for it.
type column struct {
	field arrow.Field
	typ   string // as in Snowflake's answer, such as "timestamp_ntz"
	scale int32
}

// newColumn takes the figures of Snowflake's row type.
func newColumn(name, typ string, precision, scale int32, length int64) (column, error) {
	c := column{typ: strings.ToLower(typ), scale: scale}
	words, json := strings.ToUpper(typ), false
	var canonical arrow.DataType
	switch c.typ {
	case "fixed":
		words = fmt.Sprintf("NUMBER(%d,%d)", precision, scale)
		switch {
		case scale > 0:
			canonical = &arrow.Decimal128Type{Precision: max(precision, scale), Scale: scale}
		case precision <= 18:
			canonical = arrow.PrimitiveTypes.Int64
		default:
			canonical = &arrow.Decimal128Type{Precision: 38}
		}
	case "real":
		words, canonical = "FLOAT", arrow.PrimitiveTypes.Float64
	case "boolean":
		canonical = arrow.FixedWidthTypes.Boolean
	case "text", "char", "string":
		words, canonical = fmt.Sprintf("VARCHAR(%d)", length), arrow.BinaryTypes.String
	case "variant", "object", "array", "map", "geography", "geometry":
		canonical, json = arrow.BinaryTypes.String, true
	case "binary":
		canonical = arrow.BinaryTypes.Binary
	case "date":
		canonical = arrow.FixedWidthTypes.Date32
	case "time":
		words, canonical = fmt.Sprintf("TIME(%d)", scale), arrow.FixedWidthTypes.Time64us
		if scale > 6 {
			canonical = arrow.FixedWidthTypes.Time64ns
		}
	case "timestamp_ntz":
		words, canonical = fmt.Sprintf("TIMESTAMP_NTZ(%d)", scale), &arrow.TimestampType{Unit: arrow.Microsecond}
	case "timestamp_ltz", "timestamp_tz":
		words, canonical = fmt.Sprintf("%s(%d)", words, scale), arrow.FixedWidthTypes.Timestamp_us
	default:
		return c, fmt.Errorf("column %q: %s has no exact form here; cast it to VARCHAR", name, words)
	}
	if scale < 0 || scale > 37 || strings.HasPrefix(c.typ, "time") && scale > 9 {
		return c, fmt.Errorf("column %q: the scale %d is not one of Snowflake's", name, scale)
	}
	metadata := map[string]string{warehouse.MetadataType: words}
	if json {
		metadata[warehouse.MetadataExtension] = warehouse.ExtensionJSON
	}
	c.field = arrow.Field{Name: name, Type: canonical, Nullable: true, Metadata: arrow.MetadataFrom(metadata)}
	return c, nil
}

// inexactError is a value that has no exact canonical form.
type inexactError struct {
	column, row int // in the batch
	reason      string
}

func (e *inexactError) Error() string { return e.reason }

var errEncoding = errors.New("snowflake: a column is not encoded as its type should be")

// convert returns a batch of the canonical types with the values of raw. It
// fails with an *inexactError, or with errDamaged where raw is not sound: the
// Arrow reader does not check the offsets that it reads.
func convert(mem memory.Allocator, schema *arrow.Schema, columns []column, raw arrow.RecordBatch) (batch arrow.RecordBatch, err error) {
	var arrays []arrow.Array
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
		if p := recover(); p != nil {
			batch, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	for i, c := range columns {
		a, err := c.convert(mem, raw.Column(i))
		if err != nil {
			var inexact *inexactError
			if errors.As(err, &inexact) {
				inexact.column = i
			}
			return nil, err
		}
		arrays = append(arrays, a)
	}
	return array.NewRecordBatch(schema, arrays, raw.NumRows()), nil
}

// convert returns the canonical form of an array, which the caller releases.
func (c column) convert(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	switch c.typ {
	case "fixed":
		return c.convertNumber(mem, raw)
	case "time":
		return c.convertTime(mem, raw)
	case "timestamp_ntz", "timestamp_ltz", "timestamp_tz":
		return c.convertTimestamp(mem, raw)
	}
	if !arrow.TypeEqual(raw.DataType(), c.field.Type) {
		return nil, fmt.Errorf("%w: %s as %s", errEncoding, c.typ, raw.DataType())
	}
	if text, ok := raw.(*array.String); ok {
		// A bad offset shows here and not at some reader's.
		_ = text.ValueBytes()
	}
	raw.Retain()
	return raw, nil
}

// integers returns a reader of an integer array: Snowflake chooses the width
// of each batch by the values in it.
func integers(raw arrow.Array) (func(int) int64, error) {
	switch raw := raw.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(raw.Value(i)) }, nil
	case *array.Int16:
		return func(i int) int64 { return int64(raw.Value(i)) }, nil
	case *array.Int32:
		return func(i int) int64 { return int64(raw.Value(i)) }, nil
	case *array.Int64:
		return raw.Value, nil
	}
	return nil, fmt.Errorf("%w: an integer as %s", errEncoding, raw.DataType())
}

func (c column) convertNumber(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	decimal, isDecimal := raw.(*array.Decimal128)
	if isDecimal && decimal.DataType().(*arrow.Decimal128Type).Scale != c.scale {
		return nil, fmt.Errorf("%w: scale %d as %s", errEncoding, c.scale, raw.DataType())
	}
	to, wide := c.field.Type.(*arrow.Decimal128Type)
	switch {
	case !wide && raw.DataType().ID() == arrow.INT64:
		raw.Retain()
		return raw, nil
	case !wide && isDecimal:
		return build(array.NewInt64Builder(mem), raw, func(i int) (int64, error) {
			n := decimal.Value(i)
			if n != decimal128.FromI64(int64(n.LowBits())) {
				return 0, &inexactError{row: i, reason: "the number has more digits than its type"}
			}
			return int64(n.LowBits()), nil
		})
	case isDecimal:
		return build(array.NewDecimal128Builder(mem, to), raw, func(i int) (decimal128.Num, error) {
			n := decimal.Value(i)
			if !n.FitsInPrecision(to.Precision) {
				return n, &inexactError{row: i, reason: "the number has more digits than its type"}
			}
			return n, nil
		})
	}
	at, err := integers(raw)
	if err != nil {
		return nil, err
	}
	if !wide {
		return build(array.NewInt64Builder(mem), raw, func(i int) (int64, error) { return at(i), nil })
	}
	return build(array.NewDecimal128Builder(mem, to), raw, func(i int) (decimal128.Num, error) {
		return decimal128.FromI64(at(i)), nil
	})
}

func (c column) convertTime(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	at, err := integers(raw)
	if err != nil {
		return nil, err
	}
	to := c.field.Type.(*arrow.Time64Type)
	unit := pow10(6 - c.scale)
	if to.Unit == arrow.Nanosecond {
		unit = pow10(9 - c.scale)
	}
	return build(array.NewTime64Builder(mem, to), raw, func(i int) (arrow.Time64, error) {
		return arrow.Time64(at(i) * unit), nil
	})
}

// convertTimestamp reads the forms that Snowflake has for timestamps: an
// integer in units of the scale, or a structure of seconds and nanoseconds. The
// structure of a TIMESTAMP_TZ holds its offset besides, which an instant does
// not need, and may hold the integer instead of the seconds.
func (c column) convertTimestamp(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	to := c.field.Type.(*arrow.TimestampType)
	scaled, fraction := raw, (*array.Int32)(nil)
	if s, ok := raw.(*array.Struct); ok {
		parts := s.NumField()
		if c.typ == "timestamp_tz" {
			parts--
		}
		if parts < 1 || parts > 2 {
			return nil, fmt.Errorf("%w: a timestamp as %s", errEncoding, raw.DataType())
		}
		scaled = s.Field(0)
		if parts == 2 {
			if fraction, ok = s.Field(1).(*array.Int32); !ok {
				return nil, fmt.Errorf("%w: a timestamp as %s", errEncoding, raw.DataType())
			}
		}
	}
	at, err := integers(scaled)
	if err != nil {
		return nil, err
	}
	return build(array.NewTimestampBuilder(mem, to), raw, func(i int) (arrow.Timestamp, error) {
		whole, unit, nanos := at(i), pow10(6-c.scale), int64(0)
		switch {
		case fraction != nil:
			unit, nanos = 1e6, int64(fraction.Value(i))
		case c.scale > 6:
			per := pow10(c.scale - 6)
			whole, unit, nanos = whole/per, 1, whole%per*pow10(9-c.scale)
		}
		if whole > math.MaxInt64/unit-1 || whole < math.MinInt64/unit+1 {
			return 0, &inexactError{row: i, reason: "the timestamp is out of range"}
		}
		if nanos%1000 != 0 {
			return 0, &inexactError{row: i, reason: "the timestamp has digits beyond microseconds; cast the column to scale 6"}
		}
		return arrow.Timestamp(whole*unit + nanos/1000), nil
	})
}

func pow10(n int32) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// builder is what Arrow's builders of T have in common.
type builder[T any] interface {
	array.Builder
	UnsafeAppend(T)
	UnsafeAppendBoolToBitmap(bool)
}

// build makes an array of the values that at returns for rows that are not NULL.
func build[T any](b builder[T], raw arrow.Array, at func(int) (T, error)) (arrow.Array, error) {
	defer b.Release()
	b.Reserve(raw.Len())
	for i := range raw.Len() {
		if raw.IsNull(i) {
			b.UnsafeAppendBoolToBitmap(false)
			continue
		}
		v, err := at(i)
		if err != nil {
			return nil, err
		}
		b.UnsafeAppend(v)
	}
	return b.NewArray(), nil
}
