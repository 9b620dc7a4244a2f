package server_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

var (
	faultSeeds = flag.Uint64("fault.seeds", 1000, "the fault tests run this many seeds, from 0 on")
	faultSeed  = flag.Int64("fault.seed", -1, "the fault tests run this seed alone")
)

// The result that gets harmed: some rows come with the answer, the others in
// chunks of several batches.
const (
	harmedInline = 60
	harmedChunks = 4
	harmedChunk  = 90
	harmedBatch  = 30
	harmedRows   = harmedInline + harmedChunks*harmedChunk
)

// firstOrders are the first of plainOrders, as many as a preview of them or a read
// of the whole gives.
var firstOrders = strings.Replace(plainOrders, "order by", fmt.Sprintf("where ORDER_ID < %d order by", harmedRows), 1)

// harmedWorlds is how many worlds seeds are read in at once. Every other one
// compresses.
const harmedWorlds = 16

// harmed is a world whose results get harmed on their way.
type harmed struct {
	*world
	model string
	gzip  bool
}

// newHarmed makes one that gives downloads up soon that stand still.
func newHarmed(t *testing.T, gzip bool) *harmed {
	t.Helper()
	w := shop(t, snowflaketest.Config{InlineRows: harmedInline, ChunkRows: harmedChunk, BatchRows: harmedBatch, GzipChunks: gzip})
	w.restart(func(c *server.Config) { c.ReadTimeout = 150 * time.Millisecond })
	return &harmed{world: w, model: w.model(snowflakeName, firstOrders), gzip: gzip}
}

// by lets a seed say what happens.
func (h *harmed) by(seed uint64) *snowflaketest.Scenario {
	scenario := snowflaketest.NewScenario(seed, snowflaketest.Shape{
		Chunks: harmedChunks, Batches: harmedInline / harmedBatch, Gzip: h.gzip,
		Concerns: func(q snowflaketest.Query) bool { return q.Tag != "" }, // a read, and not who we are
	})
	h.snowflake.SetFaults(scenario.Faults)
	return scenario
}

// underSeeds reads under each seed, in several worlds at once: much of the time
// a read waits for what will not come.
func underSeeds(t *testing.T, read func(h *harmed, seed uint64, scenario *snowflaketest.Scenario)) {
	t.Helper()
	first, last := uint64(0), uint64(fewerIfRaced(int(*faultSeeds)))
	if *faultSeed >= 0 {
		first, last = uint64(*faultSeed), uint64(*faultSeed)+1
	}
	t.Logf("seeds %d to %d; -fault.seed N replays one", first, last-1)
	worlds := uint64(max(2, fewerIfRaced(harmedWorlds)))
	var readers sync.WaitGroup
	for from := first; from < min(first+worlds, last); from++ {
		h := newHarmed(t, from%2 == 1)
		readers.Go(func() {
			for seed := from; seed < last; seed += worlds {
				read(h, seed, h.by(seed))
				if err := h.snowflake.WaitIdle(t.Context()); err != nil {
					t.Errorf("seed %d: something of it stays: %v", seed, err)
				}
			}
		})
	}
	readers.Wait()
}

// inEachFormat reads in all formats at once.
func inEachFormat(read func(pb.DataFormat)) {
	var readers sync.WaitGroup
	for _, format := range formats {
		readers.Go(func() { read(format) })
	}
	readers.Wait()
}

// TestNoSeedGivesAShortPreview cuts, stalls, alters, shortens and loses parts of
// results on their way from the warehouse.
func TestNoSeedGivesAShortPreview(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ends := map[string]int{}
	underSeeds(t, func(h *harmed, seed uint64, scenario *snowflaketest.Scenario) {
		inEachFormat(func(format pb.DataFormat) {
			r, err := h.preview(h.ctx, &pb.PreviewModelRequest{Name: h.model, RowLimit: harmedRows, Format: format})
			end := judge(t, scenario, err, func() [][]string { return r.table(t) })
			if end.problem != "" {
				t.Errorf("seed %d, %s (%s): %s", seed, format, scenario, end.problem)
			}
			mu.Lock()
			defer mu.Unlock()
			ends[end.name]++
		})
	})
	t.Logf("the previews ended so: %v", ends)
}

