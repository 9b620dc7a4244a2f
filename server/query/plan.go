package query

import (
	"context"
	"errors"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/findings"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// plan is a model made ready to be read: its SQL as Sigma gives it now, and the
// columns that the caller wants of it.
type plan struct {
	name     resource.Model
	query    *sigmasql.Query
	columns  columns
	wanted   []string // labels, in the caller's order; nil means all
	model    *pb.Model
	limits   sigmasql.LimitPolicy
	findings findings.List
}

// request is what the methods that read a model have in common.
type request interface {
	GetName() string
	GetColumns() []string
	GetLimitPolicy() pb.LimitPolicy
	GetExpectedFingerprint() string
}

var limitPolicies = map[pb.LimitPolicy]sigmasql.LimitPolicy{
	pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED:    sigmasql.Likelier,
	pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS: sigmasql.KeepAmbiguous,
	pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS: sigmasql.LiftAmbiguous,
}

// prepare asks Sigma for the element's SQL as it is now, and takes it apart. A
// kept text is never used: Sigma writes relative dates and the owner's row-level
// rules into it as literals. A nil match means to compare the warehouses as the
// last scan saw them.
//
// Where it fails on the model itself, the plan holds what was found until then.
func (s *Service) prepare(ctx context.Context, link *connections.Link, name resource.Model, asked request, match *pb.WarehouseMatch) (*plan, error) {
	model, err := s.store.Model(ctx, name.String())
	if err != nil && !errors.Is(err, store.ErrNotFound) { // a model can be read before any scan has seen it
		return nil, err
	}
	p := &plan{name: name, model: model, limits: limitPolicies[asked.GetLimitPolicy()]}
	if match == nil {
		match = link.Match(ctx, model.GetSigmaWarehouse())
	}
	if err := p.refuseMismatch(match); err != nil {
		return p, err
	}
	if err := s.ask(ctx, p, link); err != nil {
		return p, err
	}
	p.findings.AddText(p.query)
	if err := p.choose(asked.GetColumns()); err != nil {
		return p, err
	}
	if err := p.refuseBroken(); err != nil {
		return p, err
	}
	if known := p.model.GetSqlFingerprint(); known != "" && known != p.query.Hash() {
		p.findings.Info(pb.FindingCode_FINDING_CODE_SQL_CHANGED,
			"Sigma's SQL has changed since the last scan. That is so when the element was edited, and each day when it filters by a relative date.")
	}
	return p, nil
}

// refuseMismatch refuses to run SQL in another warehouse than it is meant for,
// as far as the last scan could see.
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
		p.findings.Warn(pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN, "%s.", match.GetMessage())
	}
	return nil
}

// ask asks Sigma for all that is needed to read the element.
func (s *Service) ask(ctx context.Context, p *plan, link *connections.Link) error {
	d := document{
		connection: p.name.Connection.String(), etag: link.Connection.GetEtag(), id: p.name.WorkbookID, element: p.name.ElementID,
		isModel: p.model.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL,
	}
	ask := func() (answers, error) {
		return s.asking.ask(ctx, d, func() *question { return d.question(link) })
	}
	found, err := ask()
	var failure *sigmaclient.Error
	if p.model == nil && errors.As(err, &failure) && failure.Kind == sigmaclient.KindNotFound {
		// No scan has told whether the id is a workbook's or a data model's.
		d.isModel = true
		if inModel, dataModelErr := ask(); dataModelErr == nil {
			found, err = inModel, nil
		}
	}
	if err != nil {
		return err
	}
	p.columns = found.columns
	return p.takeApart(found.query, link.Dialect, found.sources)
}

func (p *plan) takeApart(answer sigmaclient.Query, dialect sigmasql.Dialect, sources []sigmaclient.Source) error {
	switch {
	case answer.Error != "":
		return errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, p.name.String(),
			"Sigma cannot produce the element's query; open the workbook in Sigma and mend the element")
	case answer.SQL == "":
		return errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL, p.name.String(),
			"Sigma has no query for this element: it is no table or chart, or it is built on a retired dataset")
	}
	options := sigmasql.Options{Dialect: dialect, LimitPolicy: p.limits}
	for _, source := range sources {
		if source.Definition != "" {
			options.CustomSQL = append(options.CustomSQL, source.Definition)
		}
	}
	var err error
	p.query, err = sigmasql.Prepare(answer.SQL, options)
	var unsupported *sigmasql.Error
	if errors.As(err, &unsupported) {
		return &errmap.Error{
			Reason:   pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED,
			Resource: p.name.String(),
			Message:  "Sigma's text for this element is not one query that can be read safely: " + unsupported.Reason.String(),
			Metadata: map[string]string{"problem": unsupported.Reason.String()},
			Err:      err,
		}
	}
	return err
}
