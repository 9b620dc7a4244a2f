package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// watchUnary keeps every answer for the search for secrets, and holds every
// error to the form that the contract promises.
func (w *world) watchUnary(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	var header metadata.MD
	err := invoke(ctx, method, request, response, conn, append(options, grpc.Header(&header))...)
	if err != nil {
		w.watchError(method, err, header)
		return err
	}
	w.keep(response)
	return nil
}

// watchStream is watchUnary for streams.
func (w *world) watchStream(ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, conn, method, options...)
	if err != nil {
		return nil, err
	}
	return &watchedStream{ClientStream: stream, world: w, method: method}, nil
}

type watchedStream struct {
	grpc.ClientStream
	world  *world
	method string
}

func (s *watchedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	switch {
	case err == nil:
		s.world.keep(message)
	case err != io.EOF:
		header, headerErr := s.Header()
		if headerErr != nil {
			header = nil
		}
		s.world.watchError(s.method, err, header)
	}
	return err
}

// keep leaves rows out: they are the data.
func (w *world) keep(response any) {
	message, ok := response.(proto.Message)
	if !ok {
		return
	}
	if preview, ok := message.(*pb.PreviewModelResponse); ok && (preview.GetRows() != nil || preview.GetArrow() != nil) {
		return
	}
	fmt.Fprintf(w.got, "%s\n%s\n", prototext.Format(message), protojson.Format(message))
}

func (w *world) watchError(method string, err error, header metadata.MD) {
	s := status.Convert(err)
	fmt.Fprintf(w.got, "%s\n%s\n", s.Message(), prototext.Format(s.Proto()))
	info := detail[*errdetails.ErrorInfo](err)
	if info == nil {
		return // of the client itself; those who expect an error look for its reason
	}
	if info.GetDomain() != "sigmasource" || strings.HasPrefix(info.GetReason(), "ERROR_REASON") || info.GetReason() == "INTERNAL" {
		w.t.Errorf("%s: an error of domain %q with the reason %q: %v\n%s", method, info.GetDomain(), info.GetReason(), err, w.logs.String())
	}
	if _, known := pb.ErrorReason_value["ERROR_REASON_"+info.GetReason()]; !known {
		w.t.Errorf("%s: the contract knows no reason %q", method, info.GetReason())
	}
	id := header.Get("x-request-id")
	if len(id) != 1 || id[0] == "" || info.GetMetadata()["request_id"] != id[0] {
		w.t.Errorf("%s: the error names the request %q, the header %q", method, info.GetMetadata()["request_id"], id)
	}
}

// detail returns an error's detail of a type, or nil.
func detail[T proto.Message](err error) (found T) {
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(T); ok {
			return d
		}
	}
	return found
}

// wantError makes sure that a call failed as the contract says, and returns
// the facts of the error.
func wantError(t *testing.T, err error, code codes.Code, reason pb.ErrorReason) map[string]string {
	t.Helper()
	info := detail[*errdetails.ErrorInfo](err)
	name := strings.TrimPrefix(reason.String(), "ERROR_REASON_")
	if status.Code(err) != code || info.GetReason() != name {
		t.Fatalf("got %s (%s) instead of %s (%s): %v", status.Code(err), info.GetReason(), code, name, err)
	}
	if info.GetMetadata()["request_id"] == "" {
		t.Errorf("the error names no request: %v", info)
	}
	if message := status.Convert(err).Message(); message == "" || strings.Contains(message, "\n") {
		t.Errorf("the message is no line for people: %q", message)
	}
	return info.GetMetadata()
}

// wantField makes sure that an error names a field of the request.
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var named []string
	for _, v := range detail[*errdetails.BadRequest](err).GetFieldViolations() {
		named = append(named, v.GetField())
		if v.GetDescription() == "" {
			t.Errorf("nothing is said about the field %s", v.GetField())
		}
	}
	if len(named) != 1 || named[0] != field {
		t.Errorf("the error names the fields %q instead of %s: %v", named, field, err)
	}
}

// reading is what a preview brought.
type reading struct {
	progress []*pb.Progress
	schema   *pb.Schema
	batches  []*pb.PreviewModelResponse // with rows
	count    int64                      // rows that the batches say they have
	stats    *pb.Statistics
	sizes    []int // of the messages in bytes
}

// preview reads a model's first rows to the stream's end. What came before an
// error is returned with it. The order of the messages and their counts are
// held to the contract in every test.
func (w *world) preview(ctx context.Context, request *pb.PreviewModelRequest) (*reading, error) {
	w.t.Helper()
	stream, err := w.query.PreviewModel(ctx, request)
	if err != nil {
		return nil, err
	}
	r := &reading{}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if r.stats == nil {
				w.t.Error("the stream ended well and without statistics")
			}
			return r, nil
		}
		if err != nil {
			if r.stats != nil {
				w.t.Errorf("an error after the statistics: %v", err)
			}
			return r, err
		}
		r.add(w.t, message)
	}
}

func (r *reading) add(t *testing.T, message *pb.PreviewModelResponse) {
	t.Helper()
	if r.stats != nil {
		t.Errorf("a message after the statistics: %T", message.GetMessage())
	}
	if r.progress == nil && message.GetProgress() == nil {
		t.Errorf("the stream begins with %T", message.GetMessage())
	}
	r.sizes = append(r.sizes, proto.Size(message))
	switch m := message.GetMessage().(type) {
	case *pb.PreviewModelResponse_Progress:
		r.progress = append(r.progress, m.Progress)
	case *pb.PreviewModelResponse_Schema:
		if r.schema != nil {
			t.Error("a second schema")
		}
		r.schema = m.Schema
	case *pb.PreviewModelResponse_Rows:
		r.addBatch(t, message, m.Rows.GetRowCount())
		if n := int64(len(m.Rows.GetRows())); n != m.Rows.GetRowCount() {
			t.Errorf("a batch of %d rows says that it has %d", n, m.Rows.GetRowCount())
		}
	case *pb.PreviewModelResponse_Arrow:
		r.addBatch(t, message, m.Arrow.GetRowCount())
	case *pb.PreviewModelResponse_Statistics:
		r.stats = m.Statistics
		if r.schema == nil || r.stats.GetRowCount() != r.count {
			t.Errorf("statistics of %d rows after %d rows, schema: %v", r.stats.GetRowCount(), r.count, r.schema != nil)
		}
		if d := r.stats.DeclaredRowCount; d != nil && *d != r.count {
			t.Errorf("%d rows were declared and %d came", *d, r.count)
		}
	}
}

func (r *reading) addBatch(t *testing.T, message *pb.PreviewModelResponse, rows int64) {
	t.Helper()
	if r.schema == nil {
		t.Error("rows before the schema")
	}
	r.batches = append(r.batches, message)
	r.count += rows
}

// mustPreview is preview of what must succeed.
func (w *world) mustPreview(request *pb.PreviewModelRequest) *reading {
	w.t.Helper()
	r, err := w.preview(w.ctx, request)
	w.must(err)
	return r
}
