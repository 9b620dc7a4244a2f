package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/findings"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// contents is a workbook as the catalog keeps it.
type contents struct {
	workbook *pb.Workbook
	models   []*pb.Model
	failed   int32 // models on whose elements Sigma failed
	doubtful bool  // an answer was as of a document that is gone or archived
}

// document is a workbook or data model as Sigma lists it.
type document struct {
	described *pb.Workbook
	sigma     sigmaclient.Document
	marker    string // tells its contents, see marker
}

// read turns a document in Sigma into what the catalog keeps of it.
func (s *scanner) read(ctx context.Context, d document) (*contents, error) {
	found := &contents{workbook: proto.CloneOf(d.described)}
	r, err := s.ask(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, element := range r.elements {
		answer, isModel, err := r.query(ctx, d.sigma, element)
		if err != nil {
			return nil, err
		}
		if !isModel {
			found.workbook.SkippedElementCount++
			continue
		}
		found.doubtful = found.doubtful || isKind(answer.err, sigmaclient.KindNotFound, sigmaclient.KindArchived)
		model := s.describeModel(d.described, element, r)
		if isPassing(answer.err) {
			model.Error = errmap.Problem(answer.err, model.GetName())
			found.failed++
		} else {
			model.State, model.Error = s.judge(model, answer)
		}
		found.models = append(found.models, model)
	}
	return found, nil
}

// contentsRevision goes up when a scan keeps more of a workbook than before, so
// that all are read again.
const contentsRevision = 1

// marker tells the contents of a document: as long as it is the same, so are they.
// A connection that is pinned to a version tag reads another version when the tag
// is given anew. Models repeat what Sigma tells of its warehouse connections, so a
// change of one is a change of all.
func (s *scanner) marker(described *pb.Workbook, tags []string) string {
	text := fmt.Sprint(contentsRevision, "\x00", described.GetUpdateTime().AsTime().UnixNano(), "\x00", described.GetLatestVersion(), "\x00", s.link.Dialect, "\x00", s.tag, "\x00", s.warehousesDigest)
	if s.tag != "" {
		text += "\x00" + strings.Join(tags, "\x00")
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func (s *scanner) describeWorkbook(workbook sigmaclient.Workbook) document {
	described := &pb.Workbook{
		Name:          s.workbookName(workbook.WorkbookID),
		WorkbookId:    workbook.WorkbookID,
		DisplayName:   workbook.Name,
		Path:          workbook.Path,
		Url:           workbook.URL,
		OwnerId:       workbook.OwnerID,
		LatestVersion: int64(workbook.LatestVersion),
		Archived:      workbook.IsArchived,
		CreateTime:    timestamp(workbook.CreatedAt),
		UpdateTime:    timestamp(workbook.UpdatedAt),
		ScanTime:      s.now,
		DocumentKind:  pb.DocumentKind_DOCUMENT_KIND_WORKBOOK,
	}
	var versions []string
	for _, tag := range workbook.Tags {
		described.Tags = append(described.Tags, tag.Name)
		versions = append(versions, fmt.Sprint(tag.Name, " ", tag.TaggedWorkbookID, " ", tag.SourceWorkbookVersion))
	}
	return document{described: described, sigma: s.link.Sigma.WorkbookDocument(workbook.WorkbookID, s.tag), marker: s.marker(described, versions)}
}

func (s *scanner) describeDataModel(model sigmaclient.DataModel) document {
	described := &pb.Workbook{
		Name:          s.workbookName(model.DataModelID),
		WorkbookId:    model.DataModelID,
		DisplayName:   model.Name,
		Path:          model.Path,
		Url:           model.URL,
		OwnerId:       model.OwnerID,
		LatestVersion: int64(model.LatestVersion),
		Archived:      model.IsArchived,
		CreateTime:    timestamp(model.CreatedAt),
		UpdateTime:    timestamp(model.UpdatedAt),
		ScanTime:      s.now,
		DocumentKind:  pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL,
	}
	var versions []string
	for _, tag := range model.Tags {
		described.Tags = append(described.Tags, tag.TagName)
		versions = append(versions, fmt.Sprint(tag))
	}
	return document{described: described, sigma: s.link.Sigma.DataModelDocument(model.DataModelID, s.tag), marker: s.marker(described, versions)}
}

func (s *scanner) workbookName(id string) string { return s.connection + "/workbooks/" + id }

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
		DocumentKind:        workbook.GetDocumentKind(),
	}
	for _, column := range r.columns[element.ElementID] {
		model.Columns = append(model.Columns, &pb.Column{
			ColumnId: column.ColumnID, Label: column.Label, Formula: column.Formula, SigmaType: column.Type,
		})
	}
	model.ColumnCount = int32(len(model.GetColumns()))
	if id := r.sources[element.ElementID].ConnectionID; id != "" {
		model.SigmaWarehouse = s.warehouses[id]
		if model.GetSigmaWarehouse() == nil { // one that the credentials' owner may not see
			model.SigmaWarehouse = &pb.SigmaWarehouse{ConnectionId: id}
		}
	}
	return model
}

// judge tells whether a model can be read, as far as Sigma's answers show, and
// adds what a user should know to the model.
func (s *scanner) judge(model *pb.Model, answer queryAnswer) (pb.ModelState, *pb.Problem) {
	unreadable := func(state pb.ModelState, reason pb.ErrorReason, message string) (pb.ModelState, *pb.Problem) {
		return state, &pb.Problem{Reason: reason, Resource: model.GetName(), Message: message}
	}
	switch {
	case answer.err != nil:
		problem := errmap.Problem(answer.err, model.GetName())
		return stateOf(problem.GetReason()), problem
	case answer.query.Error != "":
		return unreadable(pb.ModelState_MODEL_STATE_BROKEN, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN,
			"Sigma cannot produce the element's query; open the workbook in Sigma and mend the element")
	case answer.query.SQL == "":
		return unreadable(pb.ModelState_MODEL_STATE_WITHOUT_SQL, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL,
			"Sigma has no query for this element; an element on a retired dataset has to be moved to a data model")
	}
	query, err := sigmasql.Prepare(answer.query.SQL, sigmasql.Options{Dialect: s.link.Dialect})
	var unsupported *sigmasql.Error
	if errors.As(err, &unsupported) {
		return unreadable(pb.ModelState_MODEL_STATE_BROKEN, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED,
			"Sigma's text for this element is not one query that can be read safely: "+unsupported.Reason.String())
	}
	model.SqlFingerprint = query.Hash()
	var found findings.List
	found.AddText(query)
	broken := brokenColumns(model, query)
	if len(broken) > 0 {
		found.Error(pb.FindingCode_FINDING_CODE_COLUMN_BROKEN,
			"Formulas have errors in Sigma (%s), and Sigma would put its messages into every row. Open the workbook in Sigma and mend them, or read the other columns by naming them.", strings.Join(broken, ", "))
	}
	model.Findings = found.All()
	if len(broken) > 0 {
		return unreadable(pb.ModelState_MODEL_STATE_BROKEN, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN,
			"formulas have errors in Sigma: "+strings.Join(broken, ", "))
	}
	return pb.ModelState_MODEL_STATE_READY, nil
}

// brokenColumns lists the columns whose formulas have errors, by Sigma's types
// and by the messages that Sigma writes into the SQL in the place of values.
func brokenColumns(model *pb.Model, query *sigmasql.Query) []string {
	var broken []string
	add := func(label string) {
		if label = strconv.Quote(label); !slices.Contains(broken, label) {
			broken = append(broken, label)
		}
	}
	for _, column := range model.GetColumns() {
		if column.GetSigmaType() == "error" {
			add(column.GetLabel())
		}
	}
	for _, literal := range query.BrokenLiterals() {
		if literal.Column != "" {
			add(literal.Column)
		}
	}
	if len(broken) == 0 && len(query.BrokenLiterals()) > 0 {
		broken = append(broken, "a column that cannot be told from the text")
	}
	return broken
}

// isPassing reports whether Sigma failed on an element, which is no word on the
// element itself.
func isPassing(err error) bool {
	return isKind(err, sigmaclient.KindInternal, sigmaclient.KindProtocol)
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

// reading is one document as Sigma's bulk calls give it. Four calls bring all
// of its elements; a call for a single element is made only where those leave a
// question.
type reading struct {
	elements []sigmaclient.Element
	queries  map[string]sigmaclient.Query      // by element id; nil where the bulk call failed
	columns  map[string][]sigmaclient.Column   // by element id
	sources  map[string]sigmaclient.Provenance // by element id
}

// ask asks Sigma for one document. It fails where the document as a whole
// cannot be read.
func (s *scanner) ask(ctx context.Context, d document) (*reading, error) {
	sigma, r := d.sigma, &reading{columns: map[string][]sigmaclient.Column{}}
	var err error
	if r.elements, err = sigma.Elements(ctx); err != nil {
		return nil, fmt.Errorf("list elements: %w", err)
	}
	columns, err := sigma.Columns(ctx)
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	for _, column := range columns {
		r.columns[column.ElementID] = append(r.columns[column.ElementID], column)
	}
	lineage, err := sigma.Lineage(ctx)
	if err != nil && !isKind(err, sigmaclient.KindInternal) {
		return nil, fmt.Errorf("list lineage: %w", err)
	}
	var sources []sigmaclient.Source
	if sigmaclient.LineageNeedsSources(lineage) {
		if sources, err = sigma.Sources(ctx); err != nil {
			return nil, fmt.Errorf("list sources: %w", err)
		}
	}
	if r.sources, err = s.finder.Find(ctx, lineage, sources); err != nil {
		return nil, fmt.Errorf("find the warehouse: %w", err)
	}
	queries, listed, err := sigma.Queries(ctx)
	if isKind(err, sigmaclient.KindNotFound, sigmaclient.KindArchived) {
		// Before each element is asked for in vain: the document may be no more.
		if now, _, askErr := s.fateOf(ctx, d.described); askErr != nil || now != there {
			return nil, cmp.Or(askErr, err)
		}
	}
	if err != nil && !isElementary(err) {
		return nil, fmt.Errorf("list queries: %w", err)
	}
	if listed {
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

// queryAnswer is what Sigma says when asked for an element's query.
type queryAnswer struct {
	query sigmaclient.Query
	err   error // about this element alone
}

// query returns the answer for an element, and whether the element is a model
// at all. It fails where going on makes no sense.
func (r *reading) query(ctx context.Context, sigma sigmaclient.Document, element sigmaclient.Element) (answer queryAnswer, isModel bool, err error) {
	if query, ok := r.queries[element.ElementID]; ok {
		return queryAnswer{query: query}, true, nil
	}
	if interfaceElements[element.Type] {
		return queryAnswer{}, false, nil
	}
	// A data element that the bulk call does not list, or a type that nobody
	// has described yet: the call for the one element tells.
	query, err := sigma.ElementQuery(ctx, element.ElementID)
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
