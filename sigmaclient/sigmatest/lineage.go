package sigmatest

import (
	"net/http"
	"strings"
)

// source is something outside of a document that its elements read from.
type source struct {
	id        string // of its own
	reference string // by which elements name it
	node      string // in an element's own lineage
	lineage   object // in the document's lineage
	listed    object // in the document's sources; nil for kinds that those do not list
}

// sources are what an element reads from by itself.
func (g graph) sources(e *Element) []source {
	switch {
	case !e.isData() || len(e.Elements) > 0:
		return nil
	case e.DataModel != "":
		return []source{g.dataModel(e)}
	case e.CustomSQL != "":
		return []source{g.customSQL(e)}
	case e.Source.Kind != "":
		return []source{g.other(e)}
	}
	var all []source
	for _, table := range e.Tables {
		id := tableID(e.Connection, table)
		all = append(all, source{
			id:        id,
			reference: g.inode(id),
			node:      "inode-" + urlID(id),
			lineage:   object{"type": "table", "connectionId": e.Connection, "name": tableName(table), "inodeId": id},
			listed:    object{"type": "table", "inodeId": id},
		})
	}
	return all
}

// inode is the reference to a file.
func (g graph) inode(id string) string {
	switch g.references {
	case PlainIDs:
		return id
	case PrefixedIDs:
		return "inode-" + id
	case UpperCaseIDs:
		return "inode-" + strings.ToUpper(id)
	}
	return "inode-" + urlID(id)
}

func (g graph) dataModel(e *Element) source {
	suffix := e.ID
	m := g.org.DataModel(e.DataModel)
	if m != nil {
		if element := m.Element(e.DataModelElement); element != nil && e.DataModelElement != "" {
			suffix = element.ID
		}
	}
	s := source{
		id:      e.DataModel,
		node:    urlID(e.DataModel) + "/" + suffix,
		lineage: object{"type": "data-model", "dataModelId": e.DataModel, "connectionId": nil, "name": nil},
		listed:  object{"type": "data-model", "dataModelId": e.DataModel, "elementIds": []string{}},
	}
	switch g.references {
	case PlainIDs:
		s.reference = e.DataModel
	case PrefixedIDs:
		s.reference = e.DataModel + "/" + suffix
	case UpperCaseIDs:
		s.reference = strings.ToUpper(e.DataModel) + "/" + suffix
	default:
		s.reference = s.node
	}
	if m != nil {
		s.lineage["name"] = m.Name
	}
	return s
}

// customSQL has no id in lineage: its name or, in PlainIDs, its text alone tells
// which it is.
func (g graph) customSQL(e *Element) source {
	id := uuid("custom sql", e.ID)
	s := source{
		id:        id,
		reference: e.CustomSQLName,
		node:      id,
		lineage:   object{"type": "customSQL", "connectionId": e.Connection, "name": e.CustomSQLName, "definition": e.CustomSQL},
		listed:    object{"type": "custom-sql", "connectionId": e.Connection, "definition": e.CustomSQL, "customSqlId": id},
	}
	if g.references == PlainIDs {
		s.reference, s.lineage["name"] = id, nil
	}
	return s
}

func (g graph) other(e *Element) source {
	s := source{
		id:        e.Source.ID,
		reference: g.inode(e.Source.ID),
		node:      "inode-" + urlID(e.Source.ID),
		lineage:   object{"type": e.Source.Kind, "connectionId": e.Connection, "name": e.Source.Name},
	}
	switch e.Source.Kind {
	case CSVUpload:
		s.lineage["csvId"] = s.id
	case SemanticView:
		s.lineage["semanticViewId"], s.lineage["semanticViewTable"] = s.id, e.Source.Name
	case SQLDocument:
		s.lineage["sqlDocumentId"] = s.id
	case Worksheet:
		s.lineage["worksheetId"] = s.id
	default:
		s.lineage["inodeId"] = s.id
		s.listed = object{"type": "dataset", "inodeId": s.id, "url": "https://app.sigmacomputing.com/" + g.org.Slug + "/dataset/" + urlID(s.id)}
	}
	if e.Source.Untold {
		s.lineage["connectionId"] = nil
	}
	return s
}

// graph is a document's elements with what they read from.
type graph struct {
	org        *Organization
	elements   []*Element
	references References
}

