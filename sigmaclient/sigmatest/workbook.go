package sigmatest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// clock is Sigma's form of times.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (w *Workbook) visibleTo(member string) bool {
	return len(w.SharedWith) == 0 || w.Owner == member || slices.Contains(w.SharedWith, member)
}

func listWorkbooks(a *ask) answer {
	query := a.URL.Query()
	onlyArchived, all := query.Get("isArchived") == "true", query.Get("skipPermissionCheck") == "true"
	var listed []*Workbook
	for i := range a.org.Workbooks {
		w := &a.org.Workbooks[i]
		switch {
		case w.Archived != onlyArchived || !all && !w.visibleTo(a.client.Owner):
		case w.Unsent:
			a.unsent++
		default:
			listed = append(listed, w)
		}
	}
	return page(a, withMore, listed, func(w *Workbook) object { return workbookObject(a, w) })
}

func workbookObject(a *ask, w *Workbook) object {
	body := document(a, "workbook", w.ID, w.Name, w.Path, w.Owner, w.Version, w.CreatedAt, w.UpdatedAt)
	body["isArchived"] = w.Archived
	if a.URL.Query().Get("excludeTags") != "true" {
		tags := []object{}
		for _, tag := range w.Tags {
			tags = append(tags, workbookTag(w, tag))
		}
		body["tags"] = tags
	}
	return withRaw(body, w.Raw)
}

// document is what workbooks and data models have in common.
func document(a *ask, kind, id, name, path, owner string, version int, created, updated time.Time) object {
	url := urlID(id)
	return object{
		kind + "Id":     id,
		kind + "UrlId":  url,
		"name":          name,
		"url":           "https://app.sigmacomputing.com/" + a.org.Slug + "/" + strings.ToLower(kind) + "/" + dashed(name) + url,
		"path":          path,
		"latestVersion": version,
		"ownerId":       owner,
		"createdBy":     owner,
		"updatedBy":     owner,
		"createdAt":     clock(created),
		"updatedAt":     clock(updated),
	}
}

// dashed is a name as it stands in a document's URL.
func dashed(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return r > 127 || !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	})
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, "-") + "-"
}

// taggedID is the id of the version that carries a tag.
func taggedID(w *Workbook, tag string) string { return uuid("tagged", w.ID, tag) }

func workbookTag(w *Workbook, tag string) object {
	return object{
		"versionTagId":          uuid("tag", tag),
		"name":                  tag,
		"sourceWorkbookVersion": w.Version,
		"taggedWorkbookId":      taggedID(w, tag),
		"workbookTaggedAt":      clock(w.UpdatedAt),
	}
}

func getWorkbook(a *ask) answer {
	w := a.workbooks[a.PathValue("workbookId")]
	switch {
	case w == nil:
		return notFound()
	case w.Unreadable || !w.visibleTo(a.client.Owner):
		return forbidden()
	}
	return ok(workbookObject(a, w))
}

// inWorkbook finds the workbook that a call is about.
func inWorkbook(handle func(*ask, *Workbook) answer) func(*ask) answer {
	return func(a *ask) answer {
		id := a.PathValue("workbookId")
		w := a.workbooks[id]
		if version := a.versions[id]; version != nil {
			if w = version; a.org.VersionIDs.Status != 0 {
				return a.org.VersionIDs.answer()
			}
		}
		switch {
		case w == nil:
			return notFound()
		case w.Unreadable || !w.visibleTo(a.client.Owner):
			return forbidden()
		case w.Archived:
			return archived()
		}
		if failure, fails := failureOf(w.Failures, a.Request); fails {
			return failure.answer()
		}
		return handle(a, w)
	}
}

func listWorkbookTags(a *ask, w *Workbook) answer {
	return page(a, plain, w.Tags, func(tag string) object { return workbookTag(w, tag) })
}

func listPages(a *ask, w *Workbook) answer {
	pages, known := w.pagesAt(a.URL.Query().Get("tag"))
	if !known {
		return notFound()
	}
	return page(a, plain, pages, func(p Page) object {
		body := object{"pageId": p.ID}
		if p.Name != "" {
			body["name"] = p.Name
		}
		if p.Hidden {
			body["hidden"] = true
		}
		return body
	})
}

func listPageElements(a *ask, w *Workbook) answer {
	pages, _ := w.pagesAt(a.URL.Query().Get("tag"))
	for _, p := range pages {
		if p.ID == a.PathValue("pageId") {
			return page(a, plain, a.placed(elementsOf([]Page{p})), a.elementObject)
		}
	}
	return notFound()
}

func listElements(a *ask, w *Workbook) answer {
	pages, known := w.pagesAt(a.URL.Query().Get("tagName"))
	if !known {
		return notFound()
	}
	return page(a, plain, a.placed(elementsOf(pages)), a.elementObject)
}

// placed leaves out what the lists of elements do not show.
func (a *ask) placed(elements []*Element) []*Element {
	return slices.DeleteFunc(elements, func(e *Element) bool {
		if e.Unsent {
			a.unsent++
		}
		return e.Unplaced || e.Unsent
	})
}

