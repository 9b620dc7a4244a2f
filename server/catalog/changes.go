package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
)

const (
	// changesPoll is the interval at which a watch reads further changes from the
	// store: another replica may have written them.
	changesPoll = time.Second

	// changesPage is the maximum number of changes of one message.
	changesPage = 500
)

// ListChanges returns a page of the changes after a position.
func (s *Service) ListChanges(ctx context.Context, request *pb.ListChangesRequest) (*pb.ListChangesResponse, error) {
	connection := request.GetParent()
	after, err := changesAfter(request)
	if err != nil {
		return nil, err
	}
	page, err := s.listChanges(ctx, connection, after, request.GetPageSize())
	if err != nil {
		return nil, err
	}
	return &pb.ListChangesResponse{Changes: page.Changes, NextCursor: page.Next.Encode(connection), NewestCursor: page.Newest.Encode(connection)}, nil
}

// WatchChanges sends changes until the caller cancels the call, the position is no
// longer one of the feed, or the connection is deleted.
func (s *Service) WatchChanges(request *pb.WatchChangesRequest, stream grpc.ServerStreamingServer[pb.WatchChangesResponse]) error {
	ctx, connection := stream.Context(), request.GetParent()
	after, err := changesAfter(request)
	if err != nil {
		return err
	}
	poll := time.NewTicker(changesPoll)
	defer poll.Stop()
	for {
		page, err := s.listChanges(ctx, connection, after, changesPage)
		if err != nil {
			return err
		}
		after = page.Next
		if len(page.Changes) > 0 {
			if err := stream.Send(&pb.WatchChangesResponse{Changes: page.Changes, NextCursor: after.Encode(connection)}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-poll.C:
		case <-s.closing:
			return errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down; call again with the last cursor")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changesRequest is a request for the changes after a position.
type changesRequest interface {
	GetParent() string
	GetAfterSequence() int64
	GetCursor() string
}

// changesAfter returns the position of a request.
func changesAfter(request changesRequest) (store.ChangeCursor, error) {
	sequence := request.GetAfterSequence()
	if request.GetCursor() == "" {
		return store.ChangeCursor{Sequence: sequence}, nil
	}
	cursor, err := store.DecodeChangeCursor(request.GetParent(), request.GetCursor())
	if err != nil {
		return store.ChangeCursor{}, errmap.InvalidField("cursor", "it is not a cursor of this connection's changes; send a cursor from a response for the same connection, or leave it empty")
	}
	if sequence != 0 && sequence != cursor.Sequence {
		return store.ChangeCursor{}, errmap.InvalidField("after_sequence", fmt.Sprintf("it is %d, and the sequence of cursor is %d; send the cursor alone", sequence, cursor.Sequence))
	}
	return cursor, nil
}

// listChanges reads a page, with the contract's errors.
func (s *Service) listChanges(ctx context.Context, connection string, after store.ChangeCursor, size int32) (*store.ChangePage, error) {
	page, err := s.store.ListChanges(ctx, connection, after, size)
	var refused *store.CursorError
	switch {
	case errors.As(err, &refused):
		return nil, cursorError(connection, after, refused)
	case err != nil:
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, connection)
	}
	return page, nil
}

// cursorProblems are the reasons and messages of the problems of a cursor.
var cursorProblems = map[store.CursorProblem]struct {
	reason  pb.ErrorReason
	message string
}{
	store.EpochMismatch: {pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_EPOCH_MISMATCH,
		"the cursor belongs to an earlier connection of this name, which was deleted"},
	store.HistoryMismatch: {pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_HISTORY_MISMATCH,
		"another change is stored at the cursor's sequence, because the store was restored from a backup"},
	store.BeyondEnd: {pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_BEYOND_END,
		"the position lies after the newest change, because the store was restored from a backup or the connection was created anew"},
	store.Expired: {pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_EXPIRED,
		"changes after the position are no longer stored"},
}

const goOnFromNewest = "; keep newest_cursor of this error's metadata, list the models anew, and go on from that cursor"

func cursorError(connection string, after store.ChangeCursor, refused *store.CursorError) *errmap.Error {
	problem := cursorProblems[refused.Problem]
	metadata := map[string]string{
		"sequence":      strconv.FormatInt(after.Sequence, 10),
		"newest_cursor": refused.Newest.Encode(connection),
	}
	switch {
	case refused.Problem == store.BeyondEnd:
		metadata["newest_sequence"] = strconv.FormatInt(refused.Newest.Sequence, 10)
	case refused.Problem == store.Expired && refused.Oldest > 0:
		metadata["oldest_sequence"] = strconv.FormatInt(refused.Oldest, 10)
	}
	return &errmap.Error{Reason: problem.reason, Resource: connection, Message: problem.message + goOnFromNewest, Metadata: metadata, Err: refused}
}
