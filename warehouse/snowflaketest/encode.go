package snowflaketest

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"
)

// vector collects one column's values of one chunk and turns them into the
// Arrow array in which Snowflake encodes them. Numbers collect as integers,
// because their width is known only at the chunk's end.
type vector struct {
	column column
	valid  []bool
	ints   []int64    // unscaled numbers, days, time units
	wide   []*big.Int // in place of ints once a number does not fit; nil before
	floats []float64
	bools  []bool
	texts  []string
	blobs  [][]byte
}

func (v *vector) reset() {
	*v = vector{column: v.column, valid: v.valid[:0], ints: v.ints[:0], floats: v.floats[:0], bools: v.bools[:0],
		texts: v.texts[:0], blobs: v.blobs[:0]}
}

// add appends a value as DuckDB's driver gives it for the column's projection.
func (v *vector) add(value driver.Value) error {
	v.valid = append(v.valid, value != nil)
	switch v.column.kind {
	case realColumn:
		return take(v, &v.floats, value)
	case booleanColumn:
		return take(v, &v.bools, value)
	case binaryColumn:
		return take(v, &v.blobs, value)
	case textColumn, vectorColumn:
		return take(v, &v.texts, value)
	case variantColumn, objectColumn, arrayColumn:
		if err := take(v, &v.texts, value); err != nil || value == nil {
			return err
		}
		last := len(v.texts) - 1
		pretty, err := prettyJSON(v.texts[last], v.column.indent)
		v.texts[last] = pretty
		return err
	}
	switch n := value.(type) {
	case nil:
		v.addInt(0)
	case int64:
		v.addInt(n)
	case *big.Int:
		v.addBig(n)
	case duckdb.Decimal:
		v.addBig(n.Value)
	default:
		return fmt.Errorf("column %q: unexpected %T", v.column.name, value)
	}
	return nil
}

// take appends a value that comes as the Go type that is kept.
func take[T any](v *vector, list *[]T, value driver.Value) error {
	taken, ok := value.(T)
	if !ok && value != nil {
		return fmt.Errorf("column %q: unexpected %T", v.column.name, value)
	}
	*list = append(*list, taken)
	return nil
}

func (v *vector) addInt(n int64) {
	if v.wide != nil {
		v.wide = append(v.wide, big.NewInt(n))
		return
	}
	v.ints = append(v.ints, n)
}

func (v *vector) addBig(n *big.Int) {
	if v.wide == nil && n.IsInt64() {
		v.ints = append(v.ints, n.Int64())
		return
	}
	if v.wide == nil {
		v.wide = make([]*big.Int, 0, len(v.ints)+1)
		for _, i := range v.ints {
			v.wide = append(v.wide, big.NewInt(i))
		}
	}
	v.wide = append(v.wide, n)
}

