package query

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/warehouse"
)

// kind is a canonical type, with a generator that appends a value to a builder
// and tells the value that a caller must get for it.
type kind struct {
	field arrow.Field
	draw  func(t *rapid.T, to array.Builder) *pb.Value
}

func decimalKind(precision, scale int32) kind {
	return kind{arrow.Field{Type: &arrow.Decimal128Type{Precision: precision, Scale: scale}}, func(t *rapid.T, to array.Builder) *pb.Value {
		digits := rapid.StringMatching(fmt.Sprintf(`[1-9][0-9]{0,%d}`, precision-1)).Draw(t, "digits")
		if rapid.Bool().Draw(t, "negative") {
			digits = "-" + digits
		}
		n, _ := new(big.Int).SetString(digits, 10)
		to.(*array.Decimal128Builder).Append(decimal128.FromBigInt(n))
		if scale == 0 && n.IsInt64() {
			return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: n.Int64()}}
		}
		exact := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
		return &pb.Value{Kind: &pb.Value_DecimalValue{DecimalValue: exact.FloatString(int(scale))}}
	}}
}

// micros are instants of the years 1 to 9999, in microseconds.
func micros(t *rapid.T) (int64, time.Time) {
	n := rapid.Int64Range(-62135596800000000, 253402300799999999).Draw(t, "microseconds")
	return n, time.UnixMicro(n).UTC()
}

var kinds = []kind{
	{arrow.Field{Type: arrow.FixedWidthTypes.Boolean}, func(t *rapid.T, to array.Builder) *pb.Value {
		v := rapid.Bool().Draw(t, "bool")
		to.(*array.BooleanBuilder).Append(v)
		return &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: v}}
	}},
	{arrow.Field{Type: arrow.PrimitiveTypes.Int64}, func(t *rapid.T, to array.Builder) *pb.Value {
		v := rapid.Int64().Draw(t, "int64")
		to.(*array.Int64Builder).Append(v)
		return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: v}}
	}},
	{arrow.Field{Type: arrow.PrimitiveTypes.Float64}, func(t *rapid.T, to array.Builder) *pb.Value {
		v := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), math.Copysign(0, -1)})).Draw(t, "double")
		to.(*array.Float64Builder).Append(v)
		return &pb.Value{Kind: &pb.Value_DoubleValue{DoubleValue: v}}
	}},
	decimalKind(38, 0),
	decimalKind(38, 10),
	decimalKind(12, 2),
	decimalKind(38, 38),
	{arrow.Field{Type: arrow.BinaryTypes.String}, func(t *rapid.T, to array.Builder) *pb.Value {
		v := rapid.String().Draw(t, "text")
		to.(*array.StringBuilder).Append(v)
		return &pb.Value{Kind: &pb.Value_StringValue{StringValue: v}}
	}},
	{arrow.Field{Type: arrow.BinaryTypes.String, Metadata: arrow.NewMetadata([]string{warehouse.MetadataExtension}, []string{warehouse.ExtensionJSON})},
		func(t *rapid.T, to array.Builder) *pb.Value {
			pair := rapid.SampledFrom([][2]string{
				{"{ \"a\" : [ 1 , 2.50 ],\n \"é\": \" < \" }", `{"a":[1,2.50],"é":" < "}`},
				{"123456789012345678901234567890", "123456789012345678901234567890"},
				{" null ", "null"}, {"\n\"x\"", `"x"`},
			}).Draw(t, "json")
			to.(*array.StringBuilder).Append(pair[0])
			return &pb.Value{Kind: &pb.Value_JsonValue{JsonValue: pair[1]}}
		}},
	{arrow.Field{Type: arrow.BinaryTypes.Binary}, func(t *rapid.T, to array.Builder) *pb.Value {
		v := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		to.(*array.BinaryBuilder).Append(v)
		return &pb.Value{Kind: &pb.Value_BytesValue{BytesValue: append([]byte{}, v...)}}
	}},
	{arrow.Field{Type: arrow.FixedWidthTypes.Date32}, func(t *rapid.T, to array.Builder) *pb.Value {
		n := rapid.Int32Range(-719162, 2932896).Draw(t, "days")
		to.(*array.Date32Builder).Append(arrow.Date32(n))
		return &pb.Value{Kind: &pb.Value_DateValue{DateValue: time.Unix(0, 0).UTC().AddDate(0, 0, int(n)).Format("2006-01-02")}}
	}},
	{arrow.Field{Type: arrow.FixedWidthTypes.Time64us}, func(t *rapid.T, to array.Builder) *pb.Value {
		n := rapid.Int64Range(0, 86400e6-1).Draw(t, "time")
		to.(*array.Time64Builder).Append(arrow.Time64(n))
		s := n / 1e6
		v := fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
		if n%1e6 != 0 {
			v = strings.TrimRight(fmt.Sprintf("%s.%06d", v, n%1e6), "0")
		}
		return &pb.Value{Kind: &pb.Value_TimeValue{TimeValue: v}}
	}},
	{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond}}, func(t *rapid.T, to array.Builder) *pb.Value {
		n, at := micros(t)
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(n))
		return &pb.Value{Kind: &pb.Value_DatetimeValue{DatetimeValue: strings.TrimSuffix(at.Format(time.RFC3339Nano), "Z")}}
	}},
	{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, func(t *rapid.T, to array.Builder) *pb.Value {
		n, at := micros(t)
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(n))
		return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(at)}}
	}},
	{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "America/New_York"}}, func(t *rapid.T, to array.Builder) *pb.Value {
		n, at := micros(t) // an instant is the same in each zone
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(n))
		return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(at)}}
	}},
	{arrow.Field{Type: arrow.Null}, func(_ *rapid.T, to array.Builder) *pb.Value {
		to.AppendNull()
		return nullValue()
	}},
}