func (w *Workbook) graph(a *ask) graph {
	return graph{org: &a.org, elements: elementsOf(w.Pages), references: a.org.referencesOf(w.References)}
}

// reach returns what an element reads from, by itself and through others.
func (g graph) reach(e *Element) []source {
	var all []source
	seen := map[string]bool{}
	var follow func(*Element)
	follow = func(e *Element) {
		if seen[e.ID] {
			return
		}
		seen[e.ID] = true
		for _, s := range g.sources(e) {
			if !seen[s.id] {
				seen[s.id] = true
				all = append(all, s)
			}
		}
		for _, name := range e.Elements {
			if next := g.find(name); next != nil {
				follow(next)
			}
		}
	}
	follow(e)
	return all
}

func (g graph) find(name string) *Element {
	for _, e := range g.elements {
		if e.ID == name || e.Name == name {
			return e
		}
	}
	return nil
}

// external returns what the elements of a document read from, each once.
func (g graph) external() []source {
	var all []source
	seen := map[string]bool{}
	for _, e := range g.elements {
		for _, s := range g.sources(e) {
			if !seen[s.id] {
				seen[s.id] = true
				all = append(all, s)
			}
		}
	}
	return all
}

// lineage is the answer for a document: its elements, then what they read from.
func (g graph) lineage(a *ask) answer {
	var entries []object
	for _, e := range g.elements {
		if !e.isData() {
			continue
		}
		var direct, data []string
		for _, s := range g.sources(e) {
			direct = append(direct, s.reference)
		}
		for _, name := range e.Elements {
			if next := g.find(name); next != nil {
				direct = append(direct, next.ID)
			}
		}
		if g.references != OnlySourceIDs {
			for _, s := range g.reach(e) {
				data = append(data, s.reference)
			}
		}
		// Without any, they are null and not empty.
		entry := object{"type": "element", "elementId": e.ID, "sourceIds": direct, "dataSourceIds": data}
		entries = append(entries, withRaw(entry, e.RawLineage))
	}
	for _, s := range g.external() {
		entries = append(entries, s.lineage)
	}
	return page(a, plain, entries, func(entry object) object { return entry })
}

func workbookLineage(a *ask, w *Workbook) answer {
	if w.NoLineage {
		return InternalFailure.answer()
	}
	return w.graph(a).lineage(a)
}

// workbookSources is a plain array, and refuses to be paged.
func workbookSources(a *ask, w *Workbook) answer {
	if query := a.URL.Query(); query.Has("limit") || query.Has("page") {
		return refuse(http.StatusBadRequest, "invalid_request", "Invalid parameter")
	}
	listed := []object{}
	for _, s := range w.graph(a).external() {
		if s.listed != nil {
			listed = append(listed, s.listed)
		}
	}
	return ok(listed)
}

func elementLineage(a *ask, w *Workbook) answer {
	g := w.graph(a)
	e := findID(g.elements, a.PathValue("elementId"))
	switch {
	case e == nil:
		return notFound()
	case !e.isData():
		return refuse(http.StatusBadRequest, "invalid_request", "Not a data element")
	case w.NoLineage || e.NoLineage:
		return InternalFailure.answer()
	}
	nodes, edges := object{}, []object{}
	var add func(*Element)
	add = func(e *Element) {
		if _, known := nodes[e.ID]; known {
			return
		}
		nodes[e.ID] = object{"nodeId": e.ID, "type": "sheet", "name": e.Name, "elementId": e.ID}
		for _, s := range g.sources(e) {
			edges = append(edges, object{"source": s.node, "target": e.ID, "type": "source"})
			switch kind := s.lineage["type"]; kind {
			case "data-model": // the edge leads to a node that is not shown, as has been seen
			case "customSQL":
				nodes[s.node] = object{"nodeId": s.node, "type": kind}
			default:
				nodes[s.node] = object{"nodeId": s.node, "type": kind, "name": s.lineage["name"]}
			}
		}
		for _, name := range e.Elements {
			if next := g.find(name); next != nil {
				edges = append(edges, object{"source": next.ID, "target": e.ID, "type": "dependency"})
				add(next)
			}
		}
	}
	add(e)
	return ok(object{"dependencies": nodes, "edges": edges})
}