// TestNoSeedGivesAShortSession does the same with whole results, some in several
// streams, some read where their query ran, and some at another replica.
func TestNoSeedGivesAShortSession(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ends := map[string]int{}
	replicas := map[*harmed]pb.ModelQueryClient{}
	underSeeds(t, func(h *harmed, seed uint64, scenario *snowflaketest.Scenario) {
		mu.Lock()
		if replicas[h] == nil {
			replicas[h] = h.replica()
		}
		at, where := h.query, "there"
		if seed/harmedWorlds%2 == 1 {
			at, where = replicas[h], "elsewhere"
		}
		mu.Unlock()
		inEachFormat(func(format pb.DataFormat) {
			rows, err := h.wholeSession(at, &pb.CreateReadSessionRequest{Name: h.model, Format: format, MaxStreamCount: int32(1 + seed%3)})
			end := judge(t, scenario, err, func() [][]string { return rows })
			if end.problem != "" {
				t.Errorf("seed %d, %s, read %s (%s): %s", seed, format, where, scenario, end.problem)
			}
			mu.Lock()
			defer mu.Unlock()
			ends[where+" "+end.name]++
		})
	})
	t.Logf("the sessions ended so: %v", ends)
}

// wholeSession makes a session, reads its streams at a server, and deletes it.
func (h *harmed) wholeSession(at pb.ModelQueryClient, request *pb.CreateReadSessionRequest) (rows [][]string, err error) {
	created, err := h.query.CreateReadSession(h.ctx, request)
	if err != nil {
		return nil, err
	}
	session := created.GetSession()
	defer func() {
		_, deleteErr := h.query.DeleteReadSession(h.ctx, &pb.DeleteReadSessionRequest{Name: session.GetName()})
		err = errors.Join(err, deleteErr)
	}()
	for _, stream := range session.GetStreams() {
		r, err := h.readStreamAt(h.ctx, at, stream.GetName(), 0)
		if err != nil {
			return nil, err
		}
		table := r.table(h.t)
		if !slices.IsSortedFunc(table, byNumber) {
			h.t.Errorf("the rows of %s are not in order", stream.GetName())
		}
		rows = append(rows, table...)
	}
	slices.SortFunc(rows, byNumber) // each stream has every nth part
	return rows, nil
}

// byNumber orders rows by a first column of numbers.
func byNumber(a, b []string) int {
	return cmp.Or(cmp.Compare(len(a[0]), len(b[0])), strings.Compare(a[0], b[0]))
}

// ending is how a read ended, and what is wrong with that.
type ending struct{ name, problem string }

// judge holds the end of a read of firstOrders to what its scenario allows.
func judge(t *testing.T, scenario *snowflaketest.Scenario, err error, rows func() [][]string) ending {
	t.Helper()
	if err == nil {
		problem := wrongOrders(rows(), harmedRows)
		if scenario.Verdict == snowflaketest.Lost && problem == "" {
			problem = "all rows came, and some cannot be had"
		}
		return ending{"whole", problem}
	}
	reason := detail[*errdetails.ErrorInfo](err).GetReason()
	end := ending{name: status.Code(err).String() + " " + reason}
	switch {
	case scenario.Verdict == snowflaketest.Whole:
		end.problem = fmt.Sprintf("it goes by, and the read failed: %v", err)
	case reason == "VALUE_UNSUPPORTED" && scenario.Alters:
		// Damage that shows in a value before it shows at the chunk's end.
	case status.Code(err) != codes.DataLoss && status.Code(err) != codes.Unavailable:
		end.problem = fmt.Sprintf("another error: %v", err)
	}
	return end
}

// wrongOrders tells how rows differ from the first orders, or nothing.
func wrongOrders(rows [][]string, n int) string {
	for i, row := range rows {
		if !slices.Equal(row, []string{fmt.Sprint(i), fmt.Sprintf(`"state %d"`, i%3)}) {
			return fmt.Sprintf("row %d is %q", i, row)
		}
	}
	if len(rows) != n {
		return fmt.Sprintf("%d rows came instead of %d", len(rows), n)
	}
	return ""
}
