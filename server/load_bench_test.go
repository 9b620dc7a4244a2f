//go:build duckdb_arrow

package server_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/snowflakedb/gosnowflake"
	"golang.org/x/sync/errgroup"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/client"
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

	var ours, one, three time.Duration
	for b.Loop() {
		session := w.session(b, pb.DataFormat_DATA_FORMAT_ARROW)
		ours += timed(func() { w.readArrow(b, session) })
		w.delete(b, session)
		for _, peer := range []struct {
			atOnce int
			time   *time.Duration
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
				*peer.time += timed(func() { w.fetch(b, batches, peer.atOnce) })
				return result.Close()
			}))
			must(b, conn.Close())
		}
	}
	w.report(b, "ours", ours, map[string]time.Duration{"gosnowflake": one, "gosnowflake_3": three})
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

// BenchmarkFirstRow measures the time to the first row of a preview, beside the bare
// driver's for the same statement. What Sigma takes to give the SQL is told apart.
func BenchmarkFirstRow(b *testing.B) {
	w := newBench(b)
	house := duckdb.Open(duckdb.Config{Path: w.file})
	defer func() { must(b, house.Close()) }()
	var driverTimes, oursTimes, sigmaTimes []time.Duration
	for b.Loop() {
		driverTimes = append(driverTimes, timed(func() {
			result, err := house.Query(b.Context(), warehouse.Statement{SQL: benchSQL + " limit 100"})
			must(b, err)
			batch, err := result.Next(b.Context())
			must(b, err)
			batch.Release()
			must(b, result.Close())
		}))
		start := time.Now()
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
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	d, o, s := percentile(driverTimes, 50), percentile(oursTimes, 50), percentile(sigmaTimes, 50)
	b.ReportMetric(ms(d), "driver_p50_ms")
	b.ReportMetric(ms(o), "ours_p50_ms")
	b.ReportMetric(ms(s), "sigma_p50_ms")
	b.ReportMetric(ms(o-d-s), "added_p50_ms")
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
// readers pause at random, beside the bare driver: its throughput at its best
// concurrency, and what it holds with as many results open at once.
func BenchmarkManyPreviews(b *testing.B) {
	const previews = 1000
	w := newBench(b)
	house := duckdb.Open(duckdb.Config{Path: w.file})
	defer func() { must(b, house.Close()) }()
	statement := func(i int) warehouse.Statement {
		return warehouse.Statement{SQL: benchSQL + " limit " + strconv.Itoa(1000+i)}
	}
	read := func(i int, pause func()) {
		result, err := house.Query(context.Background(), statement(i))
		must(b, err)
		for {
			batch, err := result.Next(context.Background())
			if err == io.EOF {
				break
			}
			must(b, err)
			pause()
			batch.Release()
		}
		must(b, result.Close())
	}
	random := func() { <-time.After(rand.N(20 * time.Millisecond)) }
	for b.Loop() {
		best := 0.0
		for _, workers := range []int{1, 2, 4, 8, 16} {
			var group errgroup.Group
			group.SetLimit(workers)
			took := timed(func() {
				for i := range previews {
					group.Go(func() error { read(i, func() {}); return nil })
				}
				must(b, group.Wait())
			})
			best = max(best, previews/took.Seconds())
		}
		driverHeld := peak(b, func() {
			var all errgroup.Group
			for i := range previews {
				all.Go(func() error { read(i, random); return nil })
			}
			must(b, all.Wait())
		})
		times := make([]time.Duration, previews)
		var took time.Duration
		held := peak(b, func() {
			took = timed(func() {
				var all errgroup.Group
				for i := range previews {
					all.Go(func() (err error) { times[i], err = w.previewSlowly(int32(1000+i), random); return err })
				}
				must(b, all.Wait())
			})
		})
		b.ReportMetric(previews/took.Seconds(), "previews/s")
		b.ReportMetric(previews/took.Seconds()/best, "x_driver")
		b.ReportMetric(percentile(times, 50).Seconds()*1000, "p50_ms")
		b.ReportMetric(percentile(times, 99).Seconds()*1000, "p99_ms")
		b.ReportMetric(held, "MiB")
		b.ReportMetric(driverHeld, "driver_MiB")
	}
}

func (w *bench) previewSlowly(rows int32, pause func()) (time.Duration, error) {
	start := time.Now()
	stream, err := w.query.PreviewModel(w.ctx, &pb.PreviewModelRequest{Name: w.model, RowLimit: rows})
	if err != nil {
		return 0, err
	}
	var statistics *pb.Statistics
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if message.GetRows() != nil {
			pause()
		}
		if statistics = message.GetStatistics(); statistics != nil && statistics.GetRowCount() != int64(rows) {
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
