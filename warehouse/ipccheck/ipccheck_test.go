package ipccheck_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse/ipccheck"
)

// described are the descriptions of a schema and of a batch, and the body of that.
func described(t testing.TB) (schema, batch, body []byte) {
	t.Helper()
	fields := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, fields)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2}, nil)
	b.Field(1).(*array.StringBuilder).AppendValues([]string{"one", "two"}, nil)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(fields))
	if err := errors.Join(w.Write(b.NewRecordBatch()), w.Close()); err != nil {
		t.Fatal(err)
	}
	take := func() []byte {
		head := stream.Next(8)
		return bytes.Clone(stream.Next(int(binary.LittleEndian.Uint32(head[4:]))))
	}
	schema, batch = take(), take()
	return schema, batch, bytes.Clone(stream.Bytes()[:stream.Len()-8])
}

func TestBodyLength(t *testing.T) {
	schema, batch, body := described(t)
	for want, description := range map[int][]byte{0: schema, len(body): batch} {
		if got, err := ipccheck.BodyLength(description); err != nil || got != int64(want) {
			t.Errorf("%d bytes instead of %d: %v", got, want, err)
		}
	}
	shorter := bytes.Replace(batch, binary.LittleEndian.AppendUint64(nil, uint64(len(body))), binary.LittleEndian.AppendUint64(nil, uint64(len(body)-8)), 1)
	for name, description := range map[string][]byte{
		"nothing": nil, "zeroes": make([]byte, 64), "a body that is too short": shorter,
		"a schema of very many fields": bytes.Replace(schema, []byte{2, 0, 0, 0}, []byte{0, 0, 0, 0x40}, 1),
	} {
		if n, err := ipccheck.BodyLength(description); !errors.Is(err, ipccheck.ErrMalformed) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
}

func TestAllocator(t *testing.T) {
	a := ipccheck.Allocator{Allocator: memory.DefaultAllocator, Limit: 100}
	if n := len(a.Reallocate(100, a.Allocate(50))); n != 100 {
		t.Errorf("%d bytes", n)
	}
	for name, ask := range map[string]func(){
		"too many": func() { a.Allocate(101) }, "less than none": func() { a.Allocate(-1) }, "too many more": func() { a.Reallocate(101, nil) },
	} {
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !errors.Is(err, ipccheck.ErrMalformed) {
					t.Errorf("%s: it panics with %v", name, err)
				}
			}()
			ask()
		}()
	}
}
