package client_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
)

var gone = status.Error(codes.Unavailable, "the server is gone")

// TestAStreamThatIsNotAsPromisedFails reads from servers that break the contract.
// Before the error there are good rows only.
func TestAStreamThatIsNotAsPromisedFails(t *testing.T) {
	s := newServer(t)
	for i, format := range formats {
		schema, other := columns(t, format), formats[1-i]
		of := func(from, to int) *pb.ReadRowsResponse { return batch(t, format, from, to) }
		says := func(m *pb.ReadRowsResponse, rows int64) *pb.ReadRowsResponse {
			return changed(m, func(m *pb.ReadRowsResponse) {
				if m.GetRows() != nil {
					m.GetRows().RowCount = rows
				} else {
					m.GetArrow().RowCount = rows
				}
			})
		}
		at := func(m *pb.ReadRowsResponse, offset int64) *pb.ReadRowsResponse {
			return changed(m, func(m *pb.ReadRowsResponse) { m.Offset = offset })
		}
		otherwise := func(m *pb.ReadRowsResponse, change func(*pb.StreamStatistics)) *pb.ReadRowsResponse {
			return changed(m, func(m *pb.ReadRowsResponse) { change(m.GetStatistics()) })
		}
		nothing := &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Rows{Rows: &pb.RowBatch{RowCount: 4}}}
		if format == pb.DataFormat_DATA_FORMAT_ARROW {
			nothing = &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{RowCount: 4}}}
		}
		type messages = []*pb.ReadRowsResponse
		for name, test := range map[string]struct {
			messages messages
			good     int // rows, at the most
		}{
			"nothing":                       {nil, 0},
			"the columns alone":             {messages{schema}, 0},
			"no columns":                    {messages{of(0, 4), last(0, 4)}, 0},
			"the last message alone":        {messages{last(0, 0)}, 0},
			"no last message":               {messages{schema, of(0, 4), of(4, 9)}, 9},
			"a gap":                         {messages{schema, of(0, 4), of(5, 9), last(0, 8)}, 4},
			"an overlap":                    {messages{schema, of(0, 4), of(3, 9), last(0, 9)}, 4},
			"a message twice":               {messages{schema, of(0, 4), of(0, 4), last(0, 8)}, 4},
			"a message twice, moved on":     {messages{schema, of(0, 4), at(of(4, 8), 0), last(0, 8)}, 4},
			"a negative offset":             {messages{schema, at(of(0, 4), -4), last(0, 4)}, 0},
			"more rows than it says":        {messages{schema, of(0, 4), says(of(4, 8), 3), last(0, 7)}, 4},
			"rows where it says none":       {messages{schema, of(0, 4), says(of(4, 8), 0), last(0, 4)}, 4},
			"fewer rows than it says":       {messages{schema, of(0, 4), says(of(4, 8), 5), last(0, 9)}, 4},
			"a number of less than no rows": {messages{schema, of(0, 4), says(of(4, 8), -4), last(0, 8)}, 4},
			"one makes up for another":      {messages{schema, says(of(0, 4), 3), at(says(of(4, 8), 5), 3), last(0, 8)}, 0},
			"a number and no rows":          {messages{schema, nothing, last(0, 4)}, 0},
			"no rows, and then some":        {messages{schema, nothing, of(4, 8), last(0, 8)}, 0},
			"another number sent":           {messages{schema, of(0, 4), otherwise(last(0, 4), func(s *pb.StreamStatistics) { s.RowCount = 5 })}, 4},
			"another number declared":       {messages{schema, of(0, 4), otherwise(last(0, 4), func(s *pb.StreamStatistics) { s.DeclaredRowCount = 5 })}, 4},
			"another number in the stream":  {messages{schema, of(0, 4), otherwise(last(0, 4), func(s *pb.StreamStatistics) { s.StreamRowCount = 5 })}, 4},
			"no numbers":                    {messages{schema, of(0, 4), otherwise(last(0, 4), func(s *pb.StreamStatistics) { *s = pb.StreamStatistics{} })}, 4},
			"rows after the last message":   {messages{schema, of(0, 4), last(0, 4), of(4, 8)}, 4},
			"two last messages":             {messages{schema, of(0, 4), last(0, 4), last(0, 4)}, 4},
			"other columns in mid-way": {messages{schema, of(0, 4), changed(schema, func(m *pb.ReadRowsResponse) { m.GetSchema().Fingerprint = "another" }),
				of(4, 8), last(0, 8)}, 4},
			"other columns of the same fingerprint": {messages{schema, of(0, 4), changed(schema, func(m *pb.ReadRowsResponse) {
				m.GetSchema().Columns = m.GetSchema().GetColumns()[:1]
			}), of(4, 8), last(0, 8)}, 4},
		} {
			got, err := s.read(format, -1, answer{messages: test.messages})
			if !errors.Is(err, client.ErrIncomplete) || errors.Is(err, io.EOF) {
				t.Errorf("%s, %s: it ends with %v", format, name, err)
			}
			wantPrefix(t, got, test.good)
		}
		for name, sent := range map[string]messages{
			"the other format":          {schema, batch(t, other, 0, 4), last(0, 4)},
			"both formats":              {schema, of(0, 4), batch(t, other, 4, 8), last(0, 8)},
			"both formats, one of none": {schema, of(0, 4), batch(t, other, 4, 4), of(4, 8), last(0, 8)},
		} {
			got, err := s.read(format, -1, answer{messages: sent})
			if err == nil || !strings.Contains(err.Error(), "the session is not in the format") {
				t.Errorf("%s, %s: it ends with %v", format, name, err)
			}
			wantPrefix(t, got, 4)
		}
		if format == pb.DataFormat_DATA_FORMAT_ROWS {
			continue
		}
		if _, err := s.read(format, -1, answer{messages: messages{columns(t, other), last(0, 0)}}); err == nil || !strings.Contains(err.Error(), "format ARROW") {
			t.Errorf("columns of the other format: it ends with %v", err)
		}
	}
}

