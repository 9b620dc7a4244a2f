package snowflaketest

import (
	"slices"
	"strings"
	"time"
)

// catalog is what the translation of a statement reads of the account.
type catalog interface {
	// policiesOf returns the policies of a table, whose name is folded.
	policiesOf(t tableName) []Policy
	// alteredTimes returns the tables whose time of change is set, and the time of all
	// others.
	alteredTimes() (set map[tableName]time.Time, others time.Time)
	// grantsOf returns what one of the roles may read, and true where that is
	// everything.
	grantsOf(roles []string) (grants []string, isEverything bool)
}

func (s *Server) policiesOf(t tableName) (found []Policy) {
	for _, policy := range s.cfg.Policies {
		if strings.EqualFold(policy.Table, t.database+"."+t.schema+"."+t.table) {
			found = append(found, policy)
		}
	}
	return found
}

func (s *Server) alteredTimes() (map[tableName]time.Time, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := map[tableName]time.Time{}
	for name, at := range s.altered {
		if parts := strings.Split(name, "."); len(parts) == 3 {
			set[tableName{parts[0], parts[1], parts[2]}] = at
		}
	}
	return set, s.began
}

func (s *Server) grantsOf(roles []string) (grants []string, isEverything bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, role := range roles {
		of, listed := s.roles[strings.ToUpper(role)]
		if !listed {
			return nil, true
		}
		grants = append(grants, of...)
	}
	return grants, slices.Contains(grants, "*")
}

// table translates the name of a table that has policies, or that DuckDB does not
// have. It returns how many nodes it used, 0 where the name is none of these.
func (t *translator) table(in, before []token) (token, int) {
	if t.catalog == nil {
		return token{}, 0
	}
	var path []string
	used := 0
	for used < len(in) && isName(in[used]) {
		path = append(path, foldedPath(in[used:used+1])...)
		used++
		if used+1 >= len(in) || !in[used].isSymbol(".") || !isName(in[used+1]) {
			break
		}
		used++
	}
	behind := len(before) > 0 && (before[len(before)-1].is("FROM") || before[len(before)-1].is("JOIN"))
	if len(path) > 3 || len(path) < 3 && !behind || used < len(in) && in[used].kind == group {
		return token{}, 0
	}
	name := tableName{database: t.names.database, schema: t.names.schema, table: path[len(path)-1]}
	if len(path) > 1 {
		name.schema = path[len(path)-2]
	}
	if len(path) > 2 {
		name.database = path[0]
	}
	query := ""
	if name.schema == "INFORMATION_SCHEMA" && name.table == "TABLES" {
		query = t.informationSchemaTables(name.database)
	} else if policies := t.catalog.policiesOf(name); len(policies) > 0 {
		query = t.restricted(name, policies)
	}
	if query == "" {
		return token{}, 0
	}
	if !hasAlias(in[used:]) {
		query += " AS " + quoteIdentifier(name.table)
	}
	return token{kind: raw, text: query}, used
}

// hasAlias reports whether an alias of a table follows.
func hasAlias(in []token) bool {
	if len(in) == 0 {
		return false
	}
	switch {
	case in[0].kind == quoted, in[0].is("AS"):
		return true
	case in[0].kind != word:
		return false
	}
	return !slices.ContainsFunc([]string{"WHERE", "GROUP", "ORDER", "LIMIT", "JOIN", "LEFT", "RIGHT", "INNER", "OUTER", "FULL", "CROSS",
		"NATURAL", "ON", "USING", "HAVING", "QUALIFY", "UNION", "EXCEPT", "MINUS", "INTERSECT", "FETCH", "OFFSET", "SAMPLE"}, in[0].is)
}

// restricted is a query of what the session's roles see of a table.
func (t *translator) restricted(name tableName, policies []Policy) string {
	columns, conditions := "*", []string{"TRUE"}
	var replaced []string
	for _, policy := range policies {
		if policy.Rows != "" {
			conditions = append(conditions, "("+t.expression(policy.Rows)+")")
		}
		if policy.Column != "" {
			replaced = append(replaced, "("+t.expression(policy.Value)+") AS "+quoteIdentifier(strings.ToUpper(policy.Column)))
		}
	}
	if len(replaced) > 0 {
		columns = "* REPLACE (" + strings.Join(replaced, ", ") + ")"
	}
	return "(SELECT " + columns + " FROM " + quoteIdentifier(name.database) + "." + quoteIdentifier(name.schema) + "." + quoteIdentifier(name.table) +
		" WHERE " + strings.Join(conditions, " AND ") + ")"
}

