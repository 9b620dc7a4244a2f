package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func newConnectionsCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "connections",
		Short: "Create, show, change, check and delete connections",
	}
	c.register(cmd)
	cmd.AddCommand(
		c.newConnectionsCreate(),
		c.newConnectionsGet(),
		c.newConnectionsList(),
		c.newConnectionsUpdate(),
		c.newConnectionsCheck(),
		c.newConnectionsDelete(),
	)
	return cmd
}

func (c *client) newConnectionsCreate() *cobra.Command {
	var file string
	var skipCheck, skipScan, validateOnly bool
	cmd := &cobra.Command{
		Use:   "create workspaces/WORKSPACE/connections/ID -f FILE",
		Short: "Create a connection from a JSON file (- for standard input)",
		Example: `  sigmasource connections create workspaces/acme/connections/prod -f - <<'EOF'
  {"sigma": {"baseUrl": "https://aws-api.sigmacomputing.com", "clientId": "…", "clientSecret": "…", "timeZone": "America/New_York"},
   "warehouse": {"snowflake": {"account": "myorg-myaccount", "user": "SIGMASOURCE", "keyPair": {"privateKeyPem": "…"}}},
   "scanSchedule": {"cron": "*/15 * * * *", "timeZone": "Europe/Berlin"},
   "refuseFindings": ["COLUMN_CONSTANT"]}
  EOF`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			parent, id, ok := strings.Cut(args[0], "/connections/")
			if !ok {
				return fmt.Errorf("%q: want workspaces/WORKSPACE/connections/ID", args[0])
			}
			connection, err := readConnection(cmd.InOrStdin(), file)
			if err != nil {
				return err
			}
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewSigmaConnectionsClient(conn).CreateConnection(cmd.Context(), &pb.CreateConnectionRequest{
					Parent:       parent,
					ConnectionId: id,
					Connection:   connection,
					SkipCheck:    skipCheck,
					SkipScan:     skipScan,
					ValidateOnly: validateOnly,
				})
				if err != nil {
					return err
				}
				return c.printConnections(cmd.OutOrStdout(), response.GetConnection())
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the connection as JSON")
	cmd.Flags().BoolVar(&skipCheck, "skip-check", false, "store it without signing in first")
	cmd.Flags().BoolVar(&skipScan, "skip-scan", false, "do not scan it yet")
	cmd.Flags().BoolVar(&validateOnly, "validate-only", false, "check it and store nothing")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err)
	}
	return cmd
}

func readConnection(stdin io.Reader, file string) (*pb.Connection, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read connection: %w", err)
	}
	if file == "-" {
		file = "standard input"
	}
	connection, err := parseConnection(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; see the example in `sigmasource connections create --help`", file, err)
	}
	return connection, nil
}

// parseConnection reads a connection in JSON. Findings may be named without the prefix of their enum. Errors name fields and
// codes, and never a value, which may be a secret: protojson would quote it.
func parseConnection(raw []byte) (*pb.Connection, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, errors.New("it is not a JSON object")
	}
	known := (&pb.Connection{}).ProtoReflect().Descriptor().Fields()
	for name, value := range fields {
		field := known.ByJSONName(name)
		if field == nil {
			field = known.ByTextName(name)
		}
		if field == nil {
			return nil, fmt.Errorf("unknown field %q", name)
		}
		if field.Name() != "refuse_findings" {
			continue
		}
		var names []string
		if err := json.Unmarshal(value, &names); err != nil {
			return nil, fmt.Errorf("%s: want a list of codes of findings", name)
		}
		codes, err := (&readPolicy{refuse: names}).findings()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if fields[name], err = json.Marshal(codes); err != nil {
			return nil, err
		}
	}
	read, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	connection := &pb.Connection{}
	if err := protojson.Unmarshal(read, connection); err != nil {
		return nil, misread(err)
	}
	return connection, nil
}

// misread names the field that protojson could not read. Its errors quote values, so only the name of a field is taken from them.
func misread(err error) error {
	if unknown := unknownField.FindStringSubmatch(err.Error()); unknown != nil {
		return fmt.Errorf("unknown field %q", unknown[1])
	}
	const text = "%s occurs twice, or has a value of another type than a connection's"
	named := namedField.FindStringSubmatch(err.Error())
	if named == nil || !hasField((&pb.Connection{}).ProtoReflect().Descriptor(), named[1]) {
		return fmt.Errorf(text, "a field")
	}
	return fmt.Errorf(text, "the field "+named[1])
}

var (
	unknownField = regexp.MustCompile(`: unknown field "([A-Za-z_]+)"`)
	namedField   = regexp.MustCompile(`field "?([A-Za-z_]+)`)
)

// hasField reports whether a message, or one within it, has a field of the name.
func hasField(message protoreflect.MessageDescriptor, name string) bool {
	fields := message.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		isNamed := field.JSONName() == name || field.TextName() == name
		if isNamed || field.Message() != nil && hasField(field.Message(), name) {
			return true
		}
	}
	return false
}

