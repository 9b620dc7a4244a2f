package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Kind is the kind of a value, by the number of its field in the contract's Value.
type Kind int8

// The kinds.
const (
	Null Kind = iota + 1
	Bool
	Int64
	Double
	Decimal
	String
	Bytes
	Date
	Time
	Datetime
	Timestamp
	JSON
)

// Value is a cell. Which of its fields is set follows from its kind.
type Value struct {
	Kind   Kind
	Int    int64   // Bool (0 or 1), Int64, Timestamp (seconds since 1970)
	Nanos  int32   // Timestamp
	Double float64 // Double
	Text   []byte  // all others; valid until the next call of Next

	zone *time.Location // Timestamp: of the column; nil is UTC
}

// Proto returns the value as the contract has it.
func (v Value) Proto() *pb.Value {
	switch v.Kind {
	case Null:
		return &pb.Value{Kind: &pb.Value_NullValue{}}
	case Bool:
		return &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: v.Int != 0}}
	case Int64:
		return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: v.Int}}
	case Double:
		return &pb.Value{Kind: &pb.Value_DoubleValue{DoubleValue: v.Double}}
	case Decimal:
		return &pb.Value{Kind: &pb.Value_DecimalValue{DecimalValue: string(v.Text)}}
	case String:
		return &pb.Value{Kind: &pb.Value_StringValue{StringValue: string(v.Text)}}
	case Bytes:
		return &pb.Value{Kind: &pb.Value_BytesValue{BytesValue: append([]byte{}, v.Text...)}}
	case Date:
		return &pb.Value{Kind: &pb.Value_DateValue{DateValue: string(v.Text)}}
	case Time:
		return &pb.Value{Kind: &pb.Value_TimeValue{TimeValue: string(v.Text)}}
	case Datetime:
		return &pb.Value{Kind: &pb.Value_DatetimeValue{DatetimeValue: string(v.Text)}}
	case Timestamp:
		return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: v.Int, Nanos: v.Nanos}}}
	case JSON:
		return &pb.Value{Kind: &pb.Value_JsonValue{JsonValue: string(v.Text)}}
	}
	return &pb.Value{}
}

// AsTime returns the instant of a Timestamp, in the time zone of its column.
func (v Value) AsTime() time.Time {
	zone := v.zone
	if zone == nil {
		zone = time.UTC
	}
	return time.Unix(v.Int, int64(v.Nanos)).In(zone)
}

// Rows reads a stream of a session in the format ROWS, row by row and without an
// object for every value. It is used by one goroutine. The caller closes it.
type Rows struct {
	stream *stream
	last   *message
	rest   []byte // of the message, that is not read yet
	left   int64  // rows in rest
	values []Value
	zones  []*time.Location // by column; nil is UTC
	given  int64
	err    error
}

// ReadRows opens a stream of a session, as Read does.
func ReadRows(ctx context.Context, conn grpc.ClientConnInterface, name string, options Options) (*Rows, error) {
	s, err := open(ctx, conn, name, options)
	if err != nil {
		return nil, err
	}
	r := &Rows{stream: s, given: options.Offset, values: make([]Value, len(s.schema.GetColumns()))}
	if r.zones, err = zonesOf(s.schema); err != nil {
		s.cancel()
		return nil, err
	}
	return r, nil
}

// zonesOf returns the time zones of the columns, or nil for those in UTC.
func zonesOf(schema *pb.Schema) ([]*time.Location, error) {
	zones := make([]*time.Location, len(schema.GetColumns()))
	for i, column := range schema.GetColumns() {
		if column.GetTimeZone() == "" {
			continue
		}
		var err error
		if zones[i], err = zone.Load(column.GetTimeZone()); err != nil {
			return nil, fmt.Errorf("column %q: %w", column.GetName(), err)
		}
	}
	return zones, nil
}

// Columns returns the columns.
func (r *Rows) Columns() *pb.Schema { return r.stream.schema }

// Values returns the row that Next has read, a value for each column. They are valid
// until the next call of Next.
func (r *Rows) Values() []Value { return r.values }

