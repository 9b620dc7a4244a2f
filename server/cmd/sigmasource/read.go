package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	reading "github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/rowtext"
)

func newReadCommand() *cobra.Command {
	c := &client{}
	var policy readPolicy
	request := &pb.CreateReadSessionRequest{}
	var maxTime time.Duration
	cmd := &cobra.Command{
		Use:   "read MODEL",
		Short: "Read all rows of a model",
		Long: "Reads all rows of a model in a read session: as JSON lines, as CSV, or as an Arrow IPC stream. Fails if the rows\n" +
			"are not proven to be complete. What was written until then is not the whole model.\n\n" + rowtext.JSONHelp + "\n\n" + rowtext.CSVHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			codes, limits, err := policy.parse()
			if err != nil {
				return err
			}
			request.Name, request.Columns, request.BookmarkId = args[0], policy.columns, policy.bookmark
			request.RefuseFindings, request.LimitPolicy = codes, limits
			if maxTime != 0 {
				request.MaxWarehouseTime = durationpb.New(maxTime)
			}
			return c.withConn(func(conn *grpc.ClientConn) error {
				return c.read(cmd.Context(), conn, request, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	c.register(cmd)
	policy.register(cmd)
	cmd.Flags().StringArrayVar(&request.KeyColumns, "key", nil, "a column of the key, by id or label, which must be unique and never null; repeatable")
	cmd.Flags().BoolVar(&request.AllowEmpty, "allow-empty", false, "accept an empty result where the last complete read had rows")
	cmd.Flags().Int64Var(&request.ExpectedMinRows, "min-rows", 0, "the minimum count of rows; a smaller result fails")
	cmd.Flags().BoolVar(&request.DistinctGroup, "distinct-group", false, "read the distinct rows of the group's columns, for a model with the finding GRAIN_REPEATED")
	cmd.Flags().DurationVar(&maxTime, "max-warehouse-time", 0, "the maximum time of the warehouse, such as 5m (default: no maximum)")
	cmd.Flags().StringVar(&c.null, "null", "", "the text for nulls in CSV (default: an empty field, see above)")
	output := cmd.PersistentFlags().Lookup("output")
	output.Usage, output.DefValue = "json, csv or arrow", "json"
	c.output = "json"
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		c.token = os.Getenv("SIGMASOURCE_TOKEN")
		switch c.output {
		case "json", "csv", "arrow":
		default:
			return fmt.Errorf("-o %s: want json, csv or arrow", c.output)
		}
		if c.null != "" && c.output != "csv" {
			return fmt.Errorf("--null: -o %s has nulls of its own; want -o csv", c.output)
		}
		return rowtext.CheckNull(c.null)
	}
	return cmd
}

func (c *client) read(ctx context.Context, conn *grpc.ClientConn, request *pb.CreateReadSessionRequest, out, messages io.Writer) (err error) {
	request.Format = pb.DataFormat_DATA_FORMAT_ROWS
	if c.output == "arrow" {
		request.Format = pb.DataFormat_DATA_FORMAT_ARROW
	}
	query := pb.NewModelQueryClient(conn)
	created, err := query.CreateReadSession(ctx, request)
	if err != nil {
		return err
	}
	session, begun := created.GetSession(), time.Now()
	defer func() {
		// Also where the read was interrupted.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		_, deleteErr := query.DeleteReadSession(ending, &pb.DeleteReadSessionRequest{Name: session.GetName()})
		err = errors.Join(err, deleteErr)
	}()
	printFindings(messages, session.GetFindings())
	buffered := bufio.NewWriterSize(out, 1<<20)
	stream := session.GetStreams()[0].GetName()
	var statistics *pb.StreamStatistics
	if c.output == "arrow" {
		statistics, err = copyArrow(ctx, conn, stream, buffered)
	} else {
		statistics, err = copyRows(ctx, conn, stream, c.rowSink(buffered))
	}
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return err
	}
	printFindings(messages, newFindings(session.GetFindings(), statistics.GetFindings()))
	// The statistics are those of the last call, and it may have gone on after a fault.
	fmt.Fprintf(messages, "%d rows in %s\n", statistics.GetStreamRowCount(), time.Since(begun).Round(100*time.Microsecond))
	return nil
}

func (c *client) rowSink(out io.Writer) rowtext.Sink {
	if c.output == "csv" {
		return rowtext.NewCSV(out, c.null)
	}
	return rowtext.NewJSON(out)
}

func copyArrow(ctx context.Context, conn *grpc.ClientConn, stream string, out io.Writer) (*pb.StreamStatistics, error) {
	reader, err := reading.Read(ctx, conn, stream, reading.Options{})
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	w := ipc.NewWriter(out, ipc.WithSchema(reader.Schema()))
	for reader.Next() {
		if err := w.Write(reader.RecordBatch()); err != nil {
			return nil, err
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err // and no end of the stream
	}
	return reader.Statistics(), w.Close()
}

func copyRows(ctx context.Context, conn *grpc.ClientConn, stream string, sink rowtext.Sink) (*pb.StreamStatistics, error) {
	rows, err := reading.ReadRows(ctx, conn, stream, reading.Options{})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if err := sink.Columns(rows.Columns().GetColumns()); err != nil {
		return nil, err
	}
	row := make([]*pb.Value, len(rows.Columns().GetColumns()))
	for rows.Next() {
		for i, value := range rows.Values() {
			row[i] = value.Proto()
		}
		if err := sink.Row(row); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return rows.Statistics(), sink.End()
}

// newFindings returns the findings that are not among those of before.
func newFindings(before, now []*pb.Finding) []*pb.Finding {
	return slices.DeleteFunc(slices.Clone(now), func(f *pb.Finding) bool {
		return slices.ContainsFunc(before, func(b *pb.Finding) bool { return b.GetCode() == f.GetCode() })
	})
}
