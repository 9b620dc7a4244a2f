package query

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/spool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/warehouse"
)

const defaultTTL = 6 * time.Hour

// manifest is what the store keeps for this package: how to find a session's rows.
type manifest struct {
	Schema []byte `json:"schema"` // an Arrow IPC message

	// Kept tells how to get a result again that the warehouse keeps.
	Kept warehouse.Manifest `json:"kept,omitzero"`
	// Columns is set only in sessions of earlier versions: the positions of the
	// session's columns in a kept result, which delivers all columns.
	Columns []int `json:"columns,omitempty"`
}

// CreateReadSession runs a model's query and makes its result readable.
func (s *Service) CreateReadSession(ctx context.Context, request *pb.CreateReadSessionRequest) (*pb.CreateReadSessionResponse, error) {
	name, err := resource.ParseModel(request.GetName())
	if err != nil {
		return nil, errmap.InvalidField("name", err.Error())
	}
	if request.GetArrowCompression() != pb.ArrowCompression_ARROW_COMPRESSION_UNSPECIFIED && request.GetFormat() != pb.DataFormat_DATA_FORMAT_ARROW {
		return nil, errmap.InvalidField("arrow_compression", "only Arrow is compressed by Arrow's means; ask for the format ARROW")
	}
	link, err := s.links.Acquire(ctx, name.Connection.String())
	if err != nil {
		return nil, err
	}
	session, err := s.create(ctx, link, name, request)
	if err != nil {
		return nil, err
	}
	return &pb.CreateReadSessionResponse{Session: session}, nil
}

// create takes over the link.
func (s *Service) create(ctx context.Context, link *connections.Link, name resource.Model, request *pb.CreateReadSessionRequest) (_ *pb.ReadSession, err error) {
	// The query outlives the call, unless that is cancelled before it returns.
	running, cancel := context.WithCancelCause(s.lifetime)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			err = reachedLimit(running, err)
			cancel(err)
			link.Release()
		}
	}()
	plan, err := s.prepare(ctx, link, name, request, nil)
	if err != nil {
		return nil, err
	}
	if limit := request.GetMaxWarehouseTime(); limit != nil {
		timer := time.AfterFunc(limit.AsDuration(), func() { cancel(costLimit(limit.AsDuration())) })
		context.AfterFunc(running, func() { timer.Stop() })
	}
	started, err := s.startRead(running, link, plan, request)
	if again := s.prepareAgain(ctx, err, link, plan, request); again != nil {
		plan = again
		started, err = s.startRead(running, link, plan, request)
	}
	if err != nil {
		return nil, withGrants(ctx, err, link, plan.query.Tables())
	}
	made, err := s.describe(ctx, plan, started.result, request)
	if err != nil {
		return nil, errors.Join(err, started.result.Close())
	}
	made.Resource.Key = started.key
	if kept, ok := started.result.(warehouse.Kept); ok {
		defer cancel(nil)
		return s.createKept(ctx, made, kept, link, started.expected)
	}
	return s.createSpooled(ctx, made, started.result, &run{
		service: s, link: link, ctx: running, cancel: cancel, changed: make(chan struct{}), expected: started.expected, findings: plan.findings,
	})
}

// startedRead is a full read whose query runs, or has run.
type startedRead struct {
	expected *rowExpectation
	key      *pb.KeyReport // nil if no key was counted
	result   warehouse.Result
}

// startRead counts the key, if there is one, and starts the query. It fails where the result is not what the request
// requires, as far as the warehouse declares it.
func (s *Service) startRead(ctx context.Context, link *connections.Link, p *plan, request *pb.CreateReadSessionRequest) (started startedRead, err error) {
	if err := p.assessed.RequireFull(); err != nil {
		return started, err
	}
	if started.expected, err = s.expectRows(ctx, p, link, request); err != nil {
		return started, err
	}
	p.findings.AddFull(p.query)
	statement, outputs := p.statement(p.query.Full()), &recordedNames{}
	if request.GetDistinctGroup() {
		if statement, err = p.groupStatement(request.GetColumns()); err != nil {
			return started, err
		}
	}
	statement.Choose = outputs.record(statement.Choose)
	if started.key, err = p.checkKey(ctx, link.Warehouse, statement, outputs, request, started.expected); err != nil {
		return started, err
	}
	p.addAge(p.lastAltered(ctx, link))
	if started.result, err = link.Warehouse.Query(ctx, statement); err != nil {
		return started, err
	}
	if !request.GetDistinctGroup() {
		p.compareOutputs(outputs.get())
	}
	if rows, isDeclared := started.result.DeclaredRows(); isDeclared {
		if err := started.expected.judge(rows, p.findings); err != nil {
			return started, errors.Join(err, started.result.Close())
		}
	}
	return started, nil
}