// drawBatch makes a batch, perhaps a slice of a larger one, and the rows that a
// caller must get of it.
func drawBatch(t *rapid.T, allocator memory.Allocator) (arrow.RecordBatch, []*pb.Row) {
	chosen := rapid.SliceOfN(rapid.IntRange(0, len(kinds)-1), 1, 6).Draw(t, "columns")
	fields := make([]arrow.Field, len(chosen))
	for i, k := range chosen {
		fields[i] = kinds[k].field
		fields[i].Name = fmt.Sprintf("column %d", i+1)
		fields[i].Nullable = true
	}
	builder := array.NewRecordBuilder(allocator, arrow.NewSchema(fields, nil))
	defer builder.Release()
	rows := make([]*pb.Row, rapid.IntRange(0, 40).Draw(t, "rows"))
	for i := range rows {
		rows[i] = &pb.Row{Values: make([]*pb.Value, len(chosen))}
		for j, k := range chosen {
			if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
				builder.Field(j).AppendNull()
				rows[i].Values[j] = nullValue()
				continue
			}
			rows[i].Values[j] = kinds[k].draw(t, builder.Field(j))
		}
	}
	whole := builder.NewRecordBatch()
	defer whole.Release()
	from := rapid.IntRange(0, len(rows)).Draw(t, "from")
	to := rapid.IntRange(from, len(rows)).Draw(t, "to")
	return whole.NewSlice(int64(from), int64(to)), rows[from:to]
}

func nullValue() *pb.Value { return &pb.Value{Kind: &pb.Value_NullValue{}} }

// told is a frame as a caller reads it. The frame is used up.
func told(t interface{ Fatal(...any) }, f *frame) *pb.PreviewModelResponse {
	message := &pb.PreviewModelResponse{}
	if err := f.decode(message); err != nil {
		t.Fatal(err)
	}
	if n := proto.Size(message); n != f.size {
		t.Fatal("a frame of", n, "bytes is counted as", f.size)
	}
	f.data.Free()
	return message
}

// checked is an allocator that fails the test if something of it is left.
func checked(t interface {
	Errorf(string, ...any)
	Helper()
}) (*memory.CheckedAllocator, func()) {
	allocator := memory.NewCheckedAllocator(memory.NewGoAllocator())
	return allocator, func() { allocator.AssertSize(t, 0) }
}

func TestRowsAreWhatTheBatchHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		allocator, verify := checked(t)
		defer verify()
		batch, want := drawBatch(t, allocator)
		defer batch.Release()
		var got []*pb.Row
		err := (&rowEncoder{schema: batch.Schema()}).encode(batch, func(f *frame) error {
			message, rows := told(t, f), f.rows
			if n := int64(len(message.GetRows().GetRows())); n != rows || n != message.GetRows().GetRowCount() || n == 0 {
				t.Fatalf("a message has %d rows, says %d, and is counted as %d", n, message.GetRows().GetRowCount(), rows)
			}
			got = append(got, message.GetRows().GetRows()...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d rows of %d", len(got), len(want))
		}
		for i := range want {
			if !proto.Equal(got[i], want[i]) {
				t.Fatalf("row %d is %v instead of %v", i, got[i], want[i])
			}
		}
	})
}

func TestArrowMessagesAreTheBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		allocator, verify := checked(t)
		defer verify()
		batch, _ := drawBatch(t, allocator)
		defer batch.Release()
		got := roundTrip(t, batch)
		if !array.RecordEqual(got, batch) {
			t.Fatalf("%v\ninstead of\n%v", got, batch)
		}
	})
}

// roundTrip encodes a batch and reads it as a caller does: the schema's message,
// then those of the batches.
func roundTrip(t interface{ Fatal(...any) }, batch arrow.RecordBatch) arrow.RecordBatch {
	schema, err := encodeSchema(batch.Schema(), model.Columns{}, pb.DataFormat_DATA_FORMAT_ARROW)
	if err != nil {
		t.Fatal(err)
	}
	stream := bytes.NewBuffer(schema.GetArrowIpc())
	err = (&arrowEncoder{schema: batch.Schema()}).encode(batch, func(f *frame) error {
		message, rows := told(t, f), f.rows
		if rows != message.GetArrow().GetRowCount() {
			t.Fatal("a message says", message.GetArrow().GetRowCount(), "rows and is counted as", rows)
		}
		stream.Write(message.GetArrow().GetIpc())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := ipc.NewReader(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	var parts []arrow.RecordBatch
	for reader.Next() {
		part := reader.RecordBatch()
		part.Retain()
		parts = append(parts, part)
	}
	if err := reader.Err(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	columns := make([]arrow.Array, batch.NumCols())
	for i := range columns {
		arrays := []arrow.Array{array.MakeArrayOfNull(memory.DefaultAllocator, batch.Schema().Field(i).Type, 0)}
		for _, part := range parts {
			column := part.Column(i)
			if extension, ok := column.(array.ExtensionArray); ok {
				column = extension.Storage() // JSON is an extension of text
			}
			arrays = append(arrays, column)
		}
		if columns[i], err = array.Concatenate(arrays, memory.DefaultAllocator); err != nil {
			t.Fatal(err)
		}
	}
	return array.NewRecordBatch(batch.Schema(), columns, -1)
}

// texts is a batch of one column of texts of the given sizes in bytes, beside a
// number that tells them apart.
func texts(t testing.TB, sizes ...int) arrow.RecordBatch {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "No", Type: arrow.PrimitiveTypes.Int64}, {Name: "Text", Type: arrow.BinaryTypes.String},
	}, nil))
	defer builder.Release()
	for i, size := range sizes {
		builder.Field(0).(*array.Int64Builder).Append(int64(i))
		builder.Field(1).(*array.StringBuilder).Append(strings.Repeat("x", size))
	}
	batch := builder.NewRecordBatch()
	t.Cleanup(batch.Release)
	return batch
}

