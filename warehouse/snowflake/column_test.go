package snowflake

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"
)

// encoded builds a raw column of JSON values, as Snowflake would send it.
func encoded(t testing.TB, mem memory.Allocator, typ arrow.DataType, values string) arrow.Array {
	t.Helper()
	raw, _, err := array.FromJSON(mem, typ, strings.NewReader(values))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fields(types ...arrow.DataType) arrow.DataType {
	var list []arrow.Field
	for i, name := range []string{"epoch", "fraction", "timezone"}[:len(types)] {
		list = append(list, arrow.Field{Name: name, Type: types[i], Nullable: true})
	}
	return arrow.StructOf(list...)
}

var (
	i8, i16, i32, i64 = arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64
	d128              = func(scale int32) arrow.DataType { return &arrow.Decimal128Type{Precision: 38, Scale: scale} }
)

func TestEncodings(t *testing.T) {
	for _, test := range []struct {
		typ              string
		precision, scale int32
		raw              arrow.DataType
		values           string
		typed, want      string
	}{
		{"fixed", 18, 0, i8, `[-128, null]`, "int64", "[-128 (null)]"},
		{"fixed", 18, 0, i16, `[-32768]`, "int64", "[-32768]"},
		{"fixed", 18, 0, i64, `[-999999999999999999]`, "int64", "[-999999999999999999]"},
		{"FIXED", 18, 0, d128(0), `["-999999999999999999", null]`, "int64", "[-999999999999999999 (null)]"},
		{"fixed", 38, 0, i8, `[1, null]`, "decimal(38, 0)", "[1 (null)]"},
		{"fixed", 38, 0, d128(0), `["99999999999999999999999999999999999999"]`, "decimal(38, 0)", "[99999999999999999999999999999999999999]"},
		{"fixed", 38, 10, i8, `[-1]`, "decimal(38, 10)", "[-1e-10]"},
		{"fixed", 38, 10, d128(10), `["-9999999999999999999999999999.9999999999"]`, "decimal(38, 10)", "[-9999999999999999999999999999.9999999999]"},
		{"time", 0, 0, i32, `[86399]`, "time64[us]", "[86399000000]"},
		{"time", 0, 9, i64, `[86399999999999, null]`, "time64[ns]", "[86399999999999 (null)]"},
		{"timestamp_ntz", 0, 0, i64, `[-1, null]`, "timestamp[us]", "[-1000000 (null)]"},
		{"timestamp_ntz", 0, 3, i64, `[-1]`, "timestamp[us]", "[-1000]"},
		{"timestamp_ntz", 0, 9, i64, `[-1000]`, "timestamp[us]", "[-1]"},
		{"timestamp_ntz", 0, 9, fields(i64, i32), `[{"epoch":-1,"fraction":999999000},null]`, "timestamp[us]", "[-1 (null)]"},
		{"timestamp_ltz", 0, 9, fields(i64, i32), `[{"epoch":253402300799,"fraction":999999000}]`, "timestamp[us, tz=UTC]", "[253402300799999999]"},
		{"timestamp_tz", 0, 3, fields(i64, i32), `[{"epoch":1500,"fraction":1560}]`, "timestamp[us, tz=UTC]", "[1500000]"},
		{"timestamp_tz", 0, 9, fields(i64, i32, i32), `[{"epoch":-62135596800,"fraction":1000,"timezone":1440},null]`, "timestamp[us, tz=UTC]", "[-62135596799999999 (null)]"},
		{"real", 0, 0, arrow.PrimitiveTypes.Float64, `[0.1]`, "float64", "[0.1]"},
		{"text", 0, 0, arrow.BinaryTypes.String, `["a", null]`, "utf8", `["a" (null)]`},
		{"variant", 0, 0, arrow.BinaryTypes.String, `["{}"]`, "utf8", `["{}"]`},
		{"date", 0, 0, arrow.FixedWidthTypes.Date32, `[-1]`, "date32", "[1969-12-31]"},
	} {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		c, err := newColumn(rowType{Name: "A", Type: test.typ, Precision: test.precision, Scale: test.scale}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		raw := encoded(t, mem, test.raw, test.values)
		got, err := c.convert(mem, raw)
		if err != nil {
			t.Errorf("%s(%d,%d) as %s: %v", test.typ, test.precision, test.scale, test.raw, err)
		} else {
			if got.DataType().String() != test.typed || got.String() != test.want {
				t.Errorf("%s(%d,%d) as %s: got %s %s", test.typ, test.precision, test.scale, test.raw, got.DataType(), got)
			}
			got.Release()
		}
		raw.Release()
		mem.AssertSize(t, 0)
	}
}

func TestInexactValues(t *testing.T) {
	for _, test := range []struct {
		typ              string
		precision, scale int32
		raw              arrow.DataType
		values           string
		row              int
	}{
		{"timestamp_ntz", 0, 9, i64, `[0, 1001]`, 1},
		{"timestamp_ltz", 0, 9, fields(i64, i32), `[{"epoch":0,"fraction":0},{"epoch":0,"fraction":1}]`, 1},
		{"timestamp_ntz", 0, 0, i64, `[9223372036854775807]`, 0},
		{"timestamp_ntz", 0, 9, fields(i64, i32), `[{"epoch":-9223372036854775807,"fraction":0}]`, 0},
		{"fixed", 10, 0, d128(0), `["1", "9223372036854775808"]`, 1},
	} {
		c, err := newColumn(rowType{Name: "A", Type: test.typ, Precision: test.precision, Scale: test.scale}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.convert(memory.DefaultAllocator, encoded(t, memory.DefaultAllocator, test.raw, test.values))
		var inexact *inexactError
		if !errors.As(err, &inexact) || inexact.row != test.row {
			t.Errorf("%s %s: %v", test.typ, test.values, err)
		}
	}
}

func TestForeignEncodings(t *testing.T) {
	for typ, raw := range map[string]arrow.Array{
		"fixed":         encoded(t, memory.DefaultAllocator, arrow.BinaryTypes.String, `["1"]`),
		"text":          encoded(t, memory.DefaultAllocator, i64, `[1]`),
		"time":          encoded(t, memory.DefaultAllocator, arrow.BinaryTypes.String, `["1"]`),
		"timestamp_ntz": encoded(t, memory.DefaultAllocator, fields(i64, i32, i32), `[null]`),
		"timestamp_tz":  encoded(t, memory.DefaultAllocator, fields(i64), `[null]`),
	} {
		c, err := newColumn(rowType{Name: "A", Type: typ, Precision: 38, Scale: 0}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.convert(memory.DefaultAllocator, raw); !errors.Is(err, errEncoding) {
			t.Errorf("%s as %s: %v", typ, raw.DataType(), err)
		}
	}
	for _, typ := range []string{"decfloat", "vector", "nonsense"} {
		if _, err := newColumn(rowType{Name: "A", Type: typ, Precision: 0, Scale: 0}, time.UTC); err == nil || !strings.Contains(err.Error(), `column "A"`) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// TestTimestampForms: an instant is the same in each form that holds it.
func TestTimestampForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(-62135596800_000000, 253402300799_999999).Draw(t, "micros")
		c, err := newColumn(rowType{Name: "A", Type: "timestamp_ntz", Precision: 0, Scale: 9}, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		seconds := micros / 1e6
		if micros%1e6 < 0 {
			seconds--
		}
		b := array.NewStructBuilder(memory.DefaultAllocator, fields(i64, i32).(*arrow.StructType))
		b.Append(true)
		b.FieldBuilder(0).(*array.Int64Builder).Append(seconds)
		b.FieldBuilder(1).(*array.Int32Builder).Append(int32((micros - seconds*1e6) * 1000))
		got, err := c.convert(memory.DefaultAllocator, b.NewArray())
		if err != nil {
			t.Fatal(err)
		}
		if v := got.(*array.Timestamp).Value(0); int64(v) != micros {
			t.Fatalf("%d came as %d", micros, v)
		}
	})
}

// BenchmarkJSON converts JSON columns, whose values are validated, beside text
// columns of the same bytes, whose values are not.
func BenchmarkJSON(b *testing.B) {
	for _, value := range []struct{ name, text string }{
		{"30 bytes", `{"a":1,"b":"text","c":[true]}`},
		{"1 KB", `{"list":[` + strings.Repeat(`{"id":12345,"name":"a name"},`, 34) + `null]}`},
	} {
		for _, typ := range []string{"text", "variant"} {
			b.Run(value.name+"/"+typ, func(b *testing.B) {
				const rows = 10_000
				builder := array.NewStringBuilder(memory.DefaultAllocator)
				defer builder.Release()
				for range rows {
					builder.Append(value.text)
				}
				raw := builder.NewArray()
				defer raw.Release()
				c, err := newColumn(rowType{Name: "A", Type: typ, Precision: 0, Scale: 0}, time.UTC)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(rows * len(value.text)))
				for b.Loop() {
					converted, err := c.convert(memory.DefaultAllocator, raw)
					if err != nil {
						b.Fatal(err)
					}
					converted.Release()
				}
			})
		}
	}
}
