package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/warehouse"
)

// cell gives the value at a row of one column.
type cell func(row int) (*pb.Value, error)

// rowEncoder turns record batches into messages of typed rows.
type rowEncoder struct {
	schema *arrow.Schema
	sent   int64 // rows encoded before this batch
}

// encode calls send with messages of at most targetMessageSize, unless a
// single row is larger.
func (e *rowEncoder) encode(batch arrow.RecordBatch, send sendBatch) error {
	cells := make([]cell, batch.NumCols())
	for i := range cells {
		c, err := newCell(e.schema.Field(i), batch.Column(i))
		if err != nil {
			return err
		}
		cells[i] = c
	}

	message, size := &pb.RowBatch{}, 0
	flush := func() error {
		if len(message.Rows) == 0 {
			return nil
		}
		message.RowCount = int64(len(message.Rows))
		err := send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Rows{Rows: message}}, message.RowCount)
		message, size = &pb.RowBatch{}, 0
		return err
	}
	for i := range int(batch.NumRows()) {
		row, err := e.row(cells, i)
		if err != nil {
			return err
		}
		rowSize := protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(row))
		if rowSize > maxMessageSize {
			return e.tooLarge(row, i)
		}
		if size+rowSize > targetMessageSize {
			if err := flush(); err != nil {
				return err
			}
		}
		message.Rows = append(message.Rows, row)
		size += rowSize
	}
	e.sent += batch.NumRows()
	return flush()
}

func (e *rowEncoder) row(cells []cell, i int) (*pb.Row, error) {
	row := &pb.Row{Values: make([]*pb.Value, len(cells))}
	for j, c := range cells {
		value, err := c(i)
		if err != nil {
			return nil, &errmap.Error{
				Reason:  pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED,
				Message: fmt.Sprintf("the value of column %q in row %d cannot be sent exactly: %v", e.schema.Field(j).Name, e.sent+int64(i)+1, err),
				Metadata: map[string]string{
					"column": e.schema.Field(j).Name,
					"row":    strconv.FormatInt(e.sent+int64(i)+1, 10),
				},
			}
		}
		row.Values[j] = value
	}
	return row, nil
}

func (e *rowEncoder) tooLarge(row *pb.Row, i int) error {
	largest := 0
	for j, v := range row.Values {
		if proto.Size(v) > proto.Size(row.Values[largest]) {
			largest = j
		}
	}
	return rowTooLarge(e.schema.Field(largest).Name, e.sent+int64(i)+1)
}

// rowTooLarge says which row, counted from 1, does not fit a message, and
// which of its columns is the largest.
func rowTooLarge(column string, row int64) error {
	return &errmap.Error{
		Reason: pb.ErrorReason_ERROR_REASON_ROW_TOO_LARGE,
		Message: fmt.Sprintf("row %d is larger than a message may be (%d bytes); its largest value is in column %q: leave that column out in Sigma, or shorten it there",
			row, maxMessageSize, column),
		Metadata: map[string]string{"column": column, "row": strconv.FormatInt(row, 10)},
	}
}

var nullValue = &pb.Value{Kind: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}

