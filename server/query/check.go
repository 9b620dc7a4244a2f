package query

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/warehouse"
)

// CheckModel finds out whether a model can be read, without reading it.
func (s *Service) CheckModel(ctx context.Context, request *pb.CheckModelRequest) (*pb.CheckModelResponse, error) {
	name, err := resource.ParseModel(request.GetName())
	if err != nil {
		return nil, errmap.InvalidField("name", err.Error())
	}
	link, err := s.links.Acquire(ctx, name.Connection.String())
	if err != nil {
		return nil, err
	}
	defer link.Release()
	c := &check{service: s, link: link, name: name, request: request, answer: &pb.CheckModelResponse{}}
	if err := c.run(ctx); err != nil {
		if c.answer.Problem = problemOf(ctx, err, name); c.answer.GetProblem() == nil {
			return nil, err
		}
	}
	c.answer.Readable = c.answer.GetProblem() == nil
	return c.answer, nil
}

// problemOf is what is wrong with the model, or nil where an error leaves that
// open, and so fails the call.
func problemOf(ctx context.Context, err error, name resource.Model) *pb.Problem {
	if ctx.Err() != nil {
		return nil
	}
	problem := errmap.ProblemWithFacts(err, name.String())
	switch problem.GetReason() {
	case pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND:
		return nil
	}
	switch errmap.CodeOf(problem.GetReason()) {
	case codes.FailedPrecondition, codes.PermissionDenied, codes.NotFound:
		return problem
	}
	return nil
}

// check is one call of CheckModel.
type check struct {
	service *Service
	link    *connections.Link
	name    resource.Model
	request *pb.CheckModelRequest
	answer  *pb.CheckModelResponse
}

func (c *check) run(ctx context.Context) error {
	if err := c.match(ctx); err != nil {
		return err
	}
	p, err := c.service.prepare(ctx, c.link, c.name, c.request, c.answer.GetWarehouseMatch())
	if p != nil {
		defer func() { c.answer.Findings = p.findings.All() }()
	}
	if err != nil {
		return err
	}
	if c.answer.Tables, err = tableAccess(ctx, c.link, p.query.Tables(), c.name); err != nil {
		return err
	}
	p.findings.AddFull(p.query)
	statement, outputs := p.statement(p.query.Full()), &recordedNames{}
	statement.Choose = outputs.record(statement.Choose)
	schema, err := c.link.Warehouse.Describe(ctx, statement)
	if err != nil {
		return err
	}
	p.compareOutputs(outputs.get())
	if err := p.refuseFindings(); err != nil {
		return err
	}
	if c.answer.Schema, err = encodeSchema(schema, p.columns, pb.DataFormat_DATA_FORMAT_ROWS); err != nil {
		return err
	}
	if err := c.service.checkDrift(ctx, p, c.answer.GetSchema(), c.request.GetExpectedFingerprint()); err != nil {
		c.answer.Drift = driftIn(err)
		return err
	}
	if err := p.assessed.RequireFull(); err != nil {
		return err
	}
	if err := c.countKey(ctx, p, outputs.get()); err != nil {
		return err
	}
	if err := p.refuseFindings(); err != nil || !c.request.GetCompareWithSigma() {
		return err
	}
	c.answer.Comparison, err = p.compare(ctx, c.link, c.answer.GetSchema())
	return err
}

func (c *check) countKey(ctx context.Context, p *plan, outputs []string) (err error) {
	if len(c.request.GetKeyColumns()) == 0 {
		return nil
	}
	if c.answer.Key, err = p.countKey(ctx, c.link.Warehouse, p.query.Full(), outputs, c.request.GetKeyColumns()); err != nil {
		return err
	}
	if key := c.answer.GetKey(); key.GetDistinctCount() != key.GetRowCount() {
		p.warnAboutKey(key)
	}
	return nil
}

