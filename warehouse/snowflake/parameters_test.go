package snowflake

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake/wiretest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// strings of a query's first column and of its column's name, or the message of
// its failure.
func firstColumn(t *testing.T, w *Warehouse, query string) (name string, values []string) {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: query})
	if err != nil {
		return "", []string{err.Error()}
	}
	defer func() {
		if err := result.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		batch, err := result.Next(t.Context())
		if err == io.EOF {
			return result.Schema().Field(0).Name, values
		}
		if err != nil {
			return "", append(values, err.Error())
		}
		for row := range int(batch.NumRows()) {
			values = append(values, strings.Clone(batch.Column(0).ValueStr(row)))
		}
		batch.Release()
	}
}

func valueOf(query string) func(*testing.T, *Warehouse, *snowflaketest.Server) string {
	return func(t *testing.T, w *Warehouse, _ *snowflaketest.Server) string {
		t.Helper()
		_, values := firstColumn(t, w, query)
		return strings.Join(values, "; ")
	}
}

// effects show each pinned parameter: another value at the account, what is seen,
// and what must be seen.
var effects = map[string]struct {
	account string
	observe func(*testing.T, *Warehouse, *snowflaketest.Server) string
	want    string
}{
	"TIMEZONE":                       {"America/New_York", valueOf(`SELECT TO_VARCHAR('2024-01-01 00:00:00+00:00'::TIMESTAMP_LTZ, 'YYYY-MM-DD HH24')`), "2024-01-01 00"},
	"STRICT_JSON_OUTPUT":             {"false", valueOf(`SELECT ARRAY_CONSTRUCT(1, NULL, 'x')`), `[1,null,"x"]`},
	"JSON_INDENT":                    {"4", valueOf(`SELECT PARSE_JSON('{"a":[1]}')`), `{"a":[1]}`},
	"BINARY_OUTPUT_FORMAT":           {"BASE64", valueOf(`SELECT TO_BINARY('00FF', 'HEX')::VARCHAR`), "00FF"},
	"BINARY_INPUT_FORMAT":            {"UTF-8", valueOf(`SELECT '00FF'::BINARY::VARCHAR`), "00FF"},
	"GEOGRAPHY_OUTPUT_FORMAT":        {"WKT", valueOf(`SELECT ST_MAKEPOINT(1, 2)`), `{"coordinates":[1.0,2.0],"type":"Point"}`},
	"GEOMETRY_OUTPUT_FORMAT":         {"WKT", valueOf(`SELECT ST_MAKEGEOMPOINT(1, 2)`), `{"coordinates":[1.0,2.0],"type":"Point"}`},
	"ROWS_PER_RESULTSET":             {"2", valueOf(`SELECT SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => 4)) ORDER BY 1`), "0; 1; 2; 3"},
	"GO_QUERY_RESULT_FORMAT":         {"JSON", valueOf(`SELECT 17`), "17"},
	"QUOTED_IDENTIFIERS_IGNORE_CASE": {"true", nameOf(`SELECT 1 "Id"`), "Id"},
	"CLIENT_TELEMETRY_ENABLED":       {"true", effective("CLIENT_TELEMETRY_ENABLED"), "false"},
	"CLIENT_SESSION_KEEP_ALIVE":      {"true", heartbeats, "0"},
}

func nameOf(query string) func(*testing.T, *Warehouse, *snowflaketest.Server) string {
	return func(t *testing.T, w *Warehouse, _ *snowflaketest.Server) string {
		t.Helper()
		name, _ := firstColumn(t, w, query)
		return name
	}
}

// effective is the parameter's value in the session, as the account has it.
func effective(name string) func(*testing.T, *Warehouse, *snowflaketest.Server) string {
	return func(t *testing.T, w *Warehouse, s *snowflaketest.Server) string {
		t.Helper()
		firstColumn(t, w, "SELECT 1")
		queries := s.Queries()
		return queries[len(queries)-1].Parameters[name]
	}
}

