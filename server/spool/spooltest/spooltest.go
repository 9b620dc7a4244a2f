// Package spooltest has a bucket in memory whose disk fills up, breaks, or is slow
// when a test wants it to: what gocloud.dev's own buckets cannot be made to do.
package spooltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// Disk is a bucket in memory. Err is what writing fails with once Room bytes were
// written in all; nil lets it go on.
type Disk struct {
	Room int
	Err  error
	// Opening is called before a blob is opened for reading, which waits for it, and
	// fails where it does. Nil lets all be opened.
	Opening func(ctx context.Context, key string) error
	// Reading returns what is read in the place of a blob that was opened. Nil lets all
	// be read as they are.
	Reading func(key string, content io.Reader) io.Reader

	mu    sync.Mutex
	blobs map[string][]byte
	used  int
	open  int
}

// Bucket returns the disk as a bucket.
func (d *Disk) Bucket() *blob.Bucket { return blob.NewBucket(&bucket{d}) }

// Blobs are the keys of what is on the disk, in order.
func (d *Disk) Blobs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var keys []string
	for key := range d.blobs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Open is how many blobs are open for reading.
func (d *Disk) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

type bucket struct{ *Disk }

var (
	errNotFound = errors.New("spooltest: no such blob")
	errUnasked  = errors.New("spooltest: the spool does not ask for this")
)

func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, errNotFound) {
		return gcerrors.NotFound
	}
	return gcerrors.Unknown
}

func (b *bucket) As(any) bool             { return false }
func (b *bucket) ErrorAs(error, any) bool { return false }
func (b *bucket) Close() error            { return nil }

func (b *bucket) Attributes(context.Context, string) (*driver.Attributes, error) {
	return nil, errUnasked
}

func (b *bucket) Copy(context.Context, string, string, *driver.CopyOptions) error { return errUnasked }

func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnasked
}

func (b *bucket) ListPaged(_ context.Context, options *driver.ListOptions) (*driver.ListPage, error) {
	page := &driver.ListPage{}
	for _, key := range b.Blobs() {
		rest, ok := strings.CutPrefix(key, options.Prefix)
		if !ok {
			continue
		}
		object := &driver.ListObject{Key: key}
		if folder, _, isDir := strings.Cut(rest, options.Delimiter); options.Delimiter != "" && isDir {
			object = &driver.ListObject{Key: options.Prefix + folder + options.Delimiter, IsDir: true}
		}
		if n := len(page.Objects); n == 0 || page.Objects[n-1].Key != object.Key {
			page.Objects = append(page.Objects, object)
		}
	}
	return page, nil
}

func (b *bucket) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.blobs[key]; !ok {
		return errNotFound
	}
	delete(b.blobs, key)
	return nil
}

func (b *bucket) NewRangeReader(ctx context.Context, key string, offset, _ int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if b.Opening != nil {
		if err := b.Opening(ctx, key); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.blobs[key]
	if !ok {
		return nil, errNotFound
	}
	b.open++
	content := io.Reader(bytes.NewReader(data[offset:]))
	if b.Reading != nil {
		content = b.Reading(key, content)
	}
	return &reader{content, int64(len(data)), b.Disk}, nil
}

type reader struct {
	io.Reader
	size int64
	disk *Disk
}

func (r *reader) Close() error {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.disk.open--
	return nil
}

func (r *reader) As(any) bool { return false }
func (r *reader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.size, ModTime: time.Unix(0, 0)}
}

func (b *bucket) NewTypedWriter(ctx context.Context, key, _ string, _ *driver.WriterOptions) (driver.Writer, error) {
	return &writer{ctx: ctx, disk: b.Disk, key: key}, nil
}

type writer struct {
	ctx  context.Context
	disk *Disk
	key  string
	data bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	if w.disk.used += len(p); w.disk.Err != nil && w.disk.used > w.disk.Room {
		return 0, w.disk.Err
	}
	return w.data.Write(p)
}

func (w *writer) Close() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	if w.disk.blobs == nil {
		w.disk.blobs = map[string][]byte{}
	}
	w.disk.blobs[w.key] = w.data.Bytes()
	return nil
}
