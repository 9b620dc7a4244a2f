package pool_test

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/server/pool"
)

var _ memory.Allocator = pool.Allocator{}

// Buffers are as large as was asked for, aligned, nobody else's, and keep their
// contents when they grow.
func TestAllocator(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 100_000), rapid.IntRange(1<<18-64, 1<<18+64))
		var a pool.Allocator
		var held [][]byte
		fill := func(i int) {
			for j := range held[i] {
				held[i][j] = byte(i + 1)
			}
		}
		for i := range rapid.IntRange(1, 6).Draw(rt, "buffers") {
			size := sizes.Draw(rt, "size")
			b := a.Allocate(size)
			if len(b) != size {
				rt.Fatalf("%d bytes instead of %d", len(b), size)
			}
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); size > 0 && at%64 != 0 {
				rt.Fatalf("%d bytes lie at %x", size, at)
			}
			held = append(held, b)
			fill(i)
		}
		for i, b := range held {
			size := sizes.Draw(rt, "new size")
			held[i] = a.Reallocate(size, b)
			if kept := min(size, len(b)); len(held[i]) != size || !bytes.Equal(held[i][:kept], bytes.Repeat([]byte{byte(i + 1)}, kept)) {
				rt.Fatalf("from %d to %d bytes: the contents are lost", len(b), size)
			}
			fill(i)
		}
		for i, b := range held {
			if !bytes.Equal(b, bytes.Repeat([]byte{byte(i + 1)}, len(b))) {
				rt.Fatalf("buffer %d was somebody else's as well", i)
			}
			a.Free(b)
		}
	})
}
