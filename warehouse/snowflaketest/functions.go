package snowflaketest

import (
	"strings"
)

// call translates NAME(arguments). Functions that DuckDB has under the same
// name and meaning pass through.
func (t *translator) call(name string, inner []token) token {
	if value, ok := t.sessionFunction(name); ok {
		return token{kind: raw, text: value}
	}
	switch name {
	case "CAST", "TRY_CAST":
		return token{kind: raw, text: t.castCall(name, inner)}
	case "ARRAY_AGG", "ARRAYAGG", "LISTAGG":
		return token{kind: raw, text: t.aggregate(name, inner, nil)}
	case "ARRAY_CONSTRUCT":
		return token{kind: raw, text: t.arrayConstruct(inner)}
	}
	if name == "IS_ROLE_IN_SESSION" {
		return token{kind: raw, text: t.isRoleInSession(inner)}
	}
	rewrite, known := rewrites[name]
	if !known {
		return token{kind: raw, text: name + "(" + t.sql(inner) + ")"}
	}
	var args []string
	for _, arg := range splitTokens(inner, ",") {
		args = append(args, t.sql(arg))
	}
	return token{kind: raw, text: rewrite(args)}
}

// missing stands for an element that is NULL, until the array is written.
const missing = "$missing$"

func (t *translator) arrayConstruct(inner []token) string {
	var elements []string
	for _, arg := range splitTokens(inner, ",") {
		element := t.sql(arg)
		if t.marksMissing {
			element = "coalesce(to_json(" + element + `), '"` + missing + `"'::JSON)`
		}
		elements = append(elements, element)
	}
	return call("json_array", elements)
}

// castCall translates CAST(x AS type).
func (t *translator) castCall(name string, inner []token) string {
	for i := len(inner) - 1; i > 0; i-- {
		if !inner[i].is("AS") {
			continue
		}
		typ, used := parseType(inner[i+1:])
		if used == 0 {
			break
		}
		if name == "TRY_CAST" {
			return "TRY_CAST(" + t.sql(inner[:i]) + " AS " + typ.duckdb + ")"
		}
		operand := t.nodes(inner[:i])
		if len(operand) == 1 {
			return typ.cast(operand[0])
		}
		return typ.cast(token{kind: raw, text: render(operand)})
	}
	return name + "(" + t.sql(inner) + ")"
}

// ordered translates an aggregate with WITHIN GROUP (ORDER BY …). It reports
// false for one that DuckDB takes as it is.
func (t *translator) ordered(name string, inner, order []token) (string, bool) {
	switch name {
	case "ARRAY_AGG", "ARRAYAGG", "LISTAGG":
		return t.aggregate(name, inner, order), true
	case "PERCENTILE_CONT", "PERCENTILE_DISC":
		// DuckDB refuses these as window functions, but not its own spelling.
		by, fraction := order[min(2, len(order)):], t.sql(inner)
		if last := len(by) - 1; last > 0 && by[last].is("DESC") {
			by, fraction = by[:last], "1 - "+fraction
		} else if last > 0 && by[last].is("ASC") {
			by = by[:last]
		}
		return strings.Replace(strings.ToLower(name), "percentile", "quantile", 1) +
			"(" + t.sql(by) + ", " + fraction + ")", true
	}
	return "", false
}

// aggregate translates ARRAY_AGG and LISTAGG, which leave out NULLs.
func (t *translator) aggregate(name string, inner, order []token) string {
	args := splitTokens(inner, ",")
	if len(args) == 0 {
		return name + "()"
	}
	value, by := t.sql(args[0]), ""
	if len(order) > 0 {
		by = " " + t.sql(order)
	}
	if name != "LISTAGG" {
		plain := args[0]
		if plain[0].is("DISTINCT") {
			plain = plain[1:]
		}
		return "list(" + value + by + ") FILTER (WHERE " + t.sql(plain) + " IS NOT NULL)"
	}
	separator := "''"
	if len(args) > 1 {
		separator = t.sql(args[1])
	}
	return "string_agg(" + value + ", " + separator + by + ")"
}

