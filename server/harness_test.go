package server_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func TestMain(m *testing.M) {
	if asCallers != nil && os.Getenv(callersVariable) != "" {
		asCallers()
		return
	}
	os.Exit(pgtest.Main(m, func() error { return goleak.Find() }))
}

// asCallers is what the process does instead of tests where the variable is set: a
// benchmark lets the callers of its server run as a process of their own.
var asCallers func()

const callersVariable = "SIGMASOURCE_BENCH_CALLERS"

// What must never be seen outside of the requests that bring it.
const (
	sigmaSecret       = "CANARY-sigma-secret"
	wrongSigmaSecret  = "CANARY-wrong-sigma-secret"
	password          = "CANARY-warehouse-password"
	wrongPassword     = "CANARY-wrong-password"
	accessToken       = "CANARY-access-token"
	ownerEmail        = "CANARY-owner@example.com"
	canary            = "CANARY-"
	commentOfSigma    = "Sigma Σ"
	workspace         = "workspaces/acme"
	snowflakeName     = workspace + "/connections/prod"
	duckdbName        = workspace + "/connections/local"
	snowflakeAccount  = "ACME-SHOP"
	snowflakeUser     = "SIGMASOURCE"
	snowflakeRole     = "READER"
	snowflakeComputer = "READING"
)

// world is the whole service with what it reads: a Sigma organization, a
// Snowflake account and a folder of DuckDB files.
type world struct {
	t         *testing.T
	sigma     *sigmatest.Server
	snowflake *snowflaketest.Server
	folder    string // of DuckDB files
	duckdbDir string // the same, or empty where the operator admits none
	dataDir   string // of the store
	database  string // URL of the store's PostgreSQL database; empty for the file in dataDir
	spoolDir  string // of kept results

	// ctx carries the token of the workspace acme; others that of globex.
	ctx, others context.Context

	connections pb.SigmaConnectionsClient
	catalog     pb.ModelCatalogClient
	query       pb.ModelQueryClient
	conn        *grpc.ClientConn

	server *server.Server
	store  *store.Store
	spool  *spool.Spool
	served chan error

	callers   *auth.Callers
	adjust    func(*server.Config) // what a test wants otherwise, from the next start on
	dialWith  credentials.TransportCredentials
	tokens    []string
	admitted  []string // further hosts that the operator admits
	address   string
	logs, got *record // what the server logged, and what callers were told
	audit     *record
	elements  int  // made by model
	halfLost  bool // the test shut the server down under its callers

	queriesNameOwner bool // Sigma's SQL has the owner's address as a constant
}

