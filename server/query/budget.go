package query

import "golang.org/x/sync/semaphore"

// defaultMemory is how many bytes of rows the service holds at a time for reading
// ahead, unless told otherwise.
const defaultMemory = 128 << 20

// budget bounds the bytes that are read ahead of those who want them, over all
// streams of the process. What a stream is just sending is not in it: a stream can
// always go on, only not run ahead.
type budget struct{ *semaphore.Weighted }

func newBudget(bytes int64) budget { return budget{semaphore.NewWeighted(bytes)} }

// newBudgets returns the budget of the process, and the part of it that streams may
// read ahead with. The other part is left to the runs, which wait for memory: streams
// whose callers stand still keep what they hold.
func newBudgets(bytes int64) (all, streams budget) {
	if bytes == 0 {
		bytes = defaultMemory
	}
	bytes = max(bytes, 2*partSize)
	return newBudget(bytes), newBudget(bytes / 2)
}

// budgets are several, of which the same bytes are taken.
type budgets []budget

func (b budgets) tryAcquire(bytes int64) bool {
	for i, one := range b {
		if !one.TryAcquire(bytes) {
			b[:i].release(bytes)
			return false
		}
	}
	return true
}

func (b budgets) release(bytes int64) {
	for _, one := range b {
		one.Release(bytes)
	}
}
