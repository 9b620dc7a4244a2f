package catalog

import (
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
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/resource"
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
	ListChanges(ctx context.Context, connection string, after store.ChangeCursor, size int32) (*store.ChangePage, error)
	Model(ctx context.Context, name string) (*pb.Model, error)
	ModelsOf(ctx context.Context, workbook string) ([]*pb.Model, error)
	ZoneOffsets(ctx context.Context, connection string) ([]store.ZoneOffset, error)
	PutZoneOffsets(ctx context.Context, connection string, offsets []store.ZoneOffset) error
	RecentSchemas(ctx context.Context, model string) ([]*pb.Schema, error)
	Reads(ctx context.Context, model string) ([]*pb.CompletedRead, error)
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
	offsets    zoneEvidence

	// marked identifies the settings and facts that all models depend on, apart from their documents.
	marked string
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
	if err := s.missing(ctx, documents, untagged); err != nil {
		return err
	}
	return s.keepOffsets(ctx)
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
		s.warehouses[w.ConnectionID] = model.DescribeWarehouse(w)
	}
	s.marked = s.mark(who)
	return nil
}

// mark returns an identifier of the facts that the models of a connection depend on, apart from
// their documents: its settings, Sigma's warehouse connections, and the member whose
// credentials fetch the SQL.
func (s *scanner) mark(who sigmaclient.Identity) string {
	digest := fnv.New128a()
	options := s.link.ModelOptions()
	fmt.Fprintf(digest, "%q %t %v %q %v %q %q\n", options.Dialect, options.TimeZone != nil, options.TimeZone, options.VersionTag, options.AllowTimeZoneMismatch, options.Namespace, who.UserID)
	for _, id := range slices.Sorted(maps.Keys(s.warehouses)) {
		w := s.warehouses[id]
		fmt.Fprintf(digest, "%q %q %q %q %q %q\n", id, w.GetDisplayName(), w.GetType(), w.GetAccount(), w.GetRole(), w.GetRolePerViewer())
		for _, schema := range w.GetWriteBackSchemas() {
			fmt.Fprintf(digest, "%q %q\n", schema.GetDatabase(), schema.GetSchema())
		}
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// list asks for all workbooks and data models. Where the connection is pinned to a
// version tag, those that do not carry it are left out, and told by name.
func (s *scanner) list(ctx context.Context) (all []document, untagged map[string]bool, err error) {
	gaps := &sigmaclient.IncompleteLists{}
	listing := sigmaclient.WithIncompleteLists(ctx, gaps)
	workbooks, err := s.link.Sigma.Workbooks(listing)
	if err != nil {
		return nil, nil, fmt.Errorf("list workbooks: %w", err)
	}
	dataModels, err := s.link.Sigma.DataModels(listing)
	if isKind(err, sigmaclient.KindForbidden, sigmaclient.KindNotFound) {
		// Not every organization or member has data models. Those that are known are
		// asked for one by one, see missing.
		problem := errmap.Problem(err, s.connection)
		s.progress.update(func(scan *pb.Scan) { addProblem(scan, problem) })
	} else if err != nil {
		return nil, nil, fmt.Errorf("list data models: %w", err)
	}
	s.addGaps(s.connection, gaps)
	untagged = map[string]bool{}
	add := func(d document) {
		if _, err := resource.ParseWorkbook(d.described.GetName()); err != nil {
			s.progress.update(func(scan *pb.Scan) { addProblem(scan, oddID(s.connection, "a workbook or data model")) })
			return
		}
		if s.tag == "" || slices.Contains(d.described.GetTags(), s.tag) {
			all = append(all, d)
		} else {
			untagged[d.described.GetName()] = true
		}
	}
	for _, workbook := range workbooks {
		add(s.describeWorkbook(workbook))
	}
	for _, m := range dataModels {
		add(s.describeDataModel(m))
	}
	return all, untagged, nil
}

// document reads and stores one document. It fails only where going on with
// the others makes no sense.
func (s *scanner) document(ctx context.Context, d document) error {
	err := s.readDocument(ctx, d)
	if refused, ok := errors.AsType[*store.DocumentError](err); ok {
		return s.keepRefused(ctx, d, refused)
	}
	return err
}

func (s *scanner) readDocument(ctx context.Context, d document) error {
	switch {
	case d.described.GetArchived():
		return s.keepArchived(ctx, d.described)
	case s.isKnown(d):
		isAnswered, calls, err := s.retryRefused(ctx, d)
		if err != nil {
			return err
		}
		if !isAnswered {
			return s.keepUnchanged(ctx, d, calls)
		}
	}
	found, err := s.read(ctx, d)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && !found.doubtful:
		return s.keep(ctx, d, found)
	}
	if outage := s.requireRefusal(ctx, err); outage != nil {
		return outage
	}
	now, described, askErr := s.fateOf(ctx, d.described)
	switch {
	case askErr != nil:
		return askErr
	case now == gone:
		return s.vanish(ctx, d.described.GetName())
	case now == archived:
		return s.keepArchived(ctx, described)
	case err == nil:
		return s.keep(ctx, d, found)
	}
	return s.keepFailed(ctx, d, err)
}

// isKnown reports whether a document need not be read: its contents are in the
// catalog. In a full scan only what this scan itself has put there before it was
// interrupted counts.
func (s *scanner) isKnown(d document) bool {
	known, ok := s.known[d.described.GetName()]
	if !ok || d.marker == "" || known.Marker != d.marker || known.Workbook.GetGoneTime() != nil || known.Workbook.GetArchived() {
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
	for _, m := range found.models {
		if m.GetState() != pb.ModelState_MODEL_STATE_READY {
			unreadable++
		}
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.ModelsFound += int32(len(found.models))
		scan.ModelsUnreadable += unreadable
		scan.ModelsFailed += found.failed
		scan.ElementsSkipped += found.workbook.GetSkippedElementCount()
		countIncomplete(scan, found.workbook)
		countChanges(scan, changes)
	})
	return nil
}

// keepUnchanged stores what the listing tells, where that is something new: a
// folder that is renamed moves the workbooks in it without touching them.
func (s *scanner) keepUnchanged(ctx context.Context, d document, refused []*pb.RefusedCall) error {
	known := s.known[d.described.GetName()]
	seen := unread(d.described, known.Workbook)
	seen.RefusedCalls = refused
	seen.ScanTime = known.Workbook.GetScanTime()
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
		countIncomplete(scan, seen)
		countChanges(scan, changes)
	})
	return nil
}

