package shapes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// Limits of a SQL text's shape.
const (
	maxTokens   = 20000 // of a text; the rest is cut off
	maxConstant = 60    // characters of a string constant
)

// isSQL reports whether a text is a query.
func isSQL(text string) bool {
	if len(text) < len("select 1") {
		return false
	}
	for token := range sigmasql.Tokens(text, sigmasql.Snowflake) {
		switch token.Kind {
		case sigmasql.Space, sigmasql.LineComment, sigmasql.BlockComment:
			continue
		case sigmasql.Word:
			word := text[token.Start:token.End]
			return strings.EqualFold(word, "select") || strings.EqualFold(word, "with")
		}
		if text[token.Start] != '(' {
			return false
		}
	}
	return false
}

// SQL returns the shape of a SQL text. Known words of SQL and punctuation stay. A name
// is ID1, ID2 and so on, the same name the same number; a quoted name has its quotes;
// a name before a parenthesis is FN1. In a string constant each letter is x and each
// digit 9. A number is 9 or 9.9, except 0, 1 and the usual limits. A comment is empty.
func SQL(text string) string {
	s := sqlShape{names: map[string]string{}}
	tokens := 0
	for token := range sigmasql.Tokens(text, sigmasql.Snowflake) {
		if tokens++; tokens > maxTokens {
			s.out.WriteString(" …")
			break
		}
		s.token(token.Kind, text[token.Start:token.End], text[token.End:])
	}
	return strings.TrimSpace(s.out.String())
}

type sqlShape struct {
	out       strings.Builder
	names     map[string]string // by the name as written, unquoted ones in upper case
	functions int
	last      string // the last token but spaces
}

func (s *sqlShape) token(kind sigmasql.Kind, text, rest string) {
	shape := text
	switch kind {
	case sigmasql.Space:
		s.out.WriteByte(' ')
		return
	case sigmasql.LineComment:
		s.out.WriteString("--")
		return
	case sigmasql.BlockComment:
		s.out.WriteString("/**/")
		return
	case sigmasql.Word:
		shape = s.word(text, strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "("))
	case sigmasql.Identifier:
		shape = `"` + s.name(text, "ID") + `"`
	case sigmasql.String:
		shape = "'" + constant(text) + "'"
	case sigmasql.Number:
		shape = s.number(text)
	case sigmasql.Punctuation:
		if text[0] < ' ' || text[0] > '~' {
			shape = "?"
		}
	}
	s.out.WriteString(shape)
	s.last = shape
}

func (s *sqlShape) word(text string, isCall bool) string {
	lower := strings.ToLower(text)
	if sqlWords[lower] {
		return lower
	}
	if isCall {
		return s.name(strings.ToUpper(text)+"(", "FN")
	}
	return s.name(strings.ToUpper(text), "ID")
}

func (s *sqlShape) name(name, prefix string) string {
	if shape, known := s.names[name]; known {
		return shape
	}
	n := len(s.names) - s.functions + 1
	if prefix == "FN" {
		s.functions++
		n = s.functions
	}
	s.names[name] = fmt.Sprintf("%s%d", prefix, n)
	return s.names[name]
}

func (s *sqlShape) number(text string) string {
	if text == "0" || text == "1" {
		return text
	}
	n, err := strconv.Atoi(text)
	if err == nil && (s.last == "limit" || s.last == "top" || s.last == "offset") && isUsualLimit(n) {
		return text
	}
	if strings.ContainsAny(text, ".eE") {
		return "9.9"
	}
	return "9"
}

// isUsualLimit reports whether a limit can be one that a program writes, as Sigma
// does: a multiple of 100, or one more, up to a million.
func isUsualLimit(n int) bool { return n >= 100 && n <= 1_000_001 && n%100 <= 1 }

// constant returns the shape of a string constant, without its delimiters.
func constant(text string) string {
	var out strings.Builder
	n := 0
	for _, r := range strings.Trim(text, "'$") {
		if n++; n > maxConstant {
			out.WriteString("…")
			break
		}
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r):
			out.WriteByte('x')
		case unicode.IsNumber(r):
			out.WriteByte('9')
		case r >= ' ' && r <= '~' && r != '\'':
			out.WriteRune(r)
		default:
			out.WriteByte('?')
		}
	}
	return out.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sqlWords are words of SQL: of the language, of types, of parts of dates, and the
