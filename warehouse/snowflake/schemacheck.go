package snowflake

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
)

// SchemaCheck is how a warehouse treats a chunk whose own schema contradicts the
// columns that Snowflake declared for the result: another family of types, another
// scale, or the names of the result in another order.
type SchemaCheck string

// The schema checks.
const (
	StrictSchemaCheck SchemaCheck = "strict" // the read fails; also the empty SchemaCheck
	WarnSchemaCheck   SchemaCheck = "warn"   // the warehouse logs the contradiction
)

// ParseSchemaCheck returns the schema check of a name.
func ParseSchemaCheck(name string) (SchemaCheck, error) {
	switch check := SchemaCheck(name); check {
	case StrictSchemaCheck, WarnSchemaCheck:
		return check, nil
	}
	return "", fmt.Errorf("%q is not strict or warn", name)
}

// families holds the families of Snowflake's types by their names in lower case. Two
// types of one family have the same encodings.
var families = map[string]string{
	"fixed": "number", "real": "float", "boolean": "boolean", "binary": "binary", "date": "date", "time": "time",
	"text": "text", "char": "text", "string": "text",
	"variant": "text", "object": "text", "array": "text", "map": "text", "geography": "text", "geometry": "text",
	"timestamp_ntz": "timestamp_ntz", "timestamp_ltz": "timestamp_ltz", "timestamp_tz": "timestamp_tz",
}

// encodes reports whether a type of Arrow may hold the values of a family.
func encodes(typ arrow.Type, family string) bool {
	isInteger := typ == arrow.INT8 || typ == arrow.INT16 || typ == arrow.INT32 || typ == arrow.INT64
	switch family {
	case "number":
		return isInteger || typ == arrow.DECIMAL128
	case "time":
		return isInteger
	case "timestamp_ntz", "timestamp_ltz":
		return isInteger || typ == arrow.STRUCT
	case "timestamp_tz":
		return typ == arrow.STRUCT
	case "float":
		return typ == arrow.FLOAT64
	case "boolean":
		return typ == arrow.BOOL
	case "binary":
		return typ == arrow.BINARY
	case "date":
		return typ == arrow.DATE32
	}
	return typ == arrow.STRING
}

// Keys of the metadata of a field in Snowflake's chunks, of which none is documented.
const (
	metadataLogicalType = "logicalType"
	metadataScale       = "scale"
)

// compareSchema compares the schema of a chunk with the layout. It returns the first
// contradiction, or nothing, and the kinds of differences that are no contradiction:
// values do not depend on them. The number of columns is that of the layout.
func (l layout) compareSchema(schema *arrow.Schema) (contradiction string, differences []string) {
	names := map[string]bool{}
	for _, field := range schema.Fields() {
		names[field.Name] = true
	}
	for _, t := range l.types {
		field := schema.Field(t.Position)
		differ := func(kind string) { differences = append(differences, kind) }
		family := families[strings.ToLower(t.Type)]
		logical, hasLogical := field.Metadata.GetValue(metadataLogicalType)
		declared, isKnown := families[strings.ToLower(logical)]
		scale, hasScale := field.Metadata.GetValue(metadataScale)
		switch {
		case field.Name == t.Name:
		case names[t.Name]:
			return fmt.Sprintf("column %d is %q instead of %q, which is another column", t.Position+1, field.Name, t.Name), differences
		case strings.EqualFold(field.Name, t.Name):
			differ("letter case of a name")
		default:
			differ("name")
		}
		switch {
		case !hasLogical:
			differ("no logical type")
		case !isKnown:
			differ("unknown logical type")
		case declared != family:
			return fmt.Sprintf("column %q is %s instead of %s", t.Name, logical, t.Type), differences
		case !strings.EqualFold(logical, t.Type):
			differ("logical type of the same family")
		}
		// Values of a native structured type fail by themselves, by name.
		if !encodes(field.Type.ID(), family) && !isStructured(family, field.Type) {
			return fmt.Sprintf("column %q is encoded as %s, which no %s is", t.Name, field.Type.ID(), t.Type), differences
		}
		if family != "number" && family != "time" && !strings.HasPrefix(family, "timestamp") {
			continue
		}
		if n, err := strconv.ParseInt(scale, 10, 32); hasScale && err != nil {
			differ("scale that is no number")
		} else if hasScale && int32(n) != t.Scale {
			return fmt.Sprintf("column %q has the scale %d instead of %d", t.Name, n, t.Scale), differences
		}
		if decimal, ok := field.Type.(*arrow.Decimal128Type); ok && decimal.Scale != t.Scale {
			return fmt.Sprintf("column %q has the scale %d instead of %d", t.Name, decimal.Scale, t.Scale), differences
		}
	}
	return "", differences
}

// isStructured reports whether a semi-structured column comes as a native nested type.
func isStructured(family string, typ arrow.DataType) bool {
	return family == "text" && arrow.IsNested(typ.ID())
}

// schemaLog logs each kind of difference once, and counts all. It is safe for
// concurrent use.
type schemaLog struct {
	logger *slog.Logger

	mu    sync.Mutex
	count int64
	seen  map[string]bool
}

func (l *schemaLog) add(kind, message, queryID string) {
	l.mu.Lock()
	l.count++
	isNew := !l.seen[kind]
	if l.seen == nil {
		l.seen = map[string]bool{}
	}
	l.seen[kind] = true
	l.mu.Unlock()
	if isNew {
		l.logger.Warn("the schema of a Snowflake chunk differs from the result's columns; further differences of this kind are only counted", "difference", message, "query_id", queryID)
	}
}

// SchemaDifferences returns the number of differences between chunks and the columns
// of their results since Open that did not fail a read.
func (w *Warehouse) SchemaDifferences() int64 {
	w.schemas.mu.Lock()
	defer w.schemas.mu.Unlock()
	return w.schemas.count
}
