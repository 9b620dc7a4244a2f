package snowflake

import (
	"strconv"
	"time"
)

// sessionTimeZone is the time zone of every session.
const sessionTimeZone = "UTC"

// sessionParameter is a session parameter of Snowflake, and what a login does
// about it. Accounts and users may have values of their own, so that a parameter
// that is not set at login has any value.
type sessionParameter struct {
	name string
	// pinned is the value that the login sets, or inherited.
	pinned string
	why    string
}

// inherited marks parameters that the login leaves as they are for the account
// and the user: they decide about the meaning of the SQL, and Sigma, whose SQL it
// is, inherits them as well; or they have no effect on what a query returns.
const inherited = "inherited"

// sessionParameters are all session parameters of
// https://docs.snowflake.com/en/sql-reference/parameters and of the driver. What
// the list lacks is inherited.
var sessionParameters = []sessionParameter{
	// How values are represented.
	{"TIMEZONE", sessionTimeZone, "instants are delivered in UTC"},
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
	{"ERROR_ON_NONDETERMINISTIC_MERGE", inherited, "concerns statements that change data"},
	{"ERROR_ON_NONDETERMINISTIC_UPDATE", inherited, "concerns statements that change data"},
	{"UNSUPPORTED_DDL_ACTION", inherited, "concerns definitions"},
	{"NOORDER_SEQUENCE_AS_DEFAULT", inherited, "concerns definitions"},
	{"ENABLE_GET_DDL_USE_DATA_TYPE_ALIAS", inherited, "concerns the text of definitions"},

	// How a query runs. The rows are the same.
	{"STATEMENT_TIMEOUT_IN_SECONDS", inherited, "the account's limit holds unless Config.StatementTimeout sets one"},
	{"STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", inherited, "the account decides how long queries may wait"},
	{"USE_CACHED_RESULT", inherited, "a cached result has the rows that the query would have"},
	{"ABORT_DETACHED_QUERY", inherited, "the service cancels its own queries"},
	{"QUERY_TAG", inherited, "each statement sets its own"},
	{"MULTI_STATEMENT_COUNT", inherited, "each statement sets 1"},
	{"AUTOCOMMIT", inherited, "queries change nothing, and read what is committed when they begin"},
	{"TRANSACTION_ABORT_ON_ERROR", inherited, "there are no transactions of several statements"},
	{"TRANSACTION_DEFAULT_ISOLATION_LEVEL", inherited, "there are no transactions of several statements"},
	{"LOCK_TIMEOUT", inherited, "queries take no locks"},
	{"HYBRID_TABLE_LOCK_TIMEOUT", inherited, "queries take no locks"},
	{"S3_STAGE_VPCE_DNS_NAME", inherited, "concerns the network of stages"},
	{"ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION", inherited, "concerns unloading"},
	{"CSV_TIMESTAMP_FORMAT", inherited, "concerns downloads from the web interface"},
	{"LOG_LEVEL", inherited, "concerns the account's event table"},
	{"METRIC_LEVEL", inherited, "concerns the account's event table"},
	{"TRACE_LEVEL", inherited, "concerns the account's event table"},
	{"ACTIVE_PYTHON_PROFILER", inherited, "concerns profiling"},
	{"PYTHON_PROFILER_MODULES", inherited, "concerns profiling"},
	{"PYTHON_PROFILER_TARGET_STAGE", inherited, "concerns profiling"},

	// What other drivers, or parts of this one that are not used, take from it.
	{"CLIENT_RESULT_CHUNK_SIZE", inherited, "chunks of every size are read; the size of a message is bounded here"},
	{"CLIENT_PREFETCH_THREADS", inherited, "chunks are read one after the other"},
	{"CLIENT_MEMORY_LIMIT", inherited, "the driver's own download is not used"},
	{"CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", inherited, "there is no heartbeat"},
	{"CLIENT_TIMESTAMP_TYPE_MAPPING", inherited, "concerns bound variables, of which there are none"},
	{"CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX", inherited, "concerns metadata calls of JDBC and ODBC"},
	{"CLIENT_METADATA_USE_SESSION_DATABASE", inherited, "concerns metadata calls of JDBC and ODBC"},
	{"CLIENT_RESULT_COLUMN_CASE_INSENSITIVE", inherited, "concerns JDBC"},
	{"JDBC_TREAT_DECIMAL_AS_INT", inherited, "concerns JDBC"},
	{"JDBC_TREAT_TIMESTAMP_NTZ_AS_UTC", inherited, "concerns JDBC"},
	{"JDBC_USE_SESSION_TIMEZONE", inherited, "concerns JDBC"},
	{"ODBC_TREAT_DECIMAL_AS_INT", inherited, "concerns ODBC"},
}

// loginParameters are the parameters that a login sets, by name.
func (c Config) loginParameters() map[string]*string {
	set := map[string]*string{}
	for _, parameter := range sessionParameters {
		if parameter.pinned != inherited {
			set[parameter.name] = &parameter.pinned
		}
	}
	if c.StatementTimeout > 0 {
		set["STATEMENT_TIMEOUT_IN_SECONDS"] = new(strconv.Itoa(max(1, int(c.StatementTimeout/time.Second))))
	}
	return set
}
