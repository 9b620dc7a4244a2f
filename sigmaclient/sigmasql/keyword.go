package sigmasql

import "strings"

// keyword is a word that steers the pass over a query. A quoted name never is one, and [parser.meaning] decides by its
// position whether a word that spells one is a name.
type keyword uint8

const (
	kwNone keyword = iota
	kwAggregate
	kwAll
	kwAnd
	kwAs
	kwBy
	kwCase // case and when, which an operand follows
	kwDistinct
	kwEscape
	kwExcept
	kwFetch
	kwFor
	kwFrom
	kwHaving
	kwInto
	kwIntersect
	kwJoin
	kwJoinType // cross, inner and the like, without left
	kwLateral
	kwLeft
	kwLimit
	kwLocking
	kwMaterialized
	kwNot
	kwNull
	kwOffset
	kwOn
	kwOnly
	kwOperator // an infix operator in letters
	kwOrder
	kwOuter
	kwOver
	kwQualify
	kwGroup
	kwRecursive
	kwRows
	kwSample
	kwSelect
	kwSimilar
	kwTimestamp // a function or type name that makes a date or timestamp of a string
	kwTop
	kwUnion
	kwUsing
	kwValues
	kwWhere
	kwWindow
	kwWith
)

// longestKeyword is the length of the longest word that keywordOf knows.
const longestKeyword = len("approx_count_distinct")

// keyword looks a word up that may be one of the dialect's.
func (l *lexicon) keyword(word string) keyword {
	kw := keywordOf(word)
	switch kw {
	case kwTop:
		if !l.topClause {
			return kwNone
		}
	case kwExcept:
		if !l.minus && strings.EqualFold(word, "minus") {
			return kwNone
		}
	case kwOperator:
		if !l.regexpWords && (strings.EqualFold(word, "regexp") || strings.EqualFold(word, "rlike")) {
			return kwNone
		}
	}
	return kw
}

// keywordOf looks a word of any dialect up, in any case.
func keywordOf(word string) keyword {
	if len(word) < 2 || len(word) > longestKeyword {
		return kwNone
	}
	var lower [longestKeyword]byte
	for i := range len(word) {
		c := word[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(word)]) {
	case "count", "sum", "avg", "min", "max", "median", "mode", "any_value", "listagg", "string_agg", "array_agg",
		"object_agg", "count_if", "countif", "percentile_cont", "percentile_disc", "approx_count_distinct",
		"approx_percentile", "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp", "corr",
		"boolor_agg", "booland_agg", "hll":
		return kwAggregate
	case "all":
		return kwAll
	case "and":
		return kwAnd
	case "as":
		return kwAs
	case "by":
		return kwBy
	case "case", "when":
		return kwCase
	case "distinct":
		return kwDistinct
	case "escape":
		return kwEscape
	case "except", "minus":
		return kwExcept
	case "fetch":
		return kwFetch
	case "for":
		return kwFor
	case "from":
		return kwFrom
	case "having":
		return kwHaving
	case "into":
		return kwInto
	case "intersect":
		return kwIntersect
	case "join":
		return kwJoin
	case "cross", "inner", "natural", "full", "right", "asof", "positional", "semi", "anti":
		return kwJoinType
	case "lateral":
		return kwLateral
	case "left":
		return kwLeft
	case "limit":
		return kwLimit
	case "update", "share", "no", "key":
		return kwLocking
	case "materialized":
		return kwMaterialized
	case "not":
		return kwNot
	case "null":
		return kwNull
	case "offset":
		return kwOffset
	case "on":
		return kwOn
	case "only":
		return kwOnly
	case "or", "then", "else", "in", "is", "like", "ilike", "rlike", "regexp", "between":
		return kwOperator
	case "order":
		return kwOrder
	case "outer":
		return kwOuter
	case "over":
		return kwOver
	case "qualify":
		return kwQualify
	case "group":
		return kwGroup
	case "recursive":
		return kwRecursive
	case "row", "rows", "first", "next":
		return kwRows
	case "sample":
		return kwSample
	case "select":
		return kwSelect
	case "similar":
		return kwSimilar
	case "date", "timestamp", "timestamp_ltz", "timestamp_ntz", "timestamp_tz", "timestamptz", "to_date", "to_timestamp",
		"to_timestamp_ltz", "to_timestamp_ntz", "to_timestamp_tz", "try_to_date", "try_to_timestamp",
		"try_to_timestamp_ltz", "try_to_timestamp_ntz", "try_to_timestamp_tz":
		return kwTimestamp
	case "top":
		return kwTop
	case "union":
		return kwUnion
	case "using":
		return kwUsing
	case "values":
		return kwValues
	case "where":
		return kwWhere
	case "window":
		return kwWindow
	case "with":
		return kwWith
	}
	return kwNone
}

// expectsOperand tells whether what follows the word is an expression or a name, so that a word there is a name even
// when it spells a keyword: order by limit.
func (k keyword) expectsOperand() bool {
	switch k {
	case kwAll, kwAnd, kwAs, kwBy, kwCase, kwDistinct, kwEscape, kwExcept, kwFrom, kwHaving, kwIntersect, kwJoin, kwLateral, kwNot, kwOn,
		kwOperator, kwOver, kwQualify, kwSelect, kwSimilar, kwUnion, kwUsing, kwValues, kwWhere, kwWith:
		return true
	}
	return false
}
