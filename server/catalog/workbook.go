package catalog

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// contents is a workbook as the catalog keeps it.
type contents struct {
	workbook *pb.Workbook
	models   []*pb.Model
	skipped  int32 // elements that are no models
}

// read turns a workbook in Sigma into what the catalog keeps of it.
func (s *scanner) read(ctx context.Context, name string, workbook sigmaclient.Workbook) (*contents, error) {
	found := &contents{workbook: describeWorkbook(name, workbook, s.now)}
	r, err := read(ctx, s.link.Sigma, workbook.WorkbookID)
	if err != nil {
		return nil, err
	}
	for _, element := range r.elements {
		answer, isModel, err := r.query(ctx, s.link.Sigma, workbook.WorkbookID, element)
		if err != nil {
			return nil, err
		}
		if !isModel {
			found.skipped++
			continue
		}
		model := s.describeModel(found.workbook, element, r)
		model.State, model.Error = judge(model, answer)
		found.models = append(found.models, model)
	}
	found.workbook.ModelCount = int32(len(found.models))
	return found, nil
}

// archive is a workbook with the models that an earlier scan saw in it, marked
// as archived: Sigma lists archived workbooks apart, and answers nothing about
// what is in them.
func (s *scanner) archive(ctx context.Context, workbook *pb.Workbook) (*contents, error) {
	found := &contents{workbook: workbook}
	workbook.Archived, workbook.Error, workbook.ScanTime = true, nil, s.now
	page := store.Page{Size: 1000}
	for {
		known, next, err := s.store.ListModels(ctx, s.connection, workbook.GetName(), page)
		if err != nil {
			return nil, fmt.Errorf("list an archived workbook's models: %w", err)
		}
		for _, listed := range known {
			model, err := s.store.Model(ctx, listed.GetName())
			if err != nil {
				return nil, fmt.Errorf("read an archived workbook's model: %w", err)
			}
			model.State, model.ScanTime = pb.ModelState_MODEL_STATE_ARCHIVED, s.now
			model.Error = &pb.Problem{
				Reason:   pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED,
				Resource: model.GetName(),
				Message:  "the workbook is archived in Sigma; restore it there",
			}
			found.models = append(found.models, model)
		}
		if page.Token = next; next == "" {
			return found, nil
		}
	}
}

func describeWorkbook(name string, workbook sigmaclient.Workbook, now *timestamppb.Timestamp) *pb.Workbook {
	described := &pb.Workbook{
		Name:          name,
		WorkbookId:    workbook.WorkbookID,
		DisplayName:   workbook.Name,
		Path:          workbook.Path,
		Url:           workbook.URL,
		OwnerId:       workbook.OwnerID,
		LatestVersion: int64(workbook.LatestVersion),
		Archived:      workbook.IsArchived,
		CreateTime:    timestamp(workbook.CreatedAt),
		UpdateTime:    timestamp(workbook.UpdatedAt),
		ScanTime:      now,
	}
	for _, tag := range workbook.Tags {
		described.Tags = append(described.Tags, tag.Name)
	}
	return described
}

func (s *scanner) describeModel(workbook *pb.Workbook, element sigmaclient.Element, r *reading) *pb.Model {
	model := &pb.Model{
		Name:                s.connection + "/models/" + workbook.GetWorkbookId() + "." + element.ElementID,
		Workbook:            workbook.GetName(),
		ElementId:           element.ElementID,
		DisplayName:         displayName(element),
		WorkbookDisplayName: workbook.GetDisplayName(),
		Path:                workbook.GetPath(),
		ElementType:         element.Type,
		VisualizationType:   element.VisualizationType,
		Url:                 workbook.GetUrl(),
		ScanTime:            s.now,
	}
	for _, column := range r.columns[element.ElementID] {
		model.Columns = append(model.Columns, &pb.Column{
			ColumnId: column.ColumnID, Label: column.Label, Formula: column.Formula, SigmaType: column.Type,
		})
	}
	model.ColumnCount = int32(len(model.GetColumns()))
	if id := r.sources[element.ElementID]; id != "" {
		model.SigmaWarehouse = s.warehouses[id]
		if model.GetSigmaWarehouse() == nil { // one that the credentials' owner may not see
			model.SigmaWarehouse = &pb.SigmaWarehouse{ConnectionId: id}
		}
	}
	return model
}

