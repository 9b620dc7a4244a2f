package snowflake

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/snowflakedb/gosnowflake"
)

// source is a part of a result, that is read as an Arrow stream any number of times.
type source interface {
	rows() int64 // as Snowflake declared
	// stream opens the stream. An empty body is a stream without bytes.
	stream(ctx context.Context) (io.ReadCloser, error)
}

// downloadKey is the context's key that marks the request of a chunk. Its value is a
// context.CancelCauseFunc, which the transport calls with the *refusedError of the
// request. The driver repeats no request whose context has ended.
type downloadKey struct{}

func isDownload(ctx context.Context) bool { return ctx.Value(downloadKey{}) != nil }

// download returns the stream that open requests with the context that it gets. It
// fails with a *refusedError where the request gets no body.
func download(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stream, err := open(context.WithValue(ctx, downloadKey{}, cancel))
	if err != nil {
		var refused *refusedError
		if errors.As(context.Cause(ctx), &refused) {
			err = refused
		}
		cancel(nil)
		return nil, err
	}
	return cancelling{stream, cancel}, nil
}

// cancelling is a stream whose context ends with it.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (c cancelling) Close() error {
	defer c.cancel(nil)
	return c.ReadCloser.Close()
}

// driverSource is a part of a result that the driver ran. A part that came with the
// answer is read once.
type driverSource struct{ batch gosnowflake.ArrowStreamBatch }

func (s driverSource) rows() int64 { return s.batch.NumRows() }

func (s driverSource) stream(ctx context.Context) (io.ReadCloser, error) {
	batch := s.batch // a copy, since the driver keeps a stream that was read
	return download(ctx, func(ctx context.Context) (io.ReadCloser, error) {
		stream, err := batch.GetStream(ctx)
		if err == io.EOF { // the driver's word for an empty body
			return http.NoBody, nil
		}
		return stream, err
	})
}

// inlineSource is a part that came with the answer.
type inlineSource struct {
	count int64
	data  []byte
}

func (s inlineSource) rows() int64 { return s.count }

func (s inlineSource) stream(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.data)), nil
}

// chunkSource is a part that lies in a blob store, at a signed address.
type chunkSource struct {
	count  int64
	url    string
	header http.Header
	client *http.Client
}

func (s chunkSource) rows() int64 { return s.count }

func (s chunkSource) stream(ctx context.Context) (io.ReadCloser, error) {
	return download(ctx, s.get)
}

func (s chunkSource) get(ctx context.Context) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, errors.New("snowflake: the address of a chunk is none")
	}
	request.Header = s.header
	response, err := s.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(refusedBy(response), response.Body.Close())
	}
	body := bufio.NewReaderSize(response.Body, 64<<10)
	if magic, err := body.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, errors.Join(err, response.Body.Close())
		}
		return readCloser{unzipped, response.Body}, nil
	}
	return readCloser{body, response.Body}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}
