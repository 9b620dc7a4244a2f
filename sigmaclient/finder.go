package sigmaclient

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

const (
	// maxConnections is the largest number of connections, and maxCustomSQL of
	// custom SQL texts, that are kept for an element.
	maxConnections = 8
	maxCustomSQL   = 64

	// maxChainedModels is the largest number of data models that are read to
	// resolve one document: those it builds on, those that they build on, and so
	// on.
	maxChainedModels = 100

	// maxUpstream is the largest number of elements that are kept as those that an
	// element builds on.
	maxUpstream = 64
)

// ConnectionStatus says whether the connection of an element is known, and why
// not.
type ConnectionStatus int

// The statuses of a connection. If several reasons apply to an element, the
// later one of this list is reported.
const (
	NotInLineage       ConnectionStatus = iota // the lineage has no entry for the element
	NoSources                                  // the lineage names nothing that the element reads from
	ConnectionNotSent                          // Sigma sends the source without its connection
	SourceNotFound                             // the element names a source that the lineage does not have
	DataModelTooDeep                           // the data models build on too many others
	DataModelRefused                           // Sigma refuses the lineage of a data model; see Provenance.Refusal
	AmbiguousSource                            // the element names a source by a name that sources of different connections have
	SeveralConnections                         // the element reads from several connections; see Provenance.Connections
	ConnectionKnown                            // Provenance.ConnectionID is the connection
)

// String returns the status in plain words.
func (s ConnectionStatus) String() string {
	names := [...]string{
		NotInLineage:       "the lineage does not have the element",
		NoSources:          "the lineage names no source of the element",
		ConnectionNotSent:  "Sigma does not send the connection of the source",
		SourceNotFound:     "the lineage does not have the source that the element names",
		DataModelTooDeep:   "the data models build on too many others",
		DataModelRefused:   "Sigma refuses the lineage of the data model",
		AmbiguousSource:    "sources of different connections have the name that the element gives",
		SeveralConnections: "the element reads from several connections",
		ConnectionKnown:    "known",
	}
	if s < 0 || int(s) >= len(names) {
		return "unknown status"
	}
	return names[s]
}

// Provenance is where the rows of an element come from, as far as Sigma's
// lineage tells. The zero value is that of an element without a lineage entry.
type Provenance struct {
	Status       ConnectionStatus
	ConnectionID string   // set if and only if Status is ConnectionKnown
	Connections  []string // the ids of all connections found, sorted; at most 8
	Refusal      *Error   // Sigma's error for a data model that the element builds on, or nil

	// CustomSQL are the texts that users wrote and that the element builds on,
	// directly or through other elements and data models, sorted; at most 64.
	// CustomSQLTruncated means that there are more. CustomSQLRefusal is Sigma's error
	// for a data model whose texts are missing, or nil.
	CustomSQL          []string
	CustomSQLTruncated bool
	CustomSQLRefusal   *Error

	// Upstream are the elements that the element builds on, directly or through
	// others, sorted; at most 64. UpstreamTruncated means that there are more.
	Upstream          []ElementRef
	UpstreamTruncated bool
}

// ElementRef names an element of a data model, or of the document itself where
// DataModelID is empty. An empty ElementID stands for any element of the data model.
type ElementRef struct{ DataModelID, ElementID string }

func (r ElementRef) compare(other ElementRef) int {
	return cmp.Or(strings.Compare(r.DataModelID, other.DataModelID), strings.Compare(r.ElementID, other.ElementID))
}

// ConnectionFinder finds the warehouse connections that elements read from.
// Sigma tells the connections of tables and custom SQL. An element on a data
// model or on other elements reads from where those do. The finder keeps the
// data models that it has read, so use one finder for a pass over many
// documents. It is safe for concurrent use.
type ConnectionFinder struct {
	client *Client

	mu     sync.Mutex
	models map[string]*modelNodes // by canonical id; not changed any more

	contents    map[string]*modelContents // by canonical id
	keptColumns int                       // in contents
}

// ConnectionFinder returns a finder that keeps no data models yet.
func (c *Client) ConnectionFinder() *ConnectionFinder {
	return &ConnectionFinder{client: c, models: map[string]*modelNodes{}, contents: map[string]*modelContents{}}
}

