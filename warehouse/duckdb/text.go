package duckdb

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
)

// appendJSON appends a value as JSON. Numbers keep all their digits; what JSON
// has no form for stands as a string, as DuckDB itself writes it.
func appendJSON(dst []byte, v vector, row int) ([]byte, error) {
	if !v.valid(row) {
		return append(dst, "null"...), nil
	}
	switch v.typ.id {
	case bindings.TypeSQLNull:
		return append(dst, "null"...), nil
	case bindings.TypeBoolean:
		return strconv.AppendBool(dst, at[uint8](v, row) != 0), nil
	case bindings.TypeList:
		entry := at[[2]uint64](v, row) // offset and length
		return appendArray(dst, v.children[0], int(entry[0]), int(entry[1]))
	case bindings.TypeArray:
		return appendArray(dst, v.children[0], row*v.typ.size, v.typ.size)
	case bindings.TypeStruct:
		return appendObject(dst, len(v.children), func(dst []byte, i int) ([]byte, error) {
			dst = append(appendQuoted(dst, v.typ.names[i]), ':')
			return appendJSON(dst, v.children[i], row)
		})
	case bindings.TypeMap:
		entry := at[[2]uint64](v, row)
		return appendObject(dst, int(entry[1]), func(dst []byte, i int) ([]byte, error) {
			key, err := appendText(nil, v.children[0], int(entry[0])+i)
			if err != nil {
				return nil, err
			}
			dst = append(appendQuoted(dst, string(key)), ':')
			return appendJSON(dst, v.children[1], int(entry[0])+i)
		})
	}
	text, err := appendText(nil, v, row)
	switch {
	case err != nil:
		return nil, err
	case v.typ.json && !warehouse.ValidJSON(text):
		return nil, errors.New(warehouse.ReasonJSON)
	case v.typ.json || v.typ.numeric():
		return append(dst, text...), nil
	}
	return appendQuoted(dst, string(text)), nil
}

func appendArray(dst []byte, element vector, offset, length int) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range length {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendJSON(dst, element, offset+i); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, n int, member func([]byte, int) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = member(dst, i); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendQuoted(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return append(dst, quoted...)
}

// numeric reports whether appendText writes a JSON number.
func (t *logicalType) numeric() bool {
	switch t.id {
	case bindings.TypeTinyInt, bindings.TypeSmallInt, bindings.TypeInteger, bindings.TypeBigInt, bindings.TypeHugeInt,
		bindings.TypeUTinyInt, bindings.TypeUSmallInt, bindings.TypeUInteger, bindings.TypeUBigInt, bindings.TypeUHugeInt,
		bindings.TypeFloat, bindings.TypeDouble, bindings.TypeDecimal:
		return true
	}
	return false
}

var (
	errInfinite = errors.New("the value is infinite or not a number")
	errNested   = errors.New("a nested value cannot be the key of a map")
)

// appendText appends a value that is not NULL as DuckDB's cast to VARCHAR
// writes it; a BLOB in hexadecimal.
func appendText(dst []byte, v vector, row int) ([]byte, error) {
	switch v.typ.id {
	case bindings.TypeBoolean:
		return strconv.AppendBool(dst, at[uint8](v, row) != 0), nil
	case bindings.TypeTinyInt:
		return strconv.AppendInt(dst, int64(at[int8](v, row)), 10), nil
	case bindings.TypeSmallInt:
		return strconv.AppendInt(dst, int64(at[int16](v, row)), 10), nil
	case bindings.TypeInteger:
		return strconv.AppendInt(dst, int64(at[int32](v, row)), 10), nil
	case bindings.TypeBigInt:
		return strconv.AppendInt(dst, at[int64](v, row), 10), nil
	case bindings.TypeUTinyInt:
		return strconv.AppendUint(dst, uint64(at[uint8](v, row)), 10), nil
	case bindings.TypeUSmallInt:
		return strconv.AppendUint(dst, uint64(at[uint16](v, row)), 10), nil
	case bindings.TypeUInteger:
		return strconv.AppendUint(dst, uint64(at[uint32](v, row)), 10), nil
	case bindings.TypeUBigInt:
		return strconv.AppendUint(dst, at[uint64](v, row), 10), nil
	case bindings.TypeHugeInt:
		return append(dst, at[decimal128.Num](v, row).ToString(0)...), nil
	case bindings.TypeUHugeInt:
		x := at[[2]uint64](v, row)
		wide := new(big.Int).SetUint64(x[1])
		wide.Lsh(wide, 64).Or(wide, new(big.Int).SetUint64(x[0]))
		return wide.Append(dst, 10), nil
	case bindings.TypeDecimal:
		return append(dst, decimal(v, row).ToString(int32(v.typ.scale))...), nil
	case bindings.TypeFloat:
		return appendFloat(dst, float64(at[float32](v, row)), 32)
	case bindings.TypeDouble:
		return appendFloat(dst, at[float64](v, row), 64)
	case bindings.TypeVarchar:
		return append(dst, v.bytes(row)...), nil
	case bindings.TypeBlob:
		return hex.AppendEncode(dst, v.bytes(row)), nil
	case bindings.TypeEnum:
		return append(dst, v.typ.names[enumIndex(v, row)]...), nil
	case bindings.TypeUUID:
		return appendUUID(dst, at[[2]uint64](v, row)), nil
	case bindings.TypeInterval:
		i := at[interval](v, row)
		return i.append(dst), nil
	case bindings.TypeDate:
		days := at[int32](v, row)
		if days == math.MaxInt32 || days == -math.MaxInt32 {
			return nil, errInfinite
		}
		return appendDate(dst, time.Unix(int64(days)*86400, 0).UTC()), nil
	case bindings.TypeTime, bindings.TypeTimeNS:
		return appendTime(dst, v, row)
	case bindings.TypeTimestamp, bindings.TypeTimestampS, bindings.TypeTimestampMS, bindings.TypeTimestampNS, bindings.TypeTimestampTZ:
		return appendTimestamp(dst, v, row)
	}
	return nil, errNested
}

func decimal(v vector, row int) decimal128.Num {
	switch v.typ.storage {
	case bindings.TypeSmallInt:
		return decimal128.FromI64(int64(at[int16](v, row)))
	case bindings.TypeInteger:
		return decimal128.FromI64(int64(at[int32](v, row)))
	case bindings.TypeBigInt:
		return decimal128.FromI64(at[int64](v, row))
	}
	return at[decimal128.Num](v, row)
}

func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errInfinite
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits), nil
}