func (a *ask) elementObject(e *Element) object {
	body := object{"elementId": e.ID, "type": e.Type}
	if e.Name != "" {
		body["name"] = e.Name
	}
	if e.isData() {
		labels := make([]string, len(e.Columns))
		for i := range e.Columns {
			labels[i] = e.Columns[i].labelFor(a.client)
		}
		body["columns"] = labels
	}
	if e.Visualization != "" {
		body["vizualizationType"] = e.Visualization // sic
	}
	if e.Refusal == WithError {
		body["error"] = brokenDependency
	}
	return withRaw(body, e.Raw)
}

// elementColumn is a column and the element that it belongs to.
type elementColumn struct {
	element *Element
	column  *Column
}

func (a *ask) columnsOf(elements ...*Element) []elementColumn {
	var all []elementColumn
	for _, e := range elements {
		if e.ColumnsUnsent {
			continue
		}
		for i := range e.Columns {
			c := e.Columns[i]
			c.Label = c.labelFor(a.client)
			if !c.Hidden {
				all = append(all, elementColumn{element: e, column: &c})
			}
		}
	}
	return all
}

// columnObject spells the label as the call does: for all elements it is "name".
func columnObject(c elementColumn, label string) object {
	return object{
		"columnId": c.column.ID,
		label:      c.column.Label,
		"formula":  c.column.Formula,
		"type":     object{"type": c.column.Type},
	}
}

func columnOfMany(c elementColumn) object {
	body := columnObject(c, "name")
	body["elementId"] = c.element.ID
	return withRaw(body, c.column.Raw)
}

func listColumns(a *ask, w *Workbook) answer {
	return page(a, plain, a.columnsOf(elementsOf(w.Pages)...), columnOfMany)
}

func elementColumns(a *ask, w *Workbook) answer {
	e := findID(elementsOf(w.Pages), a.PathValue("elementId"))
	if e == nil {
		return notFound()
	}
	return page(a, plain, a.columnsOf(e), func(c elementColumn) object { return withRaw(columnObject(c, "label"), c.column.Raw) })
}

// listControls lists the elements of the type "control". Sigma tells no element
// ids here.
func listControls(a *ask, w *Workbook) answer {
	controls := slices.DeleteFunc(elementsOf(w.Pages), func(e *Element) bool { return e.Type != "control" })
	return page(a, plain, controls, func(e *Element) object { return withRaw(object{"name": e.Name, "valueType": "text"}, e.RawQuery) })
}

func findID(elements []*Element, id string) *Element {
	for _, e := range elements {
		if e.ID == id {
			return e
		}
	}
	return nil
}

func listQueries(a *ask, w *Workbook) answer {
	if w.Queries != None {
		return w.Queries.answer()
	}
	var listed []*Element
	for _, e := range elementsOf(w.Pages) {
		if !e.isData() || e.Unlisted || e.Refusal.isError() || e.Failure.Status != 0 {
			continue
		}
		listed = append(listed, e)
		if e.Twice {
			listed = append(listed, e)
		}
	}
	return page(a, plain, listed, func(e *Element) object { return e.query(a, elementsOf(w.Pages), nil) })
}

func elementQuery(a *ask, w *Workbook) answer {
	pages, known := w.pagesAt(a.URL.Query().Get("tagName"))
	if !known {
		return notFound()
	}
	var at *Bookmark
	if id := a.URL.Query().Get("bookmarkId"); id != "" {
		if at = w.bookmark(a, id); at == nil && !a.org.IgnoresBookmarks {
			return notFound()
		}
	}
	return oneQuery(a, elementsOf(pages), at)
}

// bookmark returns the bookmark of an id that the caller sees, or nil.
func (w *Workbook) bookmark(a *ask, id string) *Bookmark {
	for i := range w.Bookmarks {
		if b := &w.Bookmarks[i]; b.ID == id && (b.Owner == "" || b.Owner == a.client.Owner) {
			return b
		}
	}
	return nil
}

func listBookmarks(a *ask, w *Workbook) answer {
	seen := slices.DeleteFunc(slices.Clone(w.Bookmarks), func(b Bookmark) bool { return w.bookmark(a, b.ID) == nil })
	return page(a, plain, seen, func(b Bookmark) object {
		return object{"bookmarkId": b.ID, "name": b.Name, "isShared": b.Owner == "", "exploreKey": urlID(b.ID), "isDefault": b.Default}
	})
}

func oneQuery(a *ask, elements []*Element, at *Bookmark) answer {
	e := findID(elements, a.PathValue("elementId"))
	switch {
	case e == nil || !e.isData():
		return refuse(http.StatusNotFound, "not_found", "The query is not present")
	case e.Refusal.isError():
		return e.Refusal.answer()
	case e.Failure.Status != 0:
		return e.Failure.answer()
	}
	return ok(e.query(a, elements, at))
}