// Find returns the provenance of each element of a document, by element id. The
// document's sources give the ids of custom SQL, which its lineage lacks; they
// may be nil (see LineageNeedsSources).
//
// Find reads the lineage of the data models that the document builds on. If
// Sigma refuses one, only the elements that need it have no connection. Find
// fails only if Sigma refuses the credentials (an *Error) or if the context
// ends.
func (f *ConnectionFinder) Find(ctx context.Context, lineage []LineageEntry, sources []Source) (map[string]Provenance, error) {
	document := newLineageDocument(lineage, sources)
	models, err := f.readModels(ctx, document)
	if err != nil {
		return nil, err
	}
	g := lineageGraph{models: models}
	g.joinDocument(document)
	for _, key := range slices.Sorted(maps.Keys(models)) {
		g.joinModel(models[key])
	}
	g.resolve()
	f.keep(models)
	found := make(map[string]Provenance, len(document.elements))
	for id, n := range document.elements {
		found[id] = n.provenance(id)
	}
	return found, nil
}

// LineageNeedsSources reports whether an element names a source that the lineage
// alone does not identify, although the lineage has custom SQL: its id is in the
// document's sources only.
func LineageNeedsSources(lineage []LineageEntry) bool {
	return newLineageDocument(lineage, nil).needsSources()
}

// readModels reads the data models that a document builds on, those that they
// build on, and so on, up to maxChainedModels. The result has them by canonical
// id, together with those that were read before.
func (f *ConnectionFinder) readModels(ctx context.Context, document *lineageDocument) (map[string]*modelNodes, error) {
	models := map[string]*modelNodes{}
	read := 0
	for pending := document.modelIDs(); len(pending) > 0; {
		id := pending[0]
		pending = pending[1:]
		key := canonicalID(id)
		if models[key] != nil {
			continue
		}
		if models[key] = f.kept(key); models[key] != nil {
			continue
		}
		if read == maxChainedModels {
			models[key] = &modelNodes{whole: &node{isWhole: true}, reason: DataModelTooDeep}
			continue
		}
		read++
		model, err := f.readModel(ctx, id)
		if err != nil {
			return nil, err
		}
		models[key] = model
		if model.document != nil {
			pending = append(pending, model.document.modelIDs()...)
		}
	}
	return models, nil
}

// readModel reads the lineage of a data model, and its sources if those are
// needed.
func (f *ConnectionFinder) readModel(ctx context.Context, id string) (*modelNodes, error) {
	model := &modelNodes{whole: &node{isWhole: true}}
	lineage, err := f.client.DataModelLineage(ctx, id)
	if model.refusal, err = refusal(err); err != nil {
		return nil, err
	}
	if model.refusal != nil {
		model.reason = DataModelRefused
		return model, nil
	}
	model.document = newLineageDocument(lineage, nil)
	model.document.modelID = id
	if !model.document.needsSources() {
		return model, nil
	}
	sources, err := f.client.DataModelSources(ctx, id)
	if _, err = refusal(err); err != nil {
		return nil, err
	}
	model.document = newLineageDocument(lineage, sources)
	model.document.modelID = id
	return model, nil
}

// refusal returns Sigma's error about the one thing that was asked for, or an
// error that ends the search: the credentials are refused, or the context ended.
func refusal(err error) (*Error, error) {
	var failure *Error
	if errors.As(err, &failure) && failure.Kind != KindCredentials {
		return failure, nil
	}
	return nil, err
}

func (f *ConnectionFinder) kept(key string) *modelNodes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.models[key]
}

