package snowflake_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// places are all places of a chunk of three batches.
var places = []snowflaketest.ChunkFault{
	{At: snowflaketest.AfterHeaders},
	{At: snowflaketest.MidBatch, Batch: 0}, {At: snowflaketest.MidBatch, Batch: 2},
	{At: snowflaketest.BatchBoundary, Batch: 0}, {At: snowflaketest.BatchBoundary, Batch: 1},
	{At: snowflaketest.ChunkEnd},
}

func TestChunkFaults(t *testing.T) {
	const (
		rows   = 1_800 // 200 inline and four chunks of three batches
		always = 1 << 30
	)
	for _, gzip := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip %t", gzip), func(t *testing.T) {
			t.Parallel()
			s := account(t, snowflaketest.Config{InlineRows: 200, ChunkRows: 400, BatchRows: 140, GzipChunks: gzip})
			w := open(t, impatient(s))
			for do := snowflaketest.Stall; do <= snowflaketest.Lose; do++ {
				for _, fault := range places {
					for _, times := range []int{1, 2, always} {
						fault.Do = do
						s.SetFaults(snowflaketest.Faults{Chunk: func(_ string, index, attempt int) snowflaketest.ChunkFault {
							if index == 2 && attempt < times {
								return fault
							}
							return snowflaketest.ChunkFault{}
						}})
						got, err := readSeries(t, w, rows, fault.Do == snowflaketest.Corrupt && fault.At == snowflaketest.MidBatch && !gzip)
						name := fmt.Sprintf("%s, %d times: %d rows, %v", fault, times, got, err)
						if err == nil && got != rows {
							t.Errorf("%s: a short result", name)
						}
						corrupt := do == snowflaketest.Corrupt
						switch {
						case corrupt && !gzip && fault.At == snowflaketest.MidBatch:
							// Arrow has no checksum: a change within a batch's values cannot be seen.
						case err == nil && times == always && fault.At != snowflaketest.ChunkEnd:
							t.Errorf("%s: it ended well", name)
						case err != nil && times != always && !(corrupt && gzip):
							t.Errorf("%s: it goes by, and was not tried again (cause: %v)", name, errors.Unwrap(err))
						case err != nil:
							wantPart(t, name, err, "part 4 of the result, of 5")
						}
					}
				}
			}
			s.SetFaults(snowflaketest.Faults{})
			if got, err := readSeries(t, w, rows, false); got != rows || err != nil {
				t.Errorf("without faults: %d rows, %v", got, err)
			}
			if err := s.WaitIdle(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// impatient gives a download up that stands still for a moment.
func impatient(s *snowflaketest.Server) snowflake.Config {
	c := config(s)
	c.ReadTimeout = 200 * time.Millisecond
	return c
}

// wantPart makes sure that an error is about a part of a result.
func wantPart(t *testing.T, name string, err error, part string) {
	t.Helper()
	var e *warehouse.Error
	switch {
	case !errors.As(err, &e) || e.Kind != warehouse.KindIncomplete && e.Kind != warehouse.KindUnavailable:
		t.Errorf("%s: another error (cause: %v)", name, errors.Unwrap(err))
	case e.QueryID == "" || !strings.Contains(e.Message, part):
		t.Errorf("%s: the error does not tell where", name)
	}
}

// TestScenarios reads through whatever a seed brings. The server's tests do the
// same over the wire, with more seeds.
func TestScenarios(t *testing.T) {
	const rows = 60 + 4*90
	for _, gzip := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip %t", gzip), func(t *testing.T) {
			t.Parallel()
			s := account(t, snowflaketest.Config{InlineRows: 60, ChunkRows: 90, BatchRows: 30, GzipChunks: gzip})
			w := open(t, impatient(s))
			if _, err := w.Identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(150) {
				scenario := snowflaketest.NewScenario(seed, snowflaketest.Shape{Chunks: 4, Batches: 2, Gzip: gzip,
					Concerns: func(snowflaketest.Query) bool { return true }})
				s.SetFaults(scenario.Faults)
				got, err := readSeries(t, w, rows, false)
				switch {
				case err == nil && (got != rows || scenario.Verdict == snowflaketest.Lost):
					t.Errorf("seed %d (%s): a good end after %d rows", seed, scenario, got)
				case err != nil && scenario.Verdict == snowflaketest.Whole:
					t.Errorf("seed %d (%s): %v (cause: %v)", seed, scenario, err, errors.Unwrap(err))
				}
				if err := s.WaitIdle(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// readSeries reads a series to its end. Where that is good, its rows must be
// right, unless the test says that they cannot be.
func readSeries(t *testing.T, w warehouse.Warehouse, n int, altered bool) (rows int, err error) {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: series(n)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	wrong := ""
	for {
		batch, err := result.Next(t.Context())
		if err == io.EOF {
			if wrong != "" && !altered {
				t.Error("a good end, and " + wrong)
			}
			return rows, nil
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				t.Errorf("a failure could be taken for the end: %v", err)
			}
			return rows, err
		}
		for i := range int(batch.NumRows()) {
			if id, name := batch.Column(0).ValueStr(i), batch.Column(1).ValueStr(i); id != fmt.Sprint(rows+i) || name != "row "+id {
				wrong = fmt.Sprintf("row %d is %s, %q", rows+i, id, name)
			}
		}
		rows += int(batch.NumRows())
		batch.Release()
	}
}

func TestDeclaredRowsMustCome(t *testing.T) {
	s := account(t, snowflaketest.Config{})
	w := open(t, config(s))
	for _, n := range []int{0, 10, 3_000} {
		for _, difference := range []int64{-1, 1} {
			s.SetFaults(snowflaketest.Faults{DeclaredRows: func(_ snowflaketest.Query, rows int64) int64 { return rows + difference }})
			if e := failure(t, w, series(n)); e.Kind != warehouse.KindIncomplete {
				t.Errorf("%d rows and %d declared: %v", n, int64(n)+difference, e)
			}
		}
	}
}
