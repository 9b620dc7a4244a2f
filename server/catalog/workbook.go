package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// contents is a workbook as the catalog stores it.
type contents struct {
	workbook *pb.Workbook
	models   []*pb.Model
	failed   int32 // models whose element Sigma failed on
	doubtful bool  // an answer was as of a document that is gone or archived
}

// document is a workbook or data model as Sigma lists it.
type document struct {
	described *pb.Workbook
	sigma     sigmaclient.Document
	marker    string // tells its contents, see marker
}

// read reads a document from Sigma.
func (s *scanner) read(ctx context.Context, d document) (*contents, error) {
	r, err := s.ask(ctx, d)
	if err != nil {
		return nil, err
	}
	found := &contents{workbook: proto.CloneOf(d.described)}
	found.workbook.RefusedCalls = s.refusedCalls(d, r)
	for _, err := range []error{r.columnsErr, r.lineage.LineageErr, r.lineage.SourcesErr} {
		found.doubtful = found.doubtful || isKind(err, sigmaclient.KindNotFound, sigmaclient.KindArchived)
	}
	seen := map[string]bool{}
	for _, element := range r.elements {
		if !s.hasName(d.described, s.modelName(d.described, element.ElementID)) {
			found.workbook.SkippedElementCount++
			continue
		}
		answer, isModel, err := s.query(ctx, r, d.sigma, element)
		if err != nil {
			return nil, err
		}
		if !isModel {
			found.workbook.SkippedElementCount++
			continue
		}
		found.doubtful = found.doubtful || isKind(answer.err, sigmaclient.KindNotFound, sigmaclient.KindArchived)
		m := s.describeModel(d.described, element)
		seen[m.GetName()] = true
		columns := s.columnsOf(d, r, element, m.GetName())
		setColumns(m, columns)
		if isTransient(answer.err) {
			m.Error = errmap.Problem(answer.err, m.GetName())
			found.failed++
		} else {
			if err := s.assess(ctx, m, element, columns, answer, r); err != nil {
				return nil, err
			}
		}
		found.models = append(found.models, m)
	}
	if r.short[callElements] {
		kept, err := s.unlisted(ctx, d, r.earlier, seen)
		if err != nil {
			return nil, err
		}
		found.models = append(found.models, kept...)
	}
	return found, nil
}

// unlisted returns the stored models that an incomplete list of elements lacks, as they are. Only those go that Sigma itself
// does not find.
func (s *scanner) unlisted(ctx context.Context, d document, stored map[string]*pb.Model, seen map[string]bool) (kept []*pb.Model, err error) {
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		m := stored[name]
		if seen[name] || m.GetState() == pb.ModelState_MODEL_STATE_GONE {
			continue
		}
		_, err := d.sigma.ElementQuery(ctx, m.GetElementId())
		// Of an element that had no query when Sigma listed it, "not found" is no news.
		hadQuery := m.GetError().GetReason() != pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL
		if hadQuery && isKind(err, sigmaclient.KindNotFound) {
			continue
		}
		if err := s.requireRefusal(ctx, err); err != nil {
			return nil, fmt.Errorf("look for an element that is not listed: %w", err)
		}
		m.WorkbookDisplayName, m.Path, m.Url = d.described.GetDisplayName(), d.described.GetPath(), d.described.GetUrl()
		kept = append(kept, m)
	}
	return kept, nil
}

func setColumns(m *pb.Model, columns model.Columns) {
	for _, column := range columns.List {
		m.Columns = append(m.Columns, &pb.Column{
			ColumnId: column.ColumnID, Label: column.Label, Formula: column.Formula, SigmaType: column.Type,
		})
	}
	m.ColumnCount = int32(len(m.GetColumns()))
}

// assess decides how a model can be read, and adds that to it. It fails where going on makes no sense.
func (s *scanner) assess(ctx context.Context, m *pb.Model, element sigmaclient.Element, columns model.Columns, answer queryAnswer, r *reading) error {
	of := model.Element{Name: m.GetName(), IsListed: isDataElement(element.Type), Query: answer.query, QueryErr: answer.err, Columns: columns}
	of.CustomSQL, of.CustomSQLErr = r.lineage.CustomSQL(element.ElementID)
	of.BuiltOnSQL = r.lineage.BuiltOnSQL(element.ElementID)
	upstream, err := s.finder.FindUpstream(ctx, r.lineage.Elements[element.ElementID], r.listColumns)
	if err == nil {
		err = s.requireRefusal(ctx, upstream.Err)
	}
	if err != nil {
		return fmt.Errorf("find what an element builds on: %w", err)
	}
	of.SetUpstream(upstream, r.lineage.LineageErr)
	of.Controls = model.Controls(r.controls, upstream)
	sigmaWarehouse, unknown := s.warehouseOf(m.GetName(), element, r)
	of.SetWarehouse(sigmaWarehouse)
	assessed := model.Assess(of, s.link.ModelOptions())
	if assessed.Query != nil {
		m.SqlFingerprint = assessed.Query.Hash()
		m.SigmaWarehouse = sigmaWarehouse
		if unknown != nil {
			assessed.Findings.UnknownWarehouse(unknown.cause, unknown.message)
		}
		s.offsets.add(assessed.Query.Traits().ZoneOffsets)
	}
	state, findings, problem := assessed.CatalogState()
	m.State, m.Findings = state, findings
	if problem != nil {
		m.Error = errmap.Problem(problem, m.GetName())
	}
	return nil
}

