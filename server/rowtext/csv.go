package rowtext

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// CSVHelp describes the output of CSV to its readers.
const CSVHelp = `CSV (RFC 4180, lines end with LF) has a line of column names first. A null is an empty field without quotes, an
empty text is "". A single column would make of a null a blank line, which readers skip: there a null is \N without
quotes, and the text \N is in quotes. --null writes another text for nulls, for readers that do not tell quoted
fields from others. ` + instantHelp

// singleColumnNull is a null in the only column of a CSV output, by default.
const singleColumnNull = `\N`

// CSV writes CSV. A null is the text null without quotes; a value that is the
// same text is in quotes.
type CSV struct {
	w     io.Writer
	null  string // empty: the default
	line  bytes.Buffer
	zones Zones
}

// NewCSV returns a sink that writes to w. Null is the text for nulls, which CheckNull
// must accept; empty is the default.
func NewCSV(w io.Writer, null string) *CSV { return &CSV{w: w, null: null} }

// CheckNull returns an error of the flag --null unless a text can stand for nulls without quotes.
func CheckNull(null string) error {
	if needsQuotes(null) {
		return fmt.Errorf("--null %q: want a text without quotes, commas and line breaks that does not begin or end with a space", null)
	}
	if !utf8.ValidString(null) {
		return errors.New("--null: want a text in UTF-8")
	}
	return nil
}

// Columns implements Sink.
func (s *CSV) Columns(columns []*pb.SchemaColumn) (err error) {
	if s.zones, err = ZonesOf(columns); err != nil {
		return err
	}
	if len(columns) == 1 && s.null == "" {
		s.null = singleColumnNull
	}
	s.line.Reset()
	for i, name := range UniqueNames(columns) {
		s.separate(i)
		s.field(name)
	}
	return s.endLine()
}

// Row implements Sink.
func (s *CSV) Row(values []*pb.Value) error {
	s.line.Reset()
	for i, value := range values {
		s.separate(i)
		if _, null := value.GetKind().(*pb.Value_NullValue); null {
			s.line.WriteString(s.null)
		} else {
			s.field(plainText(value, s.zones[i]))
		}
	}
	return s.endLine()
}

// End implements Sink.
func (s *CSV) End() error { return nil }

func (s *CSV) separate(i int) {
	if i > 0 {
		s.line.WriteByte(',')
	}
}

// field writes a value, in quotes where it would be read as something else.
func (s *CSV) field(text string) {
	if text != "" && text != s.null && !needsQuotes(text) {
		s.line.WriteString(text)
		return
	}
	s.line.WriteByte('"')
	s.line.WriteString(strings.ReplaceAll(text, `"`, `""`))
	s.line.WriteByte('"')
}

func (s *CSV) endLine() error {
	s.line.WriteByte('\n')
	_, err := s.w.Write(s.line.Bytes())
	return err
}

// byteOrderMark is removed by many readers at the beginning of a file.
const byteOrderMark = "\uFEFF"

// needsQuotes reports whether some reader takes a field without quotes for another
// text, or for none: PostgreSQL ends its input at a line `\.`.
func needsQuotes(text string) bool {
	return strings.ContainsAny(text, "\",\r\n") || strings.TrimFunc(text, unicode.IsSpace) != text ||
		strings.HasPrefix(text, byteOrderMark) || text == `\.`
}

// plainText is a value of a column of a time zone as text without loss. A null is no
// value.
func plainText(value *pb.Value, in *time.Location) string {
	switch v := value.GetKind().(type) {
	case *pb.Value_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *pb.Value_Int64Value:
		return strconv.FormatInt(v.Int64Value, 10)
	case *pb.Value_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *pb.Value_DecimalValue:
		return v.DecimalValue
	case *pb.Value_StringValue:
		return v.StringValue
	case *pb.Value_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *pb.Value_DateValue:
		return v.DateValue
	case *pb.Value_TimeValue:
		return v.TimeValue
	case *pb.Value_DatetimeValue:
		return v.DatetimeValue
	case *pb.Value_TimestampValue:
		return zone.Format(v.TimestampValue.AsTime().In(in))
	case *pb.Value_JsonValue:
		return v.JsonValue
	}
	return ""
}
