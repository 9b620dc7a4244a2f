package errmap_test

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/sigmasource/sigmasource/server/errmap"
)

// streamCall takes the headers that the interceptors set. A listener would add
// nothing to these tests but time.
type streamCall struct {
	grpc.ServerStream
	ctx context.Context
	ids []string
}

func (s *streamCall) Context() context.Context { return s.ctx }

func (s *streamCall) SetHeader(header metadata.MD) error {
	s.ids = append(s.ids, header.Get(errmap.RequestIDHeader)...)
	return nil
}

// unaryCall is the same for a unary call, whose headers go another way.
type unaryCall struct{ *streamCall }

func (unaryCall) Method() string               { return "/s/m" }
func (unaryCall) SendHeader(metadata.MD) error { return nil }
func (unaryCall) SetTrailer(metadata.MD) error { return nil }