// Offset is the row after the last one that Next has read: where to go on.
func (r *Rows) Offset() int64 { return r.given }

// Statistics returns what the server says of the whole read, after its end.
func (r *Rows) Statistics() *pb.StreamStatistics { return r.stream.stats }

// Err returns why Next returned false, or nil where all rows came.
func (r *Rows) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Close ends the call.
func (r *Rows) Close() {
	r.drop()
	r.stream.cancel()
}

func (r *Rows) drop() {
	if r.last != nil {
		r.last.release()
	}
	r.last, r.rest = nil, nil
}

// Next reads the next row. After the last, and after a failure, it returns false; Err
// tells which.
func (r *Rows) Next() bool {
	for r.err == nil && r.left == 0 {
		r.drop()
		var m *message
		if m, r.err = r.stream.receive(); r.err == nil && m.batch != nil {
			r.last, r.rest, r.left = m, m.batch.Bytes(), m.rows
		} else if r.err == nil && m.ipc != nil {
			m.release()
			r.err = errors.New("the session is not in the format ROWS")
		}
	}
	if r.err != nil {
		return false
	}
	row, err := r.row()
	if err == nil {
		err = r.read(row)
	}
	if err != nil {
		r.err = fmt.Errorf("read row %d: %w", r.given, err)
		return false
	}
	r.left--
	r.given++
	return true
}

// row takes the next row off the message.
func (r *Rows) row() ([]byte, error) {
	if len(r.rest) == 0 || r.rest[0] != byte(batchRow)<<3|byte(protowire.BytesType) {
		return nil, errMalformed
	}
	length, n := binary.Uvarint(r.rest[1:])
	if n <= 0 || length > uint64(len(r.rest)-1-n) {
		return nil, errMalformed
	}
	row := r.rest[1+n:][:length]
	r.rest = r.rest[1+n+int(length):]
	return row, nil
}

func (r *Rows) read(row []byte) error {
	for i := range r.values {
		if len(row) == 0 || row[0] != byte(rowValue)<<3|byte(protowire.BytesType) {
			return errMalformed
		}
		length, n := binary.Uvarint(row[1:])
		if n <= 0 || length > uint64(len(row)-1-n) {
			return errMalformed
		}
		if err := r.values[i].read(row[1+n:][:length]); err != nil {
			return err
		}
		r.values[i].zone = r.zones[i]
		row = row[1+n+int(length):]
	}
	if len(row) > 0 {
		return errMalformed
	}
	return nil
}

func (v *Value) read(b []byte) error {
	if len(b) < 2 {
		return errMalformed
	}
	kind, wire := Kind(b[0]>>3), protowire.Type(b[0]&7)
	b = b[1:]
	*v = Value{Kind: kind}
	switch {
	case kind <= Int64 && kind >= Null && wire == protowire.VarintType:
		n, size := binary.Uvarint(b)
		if size != len(b) {
			return errMalformed
		}
		v.Int = int64(n)
	case kind == Double && wire == protowire.Fixed64Type && len(b) == 8:
		v.Double = math.Float64frombits(binary.LittleEndian.Uint64(b))
	case kind > Double && kind <= JSON && wire == protowire.BytesType:
		length, size := binary.Uvarint(b)
		if size <= 0 || length != uint64(len(b)-size) {
			return errMalformed
		}
		if v.Text = b[size:]; kind == Timestamp {
			return v.readTimestamp()
		}
	default:
		return errMalformed
	}
	return nil
}

func (v *Value) readTimestamp() error {
	b := v.Text
	v.Text = nil
	for len(b) > 0 {
		n, size := binary.Uvarint(b[1:])
		if size <= 0 {
			return errMalformed
		}
		switch b[0] {
		case 1<<3 | byte(protowire.VarintType):
			v.Int = int64(n)
		case 2<<3 | byte(protowire.VarintType):
			v.Nanos = int32(n)
		default:
			return errMalformed
		}
		b = b[1+size:]
	}
	return nil
}
