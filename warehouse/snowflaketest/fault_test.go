//lint:file-ignore SA1019 the driver's v1.19.1 deprecates these fields and offers nothing in their place

package snowflaketest_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	sf "github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// TestChunkFaults shows what each fault does to a reader that trusts the
// driver: an error, or, where HTTP and Arrow see nothing wrong, a short result
// that only the declared row count betrays.
func TestChunkFaults(t *testing.T) {
	const silent = true
	tests := []struct {
		name   string
		fault  snowflaketest.ChunkFault
		silent bool
	}{
		{"lost", snowflaketest.ChunkFault{Do: snowflaketest.Lose}, false},
		{"cut after the headers", snowflaketest.ChunkFault{Do: snowflaketest.Cut, At: snowflaketest.AfterHeaders}, false},
		{"cut within a batch", snowflaketest.ChunkFault{Do: snowflaketest.Cut, At: snowflaketest.MidBatch}, false},
		{"cut between batches", snowflaketest.ChunkFault{Do: snowflaketest.Cut, At: snowflaketest.BatchBoundary}, false},
		{"short after the headers", snowflaketest.ChunkFault{Do: snowflaketest.Truncate, At: snowflaketest.AfterHeaders}, false},
		{"short within a batch", snowflaketest.ChunkFault{Do: snowflaketest.Truncate, At: snowflaketest.MidBatch}, false},
		{"short between batches", snowflaketest.ChunkFault{Do: snowflaketest.Truncate, At: snowflaketest.BatchBoundary}, silent},
		{"corrupt after the headers", snowflaketest.ChunkFault{Do: snowflaketest.Corrupt, At: snowflaketest.AfterHeaders}, false},
		{"corrupt between batches", snowflaketest.ChunkFault{Do: snowflaketest.Corrupt, At: snowflaketest.BatchBoundary}, false},
	}
	for _, gzip := range []bool{false, true} {
		for _, tt := range tests {
			name := tt.name
			if gzip {
				name += ", compressed"
			}
			t.Run(name, func(t *testing.T) {
				s := newServer(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 1000, BatchRows: 300, GzipChunks: gzip}, orders)
				s.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
					if index == 1 {
						return tt.fault
					}
					return snowflaketest.ChunkFault{}
				}})
				total, records, err := stream(t.Context(), t, openDB(t, s), `select * from SALES.CORE.ORDERS where ID < 2600`)
				got := rowCount(records)
				if total != 2600 || got >= total {
					t.Errorf("declared %d, delivered %d", total, got)
				}
				if (err == nil) != tt.silent {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// TestHarmThatTheDriverMisses ends well for a reader that trusts the driver.
func TestHarmThatTheDriverMisses(t *testing.T) {
	for name, faults := range map[string]snowflaketest.Faults{
		"a chunk is not listed": {Unlisted: func(_ snowflaketest.Query, index int) bool { return index == 1 }},
		"the answer's rows end between two batches": {Inline: func(snowflaketest.Query) snowflaketest.ChunkFault {
			return snowflaketest.ChunkFault{Do: snowflaketest.Truncate, At: snowflaketest.BatchBoundary}
		}},
		"the answer's rows are missing": {Inline: func(snowflaketest.Query) snowflaketest.ChunkFault {
			return snowflaketest.ChunkFault{Do: snowflaketest.Lose}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, snowflaketest.Config{InlineRows: 600, ChunkRows: 1000, BatchRows: 300, Faults: faults}, orders)
			total, records, err := stream(t.Context(), t, openDB(t, s), `select * from SALES.CORE.ORDERS where ID < 2600`)
			if got := rowCount(records); err != nil || total != 2600 || got >= total || got == 0 {
				t.Errorf("declared %d, delivered %d, %v", total, got, err)
			}
		})
	}
}

func TestAnswersThatBreakOff(t *testing.T) {
	for _, do := range []snowflaketest.ChunkAction{snowflaketest.Cut, snowflaketest.Stall} {
		for _, at := range []snowflaketest.ChunkPlace{snowflaketest.AfterHeaders, snowflaketest.MidBatch} {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := newServer(t, snowflaketest.Config{}, orders)
			db := openDB(t, s)
			s.SetFaults(snowflaketest.Faults{Inline: func(snowflaketest.Query) snowflaketest.ChunkFault {
				if do == snowflaketest.Stall {
					cancel() // the reader gives up while the answer stalls
				}
				return snowflaketest.ChunkFault{Do: do, At: at}
			}})
			if _, records, err := stream(ctx, t, db, `select * from SALES.CORE.ORDERS`); err == nil {
				t.Errorf("%s %s: %d rows, and a good end", do, at, rowCount(records))
			}
		}
	}
}

func TestAQueryCanBeHeldBeforeItIsCompiled(t *testing.T) {
	s := newServer(t, snowflaketest.Config{}, orders)
	s.SetFaults(snowflaketest.Faults{
		BeforeCompile: func(context.Context, snowflaketest.Query) *snowflaketest.Error {
			return &snowflaketest.Error{Code: "000603", State: "53000", Message: "held"}
		},
		BeforeRun: func(context.Context, snowflaketest.Query) *snowflaketest.Error {
			t.Error("a query that was not compiled is about to run")
			return nil
		},
	})
	if _, _, err := stream(t.Context(), t, openDB(t, s), `select * from NO.SUCH.TABLE`); err == nil || !strings.Contains(err.Error(), "held") {
		t.Errorf("got %v", err)
	}
}

func TestStalledChunkEndsWithTheContext(t *testing.T) {
	for name, at := range map[string]snowflaketest.ChunkPlace{"after the headers": snowflaketest.AfterHeaders,
		"within a batch": snowflaketest.MidBatch, "between batches": snowflaketest.BatchBoundary} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := newServer(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 1000}, orders)
			s.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, _ int) snowflaketest.ChunkFault {
				cancel() // the reader gives up while the body stalls
				return snowflaketest.ChunkFault{Do: snowflaketest.Stall, At: at}
			}})
			if _, _, err := stream(ctx, t, openDB(t, s), `select * from SALES.CORE.ORDERS`); err == nil {
				t.Error("a stalled chunk ended well")
			}
		})
	}
}

