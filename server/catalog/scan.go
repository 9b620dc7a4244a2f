package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/jobs"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// Store is where the catalog is kept. *store.Store is one.
type Store interface {
	Connection(ctx context.Context, name string) (*pb.Connection, error)
	StartScan(ctx context.Context, scan *pb.Scan, most int) (running *pb.Scan, started bool, err error)
	UpdateScan(ctx context.Context, scan *pb.Scan) error
	Scan(ctx context.Context, name string) (*pb.Scan, error)
	PutWorkbook(ctx context.Context, workbook *pb.Workbook, models []*pb.Model) error
	PutFailedWorkbook(ctx context.Context, workbook *pb.Workbook) error
	RemoveWorkbooksExcept(ctx context.Context, connection string, keep map[string]bool) (int, error)
	ListWorkbooks(ctx context.Context, connection string, page store.Page) (workbooks []*pb.Workbook, nextPageToken string, err error)
	ListModels(ctx context.Context, connection, workbook string, page store.Page) (models []*pb.Model, nextPageToken string, err error)
	Model(ctx context.Context, name string) (*pb.Model, error)
	RecentSchemas(ctx context.Context, model string) ([]*pb.Schema, error)
}

// readers is how many workbooks are read at once. Sigma's limiter decides how
// many calls are under way; this only has to keep it busy while results are
// being stored.
const readers = 8

// scan runs one scan to its end, whatever that is, and records it.
func (s *Service) scan(ctx context.Context, connection string, p *progress) {
	failure := errors.New("the scan panicked")
	defer func() {
		// The end is recorded even if the scan was cancelled, and before anybody
		// is told of it: who is told may start the next scan at once.
		scan, _ := p.snapshot()
		end(scan, outcome(ctx, failure))
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err := s.store.UpdateScan(ending, scan)
		if err != nil && !errors.Is(err, store.ErrNotFound) { // deleted with its connection
			s.logger.Error("the end of a scan could not be stored", "scan", scan.GetName(), "error", err)
		}
		p.replace(scan)
		s.logger.Info("scan ended", "scan", scan.GetName(), "state", scan.GetState().String(),
			"workbooks", scan.GetWorkbooksDone(), "models", scan.GetModelsFound(), "reason", scan.GetError().GetReason().String())
	}()
	link, err := s.links.Acquire(ctx, connection)
	if err != nil {
		failure = err
		return
	}
	defer link.Release()
	failure = (&scanner{
		store: s.store, link: link, connection: connection, tag: link.Connection.GetVersionTag(),
		progress: p, now: timestamppb.Now(), finder: link.Sigma.ConnectionFinder(), vanished: map[string]bool{},
	}).run(ctx)
}

// outcome prefers the reason for which a scan was ended to the errors that the
// ending led to.
func outcome(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, jobs.ErrCancelled):
		return cause
	case errors.Is(cause, jobs.ErrClosed):
		return errmap.New(pb.ErrorReason_ERROR_REASON_SCAN_INTERRUPTED, "", "the server stopped while the scan ran; start another")
	}
	return err
}

// end puts a scan into its last state. A nil failure means success.
func end(scan *pb.Scan, failure error) {
	scan.EndTime = timestamppb.Now()
	scan.Phase = pb.ScanPhase_SCAN_PHASE_DONE
	switch {
	case failure == nil:
		scan.State = pb.ScanState_SCAN_STATE_SUCCEEDED
	case errors.Is(failure, jobs.ErrCancelled):
		scan.State = pb.ScanState_SCAN_STATE_CANCELLED
	default:
		scan.State = pb.ScanState_SCAN_STATE_FAILED
		scan.Error = errmap.Problem(failure, "")
	}
}

// scanner is one pass over Sigma.
type scanner struct {
	store      Store
	link       *connections.Link
	connection string
	tag        string // the version tag that the connection is pinned to, or empty
	progress   *progress
	now        *timestamppb.Timestamp
	warehouses map[string]*pb.SigmaWarehouse // by Sigma's connection id
	finder     *sigmaclient.ConnectionFinder

	mu       sync.Mutex
	vanished map[string]bool // names of documents that are to leave the catalog
}

