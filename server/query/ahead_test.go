package query

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/mem"
	"pgregory.net/rapid"
)

// ledger is a pool of buffers that counts those that are not back.
type ledger struct{ out atomic.Int64 }

func (l *ledger) Get(length int) *[]byte {
	l.out.Add(1)
	return new(make([]byte, length))
}

func (l *ledger) Put(*[]byte) { l.out.Add(-1) }

// Whatever memory there is, and wherever a part fails or the reader leaves: blocks
// come in their places, the failure comes in its own, and all memory comes back.
func TestReadAheadKeepsTheOrderAndItsMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 9).Draw(t, "blocks of the parts")
		step := rapid.IntRange(1, 3).Draw(t, "streams")
		first := rapid.IntRange(0, step-1).Draw(t, "stream")
		memory := rapid.Int64Range(0, 16<<10).Draw(t, "memory")
		leaves := rapid.SampledFrom([]int{1, 2, 5, 1000}).Draw(t, "blocks after which the reader leaves")
		fails := rapid.IntRange(0, 2*len(parts)).Draw(t, "part that fails")
		failure := errors.New("the part is broken")
		process, buffers := newBudget(memory), &ledger{}

		id := func(part, i int) int64 { return int64(100*part + i + 1) }
		read := func(_ context.Context, part int, _ int64, give func(block) error) error {
			for i := range parts[part] {
				b := block{rows: id(part, i)}
				if i > 0 { // the first is passed over, and has no contents
					b.ipc = mem.NewBuffer(buffers.Get(2<<10+i), buffers)
				}
				if err := give(b); err != nil {
					return err
				}
			}
			if part == fails {
				return failure
			}
			return nil
		}
		var want, got []int64
		failed := false
		for n := first; n < len(parts) && !failed; n += step {
			for i := range parts[n] {
				want = append(want, id(n, i))
			}
			failed = n == fails
		}

		a := newReadAhead(context.Background(), read, step, process)
		err := func() error {
			for n := first; n < len(parts) && len(got) < leaves; n += step {
				blocks := a.open(n, 0, len(parts))
				defer blocks.close()
				for len(got) < leaves {
					b, err := blocks.next(context.Background())
					if err == io.EOF {
						break
					}
					if err != nil {
						return err
					}
					got = append(got, b.rows)
					b.release()
				}
			}
			return nil
		}()
		a.close()
		if len(got) < leaves {
			if failed != errors.Is(err, failure) || !slices.Equal(got, want) {
				t.Errorf("%v, then %v, instead of %v", got, err, want)
			}
		} else if !slices.Equal(got, want[:leaves]) {
			t.Errorf("%v instead of %v", got, want[:leaves])
		}
		if n := buffers.out.Load(); n != 0 {
			t.Errorf("%d buffers are not back", n)
		}
		if !process.TryAcquire(memory) {
			t.Error("memory is not back")
		}
	})
}

// endless gives blocks of a MiB for as long as they are taken.
func endless(_ context.Context, _ int, _ int64, give func(block) error) error {
	mebibyte := mem.SliceBuffer(make([]byte, 1<<20))
	for {
		if err := give(block{rows: 1, ipc: mebibyte}); err != nil {
			return err
		}
	}
}

// Streams whose callers stand still keep what they hold. Runs wait for memory, and
// must not wait for those.
func TestStreamsThatStandStillLeaveMemoryToRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		process, streams := newBudgets(0)
		for range 20 {
			a := newReadAhead(t.Context(), endless, 1, streams, process)
			defer a.close()
			defer a.open(0, 0, 10).close()
		}
		synctest.Wait()
		if streams.TryAcquire(1 << 20) {
			t.Error("the streams did not read as far ahead as they may")
		}
		if !process.TryAcquire(defaultMemory / 2) {
			t.Error("the streams hold the memory of runs")
		}
	})
}

// A part that waits for memory goes on as the part before it is sent, not only once
// it is its turn.
func TestReadAheadGoesOnWhereMemoryIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given atomic.Int64
		filled := make(chan struct{})
		read := func(ctx context.Context, part int, from int64, give func(block) error) error {
			if part > 0 {
				<-filled
				return endless(ctx, part, from, func(b block) error {
					err := give(b)
					if err == nil {
						given.Add(1)
					}
					return err
				})
			}
			defer close(filled)
			for range streamMemory >> 20 {
				if err := give(block{rows: 1, ipc: mem.SliceBuffer(make([]byte, 1<<20))}); err != nil {
					return err
				}
			}
			return nil
		}
		a := newReadAhead(t.Context(), read, 1)
		defer a.close()
		blocks := a.open(0, 0, 2)
		defer blocks.close()
		for n := range int64(4) {
			synctest.Wait()
			if given.Load() != n {
				t.Fatalf("%d blocks of the next part were fetched with room for %d", given.Load(), n)
			}
			b, err := blocks.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.release()
		}
	})
}
