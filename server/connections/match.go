package connections

import (
	"fmt"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

// Match compares the warehouse that an element reads from in Sigma with the
// connection's. A nil sigma means that Sigma does not tell.
func Match(connection *pb.Connection, sigma *pb.SigmaWarehouse) *pb.WarehouseMatch {
	outcome, message := match(connection.GetWarehouse(), sigma)
	return &pb.WarehouseMatch{Outcome: outcome, SigmaWarehouse: sigma, Message: message}
}

func match(house *pb.Warehouse, sigma *pb.SigmaWarehouse) (pb.WarehouseMatchOutcome, string) {
	const (
		same      = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME
		different = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_DIFFERENT
		unknown   = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_UNKNOWN
	)
	switch {
	case sigma.GetType() == "":
		return unknown, "Sigma does not tell which warehouse the element reads from; make sure that it is the connection's"
	case house.GetSnowflake() == nil:
		return unknown, "a DuckDB warehouse cannot be compared with Sigma's connections; make sure that it holds the same tables"
	case !strings.EqualFold(sigma.GetType(), "snowflake"):
		return different, fmt.Sprintf("the element reads from a warehouse of the type %q, and the connection's is Snowflake: its SQL is in another dialect and its tables are elsewhere", sigma.GetType())
	case sigma.GetAccount() == "":
		return unknown, "Sigma does not tell the account that the element reads from; make sure that it is the connection's"
	}
	isSame, known := snowflake.CompareAccounts(sigma.GetAccount(), house.GetSnowflake().GetAccount())
	switch {
	case isSame:
		return same, "the element reads from the connection's account"
	case known:
		return different, fmt.Sprintf("the element reads from the Snowflake account %q, and the connection's is %q", sigma.GetAccount(), house.GetSnowflake().GetAccount())
	}
	return unknown, fmt.Sprintf("the element reads from the Snowflake account %q, and the connection's is %q: one is a locator and the other a name, so make sure that they are the same", sigma.GetAccount(), house.GetSnowflake().GetAccount())
}
