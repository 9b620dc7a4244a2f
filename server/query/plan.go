package query

import (
	"cmp"
	"context"
	"errors"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// plan is a model made ready to be read: its SQL as Sigma returns it now, and the columns that the caller wants of it.
type plan struct {
	name     resource.Model
	bookmark string // the id of the bookmark whose state is read, or empty
	query    *sigmasql.Query
	columns  model.Columns
	wanted   []string     // labels, in the caller's order; nil means all
	stored   *pb.Model    // as the last scan saw it; nil if no scan has
	assessed *model.Model // nil until Sigma has answered
	days     []string     // labels of the columns that are delivered as dates
	refused  refusedFindings
	findings *model.Findings
}

// refusedFindings are the codes of findings that refuse a read.
type refusedFindings struct{ request, connection []pb.FindingCode }

// request is what the methods that read a model have in common.
type request interface {
	GetName() string
	GetColumns() []string
	GetLimitPolicy() pb.LimitPolicy
	GetExpectedFingerprint() string
	GetRefuseFindings() []pb.FindingCode
	GetBookmarkId() string
}

var limitPolicies = map[pb.LimitPolicy]sigmasql.LimitPolicy{
	pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED:    sigmasql.Likelier,
	pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS: sigmasql.KeepAmbiguous,
	pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS: sigmasql.LiftAmbiguous,
}

// prepare fetches the element's SQL as it is now from Sigma, and assesses it. A stored text is never used: Sigma writes
// relative dates and the owner's row-level rules into it as literals. A nil match means to compare the warehouses as the
// last scan saw them.
//
// Where it fails on the model itself, the plan holds what was found until then.
func (s *Service) prepare(ctx context.Context, link *connections.Link, name resource.Model, asked request, match *pb.WarehouseMatch) (*plan, error) {
	stored, err := s.store.Model(ctx, name.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) { // a model can be read before any scan has seen it
		return nil, err
	}
	p := &plan{
		name: name, bookmark: cmp.Or(asked.GetBookmarkId(), link.Connection.GetBookmarkIds()[name.WorkbookID]), stored: stored, findings: &model.Findings{},
		refused: refusedFindings{request: asked.GetRefuseFindings(), connection: link.Connection.GetRefuseFindings()},
	}
	options := link.ModelOptions()
	options.LimitPolicy = limitPolicies[asked.GetLimitPolicy()]
	if err := s.assess(ctx, p, link, options, match); err != nil {
		if errors.Is(err, sigmaclient.ErrBookmarkUnknown) {
			err = model.UnknownBookmark(name.String(), p.bookmark, asked.GetBookmarkId() != "")
		}
		return p, err
	}
	if session, ok := asked.(*pb.CreateReadSessionRequest); ok && session.GetDistinctGroup() {
		p.assessed.ReadGroups()
	}
	if p.wanted, err = p.columns.Choose("columns", asked.GetColumns()); err != nil {
		return p, named(err, p.name)
	}
	if err := p.findDays(ctx, link); err != nil {
		return p, err
	}
	if err := p.assessed.RequireUnbroken(p.wanted); err != nil {
		return p, err
	}
	isScanned := p.bookmark == link.Connection.GetBookmarkIds()[name.WorkbookID] // in the state that is read
	if known := stored.GetSqlFingerprint(); isScanned && known != "" && known != p.query.Hash() {
		p.findings.Info(pb.FindingCode_FINDING_CODE_SQL_CHANGED,
			"Sigma's SQL has changed since the last scan. That is so when the element was edited, and each day when it filters by a relative date.")
	}
	return p, p.refuseFindings()
}

// refuseFindings fails where the plan has a finding that the request or the connection refuses.
func (p *plan) refuseFindings() error {
	return p.findings.Refuse(p.name.String(), p.refused.request, p.refused.connection)
}

// refuseMismatch refuses a plan whose warehouses differ, and adds a finding where that is unknown.
func (p *plan) refuseMismatch(match *pb.WarehouseMatch) error {
	switch match.GetOutcome() {
	case pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_DIFFERENT:
		return &errmap.Error{
			Reason:   pb.ErrorReason_ERROR_REASON_WAREHOUSE_MISMATCH,
			Resource: p.name.String(),
			Message:  match.GetMessage(),
			Metadata: map[string]string{
				"sigma_connection_id": match.GetSigmaWarehouse().GetConnectionId(),
				"sigma_connection":    match.GetSigmaWarehouse().GetDisplayName(),
				"sigma_type":          match.GetSigmaWarehouse().GetType(),
				"sigma_account":       match.GetSigmaWarehouse().GetAccount(),
			},
		}
	case pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_UNKNOWN:
		p.findings.UnknownWarehouse(nil, match.GetMessage()+".")
	}
	return nil
}

// assess fetches from Sigma what is needed to read the element, and decides how it is read.
func (s *Service) assess(ctx context.Context, p *plan, link *connections.Link, options model.Options, match *pb.WarehouseMatch) error {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	session := make(chan *model.Session, 1)
	s.previews.Go(func() { session <- link.ModelSession(asking) })
	found, err := s.fetchAnswers(ctx, p, link)
	if err != nil {
		return err
	}
	options.Session = <-session
	if found.bookmarkErr != nil {
		return found.bookmarkErr
	}
	if match == nil {
		of, err := p.sigmaWarehouse(ctx, link, found)
		if err != nil {
			return err
		}
		match = link.Match(ctx, of)
	}
	if err := p.refuseMismatch(match); err != nil {
		return err
	}
	element := model.Element{
		Name: p.name.String(), IsListed: isListedWithoutSQL(p.stored), AskTime: found.askTime, Query: found.query, QueryErr: found.queryErr,
		Columns: p.columnsOf(found, link.Connection.GetVersionTag()), Controls: model.Controls(found.controls, found.upstream),
	}
	element.SetUpstream(found.upstream, found.lineage.LineageErr)
	element.SetWarehouse(match.GetSigmaWarehouse())
	if element.Columns.Origin == model.Unlisted && isOutage(found.columnsErr) {
		return found.columnsErr
	}
	element.CustomSQL, element.CustomSQLErr = found.lineage.CustomSQL(p.name.ElementID)
	element.BuiltOnSQL = found.lineage.BuiltOnSQL(p.name.ElementID)
	m := model.Assess(element, options)
	m.Findings.Merge(p.findings)
	p.assessed, p.query, p.columns, p.findings = m, m.Query, m.Columns, &m.Findings
	if p.query == nil {
		return m.Problem()
	}
	if isOutage(element.CustomSQLErr) && m.DependsOnCustomSQL() {
		return element.CustomSQLErr
	}
	return nil
}

// sigmaWarehouse returns the warehouse that the element reads from in Sigma, or nil where Sigma does not show it. Where
// Sigma refuses the lineage, it is the one that the last scan saw; that can be another version's where a tag is set.
func (p *plan) sigmaWarehouse(ctx context.Context, link *connections.Link, found answers) (*pb.SigmaWarehouse, error) {
	stored := p.stored.GetSigmaWarehouse()
	id := found.lineage.Elements[p.name.ElementID].ConnectionID
	switch {
	case id != "" && id != stored.GetConnectionId():
		return describeWarehouse(ctx, link, id)
	case id != "" || link.Connection.GetVersionTag() == "":
		return stored, nil
	case isOutage(found.lineage.LineageErr):
		return nil, found.lineage.LineageErr
	}
	return nil, nil
}

// fetchAnswers fetches Sigma's answers about the element, from a workbook or a data model: only a scan shows which.
func (s *Service) fetchAnswers(ctx context.Context, p *plan, link *connections.Link) (answers, error) {
	d := document{
		connection: p.name.Connection.String(), etag: link.Connection.GetEtag(), id: p.name.WorkbookID, element: p.name.ElementID,
		isModel: p.stored.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL, bookmark: p.bookmark,
	}
	fetch := func() (answers, error) {
		return s.asking.ask(ctx, d, func() *question { return d.question(link) })
	}
	found, err := fetch()
	var refused *sigmaclient.Error
	if err == nil && p.stored == nil && errors.As(found.queryErr, &refused) && refused.Kind == sigmaclient.KindNotFound {
		d.isModel = true
		if inModel, dataModelErr := fetch(); dataModelErr == nil && inModel.queryErr == nil {
			return inModel, nil
		}
	}
	return found, err
}

// isListedWithoutSQL reports whether the last scan saw the element in Sigma's list, and Sigma had no query for it.
func isListedWithoutSQL(stored *pb.Model) bool {
	switch stored.GetError().GetReason() {
	case pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED:
		return true
	}
	return false
}

// columnsOf returns the element's columns as Sigma lists them now, or else as the last scan stored them. Where a tag is set,
// the stored columns can be another version's.
func (p *plan) columnsOf(found answers, versionTag string) model.Columns {
	stored := p.stored.GetColumns()
	if versionTag != "" {
		stored = nil
	}
	switch {
	case len(found.columns) > 0:
		origin := model.Current
		if p.bookmark != "" {
			origin = model.OtherVersion
		}
		return model.Columns{List: found.columns, Origin: origin, IsPartial: found.areColumnsPartial}.Complete(stored)
	case found.columnsErr == nil && len(stored) == 0:
		return model.Columns{Origin: model.Current}
	case len(stored) == 0:
		return model.Columns{Err: found.columnsErr}
	}
	return model.Columns{List: model.StoredColumns(stored), Origin: model.LastScan, Err: found.columnsErr}
}
