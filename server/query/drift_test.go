package query

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
)

const (
	integer = pb.ColumnType_COLUMN_TYPE_INTEGER
	text    = pb.ColumnType_COLUMN_TYPE_STRING
	decimal = pb.ColumnType_COLUMN_TYPE_DECIMAL
)

func schemaOf(columns ...*pb.SchemaColumn) *pb.Schema { return &pb.Schema{Columns: columns} }

func col(id, name string, t pb.ColumnType) *pb.SchemaColumn {
	return &pb.SchemaColumn{ColumnId: id, Name: name, Type: t}
}

func TestDifferencesNameWhatHappenedToEachColumn(t *testing.T) {
	before := schemaOf(col("a", "Id", integer), col("b", "Name", text), col("c", "Amount", decimal))
	for name, test := range map[string]struct {
		now  *pb.Schema
		want []*pb.SchemaChange
	}{
		"nothing": {now: before},
		"renamed": {
			now: schemaOf(col("a", "Id", integer), col("b", "Full Name", text), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{{
				Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RENAMED, ColumnId: "b", From: "Name", To: "Full Name", Column: "Full Name",
			}},
		},
		"two names swapped": {
			now: schemaOf(col("a", "Name", integer), col("b", "Id", text), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RENAMED, ColumnId: "a", From: "Id", To: "Name", Column: "Name"},
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RENAMED, ColumnId: "b", From: "Name", To: "Id", Column: "Id"},
			},
		},
		"retyped": {
			now: schemaOf(col("a", "Id", text), col("b", "Name", text), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{{
				Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RETYPED, ColumnId: "a", From: "integer", To: "string", Column: "Id",
			}},
		},
		"another scale": {
			now: schemaOf(col("a", "Id", integer), col("b", "Name", text), &pb.SchemaColumn{ColumnId: "c", Name: "Amount", Type: decimal, Scale: 2}),
			want: []*pb.SchemaChange{{
				Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RETYPED, ColumnId: "c", From: "decimal(0,0)", To: "decimal(0,2)", Column: "Amount",
			}},
		},
		"added and removed": {
			now: schemaOf(col("a", "Id", integer), col("d", "Name", text), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_ADDED, ColumnId: "d", To: "Name", Column: "Name"},
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_REMOVED, ColumnId: "b", From: "Name", Column: "Name"},
			},
		},
		"moved": {
			now: schemaOf(col("b", "Name", text), col("a", "Id", integer), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_MOVED, ColumnId: "b", From: "2", To: "1", Column: "Name"},
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_MOVED, ColumnId: "a", From: "1", To: "2", Column: "Id"},
			},
		},
		"the first removed moves nobody": {
			now: schemaOf(col("b", "Name", text), col("c", "Amount", decimal)),
			want: []*pb.SchemaChange{
				{Kind: pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_REMOVED, ColumnId: "a", From: "Id", Column: "Id"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, differences(before, test.now), protocmp.Transform()); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// The fingerprint's promise, as a law: it is the same exactly where there are
// no differences.
func TestFingerprintsAreEqualExactlyWhereNothingDiffers(t *testing.T) {
	names := rapid.SampledFrom([]string{"", "A", "B", "AB", "A B", "a", "é"})
	ids := rapid.SampledFrom([]string{"", "A", "B", "AB"})
	types := rapid.SampledFrom([]pb.ColumnType{integer, text, decimal})
	column := rapid.Custom(func(t *rapid.T) *pb.SchemaColumn {
		return &pb.SchemaColumn{ColumnId: ids.Draw(t, "id"), Name: names.Draw(t, "name"), Type: types.Draw(t, "type"), Scale: rapid.Int32Range(0, 1).Draw(t, "scale")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a := schemaOf(rapid.SliceOfN(column, 0, 4).Draw(t, "a")...)
		b := proto.CloneOf(a)
		if !rapid.Bool().Draw(t, "same") {
			b = schemaOf(rapid.SliceOfN(column, 0, 4).Draw(t, "b")...)
		}
		same := fingerprint(a) == fingerprint(b)
		if changes := differences(a, b); same != (len(changes) == 0) {
			t.Fatalf("fingerprints equal: %v, differences: %v", same, changes)
		}
	})
}

func TestFingerprintDoesNotDependOnWhatIsNoPartOfIt(t *testing.T) {
	a := schemaOf(col("a", "Id", integer))
	b := proto.CloneOf(a)
	b.ArrowIpc = []byte("x")
	b.Columns[0].Formula, b.Columns[0].SigmaType, b.Columns[0].WarehouseType = "[X]", "number", "NUMBER(38,0)"
	if fingerprint(a) != fingerprint(b) {
		t.Error("the fingerprint changed with a formula, a Sigma type, or the warehouse's name of a type")
	}
}

// An upgrade, and a refusal of Sigma's, are named as what they are.
func TestTheCauseOfADrift(t *testing.T) {
	now := schemaOf(col("a", "Id", integer), col("b", "Full Name", text))
	refused := model.Columns{Origin: model.ElementList, Err: errors.New("refused")}
	for name, test := range map[string]struct {
		before  *pb.Schema
		columns model.Columns
		want    string
	}{
		"folded names":        {schemaOf(col("", "ID", integer), col("", "FULL NAME", text)), model.Columns{Origin: model.Current}, "upgrade"},
		"folded and retyped":  {schemaOf(col("", "ID", text), col("", "FULL NAME", text)), model.Columns{Origin: model.Current}, ""},
		"upper case with ids": {schemaOf(col("a", "ID", integer), col("b", "FULL NAME", text)), model.Columns{Origin: model.Current}, ""},
		"fewer":               {schemaOf(col("", "ID", integer)), model.Columns{Origin: model.Current}, ""},
		"not stored":          {nil, model.Columns{Origin: model.Current}, ""},
		"columns refused":     {schemaOf(col("a", "Id", integer), col("b", "Full Name", text)), refused, "columns_unknown"},
	} {
		if got, explanation := causeOfDrift(test.before, now, test.columns); got != test.want || (explanation == "") != (got == "") {
			t.Errorf("%s: %q, %q", name, got, explanation)
		}
	}
}
