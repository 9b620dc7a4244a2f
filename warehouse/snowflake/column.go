package snowflake

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/zone"
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
	zone  *time.Location // of the session
}

// unsupportedError is a column whose type has no canonical form.
type unsupportedError struct{ column, reason string }

func (e *unsupportedError) Error() string { return fmt.Sprintf("column %q: %s", e.column, e.reason) }

// newColumn returns the column of a row type, in a session of a time zone. Only a
// TIMESTAMP_LTZ is read in the zone: the offset of a TIMESTAMP_TZ is its own.
func newColumn(t rowType, session *time.Location) (column, error) {
	name, typ, precision, scale, length := t.Name, t.Type, t.Precision, t.Scale, t.Length
	c := column{typ: strings.ToLower(typ), scale: scale, zone: session}
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
	case "timestamp_ltz":
		words, canonical = fmt.Sprintf("%s(%d)", words, scale), &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: session.String()}
		if t.HoldsDays {
			canonical = arrow.FixedWidthTypes.Date32
		}
	case "timestamp_tz":
		words, canonical = fmt.Sprintf("%s(%d)", words, scale), arrow.FixedWidthTypes.Timestamp_us
	default:
		return c, &unsupportedError{name, words + " has no exact form here; cast it to VARCHAR"}
	}
	if scale < 0 || scale > 37 || strings.HasPrefix(c.typ, "time") && scale > 9 {
		return c, &unsupportedError{name, fmt.Sprintf("the scale %d is not one of Snowflake's", scale)}
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
	column, row int // of the layout, and in the batch
	reason      string
}

func (e *inexactError) Error() string { return e.reason }

var errEncoding = errors.New("snowflake: a column is not encoded as its type should be")

// convert returns a batch of the canonical types with the values of raw, which
// has all columns of the result. It fails with an *inexactError, or with
// errDamaged where raw is not sound: the Arrow reader does not check the offsets
// that it reads. It does not look at columns that are not delivered.
func (l layout) convert(mem memory.Allocator, raw arrow.RecordBatch) (batch arrow.RecordBatch, err error) {
	var arrays []arrow.Array
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
		if p := recover(); p != nil {
			batch, err = nil, fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	for i, c := range l.columns {
		a, err := c.convert(mem, raw.Column(l.positions[i]))
		if err != nil {
			var inexact *inexactError
			if errors.As(err, &inexact) {
				inexact.column = i
			}
			return nil, err
		}
		arrays = append(arrays, a)
	}
	return array.NewRecordBatch(l.schema, arrays, raw.NumRows()), nil
}

// convert returns the canonical form of an array, which the caller releases.
func (c column) convert(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	switch c.typ {
	case "fixed":
		return c.convertNumber(mem, raw)
	case "time":
		return c.convertTime(mem, raw)
	case "timestamp_ntz", "timestamp_ltz", "timestamp_tz":
		if c.field.Type.ID() == arrow.DATE32 {
			return c.convertDays(mem, raw)
		}
		return c.convertTimestamp(mem, raw, c.field.Type.(*arrow.TimestampType), c.typ != "timestamp_ntz")
	}
	if !arrow.TypeEqual(raw.DataType(), c.field.Type) {
		return nil, fmt.Errorf("%w: %s as %s", errEncoding, c.typ, raw.DataType())
	}
	if text, ok := raw.(*array.String); ok {
		// A bad offset shows here and not at some reader's.
		_ = text.ValueBytes()
		if warehouse.IsJSON(c.field) {
			if err := checkJSON(text); err != nil {
				return nil, err
			}
		}
	}
	raw.Retain()
	return raw, nil
}

// checkJSON finds the first value that is not JSON. Without STRICT_JSON_OUTPUT,
// which the login pins, Snowflake writes missing elements of arrays as undefined.
func checkJSON(texts *array.String) error {
	for i := range texts.Len() {
		if texts.IsNull(i) {
			continue
		}
		text := texts.Value(i)
		if !warehouse.ValidJSON(unsafe.Slice(unsafe.StringData(text), len(text))) {
			return &inexactError{row: i, reason: warehouse.ReasonJSON}
		}
	}
	return nil
}

// integers writes what f makes of the values of an integer array: Snowflake chooses
// the width of each batch by the values in it.
func integers[D any](out []D, raw arrow.Array, f func(int64) D) error {
	switch raw := raw.(type) {
	case *array.Int8:
		each(out, raw.Int8Values(), f)
	case *array.Int16:
		each(out, raw.Int16Values(), f)
	case *array.Int32:
		each(out, raw.Int32Values(), f)
	case *array.Int64:
		each(out, raw.Int64Values(), f)
	default:
		return fmt.Errorf("%w: an integer as %s", errEncoding, raw.DataType())
	}
	return nil
}

func each[D any, S int8 | int16 | int32 | int64](out []D, in []S, f func(int64) D) {
	for i, x := range in[:len(out)] {
		out[i] = f(int64(x))
	}
}

func same(x int64) int64 { return x }

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
		return build(mem, c.field.Type, raw, func(out []int64) error {
			for i, n := range decimal.Values()[:len(out)] {
				if out[i] = int64(n.LowBits()); n != decimal128.FromI64(out[i]) && raw.IsValid(i) {
					return &inexactError{row: i, reason: "the number has more digits than its type"}
				}
			}
			return nil
		})
	case !wide:
		return build(mem, c.field.Type, raw, func(out []int64) error { return integers(out, raw, same) })
	case isDecimal:
		return build(mem, to, raw, func(out []decimal128.Num) error {
			for i, n := range decimal.Values()[:len(out)] {
				if out[i] = n; !n.FitsInPrecision(to.Precision) && raw.IsValid(i) {
					return &inexactError{row: i, reason: "the number has more digits than its type"}
				}
			}
			return nil
		})
	}
	return build(mem, to, raw, func(out []decimal128.Num) error { return integers(out, raw, decimal128.FromI64) })
}