// unread is a document as it is described, with what only its contents tell as it
// was known.
func unread(described, known *pb.Workbook) *pb.Workbook {
	seen := proto.CloneOf(described)
	seen.ModelCount, seen.UnreadableModelCount = known.GetModelCount(), known.GetUnreadableModelCount()
	seen.SkippedElementCount, seen.RefusedCalls = known.GetSkippedElementCount(), known.GetRefusedCalls()
	return seen
}

// countIncomplete adds a workbook of which Sigma refused calls to a scan.
func countIncomplete(scan *pb.Scan, workbook *pb.Workbook) {
	if len(workbook.GetRefusedCalls()) == 0 {
		return
	}
	scan.WorkbooksIncomplete++
	for _, refused := range workbook.GetRefusedCalls() {
		addProblem(scan, refused.GetProblem())
	}
}

// keepFailed stores a workbook that could not be read, with the error. Its models
// stay as they are.
func (s *scanner) keepFailed(ctx context.Context, d document, err error) error {
	failed := proto.CloneOf(d.described)
	failed.RefusedCalls = s.known[d.described.GetName()].Workbook.GetRefusedCalls()
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

// keepRefused stores a workbook whose contents the store refuses as one that could
// not be read. Where the store refuses what the listing tells as well, the workbook
// stays as it was, and the scan alone has the problem.
func (s *scanner) keepRefused(ctx context.Context, d document, refused *store.DocumentError) error {
	failure := refusal(d.described.GetName(), refused)
	err := s.keepFailed(ctx, d, failure)
	if _, ok := errors.AsType[*store.DocumentError](err); !ok {
		return err
	}
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.WorkbooksFailed++
		addProblem(scan, errmap.Problem(failure, ""))
	})
	return nil
}

// refusal explains that the store refuses a workbook.
func refusal(workbook string, refused *store.DocumentError) *errmap.Error {
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_INTERNAL,
		Resource: workbook,
		Message: fmt.Sprintf("the catalog's database refuses the contents of the workbook (%s): a name, path or label is too long or has characters "+
			"that the database does not store; change it in Sigma", refused.Code),
		Err: refused,
	}
}

// keepArchived stores an archived workbook. Sigma answers nothing about what is in
// it: the models are those that an earlier scan saw.
func (s *scanner) keepArchived(ctx context.Context, described *pb.Workbook) error {
	changes, err := s.putArchived(ctx, described)
	if err != nil {
		return err
	}
	known := s.known[described.GetName()].Workbook
	s.progress.update(func(scan *pb.Scan) {
		scan.WorkbooksDone++
		scan.ModelsFound += known.GetModelCount()
		scan.ModelsUnreadable += known.GetModelCount()
		scan.ElementsSkipped += known.GetSkippedElementCount()
		countChanges(scan, changes)
	})
	return nil
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