// TestAStreamOfUnusualMessagesIsRead reads from servers that keep the contract, and
// write otherwise than ours does.
func TestAStreamOfUnusualMessagesIsRead(t *testing.T) {
	s := newServer(t)
	for _, format := range formats {
		schema := columns(t, format)
		later := protowire.AppendVarint(protowire.AppendTag(nil, 200, protowire.VarintType), 1)
		unknown := changed(batch(t, format, 4, 8), func(m *pb.ReadRowsResponse) { m.ProtoReflect().SetUnknown(later) })
		within := changed(batch(t, format, 8, 9), func(m *pb.ReadRowsResponse) {
			if m.GetRows() != nil {
				m.GetRows().ProtoReflect().SetUnknown(later)
			} else {
				m.GetArrow().ProtoReflect().SetUnknown(later)
			}
		})
		progress := &pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Progress{Progress: &pb.Progress{}}}
		got, err := s.read(format, -1, answer{messages: []*pb.ReadRowsResponse{
			progress, {}, schema, schema, progress, batch(t, format, 0, 0), batch(t, format, 0, 4), {}, batch(t, format, 4, 4), unknown, within, progress, last(0, 9)}})
		if err != nil || !slices.Equal(got, wantRows(0, 9)) {
			t.Errorf("%s: %d rows, %v", format, len(got), err)
		}
	}
}

// TestAnErrorInMidWayEndsAReadOnce tells the error, or goes on after it.
func TestAnErrorInMidWayEndsAReadOnce(t *testing.T) {
	s := newServer(t)
	for _, format := range formats {
		schema := columns(t, format)
		of := func(from, to int) *pb.ReadRowsResponse { return batch(t, format, from, to) }
		begun := []*pb.ReadRowsResponse{schema, of(0, 4)}
		for name, failure := range map[string]error{
			"an end of a file":            io.EOF,
			"a wrapped end of a file":     fmt.Errorf("read a chunk: %w", io.EOF),
			"an unexpected end of a file": fmt.Errorf("read a chunk: %w", io.ErrUnexpectedEOF),
			"data loss":                   status.Error(codes.DataLoss, "EOF"),
		} {
			for _, messages := range [][]*pb.ReadRowsResponse{begun, append(begun[:2:2], last(0, 4))} {
				got, err := s.read(format, 3, answer{messages: messages, err: failure})
				if code := status.Code(err); err == nil || errors.Is(err, io.EOF) || code != codes.Unknown && code != codes.DataLoss || s.calls != 1 {
					t.Errorf("%s, %s: it ends with %v after %d calls", format, name, err, s.calls)
				}
				wantPrefix(t, got, 4)
			}
		}
		for name, test := range map[string]struct {
			again []*pb.ReadRowsResponse
			whole bool
		}{
			"it goes on":                          {[]*pb.ReadRowsResponse{schema, of(4, 8), last(4, 8)}, true},
			"there is nothing left":               {[]*pb.ReadRowsResponse{schema, last(4, 4)}, true},
			"without the columns":                 {[]*pb.ReadRowsResponse{of(4, 8), last(4, 8)}, true},
			"it begins again":                     {[]*pb.ReadRowsResponse{schema, of(0, 4), of(4, 8), last(0, 8)}, false},
			"its numbers are those of two calls":  {[]*pb.ReadRowsResponse{schema, of(4, 8), last(0, 8)}, false},
			"rows are left out":                   {[]*pb.ReadRowsResponse{schema, of(5, 8), last(5, 8)}, false},
			"it ends at once":                     {nil, false},
			"the first call's last message is it": {[]*pb.ReadRowsResponse{schema}, false},
			"the columns are others": {[]*pb.ReadRowsResponse{changed(schema, func(m *pb.ReadRowsResponse) { m.GetSchema().Columns[0].Name = "m" }),
				of(4, 8), last(4, 8)}, false},
		} {
			first := begun
			if name == "the first call's last message is it" {
				first = append(begun[:2:2], last(0, 4))
			}
			got, err := s.read(format, 1, answer{messages: first, err: gone}, answer{messages: test.again})
			if test.whole != (err == nil) || err != nil && !errors.Is(err, client.ErrIncomplete) || s.calls != 2 {
				t.Errorf("%s, %s: it ends with %v after %d calls", format, name, err, s.calls)
			}
			if test.whole && name != "there is nothing left" && len(got) != 8 {
				t.Errorf("%s, %s: %d rows", format, name, len(got))
			}
			wantPrefix(t, got, 8)
		}
		if got, err := s.read(format, 1, answer{messages: []*pb.ReadRowsResponse{schema}, err: gone}); status.Code(err) != codes.Unavailable || len(got) > 0 || s.calls != 2 {
			t.Errorf("%s: it ends with %v after %d calls", format, err, s.calls)
		}
	}
}