// keep keeps resolved data models. Their nodes lose what only serves resolving.
func (f *ConnectionFinder) keep(models map[string]*modelNodes) {
	for _, model := range models {
		if model.isResolved {
			continue
		}
		model.isResolved = true
		model.whole.builders, model.whole.readers = nil, nil
		model.elements = map[string]*node{}
		if model.document != nil {
			model.elements = model.document.elements
		}
		for _, n := range model.elements {
			n.builders, n.readers = nil, nil
		}
		model.document = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, model := range models {
		f.models[key] = model
	}
}

// modelNodes are a data model. Once resolved, it is not changed any more.
type modelNodes struct {
	whole      *node
	document   *lineageDocument // nil if it could not be read, and once it is resolved
	elements   map[string]*node // once it is resolved
	isResolved bool

	reason  ConnectionStatus // why it could not be read
	refusal *Error
}

// node returns the node of an element of the data model. If it has no such
// element, any of its elements can be meant, so the whole data model's node is
// returned.
func (m *modelNodes) node(element string) *node {
	elements := m.elements
	if m.document != nil {
		elements = m.document.elements
	}
	if n := elements[element]; n != nil {
		return n
	}
	return m.whole
}

// lineageGraph joins the elements of a document and of data models to what they
// read from.
type lineageGraph struct {
	models map[string]*modelNodes
	seeds  []seed
}

// seed is a label that starts at a node.
type seed struct {
	at    *node
	label label
}

func (g *lineageGraph) seed(at *node, l label) { g.seeds = append(g.seeds, seed{at: at, label: l}) }

// resolve spreads the seeds.
func (g *lineageGraph) resolve() {
	for _, s := range g.seeds {
		s.at.spread(s.label)
	}
}

// joinModel joins a data model that is not resolved yet.
func (g *lineageGraph) joinModel(model *modelNodes) {
	switch {
	case model.isResolved:
	case model.document == nil:
		g.seed(model.whole, label{reason: model.reason, refusal: model.refusal})
		if model.refusal != nil {
			g.seed(model.whole, label{textRefusal: model.refusal})
		}
	case len(model.document.elements) == 0:
		g.seed(model.whole, label{upstream: ElementRef{DataModelID: model.document.modelID}})
		for _, source := range model.document.index.all {
			g.joinSource(model.whole, source, "")
		}
	default:
		g.joinDocument(model.document)
		for _, element := range model.document.elements {
			element.builders = append(element.builders, model.whole)
		}
	}
}

func (g *lineageGraph) joinDocument(document *lineageDocument) {
	for _, entry := range document.lineage {
		if entry.isElement() {
			g.joinElement(document, entry)
		}
	}
}

// joinElement joins an element to its sources. dataSourceIds name what the
// element reads from in the end. If none of them can be resolved, sourceIds name
// the steps on the way. The elements among the steps are what it builds on in any case.
func (g *lineageGraph) joinElement(document *lineageDocument, entry LineageEntry) {
	at := document.elements[entry.ElementID]
	g.seed(at, label{upstream: ElementRef{DataModelID: document.modelID, ElementID: entry.ElementID}})
	for _, reference := range entry.SourceIDs {
		if step := document.elements[reference]; step != nil && step != at {
			step.readers = append(step.readers, at)
		}
	}
	switch {
	case g.join(at, document, entry.DataSourceIDs), g.join(at, document, entry.SourceIDs):
	case len(entry.DataSourceIDs)+len(entry.SourceIDs) > 0:
		g.seed(at, label{reason: SourceNotFound})
	default:
		g.seed(at, label{reason: NoSources})
	}
}

// join reports whether any of the references was found.
func (g *lineageGraph) join(at *node, document *lineageDocument, references []string) bool {
	isFound := false
	for _, reference := range references {
		if element := document.elements[reference]; element != nil {
			element.builders = append(element.builders, at)
			isFound = true
		} else if source, suffix := document.index.find(reference); source != nil {
			g.joinSource(at, source, suffix)
			isFound = true
		}
	}
	return isFound
}

// joinSource joins a node to a source. The suffix is what follows a data model's
// id in the reference.
func (g *lineageGraph) joinSource(at *node, source *lineageSource, suffix string) {
	for _, text := range source.customSQL {
		g.seed(at, label{customSQL: text})
	}
	switch status := source.status(); {
	case status == ConnectionKnown:
		g.seed(at, label{connection: source.connection})
		if source.modelID != "" {
			g.joinTexts(at, g.models[canonicalID(source.modelID)], suffix)
		}
	case source.needsModel():
		model := g.models[canonicalID(source.modelID)]
		upstream := model.node(suffix)
		if !model.isResolved {
			upstream.builders = append(upstream.builders, at)
			return
		}
		for _, l := range upstream.labels() {
			g.seed(at, l)
		}
	default:
		g.seed(at, label{reason: status, blocks: status == AmbiguousSource})
	}
}

// joinTexts joins a node to the custom SQL and the elements of a data model, whose
// connection the document shows itself.
func (g *lineageGraph) joinTexts(at *node, model *modelNodes, suffix string) {
	if model == nil { // beyond maxChainedModels
		return
	}
	upstream := model.node(suffix)
	if !model.isResolved {
		upstream.readers = append(upstream.readers, at)
		return
	}
	for _, l := range upstream.labels() {
		if l.isContent() {
			g.seed(at, l)
		}
	}
}
