package snowflaketest

import (
	"slices"
	"strings"
)

// definition translates CREATE DATABASE and CREATE TABLE with columns, whose
// type names stand where a query has none.
func (t *translator) definition(nodes []token) (string, bool) {
	if len(nodes) == 0 || !nodes[0].is("CREATE") {
		return "", false
	}
	i := 1
	for i < len(nodes) && (nodes[i].is("OR") || nodes[i].is("REPLACE") || nodes[i].is("TRANSIENT") || nodes[i].is("TEMPORARY")) {
		i++
	}
	if i == len(nodes) {
		return "", false
	}
	switch {
	case nodes[i].is("DATABASE"):
		// A new Snowflake database has a schema PUBLIC.
		name := renderOne(nodes[len(nodes)-1])
		exists := ""
		if len(nodes) > i+2 {
			exists = "IF NOT EXISTS "
		}
		return "ATTACH " + exists + "':memory:' AS " + name + "; CREATE SCHEMA IF NOT EXISTS " + name + ".PUBLIC", true
	case nodes[i].is("TABLE"):
		last := len(nodes) - 1
		if nodes[last].kind != group || slices.ContainsFunc(nodes, func(n token) bool { return n.is("AS") }) {
			return "", false
		}
		var columns []string
		for _, def := range splitTokens(nodes[last].inner, ",") {
			columns = append(columns, t.columnDefinition(def))
		}
		head := []token{nodes[0]}
		for _, n := range nodes[1:last] {
			if !n.is("TRANSIENT") {
				head = append(head, n)
			}
		}
		return render(head) + " (" + strings.Join(columns, ", ") + ")", true
	}
	return "", false
}

func (t *translator) columnDefinition(def []token) string {
	if len(def) < 2 {
		return t.sql(def)
	}
	typ, used := parseType(def[1:])
	if used == 0 {
		return t.sql(def)
	}
	return strings.TrimSpace(renderOne(def[0]) + " " + typ.duckdb + " " + t.sql(def[1+used:]))
}
