package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newChangesCommand() *cobra.Command {
	c := &client{}
	var after int64
	var cursor string
	var follow bool
	cmd := &cobra.Command{
		Use:   "changes CONNECTION",
		Short: "Print what scans have changed in a connection's catalog, each change once, in order",
		Long: "Prints the changes of a connection's catalog. Each line begins with the change's sequence. At its end the command\n" +
			"prints the cursor to go on from on standard error, also after an interrupt or a failure; with -o json each change\n" +
			"has its own cursor. The next call with that --cursor prints the changes that follow. It fails if the connection was\n" +
			"created anew, if the store was restored from a backup, or if changes after the cursor are no longer stored: list\n" +
			"the models anew then, and go on from the newest_cursor of the error. --after takes a sequence instead of a cursor,\n" +
			"and detects less.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				feed := &changeFeed{
					catalog: pb.NewModelCatalogClient(conn), connection: args[0], after: after, cursor: cursor,
					show: func(changes []*pb.Change) error { return c.printChanges(cmd.OutOrStdout(), changes) },
				}
				err := feed.list(cmd.Context())
				if err == nil && follow {
					err = feed.watch(cmd.Context())
				}
				if feed.accepted && status.Code(err) != codes.OutOfRange {
					fmt.Fprintf(cmd.ErrOrStderr(), "to go on: --cursor %s\n", feed.cursor)
				}
				if follow && cmd.Context().Err() != nil {
					return nil // an interrupt is how --follow ends
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&cursor, "cursor", "", "only the changes after this cursor, which an earlier call has printed")
	cmd.Flags().Int64Var(&after, "after", 0, "only the changes after this sequence")
	cmd.MarkFlagsMutuallyExclusive("cursor", "after")
	cmd.Flags().BoolVar(&follow, "follow", false, "wait for further changes until interrupted")
	c.register(cmd)
	return cmd
}

// changeFeed reads the changes of a connection in order.
type changeFeed struct {
	catalog    pb.ModelCatalogClient
	connection string
	after      int64  // the sequence of the last change that was shown
	cursor     string // the position after it
	accepted   bool   // the server has returned the cursor; one of an earlier version returns none
	show       func([]*pb.Change) error
}

// list shows the changes that are there.
func (f *changeFeed) list(ctx context.Context) error {
	for {
		response, err := f.catalog.ListChanges(ctx, &pb.ListChangesRequest{Parent: f.connection, AfterSequence: f.after, Cursor: f.cursor, PageSize: 1000})
		if err != nil {
			return err
		}
		if err := f.advance(response.GetChanges(), response.GetNextCursor()); err != nil {
			return err
		}
		if len(response.GetChanges()) == 0 {
			return nil
		}
	}
}

// watch shows the changes after the cursor as they come, until the context ends.
func (f *changeFeed) watch(ctx context.Context) error {
	stream, err := f.catalog.WatchChanges(ctx, &pb.WatchChangesRequest{Parent: f.connection, AfterSequence: f.after, Cursor: f.cursor})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := f.advance(response.GetChanges(), response.GetNextCursor()); err != nil {
			return err
		}
	}
}

// advance shows changes and moves the cursor behind them.
func (f *changeFeed) advance(changes []*pb.Change, next string) error {
	if err := f.show(changes); err != nil {
		return err
	}
	if n := len(changes); n > 0 {
		f.after = changes[n-1].GetSequence()
	}
	f.cursor, f.accepted = next, next != ""
	return nil
}

func (c *client) printChanges(w io.Writer, changes []*pb.Change) error {
	for _, change := range changes {
		if c.output == "json" {
			if err := printMessage(w, change); err != nil {
				return err
			}
			continue
		}
		text := fmt.Sprintf("%d %s %s %s", change.GetSequence(), change.GetTime().AsTime().Format(time.RFC3339),
			enumName(change.GetKind().String(), "CHANGE_KIND_"), change.GetResource())
		if change.GetFrom() != "" || change.GetTo() != "" {
			text += fmt.Sprintf(" %q -> %q", change.GetFrom(), change.GetTo())
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}
