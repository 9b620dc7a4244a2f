//go:build duckdb_arrow

package server_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	duckdbdriver "github.com/duckdb/duckdb-go/v2"
	"github.com/snowflakedb/gosnowflake"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
	"github.com/sigmasource/sigmasource/server/pool"
	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// BenchmarkReadSnowflake reads a result of Snowflake, once its query has run: a stream
// of a session over loopback, beside gosnowflake's own Arrow batches, fetched one
// after the other as its documentation does, and three at a time.
func BenchmarkReadSnowflake(b *testing.B) {
	rows := benchRows(b) / 10
	account, err := snowflaketest.NewServer(snowflaketest.Config{Account: snowflakeAccount, ChunkRows: 50_000,
		Users: []snowflaketest.User{{Name: snowflakeUser, Password: password, Roles: []string{snowflakeRole}, Warehouse: snowflakeComputer}}, Warehouses: []string{snowflakeComputer}})
	must(b, err)
	defer func() { must(b, account.Close()) }()
	must(b, account.Exec(b.Context(), `CREATE DATABASE SHOP; CREATE SCHEMA SHOP.SALES;
		CREATE TABLE SHOP.SALES.ORDERS AS SELECT SEQ4() AS ORDER_ID, 'customer ' || MOD(SEQ4(), 1000) AS CUSTOMER, MOD(SEQ4(), 3) = 0 AS PAID,
		(SEQ4() * 1.25)::NUMBER(12,2) AS AMOUNT, SEQ4()::FLOAT AS WEIGHT, '2022-01-01'::DATE AS DAY, '2023-11-14 00:00:00'::TIMESTAMP_NTZ AS ORDERED_AT,
		'left at the door' AS NOTE FROM TABLE(GENERATOR(ROWCOUNT => `+strconv.FormatInt(rows, 10)+`))`))
	w := newBenchBeside(b, account)
	w.rows, w.model = rows, strings.Replace(w.model, duckdbName, snowflakeName, 1)
	connector := gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, gosnowflake.Config{Account: snowflakeAccount, Host: account.Host(), Port: account.Port(), Protocol: "http",
		User: snowflakeUser, Password: password, Warehouse: snowflakeComputer, Database: "SHOP", Schema: "SALES", DisableTelemetry: true})
	db := sql.OpenDB(connector)
	defer func() { must(b, db.Close()) }()

	var ours, one, three runs
	for b.Loop() {
		session := w.session(b, pb.DataFormat_DATA_FORMAT_ARROW)
		ours.add(func() { w.readArrow(b, session) })
		w.delete(b, session)
		for _, peer := range []struct {
			atOnce int
			time   *runs
		}{{1, &one}, {3, &three}} {
			conn, err := db.Conn(b.Context())
			must(b, err)
			must(b, conn.Raw(func(raw any) error {
				ctx := gosnowflake.WithHigherPrecision(gosnowflake.WithArrowBatches(gosnowflake.WithArrowBatchesTimestampOption(context.Background(), gosnowflake.UseOriginalTimestamp)))
				result, err := raw.(driver.QueryerContext).QueryContext(ctx, benchSQL, nil)
				if err != nil {
					return err
				}
				batches, err := result.(gosnowflake.SnowflakeRows).GetArrowBatches()
				if err != nil {
					return err
				}
				peer.time.add(func() { w.fetch(b, batches, peer.atOnce) })
				return result.Close()
			}))
			must(b, conn.Close())
		}
	}
	w.report(b, "ours", ours, map[string]runs{"gosnowflake": one, "gosnowflake_3": three})
}

func (w *bench) fetch(b *testing.B, batches []*gosnowflake.ArrowBatch, atOnce int) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	var mu sync.Mutex
	var rows int64
	for _, batch := range batches {
		group.Go(func() error {
			records, err := batch.Fetch()
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, record := range *records {
				rows += record.NumRows()
				record.Release()
			}
			return nil
		})
	}
	must(b, group.Wait())
	w.count(b, rows)
}

// bareReads read a statement's rows without the service: by DuckDB's own driver, with
// the settings that it has by itself, and by the package that the service reads through.
func (w *bench) bareReads(b *testing.B) (driver, reader func(sql string, batch func())) {
	connector, err := duckdbdriver.NewConnector(w.file+"?access_mode=read_only", nil)
	must(b, err)
	house := duckdb.Open(duckdb.Config{Path: w.file, Allocator: pool.Allocator{}})
	b.Cleanup(func() { must(b, connector.Close()); must(b, house.Close()) })
	driver = func(sql string, batch func()) {
		conn, err := connector.Connect(context.Background())
		must(b, err)
		arrow, err := duckdbdriver.NewArrowFromConn(conn)
		must(b, err)
		result, err := arrow.QueryContext(context.Background(), sql)
		must(b, err)
		for result.Next() {
			batch()
		}
		must(b, result.Err())
		result.Release()
		must(b, conn.Close())
	}
	reader = func(sql string, batch func()) {
		result, err := house.Query(context.Background(), warehouse.Statement{SQL: sql})
		must(b, err)
		for {
			got, err := result.Next(context.Background())
			if err == io.EOF {
				break
			}
			must(b, err)
			batch()
			got.Release()
		}
		must(b, result.Close())
	}
	return driver, reader
}

