package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/selftest"
)

func newSelftestCommand() *cobra.Command {
	c := &client{}
	var workbook string
	var script bool
	cmd := &cobra.Command{
		Use:   "selftest CONNECTION | --script",
		Short: "Find out in a trial organization whether Sigma does what this service assumes",
		Long: "Reads the elements of a workbook that was built by a script, and compares what Sigma really does with what this\n" +
			"service assumes. --script prints the script. The report has counts, types, offsets and codes of findings, and never\n" +
			"a data value. Exits 2 if something is other than assumed, and 1 if a probe could not be read.",
		Example: "  sigmasource selftest --script\n  sigmasource selftest workspaces/acme/connections/trial -o json",
		Args: func(_ *cobra.Command, args []string) error {
			if script != (len(args) == 0) || len(args) > 1 {
				return errors.New("want the name of a connection, or --script")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if script {
				return selftest.WriteScript(cmd.OutOrStdout(), workbook)
			}
			return c.withConn(func(conn *grpc.ClientConn) error {
				report, err := selftest.Run(cmd.Context(), selftestAPI(conn), args[0], workbook)
				if err != nil {
					return err
				}
				if err := c.printReport(cmd.OutOrStdout(), report); err != nil {
					return err
				}
				return reportError(report)
			})
		},
	}
	c.register(cmd)
	cmd.Flags().StringVar(&workbook, "workbook", selftest.Workbook, "the name of the script's workbook")
	cmd.Flags().BoolVar(&script, "script", false, "print what to build in Sigma and in the warehouse")
	return cmd
}

func selftestAPI(conn *grpc.ClientConn) *selftest.API {
	return &selftest.API{
		Connections: pb.NewSigmaConnectionsClient(conn),
		Catalog:     pb.NewModelCatalogClient(conn),
		Query:       pb.NewModelQueryClient(conn),
		Preview: func(ctx context.Context, request *pb.PreviewModelRequest) (*selftest.Rows, error) {
			var rows keptRows
			statistics, err := readPreview(ctx, conn, request, &rows)
			if err != nil {
				return nil, err
			}
			return &selftest.Rows{Columns: rows.columns, Values: rows.values, Findings: statistics.GetFindings()}, nil
		},
		CountRows: func(ctx context.Context, model string) (int64, error) { return countRows(ctx, conn, model) },
		Now:       now,
	}
}

// keptRows keeps the rows of a small model.
type keptRows struct {
	columns []*pb.SchemaColumn
	values  [][]*pb.Value
}

func (k *keptRows) Columns(columns []*pb.SchemaColumn) error {
	k.columns = columns
	return nil
}

func (k *keptRows) Row(values []*pb.Value) error {
	k.values = append(k.values, values)
	return nil
}

func (k *keptRows) End() error { return nil }

// countRows reads a model in a read session and returns the number of its rows.
func countRows(ctx context.Context, conn *grpc.ClientConn, model string) (n int64, err error) {
	query := pb.NewModelQueryClient(conn)
	created, err := query.CreateReadSession(ctx, &pb.CreateReadSessionRequest{Name: model, Format: pb.DataFormat_DATA_FORMAT_ROWS})
	if err != nil {
		return 0, err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		_, deleteErr := query.DeleteReadSession(ending, &pb.DeleteReadSessionRequest{Name: created.GetSession().GetName()})
		err = errors.Join(err, deleteErr)
	}()
	for _, stream := range created.GetSession().GetStreams() {
		statistics, err := copyRows(ctx, conn, stream.GetName(), discard{})
		if err != nil {
			return 0, err
		}
		n += statistics.GetStreamRowCount()
	}
	return n, nil
}

// discard takes rows and keeps none.
type discard struct{}

func (discard) Columns([]*pb.SchemaColumn) error { return nil }
func (discard) Row([]*pb.Value) error            { return nil }
func (discard) End() error                       { return nil }

func (c *client) printReport(w io.Writer, report *selftest.Report) error {
	if c.output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(report)
	}
	fmt.Fprintf(w, "%s, workbook %q, as the scan of %s found it\n", report.Connection, report.Workbook, report.ScanTime.UTC().Format(time.RFC3339))
	element := "-"
	for _, line := range report.Probes {
		if line.Element != element {
			element = line.Element
			fmt.Fprintf(w, "\n%s\n", elementTitle(element))
		}
		fmt.Fprintf(w, "  %-18s  %s: %s\n", line.Verdict, line.Probe, line.Question)
		fmt.Fprintf(w, "  %18s  assumed: %s\n", "", line.Assumed)
		if line.Seen != "" {
			fmt.Fprintf(w, "  %18s  seen:    %s\n", "", line.Seen)
		}
		if line.Reason != "" {
			fmt.Fprintf(w, "  %18s  reason:  %s\n", "", line.Reason)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d as assumed, %d other than assumed, %d not built, %d could not be read\n",
		report.Count(selftest.AsAssumed), report.Count(selftest.Other), report.Count(selftest.NotBuilt), report.Count(selftest.NotRead))
	return err
}

func elementTitle(element string) string {
	if element == "" {
		return "The connection"
	}
	return fmt.Sprintf("Element %q", element)
}

// reportError is how the command ends.
func reportError(report *selftest.Report) error {
	if n := report.Count(selftest.Other); n > 0 {
		return exitError{code: 2, text: fmt.Sprintf("%d probes are other than assumed", n)}
	}
	if n := report.Count(selftest.NotRead); n > 0 {
		return exitError{code: 1, text: fmt.Sprintf("%d probes could not be read", n)}
	}
	return nil
}
