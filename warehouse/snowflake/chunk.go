package snowflake

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse/ipccheck"
)

// chunk reads one part of a result, an Arrow stream, and validates that it is
// complete: it has the declared number of rows, since the Arrow reader accepts a
// stream that is cut between two batches; and its body was read to the end that
// HTTP declares, where gzip, with which Snowflake mostly compresses it, compares
// its checksum.
//
// A download that fails starts again, a few times. The chunk skips the batches that
// it delivered before, if their bytes are the same. So the error of one download is
// forgotten only when another one is complete and equal to the delivered batches.
type chunk struct {
	download  func(context.Context) (io.ReadCloser, error)
	declared  int64 // rows
	allocator memory.Allocator
	wait      func(context.Context, time.Duration) error // between two downloads

	stream io.ReadCloser
	reader *ipc.Reader
	sum    hash.Hash32 // of what reader took from stream

	retries   retries
	delivered int    // batches
	rows      int64  // in them
	prefix    uint32 // the sum of them and what came before
}

func newChunk(part source, allocator memory.Allocator, wait func(context.Context, time.Duration) error) *chunk {
	return &chunk{download: part.stream, declared: part.rows(), allocator: allocator, wait: wait}
}

var (
	errDamaged = errors.New("snowflake: the chunk is damaged")
	errAltered = errors.New("snowflake: what was delivered of the chunk comes otherwise another time")
)

// countError is a chunk with another number of rows than was declared.
type countError struct{ rows, declared int64 }

func (e *countError) Error() string {
	return fmt.Sprintf("has %d rows instead of %d", e.rows, e.declared)
}

// isDamage reports whether an error says that the bytes are not those that
// Snowflake wrote, and not that they did not come.
func isDamage(err error) bool {
	var corrupt flate.CorruptInputError
	for _, known := range []error{errDamaged, errAltered, ipccheck.ErrMalformed, gzip.ErrChecksum, gzip.ErrHeader} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &corrupt)
}

// next returns the chunk's next batch, which the caller releases, or io.EOF
// after the last.
func (c *chunk) next(ctx context.Context) (arrow.RecordBatch, error) {
	var failed error
	for {
		batch, err := c.read(ctx)
		if err == nil {
			return c.deliver(batch)
		}
		if err == io.EOF {
			if err = c.complete(); err == nil {
				return nil, io.EOF
			}
		}
		c.close()
		var refused *refusedError
		if failed == nil || errors.As(failed, &refused) || errors.Is(err, errAltered) {
			failed = err // later ones may be its consequence: a part that came with the answer is read once
		}
		wait, again := c.retries.next(err)
		if !again || ctx.Err() != nil {
			return nil, failed
		}
		if wait > 0 && c.wait(ctx, wait) != nil {
			return nil, failed
		}
	}
}

func (c *chunk) read(ctx context.Context) (arrow.RecordBatch, error) {
	if c.reader == nil {
		if err := c.open(ctx); err != nil {
			return nil, err
		}
	}
	if !c.reader.Next() {
		if err := c.reader.Err(); err != nil && err != io.EOF {
			return nil, err
		}
		return nil, io.EOF
	}
	batch := c.reader.RecordBatch()
	if err := ipccheck.Validate(batch); err != nil {
		return nil, err
	}
	batch.Retain()
	return batch, nil
}

// deliver counts a batch, and keeps one back that goes beyond what was declared.
func (c *chunk) deliver(batch arrow.RecordBatch) (arrow.RecordBatch, error) {
	c.delivered++
	c.rows += batch.NumRows()
	c.prefix = c.sum.Sum32()
	if c.rows > c.declared {
		batch.Release()
		return nil, &countError{c.rows, c.declared}
	}
	return batch, nil
}

// complete validates the end of the chunk: its rows, and its body, which open has
// opened.
func (c *chunk) complete() error {
	if c.rows != c.declared {
		return &countError{c.rows, c.declared}
	}
	_, err := io.Copy(io.Discard, c.stream)
	return err
}

// castagnoli is computed by an instruction of most processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// open starts a download and skips what was delivered.
func (c *chunk) open(ctx context.Context) (err error) {
	if c.stream, err = c.download(ctx); err != nil {
		c.stream = nil
		return unexpectedEnd(err)
	}
	c.sum = crc32.New(castagnoli)
	source := &messages{source: io.TeeReader(c.stream, c.sum)}
	if c.reader, err = ipc.NewReader(source, ipc.WithAllocator(ipccheck.Allocator{Allocator: c.allocator, Limit: maxBody})); err != nil {
		if errors.Is(err, io.EOF) { // the body is empty
			if c.declared > 0 {
				return &countError{0, c.declared}
			}
			return io.EOF
		}
		return err
	}
	for range c.delivered {
		if !c.reader.Next() {
			if err := c.reader.Err(); err != nil && err != io.EOF {
				return err
			}
			return errDamaged
		}
	}
	if c.delivered > 0 && c.sum.Sum32() != c.prefix {
		return errAltered
	}
	return nil
}

// unexpectedEnd returns an error that no caller takes for the end of a chunk. A
// connection that closes before the response is io.EOF to net/http.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// close gives the download back. The chunk may be opened again.
func (c *chunk) close() {
	if c.reader != nil {
		c.reader.Release()
		c.reader = nil
	}
	if c.stream != nil {
		// Nothing was written, so that there is nothing to lose.
		_ = c.stream.Close()
		c.stream = nil
	}
}
