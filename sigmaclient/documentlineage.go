package sigmaclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// DocumentLineage is where the elements of a document read from, as far as Sigma shows it.
type DocumentLineage struct {
	// Elements are the provenances by element id. An element may be missing.
	Elements map[string]Provenance
	// LineageErr is why Sigma refused the lineage, or nil. Elements is empty then.
	LineageErr error
	// SourcesErr is why Sigma refused the sources, or nil. They are asked for only where the lineage leaves a question.
	SourcesErr error

	definitions []string // of the document's own custom SQL
	// customSQLErr is why custom SQL may exist whose definition is not known, or nil. Refusal in Elements is another reason.
	customSQLErr error
}

// CustomSQL returns the definitions of the custom SQL that an element may build on: the document's own, and that of the
// data models below the element. The error is why some are unknown, or nil.
func (l DocumentLineage) CustomSQL(elementID string) ([]string, error) {
	of := l.Elements[elementID]
	definitions := slices.Concat(l.definitions, of.CustomSQL)
	slices.Sort(definitions)
	definitions = slices.Compact(definitions)
	switch {
	case l.customSQLErr != nil:
		return definitions, l.customSQLErr
	case of.CustomSQLRefusal != nil:
		return definitions, fmt.Errorf("list the custom SQL of a data model: %w", of.CustomSQLRefusal)
	case of.CustomSQLTruncated, of.Status == DataModelTooDeep:
		return definitions, errTooMuchCustomSQL
	}
	return definitions, nil
}

// BuiltOnSQL returns the definitions of the custom SQL that an element builds on, or nil where the lineage does not show
// which of CustomSQL these are.
func (l DocumentLineage) BuiltOnSQL(elementID string) []string {
	of := l.Elements[elementID]
	isKnown := of.Status == ConnectionKnown || of.Status == SeveralConnections
	if !isKnown || l.customSQLErr != nil || of.CustomSQLRefusal != nil || of.CustomSQLTruncated {
		return nil
	}
	return append([]string{}, of.CustomSQL...)
}

// UpstreamErr returns Sigma's error for a data model that an element builds on, or nil.
func (l DocumentLineage) UpstreamErr() error {
	for _, id := range slices.Sorted(maps.Keys(l.Elements)) {
		if refusal := l.Elements[id].Refusal; refusal != nil {
			return refusal
		}
	}
	return nil
}

// Reasons why custom SQL is unknown although Sigma refuses nothing.
var (
	errIncompleteLineage = &Error{Kind: KindProtocol, Call: "lineage", Err: errors.New("the list has fewer entries than Sigma declares, or lacks the definition of custom SQL")}
	errTooMuchCustomSQL  = &Error{Kind: KindProtocol, Call: "lineage", Err: errors.New("the element builds on more data models or custom SQL than are read")}
)

// unknownCustomSQL returns why custom SQL may exist whose definition is not known, or nil. The sources list the document's
// own custom SQL as well, but not that of the data models which it builds on.
func (l DocumentLineage) unknownCustomSQL(entries []LineageEntry, sources []Source, isComplete bool) error {
	isDataModel := func(s Source) bool { return s.DataModelID != "" }
	switch {
	case l.SourcesErr != nil && (l.LineageErr != nil || hasUndefined(entries)):
		return l.SourcesErr
	case l.LineageErr != nil && slices.ContainsFunc(sources, isDataModel):
		return l.LineageErr
	case !isComplete, hasUndefined(entries) && !slices.ContainsFunc(sources, func(s Source) bool { return s.Definition != "" }):
		return errIncompleteLineage
	}
	return nil
}

// hasUndefined reports whether the lineage has custom SQL without its definition.
func hasUndefined(entries []LineageEntry) bool {
	return slices.ContainsFunc(entries, func(e LineageEntry) bool { return e.isCustomSQLEntry() && e.Definition == "" })
}

// FindDocument returns where the elements of a document read from. Calls that Sigma refuses are part of the result, and so
// is an outage: the caller decides what it can do without. FindDocument fails only if the context ends.
func (f *ConnectionFinder) FindDocument(ctx context.Context, d Document) (DocumentLineage, error) {
	var found DocumentLineage
	gaps := &IncompleteLists{}
	defer func(outer *IncompleteLists) { outer.addAll(gaps) }(incompleteListsOf(ctx))
	ctx = WithIncompleteLists(ctx, gaps)
	entries, err := d.Lineage(ctx)
	if found.LineageErr = failure(err); found.LineageErr == nil && err != nil {
		return found, err
	}
	var sources []Source
	if found.LineageErr != nil || hasUndefined(entries) || LineageNeedsSources(entries) {
		sources, err = d.Sources(ctx)
		if found.SourcesErr = failure(err); found.SourcesErr == nil && err != nil {
			return found, err
		}
	}
	for _, entry := range entries {
		if entry.Definition != "" {
			found.definitions = append(found.definitions, entry.Definition)
		}
	}
	for _, source := range sources {
		if source.Definition != "" {
			found.definitions = append(found.definitions, source.Definition)
		}
	}
	if found.Elements, err = f.Find(ctx, entries, sources); err != nil {
		if found.LineageErr = failure(err); found.LineageErr == nil {
			return found, err
		}
	}
	found.customSQLErr = found.unknownCustomSQL(entries, sources, gaps.Count() == 0)
	return found, nil
}

// isCustomSQLEntry reports whether the entry is of the type that Sigma gives custom SQL, in either spelling.
func (e LineageEntry) isCustomSQLEntry() bool { return e.Type == "customSQL" || e.Type == "custom-sql" }

// failure returns an error that Sigma's answer, or its absence, is the cause of, or nil.
func failure(err error) error {
	var of *Error
	if errors.As(err, &of) {
		return fmt.Errorf("find where a document reads from: %w", err)
	}
	return nil
}