// prettyJSON writes JSON as Snowflake shows a VARIANT: so many spaces a level,
// the keys of an object in order, and undefined for a missing element.
func prettyJSON(s string, indent int) (string, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return "", fmt.Errorf("variant: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if indent > 0 {
		e.SetIndent("", strings.Repeat(" ", indent))
	}
	if err := e.Encode(value); err != nil {
		return "", fmt.Errorf("variant: %w", err)
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return string(bytes.ReplaceAll(text, []byte(`"`+missing+`"`), []byte("undefined"))), nil
}

// array builds the Arrow array of what was collected.
func (v *vector) array() arrow.Array {
	pool := memory.DefaultAllocator
	switch v.column.kind {
	case realColumn:
		b := array.NewFloat64Builder(pool)
		defer b.Release()
		b.AppendValues(v.floats, v.valid)
		return b.NewArray()
	case booleanColumn:
		b := array.NewBooleanBuilder(pool)
		defer b.Release()
		b.AppendValues(v.bools, v.valid)
		return b.NewArray()
	case textColumn, variantColumn, objectColumn, arrayColumn:
		b := array.NewStringBuilder(pool)
		defer b.Release()
		b.AppendValues(v.texts, v.valid)
		return b.NewArray()
	case binaryColumn:
		b := array.NewBinaryBuilder(pool, arrow.BinaryTypes.Binary)
		defer b.Release()
		b.AppendValues(v.blobs, v.valid)
		return b.NewArray()
	case vectorColumn:
		return v.vectors()
	case dateColumn:
		b := array.NewDate32Builder(pool)
		defer b.Release()
		for i, n := range v.ints {
			appendOr(b, v.valid[i], arrow.Date32(n))
		}
		return b.NewArray()
	case timeColumn:
		b := array.NewInt64Builder(pool)
		defer b.Release()
		b.AppendValues(v.ints, v.valid)
		return b.NewArray()
	case timestampNTZColumn, timestampLTZColumn:
		return v.timestamps()
	case timestampTZColumn:
		return v.zonedTimestamps()
	}
	return v.numbers()
}

// vectors builds lists of a fixed size, as Snowflake sends a VECTOR.
func (v *vector) vectors() arrow.Array {
	var element arrow.DataType = arrow.PrimitiveTypes.Int32
	if v.column.ofFloats {
		element = arrow.PrimitiveTypes.Float32
	}
	b := array.NewFixedSizeListBuilder(memory.DefaultAllocator, int32(v.column.dimension), element)
	defer b.Release()
	for i, text := range v.texts {
		if !v.valid[i] {
			b.AppendNull()
			continue
		}
		if err := b.AppendValueFromString(text); err != nil {
			panic(err) // DuckDB wrote it
		}
	}
	return b.NewArray()
}

// appender is a builder of values of one type.
type appender[T any] interface {
	Append(T)
	AppendNull()
}

func appendOr[T any](b appender[T], valid bool, value T) {
	if valid {
		b.Append(value)
	} else {
		b.AppendNull()
	}
}

// numbers chooses the narrowest type that holds the chunk's numbers, as
// Snowflake does; so a column's type may differ from chunk to chunk.
func (v *vector) numbers() arrow.Array {
	pool := memory.DefaultAllocator
	if v.wide != nil {
		b := array.NewDecimal128Builder(pool, &arrow.Decimal128Type{Precision: int32(v.column.precision), Scale: int32(v.column.scale)})
		defer b.Release()
		for i, n := range v.wide {
			appendOr(b, v.valid[i], decimal128.FromBigInt(n))
		}
		return b.NewArray()
	}
	var low, high int64
	for _, n := range v.ints {
		low, high = min(low, n), max(high, n)
	}
	switch {
	case low >= -1<<7 && high < 1<<7:
		return narrow[int8](array.NewInt8Builder(pool), v)
	case low >= -1<<15 && high < 1<<15:
		return narrow[int16](array.NewInt16Builder(pool), v)
	case low >= -1<<31 && high < 1<<31:
		return narrow[int32](array.NewInt32Builder(pool), v)
	}
	return narrow[int64](array.NewInt64Builder(pool), v)
}

func narrow[T int8 | int16 | int32 | int64](b interface {
	appender[T]
	NewArray() arrow.Array
	Release()
}, v *vector) arrow.Array {
	defer b.Release()
	for i, n := range v.ints {
		appendOr(b, v.valid[i], T(n))
	}
	return b.NewArray()
}

// timestamps encodes up to scale 7 as one number, beyond as epoch and
// fraction in nanoseconds, as Snowflake does.
func (v *vector) timestamps() arrow.Array {
	pool := memory.DefaultAllocator
	unit := v.column.unitsPerSecond()
	if v.column.scale <= 7 {
		b := array.NewInt64Builder(pool)
		defer b.Release()
		perUnit := unit
		for range v.column.scale {
			perUnit /= 10
		}
		for i, n := range v.ints {
			appendOr(b, v.valid[i], floorDiv(n, perUnit))
		}
		return b.NewArray()
	}
	b := array.NewStructBuilder(pool, arrow.StructOf(
		arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32, Nullable: true}))
	defer b.Release()
	epoch, fraction := b.FieldBuilder(0).(*array.Int64Builder), b.FieldBuilder(1).(*array.Int32Builder)
	for i, n := range v.ints {
		b.Append(v.valid[i])
		if v.valid[i] { // a NULL fills the fields by itself
			seconds := floorDiv(n, unit)
			epoch.Append(seconds)
			fraction.Append(int32((n - seconds*unit) * (1e9 / unit)))
		}
	}
	return b.NewArray()
}

func (v *vector) zonedTimestamps() arrow.Array {
	b := array.NewStructBuilder(memory.DefaultAllocator, arrow.StructOf(
		arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32, Nullable: true}))
	defer b.Release()
	epoch, fraction := b.FieldBuilder(0).(*array.Int64Builder), b.FieldBuilder(1).(*array.Int32Builder)
	timezone := b.FieldBuilder(2).(*array.Int32Builder)
	for i := range v.valid {
		b.Append(v.valid[i])
		if v.valid[i] { // a NULL fills the fields by itself
			seconds, nanos, offset := v.zoned(i)
			epoch.Append(seconds)
			fraction.Append(nanos)
			timezone.Append(offset)
		}
	}
	return b.NewArray()
}

// zoned takes apart what the projection of a TIMESTAMP_TZ put together.
func (v *vector) zoned(i int) (seconds int64, nanos, offset int32) {
	packed := new(big.Int)
	if v.wide != nil {
		packed.Set(v.wide[i])
	} else {
		packed.SetInt64(v.ints[i])
	}
	micros, low := new(big.Int).DivMod(packed, big.NewInt(4096), new(big.Int))
	seconds = floorDiv(micros.Int64(), 1e6)
	return seconds, int32((micros.Int64() - seconds*1e6) * 1000), int32(low.Int64())
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// writeStream writes the collected rows as an Arrow stream of record batches
// and returns the offset at which each batch ends.
func writeStream(w io.Writer, vectors []*vector, batchRows int) (ends []int64, err error) {
	fields := make([]arrow.Field, len(vectors))
	columns := make([]arrow.Array, len(vectors))
	rows := 0
	for i, v := range vectors {
		columns[i] = v.array()
		defer columns[i].Release()
		rows = columns[i].Len()
		fields[i] = arrow.Field{Name: v.column.name, Type: columns[i].DataType(), Nullable: true, Metadata: v.column.metadata()}
	}
	schema := arrow.NewSchema(fields, nil)
	counted := &countingWriter{w: w}
	out := ipc.NewWriter(counted, ipc.WithSchema(schema))
	whole := array.NewRecordBatch(schema, columns, int64(rows))
	defer whole.Release()
	for start := 0; start < rows; start += batchRows {
		batch := whole.NewSlice(int64(start), int64(min(start+batchRows, rows)))
		err := out.Write(batch)
		batch.Release()
		if err != nil {
			return nil, err
		}
		ends = append(ends, counted.n)
	}
	return ends, out.Close()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
