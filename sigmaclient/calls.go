package sigmaclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// ListOption changes what a list of workbooks or data models shows.
type ListOption func(url.Values)

// WithoutTags leaves tags out, which is faster for Sigma.
func WithoutTags() ListOption { return set("excludeTags") }

// WholeOrganization shows also what is not shared with the credentials' owner,
// who must have the account type Admin. What it shows need not be readable.
func WholeOrganization() ListOption { return set("skipPermissionCheck") }

// OnlyArchived shows archived workbooks instead of the others.
func OnlyArchived() ListOption { return set("isArchived") }

// WithoutExplorations leaves out what users try out and have not saved.
func WithoutExplorations() ListOption { return set("excludeExplorations") }

func set(parameter string) ListOption {
	return func(query url.Values) { query.Set(parameter, "true") }
}

func listing(path string, options []ListOption) call {
	what := call{path: path, query: url.Values{}}
	for _, option := range options {
		option(what.query)
	}
	return what
}

// VersionOption selects a version of a document. Without one, Sigma answers for
// the newest published version.
type VersionOption func(*call)

// AtTag selects the version that carries a tag, by the tag's name.
func AtTag(name string) VersionOption {
	return func(what *call) { what.query = url.Values{what.tagParameter: {name}} }
}

func (c call) at(options []VersionOption) call {
	for _, option := range options {
		option(&c)
	}
	return c
}

// WhoAmI tells whom the credentials belong to. It is the cheapest check of
// credentials.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	return get[Identity](ctx, c, call{path: "/v2/whoami"})
}

// Workbooks lists the workbooks that the credentials' owner may see.
func (c *Client) Workbooks(ctx context.Context, options ...ListOption) ([]Workbook, error) {
	return collect(ctx, c, listing("/v2/workbooks", options), byOffset, func(w Workbook) string { return w.WorkbookID })
}

// Workbook returns one workbook. KindNotFound is Sigma's word that it is gone.
func (c *Client) Workbook(ctx context.Context, workbookID string) (Workbook, error) {
	return get[Workbook](ctx, c, call{path: "/v2/workbooks/{}", ids: []string{workbookID}})
}

// WorkbookTags lists the tags of a workbook's versions.
func (c *Client) WorkbookTags(ctx context.Context, workbookID string) ([]Tag, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/tags", ids: []string{workbookID}}, byOffset, tagID)
}

// Tags lists the organization's version tags.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	return collect(ctx, c, call{path: "/v2/tags"}, byOffset, tagID)
}

func tagID(t Tag) string { return t.VersionTagID }

// Pages lists the pages of a workbook, the hidden ones too.
func (c *Client) Pages(ctx context.Context, workbookID string, version ...VersionOption) ([]Page, error) {
	what := call{path: "/v2/workbooks/{}/pages", ids: []string{workbookID}, tagParameter: "tag"}.at(version)
	return collect(ctx, c, what, byOffset, func(p Page) string { return p.PageID })
}

// PageElements lists the elements of one page of a workbook.
func (c *Client) PageElements(ctx context.Context, workbookID, pageID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/workbooks/{}/pages/{}/elements", ids: []string{workbookID, pageID}, tagParameter: "tag"}.at(version)
	return collect(ctx, c, what, byOffset, elementID)
}

// Elements lists the elements of all pages of a workbook.
func (c *Client) Elements(ctx context.Context, workbookID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/workbooks/{}/elements", ids: []string{workbookID}, tagParameter: "tagName"}.at(version)
	return collect(ctx, c, what, byOffset, elementID)
}

func elementID(e Element) string { return e.ElementID }

// Columns lists the columns of all elements of a workbook's newest version.
func (c *Client) Columns(ctx context.Context, workbookID string) ([]Column, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/columns", ids: []string{workbookID}}, byOffset, columnID)
}

// ElementColumns lists the columns of one element.
func (c *Client) ElementColumns(ctx context.Context, workbookID, elementID string) ([]Column, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/elements/{}/columns", ids: []string{workbookID, elementID}}, byOffset, columnID)
}

func columnID(column Column) string {
	if column.ColumnID == "" {
		return ""
	}
	return column.ElementID + "\x00" + column.ColumnID
}

// Queries lists the SQL of all elements of a workbook that have any, in its
// newest version. An element may come more than once.
func (c *Client) Queries(ctx context.Context, workbookID string) ([]Query, error) {
	return collect(ctx, c, call{path: "/v2/workbooks/{}/queries", ids: []string{workbookID}}, byOffset, func(Query) string { return "" })
}

// ElementQuery returns the SQL of one element. KindNotFound means that there is
// no query for it, or no such element.
func (c *Client) ElementQuery(ctx context.Context, workbookID, elementID string, version ...VersionOption) (Query, error) {
	return get[Query](ctx, c, call{path: "/v2/workbooks/{}/elements/{}/query", ids: []string{workbookID, elementID}, tagParameter: "tagName"}.at(version))
}

