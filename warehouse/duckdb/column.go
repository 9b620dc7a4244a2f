package duckdb

import (
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// column collects a column of a batch. Arrow and DuckDB lay out most types in the
// same way, so that vectors are copied as a whole where they can be, and otherwise
// in loops without a call: Arrow's own builders take several times as long.
// See https://arrow.apache.org/docs/format/Columnar.html for the layout.
type column struct {
	typ     arrow.DataType
	zone    *time.Location // of the session, in which instants are days
	rows    int
	nulls   int
	valid   *memory.Buffer // one bit per row; empty before the first NULL
	data    *memory.Buffer // values one after the other; of BOOLEAN bits
	offsets *memory.Buffer // of texts: where each ends in data, after the first's beginning
	text    []byte         // scratch
}

// newColumn returns a column with room for some rows and bytes of texts.
func newColumn(mem memory.Allocator, typ arrow.DataType, session *time.Location, rows, texts int) *column {
	c := &column{typ: typ, zone: session, valid: memory.NewResizableBuffer(mem), data: memory.NewResizableBuffer(mem)}
	switch t := typ.(type) {
	case arrow.BinaryDataType:
		c.offsets = memory.NewResizableBuffer(mem)
		c.offsets.Reserve((rows + 1) * arrow.Int32SizeBytes)
		extend[int32](c.offsets, 1)[0] = 0
		c.data.Reserve(texts)
	case arrow.FixedWidthDataType:
		c.data.Reserve((rows*t.BitWidth() + 7) / 8)
	}
	return c
}

func (c *column) release() {
	c.valid.Release()
	c.data.Release()
	if c.offsets != nil {
		c.offsets.Release()
	}
}

// array returns what was collected, which the caller releases.
func (c *column) array() arrow.Array {
	buffers := []*memory.Buffer{c.valid, c.data}
	switch {
	case c.typ.ID() == arrow.NULL:
		buffers, c.nulls = []*memory.Buffer{nil}, c.rows
	case c.offsets != nil:
		buffers = []*memory.Buffer{c.valid, c.offsets, c.data}
	}
	if c.nulls == 0 {
		buffers[0] = nil
	}
	data := array.NewData(c.typ, c.rows, buffers, nil, c.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// extend makes a buffer longer by n values and returns those, whose contents are
// undefined.
func extend[T any](b *memory.Buffer, n int) []T {
	var t T
	from := b.Len()
	to := from + n*int(unsafe.Sizeof(t))
	if to > b.Cap() {
		b.Reserve(max(to, 2*b.Cap()))
	}
	b.ResizeNoShrink(to)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b.Buf()[from])), n)
}

// extendBits makes a buffer of bits long enough for n.
func extendBits(b *memory.Buffer, n int) []byte {
	if more := (n+7)/8 - b.Len(); more > 0 {
		extend[byte](b, more)
	}
	return b.Buf()
}

// inexactError tells of a value that has no exact canonical form.
type inexactError struct {
	row    int // in the chunk
	reason string
}

func (e *inexactError) Error() string { return e.reason }

const outOfRange = "the value is out of range"

// append copies the rows from..to-1 of v. It fails with an *inexactError, and must
// not be used then.
func (c *column) append(v vector, from, to int) error {
	nulls := v.nulls(from, to)
	if nulls > 0 || c.nulls > 0 {
		c.mark(v, from, to)
	}
	c.nulls += nulls
	err := c.appendValues(v, from, to)
	c.rows += to - from
	return err
}

// mark tells which of the rows are there.
func (c *column) mark(v vector, from, to int) {
	bits := extendBits(c.valid, c.rows+to-from)
	if c.nulls == 0 { // the rows before are all there
		bitutil.SetBitsTo(bits, 0, int64(c.rows), true)
	}
	if v.mask == nil {
		bitutil.SetBitsTo(bits, int64(c.rows), int64(to-from), true)
		return
	}
	bitutil.CopyBitmap(v.bits(to), from, to-from, bits, c.rows)
}

