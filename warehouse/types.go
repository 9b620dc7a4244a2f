package warehouse

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Keys of the metadata that adapters put on each field of a result's schema.
const (
	// MetadataType is the column's type in the warehouse's own words, such as
	// "NUMBER(38,10)" or "TIMESTAMP_LTZ(9)".
	MetadataType = "sigmasource:warehouse_type"

	// MetadataExtension marks a String column that holds JSON with the value
	// [ExtensionJSON]: Arrow's canonical extension type, see
	// https://arrow.apache.org/docs/format/CanonicalExtensions.html#json.
	MetadataExtension = "ARROW:extension:name"

	// ExtensionJSON is the value of MetadataExtension on a JSON column.
	ExtensionJSON = "arrow.json"
)

// Canonical reports whether t is one of the Arrow types that results are made
// of. Whatever a warehouse calls its types, its adapter delivers only these:
//
//	Bool
//	Int64                  whole numbers known to fit
//	Decimal128(p, 0)       whole numbers that may not fit Int64
//	Decimal128(p, s>0)     exact decimals
//	Float64
//	String                 text; JSON where the field's metadata says so, and
//	                       then every value is JSON by RFC 8259
//	Binary
//	Date32
//	Time64[us] or [ns]     time of day, from 0 to less than 24 hours
//	Timestamp[us] or [ns]  without zone: a wall clock's reading
//	Timestamp[us] or [ns], with the IANA name of a zone, such as "UTC" or
//	                       "Europe/Berlin": an instant of the years 1 to 9999, which
//	                       the warehouse's session reads in that zone
//	Null                   a column whose every value is NULL and has no type
//
// An adapter reports a value that is outside of these ranges as an [Error] of
// KindUnsupported with its column and row. So a value has the same verdict
// whatever form the rows are sent in.
func Canonical(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.TimestampType:
		return (t.Unit == arrow.Microsecond || t.Unit == arrow.Nanosecond) && (t.TimeZone == "" || isZone(t.TimeZone))
	case *arrow.Time64Type:
		return true
	case *arrow.Decimal128Type:
		return t.Scale >= 0
	}
	switch t.ID() {
	case arrow.BOOL, arrow.INT64, arrow.FLOAT64, arrow.STRING, arrow.BINARY, arrow.DATE32, arrow.NULL:
		return true
	}
	return false
}

func isZone(name string) bool {
	_, err := zone.Load(name)
	return err == nil
}

// CheckSchema returns an error that names the first column whose type is not
// canonical.
func CheckSchema(schema *arrow.Schema) error {
	for i, f := range schema.Fields() {
		if !Canonical(f.Type) {
			return fmt.Errorf("warehouse: column %d (%q) has the type %s, which is not canonical", i, f.Name, f.Type)
		}
	}
	return nil
}

// The first and the last second of the years 1 to 9999, in seconds since 1970.
const (
	MinInstant = -62135596800
	MaxInstant = 253402300799
)

// The reasons that adapters give for values that have no exact canonical form.
const (
	ReasonJSON    = "the value is not JSON"
	ReasonTime    = "the value is not a time of day between 00:00:00 and 23:59:59.999999999; cast the column to text"
	ReasonInstant = "the instant is not in the years 1 to 9999; cast the column to text"
	ReasonDay     = "the value is not the beginning of a day in the session's time zone, and its column is delivered as dates"
)

// IsJSON reports whether the column holds JSON text.
func IsJSON(f arrow.Field) bool {
	v, ok := f.Metadata.GetValue(MetadataExtension)
	return ok && v == ExtensionJSON
}
