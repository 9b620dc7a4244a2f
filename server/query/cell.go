package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Numbers of the fields of Value.
const (
	valueNull      protowire.Number = 1
	valueBool      protowire.Number = 2
	valueInt64     protowire.Number = 3
	valueDouble    protowire.Number = 4
	valueDecimal   protowire.Number = 5
	valueString    protowire.Number = 6
	valueBytes     protowire.Number = 7
	valueDate      protowire.Number = 8
	valueTime      protowire.Number = 9
	valueDatetime  protowire.Number = 10
	valueTimestamp protowire.Number = 11
	valueJSON      protowire.Number = 12

	timestampSeconds protowire.Number = 1
	timestampNanos   protowire.Number = 2
)

// tag is the tag of a field whose number is small enough for one byte.
func tag(number protowire.Number, kind protowire.Type) byte { return byte(number)<<3 | byte(kind) }

// cell appends the value at a row of one column, as an element of Row.values.
type cell func(b []byte, row int) ([]byte, error)

func newCell(field arrow.Field, column arrow.Array) (cell, error) {
	var get cell
	switch a := column.(type) {
	case array.ExtensionArray: // JSON that was read from Arrow IPC
		field.Metadata = arrow.NewMetadata([]string{warehouse.MetadataExtension}, []string{a.ExtensionType().ExtensionName()})
		return newCell(field, a.Storage())
	case *array.Null:
		return func(b []byte, _ int) ([]byte, error) { return appendNull(b), nil }, nil
	case *array.Boolean:
		get = func(b []byte, i int) ([]byte, error) {
			return appendVarint(b, valueBool, protowire.EncodeBool(a.Value(i))), nil
		}
	case *array.Int64:
		values := a.Int64Values()
		get = func(b []byte, i int) ([]byte, error) { return appendVarint(b, valueInt64, uint64(values[i])), nil }
	case *array.Float64:
		values := a.Float64Values()
		get = func(b []byte, i int) ([]byte, error) {
			b = append(b, tag(rowValue, protowire.BytesType), 9, tag(valueDouble, protowire.Fixed64Type))
			return protowire.AppendFixed64(b, math.Float64bits(values[i])), nil
		}
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		get = func(b []byte, i int) ([]byte, error) { return appendDecimal(b, a.Value(i), scale), nil }
	case *array.String:
		get = func(b []byte, i int) ([]byte, error) { return appendText(b, valueString, a.Value(i)) }
		if warehouse.IsJSON(field) {
			get = func(b []byte, i int) ([]byte, error) { return appendJSON(b, a.Value(i)) }
		}
	case *array.Binary:
		get = func(b []byte, i int) ([]byte, error) {
			return append(appendHead(b, valueBytes, len(a.Value(i))), a.Value(i)...), nil
		}
	case *array.Date32:
		get = func(b []byte, i int) ([]byte, error) {
			return appendShort(b, valueDate, func(b []byte) []byte { return appendDate(b, int64(a.Value(i))) }), nil
		}
	case *array.Time64:
		perSecond := unitsPerSecond(a.DataType().(*arrow.Time64Type).Unit)
		get = func(b []byte, i int) ([]byte, error) {
			return appendShort(b, valueTime, func(b []byte) []byte { return appendTime(b, int64(a.Value(i)), perSecond) }), nil
		}
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		perSecond := unitsPerSecond(t.Unit)
		get = func(b []byte, i int) ([]byte, error) {
			day, rest := floorDiv(int64(a.Value(i)), 86400*perSecond)
			return appendShort(b, valueDatetime, func(b []byte) []byte {
				return appendTime(append(appendDate(b, day), 'T'), rest, perSecond)
			}), nil
		}
		if t.TimeZone != "" {
			get = func(b []byte, i int) ([]byte, error) { return appendTimestamp(b, int64(a.Value(i)), perSecond) }
		}
	default:
		return nil, fmt.Errorf("column %q: the type %s is not canonical", field.Name, column.DataType())
	}
	if column.NullN() == 0 {
		return get, nil
	}
	return func(b []byte, i int) ([]byte, error) {
		if column.IsNull(i) {
			return appendNull(b), nil
		}
		return get(b, i)
	}, nil
}

func appendNull(b []byte) []byte {
	return append(b, tag(rowValue, protowire.BytesType), 2, tag(valueNull, protowire.VarintType), 0)
}

func appendVarint(b []byte, field protowire.Number, n uint64) []byte {
	b = append(b, tag(rowValue, protowire.BytesType), byte(1+protowire.SizeVarint(n)), tag(field, protowire.VarintType))
	return protowire.AppendVarint(b, n)
}

// appendHead begins a value that is a field of so many bytes.
func appendHead(b []byte, field protowire.Number, length int) []byte {
	b = append(b, tag(rowValue, protowire.BytesType))
	if length < 0x7e { // both lengths take one byte
		return append(b, byte(length+2), tag(field, protowire.BytesType), byte(length))
	}
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeBytes(length)))
	return protowire.AppendVarint(append(b, tag(field, protowire.BytesType)), uint64(length))
}

