package connections

import (
	"cmp"
	"context"
	"errors"
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

// How long each check may take. A virtual warehouse that has to wake up, and a
// listing of thousands of workbooks, take seconds.
const (
	signInTime   = 20 * time.Second
	homeTime     = 10 * time.Second
	workbookTime = 30 * time.Second
	queryTime    = 60 * time.Second
)

// CheckConnection tries a stored connection out, all checks at once.
func (s *Service) CheckConnection(ctx context.Context, request *pb.CheckConnectionRequest) (*pb.CheckConnectionResponse, error) {
	link, err := s.pool.Acquire(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	defer link.Release()
	offsets, err := s.store.ZoneOffsets(ctx, request.GetName())
	if err != nil {
		return nil, fmt.Errorf("read the dates of scans: %w", err)
	}
	checks := append(runChecks(ctx, link), checkTimeZone(link, offsets))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &pb.CheckConnectionResponse{Checks: checks}, nil
}

// found is what the checks learn besides their outcome.
type found struct {
	who         sigmaclient.Identity
	whoErr      error
	workbooks   []sigmaclient.Workbook
	workbookErr error
	connections []sigmaclient.Connection
	listErr     error
	identity    warehouse.Identity
	identityErr error
	queryErr    error
	session     warehouse.Session
	sessionErr  error
}

// runChecks asks both sides for everything at once, and puts the answers in the
// order in which a person would mend what they show.
func runChecks(ctx context.Context, link *Link) []*pb.Check {
	var f found
	var asked sync.WaitGroup
	ask := func(limit time.Duration, err *error, do func(context.Context) error) {
		asked.Go(func() { *err = within(ctx, limit, do) })
	}
	ask(signInTime+homeTime, &f.whoErr, func(ctx context.Context) (err error) {
		f.who, err = signInToSigma(ctx, link)
		return err
	})
	ask(workbookTime, &f.workbookErr, func(ctx context.Context) (err error) {
		f.workbooks, err = link.Sigma.Workbooks(ctx)
		return err
	})
	ask(signInTime, &f.listErr, func(ctx context.Context) (err error) {
		f.connections, err = link.Sigma.Connections(ctx)
		return err
	})
	ask(signInTime, &f.identityErr, func(ctx context.Context) (err error) {
		f.identity, err = link.Warehouse.Identify(ctx)
		return err
	})
	ask(queryTime, &f.queryErr, link.Warehouse.Probe)
	if inspector, ok := link.Warehouse.(warehouse.SessionInspector); ok {
		ask(signInTime, &f.sessionErr, func(ctx context.Context) (err error) {
			f.session, err = inspector.InspectSession(ctx)
			return err
		})
	}
	asked.Wait()
	return []*pb.Check{
		checkCredentials(f), checkOrganization(f, link.Connection), checkWorkbooks(f),
		checkSignIn(f, link.Connection), checkMatch(f, link.Connection), checkQuery(f), checkSession(f, link),
	}
}

// errSlow is the cause of a check's context whose own time is over.
var errSlow = errors.New("connections: the check's time is over")

// within runs a check with a time limit of its own. Where it ends that way, the
// error says so; a caller's own deadline stays what it is.
func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	own, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	err := do(own)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(own), errSlow) {
		return fmt.Errorf("%w after %s", errSlow, limit)
	}
	return err
}

// signInToSigma asks Sigma who we are. Where it refuses the credentials, the error
// tells a wrong region from a wrong secret.
func signInToSigma(ctx context.Context, link *Link) (sigmaclient.Identity, error) {
	who, err := link.Sigma.WhoAmI(ctx)
	var refused *sigmaclient.Error
	if !errors.As(err, &refused) || refused.Kind != sigmaclient.KindCredentials {
		return who, err
	}
	ctx, cancel := context.WithTimeout(ctx, homeTime)
	defer cancel()
	if home, ok := link.Sigma.Home(ctx); ok {
		url := "https://" + home.Name
		return who, errmap.Explain(err, fmt.Sprintf("Sigma accepts these credentials in another region: set the base URL to %s (%s, %s)", url, home.Cloud, home.Region),
			map[string]string{"suggested_base_url": url})
	}
	return who, err
}

func checkCredentials(f found) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS
	if f.whoErr != nil {
		return failed(kind, f.whoErr, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE)
	}
	return passed(kind, "Sigma accepts the credentials", map[string]string{"user_id": f.who.UserID})
}

func checkOrganization(f found, connection *pb.Connection) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_SIGMA_ORGANIZATION
	if f.whoErr != nil {
		return skipped(kind)
	}
	check := passed(kind, "the credentials belong to the organization that they belonged to before",
		map[string]string{"organization_id": f.who.OrganizationID})
	switch known := connection.GetOrganizationId(); {
	case known == "":
		check.Message = "the organization was not known before; it is noted when the connection is next updated"
	case known != f.who.OrganizationID:
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_FAIL
		check.Reason = pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED
		check.Message = "the credentials belong to another Sigma organization than before; make a new connection for it"
		check.Facts["expected_organization_id"] = known
	}
	return check
}

