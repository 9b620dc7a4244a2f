package query

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/store"
)

const (
	// defaultShrunkRatio is the share of the last read's rows below which a result has the finding RESULT_SHRUNK.
	defaultShrunkRatio = 0.5
	// readRetention is how long the figures of a complete read are stored. A later read of the model stores them anew.
	readRetention = 400 * 24 * time.Hour
)

// rowExpectation is what a full read requires of the count of its rows: a result that is empty, or much smaller than the
// last one, may be one that a row-level rule, a role, a control or a version tag has emptied, and a sync that mirrors it
// would delete everything.
type rowExpectation struct {
	model  string
	kind   *pb.CompletedRead // the limit policy and so on, without figures
	last   *pb.CompletedRead // the last complete read of this kind, or nil
	begun  time.Time
	min    int64
	ratio  float64
	allows bool // an empty result
	owner  bool // row-level rules apply, with the owner of the Sigma credential as the user

	refused refusedFindings
}

// expectRows returns what a read session requires of the count of its rows.
func (s *Service) expectRows(ctx context.Context, p *plan, link *connections.Link, request *pb.CreateReadSessionRequest) (*rowExpectation, error) {
	ratio := defaultShrunkRatio
	if link.Connection.ShrunkRatio != nil {
		ratio = link.Connection.GetShrunkRatio()
	}
	e := &rowExpectation{
		model: p.name.String(), begun: time.Now(), min: request.GetExpectedMinRows(), ratio: ratio, refused: p.refused,
		owner:  p.assessed.OwnerRulesApply(),
		allows: request.GetAllowEmpty() || link.Connection.GetAllowEmpty(),
		kind: &pb.CompletedRead{
			BookmarkId:    p.bookmark,
			DistinctGroup: request.GetDistinctGroup(),
		},
	}
	if policy := request.GetLimitPolicy(); policy != pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED {
		e.kind.LimitPolicy = strings.TrimPrefix(policy.String(), "LIMIT_POLICY_")
	}
	reads, err := s.store.Reads(ctx, e.model)
	for _, read := range reads {
		if e.last == nil && e.isSameKind(read) {
			e.last = read
		}
	}
	return e, err
}

func (e *rowExpectation) isSameKind(read *pb.CompletedRead) bool {
	return read.GetLimitPolicy() == e.kind.GetLimitPolicy() && read.GetBookmarkId() == e.kind.GetBookmarkId() && read.GetDistinctGroup() == e.kind.GetDistinctGroup()
}

// judge compares the count of a result's rows with what is required, and adds the finding RESULT_SHRUNK where it applies.
// It fails with RESULT_EMPTY, RESULT_TOO_SMALL or FINDING_REFUSED.
func (e *rowExpectation) judge(rows int64, findings *model.Findings) error {
	if rows == 0 && !e.allows {
		if err := e.refuseEmpty(); err != nil {
			return err
		}
	}
	if rows < e.min {
		return &errmap.Error{
			Reason: pb.ErrorReason_ERROR_REASON_RESULT_TOO_SMALL, Resource: e.model,
			Message:  fmt.Sprintf("the result has %d rows, and the request expects at least %d; look for the cause in Sigma, or lower expected_min_rows", rows, e.min),
			Metadata: map[string]string{"row_count": strconv.FormatInt(rows, 10), "expected_min_rows": strconv.FormatInt(e.min, 10)},
		}
	}
	if before := e.last.GetRowCount(); float64(rows) < e.ratio*float64(before) {
		metadata := e.lastFacts()
		metadata["row_count"] = strconv.FormatInt(rows, 10)
		findings.WarnWith(pb.FindingCode_FINDING_CODE_RESULT_SHRUNK, metadata,
			"The result has %d rows, and the last complete read had %d. Check the element's filters, controls and row-level rules in Sigma before a sync mirrors the result.", rows, before)
	}
	return findings.Refuse(e.model, e.refused.request, e.refused.connection)
}

func (e *rowExpectation) refuseEmpty() error {
	problem := &errmap.Error{Reason: pb.ErrorReason_ERROR_REASON_RESULT_EMPTY, Resource: e.model, Metadata: e.lastFacts()}
	switch before := e.last.GetRowCount(); {
	case e.owner:
		problem.Metadata["cause"] = "rows_of_owner"
		problem.Message = "the result is empty: row-level rules in Sigma leave the owner of the Sigma credential no row; give the owner the user attribute or team that the rule requires, or set allow_empty"
	case before > 0:
		problem.Message = fmt.Sprintf("the result is empty, and the last complete read had %d rows; check the element in Sigma, or set allow_empty to accept the empty result", before)
	default:
		return nil
	}
	return problem
}

// lastFacts returns the facts about the last complete read, if there is one.
func (e *rowExpectation) lastFacts() map[string]string {
	if e.last == nil {
		return map[string]string{}
	}
	return map[string]string{
		"last_row_count": strconv.FormatInt(e.last.GetRowCount(), 10),
		"last_read_time": e.last.GetCompleteTime().AsTime().Format(time.RFC3339),
	}
}

// recordRead stores the figures of a complete read. A failure of the store fails no read: the next one is then compared with
// an older read.
func (s *Service) recordRead(ctx context.Context, e *rowExpectation, rows, bytes int64) {
	now := time.Now()
	e.kind.RowCount, e.kind.ByteCount = rows, bytes
	e.kind.CompleteTime, e.kind.Duration = timestamppb.New(now), durationpb.New(now.Sub(e.begun))
	if err := s.store.PutRead(ctx, e.model, e.kind); err != nil && !errors.Is(err, store.ErrNotFound) {
		s.logger.Warn("the figures of a complete read are not stored", "model", e.model, "error", err.Error())
	}
}
