package snowflaketest

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	tokenSeconds  = 3600
	masterSeconds = 14400
	serverVersion = "9.0.0-snowflaketest"
)

// session is one login. Its fields are guarded by Server.mu.
type session struct {
	id            int64
	user          User
	token, master string
	tokenExpired  bool
	masterExpired bool

	names   sessionNames
	base    map[string]string // parameters without those that the session sets, by upper-case name
	params  map[string]string // parameters, by upper-case name
	levels  map[string]string // where they are set, by upper-case name: ACCOUNT, USER or SESSION
	aborted map[string]bool   // request ids whose abort came before the request
}

// sessionNames is what the session's context functions answer.
type sessionNames struct {
	account, locator, user, role, warehouse, database, schema, session string
	secondary                                                          string // ALL or NONE
	others                                                             string // the user's other roles, with commas between them
}

// activeRoles are the roles whose grants count.
func (n sessionNames) activeRoles() []string {
	roles := []string{n.role}
	if n.secondary == "ALL" && n.others != "" {
		roles = append(roles, strings.Split(n.others, ",")...)
	}
	return roles
}

// parametersOf are the parameters of a user's new session. A login tells them
// to the driver.
func (c Config) parametersOf(user User) map[string]string {
	all := map[string]string{
		"TIMEZONE":                     "America/Los_Angeles",
		"STATEMENT_TIMEOUT_IN_SECONDS": "172800",
		"QUERY_TAG":                    "",
		"CLIENT_SESSION_KEEP_ALIVE":    "false",
		"GO_QUERY_RESULT_FORMAT":       "ARROW",
		"TIMESTAMP_OUTPUT_FORMAT":      "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
		"WEEK_START":                   "0",
		"WEEK_OF_YEAR_POLICY":          "0",
		"JSON_INDENT":                  "2",
		"BINARY_INPUT_FORMAT":          "HEX",
		"BINARY_OUTPUT_FORMAT":         "HEX",
		"GEOGRAPHY_OUTPUT_FORMAT":      "GeoJSON",
		"GEOMETRY_OUTPUT_FORMAT":       "GeoJSON",
		"ROWS_PER_RESULTSET":           "0",

		strictJSON:       "false",
		ignoreQuotedCase: "false",
	}
	for _, level := range []map[string]string{c.Parameters, user.Parameters} {
		for name, value := range level {
			all[strings.ToUpper(name)] = value
		}
	}
	return all
}

// Names of parameters.
const (
	strictJSON       = "STRICT_JSON_OUTPUT"
	ignoreQuotedCase = "QUOTED_IDENTIFIERS_IGNORE_CASE"
)

