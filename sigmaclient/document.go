package sigmaclient

import (
	"context"
	"slices"
)

// Document is a workbook or a data model, whose elements are read alike, at its
// newest published version or at the one that carries a tag.
type Document struct {
	client    *Client
	id        string
	dataModel bool
	version   []VersionOption
}

// WorkbookDocument returns a workbook. An empty tag means its newest version.
func (c *Client) WorkbookDocument(id, tag string) Document {
	return Document{client: c, id: id, version: versionOf(tag)}
}

// DataModelDocument returns a data model. An empty tag means its newest version.
func (c *Client) DataModelDocument(id, tag string) Document {
	return Document{client: c, id: id, version: versionOf(tag), dataModel: true}
}

func versionOf(tag string) []VersionOption {
	if tag == "" {
		return nil
	}
	return []VersionOption{AtTag(tag)}
}

// Elements lists the elements.
func (d Document) Elements(ctx context.Context) ([]Element, error) {
	if d.dataModel {
		return d.client.DataModelElements(ctx, d.id, d.version...)
	}
	return d.client.Elements(ctx, d.id, d.version...)
}

// Columns lists the columns of all elements. Sigma tells those of the newest
// version only.
func (d Document) Columns(ctx context.Context) ([]Column, error) {
	if d.dataModel {
		return d.client.DataModelColumns(ctx, d.id)
	}
	return d.client.Columns(ctx, d.id)
}

// ElementColumns lists the columns of one element, of the newest version.
func (d Document) ElementColumns(ctx context.Context, elementID string) ([]Column, error) {
	if !d.dataModel {
		return d.client.ElementColumns(ctx, d.id, elementID)
	}
	columns, err := d.client.DataModelColumns(ctx, d.id)
	return slices.DeleteFunc(columns, func(c Column) bool { return c.ElementID != elementID }), err
}

// Queries lists the SQL of all elements at once, where Sigma offers that: ok is
// false for data models and for tagged versions, whose elements have to be
// asked one by one.
func (d Document) Queries(ctx context.Context) (queries []Query, ok bool, err error) {
	if d.dataModel || d.version != nil {
		return nil, false, nil
	}
	queries, err = d.client.Queries(ctx, d.id)
	return queries, err == nil, err
}

// ElementQuery returns the SQL of one element.
func (d Document) ElementQuery(ctx context.Context, elementID string) (Query, error) {
	if d.dataModel {
		return d.client.DataModelElementQuery(ctx, d.id, elementID, d.version...)
	}
	return d.client.ElementQuery(ctx, d.id, elementID, d.version...)
}

// Lineage lists the elements and what they read from.
func (d Document) Lineage(ctx context.Context) ([]LineageEntry, error) {
	if d.dataModel {
		return d.client.DataModelLineage(ctx, d.id)
	}
	return d.client.Lineage(ctx, d.id)
}

// Sources lists what the document reads from.
func (d Document) Sources(ctx context.Context) ([]Source, error) {
	if d.dataModel {
		return d.client.DataModelSources(ctx, d.id)
	}
	return d.client.Sources(ctx, d.id)
}
