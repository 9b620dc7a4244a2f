package duckdb

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse"
)

// Describe implements [warehouse.Warehouse]. A query begins to run when its
// first batch is asked for, so one that is closed before has only been
// compiled.
func (w *Warehouse) Describe(ctx context.Context, stmt warehouse.Statement) (*arrow.Schema, error) {
	result, err := w.Query(ctx, stmt)
	if err != nil {
		return nil, err
	}
	return result.Schema(), result.Close()
}
