package spool_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/server/pool"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/spool/spooltest"
)

func key(n byte) []byte { return bytes.Repeat([]byte{n}, spool.KeySize) }

// read reads a part, without the blocks that skip passes over.
func read(s *spool.Spool, session string, key []byte, part int, skip func(int64) bool) (blocks []spool.Block, err error) {
	r, err := s.Read(context.Background(), session, key, part)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		rows, data, err := r.Next(skip)
		if err == io.EOF {
			return blocks, nil
		}
		if err != nil {
			return blocks, err
		}
		block := spool.Block{Rows: rows}
		if data != nil {
			block.Data = bytes.Clone(*data)
			pool.Buffers.Put(data)
		}
		blocks = append(blocks, block)
	}
}

func none(int64) bool { return false }

func TestAPartIsReadAsItWasWritten(t *testing.T) {
	s, err := spool.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	part := 0
	rapid.Check(t, func(t *rapid.T) {
		part++
		var blocks []spool.Block
		for range rapid.IntRange(0, 5).Draw(t, "blocks") {
			blocks = append(blocks, spool.Block{Rows: rapid.Int64Range(1, 1<<40).Draw(t, "rows"), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")})
		}
		if err := s.Write(context.Background(), "s", key(1), part, blocks); err != nil {
			t.Fatal(err)
		}
		n := 0
		skipped := rapid.SliceOfN(rapid.Bool(), 5, 5).Draw(t, "skipped")
		got, err := read(s, "s", key(1), part, func(int64) bool { n++; return skipped[n-1] })
		if err != nil || len(got) != len(blocks) {
			t.Fatalf("%d blocks of %d: %v", len(got), len(blocks), err)
		}
		for i, block := range blocks {
			if got[i].Rows != block.Rows || !skipped[i] && !bytes.Equal(got[i].Data, block.Data) {
				t.Fatalf("block %d differs", i)
			}
		}
	})
}

// Whatever is changed of a part, and whoever's part it is taken for, is an error.
func TestAPartThatIsNotWhatWasWritten(t *testing.T) {
	disk := &spooltest.Disk{}
	bucket := disk.Bucket()
	s := spool.New(bucket)
	defer func() { _ = s.Close() }()
	data := make([]byte, 3000)
	blocks := []spool.Block{{Rows: 5, Data: data}, {Rows: 6, Data: data[:10]}}
	for _, at := range []struct {
		session string
		part    int
	}{{"a", 0}, {"a", 1}, {"b", 0}} {
		if err := s.Write(t.Context(), at.session, key(1), at.part, blocks); err != nil {
			t.Fatal(err)
		}
	}
	content, err := bucket.ReadAll(t.Context(), "a/00000000")
	if err != nil {
		t.Fatal(err)
	}
	replace := func(with []byte) error {
		if err := bucket.WriteAll(t.Context(), "a/00000000", with, nil); err != nil {
			t.Fatal(err)
		}
		_, err := read(s, "a", key(1), 0, none)
		return err
	}
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 1 << rand.IntN(8)
		if err := replace(damaged); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("byte %d was changed: %v", i, err)
		}
		if err := replace(content[:i]); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	for _, other := range []string{"a/00000001", "b/00000000"} {
		moved, err := bucket.ReadAll(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		if err := replace(moved); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("%s was taken for another: %v", other, err)
		}
	}
	if err := replace(content); err != nil {
		t.Error(err)
	}
	if _, err := read(s, "a", key(2), 0, none); !errors.Is(err, spool.ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	if _, err := read(s, "a", key(1), 9, none); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("no such part: %v", err)
	}
}

func TestSweepRemovesWhatBelongsToNoSession(t *testing.T) {
	disk := &spooltest.Disk{}
	s := spool.New(disk.Bucket())
	defer func() { _ = s.Close() }()
	for _, session := range []string{"alive", "expired", "orphan"} {
		for part := range 3 {
			if err := s.Write(t.Context(), session, key(1), part, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	unknown := errors.New("the store is away")
	err := s.Sweep(t.Context(), func(_ context.Context, id string) (bool, error) {
		if id == "orphan" {
			return false, unknown
		}
		return id == "alive", nil
	})
	if !errors.Is(err, unknown) || len(disk.Blobs()) != 6 {
		t.Errorf("%v left %q", err, disk.Blobs())
	}
	if err := s.Sweep(t.Context(), func(_ context.Context, id string) (bool, error) { return id == "alive", nil }); err != nil || len(disk.Blobs()) != 3 {
		t.Errorf("%v left %q", err, disk.Blobs())
	}
}