func (s *scanner) run(ctx context.Context) error {
	if err := s.signIn(ctx); err != nil {
		return err
	}
	s.progress.update(func(scan *pb.Scan) { scan.Phase = pb.ScanPhase_SCAN_PHASE_LISTING })
	documents, err := s.list(ctx)
	if err != nil {
		return err
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.Phase = pb.ScanPhase_SCAN_PHASE_READING
		scan.WorkbooksTotal = int32(len(documents))
	})
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, d := range documents {
		group.Go(func() error { return s.document(groupCtx, d) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return s.removeGone(ctx, documents)
}

// signIn makes sure that the catalog of one organization is never mixed with
// another's, and learns Sigma's warehouse connections.
func (s *scanner) signIn(ctx context.Context) error {
	who, err := s.link.Sigma.WhoAmI(ctx)
	if err != nil {
		return fmt.Errorf("sign in to Sigma: %w", err)
	}
	if known := s.link.Connection.GetOrganizationId(); known != "" && known != who.OrganizationID {
		return &errmap.Error{
			Reason:   pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED,
			Resource: s.connection,
			Message:  "the credentials belong to another Sigma organization than before; make a new connection for it",
			Metadata: map[string]string{"organization_id": who.OrganizationID, "expected_organization_id": known},
		}
	}
	warehouses, err := s.link.Sigma.Connections(ctx)
	if err != nil && !isElementary(err) {
		return fmt.Errorf("list Sigma's connections: %w", err)
	}
	s.warehouses = map[string]*pb.SigmaWarehouse{}
	for _, w := range warehouses {
		s.warehouses[w.ConnectionID] = &pb.SigmaWarehouse{ConnectionId: w.ConnectionID, DisplayName: w.Name, Type: w.Type, Account: cmp.Or(w.Account, w.Host)}
	}
	return nil
}

// list asks for all workbooks and data models, or for those that carry the
// connection's version tag.
func (s *scanner) list(ctx context.Context) ([]document, error) {
	workbooks, err := s.link.Sigma.Workbooks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list workbooks: %w", err)
	}
	dataModels, err := s.link.Sigma.DataModels(ctx)
	if err != nil {
		return nil, fmt.Errorf("list data models: %w", err)
	}
	var all []document
	add := func(d document) {
		if s.tag == "" || slices.Contains(d.described.GetTags(), s.tag) {
			all = append(all, d)
		} else {
			s.vanished[d.described.GetName()] = true // as far as this connection goes
		}
	}
	for _, workbook := range workbooks {
		add(s.describeWorkbook(workbook))
	}
	for _, model := range dataModels {
		add(s.describeDataModel(model))
	}
	return all, nil
}

// document reads and stores one document. It fails only where going on with
// the others makes no sense.
func (s *scanner) document(ctx context.Context, d document) error {
	name := d.described.GetName()
	if d.described.GetArchived() {
		return s.keepArchived(ctx, d)
	}
	found, err := s.read(ctx, d)
	switch {
	case err == nil:
		return s.keep(ctx, found)
	case ctx.Err() != nil:
		return ctx.Err()
	case !isElementary(err):
		return err
	}
	now, askErr := fateOf(ctx, d.sigma)
	switch {
	case askErr != nil:
		return askErr
	case now == gone:
		s.vanish(name)
		return nil
	case now == archived:
		return s.keepArchived(ctx, d)
	}
	failed := d.described
	failed.Error = errmap.Problem(err, name)
	if err := s.store.PutFailedWorkbook(ctx, failed); err != nil {
		return fmt.Errorf("record a failed workbook: %w", err)
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksFailed++
		addProblem(scan, failed.GetError())
	})
	return nil
}