// match compares the warehouses afresh: what the last scan saw may be old, and
// there may have been none.
func (c *check) match(ctx context.Context) error {
	model, err := c.service.store.Model(ctx, c.name.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	sigma, err := fetchWarehouse(ctx, c.link, c.name, model)
	if err != nil {
		return err
	}
	c.answer.WarehouseMatch = c.link.Match(ctx, sigma)
	return nil
}

// fetchWarehouse fetches from Sigma which warehouse an element reads from. It returns nil where Sigma does not show it.
func fetchWarehouse(ctx context.Context, link *connections.Link, name resource.Model, stored *pb.Model) (*pb.SigmaWarehouse, error) {
	d := document{id: name.WorkbookID, isModel: stored.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL}
	found, err := link.Sigma.ConnectionFinder().FindDocument(ctx, d.in(link).FindVersion(ctx))
	switch {
	case err != nil:
		return nil, err
	case isOutage(found.LineageErr):
		return nil, found.LineageErr
	}
	id := found.Elements[name.ElementID].ConnectionID
	if id == "" {
		return nil, nil
	}
	return describeWarehouse(ctx, link, id)
}

// describeWarehouse fetches what Sigma shows of a warehouse connection.
func describeWarehouse(ctx context.Context, link *connections.Link, connectionID string) (*pb.SigmaWarehouse, error) {
	connection, err := link.Sigma.Connection(ctx, connectionID)
	if concernsTheElement(err) {
		return &pb.SigmaWarehouse{ConnectionId: connectionID}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the connection from Sigma: %w", err)
	}
	return model.DescribeWarehouse(connection), nil
}

// probes is how many tables are tried at once.
const probes = 4

// tableAccess tries each table by itself: a warehouse that compiles the whole
// query names only the first that our role may not read.
func tableAccess(ctx context.Context, link *connections.Link, tables [][]string, name resource.Model) ([]*pb.TableAccess, error) {
	access := make([]*pb.TableAccess, len(tables))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probes)
	for i, parts := range tables {
		group.Go(func() error {
			access[i] = &pb.TableAccess{Parts: parts, Readable: true}
			_, err := link.Warehouse.Describe(ctx, warehouse.Statement{
				SQL: "select * from " + quoteName(parts), Tag: queryTag(name),
				Choose: noColumns, // types that cannot be read matter only in the model itself
			})
			var refused *warehouse.Error
			switch {
			case err == nil:
			case errors.As(err, &refused) && refused.Kind == warehouse.KindPermission:
				access[i].Readable = false
				access[i].Problem = errmap.Problem(err, "")
				access[i].Grants = grants(ctx, link, parts)
			default:
				return err
			}
			return nil
		})
	}
	return access, group.Wait()
}

// noColumns chooses no column.
func noColumns([]string) ([]int, error) { return nil, nil }

// grants is what would let the role in use read a table, where the warehouse has
// such a thing.
func grants(ctx context.Context, link *connections.Link, table []string) []*pb.Grant {
	granter, ok := link.Warehouse.(warehouse.Granter)
	if !ok {
		return nil
	}
	role := link.Connection.GetWarehouse().GetSnowflake().GetRole()
	if role == "" { // the user's default is in use
		if identity, err := link.Identity(ctx); err == nil {
			role = identity.Role
		}
	}
	var all []*pb.Grant
	for _, g := range granter.Grants(table, role) {
		all = append(all, &pb.Grant{Privilege: g.Privilege, Object: g.Object, Statement: g.Statement})
	}
	return all
}

// withGrants adds to a warehouse's refusal what would give our role the missing
// privilege, where the refusal names one of the query's tables.
func withGrants(ctx context.Context, err error, link *connections.Link, tables [][]string) error {
	var refused *warehouse.Error
	if !errors.As(err, &refused) || refused.Kind != warehouse.KindPermission {
		return err
	}
	for _, parts := range tables {
		if plainName(strings.Join(parts, ".")) != plainName(refused.Object) {
			continue
		}
		needed := grants(ctx, link, parts)
		if len(needed) == 0 {
			return err
		}
		return errmap.WithDetail(err, &pb.TableAccess{Parts: parts, Grants: needed})
	}
	return err
}

func quoteName(parts []string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = quoteIdentifier(part)
	}
	return strings.Join(quoted, ".")
}

// quoteIdentifier quotes as the SQL standard does, and Snowflake and DuckDB.
func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
