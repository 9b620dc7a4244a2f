package sigmaclient

import (
	"cmp"
	"context"
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

func documents(path string, options []ListOption) call {
	what := call{path: path, query: url.Values{}}
	for _, option := range options {
		option(what.query)
	}
	return what
}

// VersionOption selects a version or state of a document. Without one, Sigma answers
// for the newest published version.
type VersionOption func(*call)

// AtTag selects the version that carries a tag, by the tag's name.
func AtTag(name string) VersionOption {
	return func(what *call) { what.query.Set(what.tagParameter, name) }
}

// AtBookmark selects the state that a bookmark (a saved view) has, by its id.
func AtBookmark(id string) VersionOption {
	return func(what *call) { what.query.Set("bookmarkId", id) }
}

func (c call) at(options []VersionOption) call {
	c.query = url.Values{}
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
	return collect[Workbook](ctx, c, documents("/v2/workbooks", options), byOffset, uniqueBy("workbookId"))
}

// Workbook returns one workbook. KindNotFound is Sigma's word that it is gone.
func (c *Client) Workbook(ctx context.Context, workbookID string) (Workbook, error) {
	workbook, err := get[Workbook](ctx, c, call{path: "/v2/workbooks/{}", ids: []string{workbookID}})
	workbook.WorkbookID = cmp.Or(workbook.WorkbookID, workbookID)
	return workbook, err
}

// WorkbookTags lists the tags of a workbook's versions.
func (c *Client) WorkbookTags(ctx context.Context, workbookID string) ([]Tag, error) {
	return collect[Tag](ctx, c, call{path: "/v2/workbooks/{}/tags", ids: []string{workbookID}}, byOffset, uniqueBy("versionTagId"))
}

// Tags lists the organization's version tags.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	return collect[Tag](ctx, c, call{path: "/v2/tags"}, byOffset, uniqueBy("versionTagId"))
}

// Pages lists the pages of a workbook, the hidden ones too.
func (c *Client) Pages(ctx context.Context, workbookID string, version ...VersionOption) ([]Page, error) {
	what := call{path: "/v2/workbooks/{}/pages", ids: []string{workbookID}, tagParameter: "tag"}.at(version)
	return collect[Page](ctx, c, what, byOffset, uniqueBy("pageId"))
}

// PageElements lists the elements of one page of a workbook.
func (c *Client) PageElements(ctx context.Context, workbookID, pageID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/workbooks/{}/pages/{}/elements", ids: []string{workbookID, pageID}, tagParameter: "tag"}.at(version)
	return collect[Element](ctx, c, what, byOffset, uniqueBy("elementId"))
}

// Elements lists the elements of all pages of a workbook.
func (c *Client) Elements(ctx context.Context, workbookID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/workbooks/{}/elements", ids: []string{workbookID}, tagParameter: "tagName"}.at(version)
	return collect[Element](ctx, c, what, byOffset, uniqueBy("elementId"))
}

// Columns lists the columns of all elements of a workbook's newest version.
func (c *Client) Columns(ctx context.Context, workbookID string) ([]Column, error) {
	return collect[Column](ctx, c, call{path: "/v2/workbooks/{}/columns", ids: []string{workbookID}}, byOffset, uniqueBy("elementId", "columnId"))
}

// ElementColumns lists the columns of one element.
func (c *Client) ElementColumns(ctx context.Context, workbookID, elementID string) ([]Column, error) {
	return collect[Column](ctx, c, call{path: "/v2/workbooks/{}/elements/{}/columns", ids: []string{workbookID, elementID}}, byOffset, uniqueBy("columnId"))
}

// Queries lists the SQL of all elements of a workbook that have any, in its
// newest version. An element may come more than once.
func (c *Client) Queries(ctx context.Context, workbookID string) ([]Query, error) {
	return collect[Query](ctx, c, call{path: "/v2/workbooks/{}/queries", ids: []string{workbookID}}, byOffset, requiring("elementId"))
}

// ElementQuery returns the SQL of one element. KindNotFound means that there is
// no query for it, or no such element.
func (c *Client) ElementQuery(ctx context.Context, workbookID, elementID string, version ...VersionOption) (Query, error) {
	query, err := get[Query](ctx, c, call{path: "/v2/workbooks/{}/elements/{}/query", ids: []string{workbookID, elementID}, tagParameter: "tagName"}.at(version))
	query.ElementID = cmp.Or(query.ElementID, elementID)
	return query, err
}

// Lineage lists the elements of a workbook and what they read from. Sigma
// refuses it steadily for some workbooks: with HTTP 400 if the workbook has no
// lineage graph, with HTTP 500 (KindInternal) for reasons that it does not tell.
func (c *Client) Lineage(ctx context.Context, workbookID string) ([]LineageEntry, error) {
	return collect[LineageEntry](ctx, c, call{path: "/v2/workbooks/{}/lineage", ids: []string{workbookID}}, byOffset, requiring())
}

// ElementLineage returns what one element is made from. Sigma refuses it
// steadily, with HTTP 500 (KindInternal), for some elements.
func (c *Client) ElementLineage(ctx context.Context, workbookID, elementID string) (ElementLineage, error) {
	return get[ElementLineage](ctx, c, call{path: "/v2/workbooks/{}/lineage/elements/{}", ids: []string{workbookID, elementID}})
}

