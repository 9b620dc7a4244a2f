//go:build duckdb_arrow

package server_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	duckdbdriver "github.com/duckdb/duckdb-go/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// benchRows is how many rows the table of the benchmarks has. SIGMASOURCE_BENCH_ROWS
// makes it another number.
func benchRows(b *testing.B) int64 {
	if text := os.Getenv("SIGMASOURCE_BENCH_ROWS"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		must(b, err)
		return n
	}
	return 10_000_000
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// bench is a served DuckDB file with one table of 8 mixed columns.
type bench struct {
	ctx   context.Context
	file  string
	rows  int64
	model string
	token string
	conn  *grpc.ClientConn
	query pb.ModelQueryClient
}

const benchSQL = `select * from SALES.ORDERS`

func newBench(b *testing.B) *bench { return newBenchBeside(b, nil) }

// newBenchBeside also connects an account, if there is one.
func newBenchBeside(b *testing.B, account *snowflaketest.Server) *bench {
	b.Helper()
	folder, data := b.TempDir(), b.TempDir()
	w := &bench{file: filepath.Join(folder, "SHOP.duckdb"), rows: benchRows(b)}
	db, err := sql.Open("duckdb", w.file)
	must(b, err)
	_, err = db.ExecContext(b.Context(), fmt.Sprintf(`CREATE SCHEMA SALES; CREATE TABLE SALES.ORDERS AS SELECT
		i::BIGINT AS "Order Id", 'customer ' || (i %% 1000) AS "Customer", i %% 3 = 0 AS "Paid", (i * 1.99)::DECIMAL(12,2) AS "Amount",
		i / 7.0::DOUBLE AS "Weight", DATE '2022-01-01' + (i %% 365)::INT AS "Day", TIMESTAMPTZ '2023-11-14 00:00:00Z' + INTERVAL (i) MICROSECOND AS "Ordered At",
		CASE WHEN i %% 4 = 0 THEN NULL ELSE 'left at the door' END AS "Note" FROM range(%d) t(i)`, w.rows))
	must(b, err)
	must(b, db.Close())

	sigma, err := sigmatest.NewServer(sigmatest.Organization{ClientSecret: sigmaSecret, Workbooks: []sigmatest.Workbook{{ID: "bench", Pages: []sigmatest.Page{{
		Elements: []sigmatest.Element{{ID: "orders", SQL: benchSQL + " limit 1000"}}}}}}})
	must(b, err)
	b.Cleanup(func() { must(b, sigma.Close()) })
	source := keyring.Source{Path: filepath.Join(data, "keyset.json")}
	must(b, keyring.Create(b.Context(), source))
	quiet := slog.New(slog.DiscardHandler)
	keys, err := keyring.Open(b.Context(), source, time.Hour, quiet)
	must(b, err)
	b.Cleanup(func() { must(b, keys.Close()) })
	kept, err := store.OpenSQLite(context.Background(), filepath.Join(data, "store.db"), keys)
	must(b, err)
	b.Cleanup(func() { must(b, kept.Close()) })
	results, err := spool.Open(b.Context(), filepath.Join(data, "spool"))
	must(b, err)
	b.Cleanup(func() { must(b, results.Close()) })
	token, hash := auth.NewToken()
	callers, err := auth.New(auth.Config{Tokens: []auth.Token{{Principal: "bench", Hash: hash, Roles: auth.Roles{"acme": auth.Admin}}}}, nil)
	must(b, err)
	b.Cleanup(callers.Close)
	admitted := []string{sigma.Host()}
	if account != nil {
		admitted = append(admitted, fmt.Sprintf("%s:%d", account.Host(), account.Port()))
	}
	hosts, err := sigmaclient.NewHosts(admitted...)
	must(b, err)
	s, err := server.New(b.Context(), server.Config{Store: kept, Callers: callers, Hosts: hosts, DuckDBDir: folder, Spool: results, Logger: quiet, Limits: &quota.Limits{}})
	must(b, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	b.Cleanup(func() { must(b, s.Shutdown(context.Background())); must(b, <-served) })
	w.conn, err = grpc.NewClient(listener.Addr().String(), append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(b, err)
	b.Cleanup(func() { must(b, w.conn.Close()) })
	w.ctx, w.token = withToken(context.Background(), token), token
	w.query = pb.NewModelQueryClient(w.conn)
	_, err = pb.NewSigmaConnectionsClient(w.conn).CreateConnection(w.ctx, &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: "local", Connection: &pb.Connection{
		Sigma:     &pb.SigmaCredentials{BaseUrl: sigma.URL(), ClientId: sigma.Organization().ClientID, ClientSecret: sigmaSecret},
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "SHOP"}}},
	}})
	must(b, err)
	w.model = modelName(duckdbName, "bench", "orders")
	if account != nil {
		_, err = pb.NewSigmaConnectionsClient(w.conn).CreateConnection(w.ctx, &pb.CreateConnectionRequest{Parent: workspace, ConnectionId: "prod", SkipCheck: true, Connection: &pb.Connection{
			Sigma: &pb.SigmaCredentials{BaseUrl: sigma.URL(), ClientId: sigma.Organization().ClientID, ClientSecret: sigmaSecret},
			Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{
				Account: snowflakeAccount, Url: account.URL(), User: snowflakeUser, Warehouse: snowflakeComputer, Database: "SHOP",
				Authentication: &pb.SnowflakeWarehouse_Password{Password: password},
			}}},
		}})
		must(b, err)
	}
	return w
}