// newWorld starts everything. What every test of this package shows besides
// its own matter is checked at its end: nothing secret got out.
func newWorld(t *testing.T, org sigmatest.Organization, config snowflaketest.Config) *world {
	t.Helper()
	org.ClientSecret, org.OwnerEmail = sigmaSecret, ownerEmail
	if len(org.Connections) == 0 {
		org.Connections = []sigmatest.Connection{{Name: "Shop", Account: snowflakeAccount}}
	}
	config.Account = snowflakeAccount
	if config.Users == nil {
		config.Users = []snowflaketest.User{{Name: snowflakeUser, Password: password, AccessTokens: []string{accessToken},
			Roles: []string{snowflakeRole}, Warehouse: snowflakeComputer}}
	}
	if config.Roles == nil {
		config.Roles = []snowflaketest.Role{{Name: snowflakeRole, Select: []string{"SHOP.SALES.*", "SHOP.PUBLIC.*"}}}
	}
	config.Warehouses = []string{snowflakeComputer}

	w := &world{t: t, folder: t.TempDir(), dataDir: t.TempDir(), spoolDir: t.TempDir(), logs: &record{}, got: &record{}, audit: &record{}}
	w.duckdbDir = w.folder
	t.Cleanup(w.verifyNothingLeaked)
	var err error
	w.sigma, err = sigmatest.NewServer(org)
	w.must(err)
	t.Cleanup(func() { w.close(w.sigma.Close()) })
	w.snowflake, err = snowflaketest.NewServer(config)
	w.must(err)
	t.Cleanup(func() { w.close(w.snowflake.Close()) })

	var tokens []auth.Token
	for _, id := range []string{"acme", "globex"} {
		token, hash := auth.NewToken()
		w.tokens = append(w.tokens, token)
		tokens = append(tokens, auth.Token{Principal: id + " platform", Hash: hash, Roles: auth.Roles{id: auth.Admin}})
	}
	w.callers, err = auth.New(auth.Config{Tokens: tokens}, nil)
	w.must(err)
	t.Cleanup(w.callers.Close)
	w.ctx = withToken(t.Context(), w.tokens[0])
	w.others = withToken(t.Context(), w.tokens[1])
	w.must(keyring.Create(t.Context(), w.keyset()))
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) keyset() keyring.Source {
	return keyring.Source{Path: filepath.Join(w.dataDir, "keyset.json")}
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// openStore opens the store that the server keeps its data in.
func (w *world) openStore() *store.Store {
	w.t.Helper()
	keys, err := keyring.Open(w.ctx, w.keyset(), time.Hour, slog.New(slog.DiscardHandler))
	w.must(err)
	w.t.Cleanup(func() { w.close(keys.Close()) })
	ctx := context.WithoutCancel(w.ctx)
	var s *store.Store
	if w.database != "" {
		s, err = store.OpenPostgres(ctx, w.database, keys)
	} else {
		s, err = store.OpenSQLite(ctx, w.storeFile(), keys)
	}
	w.must(err)
	return s
}

// storeFile is the file of the SQLite database.
func (w *world) storeFile() string { return filepath.Join(w.dataDir, "store.db") }

// start starts the server, over the data that are there.
func (w *world) start() {
	w.t.Helper()
	w.store = w.openStore()
	hosts, err := sigmaclient.NewHosts(append(w.admitted, w.sigma.Host(), fmt.Sprintf("%s:%d", w.snowflake.Host(), w.snowflake.Port()))...)
	w.must(err)
	logger := slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := server.Config{Store: w.store, Callers: w.callers, Hosts: hosts, DuckDBDir: w.duckdbDir, Logger: logger,
		Audit: slog.New(slog.NewJSONHandler(w.audit, nil)),
		// Which queries take long must not depend on the machine: a test that wants
		// columns before the query ends says so, see describeAtOnce.
		DescribeAfter: time.Hour}
	w.spool, err = spool.Open(w.ctx, w.spoolDir)
	w.must(err)
	config.Spool = w.spool
	if w.adjust != nil {
		w.adjust(&config)
	}
	w.server, err = server.New(w.ctx, config)
	w.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.served = make(chan error, 1)
	go func(s *server.Server, served chan<- error) { served <- s.Serve(listener) }(w.server, w.served)
	w.address = listener.Addr().String()
	w.conn = w.dial(w.dialWith)
	w.connections = pb.NewSigmaConnectionsClient(w.conn)
	w.catalog = pb.NewModelCatalogClient(w.conn)
	w.query = pb.NewModelQueryClient(w.conn)
}

// dial connects as one more client, whose answers are looked at, too.
func (w *world) dial(transport credentials.TransportCredentials, options ...grpc.DialOption) *grpc.ClientConn {
	w.t.Helper()
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(w.address, append(options, grpc.WithTransportCredentials(transport),
		grpc.WithUnaryInterceptor(w.watchUnary), grpc.WithStreamInterceptor(w.watchStream))...)
	w.must(err)
	return conn
}

// restart starts the server anew, with the changes of its configuration.
func (w *world) restart(adjust func(*server.Config)) {
	w.t.Helper()
	w.stop()
	w.adjust = adjust
	w.start()
}

// stop ends the server as an operator does.
func (w *world) stop() {
	w.t.Helper()
	if w.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil && !w.halfLost {
		w.t.Errorf("shutdown: %v", err)
	}
	w.close(<-w.served)
	w.close(w.conn.Close())
	w.close(w.store.Close())
	w.close(w.spool.Close())
	w.server = nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// snowflakeConnection is a connection to the account, as a caller sends it.
func (w *world) snowflakeConnection() *pb.Connection {
	return &pb.Connection{
		DisplayName: "The shop",
		Sigma:       w.sigmaCredentials(),
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{
			Account: snowflakeAccount, Url: w.snowflake.URL(), User: snowflakeUser, Role: snowflakeRole,
			Warehouse: snowflakeComputer, Authentication: &pb.SnowflakeWarehouse_Password{Password: password},
		}}},
	}
}