func (s *Server) openSession(user User, query url.Values, wanted map[string]any) (*session, *Error) {
	names := sessionNames{account: strings.ToUpper(s.cfg.Account), locator: strings.ToUpper(s.cfg.Locator), user: strings.ToUpper(user.Name)}
	names.role = foldName(query.Get("roleName"))
	switch {
	case names.role == "" && len(user.Roles) > 0:
		names.role = strings.ToUpper(user.Roles[0])
	case names.role == "":
		names.role = "PUBLIC"
	case !containsFold(user.Roles, names.role):
		return nil, roleError(names.role)
	}
	names.secondary = "NONE"
	if strings.EqualFold(user.SecondaryRoles, "ALL") {
		names.secondary = "ALL"
	}
	names.others = strings.ToUpper(strings.Join(user.Roles, ","))
	base := s.cfg.parametersOf(user)
	ses := &session{user: user, names: names, base: base, params: maps.Clone(base), levels: s.cfg.levelsOf(user), aborted: map[string]bool{}}
	validate := formatParameter(wanted["CLIENT_VALIDATE_DEFAULT_PARAMETERS"]) == "true"
	for name, value := range wanted {
		if fail := ses.set(name, formatParameter(value)); fail != nil {
			return nil, fail
		}
	}
	for _, o := range []struct{ kind, param, standard string }{
		{"warehouse", "warehouse", user.Warehouse},
		{"database", "databaseName", user.Database},
		{"schema", "schemaName", user.Schema},
	} {
		name := foldName(query.Get(o.param))
		asked := name != ""
		if !asked {
			name = foldName(o.standard)
		}
		if name == "" {
			continue
		}
		fail := s.use(&ses.names, o.kind, []string{name})
		if fail != nil && asked && validate {
			return nil, connectObjectError(o.kind)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ses.id = s.nextID()
	ses.token, ses.master = secret(24), secret(24)
	s.sessions[ses.id] = ses
	return ses, nil
}

// loginData is what the driver gets to know. The session is not yet shared.
func (ses *session) loginData() loginData {
	return loginData{
		Token: ses.token, Validity: tokenSeconds, MasterToken: ses.master, MasterValidity: masterSeconds,
		DisplayUserName: ses.names.user, ServerVersion: serverVersion, SessionID: ses.id,
		Parameters: ses.parameters(),
		SessionInfo: sessionInfo{Database: ses.names.database, Schema: ses.names.schema,
			Warehouse: ses.names.warehouse, Role: ses.names.role},
	}
}

func (ses *session) parameters() []parameter {
	var list []parameter
	for name, value := range ses.params {
		list = append(list, parameter{Name: name, Value: value})
	}
	return list
}

// set sets a session parameter. Names that it does not know are kept, as
// drivers send their own.
func (ses *session) set(name, value string) *Error {
	name = strings.ToUpper(name)
	if name == "TIMEZONE" {
		if _, err := time.LoadLocation(value); err != nil || value == "" {
			return &Error{Code: "001006", State: "22023", Message: "SQL compilation error:\ninvalid value [" + value +
				"] for parameter 'TIMEZONE'"}
		}
	}
	ses.params[name], ses.levels[name] = value, "SESSION"
	return nil
}

// levelsOf are the levels at which a user's parameters are set, by upper-case name.
func (c Config) levelsOf(user User) map[string]string {
	levels := map[string]string{}
	for name := range c.Parameters {
		levels[strings.ToUpper(name)] = "ACCOUNT"
	}
	for name := range user.Parameters {
		levels[strings.ToUpper(name)] = "USER"
	}
	return levels
}

// use makes an object the session's current one.
func (s *Server) use(names *sessionNames, kind string, name []string) *Error {
	last := name[len(name)-1]
	switch kind {
	case "warehouse":
		if !containsFold(s.cfg.Warehouses, last) {
			return missingSessionObjectError()
		}
		names.warehouse = last
	case "database":
		if !s.exists(`select 1 from duckdb_databases() where database_name = ? and not internal`, last) {
			return missingSessionObjectError()
		}
		names.database, names.schema = last, ""
		if s.exists(`select 1 from duckdb_schemas() where database_name = ? and schema_name = 'PUBLIC'`, last) {
			names.schema = "PUBLIC"
		}
	case "schema":
		database := names.database
		if len(name) > 1 {
			database = name[0]
		}
		if !s.exists(`select 1 from duckdb_schemas() where database_name = ? and schema_name = ?`, database, last) {
			return missingSessionObjectError()
		}
		names.database, names.schema = database, last
	}
	return nil
}

// exists asks the catalog. What cannot be asked is not there.
func (s *Server) exists(query string, args ...any) bool {
	var one int
	err := s.db.QueryRow(query, args...).Scan(&one)
	return err == nil && one == 1
}

// authorize finds the session of the request's token.
func (s *Server) authorize(r *http.Request) (*session, *Error) {
	token := requestToken(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ses := range s.sessions {
		if equal(ses.token, token) {
			if ses.tokenExpired {
				return nil, errTokenExpired
			}
			return ses, nil
		}
	}
	return nil, errSessionGone
}

func requestToken(r *http.Request) string {
	token, _ := between(r.Header.Get("Authorization"), `Snowflake Token="`, `"`)
	return token
}

// ExpireTokens lets every session's token expire now. Drivers renew it.
func (s *Server) ExpireTokens() { s.expire(func(ses *session) { ses.tokenExpired = true }) }

// ExpireSessions lets the tokens and what they are renewed with expire now:
// users have to log in again.
func (s *Server) ExpireSessions() {
	s.expire(func(ses *session) { ses.tokenExpired, ses.masterExpired = true, true })
}

func (s *Server) expire(f func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ses := range s.sessions {
		f(ses)
	}
}

// Sessions is how many logins have not been closed.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	master := requestToken(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ses := range s.sessions {
		if !equal(ses.master, master) {
			continue
		}
		if ses.masterExpired {
			break
		}
		ses.token, ses.master, ses.tokenExpired = secret(24), secret(24), false
		writeData(w, renewData{SessionToken: ses.token, ValidityInSecondsST: tokenSeconds,
			MasterToken: ses.master, ValidityInSecondsMT: masterSeconds, SessionID: ses.id})
		return
	}
	writeError(w, errMasterExpired, "")
}

func (s *Server) heartbeat(w http.ResponseWriter, r *http.Request) {
	if _, fail := s.authorize(r); fail != nil {
		writeError(w, fail, "")
		return
	}
	writeData(w, nil)
}

// closeSession ends a session. Its queries run on, as they do in Snowflake
// unless ABORT_DETACHED_QUERY is set.
func (s *Server) closeSession(w http.ResponseWriter, r *http.Request) {
	ses, fail := s.authorize(r)
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	s.mu.Lock()
	delete(s.sessions, ses.id)
	s.mu.Unlock()
	writeData(w, nil)
}

// sessionState is a copy of what a query takes from its session.
type sessionState struct {
	names   sessionNames
	params  map[string]string
	catalog catalog // or nil
}

// isTrue reports whether a parameter has the value TRUE.
func (s sessionState) isTrue(name string) bool { return strings.EqualFold(s.params[name], "true") }

// stateLocked copies it. The caller holds mu.
func (s *Server) stateLocked(ses *session) sessionState {
	return sessionState{names: ses.names, params: maps.Clone(ses.params)}
}

// foldName reads one identifier as Snowflake does: unquoted names are folded
// to upper case.
func foldName(name string) string {
	if len(name) >= 2 && name[0] == '"' && name[len(name)-1] == '"' {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return strings.ToUpper(name)
}
