package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newModelsCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List models, show their columns, and check whether they can be read",
	}
	c.register(cmd)
	cmd.AddCommand(c.newModelsList(), c.newModelsGet(), c.newModelsCheck())
	return cmd
}

func (c *client) newModelsList() *cobra.Command {
	request := &pb.ListModelsRequest{PageSize: 1000}
	cmd := &cobra.Command{
		Use:   "list CONNECTION",
		Short: "List the models that the last scan saw",
		Long: "Lists the models that the last scan saw: all, or those that a filter or a search leaves.\n\n" +
			"  --search \"revenue region\"\n" +
			"  --filter 'path:\"Finance\" AND columns.label:\"Order Id\" AND NOT state = READY'\n" +
			"  --filter 'tags:\"Certified\" OR owner_id = \"m-7\"' --order-by \"update_time desc\"\n\n" +
			"A filter may speak of workbook, path, tags, owner_id, state, element_type, visualization_type, document_kind,\n" +
			"columns.label, findings.code and update_time.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				var all []*pb.Model
				for request.Parent = args[0]; ; {
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
	cmd.Flags().StringVar(&request.Workbook, "workbook", "", "only the models of this workbook (its resource name)")
	cmd.Flags().StringVar(&request.Filter, "filter", "", "only the models for which this holds")
	cmd.Flags().StringVar(&request.Query, "search", "", "only the models in which these words are found, the best first")
	cmd.Flags().StringVar(&request.OrderBy, "order-by", "", "path, display_name, update_time or column_count; with \" desc\" behind it the greatest first")
	cmd.Flags().BoolVar(&request.ShowGone, "show-gone", false, "also those that are no longer in Sigma")
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
				fmt.Fprintf(cmd.OutOrStdout(), "%s / %s (%s): %s\n", model.GetWorkbookDisplayName(), model.GetDisplayName(), model.GetElementType(),
					enumName(model.GetState().String(), "MODEL_STATE_"))
				if model.GetError() != nil {
					fmt.Fprintln(cmd.OutOrStdout(), model.GetError().GetMessage())
				}
				printFindings(cmd.OutOrStdout(), model.GetFindings())
				for _, read := range model.GetLastReads() {
					fmt.Fprintf(cmd.OutOrStdout(), "last complete read%s: %d rows, %d bytes, %s, at %s\n", readKind(read), read.GetRowCount(), read.GetByteCount(),
						read.GetDuration().AsDuration().Round(time.Millisecond), read.GetCompleteTime().AsTime().Format(time.RFC3339))
				}
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

// readKind names the settings of a read that are not the default.
func readKind(read *pb.CompletedRead) string {
	var settings []string
	if read.GetLimitPolicy() != "" {
		settings = append(settings, "limit policy "+read.GetLimitPolicy())
	}
	if read.GetBookmarkId() != "" {
		settings = append(settings, "bookmark "+read.GetBookmarkId())
	}
	if read.GetDistinctGroup() {
		settings = append(settings, "distinct rows of the group")
	}
	if len(settings) == 0 {
		return ""
	}
	return " (" + strings.Join(settings, ", ") + ")"
}

func (c *client) newModelsCheck() *cobra.Command {
	var key []string
	var compare bool
	var policy readPolicy
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Find out whether a model can be read, without reading it; exits 2 if it cannot",
		Long: "The warehouse compiles the SQL that a read would run. Shows each table that our role may not read, with the\n" +
			"statements that would grant it, and with --key counts rows, distinct keys and nulls over the whole model.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			codes, limits, err := policy.parse()
			if err != nil {
				return err
			}
			request := &pb.CheckModelRequest{Name: args[0], KeyColumns: key, CompareWithSigma: compare, Columns: policy.columns, RefuseFindings: codes, LimitPolicy: limits, BookmarkId: policy.bookmark}
			return c.withConn(func(conn *grpc.ClientConn) error {
				answer, err := pb.NewModelQueryClient(conn).CheckModel(cmd.Context(), request)
				if err != nil {
					return err
				}
				if c.output == "json" {
					err = printMessage(cmd.OutOrStdout(), answer)
				} else {
					printModelCheck(cmd.OutOrStdout(), answer)
				}
				if err == nil && !answer.GetReadable() {
					err = exitError{code: 2, text: "the model cannot be read"}
				}
				return err
			})
		},
	}
	policy.register(cmd)
	cmd.Flags().StringArrayVar(&key, "key", nil, "a column of the key to count, by id or label; repeatable")
	cmd.Flags().BoolVar(&compare, "compare", false, "have Sigma run the element by itself, and compare columns, row counts and values")
	return cmd
}

func printModelCheck(w io.Writer, answer *pb.CheckModelResponse) {
	if problem := answer.GetProblem(); problem != nil {
		fmt.Fprintf(w, "cannot be read (%s): %s\n", enumName(problem.GetReason().String(), "ERROR_REASON_"), problem.GetMessage())
	} else {
		fmt.Fprintf(w, "can be read: %d columns, fingerprint %s\n", len(answer.GetSchema().GetColumns()), answer.GetSchema().GetFingerprint())
	}
	if match := answer.GetWarehouseMatch(); match != nil {
		fmt.Fprintf(w, "warehouse: %s\n", match.GetMessage())
	}
	for _, access := range answer.GetTables() {
		if access.GetReadable() {
			fmt.Fprintf(w, "reads %s\n", strings.Join(access.GetParts(), "."))
			continue
		}
		fmt.Fprintf(w, "may not read %s: %s\n", strings.Join(access.GetParts(), "."), access.GetProblem().GetMessage())
		for _, grant := range access.GetGrants() {
			fmt.Fprintf(w, "  %s\n", grant.GetStatement())
		}
	}
	if key := answer.GetKey(); key != nil {
		fmt.Fprintf(w, "key: %d rows, %d distinct, %d with a null\n", key.GetRowCount(), key.GetDistinctCount(), key.GetNullCount())
		for _, duplicate := range key.GetDuplicates() {
			var values []string
			for _, value := range duplicate.GetValues() {
				values = append(values, cellText(value, time.UTC))
			}
			fmt.Fprintf(w, "  %s occurs in %d rows\n", strings.Join(values, ", "), duplicate.GetRowCount())
		}
	}
	if comparison := answer.GetComparison(); comparison != nil {
		fmt.Fprintf(w, "compared with Sigma: %s: %s\n", enumName(comparison.GetVerdict().String(), "COMPARISON_VERDICT_"), comparison.GetMessage())
		for _, column := range comparison.GetColumns() {
			fmt.Fprintf(w, "  %s: %s", oneLine(column.GetLabel()), enumName(column.GetVerdict().String(), "COMPARISON_VERDICT_"))
			if len(column.GetDifferences()) > 0 {
				fmt.Fprintf(w, " in %s", strings.Join(column.GetDifferences(), ", "))
			}
			if column.GetCause() != "" {
				fmt.Fprintf(w, "; likely cause: %s", column.GetCause())
			}
			fmt.Fprintln(w)
		}
	}
	printFindings(w, answer.GetFindings())
}