// sessionFunction answers the context functions from the session.
// https://docs.snowflake.com/en/sql-reference/functions-context
func (t *translator) sessionFunction(name string) (string, bool) {
	value := ""
	switch name {
	case "CURRENT_ACCOUNT":
		value = t.names.locator
	case "CURRENT_ORGANIZATION_NAME":
		value, _, _ = strings.Cut(t.names.account, "-")
	case "CURRENT_ACCOUNT_NAME":
		_, value, _ = strings.Cut(t.names.account, "-")
	case "CURRENT_USER":
		value = t.names.user
	case "CURRENT_ROLE":
		value = t.names.role
	case "CURRENT_SECONDARY_ROLES":
		return quoteText(t.secondaryRoles()), true
	case "CURRENT_WAREHOUSE":
		value = t.names.warehouse
	case "CURRENT_DATABASE":
		value = t.names.database
	case "CURRENT_SCHEMA":
		value = t.names.schema
	case "CURRENT_SESSION":
		value = t.names.session
	case "CURRENT_VERSION":
		value = serverVersion
	case "CURRENT_REGION":
		value = "LOOPBACK"
	case "CURRENT_TIMESTAMP", "GETDATE", "SYSTIMESTAMP", "LOCALTIMESTAMP":
		return "now()", true
	case "SYSDATE":
		return "(now() AT TIME ZONE 'UTC')", true
	case "CURRENT_DATE", "CURRENT_TIME":
		return name, true
	default:
		return "", false
	}
	if value == "" {
		return "CAST(NULL AS VARCHAR)", true
	}
	return quoteText(value), true
}

// secondaryRoles is the value of CURRENT_SECONDARY_ROLES: JSON with the names of the
// roles and, where all are active, ALL.
func (t *translator) secondaryRoles() string {
	var others []string
	for _, role := range t.names.activeRoles()[1:] {
		if role != t.names.role {
			others = append(others, role)
		}
	}
	value := ""
	if t.names.secondary == "ALL" {
		value = "ALL"
	}
	return `{"roles":"` + strings.Join(others, ",") + `","value":"` + value + `"}`
}

// isRoleInSession reports whether a role, named by a constant, is active.
func (t *translator) isRoleInSession(inner []token) string {
	if len(inner) == 1 && inner[0].kind == text && containsFold(t.names.activeRoles(), inner[0].text) {
		return "TRUE"
	}
	return "FALSE"
}

