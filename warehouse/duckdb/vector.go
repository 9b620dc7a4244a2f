package duckdb

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
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

// nulls counts the NULLs of rows.
func (v vector) nulls(from, to int) int {
	if v.mask == nil {
		return 0
	}
	return to - from - bitutil.CountSetBits(v.bits(to), from, to-from)
}

// bits are the mask of the rows before one, in Arrow's order on the little-endian
// machines that DuckDB runs on.
func (v vector) bits(to int) []byte {
	return unsafe.Slice((*byte)(v.mask), (to+7)/8)
}

// stringLayout is DuckDB's string_t: up to inlined bytes stand in place, longer
// ones elsewhere.
type stringLayout struct {
	length uint32
	place  [inlined]byte // or the first four, and an address
}

const inlined = 12

func (v vector) isText() bool {
	return v.typ.id == bindings.TypeVarchar || v.typ.id == bindings.TypeBlob
}

// texts returns the VARCHARs or BLOBs of rows; those of NULLs are undefined.
func (v vector) texts(from, to int) []stringLayout { return values[stringLayout](v, from, to) }

// length is how many bytes the texts of rows have together.
func (v vector) length(from, to int) (n int) {
	for i, s := range v.texts(from, to) {
		if v.valid(from + i) {
			n += int(s.length)
		}
	}
	return n
}

// bytes returns the bytes of a VARCHAR or BLOB. They are DuckDB's and must be copied.
func (v vector) bytes(row int) []byte { return v.texts(row, row+1)[0].bytes() }

func (s *stringLayout) bytes() []byte {
	if s.length <= inlined {
		return s.place[:s.length]
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&s.place[4])), s.length)
}
