package snowflake

import (
	"strconv"
	"time"
)

// sessionParameter is a session parameter of Snowflake, and what a login does
// about it. Accounts and users may have values of their own, so that a parameter
// that is not set at login has any value.
type sessionParameter struct {
	name string
	// pinned is the value that the login sets, inherited or irrelevant.
	pinned string
	why    string
}

// Marks of parameters that the login leaves as they are for the account and the
// user.
const (
	// inherited parameters decide about the meaning of the SQL, and Sigma, whose SQL
	// it is, inherits them as well.
	inherited = "inherited"
	// irrelevant parameters have no effect on what a query returns.
	irrelevant = "irrelevant"
)

// sessionParameters are all session parameters of
// https://docs.snowflake.com/en/sql-reference/parameters and of the driver. What
// the list lacks is inherited.
var sessionParameters = []sessionParameter{
	// How values are represented.
	{"TIMEZONE", "UTC", "dates of instants are those of UTC, unless Config.TimeZone names another zone"},
	{"STRICT_JSON_OUTPUT", "true", "otherwise missing elements of arrays are written as undefined, which is not JSON"},
	{"JSON_INDENT", "0", "semi-structured values are sent without white space"},
	{"BINARY_OUTPUT_FORMAT", "HEX", "Sigma requires it; casts of binary values to text in Sigma's SQL rely on it"},
	{"BINARY_INPUT_FORMAT", "HEX", "Sigma requires it; casts of text to binary values in Sigma's SQL rely on it"},
	{"GEOGRAPHY_OUTPUT_FORMAT", "GeoJSON", "geographies are delivered as JSON, and not as text or bytes"},
	{"GEOMETRY_OUTPUT_FORMAT", "GeoJSON", "geometries are delivered as JSON, and not as text or bytes"},

	// How names are read.
	{"QUOTED_IDENTIFIERS_IGNORE_CASE", "false", "Sigma's column labels are quoted identifiers of mixed case"},

	// How results are transported.
	{"ROWS_PER_RESULTSET", "0", "another value cuts every result without notice"},
	{"GO_QUERY_RESULT_FORMAT", "ARROW", "results are read as Arrow streams"},
	{"CLIENT_TELEMETRY_ENABLED", "false", "the driver sends nothing to Snowflake but the queries"},
	{"CLIENT_SESSION_KEEP_ALIVE", "false", "the driver would run a goroutine for each session"},

	// What the SQL means. Sigma inherits the account's values, too.
	{"WEEK_START", inherited, "decides about date_trunc and date_part of weeks"},
	{"WEEK_OF_YEAR_POLICY", inherited, "decides about the numbers of weeks"},
	{"TIMESTAMP_TYPE_MAPPING", inherited, "decides which type TIMESTAMP means"},
	{"TIMESTAMP_DAY_IS_ALWAYS_24H", inherited, "decides about adding days across changes of the clock"},
	{"TWO_DIGIT_CENTURY_START", inherited, "decides about the century of years of two digits"},
	{"DATE_INPUT_FORMAT", inherited, "decides about casts from text"},
	{"TIME_INPUT_FORMAT", inherited, "decides about casts from text"},
	{"TIMESTAMP_INPUT_FORMAT", inherited, "decides about casts from text"},
	{"DATE_OUTPUT_FORMAT", inherited, "decides about casts to text; dates themselves are sent as numbers"},
	{"TIME_OUTPUT_FORMAT", inherited, "decides about casts to text; times themselves are sent as numbers"},
	{"TIMESTAMP_OUTPUT_FORMAT", inherited, "decides about casts to text; timestamps themselves are sent as numbers"},
	{"TIMESTAMP_NTZ_OUTPUT_FORMAT", inherited, "decides about casts to text"},
	{"TIMESTAMP_LTZ_OUTPUT_FORMAT", inherited, "decides about casts to text"},
	{"TIMESTAMP_TZ_OUTPUT_FORMAT", inherited, "decides about casts to text"},
	{"DEFAULT_NULL_ORDERING", inherited, "decides where NULLs are sorted"},
	{"SEARCH_PATH", inherited, "decides which functions and tables short names mean"},
	{"SIMULATED_DATA_SHARING_CONSUMER", inherited, "decides which rows of secure views are seen"},
	{"JS_TREAT_INTEGER_AS_BIGINT", inherited, "decides about integers in JavaScript functions"},
	{"ERROR_ON_NONDETERMINISTIC_MERGE", irrelevant, "concerns statements that change data"},
	{"ERROR_ON_NONDETERMINISTIC_UPDATE", irrelevant, "concerns statements that change data"},
	{"UNSUPPORTED_DDL_ACTION", irrelevant, "concerns definitions"},
	{"NOORDER_SEQUENCE_AS_DEFAULT", irrelevant, "concerns definitions"},
	{"ENABLE_GET_DDL_USE_DATA_TYPE_ALIAS", irrelevant, "concerns the text of definitions"},

	// How a query runs. The rows are the same.
	{"STATEMENT_TIMEOUT_IN_SECONDS", irrelevant, "the account's limit holds unless Config.StatementTimeout sets one"},
	{"STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", irrelevant, "the account decides how long queries may wait"},
	{"USE_CACHED_RESULT", irrelevant, "a cached result has the rows that the query would have"},
	{"ABORT_DETACHED_QUERY", irrelevant, "the service cancels its own queries"},
	{"QUERY_TAG", irrelevant, "each statement sets its own"},
	{"MULTI_STATEMENT_COUNT", irrelevant, "each statement sets 1"},
	{"AUTOCOMMIT", irrelevant, "queries change nothing, and read what is committed when they begin"},
	{"TRANSACTION_ABORT_ON_ERROR", irrelevant, "there are no transactions of several statements"},
	{"TRANSACTION_DEFAULT_ISOLATION_LEVEL", irrelevant, "there are no transactions of several statements"},
	{"LOCK_TIMEOUT", irrelevant, "queries take no locks"},
	{"HYBRID_TABLE_LOCK_TIMEOUT", irrelevant, "queries take no locks"},
	{"S3_STAGE_VPCE_DNS_NAME", irrelevant, "concerns the network of stages"},
	{"ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION", irrelevant, "concerns unloading"},
	{"CSV_TIMESTAMP_FORMAT", irrelevant, "concerns downloads from the web interface"},
	{"LOG_LEVEL", irrelevant, "concerns the account's event table"},
	{"METRIC_LEVEL", irrelevant, "concerns the account's event table"},
	{"TRACE_LEVEL", irrelevant, "concerns the account's event table"},
	{"ACTIVE_PYTHON_PROFILER", irrelevant, "concerns profiling"},
	{"PYTHON_PROFILER_MODULES", irrelevant, "concerns profiling"},
	{"PYTHON_PROFILER_TARGET_STAGE", irrelevant, "concerns profiling"},

	// What other drivers, or parts of this one that are not used, take from it.
	{"CLIENT_RESULT_CHUNK_SIZE", irrelevant, "chunks of every size are read; the size of a message is bounded here"},
	{"CLIENT_PREFETCH_THREADS", irrelevant, "chunks are read one after the other"},
	{"CLIENT_MEMORY_LIMIT", irrelevant, "the driver's own download is not used"},
	{"CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", irrelevant, "there is no heartbeat"},
	{"CLIENT_TIMESTAMP_TYPE_MAPPING", irrelevant, "concerns bound variables, of which there are none"},
	{"CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX", irrelevant, "concerns metadata calls of JDBC and ODBC"},
	{"CLIENT_METADATA_USE_SESSION_DATABASE", irrelevant, "concerns metadata calls of JDBC and ODBC"},
	{"CLIENT_RESULT_COLUMN_CASE_INSENSITIVE", irrelevant, "concerns JDBC"},
	{"JDBC_TREAT_DECIMAL_AS_INT", irrelevant, "concerns JDBC"},
	{"JDBC_TREAT_TIMESTAMP_NTZ_AS_UTC", irrelevant, "concerns JDBC"},
	{"JDBC_USE_SESSION_TIMEZONE", irrelevant, "concerns JDBC"},
	{"ODBC_TREAT_DECIMAL_AS_INT", irrelevant, "concerns ODBC"},
}

// isSet reports whether each login sets the parameter.
func (p sessionParameter) isSet() bool { return p.pinned != inherited && p.pinned != irrelevant }

// loginParameters are the parameters that a login sets, by name.
func (c Config) loginParameters() map[string]*string {
	set := map[string]*string{}
	for _, parameter := range sessionParameters {
		if parameter.isSet() {
			set[parameter.name] = &parameter.pinned
		}
	}
	if c.TimeZone != "" {
		set["TIMEZONE"] = &c.TimeZone
	}
	for name, value := range map[string]*int{"WEEK_START": c.WeekStart, "WEEK_OF_YEAR_POLICY": c.WeekOfYearPolicy} {
		if value != nil {
			set[name] = new(strconv.Itoa(*value))
		}
	}
	if c.StatementTimeout > 0 {
		set["STATEMENT_TIMEOUT_IN_SECONDS"] = new(strconv.Itoa(max(1, int(c.StatementTimeout/time.Second))))
	}
	return set
}
