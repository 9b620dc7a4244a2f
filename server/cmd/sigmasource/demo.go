package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/demo"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

const (
	demoConnection = "workspaces/acme/connections/prod"
	demoRows       = 10
)

func newDemoCommand() *cobra.Command {
	var once bool
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole thing on made-up data: needs no Sigma, no Snowflake, no network",
		Long: "Starts a made-up company's Sigma organization and Snowflake account on loopback, and a server that reads\n" +
			"them as it reads the real ones. Connects, scans, previews a model, and serves until it is interrupted.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), listen, once, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the preview")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8450", "HOST:PORT to listen on; with --once any free port")
	return cmd
}

func runDemo(ctx context.Context, listen string, once bool, out, stderr io.Writer) (err error) {
	if once {
		listen = "127.0.0.1:0"
	}
	if host, _, splitErr := net.SplitHostPort(listen); splitErr != nil || !isLoopback(host) {
		return fmt.Errorf("--listen %q: the demonstration serves on loopback only", listen)
	}
	sigma, err := demo.NewSigma()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sigma.Close()) }()
	snowflake, err := demo.NewSnowflake(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snowflake.Close()) }()

	if err := demo.AddExports(ctx, sigma, snowflake.DB()); err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "sigmasource-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	source := keyring.Source{Path: filepath.Join(dir, "keyset.json")}
	if err := keyring.Create(ctx, source); err != nil {
		return err
	}
	keys, err := keyring.Open(ctx, source, reloadInterval, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	kept, err := store.OpenSQLite(ctx, filepath.Join(dir, "sigmasource.db"), keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()

	token, hash := auth.NewToken()
	callers, err := auth.New(auth.Config{Tokens: []auth.Token{{Principal: "demo", Hash: hash, Roles: auth.Roles{"acme": auth.Admin}}}}, nil)
	if err != nil {
		return err
	}
	defer callers.Close()
	hosts, err := sigmaclient.NewHosts(sigma.Host(), fmt.Sprintf("%s:%d", snowflake.Host(), snowflake.Port()))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	s, err := server.New(ctx, server.Config{Store: kept, Callers: callers, Hosts: hosts, Logger: logger, Audit: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	// The server ends with the walk if that is all, or fails.
	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- serveUntilDone(serving, s, listener) }()

	c := &client{server: listener.Addr().String(), token: token, output: "table"}
	d := &demonstration{client: c, sigma: sigma, snowflake: snowflake, out: out, stderr: stderr}
	if err := c.withConn(func(conn *grpc.ClientConn) error { return d.walk(ctx, conn) }); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	if once {
		stop()
		return <-served
	}
	d.printNextSteps()
	return <-served
}

// demonstration is the walk through the service that a newcomer sees.
type demonstration struct {
	client      *client
	sigma       *sigmatest.Server
	snowflake   *snowflaketest.Server
	out, stderr io.Writer
}

func (d *demonstration) walk(ctx context.Context, conn *grpc.ClientConn) error {
	d.say("A made-up Sigma organization answers at %s, a Snowflake account at %s.", d.sigma.URL(), d.snowflake.URL())
	d.say("sigmasource serves gRPC at %s.\n", d.client.server)

	d.say("1. Connect: %s", demoConnection)
	created, err := pb.NewSigmaConnectionsClient(conn).CreateConnection(ctx, d.createRequest("prod"))
	if err != nil {
		return err
	}
	if err := d.client.checkConnection(ctx, d.out, conn, demoConnection); err != nil {
		return err
	}

	d.say("\n2. Scan Sigma for models, which a new connection begins with")
	scan, err := followScan(ctx, conn, created.GetScan(), d.stderr)
	if err != nil {
		return err
	}
	printScan(d.out, scan)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
		return errors.New("the scan did not succeed")
	}

	d.say("\n3. Preview %d rows of the model `Orders`, through Snowflake's own driver", demoRows)
	return d.client.preview(ctx, conn, &pb.PreviewModelRequest{Name: d.model(), RowLimit: demoRows}, d.out, d.out)
}

func (d *demonstration) model() string {
	workbook, element := demo.Featured(d.sigma.Organization())
	return demoConnection + "/models/" + workbook + "." + element
}

func (d *demonstration) createRequest(id string) *pb.CreateConnectionRequest {
	org := d.sigma.Organization()
	return &pb.CreateConnectionRequest{
		Parent:       "workspaces/acme",
		ConnectionId: id,
		Connection: &pb.Connection{
			DisplayName: "ACME Coffee",
			Sigma:       &pb.SigmaCredentials{BaseUrl: d.sigma.URL(), ClientId: org.ClientID, ClientSecret: org.ClientSecret, TimeZone: "UTC"},
			Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{
				Account:        demo.Account,
				Url:            d.snowflake.URL(),
				User:           demo.User,
				Role:           demo.Role,
				Warehouse:      demo.Warehouse,
				Authentication: &pb.SnowflakeWarehouse_Password{Password: demo.Password},
			}}},
		},
	}
}

func (d *demonstration) printNextSteps() {
	org := d.sigma.Organization()
	address := d.client.server
	grpcurl := `go tool -modfile=.tools/go.mod grpcurl -plaintext -H "authorization: Bearer $SIGMASOURCE_TOKEN"`
	self := "go run ./server/cmd/sigmasource"
	d.say(`
Serving until interrupted. Next, in another terminal:

  export SIGMASOURCE_SERVER=%[1]s SIGMASOURCE_TOKEN=%[2]s

  %[3]s models list %[5]s
  %[3]s models list %[5]s --search revenue --filter path:Shops
  %[3]s preview %[6]s --rows 20
  %[3]s preview %[6]s --rows 5000 -o json | wc -l
  %[3]s read %[6]s -o csv | head
  %[3]s models check %[6]s --key Status --compare
  %[3]s connections check %[5]s
  %[3]s scan %[5]s
  %[3]s changes %[5]s

  %[4]s %[1]s list
  %[4]s -d '%[7]s' %[1]s sigmasource.v1.SigmaConnections/CreateConnection
  %[4]s -d '{"parent": "%[8]s"}' %[1]s sigmasource.v1.ModelCatalog/StartScan
  %[4]s -d '{"name": "%[6]s", "rowLimit": 3}' %[1]s sigmasource.v1.ModelQuery/PreviewModel
  %[4]s -d '{"name": "%[6]s", "rowLimit": 3, "format": "DATA_FORMAT_ARROW"}' %[1]s sigmasource.v1.ModelQuery/PreviewModel`,
		address, d.client.token, self, grpcurl, demoConnection, d.model(),
		fmt.Sprintf(`{"parent": "workspaces/acme", "connectionId": "mine", "connection": {"sigma": {"baseUrl": %q, "clientId": %q, "clientSecret": %q, "timeZone": "UTC"}, "warehouse": {"snowflake": {"account": %q, "url": %q, "user": %q, "role": %q, "warehouse": %q, "password": %q}}}}`,
			d.sigma.URL(), org.ClientID, org.ClientSecret, demo.Account, d.snowflake.URL(), demo.User, demo.Role, demo.Warehouse, demo.Password),
		strings.Replace(demoConnection, "prod", "mine", 1))
}

func (d *demonstration) say(format string, args ...any) {
	fmt.Fprintf(d.out, format+"\n", args...)
}