func repeat(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// encoders are both formats, behind one face.
var encoders = map[string]func(*arrow.Schema) func(arrow.RecordBatch, sendFrame) error{
	"rows": func(s *arrow.Schema) func(arrow.RecordBatch, sendFrame) error { return (&rowEncoder{schema: s}).encode },
	"arrow": func(s *arrow.Schema) func(arrow.RecordBatch, sendFrame) error {
		return (&arrowEncoder{schema: s}).encode
	},
}

func TestMessagesStayUnderTheLimit(t *testing.T) {
	uneven := append(repeat(2000, 10), 3<<20, 3<<20, 1, 3<<20)
	for name, sizes := range map[string][]int{
		"many small rows":   repeat(200_000, 20),
		"rows of a kB":      repeat(10_000, 1024),
		"rows of a MB":      repeat(9, 1<<20),
		"uneven rows":       uneven,
		"nothing":           {},
		"one empty":         {0},
		"the largest there": {maxMessageSize - 600, 1, maxMessageSize - 600},
	} {
		for format, encoder := range encoders {
			t.Run(name+" as "+format, func(t *testing.T) {
				batch := texts(t, sizes...)
				var rows int64
				var messages int
				err := encoder(batch.Schema())(batch, func(f *frame) error {
					message, n := told(t, f), f.rows
					if size := proto.Size(message); size > 4<<20 {
						t.Errorf("a message of %d rows has %d bytes", n, size)
					}
					rows += n
					messages++
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if rows != int64(len(sizes)) {
					t.Errorf("%d rows of %d", rows, len(sizes))
				}
				if fewest := len(sizes)/4096 + 24; messages > fewest+len(sizes)*1024/targetMessageSize {
					t.Errorf("%d messages for %d rows: too many small ones", messages, len(sizes))
				}
			})
		}
	}
}

func TestARowBeyondTheLimitIsNamed(t *testing.T) {
	for format, encoder := range encoders {
		t.Run(format, func(t *testing.T) {
			first, second := texts(t, 10, 10), texts(t, 10, maxMessageSize+1, 10)
			encode := encoder(first.Schema())
			var rows int64
			count := func(f *frame) error { rows += f.rows; f.data.Free(); return nil }
			if err := encode(first, count); err != nil {
				t.Fatal(err)
			}
			err := encode(second, count)
			var failure *errmap.Error
			if !errors.As(err, &failure) || failure.Reason != pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE {
				t.Fatalf("got %v", err)
			}
			if failure.Metadata["column"] != "Text" || failure.Metadata["row"] != "4" {
				t.Errorf("it names %v", failure.Metadata)
			}
			if rows > 3 {
				t.Errorf("%d rows went out, which is past the one that cannot", rows)
			}
		})
	}
}

func TestTheEncoderStopsWhereTheCallerIsGone(t *testing.T) {
	gone := errors.New("gone")
	for format, encoder := range encoders {
		t.Run(format, func(t *testing.T) {
			batch := texts(t, repeat(9, 1<<20)...)
			sent := 0
			err := encoder(batch.Schema())(batch, func(f *frame) error { sent++; f.data.Free(); return gone })
			if !errors.Is(err, gone) || sent != 1 {
				t.Errorf("%v after %d messages", err, sent)
			}
		})
	}
}

func TestValuesWithoutExactFormAreNamed(t *testing.T) {
	one := func(field arrow.Field, appendTo func(array.Builder)) arrow.RecordBatch {
		field.Name = "Bad"
		builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{field}, nil))
		defer builder.Release()
		appendTo(builder.Field(0))
		batch := builder.NewRecordBatch()
		t.Cleanup(batch.Release)
		return batch
	}
	zoned := arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}
	for name, batch := range map[string]arrow.RecordBatch{
		"text that is no UTF-8": one(arrow.Field{Type: arrow.BinaryTypes.String}, func(b array.Builder) { b.(*array.StringBuilder).Append("a\xffb") }),
		"JSON that is no UTF-8": one(kinds[8].field, func(b array.Builder) { b.(*array.StringBuilder).Append("\"\xff\"") }),
		"an instant after 9999": one(zoned, func(b array.Builder) { b.(*array.TimestampBuilder).Append(253402300800000000) }),
		"an instant before 1":   one(zoned, func(b array.Builder) { b.(*array.TimestampBuilder).Append(-62135596800000001) }),
	} {
		t.Run(name, func(t *testing.T) {
			err := (&rowEncoder{schema: batch.Schema()}).encode(batch, func(*frame) error {
				t.Error("it was sent")
				return nil
			})
			var failure *errmap.Error
			if !errors.As(err, &failure) || failure.Reason != pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED {
				t.Fatalf("got %v", err)
			}
			if failure.Metadata["column"] != "Bad" || failure.Metadata["row"] != "1" {
				t.Errorf("it names %v", failure.Metadata)
			}
		})
	}
}

