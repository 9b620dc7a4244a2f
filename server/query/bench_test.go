package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// mixed is a batch of 8 columns, as a model of orders has them.
func mixed(b *testing.B, rows int) arrow.RecordBatch {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "Order Id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "Customer", Type: arrow.BinaryTypes.String},
		{Name: "Paid", Type: arrow.FixedWidthTypes.Boolean},
		{Name: "Amount", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}},
		{Name: "Weight", Type: arrow.PrimitiveTypes.Float64},
		{Name: "Day", Type: arrow.FixedWidthTypes.Date32},
		{Name: "Ordered At", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
		{Name: "Note", Type: arrow.BinaryTypes.String},
	}, nil))
	defer builder.Release()
	for i := range rows {
		builder.Field(0).(*array.Int64Builder).Append(int64(i) << 20)
		builder.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("customer %d", i%1000))
		builder.Field(2).(*array.BooleanBuilder).Append(i%3 == 0)
		builder.Field(3).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(i) * 199))
		builder.Field(4).(*array.Float64Builder).Append(float64(i) / 7)
		builder.Field(5).(*array.Date32Builder).Append(arrow.Date32(19000 + i%365))
		builder.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(1700000000000000 + int64(i)))
		if i%4 == 0 {
			builder.Field(7).AppendNull()
		} else {
			builder.Field(7).(*array.StringBuilder).Append("left at the door")
		}
	}
	batch := builder.NewRecordBatch()
	b.Cleanup(batch.Release)
	return batch
}

// BenchmarkRows takes a batch to the bytes that go out, beside the two ways
// that callers know: google.protobuf.ListValue and JSON lines. The ratios say
// how many times as fast ours is.
func BenchmarkRows(b *testing.B) {
	const rows = 10_000
	batch := mixed(b, rows)
	var ours, listValue, jsonLines time.Duration
	b.ReportAllocs()
	for b.Loop() {
		ours += timed(func() error {
			return (&rowEncoder{schema: batch.Schema()}).encode(batch, marshal)
		}, b)
		listValue += timed(func() error { return asListValues(batch) }, b)
		jsonLines += timed(func() error { return asJSON(batch) }, b)
	}
	b.ReportMetric(rows*float64(b.N)/ours.Seconds(), "rows/s")
	b.ReportMetric(listValue.Seconds()/ours.Seconds(), "x_ListValue")
	b.ReportMetric(jsonLines.Seconds()/ours.Seconds(), "x_JSON")
}

// BenchmarkArrow does the same for the other format, beside arrow-go's own
// stream writer. The ratio says how many times as fast ours is.
func BenchmarkArrow(b *testing.B) {
	const rows = 10_000
	batch := mixed(b, rows)
	var ours, writer time.Duration
	b.ReportAllocs()
	for b.Loop() {
		ours += timed(func() error {
			return (&arrowEncoder{schema: batch.Schema()}).encode(batch, marshal)
		}, b)
		writer += timed(func() error {
			w := ipc.NewWriter(&bytes.Buffer{}, ipc.WithSchema(batch.Schema()))
			if err := w.Write(batch); err != nil {
				return err
			}
			return w.Close()
		}, b)
	}
	b.ReportMetric(rows*float64(b.N)/ours.Seconds(), "rows/s")
	b.ReportMetric(writer.Seconds()/ours.Seconds(), "x_ipc.Writer")
}

func timed(do func() error, b *testing.B) time.Duration {
	start := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func marshal(f *frame) error {
	data, err := Codec{}.Marshal(f)
	data.Free()
	return err
}

func asListValues(batch arrow.RecordBatch) error {
	for i := range int(batch.NumRows()) {
		values := make([]*structpb.Value, batch.NumCols())
		for j, column := range batch.Columns() {
			value, err := structpb.NewValue(column.GetOneForMarshal(i))
			if err != nil {
				value = structpb.NewStringValue(column.ValueStr(i))
			}
			values[j] = value
		}
		if _, err := proto.Marshal(&structpb.ListValue{Values: values}); err != nil {
			return err
		}
	}
	return nil
}

func asJSON(batch arrow.RecordBatch) error {
	encoder := json.NewEncoder(&bytes.Buffer{})
	for i := range int(batch.NumRows()) {
		row := make(map[string]any, batch.NumCols())
		for j, column := range batch.Columns() {
			row[batch.ColumnName(j)] = column.GetOneForMarshal(i)
		}
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	return nil
}
