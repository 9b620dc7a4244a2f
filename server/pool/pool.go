// Package pool keeps the large buffers that rows pass through, so that a stream
// of gigabytes makes no garbage of that size.
//
// A buffer's contents are undefined when it is taken: whoever takes it writes it
// from its beginning. The package imports nothing of this service.
package pool

import (
	"math/bits"
	"sync"
)

// Buffers is the pool. It implements mem.BufferPool of gRPC.
var Buffers = &Pool{}

// Sizes are powers of two between these; what is larger is not kept.
const (
	smallest = 14 // 16 KiB
	largest  = 24 // 16 MiB
)

// Pool is a pool of buffers, by size. The zero value is ready for use.
type Pool struct {
	sizes [largest + 1]sync.Pool
}

// Get returns a buffer of a length.
func (p *Pool) Get(length int) *[]byte {
	class := max(bits.Len(uint(max(length, 1)-1)), smallest)
	if class > largest {
		return new(make([]byte, length))
	}
	if b, ok := p.sizes[class].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	return new(make([]byte, length, 1<<class))
}

// Put takes a buffer back, which must not be used any more.
func (p *Pool) Put(b *[]byte) {
	class := bits.Len(uint(cap(*b))) - 1
	if class < smallest || class > largest {
		return
	}
	p.sizes[class].Put(b)
}
