package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/rowtext"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

func newPreviewCommand() *cobra.Command {
	c := &client{}
	var rows int32
	var maxTime time.Duration
	var policy readPolicy
	cmd := &cobra.Command{
		Use:   "preview MODEL",
		Short: "Show the first rows of a model",
		Long: "Shows the first rows of a model, as a table or, with -o json, as JSON lines. The table shortens long values.\n" +
			"Fails if the rows are not proven to be complete. Interrupting cancels the query in the warehouse.\n\n" + rowtext.JSONHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			codes, limits, err := policy.parse()
			if err != nil {
				return err
			}
			request := &pb.PreviewModelRequest{Name: args[0], RowLimit: rows, Columns: policy.columns, RefuseFindings: codes, LimitPolicy: limits, BookmarkId: policy.bookmark}
			if maxTime != 0 {
				request.MaxWarehouseTime = durationpb.New(maxTime)
			}
			return c.withConn(func(conn *grpc.ClientConn) error {
				return c.preview(cmd.Context(), conn, request, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	c.register(cmd)
	cmd.Flags().Int32Var(&rows, "rows", 100, "the maximum number of rows")
	cmd.Flags().DurationVar(&maxTime, "max-warehouse-time", 0, "the maximum time of the warehouse, such as 5m (default: no maximum)")
	policy.register(cmd)
	return cmd
}

func (c *client) preview(ctx context.Context, conn *grpc.ClientConn, request *pb.PreviewModelRequest, out, messages io.Writer) error {
	var sink rowtext.Sink = &tableSink{w: out}
	if c.output == "json" {
		sink = rowtext.NewJSON(out)
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

// readPreview passes the rows of a preview to sink and returns the statistics.
// It fails on every stream that is not proven complete.
func readPreview(ctx context.Context, conn *grpc.ClientConn, request *pb.PreviewModelRequest, sink rowtext.Sink) (*pb.Statistics, error) {
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
			if err := sink.Columns(schema.GetColumns()); err != nil {
				return nil, err
			}
		}
		for _, row := range response.GetRows().GetRows() {
			if err := sink.Row(row.GetValues()); err != nil {
				return nil, err
			}
		}
	}
	statistics, err := came.whole()
	if err != nil {
		return nil, err
	}
	return statistics, sink.End()
}

// tableSink prints a table once all rows are there: only then its widths are
// known.
type tableSink struct {
	w      io.Writer
	zones  rowtext.Zones
	header table.Row
	rows   []table.Row
}

func (s *tableSink) Columns(columns []*pb.SchemaColumn) (err error) {
	if s.zones, err = rowtext.ZonesOf(columns); err != nil {
		return err
	}
	for _, name := range rowtext.UniqueNames(columns) {
		s.header = append(s.header, oneLine(name))
	}
	return nil
}

func (s *tableSink) Row(values []*pb.Value) error {
	row := make(table.Row, len(values))
	for i, value := range values {
		row[i] = cellText(value, s.zones[i])
	}
	s.rows = append(s.rows, row)
	return nil
}

func (s *tableSink) End() error {
	printTable(s.w, s.header, s.rows)
	return nil
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
		text = string(rowtext.JSONText(value, in))
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

func printFindings(w io.Writer, findings []*pb.Finding) {
	for _, finding := range findings {
		fmt.Fprintf(w, "%s: %s\n", enumName(finding.GetSeverity().String(), "FINDING_SEVERITY_"), finding.GetMessage())
	}
}
