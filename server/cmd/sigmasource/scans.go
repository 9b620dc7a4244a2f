package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newScansCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "scans",
		Short: "Show and cancel scans",
	}
	c.register(cmd)
	cmd.AddCommand(c.newScansList(), c.newScansCancel())
	return cmd
}

func (c *client) newScansList() *cobra.Command {
	var most int32
	cmd := &cobra.Command{
		Use:   "list CONNECTION",
		Short: "List a connection's scans, the newest first, with what they changed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewModelCatalogClient(conn).ListScans(cmd.Context(), &pb.ListScansRequest{Parent: args[0], PageSize: most})
				if err != nil {
					return err
				}
				if c.output == "json" {
					for _, scan := range response.GetScans() {
						if err := printMessage(cmd.OutOrStdout(), scan); err != nil {
							return err
						}
					}
					return nil
				}
				return printScans(cmd.OutOrStdout(), response.GetScans())
			})
		},
	}
	cmd.Flags().Int32Var(&most, "most", 20, "how many to list")
	return cmd
}

func printScans(w io.Writer, scans []*pb.Scan) error {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"scan", "begun", "because of", "state", "workbooks", "unchanged", "added", "changed", "removed", "failed", "incomplete"})
	for _, scan := range scans {
		t.AppendRow(table.Row{
			scan.GetName(), scan.GetCreateTime().AsTime().Format(time.RFC3339), enumName(scan.GetTrigger().String(), "SCAN_TRIGGER_"),
			enumName(scan.GetState().String(), "SCAN_STATE_"), scan.GetWorkbooksDone(), scan.GetWorkbooksUnchanged(),
			scan.GetModelsAdded(), scan.GetModelsChanged(), scan.GetModelsRemoved(), scan.GetModelsFailed(), int(scan.GetWorkbooksIncomplete()) + len(scan.GetListGaps()),
		})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}

func (c *client) newScansCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel SCAN",
		Short: "End a scan that runs; the catalog keeps what it had done",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewModelCatalogClient(conn).CancelScan(cmd.Context(), &pb.CancelScanRequest{Name: args[0]})
				if err != nil {
					return err
				}
				if c.output == "json" {
					return printMessage(cmd.OutOrStdout(), response.GetScan())
				}
				printScan(cmd.OutOrStdout(), response.GetScan())
				return nil
			})
		},
	}
}
