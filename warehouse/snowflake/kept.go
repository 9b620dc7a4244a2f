package snowflake

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Snowflake keeps a result for 24 hours, for the user who made it. The driver can
// fetch it again by the query's ID, but returns only batches that it has converted,
// without the numbers of rows that Snowflake declares for each part. So the driver
// sends the request, with its session, tokens and repetitions, and this package reads
// the answer. The driver gets an answer without rows: on some forms of rows it panics.

var (
	_ warehouse.Keeper = (*Warehouse)(nil)
	_ warehouse.Kept   = (*result)(nil)
)

// Keep implements [warehouse.Kept].
func (r *result) Keep() (warehouse.Manifest, warehouse.Parts, error) {
	manifest := warehouse.Manifest{QueryID: r.queryID}
	var err error
	if manifest.Columns, err = r.layout.encode(); err != nil {
		return manifest, nil, err
	}
	for i, s := range r.chunks {
		manifest.Parts = append(manifest.Parts, s.rows())
		if i == 0 {
			if r.chunks[i], err = lasting(s); err != nil {
				return manifest, nil, r.failed(warehouse.KindIncomplete, "the first part of the result cannot be read")
			}
		}
	}
	if problem := r.manifest.problem(); problem != "" {
		return manifest, nil, r.failed(warehouse.KindIncomplete, problem)
	}
	p := r.house.parts(r.queryID, r.layout, r.chunks)
	r.chunks = nil
	return manifest, p, r.Close()
}

// lasting returns a part that can be read any number of times. One that came with
// the answer can be read just once, and is small. The driver does not tell which one
// did, but needs no context to give it.
func lasting(s source) (source, error) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	stream, err := s.stream(over)
	if err != nil {
		return s, nil
	}
	data, err := io.ReadAll(stream)
	return inlineSource{s.rows(), data}, errors.Join(err, stream.Close())
}

// parts is a result by its parts. It implements [warehouse.Parts].
type parts struct {
	house   *Warehouse
	queryID string
	layout  layout
	sources []source

	ctx    context.Context // ends with Close and with the warehouse
	cancel context.CancelCauseFunc
}

var errPartsClosed = &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "the result is closed"}

func (w *Warehouse) parts(queryID string, l layout, sources []source) *parts {
	ctx, cancel := context.WithCancelCause(w.lifetime)
	return &parts{house: w, queryID: queryID, layout: l, sources: sources, ctx: ctx, cancel: cancel}
}

func (p *parts) Schema() *arrow.Schema { return p.layout.schema }

// Open returns the part as a result of its own.
func (p *parts) Open(part int) (warehouse.Part, error) {
	if part < 0 || part >= len(p.sources) {
		return nil, fmt.Errorf("snowflake: there is no part %d of %d", part, len(p.sources))
	}
	r := &result{house: p.house, allocator: p.house.config.Allocator, queryID: p.queryID, layout: p.layout,
		chunks: p.sources[part : part+1 : part+1], number: part, parts: len(p.sources)}
	r.manifest = newManifest(p.sources[part].rows(), r.chunks)
	r.ctx, r.cancel = context.WithCancelCause(p.ctx)
	return r, nil
}

func (p *parts) Close() error {
	p.cancel(errPartsClosed)
	return nil
}