func (c column) convertTime(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	unit := pow10(6 - c.scale)
	if c.field.Type.(*arrow.Time64Type).Unit == arrow.Nanosecond {
		unit = pow10(9 - c.scale)
	}
	return build(mem, c.field.Type, raw, func(out []int64) error {
		if err := integers(out, raw, func(x int64) int64 { return x * unit }); err != nil {
			return err
		}
		day := 86400 * pow10(c.scale) * unit
		for i, x := range out {
			if (x < 0 || x >= day) && raw.IsValid(i) {
				return &inexactError{row: i, reason: warehouse.ReasonTime}
			}
		}
		return nil
	})
}

// convertDays returns the days that instants begin in the session's zone.
func (c column) convertDays(mem memory.Allocator, raw arrow.Array) (arrow.Array, error) {
	instants, err := c.convertTimestamp(mem, raw, arrow.FixedWidthTypes.Timestamp_us.(*arrow.TimestampType), false)
	if err != nil {
		return nil, err
	}
	defer instants.Release()
	return build(mem, c.field.Type, instants, func(out []arrow.Date32) error {
		for i, at := range instants.(*array.Timestamp).TimestampValues() {
			day, ok := zone.Day(time.UnixMicro(int64(at)).In(c.zone))
			if out[i] = arrow.Date32(day); !ok && instants.IsValid(i) {
				return &inexactError{row: i, reason: warehouse.ReasonDay}
			}
		}
		return nil
	})
}

// convertTimestamp returns timestamps of a type in microseconds. Where they are
// instants, it refuses values outside of the years 1 to 9999. It reads the forms that
// Snowflake has for timestamps: an integer in units of the scale, or a structure of
// seconds and nanoseconds. The structure of a TIMESTAMP_TZ holds its offset besides, which an instant does
// not need, and may hold the integer instead of the seconds.
func (c column) convertTimestamp(mem memory.Allocator, raw arrow.Array, to *arrow.TimestampType, areInstants bool) (arrow.Array, error) {
	scaled, fraction := raw, []int32(nil)
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
			nanos, ok := s.Field(1).(*array.Int32)
			if !ok {
				return nil, fmt.Errorf("%w: a timestamp as %s", errEncoding, raw.DataType())
			}
			fraction = nanos.Int32Values()
		}
	}
	unit, per := pow10(6-c.scale), int64(1) // what a unit of the scale is in microseconds, or how many make one
	switch {
	case fraction != nil:
		unit = 1e6
	case c.scale > 6:
		per = pow10(c.scale - 6)
	}
	return build(mem, to, raw, func(out []int64) error {
		if err := integers(out, scaled, same); err != nil {
			return err
		}
		highest, lowest := math.MaxInt64/unit-1, math.MinInt64/unit+1
		for i, x := range out {
			whole, nanos := x/per, x%per*(1000/per)
			if fraction != nil {
				nanos = int64(fraction[i])
			}
			switch out[i] = whole*unit + nanos/1000; {
			case raw.IsNull(i):
			case nanos%1000 != 0:
				return &inexactError{row: i, reason: "the timestamp has digits beyond microseconds; cast the column to scale 6"}
			case whole > highest || whole < lowest:
				return &inexactError{row: i, reason: "the timestamp is out of range"}
			case areInstants && (out[i] < warehouse.MinInstant*1e6 || out[i] > warehouse.MaxInstant*1e6+999_999):
				return &inexactError{row: i, reason: warehouse.ReasonInstant}
			}
		}
		return nil
	})
}

func pow10(n int32) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// build makes an array of a type with the values that set writes, and the NULLs of
// another array. What stands in the place of a NULL is not looked at.
func build[T any](mem memory.Allocator, typ arrow.DataType, raw arrow.Array, set func([]T) error) (arrow.Array, error) {
	var t T
	from, rows := raw.Data().Offset(), raw.Len()
	values := memory.NewResizableBuffer(mem)
	defer values.Release()
	values.Resize((from + rows) * int(unsafe.Sizeof(t)))
	if rows > 0 {
		out := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(values.Bytes()))), from+rows)
		if err := set(out[from:]); err != nil {
			return nil, err
		}
	}
	data := array.NewData(typ, rows, []*memory.Buffer{raw.Data().Buffers()[0], values}, nil, raw.NullN(), from)
	defer data.Release()
	return array.MakeFromData(data), nil
}
