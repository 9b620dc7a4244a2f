package sigmaclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Upstream is what Sigma shows of the elements that an element builds on.
type Upstream struct {
	Formulas []string // of their columns; a formula can occur more than once
	Controls []string // the names of the controls of their data models
	// Err is why some of it is not known, or nil.
	Err error
}

// Reasons why the elements below are not all known, although Sigma refuses nothing.
var (
	errTooMuchUpstream = &Error{Kind: KindProtocol, Call: "lineage", Err: errors.New("the element builds on more elements than are read")}
	errUnknownUpstream = &Error{Kind: KindProtocol, Call: "lineage", Err: errors.New("the lineage lacks the element, or what it builds on")}
)

// FindUpstream returns the formulas and controls of what an element builds on. The
// columns of other elements of its own document are those that own returns by element
// id; it is called only if there are such elements. A refusal of Sigma's, or an
// outage, is part of the result: FindUpstream fails only if the context ends.
func (f *ConnectionFinder) FindUpstream(ctx context.Context, of Provenance, own func(context.Context) (map[string][]Column, error)) (Upstream, error) {
	var found Upstream
	fail := func(err error) {
		if found.Err == nil && err != nil {
			found.Err = fmt.Errorf("list the columns that an element builds on: %w", err)
		}
	}
	if of.CustomSQLRefusal != nil { // of the lineage of a data model
		fail(of.CustomSQLRefusal)
	}
	switch {
	case of.UpstreamTruncated, of.Status == DataModelTooDeep:
		fail(errTooMuchUpstream)
	case of.Status == NotInLineage, of.Status == SourceNotFound:
		fail(errUnknownUpstream)
	}
	var columns map[string][]Column
	for i, element := range of.Upstream { // sorted by data model
		if i == 0 || of.Upstream[i-1].DataModelID != element.DataModelID {
			var controls []string
			var err, refusal error
			if element.DataModelID == "" {
				columns, refusal = own(ctx)
			} else if columns, controls, refusal, err = f.modelUpstream(ctx, element.DataModelID); err != nil {
				return Upstream{}, err
			}
			fail(refusal)
			found.Controls = append(found.Controls, controls...)
		}
		for _, column := range columns[element.ElementID] {
			found.Formulas = append(found.Formulas, column.Formula)
		}
	}
	return found, ctx.Err()
}

// modelUpstream returns the columns of a data model by element, those of all elements
// under the empty id, and the names of its controls. The refusal is why some are
// missing. It fails only if the context ends.
func (f *ConnectionFinder) modelUpstream(ctx context.Context, id string) (columns map[string][]Column, controls []string, refusal, err error) {
	contents, err := f.contentsOf(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	return contents.byElement, ControlNames(contents.elements.entries),
		cmp.Or(contents.columns.problem("columns"), contents.elements.problem("elements")), nil
}

// ColumnsByElement returns the columns of a document by the ids of their elements.
func ColumnsByElement(columns []Column) map[string][]Column {
	byElement := map[string][]Column{}
	for _, column := range columns {
		byElement[column.ElementID] = append(byElement[column.ElementID], column)
	}
	return byElement
}

// Columns lists the columns of all elements of a document. Those of a data model's
// newest version are asked for once, however many documents build on it; see
// maxKeptColumns.
func (f *ConnectionFinder) Columns(ctx context.Context, d Document) ([]Column, error) {
	if !d.dataModel || d.tag != "" {
		return d.Columns(ctx)
	}
	contents, err := f.contentsOf(ctx, d.id)
	if err != nil {
		return nil, err
	}
	return contents.columns.replay(ctx)
}

// Elements lists the elements of a document. Those of a data model's newest version
// are asked for once.
func (f *ConnectionFinder) Elements(ctx context.Context, d Document) ([]Element, error) {
	if !d.dataModel || d.tag != "" {
		return d.Elements(ctx)
	}
	contents, err := f.contentsOf(ctx, d.id)
	if err != nil {
		return nil, err
	}
	return contents.elements.replay(ctx)
}

// keptList is a list as Sigma sent it.
type keptList[T any] struct {
	entries []T
	err     error
	gaps    IncompleteLists
}

// replay returns the list as if Sigma sent it now. The caller gets a list of its own.
func (l *keptList[T]) replay(ctx context.Context) ([]T, error) {
	incompleteListsOf(ctx).addAll(&l.gaps)
	return slices.Clone(l.entries), l.err
}

// problem returns why the list does not have all entries, or nil.
func (l *keptList[T]) problem(call string) error {
	if l.err == nil && l.gaps.Count() > 0 {
		return &Error{Kind: KindProtocol, Call: call, Err: errors.New("the list has fewer entries than Sigma declares")}
	}
	return l.err
}

// maxKeptColumns is the maximum number of columns that a finder keeps. Data models
// beyond it are asked for by each document that builds on them.
const maxKeptColumns = 200_000

// modelContents are the columns and elements of a data model. Once ready is closed,
// they are not changed any more.
type modelContents struct {
	ready    chan struct{}
	columns  keptList[Column]
	elements keptList[Element]
	// byElement are the columns by element id, and all of them under the empty id.
	byElement map[string][]Column
	isCut     bool // the context of the calls ended, so that they are made again
}

// contentsOf asks for the contents of a data model, or waits for a call that does so
// already. It fails only if the context ends.
func (f *ConnectionFinder) contentsOf(ctx context.Context, id string) (*modelContents, error) {
	key := canonicalID(id)
	f.mu.Lock()
	contents := f.contents[key]
	isNew := contents == nil
	if isNew {
		contents = &modelContents{ready: make(chan struct{})}
		f.contents[key] = contents
	}
	f.mu.Unlock()
	if isNew {
		f.askContents(ctx, contents, id)
		contents.isCut = ctx.Err() != nil
		f.mu.Lock()
		f.keptColumns += len(contents.columns.entries)
		if contents.isCut || f.keptColumns > maxKeptColumns {
			f.keptColumns -= len(contents.columns.entries)
			delete(f.contents, key)
		}
		f.mu.Unlock()
		close(contents.ready)
	}
	select {
	case <-contents.ready:
	case <-ctx.Done():
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case contents.isCut:
		return f.contentsOf(ctx, id)
	}
	return contents, nil
}

func (f *ConnectionFinder) askContents(ctx context.Context, contents *modelContents, id string) {
	var asked sync.WaitGroup
	asked.Go(func() {
		list := &contents.columns
		list.entries, list.err = f.client.DataModelColumns(WithIncompleteLists(ctx, &list.gaps), id)
	})
	asked.Go(func() {
		list := &contents.elements
		list.entries, list.err = f.client.DataModelElements(WithIncompleteLists(ctx, &list.gaps), id)
	})
	asked.Wait()
	contents.byElement = ColumnsByElement(contents.columns.entries)
	contents.byElement[""] = contents.columns.entries
}
