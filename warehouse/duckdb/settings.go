package duckdb

import (
	"strings"

	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
)

// setting is a setting of DuckDB that is pinned, whatever the default of
// DuckDB's version or of the way it is built.
type setting struct {
	name  string
	value string // as an SQL literal
	why   string
}

// pinned are the settings that decide about values, names, the order of rows,
// and what a statement may reach, in the order in which they are set. The last
// ones forbid to change the others. Settings that the tests of this package do
// not know of are found by them.
var pinned = []setting{
	// How values are represented and what expressions mean.
	{"TimeZone", "'UTC'", "dates of instants are those of UTC, unless Config.TimeZone names another zone"},
	{"Calendar", "'gregorian'", "dates are of the proleptic Gregorian calendar"},
	{"integer_division", "false", "the quotient of whole numbers keeps its fraction"},
	{"ieee_floating_point_ops", "true", "a division by zero is infinite, and not NULL"},
	{"old_implicit_casting", "false", "text is not compared with numbers by a silent cast"},
	{"disable_timestamptz_casts", "false", "timestamps with and without a zone can be compared"},
	{"scalar_subquery_error_on_multiple_rows", "true", "a subquery of several rows fails instead of choosing one"},
	{"order_by_non_integer_literal", "false", "an order that has no effect fails"},
	{"default_collation", "''", "texts are compared byte by byte"},

	// Names and order.
	{"preserve_identifier_case", "true", "columns keep their names"},
	{"default_order", "'ASC'", "ORDER BY without a direction"},
	{"default_null_order", "'NULLS_LAST'", "ORDER BY without a place for NULLs"},
	{"preserve_insertion_order", "true", "rows of a table come in their order"},

	// Errors and diagnostics.
	{"errors_as_json", "false", "errors are parsed as DuckDB's plain text"},
	{"enable_logging", "false", "statements are not logged"},

	// Performance. This optimizer turns a LIMIT into a join with the rows' numbers,
	// whose ranges are compared with those of each part of the table: the first rows
	// of ten million take eight times as long.
	{"disabled_optimizers", "'late_materialization'", "the first rows of large tables come early"},

	// What a statement may reach.
	{"allow_community_extensions", "false", "only extensions that are built in are used"},
	{"allow_persistent_secrets", "false", "no secrets of the machine are read"},
	{"enable_external_access", "false", "a statement sees no files and no network"},
	{"lock_configuration", "true", "a statement changes no setting"},
}

// startSettings can be set only before the database is opened.
var startSettings = []setting{
	{"autoinstall_known_extensions", "false", "nothing is downloaded"},
	{"autoload_known_extensions", "false", "only extensions that are built in are used"},
	{"allow_unsigned_extensions", "false", "only extensions that are built in are used"},
}

// pin sets the pinned settings of a database, and the time zone unless it is empty.
func pin(db bindings.Database, timeZone string) error {
	statements := make([]string, len(pinned))
	for i, s := range pinned {
		if s.name == "TimeZone" && timeZone != "" {
			s.value = "'" + strings.ReplaceAll(timeZone, "'", "''") + "'"
		}
		statements[i] = "SET GLOBAL " + s.name + " = " + s.value
	}
	return execute(db, statements)
}

// configure sets settings before the database is opened.
func configure(options bindings.Config, settings []setting) error {
	for _, s := range settings {
		if bindings.SetConfig(options, s.name, s.value) == bindings.StateError {
			return &warehouse.Error{Kind: warehouse.KindConfiguration, Object: s.name, Message: "DuckDB refuses the setting " + s.name}
		}
	}
	return nil
}