func (c *client) newConnectionsUpdate() *cobra.Command {
	var file, timeZone string
	var fields []string
	var skipCheck bool
	cmd := &cobra.Command{
		Use:   "update NAME [-f FILE] [--field PATH ...] [--time-zone ZONE]",
		Short: "Change fields of a connection, and check it with the new values first",
		Long: "Changes the fields of a connection that --field names to their values in the JSON file; without --field, all\n" +
			"fields that the file sets. A field that --field names and the file does not set is cleared. --time-zone sets the\n" +
			"account time zone of the Sigma organization alone, without a file.\n\n" +
			"The field warehouse is replaced as a whole. To change a part of it, edit what `connections get -o json` prints. The\n" +
			"stored secrets stay as long as the account, the URL and the user are the same.",
		Example: `  sigmasource connections update workspaces/acme/connections/prod --time-zone America/New_York
  echo '{"shrunkRatio": 0.8}' | sigmasource connections update workspaces/acme/connections/prod -f -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			connection := &pb.Connection{}
			if file != "" {
				var err error
				if connection, err = readConnection(cmd.InOrStdin(), file); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("time-zone") {
				if file != "" {
					return errors.New("--time-zone: not together with -f; set timeZone of sigma in the file")
				}
				connection.Sigma, fields = &pb.SigmaCredentials{TimeZone: timeZone}, append(fields, "sigma.time_zone")
			}
			if file == "" && len(fields) == 0 {
				return errors.New("nothing to change: want -f FILE, --field PATH or --time-zone ZONE")
			}
			connection.Name = args[0]
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewSigmaConnectionsClient(conn).UpdateConnection(cmd.Context(), &pb.UpdateConnectionRequest{
					Connection: connection, UpdateMask: &fieldmaskpb.FieldMask{Paths: fields}, SkipCheck: skipCheck,
				})
				if err != nil {
					return err
				}
				return c.printConnections(cmd.OutOrStdout(), response.GetConnection())
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the new values as JSON (- for standard input)")
	cmd.Flags().StringArrayVar(&fields, "field", nil, "a field to change, such as version_tag; repeatable")
	cmd.Flags().StringVar(&timeZone, "time-zone", "", "the account time zone as an IANA name, such as Europe/Berlin; empty clears it")
	cmd.Flags().BoolVar(&skipCheck, "skip-check", false, "store it without signing in first")
	return cmd
}

func (c *client) newConnectionsGet() *cobra.Command {
	return &cobra.Command{
		Use:   "get NAME",
		Short: "Show a connection, without its secrets",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				response, err := pb.NewSigmaConnectionsClient(conn).GetConnection(cmd.Context(), &pb.GetConnectionRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return c.printConnections(cmd.OutOrStdout(), response.GetConnection())
			})
		},
	}
}

func (c *client) newConnectionsList() *cobra.Command {
	return &cobra.Command{
		Use:   "list workspaces/WORKSPACE",
		Short: "List the connections of a workspace",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				var all []*pb.Connection
				request := &pb.ListConnectionsRequest{Parent: args[0], PageSize: 1000}
				for {
					response, err := pb.NewSigmaConnectionsClient(conn).ListConnections(cmd.Context(), request)
					if err != nil {
						return err
					}
					all = append(all, response.GetConnections()...)
					if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
						return c.printConnections(cmd.OutOrStdout(), all...)
					}
				}
			})
		},
	}
}

func (c *client) newConnectionsDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a connection, its secrets and its catalog for good",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				_, err := pb.NewSigmaConnectionsClient(conn).DeleteConnection(cmd.Context(), &pb.DeleteConnectionRequest{Name: args[0]})
				return err
			})
		},
	}
}

func (c *client) newConnectionsCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check NAME",
		Short: "Try a connection out and explain what is wrong; exits 2 if a check fails",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withConn(func(conn *grpc.ClientConn) error {
				return c.checkConnection(cmd.Context(), cmd.OutOrStdout(), conn, args[0])
			})
		},
	}
}

func (c *client) checkConnection(ctx context.Context, w io.Writer, conn *grpc.ClientConn, name string) error {
	response, err := pb.NewSigmaConnectionsClient(conn).CheckConnection(ctx, &pb.CheckConnectionRequest{Name: name})
	if err != nil {
		return err
	}
	if c.output == "json" {
		err = printMessage(w, response)
	} else {
		printChecks(w, response.GetChecks())
	}
	for _, check := range response.GetChecks() {
		if err == nil && check.GetOutcome() == pb.CheckOutcome_CHECK_OUTCOME_FAIL {
			err = exitError{code: 2, text: "a check failed"}
		}
	}
	return err
}

func printChecks(w io.Writer, checks []*pb.Check) {
	var rows []table.Row
	for _, check := range checks {
		rows = append(rows, table.Row{
			enumName(check.GetOutcome().String(), "CHECK_OUTCOME_"),
			enumName(check.GetKind().String(), "CHECK_KIND_"),
			check.GetMessage(),
		})
	}
	printTable(w, table.Row{"", "check", "result"}, rows)
}

// enumName is an enum value as people read it.
func enumName(value, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(value, prefix), "_", " "))
}

func (c *client) printConnections(w io.Writer, connections ...*pb.Connection) error {
	if c.output == "json" {
		for _, connection := range connections {
			if err := printMessage(w, connection); err != nil {
				return err
			}
		}
		return nil
	}
	var rows []table.Row
	for _, connection := range connections {
		rows = append(rows, table.Row{
			connection.GetName(),
			connection.GetDisplayName(),
			connection.GetSigma().GetBaseUrl(),
			connection.GetSigma().GetTimeZone(),
			describeWarehouse(connection.GetWarehouse()),
		})
	}
	printTable(w, table.Row{"name", "display name", "Sigma", "time zone", "warehouse"}, rows)
	return nil
}

func describeWarehouse(w *pb.Warehouse) string {
	switch kind := w.GetKind().(type) {
	case *pb.Warehouse_Snowflake:
		return "Snowflake " + kind.Snowflake.GetAccount()
	case *pb.Warehouse_Duckdb:
		return "DuckDB " + kind.Duckdb.GetDatabase()
	}
	return ""
}