func (c *column) appendValues(v vector, from, to int) error {
	switch c.typ.ID() {
	case arrow.NULL:
		return nil
	case arrow.BOOL:
		bits := extendBits(c.data, c.rows+to-from)
		for i, x := range values[uint8](v, from, to) {
			bitutil.SetBitTo(bits, c.rows+i, x != 0)
		}
		return nil
	case arrow.INT64:
		return c.appendIntegers(v, from, to)
	case arrow.DECIMAL128:
		return c.appendDecimals(v, from, to)
	case arrow.FLOAT64:
		if v.typ.id == bindings.TypeDouble {
			return appendSame[float64](c, v, from, to)
		}
		return appendEach(c, v, from, to, outOfRange, func(x float32) (float64, bool) { return float64(x), true })
	case arrow.DATE32:
		if v.typ.id == bindings.TypeTimestampTZ {
			return appendEach(c, v, from, to, warehouse.ReasonDay, func(x int64) (int32, bool) {
				day, ok := zone.Day(time.UnixMicro(x).In(c.zone))
				return int32(day), ok && finite(x)
			})
		}
		return appendEach(c, v, from, to, outOfRange, func(days int32) (int32, bool) {
			return days, days != math.MaxInt32 && days != -math.MaxInt32 // ±infinity
		})
	case arrow.TIME64:
		day := v.typ.dayLength()
		return appendEach(c, v, from, to, warehouse.ReasonTime, func(x int64) (int64, bool) { return x, x >= 0 && x < day })
	case arrow.TIMESTAMP:
		unit := v.typ.unit()
		lowest, highest, reason := math.MinInt64/unit, math.MaxInt64/unit, outOfRange
		if v.typ.id == bindings.TypeTimestampTZ {
			lowest, highest, reason = warehouse.MinInstant*1e6, warehouse.MaxInstant*1e6+999_999, warehouse.ReasonInstant
		}
		return appendEach(c, v, from, to, reason, func(x int64) (int64, bool) {
			return x * unit, finite(x) && x <= highest && x >= lowest
		})
	case arrow.STRING, arrow.BINARY:
		if v.isText() {
			return c.appendTexts(v, from, to)
		}
		return c.appendWritten(v, from, to)
	}
	return fmt.Errorf("duckdb: no way from %s to %s", v.typ, c.typ)
}

// appendSame copies values that are laid out in the same way.
func appendSame[T any](c *column, v vector, from, to int) error {
	copy(extend[T](c.data, to-from), values[T](v, from, to))
	return nil
}

// appendEach converts value by value; exact is false where a value has no exact
// form, for the given reason. What stands in the place of a NULL is converted
// too, and not looked at.
func appendEach[S, D any](c *column, v vector, from, to int, reason string, convert func(S) (value D, exact bool)) error {
	out := extend[D](c.data, to-from)
	for i, x := range values[S](v, from, to) {
		d, exact := convert(x)
		if !exact && v.valid(from+i) {
			return &inexactError{from + i, reason}
		}
		out[i] = d
	}
	return nil
}

func (c *column) appendIntegers(v vector, from, to int) error {
	id := v.typ.id
	if id == bindings.TypeDecimal {
		id = v.typ.storage
	}
	out := func() []int64 { return extend[int64](c.data, to-from) }
	switch id {
	case bindings.TypeBigInt:
		return appendSame[int64](c, v, from, to)
	case bindings.TypeInteger:
		widen[int32](out(), v, from, to)
	case bindings.TypeSmallInt:
		widen[int16](out(), v, from, to)
	case bindings.TypeTinyInt:
		widen[int8](out(), v, from, to)
	case bindings.TypeUInteger:
		widen[uint32](out(), v, from, to)
	case bindings.TypeUSmallInt:
		widen[uint16](out(), v, from, to)
	case bindings.TypeUTinyInt:
		widen[uint8](out(), v, from, to)
	default:
		return fmt.Errorf("duckdb: no way from %s to %s", v.typ, c.typ)
	}
	return nil
}

func widen[S int8 | int16 | int32 | uint8 | uint16 | uint32](out []int64, v vector, from, to int) {
	for i, x := range values[S](v, from, to) {
		out[i] = int64(x)
	}
}

