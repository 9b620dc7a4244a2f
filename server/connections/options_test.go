package connections

import (
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func TestModelOptionsAreThoseOfTheConnection(t *testing.T) {
	snowflake := func(database, schema string) *pb.Warehouse {
		return &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{Database: database, Schema: schema}}}
	}
	duckdb := &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "SHOP"}}}
	for name, row := range map[string]struct {
		warehouse *pb.Warehouse
		want      [2]string
	}{
		"both":                 {snowflake("PROD", "SALES"), [2]string{"PROD", "SALES"}},
		"database alone":       {snowflake("PROD", ""), [2]string{"PROD", ""}},
		"the user's or nobody": {snowflake("", ""), [2]string{}},
		"DuckDB":               {duckdb, [2]string{"SHOP", "main"}},
		"none":                 {nil, [2]string{}},
	} {
		link := &Link{Connection: &pb.Connection{Warehouse: row.warehouse}}
		if got := link.ModelOptions().Namespace; got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	for _, row := range []struct{ connection, operator, want bool }{{false, false, false}, {true, false, true}, {false, true, true}} {
		link := &Link{Connection: &pb.Connection{AllowTimeZoneMismatch: row.connection, VersionTag: "prod"}, allowTimeZoneMismatch: row.operator}
		if got := link.ModelOptions(); got.AllowTimeZoneMismatch != row.want || got.VersionTag != "prod" || got.TimeZone != nil {
			t.Errorf("%+v: %+v", row, got)
		}
	}
}
