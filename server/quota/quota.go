// Package quota keeps one workspace, or one connection, from taking what all
// share: it bounds how many calls and streams each may have under way at a time.
//
// Its interceptors stand inside of authorization, so that nobody can use up
// another's share. They count in this process: with several replicas each admits
// as many. The package may import the contract, server/auth and server/errmap.
package quota

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/errmap"
)

// retryAfter is when a place may have become free.
const retryAfter = time.Second

// Limits are how many may be under way at a time. 0 means any number.
type Limits struct {
	WorkspaceRequests  int // calls that are no streams
	ConnectionRequests int
	WorkspaceStreams   int
	ConnectionStreams  int
	WorkspaceScans     int // kept by whoever starts scans; a connection has at most one
}

// Default is what a server of a few thousand connections bears.
var Default = Limits{
	WorkspaceRequests: 256, ConnectionRequests: 128,
	WorkspaceStreams: 256, ConnectionStreams: 128,
	WorkspaceScans: 8,
}

// Quotas counts what is under way.
type Quotas struct {
	limits Limits

	mu       sync.Mutex
	underWay map[share]int
}

// share is what is counted by itself.
type share struct {
	kind  string // `requests` or `streams`
	owner string // a workspace or a connection
}

// New returns quotas with nothing under way.
func New(limits Limits) *Quotas {
	return &Quotas{limits: limits, underWay: map[share]int{}}
}

// Unary refuses a call that would be one too many.
func (q *Quotas) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	release, err := q.take("requests", auth.ResourceOf(request), q.limits.WorkspaceRequests, q.limits.ConnectionRequests)
	if err != nil {
		return nil, err
	}
	defer release()
	return handler(ctx, request)
}

// Stream refuses a stream that would be one too many.
func (q *Quotas) Stream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	counted := &countedStream{ServerStream: stream, quotas: q}
	defer counted.release()
	return handler(server, counted)
}

// countedStream takes a place when the first message tells whose stream it is.
type countedStream struct {
	grpc.ServerStream
	quotas *Quotas
	free   func()
}

func (s *countedStream) RecvMsg(message any) (err error) {
	if err := s.ServerStream.RecvMsg(message); err != nil || s.free != nil {
		return err
	}
	s.free, err = s.quotas.take("streams", auth.ResourceOf(message), s.quotas.limits.WorkspaceStreams, s.quotas.limits.ConnectionStreams)
	return err
}

func (s *countedStream) release() {
	if s.free != nil {
		s.free()
	}
}

// take takes a place of the resource's workspace and one of its connection.
// Requests that name no resource, such as those of health checks, need none.
func (q *Quotas) take(kind, resource string, ofWorkspace, ofConnection int) (release func(), err error) {
	workspace, connection := owners(resource)
	var taken []share
	release = func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, s := range taken {
			if q.underWay[s]--; q.underWay[s] == 0 {
				delete(q.underWay, s)
			}
		}
	}
	if err := q.takeOne(share{kind, workspace}, ofWorkspace, &taken); err != nil {
		return nil, err
	}
	if err := q.takeOne(share{kind, connection}, ofConnection, &taken); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (q *Quotas) takeOne(s share, limit int, taken *[]share) error {
	if s.owner == "" || limit <= 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.underWay[s] >= limit {
		return Exceeded(s.owner, s.kind, limit)
	}
	q.underWay[s]++
	*taken = append(*taken, s)
	return nil
}

// owners returns the names of a resource's workspace and connection, empty where
// it has none.
func owners(resource string) (workspace, connection string) {
	parts := strings.Split(resource, "/")
	if len(parts) >= 2 {
		workspace = strings.Join(parts[:2], "/")
	}
	if len(parts) >= 4 {
		connection = strings.Join(parts[:4], "/")
	}
	return workspace, connection
}

// Exceeded is the error of an owner, a workspace or a connection, that has as many
// of a kind under way as the limit allows.
func Exceeded(owner, kind string, limit int) error {
	text := fmt.Sprintf("%s has %d %s under way, and may have no more at a time; wait until one of them has ended", owner, limit, kind)
	return &errmap.Error{
		Reason:     pb.ErrorReason_ERROR_REASON_QUOTA_EXCEEDED,
		Resource:   owner,
		Message:    text,
		Metadata:   map[string]string{"quota": kind, "limit": strconv.Itoa(limit)},
		RetryAfter: retryAfter,
		Details: []proto.Message{&errdetails.QuotaFailure{
			Violations: []*errdetails.QuotaFailure_Violation{{Subject: owner, Description: text}},
		}},
	}
}
