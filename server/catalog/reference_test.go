package catalog_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// The reference says, in maps and by plain rules, what the catalog has to hold of
// an organization (see) and what has to be told of a difference (differences).

// document is a workbook or data model in the catalog.
type document struct {
	name, path, owner string
	archived, gone    bool
	failed            bool // it could not be read
	skipped           int  // elements that are no models
	models            map[string]model

	// version is what was read of it; empty if it is to be read again in any case.
	version string
}

// model is a model in the catalog.
type model struct {
	name, state string
	reason      string // why it cannot be read, or could not be looked at
	columns     []column
	sql         string // its fingerprint
}

type column struct{ id, label, kind string }

const (
	ready    = "READY"
	broken   = "BROKEN"
	archived = "ARCHIVED"
	gone     = "GONE"
)

// String has all of it but the version.
func (d *document) String() string {
	if d == nil {
		return "not in the catalog"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q in %q of %q, archived %t, gone %t, failed %t, %d skipped\n", d.name, d.path, d.owner, d.archived, d.gone, d.failed, d.skipped)
	for _, id := range slices.Sorted(maps.Keys(d.models)) {
		m := d.models[id]
		fmt.Fprintf(&b, "  %s %q %s %s %q %.8s\n", id, m.name, m.state, m.reason, m.columns, m.sql)
	}
	return b.String()
}

func (d *document) clone() *document {
	if d == nil {
		return &document{models: map[string]model{}}
	}
	c := *d
	c.models = maps.Clone(d.models)
	return &c
}

// source is a workbook or data model in Sigma.
type source struct {
	name, path, owner, version string
	archived, unreadable       bool
	elements                   []sigmatest.Element
}

// sourcesOf are an organization's documents by their ids.
func sourcesOf(o sigmatest.Organization) map[string]*source {
	all := map[string]*source{}
	for _, w := range o.Workbooks {
		s := &source{name: w.Name, path: w.Path, owner: w.Owner, version: fmt.Sprint(w.Version, " ", w.UpdatedAt.UnixNano()), archived: w.Archived, unreadable: w.Unreadable}
		for _, p := range w.Pages {
			s.elements = append(s.elements, p.Elements...)
		}
		all[w.ID] = s
	}
	for _, m := range o.DataModels {
		all[m.ID] = &source{name: m.Name, path: m.Path, owner: m.Owner, version: fmt.Sprint(m.Version, " ", m.UpdatedAt.UnixNano()), elements: m.Elements}
	}
	return all
}

// see returns what the catalog holds of a document after a scan, if it held known
// before; either may be nil.
func see(known *document, now *source, full bool) *document {
	switch {
	case now == nil:
		return seeGone(known)
	case now.archived:
		return seeArchived(known, now)
	}
	seen := known.clone()
	seen.name, seen.path, seen.owner = now.name, now.path, now.owner
	seen.archived, seen.gone, seen.failed = false, false, false
	if !needsReading(known, now, full) {
		return seen
	}
	if now.unreadable {
		seen.failed, seen.version = true, ""
		return seen
	}
	seen.version, seen.skipped = now.version, 0
	there := map[string]bool{}
	for _, e := range now.elements {
		if e.Type == "text" {
			seen.skipped++
			continue
		}
		there[e.ID] = true
		if e.Refusal == sigmatest.InternalFailure {
			seen.version = ""
		}
		seen.models[e.ID] = seeElement(seen.models[e.ID], e)
	}
	for id, m := range seen.models {
		if !there[id] {
			seen.models[id] = removed(m)
		}
	}
	return seen
}

// needsReading reports whether a scan has to ask for the contents of a document
// that it finds listed.
func needsReading(known *document, now *source, full bool) bool {
	return full || known == nil || known.gone || known.archived || known.version != now.version
}

// seeGone is what is left of a document that is no longer there.
func seeGone(known *document) *document {
	if known == nil || known.gone {
		return known
	}
	left := known.clone()
	left.gone, left.failed, left.skipped, left.version = true, false, 0, ""
	for id, m := range left.models {
		left.models[id] = removed(m)
	}
	return left
}

func removed(m model) model {
	m.state, m.reason = gone, "MODEL_GONE"
	return m
}

// seeArchived: nothing is learned of what is in an archived document. One that the
// catalog does not have, it need not have.
func seeArchived(known *document, now *source) *document {
	if known == nil || known.gone {
		return known
	}
	kept := known.clone()
	kept.name, kept.path, kept.owner = now.name, now.path, now.owner
	kept.archived, kept.failed, kept.version = true, false, ""
	for id, m := range kept.models {
		if m.state != gone {
			m.state, m.reason = archived, "MODEL_ARCHIVED"
			kept.models[id] = m
		}
	}
	return kept
}

// refusals are what Sigma's answers in the place of SQL mean.
var refusals = map[sigmatest.Refusal]struct{ state, reason string }{
	sigmatest.WithError:       {broken, "MODEL_BROKEN"},
	sigmatest.WithNothing:     {"WITHOUT_SQL", "MODEL_WITHOUT_SQL"},
	sigmatest.UnableToProduce: {broken, "MODEL_BROKEN"},
	sigmatest.Forbidden:       {"FORBIDDEN", "SIGMA_FORBIDDEN"},
	sigmatest.NotPresent:      {"WITHOUT_SQL", "MODEL_WITHOUT_SQL"},
	sigmatest.SourceArchived:  {archived, "MODEL_ARCHIVED"},
	sigmatest.InternalFailure: {broken, "SIGMA_UNAVAILABLE"},
}

// seeElement returns the model of an element; known is the zero value where there
// was none.
func seeElement(known model, e sigmatest.Element) model {
	seen := model{name: cmp.Or(e.Name, "Untitled "+e.Type), state: ready, sql: known.sql}
	for _, c := range e.Columns {
		seen.columns = append(seen.columns, column{c.ID, c.Label, c.Type})
		if c.Type == "error" {
			seen.state, seen.reason = broken, "MODEL_BROKEN"
		}
	}
	refused, ok := refusals[e.Refusal]
	switch {
	case !ok:
		query, err := sigmasql.Prepare(e.SQL, sigmasql.Options{Dialect: sigmasql.DuckDB})
		if err != nil {
			panic(err)
		}
		seen.sql = query.Hash()
	case e.Refusal == sigmatest.InternalFailure && known.state != "" && known.state != gone:
		known.name, known.reason = seen.name, refused.reason // all that was learned
		return known
	default:
		seen.state, seen.reason = refused.state, refused.reason
	}
	if seen.state != ready && len(seen.columns) == 0 { // Sigma's silence is no word on them
		seen.columns = known.columns
	}
	return seen
}

// differences are what is told of a document that became another in the catalog, in
// no order. Either may be nil.
func differences(id string, before, now *document) []string {
	if now == nil {
		return nil
	}
	var told []string
	tell := func(kind, of, from, to string) { told = append(told, fmt.Sprintf("%s %s %s>%s", kind, of, from, to)) }
	differs := func(kind, of, from, to string) {
		if from != to {
			tell(kind, of, from, to)
		}
	}
	switch {
	case before == nil:
		tell("WORKBOOK_ADDED", id, "", now.name)
		before = &document{name: now.name, path: now.path, owner: now.owner}
	case now.gone && !before.gone:
		tell("WORKBOOK_REMOVED", id, before.name, "")
	case before.gone && !now.gone:
		tell("WORKBOOK_RESTORED", id, "", now.name)
	}
	differs("WORKBOOK_RENAMED", id, before.name, now.name)
	differs("WORKBOOK_MOVED", id, before.path, now.path)
	differs("WORKBOOK_OWNER_CHANGED", id, before.owner, now.owner)
	for element, m := range now.models {
		of := id + "." + element
		was, known := before.models[element]
		switch {
		case !known:
			tell("MODEL_ADDED", of, "", m.name)
			continue
		case m.state == gone && was.state == gone:
			continue
		case m.state == gone:
			tell("MODEL_REMOVED", of, was.name, "")
			continue
		case was.state == gone:
			tell("MODEL_RESTORED", of, "", m.name)
			was.state = ready // that it is back is told
		}
		differs("MODEL_RENAMED", of, was.name, m.name)
		if was.sql != "" && was.sql != m.sql {
			tell("MODEL_SQL_CHANGED", of, "", "")
		}
		switch {
		case was.state == ready && m.state != ready:
			tell("MODEL_BROKE", of, was.state, m.state)
		case was.state != ready && m.state == ready:
			tell("MODEL_RECOVERED", of, was.state, m.state)
		}
		told = append(told, columnDifferences(of, was.columns, m.columns)...)
	}
	return told
}

// columnDifferences knows a column by its id, or by its label where Sigma listed no id: as when the column was removed between
// the two calls that list it. With an id, it is the same column later.
func columnDifferences(of string, before, now []column) (told []string) {
	byLabel := func(label string) string { return "label " + label }
	key := func(c column) string {
		if c.id == "" {
			return byLabel(c.label)
		}
		return c.id
	}
	name := func(c column) string { return strings.TrimSpace(of + " " + c.id) }
	was, is := map[string]column{}, map[string]column{}
	for _, c := range before {
		was[key(c)] = c
	}
	for _, c := range now {
		is[key(c)] = c
	}
	isSame := map[string]bool{} // of those known by their labels
	for id, c := range is {
		known, ok := was[id]
		if _, isKnown := was[byLabel(c.label)]; !ok && isKnown {
			isSame[byLabel(c.label)] = true
			continue
		}
		if !ok {
			told = append(told, fmt.Sprintf("COLUMN_ADDED %s >%s", name(c), c.label))
			continue
		}
		if known.label != c.label {
			told = append(told, fmt.Sprintf("COLUMN_RENAMED %s %s>%s", name(c), known.label, c.label))
		}
		if known.kind != c.kind {
			told = append(told, fmt.Sprintf("COLUMN_RETYPED %s %s>%s", name(c), known.kind, c.kind))
		}
	}
	for id, c := range was {
		if _, ok := is[id]; !ok && !isSame[id] {
			told = append(told, fmt.Sprintf("COLUMN_REMOVED %s %s>", name(c), c.label))
		}
	}
	return told
}
