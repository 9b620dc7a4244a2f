package duckdb

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	bindings "github.com/duckdb/duckdb-go-bindings"
)

// vector is one column of a data chunk in DuckDB's memory. It is valid as long
// as the chunk is. See https://duckdb.org/docs/stable/clients/c/vector for the
// layout.
type vector struct {
	typ      *logicalType
	data     unsafe.Pointer
	mask     unsafe.Pointer // one bit per row, set where the value is not NULL; nil: no NULL
	children []vector
}

// bind reads the addresses of a vector once, so that rows cost no call into C.
func bind(t *logicalType, raw bindings.Vector) vector {
	v := vector{typ: t, data: bindings.VectorGetData(raw), mask: bindings.VectorGetValidity(raw)}
	switch t.id {
	case bindings.TypeList:
		v.children = []vector{bind(&t.children[0], bindings.ListVectorGetChild(raw))}
	case bindings.TypeArray:
		v.children = []vector{bind(&t.children[0], bindings.ArrayVectorGetChild(raw))}
	case bindings.TypeStruct:
		for i := range t.children {
			v.children = append(v.children, bind(&t.children[i], bindings.StructVectorGetChild(raw, bindings.IdxT(i))))
		}
	case bindings.TypeMap:
		entries := bindings.ListVectorGetChild(raw)
		for i := range t.children {
			v.children = append(v.children, bind(&t.children[i], bindings.StructVectorGetChild(entries, bindings.IdxT(i))))
		}
	}
	return v
}

// at returns the value of a row, which is not NULL.
func at[T any](v vector, row int) T {
	var t T
	return *(*T)(unsafe.Add(v.data, uintptr(row)*unsafe.Sizeof(t)))
}

// values returns the values of rows; those of NULLs are undefined.
func values[T any](v vector, from, to int) []T {
	return unsafe.Slice((*T)(v.data), to)[from:]
}

func (v vector) valid(row int) bool {
	if v.mask == nil {
		return true
	}
	return *(*uint64)(unsafe.Add(v.mask, row/64*8))>>(row%64)&1 == 1
}

// validity tells for each row whether it has a value; nil: all have one.
func (v vector) validity(from, to int) []bool {
	if v.mask == nil {
		return nil
	}
	valid := make([]bool, to-from)
	for i := range valid {
		valid[i] = v.valid(from + i)
	}
	return valid
}

// stringLayout is DuckDB's string_t: up to 12 bytes stand in place, longer
// ones elsewhere.
type stringLayout struct {
	length uint32
	prefix [4]byte
	rest   [8]byte
}

// bytes returns the bytes of a VARCHAR or BLOB. They are DuckDB's and must be copied.
func (v vector) bytes(row int) []byte {
	s := (*stringLayout)(unsafe.Add(v.data, row*16))
	if s.length <= 12 {
		return unsafe.Slice((*byte)(unsafe.Pointer(&s.prefix)), s.length)
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&s.rest)), s.length)
}

// inexactError tells of a value that has no exact canonical form.
type inexactError struct {
	row    int // in the chunk
	reason string
}

func (e *inexactError) Error() string { return e.reason }

const outOfRange = "the value is out of range"

// appendRows copies the rows from..to-1 of v to a builder of the canonical
// type. It fails with an *inexactError.
func appendRows(b array.Builder, v vector, from, to int) error {
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNulls(to - from)
		return nil
	case *array.BooleanBuilder:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x uint8) (bool, bool) { return x != 0, true })
	case *array.Int64Builder:
		return appendInts(b, v, from, to)
	case *array.Decimal128Builder:
		return appendDecimals(b, v, from, to)
	case *array.Float64Builder:
		if v.typ.id == bindings.TypeDouble {
			b.AppendValues(values[float64](v, from, to), v.validity(from, to))
			return nil
		}
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x float32) (float64, bool) { return float64(x), true })
	case *array.Date32Builder:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(days int32) (arrow.Date32, bool) {
			return arrow.Date32(days), days != math.MaxInt32 && days != -math.MaxInt32 // ±infinity
		})
	case *array.Time64Builder:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x int64) (arrow.Time64, bool) { return arrow.Time64(x), true })
	case *array.TimestampBuilder:
		return appendTimestamps(b, v, from, to)
	case *array.BinaryBuilder:
		for row := from; row < to; row++ {
			if v.valid(row) {
				b.Append(v.bytes(row))
			} else {
				b.AppendNull()
			}
		}
		return nil
	case *array.StringBuilder:
		return appendStrings(b, v, from, to)
	}
	return fmt.Errorf("duckdb: no way from %s to %s", v.typ, b.Type())
}

