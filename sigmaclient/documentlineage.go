package sigmaclient

import (
	"context"
	"errors"
	"fmt"
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
	hasUnknown  bool     // custom SQL whose definition is missing
}

// CustomSQL returns the definitions of the custom SQL that an element may build on: the document's own, and that of the
// data models below the element. The error is why some are unknown, or nil.
func (l DocumentLineage) CustomSQL(elementID string) ([]string, error) {
	of := l.Elements[elementID]
	definitions := slices.Concat(l.definitions, of.CustomSQL)
	slices.Sort(definitions)
	definitions = slices.Compact(definitions)
	switch {
	case l.hasUnknown || l.LineageErr != nil:
		if l.SourcesErr != nil {
			return definitions, l.SourcesErr
		}
	case of.CustomSQLRefusal != nil:
		return definitions, fmt.Errorf("list the custom SQL of a data model: %w", of.CustomSQLRefusal)
	}
	return definitions, nil
}

// FindDocument returns where the elements of a document read from. Calls that Sigma refuses are part of the result, and so
// is an outage: the caller decides what it can do without. FindDocument fails only if the context ends.
func (f *ConnectionFinder) FindDocument(ctx context.Context, d Document) (DocumentLineage, error) {
	var found DocumentLineage
	entries, err := d.Lineage(ctx)
	if found.LineageErr = failure(err); found.LineageErr == nil && err != nil {
		return found, err
	}
	var sources []Source
	found.hasUnknown = slices.ContainsFunc(entries, func(e LineageEntry) bool { return e.isCustomSQLEntry() && e.Definition == "" })
	if found.LineageErr != nil || found.hasUnknown || LineageNeedsSources(entries) {
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