// reachedLimit returns the cause of a context that has reached the maximum time of the warehouse, and otherwise the error.
func reachedLimit(running context.Context, err error) error {
	var reached *errmap.Error
	if errors.As(context.Cause(running), &reached) && reached.Reason == pb.ErrorReason_ERROR_REASON_COST_LIMIT_EXCEEDED {
		return reached
	}
	return err
}

// newSession is a session that is being made.
type newSession struct {
	*store.Session
	name    resource.Session
	streams int
	found   manifest
	schema  *arrow.Schema

	estimated int64 // rows of each stream, as far as the warehouse guesses
}

// describe makes a session for a result, whose columns are those that the caller
// relies on. It stores nothing yet.
func (s *Service) describe(ctx context.Context, plan *plan, result warehouse.Result, request *pb.CreateReadSessionRequest) (*newSession, error) {
	if err := plan.refuseFindings(); err != nil {
		return nil, err
	}
	fields := result.Schema()
	schema, err := encodeSchema(fields, plan.columns, request.GetFormat())
	if err != nil {
		return nil, err
	}
	if err := s.checkDrift(ctx, plan, schema, request.GetExpectedFingerprint()); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	ttl := defaultTTL
	if request.GetTtl() != nil {
		ttl = request.GetTtl().AsDuration()
	}
	name := resource.Session{Connection: plan.name.Connection, ID: id.String()}
	made := &newSession{
		name: name, streams: max(1, int(request.GetMaxStreamCount())),
		schema: fields,
		found:  manifest{Schema: schemaMessage(fields)},
		Session: &store.Session{
			Lease: leaseTime,
			Key:   make([]byte, spool.KeySize),
			Resource: &pb.ReadSession{
				Name: name.String(), Model: plan.name.String(), Schema: schema,
				Format: request.GetFormat(), ArrowCompression: request.GetArrowCompression(),
				State:      pb.ReadSessionState_READ_SESSION_STATE_RUNNING,
				CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(ttl)),
				QueryId: result.QueryID(), Findings: plan.findings.All(),
			},
		},
	}
	_, _ = rand.Read(made.Key) // never fails
	return made, nil
}

// estimate tells how many rows the session's streams may have, where the warehouse
// has an idea of it. Each stream gets as many parts as the others.
func (made *newSession) estimate(ctx context.Context, result warehouse.Result) {
	estimator, ok := result.(warehouse.Estimator)
	if !ok {
		return
	}
	if rows, ok := estimator.EstimateRows(ctx); ok {
		made.estimated = rows / int64(made.streams)
	}
}

// putSession stores the session.
func (s *Service) putSession(ctx context.Context, made *newSession) (err error) {
	for i := range made.streams {
		stream := &pb.ReadStream{Name: resource.Stream{Session: made.name, Number: i}.String(), EstimatedRowCount: made.estimated}
		for n := i; n < len(made.found.Kept.Parts); n += made.streams {
			stream.EstimatedRowCount += made.found.Kept.Parts[n]
		}
		stream.EstimatedByteCount = stream.GetEstimatedRowCount() * rowWidth(made.schema)
		made.Resource.Streams = append(made.Resource.Streams, stream)
		made.Resource.EstimatedRowCount += stream.GetEstimatedRowCount()
		made.Resource.EstimatedByteCount += stream.GetEstimatedByteCount()
	}
	if made.Manifest, err = json.Marshal(made.found); err != nil {
		return err
	}
	err = s.store.CreateSession(ctx, made.Session)
	if errors.Is(err, store.ErrNotFound) {
		return errmap.New(pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, made.name.Connection.String(), "the connection was deleted")
	}
	return err
}