// TestRowsThatAreMalformedFail reads rows that have not a value for each column.
func TestRowsThatAreMalformedFail(t *testing.T) {
	s := newServer(t)
	const format = pb.DataFormat_DATA_FORMAT_ROWS
	for name, change := range map[string]func(*pb.Row){
		"a value is missing": func(r *pb.Row) { r.Values = r.GetValues()[:1] },
		"a value too many":   func(r *pb.Row) { r.Values = append(r.GetValues(), r.GetValues()[0]) },
		"no values":          func(r *pb.Row) { r.Values = nil },
		"a value of no kind": func(r *pb.Row) { r.Values[1] = &pb.Value{} },
		"a value of a late kind": func(r *pb.Row) {
			r.Values[1] = &pb.Value{}
			r.GetValues()[1].ProtoReflect().SetUnknown([]byte{15<<3 | 2, 0})
		},
	} {
		sent := changed(batch(t, format, 0, 4), func(m *pb.ReadRowsResponse) { change(m.GetRows().GetRows()[2]) })
		got, err := s.read(format, -1, answer{messages: []*pb.ReadRowsResponse{columns(t, format), sent, last(0, 4)}})
		if err == nil || !strings.Contains(err.Error(), "read row 2: ") {
			t.Errorf("%s: it ends with %v", name, err)
		}
		wantPrefix(t, got, 2)
	}
}