// rewrites are the functions that DuckDB lacks or understands differently, by
// their name in Snowflake.
var rewrites = map[string]func(a []string) string{
	"IFF":        template("CASE WHEN $1 THEN $2 ELSE $3 END"),
	"NVL2":       template("CASE WHEN $1 IS NOT NULL THEN $2 ELSE $3 END"),
	"EQUAL_NULL": template("($1 IS NOT DISTINCT FROM $2)"),
	"DIV0":       template("CASE WHEN $2 = 0 THEN 0 ELSE $1 / ($2) END"),
	"DIV0NULL":   template("CASE WHEN coalesce($2, 0) = 0 THEN 0 ELSE $1 / ($2) END"),
	"NVL":        renamed("coalesce"),
	"IFNULL":     renamed("coalesce"),
	"ZEROIFNULL": func(a []string) string { return call("coalesce", append(a, "0")) },
	"NULLIFZERO": func(a []string) string { return call("nullif", append(a, "0")) },
	"CONCAT":     func(a []string) string { return "(" + strings.Join(a, " || ") + ")" },
	"LEN":        renamed("length"),
	"STARTSWITH": renamed("starts_with"),
	"ENDSWITH":   renamed("ends_with"),
	"CHARINDEX":  func(a []string) string { return call("strpos", swapped(a)) },
	"POSITION": func(a []string) string {
		if len(a) == 1 { // POSITION(a IN b)
			return call("position", a)
		}
		return call("strpos", swapped(a))
	},
	"RLIKE":            renamed("regexp_full_match"),
	"REGEXP_LIKE":      renamed("regexp_full_match"),
	"REGEXP_SUBSTR":    renamed("regexp_extract"),
	"REGEXP_REPLACE":   regexpReplace,
	"BOOLAND_AGG":      renamed("bool_and"),
	"BOOLOR_AGG":       renamed("bool_or"),
	"SEQ1":             sequence,
	"SEQ2":             sequence,
	"SEQ4":             sequence,
	"SEQ8":             sequence,
	"PARSE_JSON":       castTo("JSON"),
	"TRY_PARSE_JSON":   tryCastTo("JSON"),
	"TO_VARIANT":       renamed("to_json"),
	"TO_JSON":          castTo("VARCHAR"),
	"ST_MAKEPOINT":     func(a []string) string { return point(geographyStruct, a) },
	"ST_MAKEGEOMPOINT": func(a []string) string { return point(geometryStruct, a) },
	// A merge patch drops the pairs whose value is NULL, as OBJECT_CONSTRUCT does.
	"OBJECT_CONSTRUCT":           func(a []string) string { return "json_merge_patch('{}', " + call("json_object", a) + ")" },
	"OBJECT_CONSTRUCT_KEEP_NULL": renamed("json_object"),
	"TO_DATE":                    toDate,
	"DATE":                       castTo("DATE"),
	"TRY_TO_DATE":                tryCastTo("DATE"),
	"TO_TIME":                    castTo("TIME"),
	"TIME":                       castTo("TIME"),
	"TO_TIMESTAMP":               toTimestamp("TIMESTAMP"),
	"TO_TIMESTAMP_NTZ":           toTimestamp("TIMESTAMP"),
	"TO_TIMESTAMP_LTZ":           toTimestamp("TIMESTAMPTZ"),
	"TRY_TO_TIMESTAMP":           tryCastTo("TIMESTAMP"),
	"TRY_TO_TIMESTAMP_NTZ":       tryCastTo("TIMESTAMP"),
	"TRY_TO_TIMESTAMP_LTZ":       tryCastTo("TIMESTAMPTZ"),
	"TO_TIMESTAMP_TZ":            renamed("SF_TO_TIMESTAMP_TZ"),
	"TO_NUMBER":                  toDecimal("CAST"),
	"TO_DECIMAL":                 toDecimal("CAST"),
	"TO_NUMERIC":                 toDecimal("CAST"),
	"TRY_TO_NUMBER":              toDecimal("TRY_CAST"),
	"TRY_TO_DECIMAL":             toDecimal("TRY_CAST"),
	"TO_DOUBLE":                  castTo("DOUBLE"),
	"TRY_TO_DOUBLE":              tryCastTo("DOUBLE"),
	"TO_BOOLEAN":                 castTo("BOOLEAN"),
	"TO_VARCHAR":                 toVarchar,
	"TO_CHAR":                    toVarchar,
	"TO_BINARY":                  toBinary,
	"DATE_TRUNC":                 dateTrunc,
	"DATE_PART":                  dateOfPart,
	"LAST_DAY":                   lastDay,
	"WEEK":                       renamed("SF_WEEK_NUMBER"),
	"WEEKOFYEAR":                 renamed("SF_WEEK_NUMBER"),
	"YEAROFWEEK":                 renamed("SF_YEAR_OF_WEEK"),
	"DAYOFWEEK":                  renamed("SF_DAY_OF_WEEK"),
	"CONVERT_TIMEZONE":           convertTimezone,
	"DATEDIFF":                   dateDiff,
	"TIMESTAMPDIFF":              dateDiff,
	"TIMEDIFF":                   dateDiff,
	"DATEADD":                    dateAdd,
	"TIMESTAMPADD":               dateAdd,
	"TIMEADD":                    dateAdd,
	"ADD_MONTHS":                 func(a []string) string { return call("SF_ADD_MONTHS", a) },
	"DAYNAME":                    func(a []string) string { return "left(" + call("dayname", a) + ", 3)" },
	"MONTHNAME":                  func(a []string) string { return "left(" + call("monthname", a) + ", 3)" },
}

// Points are the only shapes: a structure of two numbers.
const (
	geographyStruct = `STRUCT("$longitude" DOUBLE, "$latitude" DOUBLE)`
	geometryStruct  = `STRUCT("$x" DOUBLE, "$y" DOUBLE)`
)

func point(typ string, a []string) string {
	return "CAST(row(" + strings.Join(a, ", ") + ") AS " + typ + ")"
}

func call(name string, args []string) string { return name + "(" + strings.Join(args, ", ") + ")" }

func swapped(a []string) []string {
	if len(a) < 2 {
		return a
	}
	return []string{a[1], a[0]}
}

func renamed(name string) func([]string) string {
	return func(a []string) string { return call(name, a) }
}

func castTo(typ string) func([]string) string {
	return func(a []string) string { return "CAST(" + strings.Join(a, ", ") + " AS " + typ + ")" }
}