// functions that the warehouses themselves have. A word that is missing here appears
// as ID or FN with a number.
var sqlWords = wordSet(`
	select distinct all from where group by having qualify order asc desc nulls first last limit top offset fetch next row
	rows only with recursive as union intersect except minus join inner left right full outer cross natural lateral asof
	match_condition on using and or not in exists between like ilike rlike regexp any some is null true false case when
	then else end cast try_cast over partition range groups unbounded preceding following current ignore respect within
	filter window values table tablesample sample bernoulli system seed pivot unpivot for at before version include
	exclude rename replace escape collate interval grouping sets cube rollup materialized
	array boolean bool number decimal numeric int integer bigint smallint tinyint byteint float float4 float8 double
	precision real varchar char character string text binary varbinary date datetime time timestamp timestamp_ntz
	timestamp_ltz timestamp_tz timestampntz timestampltz timestamptz variant object geography geometry vector map uuid
	hugeint ubigint uinteger json zone without
	year years yyyy quarter quarters qtr month months mon week weeks weekiso week_iso isoweek day days dayofweek dow
	dayofweekiso dayofweek_iso weekday weekday_iso dayofyear doy yearofweek yearofweekiso weekofyear weekofyeariso hour
	hours minute minutes second seconds millisecond milliseconds microsecond microseconds nanosecond nanoseconds epoch
	epoch_second epoch_seconds epoch_millisecond epoch_microsecond epoch_nanosecond timezone_hour timezone_minute isoyear
	isodow
	abs ceil ceiling floor round trunc truncate sign sqrt cbrt exp ln log power pow mod div0 div0null greatest least
	greatest_ignore_nulls least_ignore_nulls sin cos tan asin acos atan atan2 sinh cosh tanh cot degrees radians pi
	random uniform randstr normal zipf seq1 seq2 seq4 seq8 uuid_string width_bucket haversine factorial square
	bitand bitor bitxor bitnot bitshiftleft bitshiftright
	concat concat_ws contains startswith endswith starts_with ends_with lower upper initcap trim ltrim rtrim lpad rpad
	length len octet_length bit_length substr substring position charindex instr repeat reverse space split split_part
	split_to_table strtok strtok_to_array translate regexp_replace regexp_substr regexp_substr_all regexp_count
	regexp_instr regexp_like regexp_matches ascii chr unicode soundex editdistance jarowinkler_similarity levenshtein
	md5 md5_hex sha1 sha1_hex sha2 sha2_hex hash hex_encode hex_decode_string base64_encode base64_decode_string to_hex
	parse_url try_parse_json parse_json check_json to_json to_variant to_array to_object object_construct
	object_construct_keep_null object_keys object_insert object_delete object_pick array_construct array_size array_cat
	array_append array_compact array_contains array_distinct array_position array_slice array_to_string array_sort
	array_intersection arrays_overlap array_generate_range flatten input path outer mode get get_path get_ignore_case
	typeof is_null_value as_varchar as_number as_integer as_date as_array as_object strip_null_value
	to_char to_varchar to_number to_decimal to_numeric to_double to_boolean to_date to_time to_timestamp to_timestamp_ntz
	to_timestamp_ltz to_timestamp_tz to_binary try_to_number try_to_decimal try_to_numeric try_to_double try_to_boolean
	try_to_date try_to_time try_to_timestamp try_to_timestamp_ntz try_to_timestamp_ltz try_to_timestamp_tz try_to_binary
	date_trunc date_part datediff timediff timestampdiff dateadd timeadd timestampadd date_from_parts time_from_parts
	timestamp_from_parts timestamp_ntz_from_parts timestamp_ltz_from_parts timestamp_tz_from_parts last_day next_day
	previous_day add_months months_between monthname dayname time_slice convert_timezone extract dayofmonth
	current_date current_time current_timestamp localtime localtimestamp getdate sysdate systimestamp now today
	current_user current_role current_secondary_roles current_available_roles current_account current_account_name
	current_organization_name current_region current_session current_statement current_transaction current_version
	current_warehouse current_database current_schema current_schemas is_role_in_session current_timezone
	current_setting timezone strftime strptime make_date make_timestamp make_timestamptz date_diff date_add epoch_ms
	coalesce nullif ifnull nvl nvl2 zeroifnull nullifzero iff if decode equal_null booland boolor boolxor
	count count_if countif sum avg min max median any_value listagg string_agg array_agg array_unique_agg object_agg
	percentile_cont percentile_disc approx_count_distinct approx_percentile approx_top_k hll stddev stddev_pop
	stddev_samp variance var_pop var_samp variance_pop variance_samp corr covar_pop covar_samp regr_slope regr_intercept
	regr_r2 kurtosis skew booland_agg boolor_agg boolxor_agg bitand_agg bitor_agg min_by max_by arg_min arg_max grouping_id
	row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
	ratio_to_report conditional_change_event conditional_true_event generator rowcount timelimit table_function result_scan
	unnest generate_series range list struct row_to_json quantile_cont quantile_disc
	st_makepoint st_point st_distance st_dwithin st_contains st_intersects st_within st_x st_y st_astext st_aswkt
	st_asgeojson st_geographyfromtext to_geography to_geometry
	ai_complete ai_classify ai_filter ai_agg ai_summarize_agg ai_similarity ai_embed ai_extract ai_sentiment snowflake
	cortex complete sentiment summarize extract_answer`)