// TestArrowMessagesThatAreDamagedFail reads damaged messages after a good one. None of
// them makes the reader take much more memory than a message has.
func TestArrowMessagesThatAreDamagedFail(t *testing.T) {
	s := newServer(t)
	const format = pb.DataFormat_DATA_FORMAT_ARROW
	good := batch(t, format, 4, 8).GetArrow().GetIpc()
	compressed := func(option ipc.Option) []byte { return batch(t, format, 4, 8, option).GetArrow().GetIpc() }
	tests := map[string][]byte{
		"no continuation":       replaced(t, good, word(0xFFFFFFFF), word(1)),
		"a huge length":         patched(good, 4, word(1<<32-1)),
		"a length of nothing":   patched(good, 4, word(0)),
		"the mark of the end":   word(0xFFFFFFFF, 0),
		"a huge body":           replaced(t, good, long(bodyLength(good)), long(1<<62)),
		"a body of 1 TB":        replaced(t, good, long(bodyLength(good)), long(1<<40)),
		"a negative body":       replaced(t, good, long(bodyLength(good)), long(-8)),
		"a short body":          replaced(t, good, long(bodyLength(good)), long(8)),
		"a schema":              schemaOf(t, fields),
		"a schema and a batch":  slices.Concat(schemaOf(t, fields), good),
		"a schema of 1 GB":      replaced(t, schemaOf(t, fields), word(2), word(1<<30)),
		"a dictionary":          dictionary(t)[1],
		"a batch of other type": dictionary(t)[2],
		"a batch too many":      slices.Concat(good, good),
		"an empty one after it": slices.Concat(good, word(0)),
		"LZ4 of 1 TB":           patched(compressed(ipc.WithLZ4()), bodyStart(compressed(ipc.WithLZ4())), long(1<<40)),
		"ZSTD of 1 TB":          patched(compressed(ipc.WithZstd()), bodyStart(compressed(ipc.WithZstd())), long(1<<40)),
		"texts out of bounds":   replaced(t, good, word(0, 6, 12, 18, 24), word(0, 6, 12, 18, 1<<30)),
		"texts that overlap":    replaced(t, good, word(0, 6, 12, 18, 24), word(0, 18, 12, 18, 24)),
		"zeroes":                make([]byte, 64),
	}
	for cut := range len(good) {
		tests[fmt.Sprintf("cut at %d", cut)] = good[:cut]
	}
	for name, damaged := range tests {
		sent := &pb.ReadRowsResponse{Offset: 4, Message: &pb.ReadRowsResponse_Arrow{Arrow: &pb.ArrowBatch{Ipc: damaged, RowCount: 4}}}
		var got []string
		var err error
		if took, over := client.Allocates(4<<20, func() {
			got, err = s.read(format, -1, answer{messages: []*pb.ReadRowsResponse{columns(t, format), batch(t, format, 0, 4), sent, last(0, 8)}})
		}); over {
			t.Errorf("%s: %d bytes", name, took)
		}
		if !errors.Is(err, client.ErrIncomplete) || errors.Is(err, io.EOF) {
			t.Errorf("%s: it ends with %v", name, err)
		}
		most := 4
		if name == "an empty one after it" || name == "a batch too many" {
			most = 8
		}
		if len(got) > most {
			t.Errorf("%s: %d rows came", name, len(got))
		}
		wantPrefix(t, got, 8)
	}
	for _, option := range []ipc.Option{ipc.WithLZ4(), ipc.WithZstd()} { // the same without damage
		got, err := s.read(format, -1, answer{messages: []*pb.ReadRowsResponse{columns(t, format), batch(t, format, 0, 4, option), batch(t, format, 4, 8, option), last(0, 8)}})
		if err != nil || !slices.Equal(got, wantRows(0, 8)) {
			t.Errorf("%d rows, %v", len(got), err)
		}
	}
}

// TestColumnsThatAreDamagedFail reads schemas in Arrow that are none.
func TestColumnsThatAreDamagedFail(t *testing.T) {
	s := newServer(t)
	const format = pb.DataFormat_DATA_FORMAT_ARROW
	good := schemaOf(t, fields)
	for name, damaged := range map[string][]byte{
		"cut":          good[:len(good)-8],
		"a huge list":  replaced(t, good, word(2), word(1<<30)),
		"a batch":      batch(t, format, 0, 4).GetArrow().GetIpc(),
		"zeroes":       make([]byte, 64),
		"and rows too": slices.Concat(good, batch(t, format, 0, 4).GetArrow().GetIpc()),
	} {
		schema := changed(columns(t, format), func(m *pb.ReadRowsResponse) { m.GetSchema().ArrowIpc = damaged })
		got, err := s.read(format, -1, answer{messages: []*pb.ReadRowsResponse{schema, last(0, 0)}})
		if !errors.Is(err, client.ErrIncomplete) && (err == nil || !strings.Contains(err.Error(), "read the columns")) || len(got) > 0 {
			t.Errorf("%s: it ends with %v after %d rows", name, err, len(got))
		}
	}
}

func word(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func long(v int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(v)) }

// bodyLength is how long the body of a message is.
func bodyLength(message []byte) int64 {
	return int64(len(message)) - 8 - int64(binary.LittleEndian.Uint32(message[4:]))
}

// bodyStart is where the first buffer that is not empty begins.
func bodyStart(compressed []byte) int { return len(compressed) - int(bodyLength(compressed)) }

func patched(message []byte, at int, with []byte) []byte {
	message = bytes.Clone(message)
	copy(message[at:], with)
	return message
}

// replaced is a message with other bytes in place of the first of their kind.
func replaced(t *testing.T, message, what, with []byte) []byte {
	t.Helper()
	at := bytes.Index(message, what)
	if at < 0 {
		t.Fatalf("there is no %x in %x", what, message)
	}
	return patched(message, at, with)
}

// dictionary is a schema, a dictionary and a batch of it.
func dictionary(t *testing.T) [][]byte {
	t.Helper()
	typ := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "d", Type: typ}}, nil))
	defer b.Release()
	for range 4 {
		if err := b.Field(0).(*array.BinaryDictionaryBuilder).AppendString("x"); err != nil {
			t.Fatal(err)
		}
	}
	return messagesOf(t, b.NewRecordBatch())
}