// appendEach appends value by value; exact is false where a value has no exact form.
func appendEach[S, D any](
	add func(D), addNull func(), v vector, from, to int, convert func(S) (value D, exact bool),
) error {
	for row := from; row < to; row++ {
		if !v.valid(row) {
			addNull()
			continue
		}
		d, exact := convert(at[S](v, row))
		if !exact {
			return &inexactError{row, outOfRange}
		}
		add(d)
	}
	return nil
}

func appendInts(b *array.Int64Builder, v vector, from, to int) error {
	id := v.typ.id
	if id == bindings.TypeDecimal {
		id = v.typ.storage
	}
	switch id {
	case bindings.TypeBigInt:
		b.AppendValues(values[int64](v, from, to), v.validity(from, to))
	case bindings.TypeInteger:
		widen[int32](b, v, from, to)
	case bindings.TypeSmallInt:
		widen[int16](b, v, from, to)
	case bindings.TypeTinyInt:
		widen[int8](b, v, from, to)
	case bindings.TypeUInteger:
		widen[uint32](b, v, from, to)
	case bindings.TypeUSmallInt:
		widen[uint16](b, v, from, to)
	case bindings.TypeUTinyInt:
		widen[uint8](b, v, from, to)
	}
	return nil
}

func widen[S int8 | int16 | int32 | uint8 | uint16 | uint32](b *array.Int64Builder, v vector, from, to int) {
	b.Reserve(to - from)
	for row, x := range values[S](v, from, to) {
		if v.valid(from + row) {
			b.UnsafeAppend(int64(x))
		} else {
			b.UnsafeAppendBoolToBitmap(false)
		}
	}
}

func appendDecimals(b *array.Decimal128Builder, v vector, from, to int) error {
	id := v.typ.id
	if id == bindings.TypeDecimal {
		id = v.typ.storage
	}
	switch id {
	case bindings.TypeHugeInt:
		if v.typ.id == bindings.TypeDecimal {
			// Both are a low and a high half of 64 bits, on the little-endian machines that DuckDB runs on.
			b.AppendValues(values[decimal128.Num](v, from, to), v.validity(from, to))
			return nil
		}
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x decimal128.Num) (decimal128.Num, bool) {
			return x, x.FitsInPrecision(38)
		})
	case bindings.TypeUHugeInt:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x [2]uint64) (decimal128.Num, bool) {
			n := decimal128.New(int64(x[1]), x[0])
			return n, x[1] <= math.MaxInt64 && n.FitsInPrecision(38)
		})
	case bindings.TypeUBigInt:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x uint64) (decimal128.Num, bool) {
			return decimal128.FromU64(x), true
		})
	case bindings.TypeBigInt:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x int64) (decimal128.Num, bool) {
			return decimal128.FromI64(x), true
		})
	case bindings.TypeInteger:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x int32) (decimal128.Num, bool) {
			return decimal128.FromI64(int64(x)), true
		})
	case bindings.TypeSmallInt:
		return appendEach(b.Append, b.AppendNull, v, from, to, func(x int16) (decimal128.Num, bool) {
			return decimal128.FromI64(int64(x)), true
		})
	}
	return nil
}

func appendTimestamps(b *array.TimestampBuilder, v vector, from, to int) error {
	unit := v.typ.unit()
	return appendEach(b.Append, b.AppendNull, v, from, to, func(x int64) (arrow.Timestamp, bool) {
		if !finite(x) || x > math.MaxInt64/unit || x < math.MinInt64/unit {
			return 0, false
		}
		return arrow.Timestamp(x * unit), true
	})
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

// finite reports whether a timestamp is neither infinity nor -infinity.
func finite(x int64) bool { return x != math.MaxInt64 && x != -math.MaxInt64 }

func appendStrings(b *array.StringBuilder, v vector, from, to int) error {
	if v.typ.id == bindings.TypeVarchar {
		for row := from; row < to; row++ {
			if v.valid(row) {
				b.BinaryBuilder.Append(v.bytes(row))
			} else {
				b.AppendNull()
			}
		}
		return nil
	}
	write := appendText
	if len(v.children) > 0 {
		write = appendJSON
	}
	var text []byte
	for row := from; row < to; row++ {
		if !v.valid(row) {
			b.AppendNull()
			continue
		}
		var err error
		if text, err = write(text[:0], v, row); err != nil {
			return &inexactError{row, err.Error()}
		}
		b.BinaryBuilder.Append(text)
	}
	return nil
}