// Sources lists what a workbook reads from.
func (c *Client) Sources(ctx context.Context, workbookID string) ([]Source, error) {
	return collect[Source](ctx, c, call{path: "/v2/workbooks/{}/sources", ids: []string{workbookID}}, bare, requiring())
}

// Controls lists the controls of a workbook's newest version.
func (c *Client) Controls(ctx context.Context, workbookID string) ([]Control, error) {
	return collect[Control](ctx, c, call{path: "/v2/workbooks/{}/controls", ids: []string{workbookID}}, byOffset, requiring())
}

// Bookmarks lists the bookmarks of a workbook that are the credentials' owner's or
// are shared.
func (c *Client) Bookmarks(ctx context.Context, workbookID string) ([]Bookmark, error) {
	return collect[Bookmark](ctx, c, call{path: "/v2/workbooks/{}/bookmarks", ids: []string{workbookID}}, byOffset, uniqueBy("bookmarkId"))
}

// Connections lists the warehouse connections that the credentials' owner may
// see.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	return collect[Connection](ctx, c, call{path: "/v2/connections"}, byOffset, uniqueBy("connectionId"))
}

// Connection returns one warehouse connection.
func (c *Client) Connection(ctx context.Context, connectionID string) (Connection, error) {
	connection, err := get[Connection](ctx, c, call{path: "/v2/connections/{}", ids: []string{connectionID}})
	connection.ConnectionID = cmp.Or(connection.ConnectionID, connectionID)
	return connection, err
}

// ConnectionPath tells where a table lies, by its inode id from lineage or
// sources.
func (c *Client) ConnectionPath(ctx context.Context, inodeID string) (ConnectionPath, error) {
	return get[ConnectionPath](ctx, c, call{path: "/v2/connections/paths/{}", ids: []string{inodeID}})
}

// DataModels lists the data models that the credentials' owner may see.
func (c *Client) DataModels(ctx context.Context, options ...ListOption) ([]DataModel, error) {
	return collect[DataModel](ctx, c, documents("/v2/dataModels", options), byOffset, uniqueBy("dataModelId"))
}

// DataModel returns one data model.
func (c *Client) DataModel(ctx context.Context, dataModelID string) (DataModel, error) {
	model, err := get[DataModel](ctx, c, call{path: "/v2/dataModels/{}", ids: []string{dataModelID}})
	model.DataModelID = cmp.Or(model.DataModelID, dataModelID)
	return model, err
}

// DataModelElements lists the elements of a data model.
func (c *Client) DataModelElements(ctx context.Context, dataModelID string, version ...VersionOption) ([]Element, error) {
	what := call{path: "/v2/dataModels/{}/elements", ids: []string{dataModelID}, tagParameter: "tagName"}.at(version)
	return collect[Element](ctx, c, what, byOffset, uniqueBy("elementId"))
}

// DataModelColumns lists the columns of all elements of a data model.
func (c *Client) DataModelColumns(ctx context.Context, dataModelID string) ([]Column, error) {
	return collect[Column](ctx, c, call{path: "/v2/dataModels/{}/columns", ids: []string{dataModelID}}, byOffset, uniqueBy("elementId", "columnId"))
}

// DataModelElementQuery returns the SQL of one element of a data model.
func (c *Client) DataModelElementQuery(ctx context.Context, dataModelID, elementID string, version ...VersionOption) (Query, error) {
	query, err := get[Query](ctx, c, call{path: "/v2/dataModels/{}/elements/{}/query", ids: []string{dataModelID, elementID}, tagParameter: "tagName"}.at(version))
	query.ElementID = cmp.Or(query.ElementID, elementID)
	return query, err
}

// DataModelLineage lists the elements of a data model and what they read from.
// Sigma refuses it as it refuses a workbook's (see Lineage).
func (c *Client) DataModelLineage(ctx context.Context, dataModelID string) ([]LineageEntry, error) {
	return collect[LineageEntry](ctx, c, call{path: "/v2/dataModels/{}/lineage", ids: []string{dataModelID}}, byOffset, requiring())
}

// DataModelSources lists what a data model reads from.
func (c *Client) DataModelSources(ctx context.Context, dataModelID string) ([]Source, error) {
	return collect[Source](ctx, c, call{path: "/v2/dataModels/{}/sources", ids: []string{dataModelID}}, byCursor, requiring())
}

// Files lists what is in Sigma's folders and is shared with the credentials'
// owner by name; an Admin's other rights do not count, and new files come with
// a delay. types narrows the list; none means Sigma's own choice, without
// tables.
func (c *Client) Files(ctx context.Context, types ...string) ([]File, error) {
	return collect[File](ctx, c, call{path: "/v2/files", query: url.Values{"typeFilters": types}}, byOffset, uniqueBy("id"))
}

// Workspaces lists the workspaces that the credentials' owner may see.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	return collect[Workspace](ctx, c, call{path: "/v2/workspaces"}, byOffset, uniqueBy("workspaceId"))
}
