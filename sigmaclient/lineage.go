package sigmaclient

import (
	"slices"
	"strings"
)

// node is an element of a document, or a data model as a whole. Labels are what
// is known about it. A label of a node is also a label of every node that builds
// on it.
type node struct {
	builders []*node // that build on this node
	readers  []*node // that only read this node's custom SQL: their connection is known
	isWhole  bool    // a data model as a whole, which stands for any one of its elements

	reasons     map[reason]bool
	connections map[string]bool     // at most maxConnections+1
	customSQL   map[string]bool     // at most maxCustomSQL+1
	upstream    map[ElementRef]bool // at most maxUpstream+1; the node's own element is one of them
	refusal     *Error
	textRefusal *Error // why custom SQL below the node may be missing
}

// reason is a reason why a connection is not known. An element's SQL runs on one
// connection, so that one known source tells it, whatever the others are. A
// reason that blocks is none of such a source but of an alternative: it leaves
// the connection unknown.
type reason struct {
	status ConnectionStatus
	blocks bool
}

// label is one fact about a node: a connection, custom SQL, an element that it builds on, that some custom SQL is missing,
// or a reason.
type label struct {
	connection  string
	customSQL   string
	upstream    ElementRef
	textRefusal *Error

	reason  ConnectionStatus
	blocks  bool
	refusal *Error // of the reason DataModelRefused
}

// add adds a label and reports whether the node did not have it. A node that has
// the maximum number of labels of a kind takes no more of it. The nodes that
// build on it have as many.
func (n *node) add(l label) bool {
	switch {
	case l.connection != "":
		return addBounded(&n.connections, l.connection, maxConnections+1)
	case l.customSQL != "":
		return addBounded(&n.customSQL, l.customSQL, maxCustomSQL+1)
	case l.upstream != ElementRef{}:
		return addBounded(&n.upstream, l.upstream, maxUpstream+1)
	case l.textRefusal != nil:
		isNew := n.textRefusal == nil
		if isNew {
			n.textRefusal = l.textRefusal
		}
		return isNew
	}
	if n.refusal == nil {
		n.refusal = l.refusal
	}
	return addBounded(&n.reasons, reason{status: l.reason, blocks: l.blocks}, 2*int(ConnectionKnown))
}

func addBounded[K comparable](set *map[K]bool, key K, limit int) bool {
	if (*set)[key] || len(*set) >= limit {
		return false
	}
	if *set == nil {
		*set = map[K]bool{}
	}
	(*set)[key] = true
	return true
}

// spread adds a label to a node and to all that build on it. A node passes a
// label on only if it lacked it, so a cycle ends, and the work is linear in the
// edges.
func (n *node) spread(l label) {
	type step struct {
		node  *node
		label label
	}
	queue := []step{{n, l}}
	for len(queue) > 0 {
		next := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if next.node.isWhole && next.label.reason > NoSources {
			next.label.blocks = true
		}
		if !next.node.add(next.label) {
			continue
		}
		for _, builder := range next.node.builders {
			queue = append(queue, step{builder, next.label})
		}
		if next.label.isContent() {
			for _, reader := range next.node.readers {
				queue = append(queue, step{reader, next.label})
			}
		}
	}
}

// isContent reports whether the label is about custom SQL or upstream elements.
func (l label) isContent() bool {
	return l.customSQL != "" || l.textRefusal != nil || l.upstream != ElementRef{}
}

// labels returns all labels of a node.
func (n *node) labels() []label {
	var all []label
	for connection := range n.connections {
		all = append(all, label{connection: connection})
	}
	for text := range n.customSQL {
		all = append(all, label{customSQL: text})
	}
	for element := range n.upstream {
		all = append(all, label{upstream: element})
	}
	if n.textRefusal != nil {
		all = append(all, label{textRefusal: n.textRefusal})
	}
	for r := range n.reasons {
		l := label{reason: r.status, blocks: r.blocks}
		if r.status == DataModelRefused {
			l.refusal = n.refusal
		}
		all = append(all, l)
	}
	return all
}

// provenance returns what is known of the node of an element of a document.
func (n *node) provenance(elementID string) Provenance {
	p := Provenance{
		Status:             NoSources, // as in a cycle of elements that nothing else feeds
		Connections:        sorted(n.connections, maxConnections),
		CustomSQL:          sorted(n.customSQL, maxCustomSQL),
		CustomSQLTruncated: len(n.customSQL) > maxCustomSQL,
		Refusal:            n.refusal,
		CustomSQLRefusal:   n.textRefusal,
		UpstreamTruncated:  len(n.upstream) > maxUpstream,
	}
	for element := range n.upstream {
		if element != (ElementRef{ElementID: elementID}) {
			p.Upstream = append(p.Upstream, element)
		}
	}
	slices.SortFunc(p.Upstream, ElementRef.compare)
	p.Upstream = p.Upstream[:min(len(p.Upstream), maxUpstream)]
	isBlocked := false
	for r := range n.reasons {
		p.Status = max(p.Status, r.status)
		isBlocked = isBlocked || r.blocks
	}
	switch {
	case len(p.Connections) > 1:
		p.Status = SeveralConnections
	case len(p.Connections) == 1 && !isBlocked:
		p.Status, p.ConnectionID = ConnectionKnown, p.Connections[0]
	}
	return p
}