func tryCastTo(typ string) func([]string) string {
	return func(a []string) string { return "TRY_CAST(" + strings.Join(a, ", ") + " AS " + typ + ")" }
}

// template puts the arguments in the places of $1, $2 and so on. A missing one
// leaves its place empty, which DuckDB refuses as a syntax error.
func template(text string) func([]string) string {
	return func(a []string) string {
		a = append(a, "", "", "")
		return strings.NewReplacer("$1", a[0], "$2", a[1], "$3", a[2]).Replace(text)
	}
}

// generatorColumn holds the numbers of TABLE(GENERATOR(…)).
const generatorColumn = `"SF$SEQ"`

func sequence([]string) string { return generatorColumn }

func regexpReplace(a []string) string {
	if len(a) == 2 {
		a = append(a, "''")
	}
	return call("regexp_replace", append(a, "'g'"))
}

// toDate casts, or reads text by a format.
func toDate(a []string) string {
	if len(a) == 2 && strings.HasPrefix(a[1], "'") {
		return "CAST(strptime(" + a[0] + ", " + timeFormat.Replace(a[1]) + ") AS DATE)"
	}
	return castTo("DATE")(a)
}

// toTimestamp casts text and dates; a number is seconds since 1970.
func toTimestamp(typ string) func([]string) string {
	return func(a []string) string {
		if len(a) == 1 && a[0] != "" && strings.Trim(a[0], "0123456789") == "" {
			return "CAST(to_timestamp(" + a[0] + ") AT TIME ZONE 'UTC' AS " + typ + ")"
		}
		if typ == "TIMESTAMPTZ" && len(a) > 0 && strings.HasPrefix(a[0], "'") {
			return sqlTypes["TIMESTAMP_LTZ"].cast(token{kind: text, text: strings.ReplaceAll(a[0][1:len(a[0])-1], "''", "'")})
		}
		return castTo(typ)(a[:min(1, len(a))])
	}
}

func toDecimal(cast string) func([]string) string {
	return func(a []string) string {
		precision, scale := "38", "0"
		if len(a) > 1 {
			precision = a[1]
		}
		if len(a) > 2 {
			scale = a[2]
		}
		return cast + "(" + strings.Join(a[:min(1, len(a))], "") + " AS DECIMAL(" + precision + "," + scale + "))"
	}
}

func toVarchar(a []string) string {
	if len(a) == 2 && strings.HasPrefix(a[1], "'") {
		return "strftime(" + a[0] + ", " + timeFormat.Replace(a[1]) + ")"
	}
	return call("SF_TO_VARCHAR", a)
}

// timeFormat turns Snowflake's date formats into strftime's.
var timeFormat = strings.NewReplacer("YYYY", "%Y", "YY", "%y", "MMMM", "%B", "MON", "%b", "MM", "%m", "DD", "%d", "DY", "%a",
	"HH24", "%H", "HH12", "%I", "MI", "%M", "SS", "%S", "FF3", "%g", "FF6", "%f", "FF9", "%n", "FF", "%n",
	"AM", "%p", "PM", "%p", "TZHTZM", "%z", "TZH:TZM", "%z")

func toBinary(a []string) string {
	if len(a) == 1 {
		return call("SF_TO_BINARY", a)
	}
	format := ""
	if len(a) == 2 {
		format = strings.ToUpper(strings.Trim(a[1], "'"))
	}
	switch {
	case strings.HasPrefix(format, "UTF"):
		return call("encode", a[:1])
	case format == "BASE64":
		return call("from_base64", a[:1])
	}
	return call("unhex", a[:min(1, len(a))])
}

