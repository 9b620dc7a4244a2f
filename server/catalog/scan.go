package catalog

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// Store is where the catalog is kept. *store.Store is one.
type Store interface {
	Connection(ctx context.Context, name string) (*pb.Connection, error)
	DueConnections(ctx context.Context, now time.Time) ([]*pb.Connection, error)
	StartDueScan(ctx context.Context, connection *pb.Connection, next time.Time, scan *pb.Scan, most int, ask store.Ask) (started bool, err error)
	StartScan(ctx context.Context, scan *pb.Scan, most int, ask store.Ask) (running *pb.Scan, started bool, err error)
	ClaimScan(ctx context.Context, name string) (*pb.Scan, store.Claim, error)
	KeepScan(ctx context.Context, claim store.Claim, scan *pb.Scan) (cancel bool, err error)
	EndScan(ctx context.Context, claim store.Claim, scan *pb.Scan) error
	ReleaseScan(ctx context.Context, claim store.Claim, ask store.Ask) error
	RescueScans(ctx context.Context, ask store.Ask) (int, error)
	CancelScan(ctx context.Context, name string) (*pb.Scan, error)
	ScanChanges(ctx context.Context, name string, each func(*pb.Change)) error
	Scan(ctx context.Context, name string) (*pb.Scan, error)
	ListScans(ctx context.Context, connection string, page store.Page) (scans []*pb.Scan, nextPageToken string, err error)
	PutWorkbook(ctx context.Context, seen store.Seen) ([]*pb.Change, error)
	RemoveWorkbook(ctx context.Context, claim store.Claim, workbook string) ([]*pb.Change, error)
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

// scanner is one pass over Sigma.
type scanner struct {
	store      Store
	link       *connections.Link
	connection string
	tag        string // the version tag that the connection is pinned to, or empty
	claim      store.Claim
	progress   *progress
	now        *timestamppb.Timestamp
	full       bool
	known      map[string]store.Known // as the catalog was when the scan began, by name
	finder     *sigmaclient.ConnectionFinder
	warehouses map[string]*pb.SigmaWarehouse // by Sigma's connection id

	warehousesDigest string
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
	digest := fnv.New128a()
	for _, id := range slices.Sorted(maps.Keys(s.warehouses)) {
		w := s.warehouses[id]
		fmt.Fprintf(digest, "%q %q %q %q\n", id, w.GetDisplayName(), w.GetType(), w.GetAccount())
	}
	s.warehousesDigest = hex.EncodeToString(digest.Sum(nil))
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
	if isKind(err, sigmaclient.KindForbidden, sigmaclient.KindNotFound) {
		// Not every organization or member has data models. Those that are known are
		// asked for one by one, see removeGone.
		problem := errmap.Problem(err, s.connection)
		s.progress.update(func(scan *pb.Scan) { addProblem(scan, problem) })
	} else if err != nil {
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
	return !s.full || known.Scan == s.claim.Scan
}

// keep stores a workbook with its models, all or nothing.
func (s *scanner) keep(ctx context.Context, d document, found *contents) error {
	marker := d.marker
	if found.failed > 0 { // the next scan asks again
		marker = ""
	}
	changes, err := s.store.PutWorkbook(ctx, store.Seen{Claim: s.claim, Workbook: found.workbook, Models: found.models, Marker: marker})
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
		scan.ElementsSkipped += found.workbook.GetSkippedElementCount()
		countChanges(scan, changes)
	})
	return nil
}

// keepUnchanged stores what the listing tells, where that is something new: a
// folder that is renamed moves the workbooks in it without touching them.
func (s *scanner) keepUnchanged(ctx context.Context, d document) error {
	known := s.known[d.described.GetName()]
	seen := proto.CloneOf(d.described)
	seen.ScanTime = known.Workbook.GetScanTime()
	seen.ModelCount, seen.UnreadableModelCount = known.Workbook.GetModelCount(), known.Workbook.GetUnreadableModelCount()
	seen.SkippedElementCount = known.Workbook.GetSkippedElementCount()
	var changes []*pb.Change
	if !proto.Equal(known.Workbook, seen) {
		var err error
		if changes, err = s.store.PutWorkbook(ctx, store.Seen{Claim: s.claim, Workbook: seen, Marker: d.marker, Unread: true}); err != nil {
			return fmt.Errorf("store an unchanged workbook: %w", err)
		}
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		if known.Scan != s.claim.Scan { // else an earlier run of this scan has read it
			scan.WorkbooksUnchanged++
		}
		scan.ModelsFound += seen.GetModelCount()
		scan.ModelsUnreadable += seen.GetUnreadableModelCount()
		scan.ElementsSkipped += seen.GetSkippedElementCount()
		countChanges(scan, changes)
	})
	return nil
}

// keepFailed stores a workbook that could not be read, with the error. Its models
// stay as they are.
func (s *scanner) keepFailed(ctx context.Context, d document, err error) error {
	failed := proto.CloneOf(d.described)
	failed.Error = errmap.Problem(err, failed.GetName())
	changes, err := s.store.PutWorkbook(ctx, store.Seen{Claim: s.claim, Workbook: failed, Unread: true})
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
	changes, err := s.store.RemoveWorkbook(ctx, s.claim, name)
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
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		if !isListed[name] && s.known[name].Workbook.GetGoneTime() == nil {
			missing = append(missing, name)
		}
	}
	inArchive, err := s.listArchive(ctx, missing)
	if err != nil {
		return err
	}
	for _, name := range missing {
		workbook := s.known[name].Workbook
		now := gone
		switch {
		case inArchive[name] && workbook.GetArchived():
			continue
		case inArchive[name]:
			now = archived
		case !untagged[name]:
			if now, err = fateOf(ctx, s.sigmaDocument(workbook)); err != nil {
				return err
			}
		}
		var changes []*pb.Change
		switch now {
		case gone:
			removed, err := s.store.RemoveWorkbook(ctx, s.claim, name)
			if err != nil {
				return fmt.Errorf("remove a workbook that is gone: %w", err)
			}
			changes = removed
		case archived:
			found, err := s.archive(ctx, workbook)
			if err != nil {
				return err
			}
			if changes, err = s.store.PutWorkbook(ctx, store.Seen{Claim: s.claim, Workbook: found.workbook, Models: found.models}); err != nil {
				return fmt.Errorf("store an archived workbook: %w", err)
			}
		}
		s.progress.update(func(scan *pb.Scan) { countChanges(scan, changes) })
	}
	return nil
}

// listArchive returns the names of all workbooks that are archived, if one of those
// that are missing of the listing may be: so that what lies in the archive for years
// is not asked for one by one in each scan.
func (s *scanner) listArchive(ctx context.Context, missing []string) (map[string]bool, error) {
	mayBe := func(name string) bool {
		return s.known[name].Workbook.GetDocumentKind() != pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL
	}
	names := map[string]bool{}
	if !slices.ContainsFunc(missing, mayBe) {
		return names, nil
	}
	workbooks, err := s.link.Sigma.Workbooks(ctx, sigmaclient.OnlyArchived(), sigmaclient.WithoutTags())
	if err != nil && !isElementary(err) {
		return nil, fmt.Errorf("list archived workbooks: %w", err)
	}
	for _, workbook := range workbooks {
		names[s.workbookName(workbook.WorkbookID)] = workbook.IsArchived
	}
	return names, nil
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