// heartbeats counts the goroutines in which the driver keeps sessions alive.
func heartbeats(t *testing.T, w *Warehouse, _ *snowflaketest.Server) string {
	t.Helper()
	firstColumn(t, w, "SELECT 1")
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(strings.Count(stacks.String(), "created by github.com/snowflakedb/gosnowflake.(*heartbeat)"))
}

// An account's and a user's own values of a pinned parameter have no effect, and
// would have one if the login did not pin it.
func TestPinnedParameters(t *testing.T) {
	for _, parameter := range sessionParameters {
		if parameter.why == "" {
			t.Errorf("nothing says why %s is %s", parameter.name, parameter.pinned)
		}
		if !parameter.isSet() {
			continue
		}
		t.Run(parameter.name, func(t *testing.T) {
			effect, ok := effects[parameter.name]
			if !ok {
				t.Fatal("nothing shows the parameter's effect")
			}
			foreign := map[string]string{parameter.name: effect.account}
			for level, config := range map[string]snowflaketest.Config{
				"account": {Parameters: foreign},
				"user": {Users: []snowflaketest.User{{Name: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword,
					Roles: []string{snowflaketest.DefaultRole}, Warehouse: snowflaketest.DefaultWarehouse, Parameters: foreign}}},
			} {
				s, err := snowflaketest.NewServer(config)
				if err != nil {
					t.Fatal(err)
				}
				if got := observed(t, s, effect.observe, ""); got != effect.want {
					t.Errorf("with %s at the %s: %q instead of %q", effect.account, level, got, effect.want)
				}
				if got := observed(t, s, effect.observe, parameter.name); got == effect.want {
					t.Errorf("without the pin, with %s at the %s: still %q", effect.account, level, got)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if pinned := len(Config{}.loginParameters()); pinned != len(effects) {
		t.Errorf("%d parameters are pinned, and the effects of %d are shown", pinned, len(effects))
	}
}

// observed is what is seen with a login that leaves one parameter out, or none.
func observed(t *testing.T, s *snowflaketest.Server, observe func(*testing.T, *Warehouse, *snowflaketest.Server) string, without string) string {
	t.Helper()
	config := Config{Account: s.Account(), Host: s.Host(), Port: s.Port(), Protocol: "http", User: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword}
	w, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	if without != "" {
		driverConfig, err := config.driverConfig()
		if err != nil {
			t.Fatal(err)
		}
		delete(driverConfig.Params, without)
		if err := w.db.Close(); err != nil {
			t.Fatal(err)
		}
		w.db = sql.OpenDB(connector{config: driverConfig})
	}
	return observe(t, w, s)
}

func TestParametersAreListedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, parameter := range sessionParameters {
		if seen[parameter.name] || parameter.name != strings.ToUpper(parameter.name) {
			t.Errorf("%s is listed twice, or not by its name", parameter.name)
		}
		seen[parameter.name] = true
	}
}

// endpoint serves given answers, and opens a warehouse on it.
func endpoint(t *testing.T, e *wiretest.Endpoint, sessions int) *Warehouse {
	t.Helper()
	return endpointWith(t, e, Config{MaxSessions: sessions})
}

// endpointWith does so with a configuration, in which it sets the address and the
// user.
func endpointWith(t *testing.T, e *wiretest.Endpoint, config Config) *Warehouse {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	address := server.Listener.Addr().(*net.TCPAddr)
	config.Account, config.Host, config.Port, config.Protocol = "org-account", address.IP.String(), address.Port, "http"
	config.User, config.Password = "ANN", "p"
	w, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func wireTexts(name, typ string, values ...string) wiretest.Column {
	builder := array.NewStringBuilder(memory.DefaultAllocator)
	builder.AppendValues(values, nil)
	return wiretest.Column{Name: name, Type: typ, Length: 100, Values: builder.NewArray()}
}

func wireNumbers(name, typ string, scale int, values ...int64) wiretest.Column {
	builder := array.NewInt64Builder(memory.DefaultAllocator)
	builder.AppendValues(values, nil)
	return wiretest.Column{Name: name, Type: typ, Precision: 10, Scale: scale, Values: builder.NewArray()}
}

func wireVector(name string, rows int) wiretest.Column {
	builder := array.NewFixedSizeListBuilder(memory.DefaultAllocator, 3, arrow.PrimitiveTypes.Float32)
	for range rows {
		builder.Append(true)
		builder.ValueBuilder().(*array.Float32Builder).AppendValues([]float32{1, 2, 3}, nil)
	}
	return wiretest.Column{Name: name, Type: "vector", Length: 3, Values: builder.NewArray()}
}

// A login sets the pinned parameters and no other, also when earlier logins told
// the driver what the account's parameters are.
func TestALoginSetsNoOtherParameter(t *testing.T) {
	e := &wiretest.Endpoint{
		Account: map[string]string{"TIMEZONE": "Europe/Berlin", "WEEK_START": "7", "A_PARAMETER_OF_TOMORROW": "on", "TIMESTAMP_OUTPUT_FORMAT": "DD.MM.YYYY"},
		Answer: func(string, wiretest.Session) []wiretest.Column {
			return []wiretest.Column{wireNumbers("A", "fixed", 0, 1)}
		},
	}
	w := endpoint(t, e, 3)
	conns := make([]*sql.Conn, 3) // at the same time, so that each is a login
	for i := range conns {
		var err error
		if conns[i], err = w.db.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	want := map[string]string{"CLIENT_VALIDATE_DEFAULT_PARAMETERS": "true"} // by the driver: a missing database is an error
	for _, parameter := range sessionParameters {
		if parameter.isSet() {
			want[parameter.name] = parameter.pinned
		}
	}
	logins := e.Logins()
	if len(logins) != len(conns) {
		t.Fatalf("%d logins", len(logins))
	}
	for i, login := range logins {
		if !maps.Equal(login.Set, want) {
			t.Errorf("login %d sets %v instead of %v", i+1, login.Set, want)
		}
	}
}

// A login sets the zone and the week parameters of the configuration.
func TestALoginSetsTheConfiguredParameters(t *testing.T) {
	e := &wiretest.Endpoint{
		Account: map[string]string{"TIMEZONE": "America/Los_Angeles"},
		Answer: func(string, wiretest.Session) []wiretest.Column {
			return []wiretest.Column{wireNumbers("At", "timestamp_ltz", 0, 1772319600)}
		},
	}
	week, policy := 7, 0
	for _, test := range []struct {
		config Config
		set    map[string]string
		typ    string
	}{
		{Config{}, map[string]string{"TIMEZONE": "UTC", "WEEK_START": "", "WEEK_OF_YEAR_POLICY": ""}, "timestamp[us, tz=UTC]"},
		{Config{TimeZone: "Europe/Berlin", WeekStart: &week, WeekOfYearPolicy: &policy},
			map[string]string{"TIMEZONE": "Europe/Berlin", "WEEK_START": "7", "WEEK_OF_YEAR_POLICY": "0"}, "timestamp[us, tz=Europe/Berlin]"},
	} {
		w := endpointWith(t, e, test.config)
		schema, err := w.Describe(t.Context(), warehouse.Statement{SQL: "select 1"})
		if err != nil {
			t.Fatal(err)
		}
		if typ := schema.Field(0).Type.String(); typ != test.typ {
			t.Errorf("the column is %s instead of %s", typ, test.typ)
		}
		logins := e.Logins()
		for name, want := range test.set {
			if got := logins[len(logins)-1].Set[name]; got != want {
				t.Errorf("%s is set to %q instead of %q", name, got, want)
			}
		}
	}
}

// A session in another zone than that of the login runs no query.
func TestASessionInAnotherZoneIsRefused(t *testing.T) {
	for _, zone := range []string{"", "Europe/Berlin"} {
		e := &wiretest.Endpoint{Account: map[string]string{"TIMEZONE": "America/Los_Angeles"}, Ignored: []string{"TIMEZONE"},
			Answer: func(string, wiretest.Session) []wiretest.Column {
				return []wiretest.Column{wireNumbers("A", "fixed", 0, 1)}
			}}
		_, err := endpointWith(t, e, Config{TimeZone: zone}).Query(t.Context(), warehouse.Statement{SQL: "select 1"})
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindConfiguration || !strings.Contains(err.Error(), "America/Los_Angeles") {
			t.Errorf("%q: %v", zone, err)
		}
		if queries := e.Queries(); len(queries) != 0 {
			t.Errorf("%q: the queries %q ran", zone, queries)
		}
	}
}

// The secondary roles are set once at each login, before the first query.
func TestSecondaryRolesOnTheWire(t *testing.T) {
	e := &wiretest.Endpoint{Answer: func(string, wiretest.Session) []wiretest.Column {
		return []wiretest.Column{wireTexts("status", "text", "Statement executed successfully.")}
	}}
	w := endpointWith(t, e, Config{SecondaryRoles: NoSecondaryRoles})
	for range 2 {
		firstColumn(t, w, "select 1")
	}
	if got := e.Queries(); !slices.Equal(got, []string{"USE SECONDARY ROLES NONE", "select 1", "select 1"}) {
		t.Errorf("the statements are %q", got)
	}
}

func TestTheStatementTimeoutIsSet(t *testing.T) {
	for given, want := range map[string]string{"0s": "", "1ms": "1", "90s": "90"} {
		duration, err := time.ParseDuration(given)
		if err != nil {
			t.Fatal(err)
		}
		got := Config{StatementTimeout: duration}.loginParameters()["STATEMENT_TIMEOUT_IN_SECONDS"]
		if want == "" && got != nil || want != "" && (got == nil || *got != want) {
			t.Errorf("%s: %v", given, got)
		}
	}
}

// The account's values reach an independent endpoint's answers as they do those
// of snowflaketest.
func TestAccountParametersOnTheWire(t *testing.T) {
	e := &wiretest.Endpoint{
		Account: map[string]string{"QUOTED_IDENTIFIERS_IGNORE_CASE": "true", "STRICT_JSON_OUTPUT": "false"},
		Answer: func(_ string, session wiretest.Session) []wiretest.Column {
			name, list := "List", `[1,null,"x"]`
			if session.Parameter("QUOTED_IDENTIFIERS_IGNORE_CASE") == "true" {
				name = "LIST"
			}
			if session.Parameter("STRICT_JSON_OUTPUT") != "true" {
				list = `[1,undefined,"x"]`
			}
			return []wiretest.Column{wireTexts(name, "array", list)}
		},
	}
	if name, values := firstColumn(t, endpoint(t, e, 1), "select 1"); name != "List" || !slices.Equal(values, []string{`[1,null,"x"]`}) {
		t.Errorf("%s: %q", name, values)
	}
}

// JSON that is none is refused by row and column, in each type that holds JSON.
func TestValuesThatAreNotJSON(t *testing.T) {
	for _, text := range []string{`[1,undefined,"x"]`, "undefined", "", "{a:1}", "[1,]", "NaN", `{"a":1} x`, "POINT(1 2)"} {
		for _, typ := range []string{"array", "variant", "object", "map", "geography"} {
			e := &wiretest.Endpoint{Answer: func(string, wiretest.Session) []wiretest.Column {
				return []wiretest.Column{wireTexts("List", typ, `{"a":1}`, "null", text)}
			}}
			_, values := firstColumn(t, endpoint(t, e, 1), "select 1")
			if got := values[len(values)-1]; !strings.Contains(got, `column "List", row 3: the value is not JSON`) || len(values) != 1 {
				t.Errorf("%s %q: %q", typ, text, values)
			}
		}
	}
}

// A result without rows has no Arrow data at all.
func TestAnAnswerWithoutArrow(t *testing.T) {
	e := &wiretest.Endpoint{Answer: func(string, wiretest.Session) []wiretest.Column {
		return []wiretest.Column{wireNumbers("Id", "fixed", 0), wireTexts("List", "array"), wireVector("Embedding", 0)}
	}}
	w := endpoint(t, e, 1)
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: "select 1", Choose: choose(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	manifest, parts, err := result.(warehouse.Kept).Keep()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Rows() != 0 || parts.Schema().NumFields() != 2 {
		t.Errorf("%d rows, columns %v", manifest.Rows(), parts.Schema())
	}
	for n := range manifest.Parts {
		if rows := readPart(t, parts, n); len(rows) != 0 {
			t.Errorf("rows came: %q", rows)
		}
	}
	again, err := w.Reopen(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []warehouse.Parts{parts, again} {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if name, values := firstColumn(t, w, "select 1 where false"); name != "" || len(values) != 1 || !strings.Contains(values[0], `column "Embedding": VECTOR`) {
		t.Errorf("all columns: %s %q", name, values)
	}
}

func choose(positions ...int) func([]string) ([]int, error) {
	return func([]string) ([]int, error) { return positions, nil }
}

func readPart(t *testing.T, parts warehouse.Parts, n int) (rows []string) {
	t.Helper()
	part, err := parts.Open(n)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		batch, err := part.Next(t.Context())
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		for row := range int(batch.NumRows()) {
			var cells []string
			for _, column := range batch.Columns() {
				cells = append(cells, column.ValueStr(row))
			}
			rows = append(rows, strings.Join(cells, " "))
		}
		batch.Release()
	}
}

// Columns that are not chosen fail nothing, whatever is wrong with their types
// and values: in the first run, and when the result is opened again by its id.
func TestColumnsThatAreNotChosen(t *testing.T) {
	e := &wiretest.Endpoint{Answer: func(string, wiretest.Session) []wiretest.Column {
		return []wiretest.Column{
			wireVector("Embedding", 2), wireNumbers("Id", "fixed", 0, 7, 8), wireNumbers("Nanos", "timestamp_ntz", 9, 1700000000123456789, 1),
			wireTexts("Not JSON", "variant", "undefined", "{"), wireTexts("Name", "text", "a", "b"), wireTexts("A type of tomorrow", "hologram", "?", "?"),
			wireNumbers("Far", "timestamp_ltz", 0, 253402300800, 0), wireNumbers("Wrongly encoded", "text", 0, 1, 2), wireNumbers("24h", "time", 0, 86400, 0),
		}
	}}
	w := endpoint(t, e, 1)
	statement := warehouse.Statement{SQL: "select 1", Choose: choose(4, 1)}
	described, err := w.Describe(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	result, err := w.Query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if !described.Equal(result.Schema()) || described.NumFields() != 2 || described.Field(0).Name != "Name" {
		t.Errorf("described as %v, and read as %v", described, result.Schema())
	}
	manifest, parts, err := result.(warehouse.Kept).Keep()
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Reopen(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []warehouse.Parts{parts, again} {
		if rows := readPart(t, p, 0); !slices.Equal(rows, []string{"a 7", "b 8"}) {
			t.Errorf("the rows are %q", rows)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	for position, message := range map[int]string{
		0: `column "Embedding": VECTOR`, 2: `column "Nanos", row 1: the timestamp has digits`, 3: `column "Not JSON", row 1`,
		5: `column "A type of tomorrow": HOLOGRAM`, 6: `column "Far", row 1`, 8: `column "24h", row 1`,
	} {
		result, err := w.Query(t.Context(), warehouse.Statement{SQL: "select 1", Choose: choose(1, position)})
		if err == nil {
			_, err = result.Next(t.Context())
			if closeErr := result.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		}
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("the chosen column %d: %v", position, err)
		}
	}
}

// A manifest of an earlier version lists all columns, all of which are delivered.
func TestAManifestOfAnEarlierVersion(t *testing.T) {
	l, err := decodeLayout([]byte(`[{"name":"Id","type":"fixed","precision":10},{"name":"Name","type":"text","length":9}]`))
	if err != nil {
		t.Fatal(err)
	}
	if l.width != 2 || fmt.Sprint(l.positions) != "[0 1]" || l.schema.Field(1).Name != "Name" {
		t.Errorf("the layout is %+v", l)
	}
	for _, damaged := range []string{`{`, `{"width":1,"columns":[{"name":"A","type":"text","position":1}]}`, `{"width":1,"columns":[{"name":"A","type":"text","position":-1}]}`} {
		if _, err := decodeLayout([]byte(damaged)); err == nil {
			t.Errorf("%s is taken", damaged)
		}
	}
}