// judge tells whether a model can be read, as far as Sigma's answers show, and
// adds what a user should know to the model's findings.
func judge(model *pb.Model, answer queryAnswer) (pb.ModelState, *pb.Problem) {
	if answer.err != nil {
		problem := errmap.Problem(answer.err, model.GetName())
		return stateOf(problem.GetReason()), problem
	}
	if answer.query.Error != "" {
		return pb.ModelState_MODEL_STATE_BROKEN, &pb.Problem{
			Reason:   pb.ErrorReason_ERROR_REASON_MODEL_BROKEN,
			Resource: model.GetName(),
			Message:  "Sigma cannot produce the element's query; open the workbook in Sigma and mend the element",
		}
	}
	if answer.query.SQL == "" {
		return pb.ModelState_MODEL_STATE_WITHOUT_SQL, &pb.Problem{
			Reason:   pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL,
			Resource: model.GetName(),
			Message:  "Sigma has no query for this element; an element on a retired dataset has to be moved to a data model",
		}
	}
	var first *pb.Column
	for _, column := range model.GetColumns() {
		if column.GetSigmaType() != "error" {
			continue
		}
		if first == nil {
			first = column
		}
		model.Findings = append(model.Findings, &pb.Finding{
			Code:     pb.FindingCode_FINDING_CODE_COLUMN_BROKEN,
			Severity: pb.FindingSeverity_FINDING_SEVERITY_ERROR,
			Message:  fmt.Sprintf("The formula of the column %q has an error. Sigma would put its message into every row; open the workbook in Sigma and mend the formula.", column.GetLabel()),
		})
	}
	if first != nil {
		return pb.ModelState_MODEL_STATE_BROKEN, &pb.Problem{
			Reason:   pb.ErrorReason_ERROR_REASON_MODEL_BROKEN,
			Resource: model.GetName(),
			Message:  fmt.Sprintf("the formula of the column %q has an error; open the workbook in Sigma and mend it", first.GetLabel()),
		}
	}
	return pb.ModelState_MODEL_STATE_READY, nil
}

func stateOf(reason pb.ErrorReason) pb.ModelState {
	switch reason {
	case pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED:
		return pb.ModelState_MODEL_STATE_ARCHIVED
	case pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN:
		return pb.ModelState_MODEL_STATE_FORBIDDEN
	case pb.ErrorReason_ERROR_REASON_MODEL_GONE, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL:
		return pb.ModelState_MODEL_STATE_WITHOUT_SQL
	}
	return pb.ModelState_MODEL_STATE_BROKEN
}

func timestamp(t sigmaclient.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t.Time)
}

// reading is one workbook as Sigma's bulk calls give it. Four calls bring all
// of its elements; a call for a single element is made only where those leave a
// question.
type reading struct {
	elements []sigmaclient.Element
	queries  map[string]sigmaclient.Query    // by element id; nil where the bulk call failed
	columns  map[string][]sigmaclient.Column // by element id
	sources  map[string]string               // element id to Sigma's connection id
}

// read asks Sigma for one workbook. It fails where the workbook as a whole
// cannot be read.
func read(ctx context.Context, sigma *sigmaclient.Client, workbookID string) (*reading, error) {
	r := &reading{columns: map[string][]sigmaclient.Column{}}
	var err error
	if r.elements, err = sigma.Elements(ctx, workbookID); err != nil {
		return nil, fmt.Errorf("list elements: %w", err)
	}
	columns, err := sigma.Columns(ctx, workbookID)
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	for _, column := range columns {
		r.columns[column.ElementID] = append(r.columns[column.ElementID], column)
	}
	lineage, err := sigma.Lineage(ctx, workbookID)
	if err != nil {
		return nil, fmt.Errorf("list lineage: %w", err)
	}
	r.sources = connectionsOf(lineage)
	queries, err := sigma.Queries(ctx, workbookID)
	if err != nil && !isElementary(err) {
		return nil, fmt.Errorf("list queries: %w", err)
	}
	if err == nil {
		r.queries = map[string]sigmaclient.Query{}
		for _, query := range queries {
			// An element of several queries is readable if any of them is.
			if known, ok := r.queries[query.ElementID]; !ok || known.SQL == "" {
				r.queries[query.ElementID] = query
			}
		}
	}
	return r, nil
}

// connectionsOf follows an element's sources to the connection that they lie
// in. Elements whose sources tell of none are left out.
func connectionsOf(lineage []sigmaclient.LineageEntry) map[string]string {
	connection := map[string]string{}
	for _, entry := range lineage {
		if entry.ConnectionID != "" {
			connection[entry.ID()] = entry.ConnectionID
		}
	}
	of := map[string]string{}
	for _, entry := range lineage {
		for _, source := range entry.DataSourceIDs {
			if id := connection[source]; id != "" && entry.ElementID != "" {
				of[entry.ElementID] = id
			}
		}
	}
	return of
}

// queryAnswer is what Sigma says when asked for an element's query.
type queryAnswer struct {
	query sigmaclient.Query
	err   error // about this element alone
}

// query returns the answer for an element, and whether the element is a model
// at all. It fails where going on makes no sense.
func (r *reading) query(ctx context.Context, sigma *sigmaclient.Client, workbookID string, element sigmaclient.Element) (answer queryAnswer, isModel bool, err error) {
	if query, ok := r.queries[element.ElementID]; ok {
		return queryAnswer{query: query}, true, nil
	}
	if interfaceElements[element.Type] {
		return queryAnswer{}, false, nil
	}
	// A data element that the bulk call does not list, or a type that nobody
	// has described yet: the call for the one element tells.
	query, err := sigma.ElementQuery(ctx, workbookID, element.ElementID)
	switch {
	case err == nil:
		return queryAnswer{query: query}, true, nil
	case ctx.Err() != nil:
		return queryAnswer{}, false, ctx.Err()
	case !isElementary(err):
		return queryAnswer{}, false, err
	case !isDataElement(element.Type) && isKind(err, sigmaclient.KindNotFound, sigmaclient.KindInvalidRequest):
		return queryAnswer{}, false, nil
	}
	return queryAnswer{err: err}, true, nil
}