func sorted(set map[string]bool, limit int) []string {
	var all []string
	for key := range set {
		all = append(all, key)
	}
	slices.Sort(all)
	return all[:min(len(all), limit)]
}

// lineageDocument is the lineage of one document.
type lineageDocument struct {
	lineage  []LineageEntry
	index    *sourceIndex
	elements map[string]*node // by element id
	modelID  string           // of a data model; empty for the document itself
}

func newLineageDocument(lineage []LineageEntry, sources []Source) *lineageDocument {
	d := &lineageDocument{lineage: lineage, index: newSourceIndex(lineage, sources), elements: map[string]*node{}}
	for _, entry := range lineage {
		if entry.isElement() && d.elements[entry.ElementID] == nil {
			d.elements[entry.ElementID] = &node{}
		}
	}
	return d
}

func (d *lineageDocument) needsSources() bool {
	if !slices.ContainsFunc(d.lineage, LineageEntry.isCustomSQL) {
		return false
	}
	for _, entry := range d.lineage {
		if slices.ContainsFunc(entry.DataSourceIDs, d.isUnknown) || slices.ContainsFunc(entry.SourceIDs, d.isUnknown) {
			return true
		}
	}
	return false
}

func (d *lineageDocument) isUnknown(reference string) bool {
	source, _ := d.index.find(reference)
	return source == nil && d.elements[reference] == nil
}

// modelIDs returns the ids of the data models that the document builds on: their
// lineage has their custom SQL, and the connections that the document's lacks.
func (d *lineageDocument) modelIDs() []string {
	var ids []string
	for _, source := range d.index.all {
		if source.modelID != "" {
			ids = append(ids, source.modelID)
		}
	}
	return ids
}

func (e LineageEntry) isElement() bool { return e.ElementID != "" }

func (e LineageEntry) isCustomSQL() bool { return e.Definition != "" && !e.isElement() }

// ids returns the ids of what elements read from.
func (e LineageEntry) ids() []string {
	ids := []string{e.InodeID, e.DataModelID, e.CSVID, e.SemanticViewID, e.SQLDocumentID, e.WorksheetID, e.CustomSQLID}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// lineageSource is something that elements read from. Several lineage entries
// can be the same source, or have the same name.
type lineageSource struct {
	connection    string
	hasSeveral    bool // connections
	hasUnknown    bool // an entry that Sigma sent without its connection
	isFoundByName bool
	modelID       string
	customSQL     []string // at most maxCustomSQL+1
}

func (s *lineageSource) add(connectionID, modelID, customSQL string) {
	switch {
	case connectionID == "":
		s.hasUnknown = true
	case s.connection == "":
		s.connection = connectionID
	case s.connection != connectionID:
		s.hasSeveral = true
	}
	if modelID != "" {
		s.modelID = modelID
	}
	if customSQL != "" && len(s.customSQL) <= maxCustomSQL && !slices.Contains(s.customSQL, customSQL) {
		s.customSQL = append(s.customSQL, customSQL)
	}
}

// status returns ConnectionKnown if the source has one connection. Two entries of
// one name can be two things: the name tells a connection only if both have it.
func (s *lineageSource) status() ConnectionStatus {
	switch {
	case s.hasSeveral, s.connection != "" && s.isFoundByName && s.hasUnknown:
		return AmbiguousSource
	case s.connection == "":
		return ConnectionNotSent
	}
	return ConnectionKnown
}

func (s *lineageSource) needsModel() bool { return s.modelID != "" && s.connection == "" }

// sourceIndex finds the sources of a document under every spelling that elements
// use.
type sourceIndex struct {
	byID   map[string]*lineageSource // by canonical id
	byName map[string]*lineageSource // of what has no id of its own, or of custom SQL
	all    []*lineageSource
}

func newSourceIndex(lineage []LineageEntry, sources []Source) *sourceIndex {
	index := &sourceIndex{byID: map[string]*lineageSource{}, byName: map[string]*lineageSource{}}
	for _, entry := range lineage {
		if entry.isElement() {
			continue
		}
		ids := entry.ids()
		for _, id := range ids {
			index.source(index.byID, canonicalID(id)).add(entry.ConnectionID, entry.DataModelID, entry.Definition)
		}
		if entry.Name != "" && (len(ids) == 0 || entry.isCustomSQL()) {
			named := index.source(index.byName, entry.Name)
			named.isFoundByName = true
			named.add(entry.ConnectionID, "", entry.Definition)
		}
	}
	for _, source := range sources {
		if source.CustomSQLID != "" {
			index.source(index.byID, canonicalID(source.CustomSQLID)).add(source.ConnectionID, "", source.Definition)
		}
	}
	return index
}

// source returns the source at a key, which it adds if there is none.
func (i *sourceIndex) source(at map[string]*lineageSource, key string) *lineageSource {
	if at[key] == nil {
		at[key] = &lineageSource{}
		i.all = append(i.all, at[key])
	}
	return at[key]
}

// find returns the source that a reference names, or nil. A data model's id can
// be followed by a slash and a suffix, which names one of its elements.
func (i *sourceIndex) find(reference string) (source *lineageSource, suffix string) {
	if source := i.byID[canonicalID(reference)]; source != nil {
		return source, ""
	}
	if source := i.byName[reference]; source != nil {
		return source, ""
	}
	id, suffix, _ := strings.Cut(reference, "/")
	return i.byID[canonicalID(id)], suffix
}
