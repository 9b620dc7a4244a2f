package connections

import (
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
)

// ModelOptions returns how the models of the connection are assessed, alike in scans
// and in reads. A read adds its own limit policy and its session.
func (l *Link) ModelOptions() model.Options {
	return model.Options{
		Dialect: l.Dialect, TimeZone: l.timeZone, VersionTag: l.Connection.GetVersionTag(), Namespace: namespace(l.Connection.GetWarehouse()),
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

// loadTimeZone returns the zone of an IANA name, or nil for an empty name.
func loadTimeZone(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, errmap.InvalidField("connection.sigma.time_zone", "it is no time zone of the IANA database; name one such as America/New_York or UTC")
	}
	return zone, nil
}
