package sigmatest

import "net/http"

// source is something outside of a document that its elements read from.
type source struct {
	id      string // by which elements name it
	node    string // in an element's own lineage
	lineage object // in the document's lineage
	listed  object // in the document's sources
}

// sources are what an element reads from by itself.
func (e *Element) sources(o *Organization) []source {
	switch {
	case !e.isData() || len(e.Elements) > 0:
		return nil
	case e.DataModel != "":
		s := source{
			id:      e.DataModel,
			node:    urlID(e.DataModel) + "/" + e.ID,
			lineage: object{"type": "data-model", "dataModelId": e.DataModel, "connectionId": nil, "name": nil},
			listed:  object{"type": "data-model", "dataModelId": e.DataModel, "elementIds": []string{}},
		}
		if m := o.DataModel(e.DataModel); m != nil {
			s.lineage["name"] = m.Name
		}
		return []source{s}
	case e.CustomSQL != "":
		id := uuid("custom sql", e.ID)
		return []source{{
			id:   id,
			node: id,
			// The contract gives the entry no id: only its text tells which it is.
			lineage: object{"type": "customSQL", "connectionId": e.Connection, "name": nil, "definition": e.CustomSQL},
			listed:  object{"type": "custom-sql", "connectionId": e.Connection, "definition": e.CustomSQL, "customSqlId": id},
		}}
	}
	var all []source
	for _, table := range e.Tables {
		id := tableID(e.Connection, table)
		all = append(all, source{
			id:      id,
			node:    "inode-" + urlID(id),
			lineage: object{"type": "table", "connectionId": e.Connection, "name": tableName(table), "inodeId": id},
			listed:  object{"type": "table", "inodeId": id},
		})
	}
	return all
}

// graph is a document's elements with what they read from.
type graph struct {
	org      *Organization
	elements []*Element
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
		for _, s := range e.sources(g.org) {
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
		for _, s := range e.sources(g.org) {
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
		for _, s := range e.sources(g.org) {
			direct = append(direct, s.node)
		}
		for _, name := range e.Elements {
			if next := g.find(name); next != nil {
				direct = append(direct, next.ID)
			}
		}
		for _, s := range g.reach(e) {
			data = append(data, s.id)
		}
		// Without any, they are null and not empty.
		entries = append(entries, object{"type": "element", "elementId": e.ID, "sourceIds": direct, "dataSourceIds": data})
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
	return graph{org: &a.org, elements: elementsOf(w.Pages)}.lineage(a)
}

// workbookSources is a plain array, and refuses to be paged.
func workbookSources(a *ask, w *Workbook) answer {
	if query := a.URL.Query(); query.Has("limit") || query.Has("page") {
		return refuse(http.StatusBadRequest, "invalid_request", "Invalid parameter")
	}
	listed := []object{}
	for _, s := range (graph{org: &a.org, elements: elementsOf(w.Pages)}).external() {
		listed = append(listed, s.listed)
	}
	return ok(listed)
}

func elementLineage(a *ask, w *Workbook) answer {
	g := graph{org: &a.org, elements: elementsOf(w.Pages)}
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
		for _, s := range e.sources(g.org) {
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
