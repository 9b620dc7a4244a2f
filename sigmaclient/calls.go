package sigmaclient

import (
	"context"
	"errors"
	"net/http"
)

// WhoAmI tells whom the credentials belong to. It is the cheapest check of
// credentials.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	return get[Identity](ctx, c, call{path: "/v2/whoami"})
}

// Workbooks lists the workbooks that the credentials' owner may see.
func (c *Client) Workbooks(ctx context.Context) ([]Workbook, error) {
	return collect(ctx, c, call{path: "/v2/workbooks"}, byOffset, func(w Workbook) string { return w.WorkbookID })
}

// Workbook returns one workbook. KindNotFound is Sigma's word that it is gone.
func (c *Client) Workbook(ctx context.Context, workbookID string) (Workbook, error) {
	return get[Workbook](ctx, c, call{path: "/v2/workbooks/{}", ids: []string{workbookID}})
}

// Pages lists the pages of a workbook, the hidden ones too.
func (c *Client) Pages(ctx context.Context, workbookID string) ([]Page, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/pages", ids: []string{workbookID}}, byOffset, func(p Page) string { return p.PageID })
}

// Elements lists the elements of all pages of a workbook.
func (c *Client) Elements(ctx context.Context, workbookID string) ([]Element, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/elements", ids: []string{workbookID}}, byOffset, func(e Element) string { return e.ElementID })
}

// Columns lists the columns of all elements of a workbook.
func (c *Client) Columns(ctx context.Context, workbookID string) ([]Column, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/columns", ids: []string{workbookID}}, byOffset, func(col Column) string {
		if col.ColumnID == "" {
			return ""
		}
		return col.ElementID + "\x00" + col.ColumnID
	})
}

// ElementColumns lists the columns of one element.
func (c *Client) ElementColumns(ctx context.Context, workbookID, elementID string) ([]Column, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/elements/{}/columns", ids: []string{workbookID, elementID}}, byOffset, func(col Column) string { return col.ColumnID })
}

// Queries lists the SQL of all elements of a workbook that have any. An element
// may come more than once.
func (c *Client) Queries(ctx context.Context, workbookID string) ([]Query, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/queries", ids: []string{workbookID}}, byOffset, func(Query) string { return "" })
}

// ElementQuery returns the SQL of one element. KindNotFound means that there is
// no query for it, or no such element.
func (c *Client) ElementQuery(ctx context.Context, workbookID, elementID string) (Query, error) {
	return get[Query](ctx, c, call{path: "/v2/workbooks/{}/elements/{}/query", ids: []string{workbookID, elementID}})
}

// Lineage lists the elements of a workbook and what they read from. Sigma
// answers some workbooks with HTTP 500, steadily: they have no lineage, as far
// as Sigma tells, and that is no error.
func (c *Client) Lineage(ctx context.Context, workbookID string) ([]LineageEntry, error) {
	entries, err := collect(ctx, c, call{path: "/v2/workbooks/{}/lineage", ids: []string{workbookID}}, byOffset, func(LineageEntry) string { return "" })
	if isInternal(err) {
		return nil, nil
	}
	return entries, err
}

func isInternal(err error) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Status == http.StatusInternalServerError
}

// Sources lists what a workbook reads from.
func (c *Client) Sources(ctx context.Context, workbookID string) ([]Source, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/sources", ids: []string{workbookID}}, bare, func(Source) string { return "" })
}

// Connections lists the warehouse connections that the credentials' owner may
// see.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	return collect(ctx, c, call{path: "/v2/connections"}, byOffset, func(conn Connection) string { return conn.ConnectionID })
}

// DataModels lists the data models that the credentials' owner may see.
func (c *Client) DataModels(ctx context.Context) ([]DataModel, error) {
	return collect(ctx, c, call{path: "/v2/dataModels"}, byOffset, func(m DataModel) string { return m.DataModelID })
}

// DataModelElements lists the elements of a data model.
func (c *Client) DataModelElements(ctx context.Context, dataModelID string) ([]Element, error) {
	return collect(ctx, c, call{path: "/v2/dataModels/{}/elements", ids: []string{dataModelID}}, byOffset, func(e Element) string { return e.ElementID })
}

// DataModelSources lists what a data model reads from.
func (c *Client) DataModelSources(ctx context.Context, dataModelID string) ([]Source, error) {
	return collect(ctx, c, call{path: "/v2/dataModels/{}/sources", ids: []string{dataModelID}}, byCursor, func(Source) string { return "" })
}