// unknownWarehouse is why it is not known which warehouse an element reads from. The cause may be nil.
type unknownWarehouse struct {
	cause   error
	message string
}

// warehouseOf returns the warehouse that the element reads from. Where Sigma does not show it, it returns the one that an
// earlier scan of the same version saw, or nil, and why it is not known.
func (s *scanner) warehouseOf(name string, element sigmaclient.Element, r *reading) (*pb.SigmaWarehouse, *unknownWarehouse) {
	of := r.lineage.Elements[element.ElementID]
	if of.Status == sigmaclient.ConnectionKnown {
		if known := s.warehouses[of.ConnectionID]; known != nil {
			return known, nil
		}
		return &pb.SigmaWarehouse{ConnectionId: of.ConnectionID}, nil // one that the credentials' owner may not see
	}
	cause, why := r.lineage.LineageErr, "Sigma refuses the workbook's lineage"
	switch {
	case errors.Is(cause, sigmaclient.ErrVersionNotListed):
		cause, why = nil, "Sigma lists the lineage of the newest version only, and the connection reads another one"
	case cause == nil:
		why = "Sigma does not show which warehouse the element reads from: " + of.Status.String()
		if of.Refusal != nil {
			cause = of.Refusal
		}
	}
	isRefused := r.lineage.LineageErr != nil || of.Refusal != nil || r.short[callLineage]
	earlier := r.earlier[name].GetSigmaWarehouse()
	if !isRefused || !r.isSameVersion {
		earlier = nil
	}
	if earlier != nil {
		why += ". The warehouse is the one that an earlier scan saw"
	}
	return earlier, &unknownWarehouse{cause, why + ". Make sure that the element reads from the connection's warehouse."}
}

// contentsRevision goes up when a scan keeps more of a workbook than before, so
// that all are read again.
const contentsRevision = 3

// marker identifies the contents of a document: as long as it is the same, so are they. It is empty where Sigma sends no
// revision, so that the document is read by every scan.
// A connection that is pinned to a version tag reads another version when the tag
// is given anew.
func (s *scanner) marker(described *pb.Workbook, tags []string) string {
	if described.GetUpdateTime() == nil && described.GetLatestVersion() <= 0 {
		return ""
	}
	text := fmt.Sprint(contentsRevision, "\x00", described.GetUpdateTime().AsTime().UnixNano(), "\x00", described.GetLatestVersion(), "\x00", s.marked, "\x00", s.bookmark(described.GetWorkbookId()))
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
	versionID := ""
	for _, tag := range workbook.Tags {
		if tag.Name == s.tag {
			versionID = tag.TaggedWorkbookID
		}
		described.Tags = append(described.Tags, tag.Name)
		versions = append(versions, fmt.Sprint(tag.Name, " ", tag.TaggedWorkbookID, " ", tag.SourceWorkbookVersion))
	}
	sigma := s.link.Sigma.WorkbookDocument(workbook.WorkbookID, s.tag).AtVersion(versionID).AtBookmark(s.bookmark(workbook.WorkbookID))
	return document{described: described, sigma: sigma, marker: s.marker(described, versions)}
}

// bookmark returns the id of the bookmark at which the connection reads a workbook, or nothing.
func (s *scanner) bookmark(workbookID string) string {
	return s.link.Connection.GetBookmarkIds()[workbookID]
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

func (s *scanner) modelName(workbook *pb.Workbook, elementID string) string {
	return s.connection + "/models/" + workbook.GetWorkbookId() + "." + elementID
}

// hasName reports whether a model's name is a resource name. An element whose id is not of the form that Sigma's ids have
// cannot be addressed: it is a problem of the scan, which goes on.
func (s *scanner) hasName(workbook *pb.Workbook, name string) bool {
	_, err := resource.ParseModel(name)
	if err != nil {
		s.progress.update(func(scan *pb.Scan) { addProblem(scan, oddID(workbook.GetName(), "an element of this workbook")) })
	}
	return err == nil
}

// oddID returns the problem of something whose id no resource name can hold.
func oddID(resource, what string) *pb.Problem {
	return &pb.Problem{
		Reason: pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL, Resource: resource,
		Message: what + " has an id of an unknown form and is left out; report the form of the id",
	}
}

func (s *scanner) describeModel(workbook *pb.Workbook, element sigmaclient.Element) *pb.Model {
	return &pb.Model{
		Name:                s.modelName(workbook, element.ElementID),
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
}

// isTransient reports whether the error is Sigma's and may go away on retry, so that it says nothing about the element.
func isTransient(err error) bool {
	return err != nil && (isKind(err, sigmaclient.KindInternal, sigmaclient.KindProtocol) || !isElementary(err))
}

func timestamp(t sigmaclient.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t.Time)
}
