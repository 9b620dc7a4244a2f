package duckdb

import (
	"context"
	"encoding/json"
	"strconv"

	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
)

var _ warehouse.Estimator = (*result)(nil)

// planNode is a part of a plan as EXPLAIN writes it.
type planNode struct {
	Children []planNode     `json:"children"`
	Info     map[string]any `json:"extra_info"`
}

// rows returns the optimizer's estimate for the topmost part that has one.
func (n planNode) rows() (int64, bool) {
	if text, ok := n.Info["Estimated Cardinality"].(string); ok {
		rows, err := strconv.ParseInt(text, 10, 64)
		return rows, err == nil && rows >= 0
	}
	if len(n.Children) == 1 {
		return n.Children[0].rows()
	}
	return 0, false
}

// EstimateRows implements [warehouse.Estimator].
func (r *result) EstimateRows(ctx context.Context) (int64, bool) {
	endTurn, err := r.house.turn(ctx)
	if err != nil || r.chunks != nil || r.closed {
		return 0, false
	}
	defer endTurn()
	var explained bindings.Result
	defer bindings.DestroyResult(&explained)
	if bindings.Query(r.conn, "EXPLAIN (FORMAT JSON)\n"+r.statement.SQL, &explained) == bindings.StateError {
		return 0, false
	}
	chunk := bindings.FetchChunk(explained)
	if chunk.Ptr == nil {
		return 0, false
	}
	defer bindings.DestroyDataChunk(&chunk)
	const planColumn = 1 // after the plan's kind
	if bindings.DataChunkGetSize(chunk) == 0 || bindings.ColumnCount(&explained) <= planColumn {
		return 0, false
	}
	text := bind(&logicalType{id: bindings.TypeVarchar}, bindings.DataChunkGetVector(chunk, planColumn)).bytes(0)
	var plan []planNode
	if json.Unmarshal(text, &plan) != nil || len(plan) != 1 {
		return 0, false
	}
	return plan[0].rows()
}
