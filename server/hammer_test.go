package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// TestTwoWorkspacesHammerEachOther lets callers of two workspaces call every
// method, for what is theirs and what is the others', there or not, all at once.
// What is the others' is refused in the same words whatever it is, and no answer
// names it.
func TestTwoWorkspacesHammerEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book("One", table("A"), table("B"))}}, snowflaketest.Config{})
	w.fill("CREATE TABLE SHOP.SALES.T AS SELECT SEQ4() AS A FROM TABLE(GENERATOR(ROWCOUNT => 100))", "")
	model := w.model(snowflakeName, `select A "A" from (select * from SHOP.SALES.T T limit 1000) Q1 limit 1000`)
	callers := map[string]context.Context{"acme": w.ctx, "globex": w.others}
	scans := map[string]string{}
	for id, ctx := range callers {
		_, err := w.connections.CreateConnection(ctx, &pb.CreateConnectionRequest{Parent: "workspaces/" + id, ConnectionId: "prod", Connection: w.snowflakeConnection()})
		w.must(err)
		started, err := w.catalog.StartScan(ctx, &pb.StartScanRequest{Parent: "workspaces/" + id + "/connections/prod"})
		w.must(err)
		scans[id] = started.GetScan().GetName()
	}
	// A watch of changes has no end of its own; its guard is tested with the others'.
	methods := slices.DeleteFunc(methods(), func(m protoreflect.MethodDescriptor) bool { return m.Name() == "WatchChanges" })
	element := model[strings.LastIndexByte(model, '.')+1:]
	refusals := &oneText{}

	attempt := func(random *rand.Rand, id string) {
		method := methods[random.IntN(len(methods))]
		owner := []string{"acme", "globex"}[random.IntN(2)]
		there := random.IntN(2) == 0
		request := requestIn(method, owner, there, scans[owner], element, random)
		answers, err := w.collect(callers[id], method, request)
		other := map[string]string{"acme": "globex", "globex": "acme"}[id]
		for _, answer := range answers {
			if strings.Contains(answer, "workspaces/"+other) {
				t.Errorf("%s for %s answers with what is %s's: %s", method.Name(), id, other, answer)
			}
		}
		if owner != id {
			if status.Code(err) != codes.PermissionDenied || len(answers) > 0 {
				t.Errorf("%s for %s in %s: %v", method.Name(), id, owner, err)
				return
			}
			if known, same := refusals.is(withoutRequestID(err)); !same {
				t.Errorf("%s refuses in other words: %v instead of %s", method.Name(), err, known)
			}
			return
		}
		switch status.Code(err) {
		case codes.OK, codes.Aborted, codes.AlreadyExists:
		case codes.NotFound:
			if name := string(method.Name()); there && !strings.Contains(name, "Model") && !strings.Contains(name, "Read") && name != "DeleteConnection" {
				t.Errorf("%s for %s of what is its own: %v", method.Name(), id, err)
			}
		default:
			t.Errorf("%s for %s of its own: %v", method.Name(), id, err)
		}
	}
	var hammering sync.WaitGroup
	for i := range 8 {
		id := []string{"acme", "globex"}[i%2]
		random := rand.New(rand.NewPCG(1, uint64(i)))
		hammering.Go(func() {
			for range 40 {
				attempt(random, id)
			}
		})
	}
	hammering.Wait()
	for id, ctx := range callers {
		got, err := w.connections.GetConnection(ctx, &pb.GetConnectionRequest{Name: "workspaces/" + id + "/connections/prod"})
		w.must(err)
		if name := got.GetConnection().GetDisplayName(); name != "The shop" && name != "Changed by "+id {
			t.Errorf("the connection of %s is now called %q", id, name)
		}
	}
}

// requestIn asks a method for something in a workspace. Only what is missing is
// ever deleted.
func requestIn(method protoreflect.MethodDescriptor, owner string, there bool, scan, element string, random *rand.Rand) proto.Message {
	parent := "workspaces/" + owner
	connection := parent + "/connections/prod"
	if !there {
		connection = parent + "/connections/missing"
		scan = connection + "/scans/missing"
		element = "missing"
	}
	request := requests(workspace+"/connections/new", scan, scratch, element)[string(method.Name())]
	model := modelName(connection, scratch, element)
	switch r := request.(type) {
	case *pb.CreateConnectionRequest:
		r.Parent, r.ConnectionId, r.SkipCheck = parent, fmt.Sprint("new-", random.IntN(5)), true
	case *pb.UpdateConnectionRequest:
		r.Connection.Name, r.Connection.DisplayName, r.SkipCheck = connection, "Changed by "+owner, true
	case *pb.DeleteConnectionRequest:
		r.Name = fmt.Sprint(parent, "/connections/new-", random.IntN(5))
	case *pb.ListConnectionsRequest:
		r.Parent = parent
	case *pb.GetConnectionRequest:
		r.Name = connection
	case *pb.CheckConnectionRequest:
		r.Name = connection
	case *pb.StartScanRequest:
		r.Parent = connection
	case *pb.ListWorkbooksRequest:
		r.Parent = connection
	case *pb.ListScansRequest:
		r.Parent = connection
	case *pb.ListChangesRequest:
		r.Parent = connection
	case *pb.ListModelsRequest:
		r.Parent = connection
	case *pb.GetModelRequest:
		r.Name = model
	case *pb.CheckModelRequest:
		r.Name = model
	case *pb.PreviewModelRequest:
		r.Name = model
	case *pb.CreateReadSessionRequest:
		r.Name = model
	case *pb.GetReadSessionRequest:
		r.Name = connection + "/sessions/missing"
	case *pb.DeleteReadSessionRequest:
		r.Name = connection + "/sessions/missing"
	case *pb.ReadRowsRequest:
		r.Name = connection + "/sessions/missing/streams/0"
	}
	return request
}

// collect calls a method to its end, and returns all that it answers.
func (w *world) collect(ctx context.Context, method protoreflect.MethodDescriptor, request proto.Message) (answers []string, err error) {
	path := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	if !method.IsStreamingServer() {
		answer := kind.New().Interface()
		if err := w.conn.Invoke(ctx, path, request, answer); err != nil {
			return nil, err
		}
		return []string{prototext.Format(answer)}, nil
	}
	stream, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err == nil {
		err = errors.Join(stream.SendMsg(request), stream.CloseSend())
	}
	for err == nil {
		answer := kind.New().Interface()
		if err = stream.RecvMsg(answer); err == nil {
			answers = append(answers, prototext.Format(answer))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return answers, err
}

// oneText is whatever it was told first.
type oneText struct {
	mu   sync.Mutex
	text string
}

func (o *oneText) is(text string) (known string, same bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text == "" {
		o.text = text
	}
	return o.text, o.text == text
}