func checkWorkbooks(f found) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_SIGMA_WORKBOOKS
	if f.whoErr != nil {
		return skipped(kind)
	}
	if f.workbookErr != nil {
		return failed(kind, f.workbookErr, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE)
	}
	check := passed(kind, fmt.Sprintf("the credentials' owner sees %d workbooks", len(f.workbooks)),
		map[string]string{"workbooks": strconv.Itoa(len(f.workbooks))})
	if len(f.workbooks) == 0 {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
		check.Message = "the credentials' owner sees no workbook; share workbooks or folders with them in Sigma"
	}
	return check
}

func checkSignIn(f found, connection *pb.Connection) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_WAREHOUSE_SIGN_IN
	if f.identityErr != nil {
		return failed(kind, f.identityErr, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE)
	}
	check := passed(kind, "the warehouse accepts the sign-in", map[string]string{})
	for key, value := range map[string]string{
		"account": f.identity.Account, "user": f.identity.User, "role": f.identity.Role, "warehouse": f.identity.Warehouse,
		"database": f.identity.Database, "schema": f.identity.Schema, "version": f.identity.Version,
	} {
		if value != "" {
			check.Facts[key] = value
		}
	}
	if connection.GetWarehouse().GetSnowflake() != nil && f.identity.Warehouse == "" {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
		check.Message = "the warehouse accepts the sign-in, but the session has no virtual warehouse to run queries in; name one in the connection"
	}
	return check
}

func checkQuery(f found) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_WAREHOUSE_QUERY
	switch {
	case f.identityErr != nil:
		return skipped(kind)
	case f.queryErr != nil:
		return failed(kind, f.queryErr, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE)
	}
	return passed(kind, "a query runs in the warehouse", nil)
}

// checkSession shows the roles of the warehouse's sessions, and the parameters that
// the user of the connection has of its own: Sigma's user does not have them.
func checkSession(f found, link *Link) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION
	switch _, ok := link.Warehouse.(warehouse.SessionInspector); {
	case f.identityErr != nil:
		return skipped(kind)
	case !ok:
		return passed(kind, "the warehouse has neither roles nor session parameters of users", nil)
	case f.sessionErr != nil:
		return failed(kind, f.sessionErr, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE)
	}
	roles := "the session has the role " + cmp.Or(f.session.Role, "NONE") + " and the secondary roles " + cmp.Or(f.session.SecondaryRoles, "NONE")
	check := passed(kind, roles+"; no session parameter that can change rows or values is set for the user of this connection",
		map[string]string{"role": f.session.Role, "secondary_roles": f.session.SecondaryRoles})
	var names []string
	for _, p := range f.session.Parameters {
		if p.Level == "USER" && p.AffectsRows {
			check.Facts[p.Name], names = p.Value, append(names, p.Name)
		}
	}
	if len(names) > 0 {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
		check.Message = roles + fmt.Sprintf("; the user of this connection has session parameters of its own, with which the SQL of Sigma can return other rows or values than in Sigma: %s; unset them for the user (ALTER USER … UNSET …), unless Sigma's user has the same values",
			strings.Join(names, ", "))
	}
	return check
}

// checkMatch looks for the warehouse among those that Sigma reads from.
func checkMatch(f found, connection *pb.Connection) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_WAREHOUSE_MATCH
	switch {
	case f.whoErr != nil || f.identityErr != nil:
		return skipped(kind)
	case f.listErr != nil:
		return failed(kind, f.listErr, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE)
	case connection.GetWarehouse().GetSnowflake() == nil:
		return warned(kind, "a DuckDB warehouse cannot be compared with Sigma's connections; make sure that it holds the same tables")
	}
	maybe := false
	for _, c := range f.connections {
		if !strings.EqualFold(c.Type, "snowflake") {
			continue
		}
		byName, nameKnown := snowflake.CompareAccounts(c.Account, connection.GetWarehouse().GetSnowflake().GetAccount())
		bySelf, selfKnown := isAccount(c.Account, f.identity)
		if byName || bySelf {
			return passed(kind, "the warehouse is one that Sigma reads from",
				map[string]string{"sigma_connection_id": c.ConnectionID, "sigma_connection": c.Name})
		}
		maybe = maybe || !nameKnown && !selfKnown
	}
	if maybe {
		return warned(kind, "Sigma names its Snowflake accounts in another way than this connection does, so they cannot be compared; make sure that it is the one that the workbooks read from")
	}
	return warned(kind, "none of the Snowflake connections that the credentials' owner sees in Sigma names this account; make sure that it is the one that the workbooks read from")
}

func passed(kind pb.CheckKind, message string, facts map[string]string) *pb.Check {
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS, Message: message, Facts: facts}
}

func warned(kind pb.CheckKind, message string) *pb.Check {
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_WARN, Message: message}
}

// failed explains an error. The reason is that of a check whose time was over.
func failed(kind pb.CheckKind, err error, slow pb.ErrorReason) *pb.Check {
	check := &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_FAIL}
	if errors.Is(err, errSlow) {
		check.Reason, check.Message = slow, "no answer came in time; try again, and look at the network between if it stays so"
		return check
	}
	told := errmap.Explained(err)
	check.Reason, check.Message = told.Reason, told.Message
	for key, value := range told.Metadata {
		if value != "" {
			if check.Facts == nil {
				check.Facts = map[string]string{}
			}
			check.Facts[key] = value
		}
	}
	return check
}

func skipped(kind pb.CheckKind) *pb.Check {
	return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_SKIPPED, Message: "it tells nothing while an earlier check fails"}
}