func (w *bench) session(b *testing.B, format pb.DataFormat) *pb.ReadSession {
	created, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: w.model, Format: format})
	must(b, err)
	return created.GetSession()
}

func (w *bench) delete(b *testing.B, session *pb.ReadSession) {
	_, err := w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: session.GetName()})
	must(b, err)
}

// readArrow reads a stream as Arrow and touches each batch.
func (w *bench) readArrow(b *testing.B, session *pb.ReadSession) {
	reader, err := client.Read(w.ctx, w.conn, session.GetStreams()[0].GetName(), client.Options{})
	must(b, err)
	defer reader.Release()
	var rows int64
	for reader.Next() {
		rows += reader.RecordBatch().NumRows()
	}
	must(b, reader.Err())
	w.count(b, rows)
}

func (w *bench) count(b *testing.B, rows int64) {
	b.Helper()
	if rows != w.rows {
		b.Fatalf("%d rows of %d", rows, w.rows)
	}
}

// duckdb is a connection of DuckDB's own driver.
func (w *bench) duckdb(b testing.TB) (*duckdbdriver.Arrow, func()) {
	connector, err := duckdbdriver.NewConnector(w.file+"?access_mode=read_only", nil)
	must(b, err)
	conn, err := connector.Connect(context.Background())
	must(b, err)
	arrow, err := duckdbdriver.NewArrowFromConn(conn.(driver.Conn))
	must(b, err)
	return arrow, func() { must(b, conn.Close()); must(b, connector.Close()) }
}

// flightPeer serves the same reader as an arrow-go Flight server does.
type flightPeer struct {
	flight.BaseFlightServer
	b *testing.B
	w *bench
}

func (p *flightPeer) DoGet(_ *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	db, done := p.w.duckdb(p.b)
	defer done()
	reader, err := db.QueryContext(stream.Context(), benchSQL)
	if err != nil {
		return err
	}
	defer reader.Release()
	writer := flight.NewRecordWriter(stream, ipc.WithSchema(reader.Schema()))
	for reader.Next() {
		if err := writer.Write(reader.RecordBatch()); err != nil {
			return err
		}
	}
	return writer.Close()
}

func (w *bench) flight(b *testing.B) (read func(), done func()) {
	s := flight.NewServerWithMiddleware(nil)
	must(b, s.Init("127.0.0.1:0"))
	s.RegisterFlightService(&flightPeer{b: b, w: w})
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	c, err := flight.NewClientWithMiddleware(s.Addr().String(), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(b, err)
	read = func() {
		stream, err := c.DoGet(context.Background(), &flight.Ticket{})
		must(b, err)
		reader, err := flight.NewRecordReader(stream)
		must(b, err)
		defer reader.Release()
		var rows int64
		for reader.Next() {
			rows += reader.RecordBatch().NumRows()
		}
		must(b, reader.Err())
		w.count(b, rows)
	}
	return read, func() { must(b, c.Close()); s.Shutdown(); must(b, <-served) }
}

// BenchmarkReadArrow reads a whole table over loopback, as Arrow: in a new session
// ("first", the query and its keeping in the spool included) and again in the same
// one ("again", from the spool), beside DuckDB's own Arrow reader in process (the
// limit) and an arrow-go Flight server over that reader (the peer). Each ratio says
// how many times as fast ours is.
func BenchmarkReadArrow(b *testing.B) {
	w := newBench(b)
	flightRead, done := w.flight(b)
	defer done()
	var limit, peer, first, again runs
	for b.Loop() {
		limit.add(func() {
			db, done := w.duckdb(b)
			defer done()
			reader, err := db.QueryContext(context.Background(), benchSQL)
			must(b, err)
			defer reader.Release()
			var rows int64
			for reader.Next() {
				rows += reader.RecordBatch().NumRows()
			}
			must(b, reader.Err())
			w.count(b, rows)
		})
		peer.add(flightRead)
		var session *pb.ReadSession
		first.add(func() {
			session = w.session(b, pb.DataFormat_DATA_FORMAT_ARROW)
			w.readArrow(b, session)
		})
		again.add(func() { w.readArrow(b, session) })
		w.delete(b, session)
	}
	w.report(b, "first", first, map[string]runs{"limit": limit, "Flight": peer})
	w.report(b, "again", again, map[string]runs{"limit": limit, "Flight": peer})
	w.report(b, "limit", limit, nil)
	w.report(b, "Flight", peer, nil)
}

// report tells the rate of the median run, and how many times as fast it is as others'.
func (w *bench) report(b *testing.B, what string, ours runs, others map[string]runs) {
	b.ReportMetric(float64(w.rows)/ours.median().Seconds(), what+"_rows/s")
	for name, other := range others {
		b.ReportMetric(other.median().Seconds()/ours.median().Seconds(), what+"_x_"+name)
	}
}

// runs are what something took, run after run.
type runs []time.Duration

func (r *runs) add(do func()) { *r = append(*r, timed(do)) }

func (r runs) median() time.Duration { return percentile(r, 50) }

func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}
