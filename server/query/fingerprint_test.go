package query

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
)

// Callers keep fingerprints. Those of columns in UTC are the same in each version of
// this service, and those of another zone are not theirs.
func TestFingerprintsStay(t *testing.T) {
	instants := func(zone string) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{
			{Name: "Order Id", Type: arrow.PrimitiveTypes.Int64}, {Name: "Amount", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}},
			{Name: "Due", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}}, {Name: "Day", Type: arrow.FixedWidthTypes.Date32},
		}, nil)
	}
	for _, test := range []struct {
		zone, want, columnZone string
		typ                    pb.ColumnType
	}{
		{"UTC", "3gc46wqrshlygdelh7grcv7a6ma2fv7l", "", pb.ColumnType_COLUMN_TYPE_TIMESTAMP},
		{"", "6rgviqkbmpf67zr62g5ksscvdsbkbnia", "", pb.ColumnType_COLUMN_TYPE_DATETIME},
		{"Europe/Berlin", "g24odpcum5ckz2z72yglmat43jygqnj4", "Europe/Berlin", pb.ColumnType_COLUMN_TYPE_TIMESTAMP},
		{"America/New_York", "y5rjctkuuxdr7ifr4ilshhqcx4m6kw2e", "America/New_York", pb.ColumnType_COLUMN_TYPE_TIMESTAMP},
	} {
		schema, err := encodeSchema(instants(test.zone), model.Columns{}, pb.DataFormat_DATA_FORMAT_ROWS)
		if err != nil {
			t.Fatal(err)
		}
		if schema.GetFingerprint() != test.want {
			t.Errorf("in %q the fingerprint is %s instead of %s", test.zone, schema.GetFingerprint(), test.want)
		}
		if c := schema.GetColumns()[2]; c.GetTimeZone() != test.columnZone || c.GetType() != test.typ {
			t.Errorf("in %q the column is %v", test.zone, c)
		}
	}
	if typ := typeName(&pb.SchemaColumn{Type: pb.ColumnType_COLUMN_TYPE_TIMESTAMP, TimeZone: "Europe/Berlin"}); typ != "timestamp(Europe/Berlin)" {
		t.Errorf("the type is %s", typ)
	}
}