func TestDeclaredRows(t *testing.T) {
	s := newServer(t, snowflaketest.Config{Faults: snowflaketest.Faults{
		DeclaredRows: func(_ snowflaketest.Query, rows int64) int64 { return rows + 5 },
	}}, orders)
	total, records, err := stream(t.Context(), t, openDB(t, s), `select * from SALES.CORE.ORDERS where ID < 10`)
	if err != nil || total != 15 || rowCount(records) != 10 {
		t.Errorf("declared %d, delivered %d, %v", total, rowCount(records), err)
	}
}

func TestUnavailableOnceIsRetried(t *testing.T) {
	t.Parallel()
	s := newServer(t, snowflaketest.Config{})
	var calls atomic.Int32
	s.SetFaults(snowflaketest.Faults{Status: func(path string) int {
		if strings.HasSuffix(path, "/query-request") && calls.Add(1) == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	}})
	if err := ping(t.Context(), openDB(t, s, func(c *sf.Config) { c.MaxRetryCount = 3 })); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 2 {
		t.Errorf("%d requests", calls.Load())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := newServer(t, snowflaketest.Config{})
	db := openDB(t, s, func(c *sf.Config) { c.RequestTimeout, c.KeepSessionAlive = 1e9, true })
	failed := make(chan error, 1)
	go func() { failed <- func() error { _, _, err := stream(t.Context(), t, db, forever); return err }() }()
	if _, err := s.WaitQuery(t.Context(), func(q snowflaketest.Query) bool { return q.State == snowflaketest.StateRunning }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("the query ended well")
	}
}
