package errmap

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// RequestIDHeader is the response header with the id that errors and log lines
// of a call carry.
const RequestIDHeader = "x-request-id"

type requestIDKey struct{}

// RequestID returns the id of the call, or "" outside of one.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// begin gives the call an id, and the log lines about it the same.
func begin(ctx context.Context) context.Context {
	id := uuid.NewString()
	ctx = context.WithValue(ctx, requestIDKey{}, id)
	return logging.InjectFields(ctx, logging.Fields{"request_id", id})
}

// UnaryIdentify gives each call an id; it stands outside the logging
// interceptor.
func UnaryIdentify(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx = begin(ctx)
	if err := grpc.SetHeader(ctx, metadata.Pairs(RequestIDHeader, RequestID(ctx))); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

// StreamIdentify is UnaryIdentify for streams.
func StreamIdentify(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := begin(stream.Context())
	if err := stream.SetHeader(metadata.Pairs(RequestIDHeader, RequestID(ctx))); err != nil {
		return err
	}
	return handler(server, &streamWithContext{ServerStream: stream, ctx: ctx})
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

// UnaryMap turns errors into statuses; it stands inside the logging
// interceptor and outside all that may fail.
func UnaryMap(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		response, err := handler(ctx, request)
		if err != nil {
			return nil, mapped(ctx, logger, info.FullMethod, err)
		}
		return response, nil
	}
}

// StreamMap is UnaryMap for streams.
func StreamMap(logger *slog.Logger) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := handler(server, stream); err != nil {
			return mapped(stream.Context(), logger, info.FullMethod, err)
		}
		return nil
	}
}

// mapped logs what the caller is not told: the cause of what is our own fault.
func mapped(ctx context.Context, logger *slog.Logger, method string, err error) error {
	failure := classify(ctx, err)
	if failure.Reason == pb.ErrorReason_ERROR_REASON_INTERNAL {
		logger.ErrorContext(ctx, "call failed for a reason of our own", "method", method, "request_id", RequestID(ctx), "error", err.Error())
	}
	return toStatus(failure, RequestID(ctx)).Err()
}
