package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

func newPreviewCommand() *cobra.Command {
	c := &client{}
	var rows int32
	var policy readPolicy
	cmd := &cobra.Command{
		Use:   "preview MODEL",
		Short: "Show the first rows of a model",
		Long: "Shows the first rows of a model, as a table or, with -o json, as JSON lines. The table shortens long values.\n" +
			"Fails if the rows are not proven to be complete. Interrupting cancels the query in the warehouse.\n\n" + jsonHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			codes, limits, err := policy.parse()
			if err != nil {
				return err
			}
			request := &pb.PreviewModelRequest{Name: args[0], RowLimit: rows, Columns: policy.columns, RefuseFindings: codes, LimitPolicy: limits}
			return c.withConn(func(conn *grpc.ClientConn) error {
				return c.preview(cmd.Context(), conn, request, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	c.register(cmd)
	cmd.Flags().Int32Var(&rows, "rows", 100, "the maximum number of rows")
	policy.register(cmd)
	return cmd
}

func (c *client) preview(ctx context.Context, conn *grpc.ClientConn, request *pb.PreviewModelRequest, out, messages io.Writer) error {
	var sink rowSink = &tableSink{w: out}
	if c.output == "json" {
		sink = &jsonSink{w: out}
	}
	statistics, err := readPreview(ctx, conn, request, sink)
	if err != nil {
		return err
	}
	printFindings(messages, statistics.GetFindings())
	fmt.Fprintf(messages, "%d rows in %s (Sigma %s, warehouse %s), %s, query %s\n",
		statistics.GetRowCount(),
		statistics.GetTotalTime().AsDuration().Round(100*time.Microsecond),
		statistics.GetSigmaTime().AsDuration().Round(100*time.Microsecond),
		statistics.GetWarehouseTime().AsDuration().Round(100*time.Microsecond),
		proofText(statistics),
		statistics.GetQueryId())
	return nil
}

// rowSink takes what a preview brings.
type rowSink interface {
	columns([]*pb.SchemaColumn) error
	row([]*pb.Value) error
	end() error
}

// readPreview passes the rows of a preview to sink and returns the statistics.
// It fails on every stream that is not proven complete.
func readPreview(ctx context.Context, conn *grpc.ClientConn, request *pb.PreviewModelRequest, sink rowSink) (*pb.Statistics, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewModelQueryClient(conn).PreviewModel(ctx, request)
	if err != nil {
		return nil, err
	}
	var came receipt
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := came.take(response); err != nil {
			return nil, err
		}
		if schema := response.GetSchema(); schema != nil {
			if err := sink.columns(schema.GetColumns()); err != nil {
				return nil, err
			}
		}
		for _, row := range response.GetRows().GetRows() {
			if err := sink.row(row.GetValues()); err != nil {
				return nil, err
			}
		}
	}
	statistics, err := came.whole()
	if err != nil {
		return nil, err
	}
	return statistics, sink.end()
}

// tableSink prints a table once all rows are there: only then its widths are
// known.
type tableSink struct {
	w      io.Writer
	zones  zones
	header table.Row
	rows   []table.Row
}

func (s *tableSink) columns(columns []*pb.SchemaColumn) (err error) {
	if s.zones, err = zonesOf(columns); err != nil {
		return err
	}
	for _, name := range uniqueNames(columns) {
		s.header = append(s.header, oneLine(name))
	}
	return nil
}

func (s *tableSink) row(values []*pb.Value) error {
	row := make(table.Row, len(values))
	for i, value := range values {
		row[i] = cellText(value, s.zones[i])
	}
	s.rows = append(s.rows, row)
	return nil
}

func (s *tableSink) end() error {
	printTable(s.w, s.header, s.rows)
	return nil
}

// zones are the time zones of columns.
type zones []*time.Location

// zonesOf returns the time zones of columns, which is UTC where they name none.
func zonesOf(columns []*pb.SchemaColumn) (zones, error) {
	of := make(zones, len(columns))
	for i, column := range columns {
		of[i] = time.UTC
		if column.GetTimeZone() == "" {
			continue
		}
		var err error
		if of[i], err = zone.Load(column.GetTimeZone()); err != nil {
			return nil, fmt.Errorf("column %q: %w", column.GetName(), err)
		}
	}
	return of, nil
}

// cellText is a value of a column of a time zone on one line of a table, shortened to
// what fits.
func cellText(value *pb.Value, in *time.Location) string {
	const most = 60
	var text string
	switch v := value.GetKind().(type) {
	case *pb.Value_StringValue:
		text = v.StringValue
	case *pb.Value_NullValue:
		return "∅"
	case *pb.Value_BytesValue:
		text = "0x" + fmt.Sprintf("%x", v.BytesValue)
	case *pb.Value_TimestampValue:
		text = zone.Format(v.TimestampValue.AsTime().In(in))
	default:
		text = string(jsonText(value, in))
		text = strings.Trim(text, `"`)
		if j, ok := v.(*pb.Value_JsonValue); ok {
			text = j.JsonValue
		}
	}
	text = oneLine(text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// oneLine shows control characters, such as line breaks, as a dot.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, text)
}

// uniqueNames returns the columns' names, no two of them equal: the second column of
// a name gets the suffix ` (2)`, the third ` (3)`, and so on. A suffix that makes the
// name of another column is passed over.
func uniqueNames(columns []*pb.SchemaColumn) []string {
	taken := map[string]bool{}
	for _, column := range columns {
		taken[column.GetName()] = true
	}
	names := make([]string, len(columns))
	suffix := map[string]int{} // to try next, by name
	for i, column := range columns {
		name := column.GetName()
		names[i] = name
		if suffix[name] == 0 { // the first of the name
			suffix[name] = 2
			continue
		}
		for taken[names[i]] {
			names[i] = fmt.Sprintf("%s (%d)", name, suffix[name])
			suffix[name]++
		}
		taken[names[i]] = true
	}
	return names
}

// jsonHelp describes the output of jsonSink to its readers.
const jsonHelp = `JSON lines have one object for each row, its keys in the order of the columns. Of columns of the same name the
second has the key "NAME (2)", the third "NAME (3)". Integers and floating-point numbers are JSON numbers with all
their digits, also beyond 2^53; decimals are texts; NaN and the infinities are the texts "NaN", "+Inf" and "-Inf";
bytes are base64; what the warehouse has as JSON is JSON. ` + instantHelp

// instantHelp describes how instants are written.
const instantHelp = `Instants have the offset of their column's time zone, such as
2026-03-01T00:00:00+01:00.`

// jsonSink prints one object a line, its keys in the columns' order.
type jsonSink struct {
	w     io.Writer
	zones zones
	keys  [][]byte
}

func (s *jsonSink) columns(columns []*pb.SchemaColumn) (err error) {
	if s.zones, err = zonesOf(columns); err != nil {
		return err
	}
	for _, name := range uniqueNames(columns) {
		s.keys = append(s.keys, quote(name))
	}
	return nil
}

func (s *jsonSink) row(values []*pb.Value) error {
	var line bytes.Buffer
	line.WriteByte('{')
	for i, value := range values {
		if i > 0 {
			line.WriteByte(',')
		}
		line.Write(s.keys[i])
		line.WriteByte(':')
		line.Write(jsonText(value, s.zones[i]))
	}
	line.WriteString("}\n")
	_, err := s.w.Write(line.Bytes())
	return err
}

func (s *jsonSink) end() error { return nil }

// jsonText is a value of a column of a time zone as JSON without loss: integers as
// numbers with all their digits, decimals as text.
func jsonText(value *pb.Value, in *time.Location) []byte {
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

func printFindings(w io.Writer, findings []*pb.Finding) {
	for _, finding := range findings {
		fmt.Fprintf(w, "%s: %s\n", enumName(finding.GetSeverity().String(), "FINDING_SEVERITY_"), finding.GetMessage())
	}
}