func (c *column) appendDecimals(v vector, from, to int) error {
	id := v.typ.id
	if id == bindings.TypeDecimal {
		id = v.typ.storage
	}
	out := func() []decimal128.Num { return extend[decimal128.Num](c.data, to-from) }
	switch id {
	case bindings.TypeHugeInt:
		if v.typ.id == bindings.TypeDecimal {
			// Both are a low and a high half of 64 bits.
			return appendSame[decimal128.Num](c, v, from, to)
		}
		return appendEach(c, v, from, to, outOfRange, func(x decimal128.Num) (decimal128.Num, bool) { return x, x.FitsInPrecision(38) })
	case bindings.TypeUHugeInt:
		return appendEach(c, v, from, to, outOfRange, func(x [2]uint64) (decimal128.Num, bool) {
			n := decimal128.New(int64(x[1]), x[0])
			return n, x[1] <= math.MaxInt64 && n.FitsInPrecision(38)
		})
	case bindings.TypeUBigInt:
		return appendEach(c, v, from, to, outOfRange, func(x uint64) (decimal128.Num, bool) { return decimal128.FromU64(x), true })
	case bindings.TypeBigInt:
		decimals[int64](out(), v, from, to)
	case bindings.TypeInteger:
		decimals[int32](out(), v, from, to)
	case bindings.TypeSmallInt:
		decimals[int16](out(), v, from, to)
	default:
		return fmt.Errorf("duckdb: no way from %s to %s", v.typ, c.typ)
	}
	return nil
}

func decimals[S int16 | int32 | int64](out []decimal128.Num, v vector, from, to int) {
	for i, x := range values[S](v, from, to) {
		out[i] = decimal128.New(int64(x)>>63, uint64(int64(x)))
	}
}

// unit returns how many of the canonical type's units are in one of t's.
func (t *logicalType) unit() int64 {
	switch t.id {
	case bindings.TypeTimestampS:
		return 1e6
	case bindings.TypeTimestampMS:
		return 1e3
	}
	return 1
}

// dayLength returns the length of a day in units of a TIME or TIME_NS.
func (t *logicalType) dayLength() int64 {
	if t.id == bindings.TypeTimeNS {
		return 86400e9
	}
	return 86400e6
}

// finite reports whether a timestamp is neither infinity nor -infinity.
func finite(x int64) bool { return x != math.MaxInt64 && x != -math.MaxInt64 }

// appendTexts copies texts and bytes. JSON is validated: DuckDB also takes
// numbers that are not finite and commas before a closing bracket.
func (c *column) appendTexts(v vector, from, to int) error {
	if v.typ.json {
		for row := from; row < to; row++ {
			if v.valid(row) && !warehouse.ValidJSON(v.bytes(row)) {
				return &inexactError{row, warehouse.ReasonJSON}
			}
		}
	}
	start := c.data.Len()
	length := v.length(from, to)
	if start+length > math.MaxInt32 {
		return tooLong(from)
	}
	data, ends := extend[byte](c.data, length), extend[int32](c.offsets, to-from)
	end := 0
	for i, s := range v.texts(from, to) {
		if v.valid(from + i) {
			if s.length <= inlined && len(data)-end >= inlined { // a copy of fixed size takes no call
				*(*[inlined]byte)(data[end:]) = s.place
				end += int(s.length)
			} else {
				end += copy(data[end:], s.bytes())
			}
		}
		ends[i] = int32(start + end)
	}
	return nil
}

func tooLong(row int) error {
	return &inexactError{row, "the texts of a batch are longer than 2 GiB"}
}

// appendWritten writes values of other types as text.
func (c *column) appendWritten(v vector, from, to int) error {
	write := appendText
	if len(v.children) > 0 {
		write = appendJSON
	}
	ends := extend[int32](c.offsets, to-from)
	for i := range ends {
		if row := from + i; v.valid(row) {
			var err error
			if c.text, err = write(c.text[:0], v, row); err != nil {
				return &inexactError{row, err.Error()}
			}
			if len(c.text) > math.MaxInt32-c.data.Len() {
				return tooLong(row)
			}
			copy(extend[byte](c.data, len(c.text)), c.text)
		}
		ends[i] = int32(c.data.Len())
	}
	return nil
}