// createKept makes a session of a result that the warehouse keeps. It takes over the
// link and closes the result.
func (s *Service) createKept(ctx context.Context, made *newSession, result warehouse.Kept, link *connections.Link, expected *rowExpectation) (_ *pb.ReadSession, err error) {
	var parts warehouse.Parts
	if made.found.Kept, parts, err = result.Keep(); err != nil {
		return nil, errors.Join(err, result.Close())
	}
	made.streams = max(1, min(made.streams, len(made.found.Kept.Parts)))
	made.Resource.State = pb.ReadSessionState_READ_SESSION_STATE_COMPLETE
	made.Resource.RowCount = new(made.found.Kept.Rows())
	if err := s.putSession(ctx, made); err != nil {
		return nil, errors.Join(err, parts.Close())
	}
	s.recordRead(ctx, expected, made.Resource.GetRowCount(), made.Resource.GetEstimatedByteCount())
	s.giveBack(made.name.String(), s.put(made.name.String(), link, parts))
	return made.Resource, nil
}

// createSpooled makes a session of a result that goes to the spool. The run takes
// over the link and the result.
func (s *Service) createSpooled(ctx context.Context, made *newSession, result warehouse.Result, r *run) (*pb.ReadSession, error) {
	if s.spool == nil {
		return nil, errors.Join(noSpool(), result.Close())
	}
	made.estimate(ctx, result)
	if err := s.putSession(ctx, made); err != nil {
		return nil, errors.Join(err, result.Close())
	}
	r.session, r.id, r.key, r.result = made.Resource, made.name.ID, made.Key, result
	r.ctx, r.end = context.WithDeadlineCause(r.ctx, made.Resource.GetExpireTime().AsTime(), expired(made.Resource))
	if n, ok := result.DeclaredRows(); ok {
		r.declared = &n
	}
	if !s.start(r) {
		return nil, errors.Join(shuttingDown(), result.Close())
	}
	return made.Resource, nil
}

func noSpool() error {
	return &errmap.Error{Reason: pb.ErrorReason_ERROR_REASON_SPOOL_UNAVAILABLE, Message: "the operator of this server keeps no results"}
}

// rowWidth is about how many bytes a row takes in Arrow.
func rowWidth(schema *arrow.Schema) int64 {
	const text = 24 // as far as anybody knows
	var bits int64
	for _, field := range schema.Fields() {
		bits += 8 * text
		if t, ok := field.Type.(arrow.FixedWidthDataType); ok {
			bits += int64(t.BitWidth()) - 8*text
		}
	}
	return max(1, bits/8)
}

// start lets a run go on, unless the service is closed.
func (s *Service) start(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	name := r.session.GetName()
	s.runs[name] = r
	s.work.Go(func() {
		r.do()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.runs, name)
	})
	return true
}

