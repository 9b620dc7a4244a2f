package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// askOneByOne is for how many missing documents Sigma is asked one by one. If more
// are missing, they may be archived, which one list tells of all.
const askOneByOne = 10

// missing looks after what is in the catalog and not in a complete listing. What
// Sigma confirms to be gone is taken out of the catalog: a listing alone is never
// evidence, since lists shift while they are being read. A version tag that was taken
// away is evidence of its own.
func (s *scanner) missing(ctx context.Context, listed []document, untagged map[string]bool) error {
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
	archive, err := s.archive(ctx, len(missing))
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, name := range missing {
		group.Go(func() error {
			switch {
			case untagged[name]:
				return s.lookAfter(ctx, gone, s.known[name].Workbook)
			case archive[name] != nil:
				return s.lookAfter(ctx, archived, archive[name])
			}
			now, described, err := s.fateOf(ctx, s.known[name].Workbook)
			if err != nil {
				return err
			}
			return s.lookAfter(ctx, now, described)
		})
	}
	return group.Wait()
}

// archive lists the archived workbooks by their names, where that saves calls.
func (s *scanner) archive(ctx context.Context, missing int) (map[string]*pb.Workbook, error) {
	if missing <= askOneByOne {
		return nil, nil
	}
	workbooks, err := s.link.Sigma.Workbooks(ctx, sigmaclient.OnlyArchived())
	if err != nil && !isElementary(err) {
		return nil, fmt.Errorf("list archived workbooks: %w", err)
	}
	archive := map[string]*pb.Workbook{}
	for _, workbook := range workbooks {
		if workbook.IsArchived {
			described := s.describeWorkbook(workbook).described
			archive[described.GetName()] = described
		}
	}
	return archive, nil
}

// lookAfter stores what became of a missing document. Where the store refuses it, the
// document stays as it was, and the scan has the problem.
func (s *scanner) lookAfter(ctx context.Context, now fate, described *pb.Workbook) error {
	changes, err := s.putFate(ctx, now, described)
	if refused, ok := errors.AsType[*store.DocumentError](err); ok {
		problem := errmap.Problem(refusal(described.GetName(), refused), "")
		s.progress.update(func(scan *pb.Scan) { addProblem(scan, problem) })
		return nil
	}
	if err != nil {
		return err
	}
	s.progress.update(func(scan *pb.Scan) { countChanges(scan, changes) })
	return nil
}

func (s *scanner) putFate(ctx context.Context, now fate, described *pb.Workbook) (changes []*pb.Change, err error) {
	switch now {
	case gone:
		if changes, err = s.store.RemoveWorkbook(ctx, s.claim, described.GetName()); err != nil {
			return nil, fmt.Errorf("remove a workbook that is gone: %w", err)
		}
	case archived:
		return s.putArchived(ctx, described)
	}
	return changes, nil
}

// putArchived stores an archived workbook, unless that is known.
func (s *scanner) putArchived(ctx context.Context, described *pb.Workbook) ([]*pb.Change, error) {
	known := s.known[described.GetName()].Workbook
	seen := unread(described, known)
	seen.Archived, seen.Error = true, nil
	if seen.ScanTime = known.GetScanTime(); proto.Equal(known, seen) {
		return nil, nil
	}
	seen.ScanTime = s.now
	changes, err := s.store.PutWorkbook(ctx, store.Seen{Claim: s.claim, Workbook: seen, Unread: true})
	if err != nil {
		return nil, fmt.Errorf("store an archived workbook: %w", err)
	}
	return changes, nil
}

// fate is what became of a document that is not listed, or cannot be read.
type fate int

const (
	there fate = iota
	archived
	gone
)

// fateOf asks Sigma for the document itself, and returns it as it is described now,
// or was before. Only a plain "not found" means that it is gone.
func (s *scanner) fateOf(ctx context.Context, before *pb.Workbook) (fate, *pb.Workbook, error) {
	now, err := s.describe(ctx, before)
	switch {
	case err == nil && now.GetArchived():
		return archived, now, nil
	case err == nil:
		return there, now, nil
	case isKind(err, sigmaclient.KindArchived):
		return archived, before, nil
	case isKind(err, sigmaclient.KindNotFound):
		return gone, before, nil
	case isElementary(err):
		return there, before, nil
	}
	return there, nil, fmt.Errorf("ask for a document: %w", err)
}

func (s *scanner) describe(ctx context.Context, before *pb.Workbook) (*pb.Workbook, error) {
	if before.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL {
		model, err := s.link.Sigma.DataModel(ctx, before.GetWorkbookId())
		if err != nil {
			return nil, err
		}
		return s.describeDataModel(model).described, nil
	}
	workbook, err := s.link.Sigma.Workbook(ctx, before.GetWorkbookId())
	if err != nil {
		return nil, err
	}
	return s.describeWorkbook(workbook).described, nil
}
