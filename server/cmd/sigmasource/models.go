package main

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newModelsCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List models and show their columns",
	}
	c.register(cmd)
	cmd.AddCommand(c.newModelsList(), c.newModelsGet())
	return cmd
}

func (c *client) newModelsList() *cobra.Command {
	var workbook string
	cmd := &cobra.Command{
		Use:   "list CONNECTION",
		Short: "List the models that the last scan saw",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				var all []*pb.Model
				request := &pb.ListModelsRequest{Parent: args[0], Workbook: workbook, PageSize: 1000}
				for {
					response, err := pb.NewModelCatalogClient(conn).ListModels(cmd.Context(), request)
					if err != nil {
						return err
					}
					all = append(all, response.GetModels()...)
					if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
						return c.printModels(cmd.OutOrStdout(), all)
					}
				}
			})
		},
	}
	cmd.Flags().StringVar(&workbook, "workbook", "", "only the models of this workbook (its resource name)")
	return cmd
}

func (c *client) printModels(w io.Writer, models []*pb.Model) error {
	if c.output == "json" {
		for _, model := range models {
			if err := printMessage(w, model); err != nil {
				return err
			}
		}
		return nil
	}
	var rows []table.Row
	for _, model := range models {
		rows = append(rows, table.Row{
			model.GetPath(),
			model.GetWorkbookDisplayName(),
			model.GetDisplayName(),
			model.GetElementType(),
			model.GetColumnCount(),
			enumName(model.GetState().String(), "MODEL_STATE_"),
			model.GetName(),
		})
	}
	printTable(w, table.Row{"path", "workbook", "model", "type", "columns", "state", "name"}, rows)
	return nil
}

func (c *client) newModelsGet() *cobra.Command {
	return &cobra.Command{
		Use:   "get NAME",
		Short: "Show a model with its columns",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewModelCatalogClient(conn).GetModel(cmd.Context(), &pb.GetModelRequest{Name: args[0]})
				if err != nil {
					return err
				}
				model := response.GetModel()
				if c.output == "json" {
					return printMessage(cmd.OutOrStdout(), model)
				}
				cmd.Printf("%s / %s (%s): %s\n", model.GetWorkbookDisplayName(), model.GetDisplayName(), model.GetElementType(),
					enumName(model.GetState().String(), "MODEL_STATE_"))
				if model.GetError() != nil {
					cmd.Println(model.GetError().GetMessage())
				}
				printFindings(cmd.OutOrStdout(), model.GetFindings())
				var rows []table.Row
				for _, column := range model.GetColumns() {
					rows = append(rows, table.Row{column.GetLabel(), column.GetSigmaType(), column.GetFormula(), column.GetColumnId()})
				}
				printTable(cmd.OutOrStdout(), table.Row{"column", "type in Sigma", "formula", "id"}, rows)
				return nil
			})
		},
	}
}
