package duckdb

import (
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/sigmasource/sigmasource/warehouse"
)

// logicalType is a DuckDB type as Go data, with the types inside it.
type logicalType struct {
	id       bindings.Type
	json     bool          // VARCHAR that holds JSON
	width    uint8         // of a DECIMAL: digits
	scale    uint8         // of a DECIMAL: digits after the point
	storage  bindings.Type // of a DECIMAL or ENUM: the integer that holds it
	names    []string      // of a STRUCT's fields, or an ENUM's values
	children []logicalType // of a STRUCT: fields; of a MAP: key and value; of a LIST or ARRAY: the element
	size     int           // of an ARRAY: elements per value
}

// readType takes DuckDB's description of a type apart and destroys it.
func readType(lt bindings.LogicalType) logicalType {
	defer bindings.DestroyLogicalType(&lt)
	t := logicalType{id: bindings.GetTypeId(lt)}
	switch t.id {
	case bindings.TypeVarchar:
		t.json = bindings.LogicalTypeGetAlias(lt) == "JSON"
	case bindings.TypeDecimal:
		t.width, t.scale = bindings.DecimalWidth(lt), bindings.DecimalScale(lt)
		t.storage = bindings.DecimalInternalType(lt)
	case bindings.TypeEnum:
		t.storage = bindings.EnumInternalType(lt)
		t.names = make([]string, bindings.EnumDictionarySize(lt))
		for i := range t.names {
			t.names[i] = bindings.EnumDictionaryValue(lt, bindings.IdxT(i))
		}
	case bindings.TypeList:
		t.children = []logicalType{readType(bindings.ListTypeChildType(lt))}
	case bindings.TypeArray:
		t.children = []logicalType{readType(bindings.ArrayTypeChildType(lt))}
		t.size = int(bindings.ArrayTypeArraySize(lt))
	case bindings.TypeMap:
		t.children = []logicalType{readType(bindings.MapTypeKeyType(lt)), readType(bindings.MapTypeValueType(lt))}
	case bindings.TypeStruct:
		for i := range bindings.StructTypeChildCount(lt) {
			t.names = append(t.names, bindings.StructTypeChildName(lt, i))
			t.children = append(t.children, readType(bindings.StructTypeChildType(lt, i)))
		}
	}
	return t
}

// typeNames holds DuckDB's names of the types without parts.
var typeNames = map[bindings.Type]string{
	bindings.TypeBoolean: "BOOLEAN", bindings.TypeTinyInt: "TINYINT", bindings.TypeSmallInt: "SMALLINT",
	bindings.TypeInteger: "INTEGER", bindings.TypeBigInt: "BIGINT", bindings.TypeUTinyInt: "UTINYINT",
	bindings.TypeUSmallInt: "USMALLINT", bindings.TypeUInteger: "UINTEGER", bindings.TypeUBigInt: "UBIGINT",
	bindings.TypeHugeInt: "HUGEINT", bindings.TypeUHugeInt: "UHUGEINT", bindings.TypeFloat: "FLOAT",
	bindings.TypeDouble: "DOUBLE", bindings.TypeVarchar: "VARCHAR", bindings.TypeBlob: "BLOB", bindings.TypeDate: "DATE",
	bindings.TypeTime: "TIME", bindings.TypeTimeNS: "TIME_NS", bindings.TypeTimeTZ: "TIME WITH TIME ZONE",
	bindings.TypeTimestamp: "TIMESTAMP", bindings.TypeTimestampS: "TIMESTAMP_S", bindings.TypeTimestampMS: "TIMESTAMP_MS",
	bindings.TypeTimestampNS: "TIMESTAMP_NS", bindings.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE",
	bindings.TypeInterval: "INTERVAL", bindings.TypeUUID: "UUID", bindings.TypeEnum: "ENUM", bindings.TypeList: "LIST",
	bindings.TypeArray: "ARRAY", bindings.TypeStruct: "STRUCT", bindings.TypeMap: "MAP", bindings.TypeUnion: "UNION",
	bindings.TypeBit: "BIT", bindings.TypeBigNum: "BIGNUM", bindings.TypeVariant: "VARIANT",
	bindings.TypeGeometry: "GEOMETRY", bindings.TypeSQLNull: "NULL",
}

