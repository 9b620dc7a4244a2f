package main

import (
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newWorkbooksCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "workbooks",
		Short: "List workbooks and data models",
	}
	c.register(cmd)
	cmd.AddCommand(c.newWorkbooksList())
	return cmd
}

func (c *client) newWorkbooksList() *cobra.Command {
	request := &pb.ListWorkbooksRequest{PageSize: 1000}
	cmd := &cobra.Command{
		Use:   "list CONNECTION",
		Short: "List the workbooks and data models that the last scan saw",
		Long: "Lists the workbooks and data models that the last scan saw: all, or those that a filter or a search leaves.\n\n" +
			"  --search revenue\n" +
			"  --filter 'path:\"Finance\" AND tags:\"Certified\"' --order-by \"update_time desc\"\n\n" +
			"A filter may speak of name, path, tags, owner_id, document_kind and update_time.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				var all []*pb.Workbook
				for request.Parent = args[0]; ; {
					response, err := pb.NewModelCatalogClient(conn).ListWorkbooks(cmd.Context(), request)
					if err != nil {
						return err
					}
					all = append(all, response.GetWorkbooks()...)
					if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
						return c.printWorkbooks(cmd.OutOrStdout(), all)
					}
				}
			})
		},
	}
	cmd.Flags().StringVar(&request.Filter, "filter", "", "only the workbooks for which this holds")
	cmd.Flags().StringVar(&request.Query, "search", "", "only the workbooks in whose name or path these words are found, the best first")
	cmd.Flags().StringVar(&request.OrderBy, "order-by", "", "path, display_name, update_time or model_count; with \" desc\" behind it the greatest first")
	cmd.Flags().BoolVar(&request.ShowGone, "show-gone", false, "also those that are no longer in Sigma")
	return cmd
}

func (c *client) printWorkbooks(w io.Writer, workbooks []*pb.Workbook) error {
	if c.output == "json" {
		for _, workbook := range workbooks {
			if err := printMessage(w, workbook); err != nil {
				return err
			}
		}
		return nil
	}
	var rows []table.Row
	for _, workbook := range workbooks {
		changed := ""
		if workbook.GetUpdateTime() != nil {
			changed = workbook.GetUpdateTime().AsTime().Format(time.RFC3339)
		}
		rows = append(rows, table.Row{
			workbook.GetPath(),
			workbook.GetDisplayName(),
			enumName(workbook.GetDocumentKind().String(), "DOCUMENT_KIND_"),
			workbook.GetModelCount(),
			strings.Join(workbook.GetTags(), ", "),
			workbook.GetOwnerId(),
			changed,
			workbook.GetName(),
		})
	}
	printTable(w, table.Row{"path", "workbook", "kind", "models", "tags", "owner", "changed", "name"}, rows)
	return nil
}
