package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
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
	ListScans(ctx context.Context, connection string, page store.Page) (scans []*pb.Scan, nextPageToken string, err error)
	PutWorkbook(ctx context.Context, seen store.Seen) ([]*pb.Change, error)
	RemoveWorkbook(ctx context.Context, scan, workbook string) ([]*pb.Change, error)
	KnownWorkbooks(ctx context.Context, connection string) (map[string]store.Known, error)
	ListWorkbooks(ctx context.Context, connection string, options store.ListOptions, page store.Page) (workbooks []*pb.Workbook, nextPageToken string, err error)
	ListModels(ctx context.Context, connection string, options store.ListOptions, page store.Page) (models []*pb.Model, nextPageToken string, err error)
	ListChanges(ctx context.Context, connection string, after int64, size int32) ([]*pb.Change, error)
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
	scan, _ := p.snapshot()
	meter := &sigmaclient.Meter{}
	p.measure(meter)
	failure = (&scanner{
		store: s.store, link: link, connection: connection, tag: link.Connection.GetVersionTag(), scan: scan.GetName(),
		progress: p, now: timestamppb.Now(), begun: scan.GetCreateTime().AsTime(), full: scan.GetFull(),
		finder: link.Sigma.ConnectionFinder(),
	}).run(sigmaclient.WithMeter(ctx, meter))
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
	scan       string
	progress   *progress
	now        *timestamppb.Timestamp
	begun      time.Time // when the scan was asked for
	full       bool
	known      map[string]store.Known        // as the catalog was when the scan began, by name
	warehouses map[string]*pb.SigmaWarehouse // by Sigma's connection id
	finder     *sigmaclient.ConnectionFinder
}

func (s *scanner) run(ctx context.Context) (err error) {
	if err := s.signIn(ctx); err != nil {
		return err
	}
	s.progress.update(func(scan *pb.Scan) { scan.Phase = pb.ScanPhase_SCAN_PHASE_LISTING })
	if s.known, err = s.store.KnownWorkbooks(ctx, s.connection); err != nil {
		return err
	}
	documents, untagged, err := s.list(ctx)
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
	return s.removeGone(ctx, documents, untagged)
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

// list asks for all workbooks and data models. Where the connection is pinned to a
// version tag, those that do not carry it are left out, and told by name.
func (s *scanner) list(ctx context.Context) (all []document, untagged map[string]bool, err error) {
	workbooks, err := s.link.Sigma.Workbooks(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list workbooks: %w", err)
	}
	dataModels, err := s.link.Sigma.DataModels(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list data models: %w", err)
	}
	untagged = map[string]bool{}
	add := func(d document) {
		if s.tag == "" || slices.Contains(d.described.GetTags(), s.tag) {
			all = append(all, d)
		} else {
			untagged[d.described.GetName()] = true
		}
	}
	for _, workbook := range workbooks {
		add(s.describeWorkbook(workbook))
	}
	for _, model := range dataModels {
		add(s.describeDataModel(model))
	}
	return all, untagged, nil
}

// document reads and stores one document. It fails only where going on with
// the others makes no sense.
func (s *scanner) document(ctx context.Context, d document) error {
	switch {
	case d.described.GetArchived():
		return s.keepArchived(ctx, d.described)
	case s.isKnown(d):
		return s.keepUnchanged(ctx, d)
	}
	found, err := s.read(ctx, d)
	switch {
	case err == nil:
		return s.keep(ctx, d, found)
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
		return s.vanish(ctx, d.described.GetName())
	case now == archived:
		return s.keepArchived(ctx, d.described)
	}
	return s.keepFailed(ctx, d, err)
}

// isKnown reports whether a document need not be read: its contents are in the
// catalog. In a full scan only what this scan itself has put there before it was
// interrupted counts.
func (s *scanner) isKnown(d document) bool {
	known, ok := s.known[d.described.GetName()]
	if !ok || known.Marker != d.marker || known.Workbook.GetGoneTime() != nil || known.Workbook.GetArchived() {
		return false
	}
	return !s.full || !known.Workbook.GetScanTime().AsTime().Before(s.begun)
}

// keep stores a workbook with its models, all or nothing.
func (s *scanner) keep(ctx context.Context, d document, found *contents) error {
	marker := d.marker
	if found.failed > 0 { // the next scan asks again
		marker = ""
	}
	changes, err := s.store.PutWorkbook(ctx, store.Seen{Scan: s.scan, Workbook: found.workbook, Models: found.models, Marker: marker})
	if err != nil {
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
		scan.ModelsFailed += found.failed
		scan.ElementsSkipped += found.skipped
		countChanges(scan, changes)
	})
	return nil
}