// expression translates an expression of a policy. One that is not SQL fails in
// DuckDB.
func (t *translator) expression(text string) string {
	nodes, err := parseStatement(text)
	if err != nil {
		return text
	}
	return t.sql(nodes)
}

// informationSchemaTables is a query of the view TABLES of a database, with the tables
// that the session's roles may read.
func (t *translator) informationSchemaTables(database string) string {
	set, others := t.catalog.alteredTimes()
	altered := "CASE"
	for name, at := range set {
		altered += " WHEN table_schema = " + quoteText(name.schema) + " AND table_name = " + quoteText(name.table) +
			" AND table_catalog = " + quoteText(name.database) + " THEN " + instant(at)
	}
	altered += " WHEN FALSE THEN NULL ELSE " + instant(others) + " END"
	visible := "TRUE"
	if grants, isEverything := t.catalog.grantsOf(t.names.activeRoles()); !isEverything {
		visible = "FALSE"
		for _, grant := range grants {
			pattern := strings.ReplaceAll(strings.ToUpper(grant), "*", "%")
			visible += " OR table_catalog || '.' || table_schema || '.' || table_name LIKE " + quoteText(pattern)
		}
	}
	return `(SELECT table_catalog AS TABLE_CATALOG, table_schema AS TABLE_SCHEMA, table_name AS TABLE_NAME, kind AS TABLE_TYPE, ` + altered + ` AS LAST_ALTERED FROM (
		SELECT database_name AS table_catalog, schema_name AS table_schema, table_name, 'BASE TABLE' AS kind FROM duckdb_tables() UNION ALL
		SELECT database_name, schema_name, view_name, 'VIEW' FROM duckdb_views() WHERE NOT internal)
		WHERE table_catalog = ` + quoteText(database) + ` AND (` + visible + `))`
}

func instant(at time.Time) string {
	return "CAST(" + quoteText(at.UTC().Format("2006-01-02 15:04:05.999999+00:00")) + " AS TIMESTAMPTZ)"
}

// policyReferences translates DATABASE.INFORMATION_SCHEMA.POLICY_REFERENCES(…).
func (t *translator) policyReferences(in []token) (string, bool) {
	if t.catalog == nil || len(in) < 2 || !in[len(in)-2].is("POLICY_REFERENCES") || in[len(in)-1].kind != group {
		return "", false
	}
	name, domain := tableName{}, ""
	for _, argument := range splitTokens(in[len(in)-1].inner, ",") {
		if len(argument) != 3 || !argument[1].isSymbol("=>") || argument[2].kind != text {
			return "", false
		}
		switch {
		case argument[0].is("REF_ENTITY_DOMAIN"):
			domain = strings.ToUpper(argument[2].text)
		case argument[0].is("REF_ENTITY_NAME"):
			if path := parsedPath(argument[2].text); len(path) == 3 {
				name = tableName{path[0], path[1], path[2]}
			}
		}
	}
	rows := []string{"SELECT NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR WHERE FALSE"}
	for _, policy := range t.catalog.policiesOf(name) {
		path := parsedPath(policy.Name)
		if policy.IsHidden || len(path) != 3 || domain != "TABLE" && domain != "VIEW" {
			continue
		}
		kind, column := "ROW_ACCESS_POLICY", "NULL"
		if policy.Column != "" {
			kind, column = "MASKING_POLICY", quoteText(strings.ToUpper(policy.Column))
		}
		rows = append(rows, "SELECT "+quoteText(kind)+", "+quoteText(path[0])+", "+quoteText(path[1])+", "+quoteText(path[2])+", "+column)
	}
	return "(SELECT * FROM (" + strings.Join(rows, " UNION ALL ") + ") AS t(POLICY_KIND, POLICY_DB, POLICY_SCHEMA, POLICY_NAME, REF_COLUMN_NAME))", true
}

// parsedPath reads a dotted name in Snowflake's syntax, or returns nil.
func parsedPath(name string) []string {
	tokens, err := lex(name)
	if err != nil {
		return nil
	}
	return foldedPath(tokens)
}