// Lineage lists the elements of a workbook and what they read from. Sigma
// answers some workbooks with HTTP 500, steadily: they have no lineage, as far
// as Sigma tells, and that is no error.
func (c *Client) Lineage(ctx context.Context, workbookID string) ([]LineageEntry, error) {
	return unlessInternal(collect(ctx, c, call{path: "/v2/workbooks/{}/lineage", ids: []string{workbookID}}, byOffset, func(LineageEntry) string { return "" }))
}

// ElementLineage returns what one element is made from; nothing where Sigma
// answers with HTTP 500, as it does for some elements, steadily.
func (c *Client) ElementLineage(ctx context.Context, workbookID, elementID string) (ElementLineage, error) {
	return unlessInternal(get[ElementLineage](ctx, c, call{path: "/v2/workbooks/{}/lineage/elements/{}", ids: []string{workbookID, elementID}}))
}

// unlessInternal makes nothing out of an HTTP 500.
func unlessInternal[T any](answer T, err error) (T, error) {
	var failure *Error
	if errors.As(err, &failure) && failure.Status == http.StatusInternalServerError {
		var nothing T
		return nothing, nil
	}
	return answer, err
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

// Connection returns one warehouse connection.
func (c *Client) Connection(ctx context.Context, connectionID string) (Connection, error) {
	return get[Connection](ctx, c, call{path: "/v2/connections/{}", ids: []string{connectionID}})
}

// ConnectionPath tells where a table lies, by its inode id from lineage or
// sources.
func (c *Client) ConnectionPath(ctx context.Context, inodeID string) (ConnectionPath, error) {
	return get[ConnectionPath](ctx, c, call{path: "/v2/connections/paths/{}", ids: []string{inodeID}})
}

// DataModels lists the data models that the credentials' owner may see.
func (c *Client) DataModels(ctx context.Context, options ...ListOption) ([]DataModel, error) {
	return collect(ctx, c, listing("/v2/dataModels", options), byOffset, func(m DataModel) string { return m.DataModelID })
}

// DataModel returns one data model.
func (c *Client) DataModel(ctx context.Context, dataModelID string) (DataModel, error) {
	return get[DataModel](ctx, c, call{path: "/v2/dataModels/{}", ids: []string{dataModelID}})
}

// DataModelElements lists the elements of a data model.
func (c *Client) DataModelElements(ctx context.Context, dataModelID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/dataModels/{}/elements", ids: []string{dataModelID}, tagParameter: "tagName"}.at(version)
	return collect(ctx, c, what, byOffset, elementID)
}

// DataModelColumns lists the columns of all elements of a data model.
func (c *Client) DataModelColumns(ctx context.Context, dataModelID string) ([]Column, error) {
	return collect(ctx, c, call{path: "/v2/dataModels/{}/columns", ids: []string{dataModelID}}, byOffset, columnID)
}

// DataModelElementQuery returns the SQL of one element of a data model.
func (c *Client) DataModelElementQuery(ctx context.Context, dataModelID, elementID string, version ...VersionOption) (Query, error) {
	return get[Query](ctx, c, call{path: "/v2/dataModels/{}/elements/{}/query", ids: []string{dataModelID, elementID}, tagParameter: "tagName"}.at(version))
}

// DataModelLineage lists the elements of a data model and what they read from;
// nothing where Sigma answers with HTTP 500.
func (c *Client) DataModelLineage(ctx context.Context, dataModelID string) ([]LineageEntry, error) {
	return unlessInternal(collect(ctx, c, call{path: "/v2/dataModels/{}/lineage", ids: []string{dataModelID}}, byOffset, func(LineageEntry) string { return "" }))
}

// DataModelSources lists what a data model reads from.
func (c *Client) DataModelSources(ctx context.Context, dataModelID string) ([]Source, error) {
	return collect(ctx, c, call{path: "/v2/dataModels/{}/sources", ids: []string{dataModelID}}, byCursor, func(Source) string { return "" })
}

// Files lists what is in Sigma's folders and is shared with the credentials'
// owner by name; an Admin's other rights do not count, and new files come with
// a delay. types narrows the list; none means Sigma's own choice, without
// tables.
func (c *Client) Files(ctx context.Context, types ...string) ([]File, error) {
	return collect(ctx, c, call{path: "/v2/files", query: url.Values{"typeFilters": types}}, byOffset, func(f File) string { return f.ID })
}

// Workspaces lists the workspaces that the credentials' owner may see.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	return collect(ctx, c, call{path: "/v2/workspaces"}, byOffset, func(w Workspace) string { return w.WorkspaceID })
}