func TestDatesBeyondFourDigitsHaveASign(t *testing.T) {
	for days, want := range map[int32]string{
		2932897: "+10000-01-01", -719528: "0000-01-01", -719529: "-0001-12-31", 0: "1970-01-01",
	} {
		column := array.NewDate32Builder(memory.DefaultAllocator)
		column.Append(arrow.Date32(days))
		get, err := newCell(arrow.Field{Type: arrow.FixedWidthTypes.Date32}, column.NewArray())
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := get(nil, 0)
		row := &pb.Row{}
		if err == nil {
			err = proto.Unmarshal(encoded, row)
		}
		value := row.GetValues()[0]
		if err != nil || value.GetDateValue() != want {
			t.Errorf("day %d is %v, %v instead of %s", days, value, err, want)
		}
	}
}

func TestSchemaTellsTypesAndRefusesOthers(t *testing.T) {
	for _, test := range []struct {
		field            arrow.Field
		want             pb.ColumnType
		precision, scale int32
	}{
		{arrow.Field{Type: arrow.FixedWidthTypes.Boolean}, pb.ColumnType_COLUMN_TYPE_BOOL, 0, 0},
		{arrow.Field{Type: arrow.PrimitiveTypes.Int64}, pb.ColumnType_COLUMN_TYPE_INTEGER, 0, 0},
		{arrow.Field{Type: &arrow.Decimal128Type{Precision: 38}}, pb.ColumnType_COLUMN_TYPE_INTEGER, 0, 0},
		{arrow.Field{Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}}, pb.ColumnType_COLUMN_TYPE_DECIMAL, 12, 2},
		{arrow.Field{Type: arrow.PrimitiveTypes.Float64}, pb.ColumnType_COLUMN_TYPE_DOUBLE, 0, 0},
		{arrow.Field{Type: arrow.BinaryTypes.String}, pb.ColumnType_COLUMN_TYPE_STRING, 0, 0},
		{kinds[8].field, pb.ColumnType_COLUMN_TYPE_JSON, 0, 0},
		{arrow.Field{Type: arrow.BinaryTypes.Binary}, pb.ColumnType_COLUMN_TYPE_BYTES, 0, 0},
		{arrow.Field{Type: arrow.FixedWidthTypes.Date32}, pb.ColumnType_COLUMN_TYPE_DATE, 0, 0},
		{arrow.Field{Type: arrow.FixedWidthTypes.Time64us}, pb.ColumnType_COLUMN_TYPE_TIME, 0, 0},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond}}, pb.ColumnType_COLUMN_TYPE_DATETIME, 0, 0},
		{arrow.Field{Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, pb.ColumnType_COLUMN_TYPE_TIMESTAMP, 0, 0},
		{arrow.Field{Type: arrow.Null}, pb.ColumnType_COLUMN_TYPE_NULL, 0, 0},
	} {
		schema, err := encodeSchema(arrow.NewSchema([]arrow.Field{test.field}, nil), model.Columns{}, pb.DataFormat_DATA_FORMAT_ROWS)
		if err != nil {
			t.Errorf("%s: %v", test.field.Type, err)
			continue
		}
		if got := schema.GetColumns()[0]; got.GetType() != test.want || got.GetPrecision() != test.precision || got.GetScale() != test.scale {
			t.Errorf("%s is %v", test.field.Type, got)
		}
		if schema.GetArrowIpc() != nil {
			t.Errorf("%s: a caller of rows got an Arrow schema", test.field.Type)
		}
	}
	if _, err := encodeSchema(arrow.NewSchema([]arrow.Field{{Type: arrow.PrimitiveTypes.Int8}}, nil), model.Columns{}, pb.DataFormat_DATA_FORMAT_ROWS); err == nil {
		t.Error("a type that no adapter may give was taken")
	}
}

// JSON that is none is refused and not sent as it is.
func TestWhatIsNotJSONIsRefused(t *testing.T) {
	for _, text := range []string{"undefined", `[1,undefined,"x"]`, "", "{", "NaN", `{"a":1} x`} {
		if b, err := appendJSON(nil, text); err == nil {
			t.Errorf("%q is sent as %q", text, b)
		}
	}
}