// duckdbConnection is a connection to the file SHOP.duckdb.
func (w *world) duckdbConnection() *pb.Connection {
	return &pb.Connection{
		Sigma:     w.sigmaCredentials(),
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "SHOP"}}},
	}
}

func (w *world) sigmaCredentials() *pb.SigmaCredentials {
	return &pb.SigmaCredentials{BaseUrl: w.sigma.URL(), ClientId: w.sigma.Organization().ClientID, ClientSecret: sigmaSecret}
}

// create stores a connection under a full name.
func (w *world) create(name string, connection *pb.Connection) *pb.Connection {
	w.t.Helper()
	parent, id, _ := strings.Cut(name, "/connections/")
	created, err := w.connections.CreateConnection(w.ctx, &pb.CreateConnectionRequest{
		Parent: parent, ConnectionId: id, Connection: connection, SkipScan: true,
	})
	w.must(err)
	return created.GetConnection()
}

// fill runs statements in the account and, in DuckDB's own dialect, in the file
// SHOP.duckdb. Both know the functions that Sigma's SQL uses.
func (w *world) fill(snowflakeSQL, duckdbSQL string) {
	w.t.Helper()
	w.must(w.snowflake.Exec(w.t.Context(), `CREATE DATABASE SHOP; CREATE SCHEMA SHOP.SALES; CREATE SCHEMA SHOP.PRIVATE;`+snowflakeSQL))
	db, err := sql.Open("duckdb", filepath.Join(w.folder, "SHOP.duckdb"))
	w.must(err)
	_, err = db.ExecContext(w.t.Context(), `CREATE SCHEMA SALES;
		CREATE TYPE timestamp_ltz AS TIMESTAMPTZ;
		CREATE MACRO equal_null(a, b) AS a IS NOT DISTINCT FROM b;
		SET TimeZone = 'UTC';`+duckdbSQL)
	w.must(err)
	w.must(db.Close())
}

// scratch is the workbook that model writes into.
const scratch = "scratch"

// model makes an element of Sigma's SQL, and returns its name in a connection.
func (w *world) model(connection, sigmaSQL string) string {
	w.t.Helper()
	return w.modelOf(connection, sigmatest.Element{SQL: sigmaSQL})
}

func (w *world) modelOf(connection string, element sigmatest.Element) string {
	w.t.Helper()
	w.elements++
	element.ID = fmt.Sprintf("element%d", w.elements)
	w.sigma.Change(func(o *sigmatest.Organization) {
		if o.Workbook(scratch) == nil {
			o.Workbooks = append(o.Workbooks, sigmatest.Workbook{ID: scratch, Name: "Scratch", Pages: make([]sigmatest.Page, 1)})
		}
		page := &o.Workbook(scratch).Pages[0]
		page.Elements = append(page.Elements, element)
	})
	return modelName(connection, scratch, element.ID)
}

func modelName(connection, workbook, element string) string {
	return connection + "/models/" + workbook + "." + element
}

// record is a text that many write to.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// verifyNothingLeaked looks for what must not get out, in what the server
// logged, answered, kept on disk and sent to the warehouse.
func (w *world) verifyNothingLeaked() {
	if w.snowflake == nil {
		return
	}
	forbidden := append([]string{canary, commentOfSigma}, w.tokens...)
	look := func(where, text string) {
		w.t.Helper()
		for _, secret := range forbidden {
			if at := strings.Index(text, secret); at >= 0 {
				w.t.Errorf("%s: holds %q: …%s…", where, secret, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	if w.logs.String() == "" {
		w.t.Error("nothing was logged, so that the search for secrets shows nothing")
	}
	look("the log", w.logs.String())
	look("the audit", w.audit.String())
	look("an answer", w.got.String())
	if strings.Contains(w.got.String(), w.folder) {
		w.t.Error("an answer tells the server's own folder")
	}
	for _, q := range w.snowflake.Queries() {
		if !w.queriesNameOwner {
			look("a query", q.SQL+"\n"+q.Tag)
		}
		if q.Tag != "" && !strings.HasPrefix(q.Tag, "sigmasource ") {
			w.t.Errorf("a query has the tag %q", q.Tag)
		}
	}
	err := filepath.WalkDir(w.dataDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		look(entry.Name(), string(content))
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// fewerIfRaced is a number of repetitions, and a tenth of it where the race detector
// makes each many times as slow: it looks for other things.
func fewerIfRaced(n int) int {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return n / 10
	}
	return n
}
