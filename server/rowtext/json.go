package rowtext

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// JSONHelp describes the output of JSON to its readers.
const JSONHelp = `JSON lines have one object for each row, its keys in the order of the columns. Of columns of the same name the
second has the key "NAME (2)", the third "NAME (3)". Integers and floating-point numbers are JSON numbers with all
their digits, also beyond 2^53; decimals are texts; NaN and the infinities are the texts "NaN", "+Inf" and "-Inf";
bytes are base64; what the warehouse has as JSON is JSON. ` + instantHelp

// instantHelp describes how instants are written.
const instantHelp = `Instants have the offset of their column's time zone, such as
2026-03-01T00:00:00+01:00.`

// JSON is a Sink of JSON lines. It prints one object a line, its keys in the columns' order.
type JSON struct {
	w     io.Writer
	zones Zones
	keys  [][]byte
}

// NewJSON returns a sink that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: w} }

// Columns implements Sink.
func (s *JSON) Columns(columns []*pb.SchemaColumn) (err error) {
	if s.zones, err = ZonesOf(columns); err != nil {
		return err
	}
	for _, name := range UniqueNames(columns) {
		s.keys = append(s.keys, quote(name))
	}
	return nil
}

// Row implements Sink.
func (s *JSON) Row(values []*pb.Value) error {
	var line bytes.Buffer
	line.WriteByte('{')
	for i, value := range values {
		if i > 0 {
			line.WriteByte(',')
		}
		line.Write(s.keys[i])
		line.WriteByte(':')
		line.Write(JSONText(value, s.zones[i]))
	}
	line.WriteString("}\n")
	_, err := s.w.Write(line.Bytes())
	return err
}

// End implements Sink.
func (s *JSON) End() error { return nil }

// JSONText is a value of a column of a time zone as JSON without loss: integers as
// numbers with all their digits, decimals as text.
func JSONText(value *pb.Value, in *time.Location) []byte {
	switch v := value.GetKind().(type) {
	case *pb.Value_BoolValue:
		return strconv.AppendBool(nil, v.BoolValue)
	case *pb.Value_Int64Value:
		return strconv.AppendInt(nil, v.Int64Value, 10)
	case *pb.Value_DoubleValue:
		if math.IsNaN(v.DoubleValue) || math.IsInf(v.DoubleValue, 0) {
			return quote(strconv.FormatFloat(v.DoubleValue, 'g', -1, 64))
		}
		return strconv.AppendFloat(nil, v.DoubleValue, 'g', -1, 64)
	case *pb.Value_DecimalValue:
		return quote(v.DecimalValue)
	case *pb.Value_StringValue:
		return quote(v.StringValue)
	case *pb.Value_BytesValue:
		return quote(base64.StdEncoding.EncodeToString(v.BytesValue))
	case *pb.Value_DateValue:
		return quote(v.DateValue)
	case *pb.Value_TimeValue:
		return quote(v.TimeValue)
	case *pb.Value_DatetimeValue:
		return quote(v.DatetimeValue)
	case *pb.Value_TimestampValue:
		return quote(zone.Format(v.TimestampValue.AsTime().In(in)))
	case *pb.Value_JsonValue:
		var compact bytes.Buffer // without line breaks, which would end the record
		if err := json.Compact(&compact, []byte(v.JsonValue)); err != nil {
			return quote(v.JsonValue)
		}
		return compact.Bytes()
	}
	return []byte("null")
}

func quote(s string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