func enumIndex(v vector, row int) int {
	switch v.typ.storage {
	case bindings.TypeUTinyInt:
		return int(at[uint8](v, row))
	case bindings.TypeUSmallInt:
		return int(at[uint16](v, row))
	}
	return int(at[uint32](v, row))
}

// appendUUID appends a UUID, which DuckDB keeps as a HUGEINT with the topmost
// bit turned over.
func appendUUID(dst []byte, halves [2]uint64) []byte {
	var raw [16]byte
	high := halves[1] ^ 1<<63
	for i := range 8 {
		raw[i] = byte(high >> (56 - 8*i))
		raw[8+i] = byte(halves[0] >> (56 - 8*i))
	}
	from := 0
	for i, to := range []int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, raw[from:to])
		from = to
	}
	return dst
}

// appendDate writes a date as DuckDB does, with the years before year 1 as
// "0044-03-15 (BC)". There is no year 0: Go's year 0 is 1 BC.
func appendDate(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	era := ""
	if year <= 0 {
		year, era = 1-year, " (BC)"
	}
	return fmt.Appendf(dst, "%04d-%02d-%02d%s", year, month, day, era)
}

// appendTime refuses 24:00:00, the end of a day, as a column of its own would:
// Arrow's times of day are less than 24 hours.
func appendTime(dst []byte, v vector, row int) ([]byte, error) {
	x := at[int64](v, row)
	if x < 0 || x >= v.typ.dayLength() {
		return nil, errors.New(warehouse.ReasonTime)
	}
	if v.typ.id == bindings.TypeTime {
		x *= 1000
	}
	return time.Unix(0, x).UTC().AppendFormat(dst, "15:04:05.999999999"), nil
}

func appendTimestamp(dst []byte, v vector, row int) ([]byte, error) {
	x := at[int64](v, row)
	if !finite(x) {
		return nil, errInfinite
	}
	var t time.Time
	switch v.typ.id {
	case bindings.TypeTimestampS:
		t = time.Unix(x, 0)
	case bindings.TypeTimestampMS:
		t = time.UnixMilli(x)
	case bindings.TypeTimestampNS:
		t = time.Unix(0, x)
	default:
		t = time.UnixMicro(x)
	}
	t = t.UTC()
	dst = t.AppendFormat(append(appendDate(dst, t), ' '), "15:04:05.999999999")
	if v.typ.id == bindings.TypeTimestampTZ {
		dst = append(dst, "+00"...)
	}
	return dst, nil
}

// interval is DuckDB's layout of an INTERVAL.
type interval struct {
	months, days int32
	micros       int64
}

// append writes an interval like "1 year 2 months -3 days 04:05:06.000007".
func (i interval) append(dst []byte) []byte {
	start := len(dst)
	part := func(n int32, unit string) {
		if n == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(append(strconv.AppendInt(dst, int64(n), 10), ' '), unit...)
		if n != 1 && n != -1 {
			dst = append(dst, 's')
		}
	}
	part(i.months/12, "year")
	part(i.months%12, "month")
	part(i.days, "day")
	if i.micros == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	micros := uint64(i.micros)
	if i.micros < 0 {
		dst, micros = append(dst, '-'), -micros
	}
	if hours := micros / 3_600_000_000; hours < 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendUint(dst, micros/3_600_000_000, 10)
	return time.UnixMicro(int64(micros%3_600_000_000)).UTC().AppendFormat(dst, ":04:05.999999")
}