// appendShort appends a value that is a text of at most 100 bytes.
func appendShort(b []byte, field protowire.Number, text func([]byte) []byte) []byte {
	start := len(b)
	b = text(append(b, tag(rowValue, protowire.BytesType), 0, tag(field, protowire.BytesType), 0))
	b[start+1], b[start+3] = byte(len(b)-start-2), byte(len(b)-start-4)
	return b
}

func appendText(b []byte, field protowire.Number, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return b, errors.New("it is not valid UTF-8")
	}
	return append(appendHead(b, field, len(s)), s...), nil
}

// appendJSON strips the white space that warehouses print, and nothing else: a
// decoder would lose digits. It fails where s is not JSON, which adapters do not
// deliver.
func appendJSON(b []byte, s string) ([]byte, error) {
	var short bytes.Buffer
	if err := json.Compact(&short, []byte(s)); err != nil {
		return b, errors.New(warehouse.ReasonJSON)
	}
	return appendText(b, valueJSON, short.String())
}

// appendDecimal keeps whole numbers that fit as integers, so that a warehouse
// without a 64-bit integer type gives the same values as one that has it.
func appendDecimal(b []byte, n decimal128.Num, scale int32) []byte {
	small := int64(n.LowBits())
	fits := n.HighBits() == small>>63
	switch {
	case scale == 0 && fits:
		return appendVarint(b, valueInt64, uint64(small))
	case fits && small != math.MinInt64 && scale > 0 && scale < 20:
		return appendShort(b, valueDecimal, func(b []byte) []byte { return appendFixed(b, small, int(scale)) })
	}
	return appendShort(b, valueDecimal, func(b []byte) []byte { return append(b, n.ToString(scale)...) })
}

// appendFixed writes n with scale digits after the point.
func appendFixed(b []byte, n int64, scale int) []byte {
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	if len(text) <= scale {
		b = append(b, '0', '.')
		for range scale - len(text) {
			b = append(b, '0')
		}
		return append(b, text...)
	}
	b = append(append(b, text[:len(text)-scale]...), '.')
	return append(b, text[len(text)-scale:]...)
}

func appendTimestamp(b []byte, n, perSecond int64) ([]byte, error) {
	seconds, rest := floorDiv(n, perSecond)
	if seconds < warehouse.MinInstant || seconds > warehouse.MaxInstant {
		return b, errors.New(warehouse.ReasonInstant)
	}
	nanos := rest * (1e9 / perSecond)
	size := 0
	if seconds != 0 {
		size += 1 + protowire.SizeVarint(uint64(seconds))
	}
	if nanos != 0 {
		size += 1 + protowire.SizeVarint(uint64(nanos))
	}
	b = append(b, tag(rowValue, protowire.BytesType), byte(size+2), tag(valueTimestamp, protowire.BytesType), byte(size))
	if seconds != 0 {
		b = protowire.AppendVarint(append(b, tag(timestampSeconds, protowire.VarintType)), uint64(seconds))
	}
	if nanos != 0 {
		b = protowire.AppendVarint(append(b, tag(timestampNanos, protowire.VarintType)), uint64(nanos))
	}
	return b, nil
}

func unitsPerSecond(unit arrow.TimeUnit) int64 { return int64(time.Second / unit.Multiplier()) }

// floorDiv divides so that the rest is not negative.
func floorDiv(n, by int64) (quotient, rest int64) {
	quotient, rest = n/by, n%by
	if rest < 0 {
		return quotient - 1, rest + by
	}
	return quotient, rest
}

// appendDate writes the year with a sign where it has more than four digits or
// lies before year 0, as ISO 8601 asks for.
func appendDate(b []byte, day int64) []byte {
	year, month, dayOfMonth := time.Unix(day*86400, 0).UTC().Date()
	switch {
	case year > 9999:
		b = strconv.AppendInt(append(b, '+'), int64(year), 10)
	case year < 0:
		b = fmt.Appendf(b, "-%04d", -year)
	default:
		b = append2(append2(b, year/100), year%100)
	}
	return append2(append(append2(append(b, '-'), int(month)), '-'), dayOfMonth)
}

// appendTime writes a time of day, with a fraction if it is not zero.
func appendTime(b []byte, n, perSecond int64) []byte {
	seconds, fraction := n/perSecond, n%perSecond
	b = append(append2(b, int(seconds/3600)), ':')
	b = append(append2(b, int(seconds/60%60)), ':')
	b = append2(b, int(seconds%60))
	if fraction == 0 {
		return b
	}
	b = append(b, '.')
	for unit := perSecond / 10; fraction > 0; unit /= 10 {
		b = append(b, byte('0'+fraction/unit))
		fraction %= unit
	}
	return b
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