// open finds the rows of a session.
func (s *Service) open(ctx context.Context, name resource.Session, session *store.Session, found *manifest, schema *arrow.Schema) (source, error) {
	if found.Kept.QueryID != "" {
		source := &keptSource{service: s, name: name, session: session.Resource, found: found, schema: schema}
		source.ahead = s.readAhead(ctx, session, source.read)
		return source, nil
	}
	if s.spool == nil {
		return nil, noSpool()
	}
	ahead := s.readAhead(ctx, session, s.spooled(name.ID, session.Key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[name.String()]; r != nil {
		return &runSource{run: r, ahead: ahead}, nil
	}
	return &spoolSource{service: s, session: session, ahead: ahead}, nil
}

func (s *Service) readAhead(ctx context.Context, session *store.Session, read readPart) *readAhead {
	return newReadAhead(ctx, read, len(session.Resource.GetStreams()), s.ahead, s.budget)
}

// GetReadSession tells how a session stands.
func (s *Service) GetReadSession(ctx context.Context, request *pb.GetReadSessionRequest) (*pb.GetReadSessionResponse, error) {
	session, err := s.session(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	return &pb.GetReadSessionResponse{Session: session.Resource}, nil
}

// DeleteReadSession gives back what a session holds.
func (s *Service) DeleteReadSession(ctx context.Context, request *pb.DeleteReadSessionRequest) (*pb.DeleteReadSessionResponse, error) {
	name, err := resource.ParseSession(request.GetName())
	if err != nil {
		return nil, errmap.InvalidField("name", err.Error())
	}
	if err := s.store.DeleteSession(ctx, name.String()); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	s.mu.Lock()
	r := s.runs[name.String()]
	for reader := range s.reads {
		if reader.name == name.String() {
			reader.end(notFound(reader.name))
		}
	}
	s.mu.Unlock()
	s.forgetKept(name.String())
	if r != nil {
		r.cancel(notFound(name.String())) // and removes what it has written
	}
	if s.spool != nil {
		if err := s.spool.Remove(ctx, name.ID); err != nil {
			s.logger.Warn("what a deleted session kept was not removed; a later sweep will", "session", name.String(), "error", err.Error())
		}
	}
	return &pb.DeleteReadSessionResponse{}, nil
}

// session returns a session that can be read.
func (s *Service) session(ctx context.Context, name string) (*store.Session, error) {
	session, err := s.store.Session(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, notFound(name)
	case errors.Is(err, store.ErrSealed):
		return nil, lost(name, "its key was sealed with one that the server no longer has")
	case err != nil:
		return nil, err
	case !time.Now().Before(session.Resource.GetExpireTime().AsTime()):
		return nil, expired(session.Resource)
	}
	return session, nil
}

func notFound(session string) error {
	return errmap.New(pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, session, "there is no such read session, or it was deleted")
}

func expired(session *pb.ReadSession) error {
	at := session.GetExpireTime().AsTime().Format(time.RFC3339)
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_SESSION_EXPIRED,
		Resource: session.GetName(),
		Message:  fmt.Sprintf("the read session expired at %s; create another", at),
		Metadata: map[string]string{"expire_time": at},
	}
}

// schemaMessage is a schema as an encapsulated Arrow IPC message.
func schemaMessage(schema *arrow.Schema) []byte {
	payload := ipc.GetSchemaPayload(schema, memory.DefaultAllocator)
	defer payload.Release()
	var message bytes.Buffer
	if _, err := payload.WritePayload(&message); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return message.Bytes()
}

// decodeManifest reads what the store kept of a session.
func decodeManifest(data []byte) (*manifest, *arrow.Schema, error) {
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, nil, fmt.Errorf("read the manifest of a session: %w", err)
	}
	reader, err := ipc.NewReader(bytes.NewReader(m.Schema))
	if err != nil {
		return nil, nil, fmt.Errorf("read the schema of a session: %w", err)
	}
	defer reader.Release()
	return m, canonical(reader.Schema()), nil
}

// canonical undoes what Arrow's reader makes of JSON, an extension type: a column is
// text whose metadata say that it is JSON.
func canonical(schema *arrow.Schema) *arrow.Schema {
	fields := schema.Fields()
	for i, field := range fields {
		extension, ok := field.Type.(arrow.ExtensionType)
		if !ok {
			continue
		}
		metadata := field.Metadata.ToMap()
		metadata[warehouse.MetadataExtension] = extension.ExtensionName()
		fields[i].Type, fields[i].Metadata = extension.StorageType(), arrow.MetadataFrom(metadata)
	}
	return arrow.NewSchema(fields, new(schema.Metadata()))
}

const (
	// sweepInterval is how often what has expired is removed.
	sweepInterval = time.Minute
	// remembrance is how long a session is known to have expired, rather than never
	// to have been.
	remembrance = 24 * time.Hour
)

// sweepNowAndThen removes what no session needs any more. Every replica does it: it
// does no harm to do it twice.
func (s *Service) sweepNowAndThen() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.lifetime.Done():
			return
		case <-tick.C:
		}
		if err := s.Sweep(s.lifetime, time.Now()); err != nil && s.lifetime.Err() == nil {
			s.logger.Warn("expired read sessions were not all removed; the next sweep goes on", "error", err.Error())
		}
	}
}

// Sweep removes what is kept of sessions that have expired by then, and forgets those
// that expired long before.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	var err error
	if s.spool != nil {
		err = s.spool.Sweep(ctx, func(ctx context.Context, id string) (bool, error) { return s.store.SessionLives(ctx, id, now) })
	}
	return errors.Join(err, s.store.ForgetSessions(ctx, now.Add(-remembrance)), s.store.DeleteReads(ctx, now.Add(-readRetention)))
}
