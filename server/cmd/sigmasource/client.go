package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// client is what every command needs that speaks to a server.
type client struct {
	server   string
	token    string
	caFile   string
	certFile string
	keyFile  string
	output   string
	null     string // the text for nulls in CSV; empty means the default
}

// register adds the flags. Tokens come from the environment: an argument
// would be visible to every user of the machine.
func (c *client) register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.server, "server", envOr("SIGMASOURCE_SERVER", "127.0.0.1:8450"), "HOST:PORT of the server (SIGMASOURCE_SERVER); the token comes from SIGMASOURCE_TOKEN")
	flags.StringVar(&c.caFile, "ca", os.Getenv("SIGMASOURCE_CA"), "PEM file with the authority of the server's certificate (SIGMASOURCE_CA)")
	flags.StringVar(&c.certFile, "cert", os.Getenv("SIGMASOURCE_CERT"), "PEM file of a client certificate, in place of a token (SIGMASOURCE_CERT)")
	flags.StringVar(&c.keyFile, "key-file", os.Getenv("SIGMASOURCE_KEY"), "PEM file of its key (SIGMASOURCE_KEY)")
	flags.StringVarP(&c.output, "output", "o", "table", "table or json")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		c.token = os.Getenv("SIGMASOURCE_TOKEN")
		if c.output != "table" && c.output != "json" {
			return fmt.Errorf("-o %s: want table or json", c.output)
		}
		return nil
	}
}

func envOr(key, fallback string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return fallback
}

// dial connects with TLS, except to loopback, where there is nobody to listen.
func (c *client) dial() (*grpc.ClientConn, error) {
	host, _, err := net.SplitHostPort(c.server)
	if err != nil {
		return nil, fmt.Errorf("--server %q: want HOST:PORT", c.server)
	}
	transport := insecure.NewCredentials()
	if c.caFile != "" || c.certFile != "" || !isLoopback(host) {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if c.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(c.token)))
	}
	return grpc.NewClient(c.server, options...)
}

func (c *client) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca %s: no certificate in it", c.caFile)
		}
	}
	if c.certFile != "" {
		certificate, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert, --key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// bearer sends the token with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false for loopback's sake; dial sees to it that
// everything else is encrypted.
func (b bearer) RequireTransportSecurity() bool { return false }

// withConn runs do with a connection to the server.
func (c *client) withConn(do func(*grpc.ClientConn) error) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close())
}

// printMessage writes a message as indented JSON. protojson varies its white
// space on purpose, so it is normalised for those who compare output.
func printMessage(w io.Writer, m proto.Message) error {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(json.RawMessage(raw))
}

func printTable(w io.Writer, header table.Row, rows []table.Row) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(header)
	t.AppendRows(rows)
	t.Render()
}

// printError shows what a person can act on: the message, the reason and its
// facts, then the fields at fault.
func printError(w io.Writer, err error) {
	var failed interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &failed) {
		fmt.Fprintln(w, "sigmasource:", err)
		return
	}
	s := failed.GRPCStatus()
	fmt.Fprintf(w, "sigmasource: %s: %s\n", s.Code(), s.Message())
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(w, "  reason: %s\n", d.GetReason())
			keys := make([]string, 0, len(d.GetMetadata()))
			for key := range d.GetMetadata() {
				keys = append(keys, key)
			}
			slices.Sort(keys)
			for _, key := range keys {
				fmt.Fprintf(w, "  %s: %s\n", key, d.GetMetadata()[key])
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				fmt.Fprintf(w, "  %s: %s\n", v.GetField(), v.GetDescription())
			}
		case *pb.TableAccess:
			for _, grant := range d.GetGrants() {
				fmt.Fprintf(w, "  %s\n", grant.GetStatement())
			}
		case *errdetails.RetryInfo:
			fmt.Fprintf(w, "  try again in %s\n", d.GetRetryDelay().AsDuration())
		}
	}
}
