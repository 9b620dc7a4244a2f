package snowflake

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// chunkAttempts is how often a chunk is downloaded until it is complete, on
// top of what the driver repeats before the first byte.
const chunkAttempts = 3

// maxBuffer bounds what one damaged length may make the Arrow reader allocate.
// Snowflake's chunks are far smaller.
const maxBuffer = 1 << 30

// chunk reads one part of a result, an Arrow stream, and makes sure that as
// many rows come as were declared: the Arrow reader takes a stream that is cut
// between two batches for complete. A download that fails is begun again, and
// skips the batches that were delivered.
type chunk struct {
	source    source
	allocator memory.Allocator

	stream io.ReadCloser
	reader *ipc.Reader

	attempts  int
	delivered int   // batches
	rows      int64 // rows in them
}

var errDamaged = errors.New("snowflake: the chunk is damaged")

// countError is a chunk with another number of rows than was declared.
type countError struct{ rows, declared int64 }

func (e *countError) Error() string {
	return fmt.Sprintf("has %d rows instead of %d", e.rows, e.declared)
}

// next returns the chunk's next batch, which the caller releases, or io.EOF
// after the last.
func (c *chunk) next(ctx context.Context) (arrow.RecordBatch, error) {
	var failed error
	for {
		batch, err := c.read(ctx)
		if err == nil {
			c.delivered++
			c.rows += batch.NumRows()
			return batch, nil
		}
		if err == io.EOF && c.rows == c.source.rows() {
			return nil, io.EOF
		}
		if err == io.EOF {
			err = &countError{c.rows, c.source.rows()}
		}
		c.close()
		if failed == nil {
			failed = err // the later ones may be its consequence: a part that came with the answer is read once
		}
		if c.attempts >= chunkAttempts || ctx.Err() != nil || c.rows > c.source.rows() {
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
	batch.Retain()
	return batch, nil
}

// open starts a download and skips what was delivered.
func (c *chunk) open(ctx context.Context) (err error) {
	c.attempts++
	if c.stream, err = c.source.stream(ctx); err != nil {
		return err
	}
	if c.reader, err = ipc.NewReader(c.stream, ipc.WithAllocator(bounded{c.allocator})); err != nil {
		return err
	}
	var skipped int64
	for range c.delivered {
		if !c.reader.Next() {
			return errors.Join(errDamaged, c.reader.Err())
		}
		skipped += c.reader.RecordBatch().NumRows()
	}
	if skipped != c.rows {
		return errDamaged
	}
	return nil
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

// bounded refuses buffers beyond maxBuffer; the Arrow reader returns its panic
// as an error.
type bounded struct{ memory.Allocator }

func (b bounded) Allocate(size int) []byte {
	if size < 0 || size > maxBuffer {
		panic(errDamaged)
	}
	return b.Allocator.Allocate(size)
}

func (b bounded) Reallocate(size int, buffer []byte) []byte {
	if size < 0 || size > maxBuffer {
		panic(errDamaged)
	}
	return b.Allocator.Reallocate(size, buffer)
}
