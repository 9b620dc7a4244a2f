package snowflaketest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// column is a column of a result: its logical type in Snowflake's words and
// how it is taken from DuckDB.
type column struct {
	name             string
	kind             columnKind
	precision, scale int64
	projection       string // DuckDB expression over ?, see projection
	dimension        int    // of a vector
	ofFloats         bool   // a vector's elements
	indent           int    // of semi-structured values: spaces a level; 0: no white space
}

type columnKind string

// The logical types, as rowtype names them.
const (
	fixedColumn        columnKind = "fixed"
	realColumn         columnKind = "real"
	textColumn         columnKind = "text"
	booleanColumn      columnKind = "boolean"
	dateColumn         columnKind = "date"
	timeColumn         columnKind = "time"
	timestampNTZColumn columnKind = "timestamp_ntz"
	timestampLTZColumn columnKind = "timestamp_ltz"
	timestampTZColumn  columnKind = "timestamp_tz"
	binaryColumn       columnKind = "binary"
	variantColumn      columnKind = "variant"
	objectColumn       columnKind = "object"
	arrayColumn        columnKind = "array"
	vectorColumn       columnKind = "vector"
)

// Sizes that Snowflake gives columns without a declared one.
const (
	maxTextLength   = 16777216
	maxBinaryLength = 8388608
	maxScale        = 9 // of times and timestamps: nanoseconds
)

// columnOf maps a DuckDB type, as DESCRIBE spells it, to Snowflake's, for a
// session with the given parameters.
func columnOf(name, typ string, parameters map[string]string) (column, error) {
	c := column{name: name, projection: "?"}
	if n, err := strconv.Atoi(parameters["JSON_INDENT"]); err == nil {
		c.indent = n
	}
	switch {
	case typ == geographyStruct:
		return c.point(parameters["GEOGRAPHY_OUTPUT_FORMAT"], `?."$longitude"`, `?."$latitude"`), nil
	case typ == geometryStruct:
		return c.point(parameters["GEOMETRY_OUTPUT_FORMAT"], `?."$x"`, `?."$y"`), nil
	case vectorTypes.MatchString(typ):
		m := vectorTypes.FindStringSubmatch(typ)
		c.kind, c.ofFloats, c.projection = vectorColumn, m[1] == "FLOAT", "CAST(to_json(?) AS VARCHAR)"
		var err error
		c.dimension, err = strconv.Atoi(m[2])
		return c, err
	case strings.HasPrefix(typ, "DECIMAL("):
		p, s, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(typ, "DECIMAL("), ")"), ",")
		var err error
		if c.precision, err = strconv.ParseInt(p, 10, 64); err != nil {
			return column{}, fmt.Errorf("type %s: %w", typ, err)
		}
		if c.scale, err = strconv.ParseInt(s, 10, 64); err != nil {
			return column{}, fmt.Errorf("type %s: %w", typ, err)
		}
		c.kind = fixedColumn
		return c, nil
	case typ == strings.ReplaceAll(timestampTZStruct, "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"):
		c.kind, c.scale = timestampTZColumn, maxScale
		// Instant and offset in one exact number: microseconds times 4096 plus
		// the offset as Snowflake writes it, minutes plus 1440.
		c.projection = `CAST(epoch_us(?."$instant") AS HUGEINT) * 4096 + ?."$offset" + 1440`
		return c, nil
	case strings.HasSuffix(typ, "]"):
		c.kind, c.projection = arrayColumn, "CAST(to_json(?) AS VARCHAR)"
		return c, nil
	case strings.HasPrefix(typ, "STRUCT("), strings.HasPrefix(typ, "MAP("):
		c.kind, c.projection = objectColumn, "CAST(to_json(?) AS VARCHAR)"
		return c, nil
	case strings.HasPrefix(typ, "ENUM("):
		c.kind, c.projection = textColumn, "CAST(? AS VARCHAR)"
		return c, nil
	}
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		c.kind, c.precision, c.projection = fixedColumn, 38, "CAST(? AS BIGINT)"
	case "UBIGINT", "HUGEINT", "UHUGEINT":
		c.kind, c.precision, c.projection = fixedColumn, 38, "CAST(? AS HUGEINT)"
	case "FLOAT", "DOUBLE":
		c.kind, c.projection = realColumn, "CAST(? AS DOUBLE)"
	case "VARCHAR":
		c.kind = textColumn
	case "UUID", "INTERVAL":
		c.kind, c.projection = textColumn, "CAST(? AS VARCHAR)"
	case "BOOLEAN":
		c.kind = booleanColumn
	case "BLOB":
		c.kind = binaryColumn
	case "JSON":
		c.kind, c.projection = variantColumn, "CAST(? AS VARCHAR)"
	case "DATE":
		c.kind, c.projection = dateColumn, "CAST(epoch_us(?) // 86400000000 AS BIGINT)"
	case "TIME":
		c.kind, c.scale, c.projection = timeColumn, maxScale, "epoch_us(?) * 1000"
	case "TIMESTAMP":
		c.kind, c.scale, c.projection = timestampNTZColumn, maxScale, "epoch_us(?)"
	case "TIMESTAMP_S":
		c.kind, c.scale, c.projection = timestampNTZColumn, 0, "epoch_us(?)"
	case "TIMESTAMP_MS":
		c.kind, c.scale, c.projection = timestampNTZColumn, 3, "epoch_us(?)"
	case "TIMESTAMP_NS":
		c.kind, c.scale, c.projection = timestampNTZColumn, maxScale, "epoch_ns(?)"
	case "TIMESTAMP WITH TIME ZONE":
		c.kind, c.scale, c.projection = timestampLTZColumn, maxScale, "epoch_us(?)"
	default:
		return column{}, &Error{Code: "002003", State: "42601", Message: "SQL compilation error:\nUnsupported data type '" + typ + "'."}
	}
	return c, nil
}

