package connections

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

// checkTime bounds each side of a check, so that a warehouse that does not
// answer does not keep the news about Sigma back.
const checkTime = 30 * time.Second

// CheckConnection tries a stored connection out, both sides at once.
func (s *Service) CheckConnection(ctx context.Context, request *pb.CheckConnectionRequest) (*pb.CheckConnectionResponse, error) {
	link, err := s.pool.Acquire(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	defer link.Release()
	var sigma sigmaReport
	var house warehouseReport
	var sides sync.WaitGroup
	sides.Go(func() { sigma = checkSigma(ctx, link) })
	sides.Go(func() { house = checkWarehouse(ctx, link) })
	sides.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &pb.CheckConnectionResponse{
		Checks: append(sigma.checks, house.check, checkMatch(link.Connection, sigma, house)),
	}, nil
}

// sigmaReport is what the checks of Sigma found.
type sigmaReport struct {
	checks      []*pb.Check
	connections []sigmaclient.Connection
	err         error // why there are no connections
}

func checkSigma(ctx context.Context, link *Link) sigmaReport {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	who, err := link.Sigma.WhoAmI(ctx)
	if err != nil {
		return sigmaReport{err: err, checks: []*pb.Check{
			failed(pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS, err),
			skipped(pb.CheckKind_CHECK_KIND_SIGMA_ORGANIZATION),
			skipped(pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS),
		}}
	}
	report := sigmaReport{checks: []*pb.Check{{
		Kind: pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
		Message: "Sigma accepts the credentials",
		Facts:   map[string]string{"user_id": who.UserID},
	}, checkOrganization(link.Connection, who)}}
	report.checks = append(report.checks, checkWorkbooks(ctx, link))
	report.connections, report.err = link.Sigma.Connections(ctx)
	return report
}

func checkOrganization(connection *pb.Connection, who sigmaclient.Identity) *pb.Check {
	check := &pb.Check{
		Kind: pb.CheckKind_CHECK_KIND_SIGMA_ORGANIZATION, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
		Message: "the credentials belong to the organization that they belonged to before",
		Facts:   map[string]string{"organization_id": who.OrganizationID},
	}
	switch known := connection.GetOrganizationId(); {
	case known == "":
		check.Message = "the organization was not known before; it is noted when the connection is next updated"
	case known != who.OrganizationID:
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_FAIL
		check.Reason = pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED
		check.Message = "the credentials belong to another Sigma organization than before; make a new connection for it"
		check.Facts["expected_organization_id"] = known
	}
	return check
}

func checkWorkbooks(ctx context.Context, link *Link) *pb.Check {
	workbooks, err := link.Sigma.Workbooks(ctx)
	if err != nil {
		return failed(pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS, err)
	}
	check := &pb.Check{
		Kind: pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
		Message: fmt.Sprintf("the credentials' owner sees %d workbooks", len(workbooks)),
		Facts:   map[string]string{"workbooks": strconv.Itoa(len(workbooks))},
	}
	if len(workbooks) == 0 {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
		check.Message = "the credentials' owner sees no workbook; share workbooks or folders with them in Sigma"
	}
	return check
}

// warehouseReport is what the check of the warehouse found.
type warehouseReport struct {
	check    *pb.Check
	identity warehouse.Identity
	err      error
}

func checkWarehouse(ctx context.Context, link *Link) warehouseReport {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	identity, err := link.Warehouse.Identify(ctx)
	if err != nil {
		return warehouseReport{err: err, check: failed(pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN, err)}
	}
	check := &pb.Check{
		Kind: pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
		Message: "the warehouse accepts the sign-in",
		Facts:   map[string]string{},
	}
	for key, value := range map[string]string{
		"account": identity.Account, "user": identity.User, "role": identity.Role, "warehouse": identity.Warehouse,
		"database": identity.Database, "schema": identity.Schema, "version": identity.Version,
	} {
		if value != "" {
			check.Facts[key] = value
		}
	}
	if link.Connection.GetWarehouse().GetSnowflake() != nil && identity.Warehouse == "" {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
		check.Message = "the warehouse accepts the sign-in, but the session has no virtual warehouse to run queries in; name one in the connection"
	}
	return warehouseReport{check: check, identity: identity}
}

// checkMatch looks for the warehouse among those that Sigma reads from.
func checkMatch(connection *pb.Connection, sigma sigmaReport, house warehouseReport) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_WAREHOUSE_MATCH
	if sigma.err != nil || house.err != nil {
		return skipped(kind)
	}
	if connection.GetWarehouse().GetSnowflake() == nil {
		return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_WARN,
			Message: "a DuckDB warehouse cannot be compared with Sigma's connections; make sure that it holds the same tables"}
	}
	maybe := false
	for _, c := range sigma.connections {
		if !strings.EqualFold(c.Type, "snowflake") {
			continue
		}
		byName, nameKnown := snowflake.CompareAccounts(c.Account, connection.GetWarehouse().GetSnowflake().GetAccount())
		bySelf, selfKnown := isAccount(c.Account, house.identity)
		if byName || bySelf {
			return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
				Message: "the warehouse is one that Sigma reads from",
				Facts:   map[string]string{"sigma_connection_id": c.ConnectionID, "sigma_connection": c.Name}}
		}
		maybe = maybe || !nameKnown && !selfKnown
	}
	message := "none of the Snowflake connections that the credentials' owner sees in Sigma names this account; make sure that it is the one that the workbooks read from"
	if maybe {
		message = "Sigma names its Snowflake accounts in another way than this connection does, so they cannot be compared; make sure that it is the one that the workbooks read from"
	}
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_WARN, Message: message}
}

func failed(kind pb.CheckKind, err error) *pb.Check {
	reason, message := errmap.Message(err)
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_FAIL, Reason: reason, Message: message}
}

func skipped(kind pb.CheckKind) *pb.Check {
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_SKIPPED, Message: "not tried, because an earlier check failed"}
}
