package query

import "golang.org/x/sync/semaphore"

// defaultMemory is how many bytes of rows the service holds at a time for reading
// ahead, unless told otherwise.
const defaultMemory = 128 << 20

// budget bounds the bytes that are read ahead of those who want them, over all
// streams of the process. What a stream is just sending is not in it: a stream can
// always go on, only not run ahead.
type budget struct{ *semaphore.Weighted }

func newBudget(bytes int64) budget {
	if bytes == 0 {
		bytes = defaultMemory
	}
	return budget{semaphore.NewWeighted(max(bytes, 2*partSize))}
}