// datePart normalizes a date part, bare or as a string.
// https://docs.snowflake.com/en/sql-reference/functions-date-time#supported-date-and-time-parts
func datePart(s string) string {
	s = strings.ToLower(strings.Trim(s, `'"`))
	switch s {
	case "y", "yy", "yyy", "yyyy", "yr", "years", "yrs":
		return "year"
	case "q", "qtr", "qtrs", "quarters":
		return "quarter"
	case "mm", "mon", "mons", "months":
		return "month"
	case "w", "wk", "wy", "weekofyear", "woy", "weeks":
		return "week"
	case "d", "dd", "days", "dayofmonth":
		return "day"
	case "h", "hh", "hr", "hours", "hrs":
		return "hour"
	case "m", "mi", "min", "minutes", "mins":
		return "minute"
	case "s", "sec", "seconds", "secs":
		return "second"
	case "ms", "msec", "milliseconds":
		return "millisecond"
	case "us", "usec", "microseconds":
		return "microsecond"
	case "dw", "weekday", "dow", "dayofweek":
		return "dayofweek"
	case "dayofweek_iso", "dayofweekiso", "weekday_iso", "dow_iso", "dw_iso":
		return "isodow"
	case "week_iso", "weekiso", "weekofyear_iso", "weekofyeariso", "woy_iso":
		return "weekofyear" // what DuckDB calls the week of ISO 8601, besides "week"
	case "yearofweek_iso", "yearofweekiso":
		return "isoyear"
	case "doy", "dayofyear", "yearday", "dy":
		return "dayofyear"
	case "epoch_second", "epoch", "epoch_seconds":
		return "epoch"
	}
	return s
}

// withPart translates a function whose first argument is a date part.
func withPart(name string, a []string) string {
	if len(a) == 0 {
		return call(name, a)
	}
	return call(name, append([]string{quoteText(datePart(a[0]))}, a[1:]...))
}

// dateTrunc begins weeks on the day of WEEK_START.
func dateTrunc(a []string) string {
	if len(a) == 2 && datePart(a[0]) == "week" {
		return call("SF_WEEK_TRUNC", a[1:])
	}
	return withPart("SF_DATE_TRUNC", a)
}

// dateOfPart counts weeks and their days by WEEK_START and WEEK_OF_YEAR_POLICY.
func dateOfPart(a []string) string {
	if len(a) == 2 {
		switch datePart(a[0]) {
		case "epoch":
			return "CAST(floor(date_part('epoch', " + a[1] + ")) AS BIGINT)"
		case "week":
			return call("SF_WEEK_NUMBER", a[1:])
		case "yearofweek":
			return call("SF_YEAR_OF_WEEK", a[1:])
		case "dayofweek":
			return call("SF_DAY_OF_WEEK", a[1:])
		}
	}
	return withPart("date_part", a)
}

func lastDay(a []string) string {
	part := "month"
	if len(a) == 2 {
		part = datePart(a[1])
	}
	switch {
	case len(a) == 0:
		return call("last_day", a)
	case part == "week":
		return "(SF_WEEK_BEGIN(" + a[0] + ") + 6)"
	case part == "month":
		return call("last_day", a[:1])
	}
	return "CAST(date_trunc(" + quoteText(part) + ", CAST(" + a[0] + " AS DATE)) + to_" + part + "s(1) - to_days(1) AS DATE)"
}

// convertTimezone knows the form of three arguments, which takes and returns what has
// no zone.
func convertTimezone(a []string) string {
	if len(a) != 3 {
		return call("CONVERT_TIMEZONE", a)
	}
	return "((CAST(" + a[2] + " AS TIMESTAMP) AT TIME ZONE " + a[0] + ") AT TIME ZONE " + a[1] + ")"
}

// dateDiff counts the boundaries between two dates. DuckDB counts weeks from
// the earlier date instead.
func dateDiff(a []string) string {
	if len(a) == 3 && datePart(a[0]) == "week" {
		return "((SF_WEEK_BEGIN(" + a[2] + ") - SF_WEEK_BEGIN(" + a[1] + ")) // 7)"
	}
	return withPart("date_diff", a)
}

func dateAdd(a []string) string {
	if len(a) != 3 {
		return call("DATEADD", a)
	}
	n := "CAST(" + a[1] + " AS INTEGER)"
	switch part := datePart(a[0]); part {
	case "year":
		return call("SF_ADD_MONTHS", []string{a[2], "12 * " + n})
	case "quarter":
		return call("SF_ADD_MONTHS", []string{a[2], "3 * " + n})
	case "month":
		return call("SF_ADD_MONTHS", []string{a[2], n})
	case "week":
		return call("SF_ADD_DAYS", []string{a[2], "7 * " + n})
	case "day":
		return call("SF_ADD_DAYS", []string{a[2], n})
	default:
		return "(" + a[2] + " + to_" + part + "s(CAST(" + a[1] + " AS BIGINT)))"
	}
}
