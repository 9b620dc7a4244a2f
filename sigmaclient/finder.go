package sigmaclient

import (
	"context"
	"errors"
	"sync"
)

// maxModelDepth ends the search through data models that build on each other.
const maxModelDepth = 10

// ConnectionFinder finds out which warehouse connection an element reads from:
// Sigma tells that for tables, while an element on a data model reads from
// wherever the data model does. It remembers data models, so use one for a
// pass over many documents. It is safe for concurrent use.
type ConnectionFinder struct {
	client *Client

	mu         sync.Mutex
	dataModels map[string]string // id to connection id; empty where Sigma does not tell
}

// ConnectionFinder returns a finder that remembers nothing yet.
func (c *Client) ConnectionFinder() *ConnectionFinder {
	return &ConnectionFinder{client: c, dataModels: map[string]string{}}
}

// Find returns the connection ids of the elements of a document, by element id.
// Elements of which Sigma does not tell, or that read from several, are left
// out.
func (f *ConnectionFinder) Find(ctx context.Context, lineage []LineageEntry) (map[string]string, error) {
	return f.find(ctx, lineage, 0)
}

func (f *ConnectionFinder) find(ctx context.Context, lineage []LineageEntry, depth int) (map[string]string, error) {
	connection := map[string]string{} // by the id of a source
	for _, entry := range lineage {
		id := entry.ID()
		switch {
		case entry.ConnectionID != "":
			connection[id] = entry.ConnectionID
		case entry.DataModelID != "" && depth < maxModelDepth:
			of, err := f.dataModel(ctx, entry.DataModelID, depth)
			if err != nil {
				return nil, err
			}
			connection[id] = of
		}
	}
	found := map[string]string{}
	for _, entry := range lineage {
		if entry.ElementID == "" {
			continue
		}
		ids := map[string]bool{}
		for _, source := range entry.DataSourceIDs {
			if id := connection[source]; id != "" {
				ids[id] = true
			}
		}
		if len(ids) == 1 {
			for id := range ids {
				found[entry.ElementID] = id
			}
		}
	}
	return found, nil
}

// dataModel returns the one connection that a data model reads from.
func (f *ConnectionFinder) dataModel(ctx context.Context, id string, depth int) (string, error) {
	f.mu.Lock()
	known, ok := f.dataModels[id]
	f.mu.Unlock()
	if ok {
		return known, nil
	}
	lineage, err := f.client.DataModelLineage(ctx, id)
	if err != nil {
		var failure *Error
		if errors.As(err, &failure) && (failure.Kind == KindForbidden || failure.Kind == KindNotFound || failure.Kind == KindArchived || failure.Kind == KindInvalidRequest) {
			return "", nil // Sigma does not tell
		}
		return "", err
	}
	elements, err := f.find(ctx, lineage, depth+1)
	if err != nil {
		return "", err
	}
	ids := map[string]bool{}
	for _, of := range elements {
		ids[of] = true
	}
	for _, entry := range lineage {
		if entry.ConnectionID != "" {
			ids[entry.ConnectionID] = true
		}
	}
	only := ""
	if len(ids) == 1 {
		for of := range ids {
			only = of
		}
	}
	f.mu.Lock()
	f.dataModels[id] = only
	f.mu.Unlock()
	return only, nil
}
