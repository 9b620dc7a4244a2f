package snowflaketest

import (
	"database/sql"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// changeSession runs USE and ALTER SESSION.
func (s *Server) changeSession(ses *session, q *query, nodes []token) error {
	q.sessionQuery = true
	q.result = statusResult("Statement executed successfully.")
	if nodes[0].is("USE") {
		s.mu.Lock()
		names := ses.names
		s.mu.Unlock()
		if len(nodes) == 4 && nodes[1].is("SECONDARY") && nodes[2].is("ROLES") && (nodes[3].is("ALL") || nodes[3].is("NONE")) {
			s.mu.Lock()
			defer s.mu.Unlock()
			ses.names.secondary = strings.ToUpper(nodes[3].text)
			return nil
		}
		if err := s.useStatement(&names, ses.user, nodes[1:]); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		ses.names, q.names = names, names
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return alterSession(ses, nodes[2:])
}

// useStatement reads what follows USE: [ROLE|WAREHOUSE|DATABASE|SCHEMA] name.
func (s *Server) useStatement(names *sessionNames, user User, in []token) error {
	kind := ""
	if len(in) > 1 {
		for _, k := range []string{"role", "warehouse", "database", "schema"} {
			if in[0].is(k) {
				kind, in = k, in[1:]
				break
			}
		}
	}
	name := foldedPath(in)
	switch {
	case len(name) == 0:
		return syntaxError("syntax error unexpected end of statement.")
	case kind == "" && len(name) == 1:
		kind = "database"
	case kind == "":
		kind = "schema"
	case kind == "role":
		if !containsFold(user.Roles, name[0]) {
			return &Error{Code: "003013", State: "42501", Message: "SQL access control error:\nRequested role '" + name[0] +
				"' is not assigned to the executing user. Specify another role to activate."}
		}
		names.role = name[0]
		return nil
	}
	if fail := s.use(names, kind, name); fail != nil {
		return fail
	}
	return nil
}

// showParameters answers SHOW PARAMETERS [LIKE pattern] [IN SESSION], as JSON whatever
// the session's format.
func (s *Server) showParameters(ses *session, q *query, in []token) error {
	pattern := "%"
	if len(in) > 1 && in[0].is("LIKE") && in[1].kind == text {
		pattern, in = in[1].text, in[2:]
	}
	if len(in) > 0 && !(len(in) == 2 && in[0].is("IN") && in[1].is("SESSION")) {
		return syntaxError("syntax error in SHOW PARAMETERS.")
	}
	var columns []column
	for _, name := range []string{"key", "value", "default", "level", "description", "type"} {
		columns = append(columns, column{name: name, kind: textColumn})
	}
	matches := regexp.MustCompile("(?i)^" + strings.NewReplacer("%", ".*", `\\_`, "_", "_", ".").Replace(regexp.QuoteMeta(pattern)) + "$")
	standard := Config{}.parametersOf(User{})
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows [][]*string
	for _, name := range slices.Sorted(maps.Keys(ses.params)) {
		if matches.MatchString(name) {
			rows = append(rows, []*string{new(name), new(ses.params[name]), new(standard[name]), new(ses.levels[name]), new(""), new("STRING")})
		}
	}
	q.result = &result{columns: columns, format: jsonFormat, rows: int64(len(rows)), inlineRows: int64(len(rows)), json: rows}
	return nil
}

// alterSession reads SET name = value … and UNSET name, …. The caller holds
// Server.mu.
func alterSession(ses *session, in []token) error {
	switch {
	case len(in) > 0 && in[0].is("UNSET"):
		for _, n := range splitTokens(in[1:], ",") {
			name := strings.ToUpper(n[0].text)
			if value, ok := ses.base[name]; ok {
				ses.params[name] = value
			} else {
				delete(ses.params, name)
			}
			delete(ses.levels, name)
		}
		return nil
	case len(in) > 3 && in[0].is("SET"):
		for in = in[1:]; len(in) > 0; in = in[3:] {
			if in[0].isSymbol(",") {
				in = in[1:]
			}
			if len(in) < 3 || in[0].kind != word || !in[1].isSymbol("=") {
				break
			}
			if fail := ses.set(in[0].text, in[2].text); fail != nil {
				return fail
			}
		}
		if len(in) == 0 {
			return nil
		}
	}
	return syntaxError("syntax error in ALTER SESSION.")
}

// statusResult is the one row that a statement without a result answers, as
// JSON whatever the session's format.
func statusResult(status string) *result {
	return &result{
		columns: []column{{name: "status", kind: textColumn}}, format: jsonFormat,
		rows: 1, inlineRows: 1, json: [][]*string{{&status}},
	}
}

// foldedPath reads a dotted name.
func foldedPath(in []token) []string {
	var path []string
	for _, n := range in {
		switch n.kind {
		case word:
			path = append(path, strings.ToUpper(n.text))
		case quoted, text:
			path = append(path, n.text)
		}
	}
	return path
}

// tableName is a table's full name.
type tableName struct{ database, schema, table string }

// checkTables reports the first table that does not exist or that the role
// may not read, which Snowflake does not tell apart. A query that reads
// tables also needs a running warehouse.
func (s *Server) checkTables(conn *sql.Conn, query string, names sessionNames) error {
	list, err := duckdb.GetTableNames(conn, query, true)
	if err != nil {
		return err
	}
	for _, entry := range list {
		path := parseTablePath(entry)
		written := strings.Join(path, ".")
		t := tableName{database: names.database, schema: names.schema, table: path[len(path)-1]}
		if len(path) > 1 {
			t.schema = path[len(path)-2]
		}
		if len(path) > 2 {
			t.database = path[len(path)-3]
		}
		switch {
		case !s.exists(`select 1 from duckdb_databases() where database_name = ? and not internal`, t.database):
			if t.database == "" {
				return &Error{Code: "090105", State: "22000", Message: "Cannot perform SELECT. This session does not have a current " +
					"database. Call 'USE DATABASE', or use a qualified name."}
			}
			return missingError("Database", t.database)
		case !s.exists(`select 1 from duckdb_schemas() where database_name = ? and schema_name = ?`, t.database, t.schema):
			return missingError("Schema", t.database+"."+t.schema)
		case !s.mayRead(names.activeRoles(), t) || !s.exists(
			`select 1 from (select database_name, schema_name, table_name from duckdb_tables()
				union all select database_name, schema_name, view_name from duckdb_views())
				where database_name = ? and schema_name = ? and table_name = ?`, t.database, t.schema, t.table):
			return missingError("Object", written)
		}
	}
	if len(list) == 0 && !strings.Contains(query, generatorColumn) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if names.warehouse == "" || s.suspended[strings.ToUpper(names.warehouse)] {
		return NoWarehouseError()
	}
	return nil
}

// parseTablePath reads a name from DuckDB's list, which quotes where it has to
// and may append an alias.
func parseTablePath(entry string) []string {
	tokens, err := lex(entry)
	if err != nil {
		return []string{entry}
	}
	var path []string
	for i, n := range tokens {
		if n.is("AS") && i > 0 && !tokens[i-1].isSymbol(".") {
			break
		}
		if n.kind == word || n.kind == quoted {
			path = append(path, n.text)
		}
	}
	if len(path) == 0 {
		return []string{entry}
	}
	return path
}
