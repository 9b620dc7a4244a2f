package snowflaketest

import (
	"fmt"
	"strings"
)

// sqlType is a type name in Snowflake's SQL.
type sqlType struct {
	duckdb  string // DuckDB's type
	kind    sqlTypeKind
	literal bool // DATE '…' is a literal of the type
}

type sqlTypeKind int

const (
	plainType sqlTypeKind = iota
	textType
	variantType
	timestampTZType
	binaryType
)

var sqlTypes = map[string]sqlType{
	"INT": {duckdb: "BIGINT"}, "INTEGER": {duckdb: "BIGINT"}, "BIGINT": {duckdb: "BIGINT"},
	"SMALLINT": {duckdb: "BIGINT"}, "TINYINT": {duckdb: "BIGINT"}, "BYTEINT": {duckdb: "BIGINT"},
	"FLOAT": {duckdb: "DOUBLE"}, "FLOAT4": {duckdb: "DOUBLE"}, "FLOAT8": {duckdb: "DOUBLE"},
	"DOUBLE": {duckdb: "DOUBLE"}, "REAL": {duckdb: "DOUBLE"},
	"TEXT": {duckdb: "VARCHAR", kind: textType}, "STRING": {duckdb: "VARCHAR", kind: textType},
	"VARCHAR": {duckdb: "VARCHAR", kind: textType}, "CHAR": {duckdb: "VARCHAR", kind: textType},
	"CHARACTER": {duckdb: "VARCHAR", kind: textType}, "NVARCHAR": {duckdb: "VARCHAR", kind: textType},
	"BINARY": {duckdb: "BLOB", kind: binaryType}, "VARBINARY": {duckdb: "BLOB", kind: binaryType},
	"BOOLEAN":       {duckdb: "BOOLEAN"},
	"DATE":          {duckdb: "DATE", literal: true},
	"TIME":          {duckdb: "TIME", literal: true},
	"DATETIME":      {duckdb: "TIMESTAMP", literal: true},
	"TIMESTAMP":     {duckdb: "TIMESTAMP", literal: true},
	"TIMESTAMP_NTZ": {duckdb: "TIMESTAMP", literal: true}, "TIMESTAMPNTZ": {duckdb: "TIMESTAMP", literal: true},
	"TIMESTAMP_LTZ": {duckdb: "TIMESTAMPTZ", literal: true}, "TIMESTAMPLTZ": {duckdb: "TIMESTAMPTZ", literal: true},
	"TIMESTAMP_TZ": {duckdb: timestampTZStruct, kind: timestampTZType, literal: true},
	"TIMESTAMPTZ":  {duckdb: timestampTZStruct, kind: timestampTZType, literal: true},
	"VARIANT":      {duckdb: "JSON", kind: variantType},
	"OBJECT":       {duckdb: "JSON"}, "ARRAY": {duckdb: "JSON"},
}

// parseType reads a type with its arguments and returns how many nodes it has,
// 0 where there is none.
func parseType(in []token) (sqlType, int) {
	if len(in) == 0 || in[0].kind != word {
		return sqlType{}, 0
	}
	var args []token
	used := 1
	if len(in) > 1 && in[1].kind == group {
		args, used = in[1].inner, 2
	}
	name := strings.ToUpper(in[0].text)
	switch name {
	case "NUMBER", "DECIMAL", "NUMERIC":
		return sqlType{duckdb: decimalType(args)}, used
	case "VECTOR":
		if typ := vectorType(args); typ.duckdb != "" {
			return typ, used
		}
	case "DOUBLE":
		if len(in) > 1 && in[1].is("PRECISION") {
			return sqlTypes["DOUBLE"], 2
		}
	case "DATETIME", "TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMPNTZ":
		if len(args) == 1 {
			// DuckDB has whole seconds and milliseconds as types of their own,
			// so that these two scales come out as Snowflake encodes them.
			switch args[0].text {
			case "0":
				return sqlType{duckdb: "TIMESTAMP_S", literal: true}, used
			case "3":
				return sqlType{duckdb: "TIMESTAMP_MS", literal: true}, used
			}
		}
	}
	typ, known := sqlTypes[name]
	if !known {
		return sqlType{}, 0
	}
	return typ, used
}

// vectorType reads the element and the dimension of VECTOR(FLOAT, 3).
func vectorType(args []token) sqlType {
	parts := splitTokens(args, ",")
	if len(parts) != 2 || len(parts[0]) != 1 || len(parts[1]) != 1 {
		return sqlType{}
	}
	element := "INTEGER"
	if parts[0][0].is("FLOAT") {
		element = "FLOAT"
	}
	return sqlType{duckdb: element + "[" + parts[1][0].text + "]"}
}

func decimalType(args []token) string {
	precision, scale := "38", "0"
	parts := splitTokens(args, ",")
	if len(parts) > 0 && len(parts[0]) == 1 {
		precision = parts[0][0].text
	}
	if len(parts) > 1 && len(parts[1]) == 1 {
		scale = parts[1][0].text
	}
	return fmt.Sprintf("DECIMAL(%s,%s)", precision, scale)
}

// cast returns the DuckDB text of a cast to the type.
func (typ sqlType) cast(operand token) string {
	o := renderOne(operand)
	null := operand.is("NULL")
	switch {
	case typ.duckdb == "":
		return o // an unknown type: DuckDB says so itself below the cast
	case typ.kind == timestampTZType && !null:
		return "SF_TO_TIMESTAMP_TZ(" + o + ")"
	case typ.duckdb == "TIMESTAMPTZ" && operand.kind == text:
		// DuckDB wants +02:30 at once after the time, Snowflake also takes +0230.
		o = "SF_NORMAL_ZONE(" + o + ")"
	case typ.duckdb == "TIMESTAMPTZ" && !null:
		return "SF_TO_LTZ(" + o + ")"
	case typ.kind == binaryType && !null:
		return "SF_TO_BINARY(" + o + ")"
	case typ.kind == variantType && !null:
		return "to_json(" + o + ")"
	case typ.kind == textType && !null && operand.kind != text:
		return "SF_TO_VARCHAR(" + o + ")"
	}
	return "CAST(" + o + " AS " + typ.duckdb + ")"
}
