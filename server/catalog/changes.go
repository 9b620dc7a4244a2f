package catalog

import (
	"context"
	"time"

	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
)

const (
	// changesPoll is how often the store is asked for further changes: another
	// replica may have made them.
	changesPoll = time.Second

	// changesPage is how many changes one message holds at the most.
	changesPage = 500
)

// ListChanges returns the changes after a sequence.
func (s *Service) ListChanges(ctx context.Context, request *pb.ListChangesRequest) (*pb.ListChangesResponse, error) {
	if _, err := s.store.Connection(ctx, request.GetParent()); err != nil {
		return nil, storeError(err, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, request.GetParent())
	}
	changes, err := s.store.ListChanges(ctx, request.GetParent(), request.GetAfterSequence(), request.GetPageSize())
	if err != nil {
		return nil, err
	}
	return &pb.ListChangesResponse{Changes: changes}, nil
}

// WatchChanges sends changes as they come. It ends when the connection is deleted.
func (s *Service) WatchChanges(request *pb.WatchChangesRequest, stream grpc.ServerStreamingServer[pb.WatchChangesResponse]) error {
	ctx := stream.Context()
	after := request.GetAfterSequence()
	poll := time.NewTicker(changesPoll)
	defer poll.Stop()
	for {
		answer, err := s.ListChanges(ctx, &pb.ListChangesRequest{Parent: request.GetParent(), AfterSequence: after, PageSize: changesPage})
		if err != nil {
			return err
		}
		if changes := answer.GetChanges(); len(changes) > 0 {
			if err := stream.Send(&pb.WatchChangesResponse{Changes: changes}); err != nil {
				return err
			}
			after = changes[len(changes)-1].GetSequence()
			continue
		}
		select {
		case <-poll.C:
		case <-s.closing:
			return errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down; call again with the last sequence")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