// keepUnchanged stores what the listing tells, where that is something new: a
// folder that is renamed moves the workbooks in it without touching them.
func (s *scanner) keepUnchanged(ctx context.Context, d document) error {
	known := s.known[d.described.GetName()].Workbook
	seen := proto.CloneOf(d.described)
	seen.ModelCount, seen.ScanTime = known.GetModelCount(), known.GetScanTime()
	var changes []*pb.Change
	if !proto.Equal(known, seen) {
		var err error
		if changes, err = s.store.PutWorkbook(ctx, store.Seen{Scan: s.scan, Workbook: seen, Marker: d.marker, Unread: true}); err != nil {
			return fmt.Errorf("store an unchanged workbook: %w", err)
		}
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksUnchanged++
		scan.ModelsFound += known.GetModelCount()
		countChanges(scan, changes)
	})
	return nil
}

// keepFailed stores a workbook that could not be read, with the error. Its models
// stay as they are.
func (s *scanner) keepFailed(ctx context.Context, d document, err error) error {
	failed := proto.CloneOf(d.described)
	failed.Error = errmap.Problem(err, failed.GetName())
	changes, err := s.store.PutWorkbook(ctx, store.Seen{Scan: s.scan, Workbook: failed, Unread: true})
	if err != nil {
		return fmt.Errorf("record a failed workbook: %w", err)
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksFailed++
		addProblem(scan, failed.GetError())
		countChanges(scan, changes)
	})
	return nil
}

func (s *scanner) keepArchived(ctx context.Context, workbook *pb.Workbook) error {
	found, err := s.archive(ctx, workbook)
	if err != nil {
		return err
	}
	return s.keep(ctx, document{}, found)
}

// vanish takes a workbook out of the catalog that was listed and is gone.
func (s *scanner) vanish(ctx context.Context, name string) error {
	changes, err := s.store.RemoveWorkbook(ctx, s.scan, name)
	if err != nil {
		return fmt.Errorf("remove a workbook that is gone: %w", err)
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksVanished++
		countChanges(scan, changes)
	})
	return nil
}

// removeGone takes out of the catalog what a complete listing no longer shows and
// Sigma confirms to be gone: a listing alone is never evidence, since lists shift
// while they are being read. A version tag that was taken away is evidence of its
// own.
func (s *scanner) removeGone(ctx context.Context, listed []document, untagged map[string]bool) error {
	isListed := map[string]bool{}
	for _, d := range listed {
		isListed[d.described.GetName()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		workbook := s.known[name].Workbook
		if isListed[name] || workbook.GetGoneTime() != nil {
			continue
		}
		now := gone
		if !untagged[name] {
			var err error
			if now, err = fateOf(ctx, s.sigmaDocument(workbook)); err != nil {
				return err
			}
		}
		var changes []*pb.Change
		switch now {
		case gone:
			removed, err := s.store.RemoveWorkbook(ctx, s.scan, name)
			if err != nil {
				return fmt.Errorf("remove a workbook that is gone: %w", err)
			}
			changes = removed
		case archived:
			found, err := s.archive(ctx, workbook)
			if err != nil {
				return err
			}
			if changes, err = s.store.PutWorkbook(ctx, store.Seen{Scan: s.scan, Workbook: found.workbook, Models: found.models}); err != nil {
				return fmt.Errorf("store an archived workbook: %w", err)
			}
		}
		s.progress.update(func(scan *pb.Scan) { countChanges(scan, changes) })
	}
	return nil
}

// countChanges adds to a scan what it has changed. A model counts once, whatever
// became different of it.
func countChanges(scan *pb.Scan, changes []*pb.Change) {
	added, changed := map[string]bool{}, map[string]bool{}
	for _, change := range changes {
		switch change.GetKind() {
		case pb.ChangeKind_CHANGE_KIND_MODEL_ADDED, pb.ChangeKind_CHANGE_KIND_MODEL_RESTORED:
			scan.ModelsAdded++
			added[change.GetResource()] = true
		case pb.ChangeKind_CHANGE_KIND_MODEL_REMOVED:
			scan.ModelsRemoved++
		case pb.ChangeKind_CHANGE_KIND_MODEL_RENAMED, pb.ChangeKind_CHANGE_KIND_MODEL_BROKE, pb.ChangeKind_CHANGE_KIND_MODEL_RECOVERED,
			pb.ChangeKind_CHANGE_KIND_MODEL_SQL_CHANGED, pb.ChangeKind_CHANGE_KIND_COLUMN_ADDED, pb.ChangeKind_CHANGE_KIND_COLUMN_REMOVED,
			pb.ChangeKind_CHANGE_KIND_COLUMN_RENAMED, pb.ChangeKind_CHANGE_KIND_COLUMN_RETYPED:
			changed[change.GetResource()] = !added[change.GetResource()]
		}
	}
	for _, counts := range changed {
		if counts {
			scan.ModelsChanged++
		}
	}
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