// Reopen implements [warehouse.Keeper].
func (w *Warehouse) Reopen(ctx context.Context, manifest warehouse.Manifest) (warehouse.Parts, error) {
	recorded, err := decodeLayout(manifest.Columns)
	if err != nil {
		return nil, err
	}
	if !w.begin() {
		return nil, errClosed
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop := context.AfterFunc(w.lifetime, func() { end(errClosed) })
	defer stop()
	done := start(w, func() (*answer, error) {
		return inSession(ctx, w, func(session any) (*answer, error) { return fetch(ctx, session, manifest.QueryID) })
	})
	var found *answer
	select {
	case o := <-done:
		if o.err != nil {
			return nil, gone(translate(ctx, o.err), manifest.QueryID)
		}
		found = o.value
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if difference := recorded.difference(found.Data.RowType); difference != "" {
		return nil, &warehouse.Error{Kind: warehouse.KindIncomplete, QueryID: manifest.QueryID,
			Message: "Snowflake now declares other columns than when the query ran: " + difference}
	}
	sources, err := found.sources(&http.Client{Transport: w.transport})
	if err != nil {
		return nil, err
	}
	same := len(sources) == len(manifest.Parts)
	for i := 0; same && i < len(sources); i++ {
		same = sources[i].rows() == manifest.Parts[i]
	}
	if !same || found.Data.Total != manifest.Rows() {
		return nil, &warehouse.Error{Kind: warehouse.KindIncomplete, QueryID: manifest.QueryID,
			Message: fmt.Sprintf("Snowflake now declares %d rows in %d parts, and declared %d in %d when the query ran", found.Data.Total, len(sources), manifest.Rows(), len(manifest.Parts))}
	}
	return w.parts(manifest.QueryID, recorded, sources), nil
}

// gone tells a result that Snowflake has no more from a failure in passing.
func gone(err error, queryID string) error {
	var failure *warehouse.Error
	var driverFailure *gosnowflake.SnowflakeError
	if errors.As(err, &failure) && errors.As(err, &driverFailure) {
		switch driverFailure.Number {
		case gosnowflake.ErrQueryStatus, 612, 709: // 709: statement not found; 612: result not found
			return &warehouse.Error{Kind: warehouse.KindGone, Code: failure.Code, QueryID: queryID,
				Message: "Snowflake no longer has the result, or gives it to another user only", Err: err}
		}
	}
	return err
}

// fetch lets the driver fetch a result by its query's id, and returns the answer.
func fetch(ctx context.Context, session any, queryID string) (*answer, error) {
	querier, ok := session.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("snowflake: the driver runs no queries")
	}
	c := &capture{}
	ctx = context.WithValue(ctx, captureKey{}, c)
	ctx = gosnowflake.WithArrowBatches(gosnowflake.WithHigherPrecision(gosnowflake.WithArrowBatchesTimestampOption(ctx, gosnowflake.UseOriginalTimestamp)))
	rows, err := querier.QueryContext(gosnowflake.WithFetchResultByID(ctx, queryID), "", nil)
	if rows != nil {
		err = errors.Join(err, rows.Close())
	}
	if found := c.found; found != nil && found.Data.QueryID == queryID && found.Data.Format == "arrow" {
		return found, nil
	}
	if err == nil {
		err = &warehouse.Error{Kind: warehouse.KindUnavailable, QueryID: queryID, Message: "Snowflake's answer was not understood"}
	}
	return nil, err
}

// captureKey is the context's key of the capture that wants a request's answer.
type captureKey struct{}

// capture keeps the last answer with a result.
type capture struct{ found *answer }

var errNotUnderstood = errors.New("snowflake: the answer about a result was not understood")

// listen returns a body for the driver in the place of Snowflake's, which it reads to
// the end at the first Read.
func (c *capture) listen(body io.ReadCloser) io.ReadCloser {
	c.found = nil
	return &captured{c, body, nil}
}

// captured is the body that the driver reads.
type captured struct {
	capture  *capture
	original io.ReadCloser
	shown    io.Reader
}

func (b *captured) Close() error { return b.original.Close() }

func (b *captured) Read(p []byte) (int, error) {
	if b.shown == nil {
		data, err := io.ReadAll(b.original)
		if err != nil {
			return 0, err
		}
		if data, err = b.capture.take(data); err != nil {
			return 0, err
		}
		b.shown = bytes.NewReader(data)
	}
	return b.shown.Read(p)
}

// take keeps an answer with a result, and returns the one that the driver gets: the
// same without rows. Other answers, such as an error or that the query
// still runs, are returned unchanged.
func (c *capture) take(data []byte) ([]byte, error) {
	a := &answer{}
	if err := json.Unmarshal(data, a); err != nil {
		return nil, errNotUnderstood // the text of err may quote the data
	}
	if !a.Success || a.Data.Format == "" {
		return data, nil
	}
	c.found = a
	shown := map[string]any{"queryId": a.Data.QueryID, "queryResultFormat": "arrow", "rowtype": []any{}}
	return json.Marshal(map[string]any{"success": true, "data": shown})
}

func isResult(request *http.Request) bool {
	return strings.HasPrefix(request.URL.Path, "/queries/") && strings.HasSuffix(request.URL.Path, "/result")
}

// answer is what is read of Snowflake's answer about a result, in the words of its
// private protocol, which are the driver's as well.
type answer struct {
	Success bool `json:"success"`
	Data    struct {
		QueryID      string    `json:"queryId"`
		Total        int64     `json:"total"`
		Format       string    `json:"queryResultFormat"`
		RowType      []rowType `json:"rowtype"`
		RowSetBase64 string    `json:"rowsetBase64"`
		Chunks       []struct {
			URL      string `json:"url"`
			RowCount int64  `json:"rowCount"`
		} `json:"chunks"`
		Key     string            `json:"qrmk"`
		Headers map[string]string `json:"chunkHeaders"`
	} `json:"data"`
}

func (a *answer) sources(client *http.Client) ([]source, error) {
	header := http.Header{}
	for name, value := range a.Data.Headers {
		header.Set(name, value)
	}
	if len(header) == 0 {
		header.Set("x-amz-server-side-encryption-customer-algorithm", "AES256")
		header.Set("x-amz-server-side-encryption-customer-key", a.Data.Key)
	}
	var sources []source
	inline := a.Data.Total
	for _, c := range a.Data.Chunks {
		inline -= c.RowCount
		sources = append(sources, chunkSource{c.RowCount, c.URL, header, client})
	}
	if a.Data.RowSetBase64 == "" {
		return sources, nil
	}
	data, err := base64.StdEncoding.DecodeString(a.Data.RowSetBase64)
	if err != nil {
		return nil, &warehouse.Error{Kind: warehouse.KindIncomplete, QueryID: a.Data.QueryID, Message: "the first part of the result cannot be read"}
	}
	return append([]source{inlineSource{inline, data}}, sources...), nil
}
