package sigmasql

import "strings"

// function is what a called function does to values that depend on more than the tables.
type function uint8

const (
	fnNone      function = iota
	fnAggregate          // an aggregate whose value does not depend on the order of rows
	fnCast               // cast(… as …)
	fnChoice             // iff(condition, a, b)
	fnContext            // its value depends on the session
	fnCount              // count
	fnDay                // a date function without the name of a date part
	fnDayFirst           // a date function that has the name of a date part as its first argument
	fnDayLast            // the same, as its last one
	fnLocal              // it makes a timestamp of the local zone
	fnList               // an aggregate that shows rows in their order
	fnNow                // the present instant
	fnOrdered            // a window function that depends on the order of rows
	fnToday              // the present date or time in the zone of the session
	fnUnstable           // another value at each call
	fnWeek               // the number of a week or of a day in it, as the session counts them
)

// call is a function that is called, with the place of its name.
type call struct {
	span
	fn function
}

// functionNames are the functions that matter. Names that a rule covers are not among them, see contextFunction. A name
// that is not known is one of a function that depends on its arguments alone.
//
// Snowflake: docs.snowflake.com/en/sql-reference/functions-date-time, /functions-window, /functions-aggregation,
// /functions-context, /functions-data-generation. DuckDB: duckdb.org/docs/stable/sql/functions.
var functionNames = map[string]function{
	"cast": fnCast, "try_cast": fnCast, "iff": fnChoice, "if": fnChoice, "count": fnCount, "count_if": fnCount, "countif": fnCount,

	"row_number": fnOrdered, "first_value": fnOrdered, "last_value": fnOrdered, "nth_value": fnOrdered, "lag": fnOrdered,
	"lead": fnOrdered, "ntile": fnOrdered, "conditional_change_event": fnOrdered, "conditional_true_event": fnOrdered,
	"listagg": fnList, "array_agg": fnList, "string_agg": fnList, "group_concat": fnList,
	"any_value": fnUnstable, "random": fnUnstable, "uniform": fnUnstable, "normal": fnUnstable, "zipf": fnUnstable, "randstr": fnUnstable,
	"uuid_string": fnUnstable, "uuid": fnUnstable, "gen_random_uuid": fnUnstable, "seq1": fnUnstable, "seq2": fnUnstable,
	"seq4": fnUnstable, "seq8": fnUnstable,

	"date_trunc": fnDayFirst, "datetrunc": fnDayFirst, "date_part": fnDayFirst, "datepart": fnDayFirst, "extract": fnDayFirst, "datediff": fnDayFirst,
	"date_diff": fnDayFirst, "timediff": fnDayFirst, "timestampdiff": fnDayFirst,
	"last_day": fnDayLast, "time_slice": fnDayLast, "trunc": fnDayLast,
	"to_char": fnDay, "to_varchar": fnDay, "to_date": fnDay, "try_to_date": fnDay, "date": fnDay, "dayname": fnDay, "monthname": fnDay,
	"year": fnDay, "quarter": fnDay, "month": fnDay, "day": fnDay, "dayofmonth": fnDay, "dayofyear": fnDay, "hour": fnDay, "minute": fnDay,
	"dayofweekiso": fnDay, "weekiso": fnDay, "yearofweekiso": fnDay, "strftime": fnDay,
	"week": fnWeek, "weekofyear": fnWeek, "yearofweek": fnWeek, "dayofweek": fnWeek,

	"current_timestamp": fnNow, "getdate": fnNow, "systimestamp": fnNow, "now": fnNow, "get_current_timestamp": fnNow,
	"current_date": fnToday, "current_time": fnToday, "localtime": fnToday, "localtimestamp": fnToday, "today": fnToday,
	"to_timestamp_ltz": fnLocal, "try_to_timestamp_ltz": fnLocal,
	"sysdate": fnContext, "session_user": fnContext, "getvariable": fnContext, "last_query_id": fnContext,
	"last_transaction": fnContext, "invoker_role": fnContext, "invoker_share": fnContext, "is_granted_to_invoker_role": fnContext,
}

// longestFunction is the length of the longest name in functionNames.
var longestFunction = func() (longest int) {
	for name := range functionNames {
		longest = max(longest, len(name))
	}
	return longest
}()

// functionOf returns what the function does whose unquoted name a word is.
func functionOf(word string) function {
	var buffer [64]byte
	if len(word) > len(buffer) {
		return fnNone
	}
	lower := buffer[:len(word)]
	for i := range len(word) {
		lower[i] = word[i]
		if c := word[i]; c >= 'A' && c <= 'Z' {
			lower[i] |= 0x20
		}
	}
	if len(word) <= longestFunction {
		if fn, ok := functionNames[string(lower)]; ok {
			return fn
		}
	}
	switch name := string(lower); {
	case isContextName(name):
		return fnContext
	case strings.HasPrefix(name, "ai_"):
		return fnUnstable
	}
	return fnNone
}

// isContextName reports whether a function's name says that its value depends on the session: CURRENT_ROLE,
// IS_ROLE_IN_SESSION.
func isContextName(name string) bool {
	return strings.HasPrefix(name, "current_") || strings.HasPrefix(name, "is_") && strings.HasSuffix(name, "_in_session")
}

// isBareFunction reports whether a word is a function that is called without brackets. Such words are reserved, so that no
// column has them as its name without quotes.
func (p *parser) isBareFunction(l lexeme) (function, bool) {
	c := p.text[l.Start] | 0x20
	if c != 'c' && c != 'l' && c != 's' {
		return fnNone, false
	}
	for _, word := range bareFunctions {
		if p.isWord(l, word) {
			return functionOf(word), true
		}
	}
	return fnNone, false
}

// bareFunctions are the functions of standard SQL that are called without brackets.
var bareFunctions = [...]string{"current_date", "current_time", "current_timestamp", "current_user", "current_role",
	"current_catalog", "localtime", "localtimestamp", "session_user"}

// isDay reports whether the function's value is a date, or a part of one, in the zone of the session where its argument is an
// instant.
func (fn function) isDay() bool {
	return fn == fnDay || fn == fnDayFirst || fn == fnDayLast || fn == fnWeek
}

// isWeekPart reports whether the name of a date part is a week, or a day in one, as the session counts them. The parts of
// the ISO calendar have names of their own.
func isWeekPart(name string) bool {
	for _, part := range [...]string{"week", "w", "wk", "weekofyear", "woy", "wy", "yearofweek", "dayofweek", "weekday", "dow", "dw"} {
		if strings.EqualFold(name, part) {
			return true
		}
	}
	return false
}
