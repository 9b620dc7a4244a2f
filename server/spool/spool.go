// Package spool keeps results until their sessions expire: Arrow IPC messages,
// compressed and encrypted, in a blob store that all replicas share, a folder or
// a bucket of S3, Google Cloud Storage or Azure.
//
// A result is a sequence of parts, a blob each; a part is a sequence of blocks,
// each compressed (S2) and sealed (AES-GCM) by itself, so that a reader holds one
// block at a time. The key belongs to the session and is not kept here: with the
// session's row gone, what may be left of its blobs opens for nobody.
//
// The package imports the blob store and the codecs, and nothing else of the
// service but its pool of buffers. Its errors are the ones below.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	_ "gocloud.dev/blob/s3blob"  // s3://
	"gocloud.dev/gcerrors"
)

var (
	// ErrFull: there is no room for what is to be written.
	ErrFull = errors.New("spool: no room left")
	// ErrNotFound: there is no such part, or it was removed.
	ErrNotFound = errors.New("spool: not found")
	// ErrDamaged: a part is not what was written.
	ErrDamaged = errors.New("spool: damaged")
)

// Error is a failure of the blob store. It does not tell where the blobs are.
type Error struct {
	Op  string // such as `write a part`
	Err error
}

// Error leaves the cause out, which may name the operator's folders.
func (e *Error) Error() string {
	for _, known := range []error{ErrFull, ErrNotFound, ErrDamaged, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(e.Err, known) {
			return e.Op + ": " + known.Error()
		}
	}
	return e.Op + ": the blob store failed"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failed(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = errors.Join(ErrFull, err)
	case gcerrors.Code(err) == gcerrors.NotFound:
		err = errors.Join(ErrNotFound, err)
	}
	return &Error{Op: op, Err: err}
}

// Spool is where results are kept.
type Spool struct{ bucket *blob.Bucket }

// Open opens the folder or bucket of a URL: `s3://BUCKET?prefix=FOLDER/`, `gs://…`,
// `azblob://…`, or the path of a folder, which is made if it is not there. It has
// to be the service's own: whatever belongs to no session is removed.
func Open(ctx context.Context, where string) (*Spool, error) {
	if scheme, _, isURL := strings.Cut(where, "://"); isURL && scheme != fileblob.Scheme {
		u, err := url.Parse(where)
		if err != nil {
			return nil, errors.New("open spool: it is no URL")
		}
		bucket, err := blob.OpenBucket(ctx, u.String())
		if err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
		return New(bucket), nil
	}
	folder := strings.TrimPrefix(where, fileblob.Scheme+"://")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	bucket, err := fileblob.OpenBucket(filepath.Clean(folder), &fileblob.Options{
		DirFileMode: 0o700,
		NoTempDir:   true, // a rename does not reach across file systems
		Metadata:    fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return New(bucket), nil
}

// New returns a spool in a bucket, which it closes.
func New(bucket *blob.Bucket) *Spool { return &Spool{bucket} }

// Close closes the bucket.
func (s *Spool) Close() error { return s.bucket.Close() }

func partKey(session string, part int) string { return fmt.Sprintf("%s/%08d", session, part) }

// Write writes a part as a whole: after a failure there is nothing of it.
func (s *Spool) Write(ctx context.Context, session string, key []byte, part int, blocks []Block) (err error) {
	const op = "keep rows"
	seal, err := newSealer(session, key, part)
	if err != nil {
		return err
	}
	ctx, abort := context.WithCancel(ctx)
	defer abort() // before Close, it drops what was written
	w, err := s.bucket.NewWriter(ctx, partKey(session, part), &blob.WriterOptions{
		ContentType: "application/octet-stream", DisableContentTypeDetection: true,
	})
	if err != nil {
		return failed(op, err)
	}
	if err := seal.write(w, blocks); err != nil {
		abort()
		_ = w.Close() // says only that the context ended
		return failed(op, err)
	}
	return failed(op, w.Close())
}

// Read opens a part. It fails with ErrNotFound.
func (s *Spool) Read(ctx context.Context, session string, key []byte, part int) (*Reader, error) {
	seal, err := newSealer(session, key, part)
	if err != nil {
		return nil, err
	}
	r, err := s.bucket.NewReader(ctx, partKey(session, part), nil)
	if err != nil {
		return nil, failed("read kept rows", err)
	}
	return newReader(r, seal), nil
}

// Remove removes all parts of a session. Readers that have one open may read it to
// its end, as far as the blob store lets them.
func (s *Spool) Remove(ctx context.Context, session string) error {
	var failures []error
	list := s.bucket.List(&blob.ListOptions{Prefix: session + "/"})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failures = append(failures, err)
			break
		}
		if err := s.bucket.Delete(ctx, object.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			failures = append(failures, err)
		}
	}
	return failed("remove kept rows", errors.Join(failures...))
}

// Sweep removes what belongs to no session that lives says is there. Any number of
// replicas may sweep at once.
func (s *Spool) Sweep(ctx context.Context, lives func(ctx context.Context, session string) (bool, error)) error {
	var failures []error
	list := s.bucket.List(&blob.ListOptions{Delimiter: "/"})
	for {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failures = append(failures, failed("list kept rows", err))
			break
		}
		session, isDir := strings.CutSuffix(object.Key, "/")
		if !isDir {
			continue // not ours
		}
		switch alive, err := lives(ctx, session); {
		case err != nil:
			failures = append(failures, err)
		case !alive:
			failures = append(failures, s.Remove(ctx, session))
		}
	}
	return errors.Join(failures...)
}
