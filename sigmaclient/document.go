package sigmaclient

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// Document is a workbook or a data model, whose elements are read alike: at its
// newest published version or at the version that carries a tag, and there as
// published or as a bookmark shows it.
//
// Sigma lists the columns, lineage, sources, controls and queries of the newest
// version only. Those of a workbook's tagged version are listed under the id of
// that version (see AtVersion and FindVersion). Where that id is not known, and
// for the tagged version of a data model, these calls fail with an *Error that
// wraps ErrVersionNotListed.
type Document struct {
	client    *Client
	id        string
	dataModel bool
	tag       string // empty for the newest version
	versionID string // the id of the tagged version; empty where it is not known
	// versionErr is why versionID is not known, or nil.
	versionErr error
	bookmark   string
}

// ErrVersionNotListed means that Sigma lists the newest version of a document, and
// another version is read.
var ErrVersionNotListed = errors.New("sigma lists this of the newest version only")

// WorkbookDocument returns a workbook. An empty tag means its newest version.
func (c *Client) WorkbookDocument(id, tag string) Document {
	return Document{client: c, id: id, tag: tag}
}

// DataModelDocument returns a data model. An empty tag means its newest version.
func (c *Client) DataModelDocument(id, tag string) Document {
	return Document{client: c, id: id, tag: tag, dataModel: true}
}

// AtVersion returns the document with the id that Sigma gives to its tagged version
// (see Tag.TaggedWorkbookID). An empty id means that it is not known.
func (d Document) AtVersion(id string) Document {
	d.versionID = id
	return d
}

// AtBookmark returns the document as a bookmark shows it. An empty id means as
// published. Columns, lineage, sources and controls are those of the published
// state all the same: Sigma lists no others.
func (d Document) AtBookmark(id string) Document {
	d.bookmark = id
	return d
}

// FindVersion asks Sigma for the id of the tagged version, where the document is
// one of a workbook and the id is not known. A refusal is the error of the calls
// that need the id.
func (d Document) FindVersion(ctx context.Context) Document {
	if d.tag == "" || d.dataModel || d.versionID != "" {
		return d
	}
	tags, err := d.client.WorkbookTags(ctx, d.id)
	d.versionErr = err
	for _, tag := range tags {
		if tag.Name == d.tag {
			d.versionID = tag.TaggedWorkbookID
		}
	}
	return d
}

// listedID returns the id under which Sigma lists what takes no tag. The call is
// the one that the error names.
func (d Document) listedID(call string) (string, error) {
	switch {
	case d.tag == "":
		return d.id, nil
	case d.dataModel:
	case d.versionID != "":
		return d.versionID, nil
	case d.versionErr != nil:
		return "", d.versionErr
	}
	return "", &Error{Kind: KindProtocol, Call: call, Err: ErrVersionNotListed}
}

// version selects the version in calls that take a tag.
func (d Document) version() []VersionOption {
	var options []VersionOption
	if d.tag != "" {
		options = append(options, AtTag(d.tag))
	}
	if d.bookmark != "" {
		options = append(options, AtBookmark(d.bookmark))
	}
	return options
}

// Elements lists the elements.
func (d Document) Elements(ctx context.Context) ([]Element, error) {
	if d.dataModel {
		return d.client.DataModelElements(ctx, d.id, d.version()...)
	}
	return d.client.Elements(ctx, d.id, d.version()...)
}

// Columns lists the columns of all elements.
func (d Document) Columns(ctx context.Context) ([]Column, error) {
	id, err := d.listedID("columns")
	switch {
	case err != nil:
		return nil, err
	case d.dataModel:
		return d.client.DataModelColumns(ctx, id)
	}
	return d.client.Columns(ctx, id)
}

// ElementColumns lists the columns of one element.
func (d Document) ElementColumns(ctx context.Context, elementID string) ([]Column, error) {
	if d.dataModel {
		columns, err := d.Columns(ctx)
		return slices.DeleteFunc(columns, func(c Column) bool { return c.ElementID != elementID }), err
	}
	id, err := d.listedID("columns")
	if err != nil {
		return nil, err
	}
	return d.client.ElementColumns(ctx, id, elementID)
}

