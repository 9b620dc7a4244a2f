package sigmatest

import (
	"maps"
	"slices"
)

// Calls are all calls that a server knows, as Server.Calls names them.
func Calls() []string {
	calls := []string{"POST " + tokenPath}
	for path := range maps.Keys(reads) {
		calls = append(calls, "GET "+path)
	}
	slices.Sort(calls)
	return calls
}

// TableID is the id of a table, given as "DB.SCHEMA.TABLE".
func TableID(connection, table string) string { return tableID(connection, table) }