// BenchmarkFirstRow measures the time to the first row of a preview, beside the bare
// driver's for the same statement, and the bare reader's. What Sigma takes to give the
// SQL is told apart.
func BenchmarkFirstRow(b *testing.B) {
	w := newBench(b)
	driver, reader := w.bareReads(b)
	var driverTimes, readerTimes, oursTimes, sigmaTimes []time.Duration
	for b.Loop() {
		const sql = benchSQL + " limit 100"
		start := time.Now()
		driver(sql, func() { driverTimes = append(driverTimes, time.Since(start)) })
		start = time.Now()
		reader(sql, func() { readerTimes = append(readerTimes, time.Since(start)) })
		start = time.Now()
		stream, err := w.query.PreviewModel(w.ctx, &pb.PreviewModelRequest{Name: w.model})
		must(b, err)
		seen := false
		for {
			message, err := stream.Recv()
			if err == io.EOF {
				break
			}
			must(b, err)
			if message.GetRows() != nil && !seen {
				seen = true
				oursTimes = append(oursTimes, time.Since(start))
			}
			if s := message.GetStatistics(); s != nil {
				sigmaTimes = append(sigmaTimes, s.GetSigmaTime().AsDuration())
			}
		}
	}
	ms := func(times []time.Duration) float64 { return percentile(times, 50).Seconds() * 1000 }
	b.ReportMetric(ms(driverTimes), "driver_p50_ms")
	b.ReportMetric(ms(readerTimes), "reader_p50_ms")
	b.ReportMetric(ms(oursTimes), "ours_p50_ms")
	b.ReportMetric(ms(sigmaTimes), "sigma_p50_ms")
	b.ReportMetric(ms(oursTimes)-ms(driverTimes)-ms(sigmaTimes), "added_to_driver_p50_ms")
	b.ReportMetric(ms(oursTimes)-ms(readerTimes)-ms(sigmaTimes), "added_to_reader_p50_ms")
}

func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)]
}

// peak returns the most memory that the process held beyond what it holds now, in
// MiB, while do ran.
func peak(b *testing.B, do func()) float64 {
	runtime.GC()
	debug.FreeOSMemory()
	before, most := resident(b), int64(0)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, resident(b))
			case <-done:
				return
			}
		}
	}()
	do()
	close(done)
	<-ended
	return float64(max(0, most-before)) / (1 << 20)
}

func resident(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	must(b, err)
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	must(b, err)
	return pages * int64(os.Getpagesize())
}

