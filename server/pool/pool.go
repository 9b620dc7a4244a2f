// Package pool keeps the large buffers that rows pass through, so that a stream
// of gigabytes makes no garbage of that size.
//
// A buffer's contents are undefined when it is taken: whoever takes it writes it
// from its beginning. Builds with the race detector spoil what is put back, so that
// tests find who still reads it. The package imports nothing of this service.
package pool

import (
	"bytes"
	"math/bits"
	"sync"
	"unsafe"
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
	if spoil {
		for rest := (*b)[:cap(*b)]; len(rest) > 0; {
			rest = rest[copy(rest, spoiled):]
		}
	}
	p.sizes[class].Put(b)
}

var spoiled = bytes.Repeat([]byte{0xDB}, 1<<smallest)

// Allocator gives buffers of Buffers to Arrow, and has them back when they are
// released. It implements memory.Allocator of Arrow.
//
// What it gives is aligned to 64 bytes, as Arrow asks for: buffers of the pool are so
// large that Go gives them pages of their own. Smaller ones are Go's.
type Allocator struct{}

const alignment = 64

// Allocate returns a buffer of a size. Its contents are undefined.
func (Allocator) Allocate(size int) []byte {
	if size >= 1<<(smallest-1) {
		return *Buffers.Get(size)
	}
	b := make([]byte, size+alignment)
	from := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (alignment - 1)
	return b[from : from+size : from+size]
}

// Reallocate returns a buffer of another size with the contents of one, which must
// not be used any more.
func (a Allocator) Reallocate(size int, b []byte) []byte {
	if size <= cap(b) {
		return b[:size]
	}
	larger := a.Allocate(size)
	copy(larger, b)
	a.Free(b)
	return larger
}

// Free takes a buffer back.
func (Allocator) Free(b []byte) { Buffers.Put(&b) }