// keep stores a workbook with its models, all or nothing.
func (s *scanner) keep(ctx context.Context, found *contents) error {
	if err := s.store.PutWorkbook(ctx, found.workbook, found.models); err != nil {
		return fmt.Errorf("store a workbook: %w", err)
	}
	unreadable := int32(0)
	for _, model := range found.models {
		if model.GetState() != pb.ModelState_MODEL_STATE_READY {
			unreadable++
		}
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.ModelsFound += int32(len(found.models))
		scan.ModelsUnreadable += unreadable
		scan.ElementsSkipped += found.skipped
	})
	return nil
}

func (s *scanner) keepArchived(ctx context.Context, d document) error {
	found, err := s.archive(ctx, d.described)
	if err != nil {
		return err
	}
	return s.keep(ctx, found)
}

// vanish notes a workbook that was listed and is gone.
func (s *scanner) vanish(name string) {
	s.mu.Lock()
	s.vanished[name] = true
	s.mu.Unlock()
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksVanished++
	})
}

// removeGone removes what a complete listing no longer shows and Sigma confirms
// to be gone: a listing alone is never evidence, since lists shift while they
// are being read.
func (s *scanner) removeGone(ctx context.Context, listed []document) error {
	keep := map[string]bool{}
	for _, d := range listed {
		name := d.described.GetName()
		keep[name] = !s.vanished[name]
	}
	page := store.Page{Size: 1000}
	for {
		known, next, err := s.store.ListWorkbooks(ctx, s.connection, page)
		if err != nil {
			return fmt.Errorf("list known workbooks: %w", err)
		}
		for _, workbook := range known {
			if _, listed := keep[workbook.GetName()]; listed || s.vanished[workbook.GetName()] {
				continue
			}
			now, err := fateOf(ctx, s.sigmaDocument(workbook))
			if err != nil {
				return err
			}
			keep[workbook.GetName()] = now != gone
			if now == archived {
				contents, err := s.archive(ctx, workbook)
				if err != nil {
					return err
				}
				if err := s.store.PutWorkbook(ctx, contents.workbook, contents.models); err != nil {
					return fmt.Errorf("store an archived workbook: %w", err)
				}
			}
		}
		if page.Token = next; next == "" {
			break
		}
	}
	if _, err := s.store.RemoveWorkbooksExcept(ctx, s.connection, keep); err != nil {
		return fmt.Errorf("remove workbooks that are gone: %w", err)
	}
	return nil
}

func (s *scanner) sigmaDocument(workbook *pb.Workbook) sigmaclient.Document {
	if workbook.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL {
		return s.link.Sigma.DataModelDocument(workbook.GetWorkbookId(), s.tag)
	}
	return s.link.Sigma.WorkbookDocument(workbook.GetWorkbookId(), s.tag)
}

// fate is what became of a document that is not listed, or cannot be read.
type fate int

const (
	there fate = iota
	archived
	gone
)

// fateOf asks Sigma for the document itself. Only a plain "not found" means
// that it is gone.
func fateOf(ctx context.Context, d sigmaclient.Document) (fate, error) {
	isArchived, err := d.Get(ctx)
	switch {
	case err == nil && isArchived, isKind(err, sigmaclient.KindArchived):
		return archived, nil
	case isKind(err, sigmaclient.KindNotFound):
		return gone, nil
	case err == nil, isElementary(err):
		return there, nil
	}
	return there, fmt.Errorf("ask for a document: %w", err)
}

func isKind(err error, kinds ...sigmaclient.Kind) bool {
	var failure *sigmaclient.Error
	return errors.As(err, &failure) && slices.Contains(kinds, failure.Kind)
}

// isElementary reports whether a failure is about the one thing that was asked
// for, so that a scan records it and goes on. Refused credentials, throttling
// and an unreachable Sigma would fail everything that follows as well.
func isElementary(err error) bool {
	return isKind(err, sigmaclient.KindForbidden, sigmaclient.KindNotFound, sigmaclient.KindArchived, sigmaclient.KindBroken,
		sigmaclient.KindWarehouseRefused, sigmaclient.KindInvalidRequest, sigmaclient.KindProtocol, sigmaclient.KindInternal)
}
