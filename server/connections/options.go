package connections

import (
	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
)

// ModelOptions returns how the models of the connection are assessed, alike in scans
// and in reads. A read adds its own limit policy and its session.
func (l *Link) ModelOptions() model.Options {
	return model.Options{
		Dialect: l.Dialect, TimeZone: l.TimeZone, VersionTag: l.Connection.GetVersionTag(), Namespace: namespace(l.Connection.GetWarehouse()),
		AllowTimeZoneMismatch: l.allowTimeZoneMismatch || l.Connection.GetAllowTimeZoneMismatch(),
	}
}

// namespace returns the database and the schema that names without them get. They are
// empty where the settings of the warehouse's account or user decide.
func namespace(w *pb.Warehouse) [2]string {
	switch kind := w.GetKind().(type) {
	case *pb.Warehouse_Snowflake:
		return [2]string{kind.Snowflake.GetDatabase(), kind.Snowflake.GetSchema()}
	case *pb.Warehouse_Duckdb:
		return [2]string{kind.Duckdb.GetDatabase(), "main"}
	}
	return [2]string{}
}
