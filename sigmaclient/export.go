package sigmaclient

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// Export is what Sigma itself shows of an element.
type Export struct {
	Columns []string // labels, in the element's order
	Rows    int      // how many came, up to the limit
}

const (
	// minPoll and maxPoll are the waits between two looks for a result.
	minPoll = 500 * time.Millisecond
	maxPoll = 5 * time.Second

	// unknownPolls is how often a result may be unknown before it counts as
	// gone: Sigma has been seen to answer so for one that is only not ready.
	unknownPolls = 5
)

// ExportElement has Sigma run an element of a workbook, and counts what comes.
// An empty tag means the newest version. Each row is passed to a function of rows
// that the given function returns for the labels, and is valid until it returns; nil
// only counts. The context bounds the wait.
func (c *Client) ExportElement(ctx context.Context, workbookID, elementID, tag string, rowLimit int, rows func(labels []string) func(row []string)) (Export, error) {
	asked := map[string]any{
		"elementId": elementID,
		"format":    map[string]string{"type": "csv"},
		"rowLimit":  rowLimit,
	}
	if tag != "" {
		asked["tag"] = tag
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return Export{}, err
	}
	started, err := get[struct {
		QueryID string `json:"queryId"`
	}](ctx, c, call{path: "/v2/workbooks/{}/export", ids: []string{workbookID}, body: body})
	if err != nil {
		return Export{}, err
	}
	return c.download(ctx, started.QueryID, rows)
}

// download waits for a result. Sigma answers with an empty body until it is
// ready.
func (c *Client) download(ctx context.Context, queryID string, rows func([]string) func([]string)) (Export, error) {
	what := call{path: "/v2/query/{}/download", ids: []string{queryID}}
	unknown := 0
	for wait := minPoll; ; wait = min(2*wait, maxPoll) {
		body, err := c.fetch(ctx, what)
		var failure *Error
		switch {
		case errors.As(err, &failure) && failure.Kind == KindNotFound && failure.Status != 0 && unknown < unknownPolls:
			unknown++
		case err != nil:
			return Export{}, err
		case len(body) > 0:
			export, err := parseExport(body, rows)
			if err != nil {
				return Export{}, &Error{Kind: KindProtocol, Call: what.name(), Status: http.StatusOK, Err: err}
			}
			return export, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return Export{}, err
		}
	}
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func parseExport(body []byte, rows func([]string) func([]string)) (Export, error) {
	reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	reader.ReuseRecord = true
	header, err := reader.Read()
	if err != nil {
		return Export{}, errors.New("the export has no header")
	}
	export := Export{Columns: append([]string(nil), header...)}
	each := func([]string) {}
	if rows != nil {
		each = rows(export.Columns)
	}
	for {
		row, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return export, nil
		case err != nil:
			return Export{}, errors.New("the export is no CSV") // the cause may quote a row
		}
		each(row)
		export.Rows++
	}
}