// String returns the type's name in DuckDB's words.
func (t logicalType) String() string {
	switch {
	case t.json:
		return "JSON"
	case t.id == bindings.TypeDecimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.width, t.scale)
	}
	if name, ok := typeNames[t.id]; ok {
		return name
	}
	return "an unknown type"
}

// field returns the canonical column for t. ok is false for the types that
// have no exact one: TIME WITH TIME ZONE, BIT, BIGNUM, UNION, VARIANT, GEOMETRY.
// TIMESTAMP WITH TIME ZONE is in the session's zone, or holds days.
func (t logicalType) field(name string, session *time.Location, holdsDays bool) (f arrow.Field, ok bool) {
	canonical, json := t.canonical()
	switch {
	case canonical == nil:
		return f, false
	case t.id == bindings.TypeTimestampTZ && holdsDays:
		canonical = arrow.FixedWidthTypes.Date32
	case t.id == bindings.TypeTimestampTZ:
		canonical = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: session.String()}
	}
	metadata := map[string]string{warehouse.MetadataType: t.String()}
	if json {
		metadata[warehouse.MetadataExtension] = warehouse.ExtensionJSON
	}
	return arrow.Field{Name: name, Type: canonical, Nullable: true, Metadata: arrow.MetadataFrom(metadata)}, true
}

// wide is the type of whole numbers beyond 64 bits.
var wide = &arrow.Decimal128Type{Precision: 38}

func (t logicalType) canonical() (canonical arrow.DataType, json bool) {
	switch t.id {
	case bindings.TypeSQLNull:
		return arrow.Null, false
	case bindings.TypeBoolean:
		return arrow.FixedWidthTypes.Boolean, false
	case bindings.TypeTinyInt, bindings.TypeSmallInt, bindings.TypeInteger, bindings.TypeBigInt,
		bindings.TypeUTinyInt, bindings.TypeUSmallInt, bindings.TypeUInteger:
		return arrow.PrimitiveTypes.Int64, false
	case bindings.TypeUBigInt, bindings.TypeHugeInt, bindings.TypeUHugeInt:
		return wide, false
	case bindings.TypeDecimal:
		switch {
		case t.scale > 0:
			return &arrow.Decimal128Type{Precision: int32(t.width), Scale: int32(t.scale)}, false
		case t.width <= 18:
			return arrow.PrimitiveTypes.Int64, false
		}
		return wide, false
	case bindings.TypeFloat, bindings.TypeDouble:
		return arrow.PrimitiveTypes.Float64, false
	case bindings.TypeVarchar:
		return arrow.BinaryTypes.String, t.json
	case bindings.TypeEnum, bindings.TypeUUID, bindings.TypeInterval:
		return arrow.BinaryTypes.String, false
	case bindings.TypeBlob:
		return arrow.BinaryTypes.Binary, false
	case bindings.TypeDate:
		return arrow.FixedWidthTypes.Date32, false
	case bindings.TypeTime:
		return arrow.FixedWidthTypes.Time64us, false
	case bindings.TypeTimeNS:
		return arrow.FixedWidthTypes.Time64ns, false
	case bindings.TypeTimestamp, bindings.TypeTimestampS, bindings.TypeTimestampMS:
		return &arrow.TimestampType{Unit: arrow.Microsecond}, false
	case bindings.TypeTimestampNS:
		return &arrow.TimestampType{Unit: arrow.Nanosecond}, false
	case bindings.TypeTimestampTZ:
		return arrow.FixedWidthTypes.Timestamp_us, false
	case bindings.TypeList, bindings.TypeArray, bindings.TypeStruct, bindings.TypeMap:
		for _, child := range t.children {
			if c, _ := child.canonical(); c == nil {
				return nil, false
			}
		}
		return arrow.BinaryTypes.String, true
	}
	return nil, false
}