// vectorTypes are the DuckDB types that stand for VECTOR.
var vectorTypes = regexp.MustCompile(`^(FLOAT|INTEGER)\[([0-9]+)\]$`)

// point is a column of points in one of the output formats: an OBJECT in GeoJSON,
// otherwise text.
func (c column) point(format, x, y string) column {
	if strings.EqualFold(format, "GeoJSON") {
		c.kind = objectColumn
		c.projection = "CASE WHEN ? IS NOT NULL THEN CAST(json_object('coordinates', json_array(" + x + ", " + y + "), 'type', 'Point') AS VARCHAR) END"
		return c
	}
	c.kind = textColumn
	c.projection = "CASE WHEN ? IS NOT NULL THEN 'POINT(' || " + x + " || ' ' || " + y + " || ')' END"
	return c
}

// unitsPerSecond is the unit of the number that stands for a timestamp.
func (c column) unitsPerSecond() int64 {
	if strings.HasPrefix(c.projection, "epoch_ns") {
		return 1e9
	}
	return 1e6
}

// rowType is the column in the answer's rowtype list.
func (c column) rowType() rowType {
	rt := rowType{Name: c.name, Nullable: true, Type: string(c.kind)}
	switch c.kind {
	case fixedColumn:
		rt.Precision, rt.Scale = new(c.precision), new(c.scale)
	case textColumn, variantColumn, objectColumn, arrayColumn:
		rt.Length, rt.ByteLength = new(int64(maxTextLength)), new(int64(maxTextLength))
	case binaryColumn:
		rt.Length, rt.ByteLength = new(int64(maxBinaryLength)), new(int64(maxBinaryLength))
	case timeColumn, timestampNTZColumn, timestampLTZColumn, timestampTZColumn:
		rt.Precision, rt.Scale = new(int64(0)), new(c.scale)
	}
	return rt
}

// metadata is what Snowflake puts on the Arrow field.
func (c column) metadata() arrow.Metadata {
	precision, scale, length := c.precision, c.scale, int64(0)
	switch c.kind {
	case textColumn, variantColumn, objectColumn, arrayColumn:
		length = maxTextLength
	case binaryColumn:
		length = maxBinaryLength
	}
	if c.kind != fixedColumn {
		precision = 38
	}
	return arrow.MetadataFrom(map[string]string{
		"logicalType": strings.ToUpper(string(c.kind)),
		"precision":   strconv.FormatInt(precision, 10),
		"scale":       strconv.FormatInt(scale, 10),
		"charLength":  strconv.FormatInt(length, 10),
		"byteLength":  strconv.FormatInt(length, 10),
		"finalType":   "T",
	})
}