// BenchmarkManyPreviews runs 1,000 previews of 1,000 to 1,999 rows at once, whose
// readers pause at random, beside the bare driver and the bare reader: their throughput
// at their best concurrency, and what the driver holds with as many results open at once.
// The 1,000 callers, who decode the rows with the generated stubs, are a process of their
// own, on the same cores.
func BenchmarkManyPreviews(b *testing.B) {
	const previews = 1000
	w := newBench(b)
	driver, reader := w.bareReads(b)
	statement := func(i int) string { return benchSQL + " limit " + strconv.Itoa(1000+i) }
	best := func(read func(string, func())) (most float64) {
		for _, workers := range []int{1, 2, 4, 8, 16} {
			var group errgroup.Group
			group.SetLimit(workers)
			took := timed(func() {
				for i := range previews {
					group.Go(func() error { read(statement(i), func() {}); return nil })
				}
				must(b, group.Wait())
			})
			most = max(most, previews/took.Seconds())
		}
		return most
	}
	var driverBest, readerBest, ours, driverHeld, held, p50, p99 []float64
	for b.Loop() {
		driverBest, readerBest = append(driverBest, best(driver)), append(readerBest, best(reader))
		driverHeld = append(driverHeld, peak(b, func() {
			var all errgroup.Group
			for i := range previews {
				all.Go(func() error { driver(statement(i), randomPause); return nil })
			}
			must(b, all.Wait())
		}))
		var seen experience
		held = append(held, peak(b, func() { seen = w.callers(b, previews) }))
		ours = append(ours, previews/seen.Took.Seconds())
		p50 = append(p50, percentile(seen.Times, 50).Seconds()*1000)
		p99 = append(p99, percentile(seen.Times, 99).Seconds()*1000)
	}
	b.ReportMetric(median(ours), "previews/s")
	b.ReportMetric(median(ours)/median(driverBest), "x_driver")
	b.ReportMetric(median(ours)/median(readerBest), "x_reader")
	b.ReportMetric(median(p50), "p50_ms")
	b.ReportMetric(median(p99), "p99_ms")
	b.ReportMetric(slices.Max(held), "MiB")
	b.ReportMetric(slices.Min(driverHeld), "driver_MiB")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// order is what the process of the callers is to do.
type order struct {
	Target, Token, Model string
	Previews             int
}

// experience is what it tells: how long each preview took, and all together.
type experience struct {
	Times []time.Duration
	Took  time.Duration
}

// callers runs the previews from a process of their own.
func (w *bench) callers(b *testing.B, previews int) (seen experience) {
	text, err := json.Marshal(order{w.conn.Target(), w.token, w.model, previews})
	must(b, err)
	process := exec.CommandContext(b.Context(), os.Args[0])
	process.Env = append(os.Environ(), callersVariable+"="+string(text))
	process.Stderr = os.Stderr
	told, err := process.Output()
	must(b, err)
	must(b, json.Unmarshal(told, &seen))
	return seen
}

func init() {
	asCallers = func() {
		if err := beCallers(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func beCallers() error {
	var wanted order
	if err := json.Unmarshal([]byte(os.Getenv(callersVariable)), &wanted); err != nil {
		return err
	}
	conn, err := grpc.NewClient(wanted.Target, append(client.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return err
	}
	query, ctx := pb.NewModelQueryClient(conn), withToken(context.Background(), wanted.Token)
	seen := experience{Times: make([]time.Duration, wanted.Previews)}
	seen.Took = timed(func() {
		var all errgroup.Group
		for i := range seen.Times {
			all.Go(func() (err error) {
				seen.Times[i], err = previewSlowly(ctx, query, &pb.PreviewModelRequest{Name: wanted.Model, RowLimit: int32(1000 + i)})
				return err
			})
		}
		err = all.Wait()
	})
	return errors.Join(err, conn.Close(), json.NewEncoder(os.Stdout).Encode(seen))
}

// randomPause is what slow readers do after each batch.
func randomPause() { <-time.After(rand.N(20 * time.Millisecond)) }

func previewSlowly(ctx context.Context, query pb.ModelQueryClient, request *pb.PreviewModelRequest) (time.Duration, error) {
	start := time.Now()
	stream, err := query.PreviewModel(ctx, request)
	if err != nil {
		return 0, err
	}
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if message.GetRows() != nil {
			randomPause()
		}
		if statistics := message.GetStatistics(); statistics != nil && statistics.GetRowCount() != int64(request.GetRowLimit()) {
			return 0, errors.New("rows are missing")
		}
	}
	return time.Since(start), nil
}

// BenchmarkSlowReaders lets 64 readers, each with a session of its own, read the whole
// table with a pause after each message, for a while, and tells what the process holds
// beside what the bare driver holds with as many results open.
func BenchmarkSlowReaders(b *testing.B) {
	const readers, messages = 64, 40
	w := newBench(b)
	house := duckdb.Open(duckdb.Config{Path: w.file})
	defer func() { must(b, house.Close()) }()
	pause := func() { <-time.After(50*time.Millisecond + rand.N(50*time.Millisecond)) }
	for b.Loop() {
		driverHeld := peak(b, func() {
			var all errgroup.Group
			for range readers {
				all.Go(func() error {
					result, err := house.Query(context.Background(), warehouse.Statement{SQL: benchSQL})
					if err != nil {
						return err
					}
					for range messages {
						batch, err := result.Next(context.Background())
						if err != nil {
							return err
						}
						pause()
						batch.Release()
					}
					return result.Close()
				})
			}
			must(b, all.Wait())
		})
		held := peak(b, func() {
			var all errgroup.Group
			for range readers {
				all.Go(func() error {
					created, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: w.model, Format: pb.DataFormat_DATA_FORMAT_ARROW})
					if err != nil {
						return err
					}
					reader, err := client.Read(w.ctx, w.conn, created.GetSession().GetStreams()[0].GetName(), client.Options{})
					if err != nil {
						return err
					}
					defer reader.Release()
					for range messages {
						if !reader.Next() {
							return errors.Join(reader.Err(), errors.New("it ended early"))
						}
						pause()
					}
					_, err = w.query.DeleteReadSession(w.ctx, &pb.DeleteReadSessionRequest{Name: created.GetSession().GetName()})
					return err
				})
			}
			must(b, all.Wait())
		})
		b.ReportMetric(held, "MiB")
		b.ReportMetric(driverHeld, "driver_MiB")
	}
}
