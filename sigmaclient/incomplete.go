package sigmaclient

import (
	"context"
	"slices"
	"sync"
)

// IncompleteList is a list of which entries are missing, although every call for
// it succeeded.
type IncompleteList struct {
	Call string // method and path without ids, such as "GET /v2/workbooks"

	// Total is the length that Sigma's own count gives the list. It can include
	// entries that the credential may not see. 0 means that Sigma sent no usable
	// count.
	Total int
	// Received counts the entries that arrived, duplicates and rejected entries
	// included. Received < Total is a shortfall.
	Received int

	// Rejected counts the entries that lack what identifies them. Example is the
	// place of the first one, such as "entries[3].workbookId".
	Rejected int
	Example  string

	// CursorUnreadable means that a page named its successor in an unknown form,
	// so that later pages were not read.
	CursorUnreadable bool
}

func (l *IncompleteList) reject(example string) {
	if l.Rejected == 0 {
		l.Example = example
	}
	l.Rejected++
}

// maxIncompleteLists is the largest number of lists that IncompleteLists keeps.
const maxIncompleteLists = 1000

// IncompleteLists collects the incomplete lists of the calls that are made with
// a context (see WithIncompleteLists). The zero value is ready for use. It is
// safe for concurrent use.
type IncompleteLists struct {
	mu    sync.Mutex
	lists []IncompleteList
	count int
}

// Lists returns the incomplete lists so far, in the order in which their calls
// ended, at most 1000 of them.
func (l *IncompleteLists) Lists() []IncompleteList {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lists)
}

// Count returns the number of incomplete lists so far, of which Lists may leave
// out some.
func (l *IncompleteLists) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// add keeps a list if it is incomplete. A nil receiver keeps nothing.
func (l *IncompleteLists) add(list IncompleteList) {
	isComplete := list.Received >= list.Total && list.Rejected == 0 && !list.CursorUnreadable
	if l == nil || isComplete {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if len(l.lists) < maxIncompleteLists {
		l.lists = append(l.lists, list)
	}
}

// addAll adds the lists of another collection. A nil receiver keeps nothing.
func (l *IncompleteLists) addAll(other *IncompleteLists) {
	lists := other.Lists()
	for _, list := range lists {
		l.add(list)
	}
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.count += other.Count() - len(lists)
	}
}

type incompleteListsKey struct{}

// WithIncompleteLists returns a context whose calls add their incomplete lists
// to lists. An incomplete list is no error: the entries that arrived are
// returned as usual. A list that Sigma answers with an error is not among them.
func WithIncompleteLists(ctx context.Context, lists *IncompleteLists) context.Context {
	return context.WithValue(ctx, incompleteListsKey{}, lists)
}

func incompleteListsOf(ctx context.Context) *IncompleteLists {
	lists, _ := ctx.Value(incompleteListsKey{}).(*IncompleteLists)
	return lists
}
