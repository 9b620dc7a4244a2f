package connections

import (
	"context"
	"fmt"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

// Match compares the warehouse that an element reads from in Sigma with the
// connection's. A nil sigma means that Sigma does not tell. Where the one names
// its account by a locator and the other by a name, the warehouse is asked for
// both; a failure to tell leaves the outcome unknown.
func (l *Link) Match(ctx context.Context, sigma *pb.SigmaWarehouse) *pb.WarehouseMatch {
	outcome, message := l.match(ctx, sigma)
	return &pb.WarehouseMatch{Outcome: outcome, SigmaWarehouse: sigma, Message: message}
}

func (l *Link) match(ctx context.Context, sigma *pb.SigmaWarehouse) (pb.WarehouseMatchOutcome, string) {
	const (
		same      = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME
		different = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_DIFFERENT
		unknown   = pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_UNKNOWN
	)
	ours := l.Connection.GetWarehouse().GetSnowflake()
	switch {
	case sigma.GetType() == "":
		return unknown, "Sigma does not tell which warehouse the element reads from; make sure that it is the connection's"
	case ours == nil:
		return unknown, "a DuckDB warehouse cannot be compared with Sigma's connections; make sure that it holds the same tables"
	case !strings.EqualFold(sigma.GetType(), "snowflake"):
		return different, fmt.Sprintf("the element reads from a warehouse of the type %q, and the connection's is Snowflake: its SQL is in another dialect and its tables are elsewhere", sigma.GetType())
	case sigma.GetAccount() == "":
		return unknown, "Sigma does not tell the account that the element reads from; make sure that it is the connection's"
	}
	isSame, known := snowflake.CompareAccounts(sigma.GetAccount(), ours.GetAccount())
	if !known {
		if identity, err := l.Identity(ctx); err == nil {
			isSame, known = isAccount(sigma.GetAccount(), identity)
		}
	}
	switch {
	case isSame:
		return same, "the element reads from the connection's account"
	case known:
		return different, fmt.Sprintf("the element reads from the Snowflake account %q, and the connection's is %q", sigma.GetAccount(), ours.GetAccount())
	}
	return unknown, fmt.Sprintf("the element reads from the Snowflake account %q, and the connection's is %q: one is a locator and the other a name, so make sure that they are the same", sigma.GetAccount(), ours.GetAccount())
}

// isAccount compares a spelling with both names that an account has of itself.
func isAccount(spelling string, identity warehouse.Identity) (same, known bool) {
	byLocator, locatorKnown := snowflake.CompareAccounts(spelling, identity.Account)
	byName, nameKnown := snowflake.CompareAccounts(spelling, identity.QualifiedAccount)
	return byLocator || byName, locatorKnown || nameKnown
}