func newCell(field arrow.Field, column arrow.Array) (cell, error) {
	var get cell
	switch a := column.(type) {
	case *array.Null:
		return func(int) (*pb.Value, error) { return nullValue, nil }, nil
	case *array.Boolean:
		get = func(i int) (*pb.Value, error) {
			return &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: a.Value(i)}}, nil
		}
	case *array.Int64:
		get = func(i int) (*pb.Value, error) {
			return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: a.Value(i)}}, nil
		}
	case *array.Float64:
		get = func(i int) (*pb.Value, error) {
			return &pb.Value{Kind: &pb.Value_DoubleValue{DoubleValue: a.Value(i)}}, nil
		}
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		get = func(i int) (*pb.Value, error) { return decimalValue(a.Value(i), scale), nil }
	case *array.String:
		get = func(i int) (*pb.Value, error) { return stringValue(a.Value(i)) }
		if warehouse.IsJSON(field) {
			get = func(i int) (*pb.Value, error) { return jsonValue(a.Value(i)) }
		}
	case *array.Binary:
		get = func(i int) (*pb.Value, error) {
			return &pb.Value{Kind: &pb.Value_BytesValue{BytesValue: bytes.Clone(a.Value(i))}}, nil
		}
	case *array.Date32:
		get = func(i int) (*pb.Value, error) {
			t := time.Unix(int64(a.Value(i))*86400, 0).UTC()
			return &pb.Value{Kind: &pb.Value_DateValue{DateValue: string(appendDate(nil, t))}}, nil
		}
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		get = func(i int) (*pb.Value, error) {
			t := instant(int64(a.Value(i)), unit)
			return &pb.Value{Kind: &pb.Value_TimeValue{TimeValue: string(appendTime(nil, t))}}, nil
		}
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		get = func(i int) (*pb.Value, error) { return datetimeValue(instant(int64(a.Value(i)), t.Unit)), nil }
		if t.TimeZone != "" {
			get = func(i int) (*pb.Value, error) { return timestampValue(instant(int64(a.Value(i)), t.Unit)) }
		}
	default:
		return nil, fmt.Errorf("column %q: the type %s is not canonical", field.Name, column.DataType())
	}
	return func(i int) (*pb.Value, error) {
		if column.IsNull(i) {
			return nullValue, nil
		}
		return get(i)
	}, nil
}

// decimalValue keeps whole numbers that fit as integers, so that a warehouse
// without a 64-bit integer type gives the same values as one that has it.
func decimalValue(n decimal128.Num, scale int32) *pb.Value {
	if scale == 0 && n.FitsInPrecision(18) {
		return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: int64(n.LowBits())}}
	}
	if scale == 0 {
		if b := n.BigInt(); b.IsInt64() {
			return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: b.Int64()}}
		}
	}
	return &pb.Value{Kind: &pb.Value_DecimalValue{DecimalValue: n.ToString(scale)}}
}

func stringValue(s string) (*pb.Value, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("it is not valid UTF-8")
	}
	return &pb.Value{Kind: &pb.Value_StringValue{StringValue: s}}, nil
}

// jsonValue strips the white space that warehouses print, and nothing else: a
// decoder would lose digits. What is no JSON at all, such as Snowflake's
// `undefined`, goes out as it is.
func jsonValue(s string) (*pb.Value, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("it is not valid UTF-8")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(s)); err == nil {
		s = compact.String()
	}
	return &pb.Value{Kind: &pb.Value_JsonValue{JsonValue: s}}, nil
}

func datetimeValue(t time.Time) *pb.Value {
	text := appendTime(append(appendDate(nil, t), 'T'), t)
	return &pb.Value{Kind: &pb.Value_DatetimeValue{DatetimeValue: string(text)}}
}

func timestampValue(t time.Time) (*pb.Value, error) {
	ts := timestamppb.New(t)
	if err := ts.CheckValid(); err != nil {
		return nil, fmt.Errorf("an instant must lie in the years 1 to 9999")
	}
	return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: ts}}, nil
}

func instant(n int64, unit arrow.TimeUnit) time.Time {
	if unit == arrow.Microsecond {
		return time.UnixMicro(n).UTC()
	}
	return time.Unix(0, n).UTC()
}

// appendDate writes the year with a sign where it has more than four digits or
// lies before year 0, as ISO 8601 asks for.
func appendDate(b []byte, t time.Time) []byte {
	switch y := t.Year(); {
	case y > 9999:
		b = append(b, '+')
		b = strconv.AppendInt(b, int64(y), 10)
		return t.AppendFormat(b, "-01-02")
	case y < 0:
		b = fmt.Appendf(b, "-%04d", -y)
		return t.AppendFormat(b, "-01-02")
	}
	return t.AppendFormat(b, time.DateOnly)
}

func appendTime(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, "15:04:05.999999999")
}
