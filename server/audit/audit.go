// Package audit writes down who did what to which resource, and how it ended: a
// line per call of the contract, and one more when a read of data begins, so that
// it is on record even if the server dies under it.
//
// Its interceptors stand outside of authentication, so that refusals are on
// record, too, and outside of error mapping, so that it sees what the caller
// sees. A line holds names and counts, never a request's contents. The package
// may import the contract, server/auth and server/errmap.
package audit

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/auth"
	"github.com/sigmasource/sigmasource/server/errmap"
)

// contract is how the names of the services begin whose calls are on record.
const contract = "/sigmasource."

// maxName is how much of a resource's name is kept, in bytes: before a request
// was validated, it may be anything.
const maxName = 400

// Log writes to a logger of its own.
type Log struct{ logger *slog.Logger }

// New returns a log that writes to logger.
func New(logger *slog.Logger) *Log { return &Log{logger} }

// record is what is known of a call so far.
type record struct {
	ctx      context.Context
	method   string
	begun    time.Time
	caller   func() *auth.Principal
	resource string
	fields   []string // of an update
	rows     int64
	queryID  string
}

func begin(ctx context.Context, method string) (context.Context, *record) {
	ctx, caller := auth.Witness(ctx)
	return ctx, &record{ctx: ctx, method: strings.TrimPrefix(method, "/"), begun: time.Now(), caller: caller}
}

// Unary records a call.
func (l *Log) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !strings.HasPrefix(info.FullMethod, contract) {
		return handler(ctx, request)
	}
	ctx, r := begin(ctx, info.FullMethod)
	r.asked(request)
	response, err := handler(ctx, request)
	l.write("call", r, err)
	return response, err
}

// Stream records a stream, at its beginning and at its end.
func (l *Log) Stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, contract) {
		return handler(server, stream)
	}
	ctx, r := begin(stream.Context(), info.FullMethod)
	err := handler(server, &recordedStream{ServerStream: stream, ctx: ctx, log: l, record: r})
	l.write("call", r, err)
	return err
}

type recordedStream struct {
	grpc.ServerStream
	ctx    context.Context
	log    *Log
	record *record
}

func (s *recordedStream) Context() context.Context { return s.ctx }

func (s *recordedStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.record.asked(message)
	}
	return err
}

// SendMsg counts the rows that went out. The first message is also where the
// caller is known to have been let in.
func (s *recordedStream) SendMsg(message any) error {
	switch m := message.(type) {
	case interface{ GetProgress() *pb.Progress }:
		s.progress(m.GetProgress())
	case interface{ RowCount() int64 }:
		rows := m.RowCount()
		err := s.ServerStream.SendMsg(message)
		if err == nil {
			s.record.rows += rows
		}
		return err
	}
	return s.ServerStream.SendMsg(message)
}

func (s *recordedStream) progress(progress *pb.Progress) {
	if progress == nil {
		return
	}
	if progress.GetState() == pb.ReadState_READ_STATE_PREPARING {
		s.log.write("read begins", s.record, nil)
	}
	if id := progress.GetQueryId(); id != "" {
		s.record.queryID = id
	}
}

// asked notes what a request is about.
func (r *record) asked(request any) {
	r.resource = auth.ResourceOf(request)
	switch m := request.(type) {
	case *pb.CreateConnectionRequest:
		r.resource += "/connections/" + m.GetConnectionId()
	case *pb.UpdateConnectionRequest:
		r.fields = fieldsOf(m)
	}
}

// fieldsOf names the fields that an update asks to change. What is no field may be
// anything, a secret too, and is not repeated.
func fieldsOf(update *pb.UpdateConnectionRequest) []string {
	var fields []string
	for _, path := range update.GetUpdateMask().GetPaths() {
		if _, err := fieldmaskpb.New(update.GetConnection(), path); err != nil {
			path = "(no field)"
		}
		fields = append(fields, path)
	}
	if len(fields) == 0 {
		return []string{"(all that are set)"}
	}
	return fields
}

func (l *Log) write(event string, r *record, err error) {
	attributes := []slog.Attr{
		slog.String("request_id", errmap.RequestID(r.ctx)),
		slog.String("method", r.method),
		slog.String("resource", cut(r.resource)),
	}
	if p := r.caller(); p != nil {
		attributes = append(attributes, slog.String("principal", p.Name), slog.String("via", p.Via))
	}
	if from, ok := peer.FromContext(r.ctx); ok {
		attributes = append(attributes, slog.String("peer", from.Addr.String()))
	}
	if len(r.fields) > 0 {
		attributes = append(attributes, slog.String("fields", cut(strings.Join(r.fields, ","))))
	}
	if event == "call" {
		attributes = append(attributes, slog.String("code", status.Code(err).String()), slog.Duration("duration", time.Since(r.begun)))
		if reason := reasonOf(err); reason != "" {
			attributes = append(attributes, slog.String("reason", reason))
		}
	}
	if r.rows > 0 {
		attributes = append(attributes, slog.Int64("rows", r.rows))
	}
	if r.queryID != "" {
		attributes = append(attributes, slog.String("query_id", r.queryID))
	}
	// The line is written even if the caller has left.
	l.logger.LogAttrs(context.WithoutCancel(r.ctx), slog.LevelInfo, event, attributes...)
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func cut(name string) string {
	if len(name) > maxName {
		return name[:maxName] + "…"
	}
	return name
}
