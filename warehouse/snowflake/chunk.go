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

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse/ipccheck"
)

// chunkAttempts is how often a chunk is downloaded until it is complete, on top
// of what the driver repeats before the first byte.
const chunkAttempts = 3

// chunk reads one part of a result, an Arrow stream, and makes sure that all of
// it came: as many rows as were declared, since the Arrow reader takes a stream
// that is cut between two batches for complete; and the download to its end,
// since only there does gzip, in which Snowflake mostly packs it, tell whether
// what came is what was packed.
//
// A download that fails is begun again, a few times. The batches that were
// delivered are skipped, if they come as they came before: then the download
// that is complete also proves those of the ones that were not.
type chunk struct {
	download  func(context.Context) (io.ReadCloser, error)
	declared  int64 // rows
	allocator memory.Allocator

	stream io.ReadCloser
	reader *ipc.Reader
	sum    hash.Hash32 // of what reader took from stream

	attempts  int
	delivered int    // batches
	rows      int64  // in them
	prefix    uint32 // the sum of them and what came before
}

func newChunk(part source, allocator memory.Allocator) *chunk {
	return &chunk{download: part.stream, declared: part.rows(), allocator: allocator}
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
		if failed == nil || errors.Is(err, errAltered) {
			failed = err // the later ones may be its consequence: a part that came with the answer is read once
		}
		if c.attempts >= chunkAttempts || ctx.Err() != nil {
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

// complete makes sure that the chunk came to its end.
func (c *chunk) complete() error {
	if c.rows != c.declared {
		return &countError{c.rows, c.declared}
	}
	if c.stream == nil { // the driver found no byte, and no rows were declared
		return nil
	}
	_, err := io.Copy(io.Discard, c.stream)
	return err
}

// castagnoli is computed by an instruction of most processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// open starts a download and skips what was delivered.
func (c *chunk) open(ctx context.Context) (err error) {
	c.attempts++
	if c.stream, err = c.download(ctx); err != nil {
		return err
	}
	c.sum = crc32.New(castagnoli)
	source := &messages{source: io.TeeReader(c.stream, c.sum)}
	if c.reader, err = ipc.NewReader(source, ipc.WithAllocator(ipccheck.Allocator{Allocator: c.allocator, Limit: maxBody})); err != nil {
		if errors.Is(err, io.EOF) && c.delivered == 0 {
			return io.EOF // it is empty
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