// Queries lists the SQL of all elements at once, where Sigma offers that: ok is
// false for data models, bookmarks and versions without an id, whose elements have
// to be asked one by one.
func (d Document) Queries(ctx context.Context) (queries []Query, ok bool, err error) {
	id, err := d.listedID("queries")
	if d.dataModel || d.bookmark != "" || err != nil {
		return nil, false, nil
	}
	queries, err = d.client.Queries(ctx, id)
	return queries, err == nil, err
}

// ElementQuery returns the SQL of one element.
func (d Document) ElementQuery(ctx context.Context, elementID string) (Query, error) {
	if d.dataModel {
		return d.client.DataModelElementQuery(ctx, d.id, elementID, d.version()...)
	}
	return d.client.ElementQuery(ctx, d.id, elementID, d.version()...)
}

// Lineage lists the elements and what they read from.
func (d Document) Lineage(ctx context.Context) ([]LineageEntry, error) {
	id, err := d.listedID("lineage")
	switch {
	case err != nil:
		return nil, err
	case d.dataModel:
		return d.client.DataModelLineage(ctx, id)
	}
	return d.client.Lineage(ctx, id)
}

// Sources lists what the document reads from.
func (d Document) Sources(ctx context.Context) ([]Source, error) {
	id, err := d.listedID("sources")
	switch {
	case err != nil:
		return nil, err
	case d.dataModel:
		return d.client.DataModelSources(ctx, id)
	}
	return d.client.Sources(ctx, id)
}

// Controls returns the names of the controls. Sigma has no list of those of a data
// model, so they are found among its elements. So are those of a workbook whose list
// Sigma refuses; the error is the refusal then.
func (d Document) Controls(ctx context.Context) ([]string, error) {
	refusal := error(nil)
	if !d.dataModel {
		var controls []Control
		id, err := d.listedID("controls")
		if err == nil {
			controls, err = d.client.Controls(ctx, id)
		}
		if err == nil {
			return controlNames(controls), nil
		}
		refusal = err
	}
	elements, err := d.Elements(ctx)
	return ControlNames(elements), cmp.Or(refusal, err)
}

func controlNames(controls []Control) (names []string) {
	for _, control := range controls {
		names = append(names, cmp.Or(control.Name, unnamedControl))
	}
	return names
}

// unnamedControl stands for a control whose name Sigma does not send.
const unnamedControl = "unnamed"

// ControlNames returns the names of the controls among the elements of a document.
func ControlNames(elements []Element) []string {
	var names []string
	for _, e := range elements {
		if e.Type == "control" {
			names = append(names, cmp.Or(e.Name, unnamedControl))
		}
	}
	return names
}

// ErrBookmarkUnknown means that a document has no such bookmark, as far as the
// credentials' owner can see.
var ErrBookmarkUnknown = errors.New("sigmaclient: no such bookmark")

// CheckBookmark fails with ErrBookmarkUnknown if the document is at a bookmark that
// Sigma does not list, so that a query could be that of the published state. Where
// Sigma refuses the list, or the list is incomplete, the check passes. It fails with
// the outage where Sigma cannot be asked now.
func (d Document) CheckBookmark(ctx context.Context) error {
	switch {
	case d.bookmark == "":
		return nil
	case d.dataModel:
		return ErrBookmarkUnknown
	}
	gaps := &IncompleteLists{}
	bookmarks, err := d.client.Bookmarks(WithIncompleteLists(ctx, gaps), d.id)
	isListed := slices.ContainsFunc(bookmarks, func(b Bookmark) bool { return b.BookmarkID == d.bookmark })
	var failure *Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &failure) && (failure.Kind == KindThrottled || failure.Kind == KindUnavailable):
		return err
	case err != nil || gaps.Count() > 0 || isListed:
		return nil
	}
	return ErrBookmarkUnknown
}
