package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newChangesCommand() *cobra.Command {
	c := &client{}
	var after int64
	var follow bool
	cmd := &cobra.Command{
		Use:   "changes CONNECTION",
		Short: "Tell what scans have changed in a connection's catalog, each change once, in order",
		Long: "Each line begins with the change's sequence: give the last one that you have dealt with as --after, and none is\n" +
			"missed. With --follow it goes on until it is interrupted.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				show := func(changes []*pb.Change) error { return c.printChanges(cmd.OutOrStdout(), changes) }
				if follow {
					return watchChanges(cmd.Context(), conn, args[0], after, show)
				}
				return listChanges(cmd.Context(), conn, args[0], after, show)
			})
		},
	}
	cmd.Flags().Int64Var(&after, "after", 0, "only those after this sequence")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on as further ones come")
	c.register(cmd)
	return cmd
}

func listChanges(ctx context.Context, conn *grpc.ClientConn, connection string, after int64, show func([]*pb.Change) error) error {
	for {
		response, err := pb.NewModelCatalogClient(conn).ListChanges(ctx, &pb.ListChangesRequest{Parent: connection, AfterSequence: after, PageSize: 1000})
		if err != nil {
			return err
		}
		changes := response.GetChanges()
		if len(changes) == 0 {
			return nil
		}
		if err := show(changes); err != nil {
			return err
		}
		after = changes[len(changes)-1].GetSequence()
	}
}

func watchChanges(ctx context.Context, conn *grpc.ClientConn, connection string, after int64, show func([]*pb.Change) error) error {
	stream, err := pb.NewModelCatalogClient(conn).WatchChanges(ctx, &pb.WatchChangesRequest{Parent: connection, AfterSequence: after})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := show(response.GetChanges()); err != nil {
			return err
		}
	}
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
