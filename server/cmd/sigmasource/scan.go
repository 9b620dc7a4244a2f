package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newScanCommand() *cobra.Command {
	c := &client{}
	var full bool
	cmd := &cobra.Command{
		Use:   "scan CONNECTION",
		Short: "Scan a connection for models and follow the progress; exits 2 if the scan fails",
		Long: "Starts a scan, or joins the one that runs, and follows it to its end.\n" +
			"CONNECTION is workspaces/WORKSPACE/connections/ID. Interrupting stops following, not the scan: see `scans cancel`.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				started, err := pb.NewModelCatalogClient(conn).StartScan(cmd.Context(), &pb.StartScanRequest{Parent: args[0], Full: full})
				if err != nil {
					return err
				}
				scan, err := followScan(cmd.Context(), conn, started.GetScan().GetName(), cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				if c.output == "json" {
					err = printMessage(cmd.OutOrStdout(), scan)
				} else {
					printScan(cmd.OutOrStdout(), scan)
				}
				if err == nil && scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
					err = exitError{code: 2, text: "the scan did not succeed"}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "read every workbook, changed or not")
	c.register(cmd)
	return cmd
}

// followScan shows a scan's progress on w, as a bar where w is a terminal. It returns
// the scan as it ended.
func followScan(ctx context.Context, conn *grpc.ClientConn, name string, w io.Writer) (*pb.Scan, error) {
	stream, err := pb.NewModelCatalogClient(conn).WatchScan(ctx, &pb.WatchScanRequest{Name: name})
	if err != nil {
		return nil, err
	}
	show, finish := scanProgress(w)
	defer finish()
	var last *pb.Scan
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if last.GetEndTime() == nil {
				return nil, errors.New("the server stopped telling before the scan was over; run the command again to go on following it")
			}
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = response.GetScan()
		show(last)
	}
}

func scanProgress(w io.Writer) (show func(*pb.Scan), finish func()) {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return func(*pb.Scan) {}, func() {}
	}
	bar := progressbar.NewOptions(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)
	show = func(scan *pb.Scan) {
		if total := int(scan.GetWorkbooksTotal()); total > 0 && total != bar.GetMax() {
			bar.ChangeMax(total)
		}
		left := ""
		if scan.GetRemainingTime() != nil {
			left = fmt.Sprintf(", about %s left", scan.GetRemainingTime().AsDuration().Round(time.Second))
		}
		bar.Describe(fmt.Sprintf("%s, %d models%s", enumName(scan.GetPhase().String(), "SCAN_PHASE_"), scan.GetModelsFound(), left))
		// A bar that cannot be drawn is not worth failing a scan for.
		_ = bar.Set(int(scan.GetWorkbooksDone()))
	}
	return show, func() { _ = bar.Finish() }
}

func printScan(w io.Writer, scan *pb.Scan) {
	fmt.Fprintf(w, "scan %s in %s: %d workbooks, %d models (%d of them cannot be read as they are), %d other elements\n",
		enumName(scan.GetState().String(), "SCAN_STATE_"),
		scan.GetEndTime().AsTime().Sub(scan.GetCreateTime().AsTime()).Round(time.Millisecond),
		scan.GetWorkbooksDone(), scan.GetModelsFound(), scan.GetModelsUnreadable(), scan.GetElementsSkipped())
	fmt.Fprintf(w, "  %d calls to Sigma; %d workbooks had not changed; models: %d added, %d changed, %d removed, %d failed\n",
		scan.GetCalls(), scan.GetWorkbooksUnchanged(), scan.GetModelsAdded(), scan.GetModelsChanged(), scan.GetModelsRemoved(), scan.GetModelsFailed())
	if incomplete := scan.GetWorkbooksIncomplete(); incomplete > 0 {
		fmt.Fprintf(w, "  %d workbooks were read without calls that Sigma refuses (below); later scans make the calls again\n", incomplete)
	}
	for _, gap := range scan.GetListGaps() {
		fmt.Fprintf(w, "  %s: the list of %s is incomplete: %d entries of %d declared, %d without an id; nothing was removed because of it\n",
			gap.GetResource(), gap.GetList(), gap.GetReceivedCount(), gap.GetDeclaredCount(), gap.GetUnreadableCount())
	}
	if scan.GetError() != nil {
		fmt.Fprintf(w, "  %s\n", scan.GetError().GetMessage())
	}
	for _, problem := range scan.GetProblems() {
		fmt.Fprintf(w, "  %s: %s\n", problem.GetResource(), problem.GetMessage())
	}
}
