// Package connections serves SigmaConnections, and keeps open what stored
// connections lead to: a Sigma client and a warehouse (see [Pool]).
//
// It may import the layers below (store, sigmaclient, warehouse and its
// adapters). The services catalog and query read through its Pool.
package connections

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/schedule"
	"github.com/sigmasource/sigmasource/server/store"
)

// Store is where connections are kept. *store.Store is one.
type Store interface {
	CreateConnection(ctx context.Context, connection *pb.Connection, secrets *store.Secrets, request store.Request) (*pb.Connection, error)
	CreatedBy(ctx context.Context, name string, request store.Request) (*pb.Connection, error)
	Connection(ctx context.Context, name string) (*pb.Connection, error)
	ConnectionWithSecrets(ctx context.Context, name string) (*pb.Connection, *store.Secrets, error)
	ListConnections(ctx context.Context, parent string, page store.Page) (connections []*pb.Connection, nextPageToken string, err error)
	UpdateConnection(ctx context.Context, connection *pb.Connection, secrets *store.Secrets) (*pb.Connection, error)
	DeleteConnection(ctx context.Context, name, etag string) error
	ZoneOffsets(ctx context.Context, connection string) ([]store.ZoneOffset, error)
}

// Scans begins and ends what runs for a connection. *catalog.Service is one.
type Scans interface {
	// Begin begins the first scan of a new connection and returns its name.
	Begin(ctx context.Context, connection string) (scan string, err error)
	// Cancel ends the scan that runs for a connection, if one does.
	Cancel(ctx context.Context, connection string) error
}

// Service implements the contract's SigmaConnections.
type Service struct {
	pb.UnimplementedSigmaConnectionsServer
	store  Store
	pool   *Pool
	opener *Opener
	scans  Scans
	now    func() time.Time
	logger *slog.Logger
}

// New returns a service over a store, whose links are kept in pool. Schedules are by
// the clock now.
func New(store Store, pool *Pool, opener *Opener, scans Scans, now func() time.Time, logger *slog.Logger) *Service {
	return &Service{store: store, pool: pool, opener: opener, scans: scans, now: now, logger: logger}
}

// CreateConnection checks a connection and stores it.
func (s *Service) CreateConnection(ctx context.Context, request *pb.CreateConnectionRequest) (*pb.CreateConnectionResponse, error) {
	name := request.GetParent() + "/connections/" + request.GetConnectionId()
	identity, err := identify(request)
	if err != nil {
		return nil, err
	}
	if made, err := s.createdBy(ctx, name, identity); made != nil || err != nil {
		return made, err
	}
	connection, secrets := split(request.GetConnection())
	connection.Name = name
	if err := requireSecrets(connection, secrets); err != nil {
		return nil, err
	}
	if err := s.setNextScan(connection); err != nil {
		return nil, err
	}
	if err := s.try(ctx, connection, secrets, request.GetSkipCheck()); err != nil {
		return nil, err
	}
	if request.GetValidateOnly() {
		return &pb.CreateConnectionResponse{Connection: connection}, nil
	}
	stored, err := s.store.CreateConnection(ctx, connection, secrets, identity)
	switch {
	case errors.Is(err, store.ErrExists): // another call was faster, perhaps the same one
		made, err := s.createdBy(ctx, name, identity)
		if made == nil && err == nil { // and it is gone again
			err = exists(name)
		}
		return made, err
	case errors.Is(err, store.ErrRequestReused):
		return nil, requestReused()
	case err != nil:
		return nil, fmt.Errorf("create connection: %w", err)
	}
	response := &pb.CreateConnectionResponse{Connection: stored}
	if !request.GetSkipScan() {
		response.Scan = s.begin(ctx, name)
	}
	return response, nil
}

// begin begins the first scan. That it cannot be begun, as when the workspace has as
// many as it may, is no reason to refuse the connection, which is stored.
func (s *Service) begin(ctx context.Context, name string) string {
	scan, err := s.scans.Begin(ctx, name)
	if err != nil {
		s.logger.WarnContext(ctx, "a new connection's first scan did not begin", "connection", name, "error", err)
	}
	return scan
}

// setNextScan sets when a connection is due by its schedule.
func (s *Service) setNextScan(connection *pb.Connection) error {
	connection.NextScanTime = nil
	if connection.GetScanSchedule() == nil {
		return nil
	}
	plan, err := schedule.Parse(connection.GetScanSchedule())
	var wrong *schedule.Error
	switch {
	case errors.As(err, &wrong):
		return errmap.InvalidField("connection.scan_schedule."+wrong.Field, wrong.Problem)
	case err != nil:
		return err
	}
	connection.NextScanTime = timestamppb.New(plan.Next(s.now(), connection.GetName()))
	return nil
}

// identify returns what tells a repeated request from another one.
func identify(request *pb.CreateConnectionRequest) (store.Request, error) {
	if request.GetRequestId() == "" || request.GetValidateOnly() {
		return store.Request{}, nil
	}
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return store.Request{}, fmt.Errorf("identify request: %w", err)
	}
	hash := sha256.Sum256(content)
	return store.Request{ID: request.GetRequestId(), Hash: hash[:]}, nil
}

// createdBy returns the answer to a request that was made before, or nil if there
// is no connection of that name.
func (s *Service) createdBy(ctx context.Context, name string, identity store.Request) (*pb.CreateConnectionResponse, error) {
	connection, err := s.store.CreatedBy(ctx, name, identity)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case errors.Is(err, store.ErrExists):
		return nil, exists(name)
	case errors.Is(err, store.ErrRequestReused):
		return nil, requestReused()
	case err != nil:
		return nil, storeError(err, name)
	}
	return &pb.CreateConnectionResponse{Connection: connection}, nil
}

// GetConnection returns one connection.
func (s *Service) GetConnection(ctx context.Context, request *pb.GetConnectionRequest) (*pb.GetConnectionResponse, error) {
	connection, err := s.store.Connection(ctx, request.GetName())
	if err != nil {
		return nil, storeError(err, request.GetName())
	}
	return &pb.GetConnectionResponse{Connection: connection}, nil
}

// ListConnections returns a page of a workspace's connections.
func (s *Service) ListConnections(ctx context.Context, request *pb.ListConnectionsRequest) (*pb.ListConnectionsResponse, error) {
	connections, next, err := s.store.ListConnections(ctx, request.GetParent(), store.Page{Size: request.GetPageSize(), Token: request.GetPageToken()})
	if err != nil {
		return nil, storeError(err, request.GetParent())
	}
	return &pb.ListConnectionsResponse{Connections: connections, NextPageToken: next}, nil
}

// UpdateConnection changes the fields of the mask, once the result was checked.
func (s *Service) UpdateConnection(ctx context.Context, request *pb.UpdateConnectionRequest) (*pb.UpdateConnectionResponse, error) {
	name := request.GetConnection().GetName()
	id, err := resource.ParseConnection(name)
	if err != nil {
		return nil, errmap.InvalidField("connection.name", err.Error())
	}
	current, secrets, err := s.store.ConnectionWithSecrets(ctx, name)
	if err != nil {
		return nil, storeError(err, name)
	}
	if etag := request.GetConnection().GetEtag(); etag != "" && etag != current.GetEtag() {
		return nil, storeError(store.ErrEtagMismatch, name)
	}
	updated, updatedSecrets, err := merge(current, secrets, request)
	if err != nil {
		return nil, err
	}
	// The request may leave fields out, so its own rules were not checked. What
	// comes of it must be as valid as a new connection.
	asNew := &pb.CreateConnectionRequest{Parent: resource.WorkspaceName(id.Workspace), ConnectionId: id.ID, Connection: updated}
	if err := protovalidate.Validate(asNew); err != nil {
		return nil, err
	}
	if err := s.setNextScan(updated); err != nil {
		return nil, err
	}
	if err := s.try(ctx, updated, updatedSecrets, request.GetSkipCheck()); err != nil {
		return nil, err
	}
	if err := sameOrganization(current, updated); err != nil {
		return nil, err
	}
	if request.GetValidateOnly() {
		return &pb.UpdateConnectionResponse{Connection: updated}, nil
	}
	stored, err := s.store.UpdateConnection(ctx, updated, updatedSecrets)
	if err != nil {
		return nil, storeError(err, name)
	}
	return &pb.UpdateConnectionResponse{Connection: stored}, nil
}

// DeleteConnection removes a connection and what hangs under it. The row goes
// first, so that no new scan can start while the running one is being ended.
func (s *Service) DeleteConnection(ctx context.Context, request *pb.DeleteConnectionRequest) (*pb.DeleteConnectionResponse, error) {
	if err := s.store.DeleteConnection(ctx, request.GetName(), request.GetEtag()); err != nil {
		return nil, storeError(err, request.GetName())
	}
	s.pool.Retire(request.GetName())
	if err := s.scans.Cancel(ctx, request.GetName()); err != nil {
		return nil, fmt.Errorf("end the scan of a deleted connection: %w", err)
	}
	return &pb.DeleteConnectionResponse{}, nil
}

// try signs in to Sigma and the warehouse with settings that are not stored
// yet, and notes the organization that they lead to.
func (s *Service) try(ctx context.Context, connection *pb.Connection, secrets *store.Secrets, skip bool) error {
	link, err := s.opener.Open(connection, secrets)
	if err != nil {
		return err
	}
	defer s.opener.close(link.Warehouse)
	if skip {
		return nil
	}
	// Both sides at once; Sigma's refusal is told first.
	var warehouseErr error
	var asked sync.WaitGroup
	asked.Go(func() { _, warehouseErr = link.Warehouse.Identify(ctx) })
	who, err := signInToSigma(ctx, link)
	asked.Wait()
	if err != nil {
		return fmt.Errorf("sign in to Sigma: %w", err)
	}
	connection.OrganizationId = who.OrganizationID
	if warehouseErr != nil {
		return fmt.Errorf("sign in to the warehouse: %w", warehouseErr)
	}
	return nil
}

// sameOrganization keeps one organization's catalog from being mixed with
// another's.
func sameOrganization(current, updated *pb.Connection) error {
	was, is := current.GetOrganizationId(), updated.GetOrganizationId()
	if was == "" || is == "" || was == is {
		return nil
	}
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_SIGMA_ORGANIZATION_CHANGED,
		Resource: current.GetName(),
		Message:  "the new credentials belong to another Sigma organization; make a new connection for it",
		Metadata: map[string]string{"organization_id": is, "expected_organization_id": was},
	}
}

func requestReused() error {
	const problem = "it was used before, for another connection or other content; take a new one"
	return &errmap.Error{
		Reason:  pb.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED,
		Message: "request_id: " + problem,
		Fields:  []errmap.Field{{Path: "request_id", Problem: problem}},
	}
}

func exists(name string) error {
	return errmap.New(pb.ErrorReason_ERROR_REASON_CONNECTION_EXISTS, name, "there is a connection of this name already")
}

func notFound(name string) error {
	return errmap.New(pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, name, "there is no such connection")
}

func storeError(err error, name string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound(name)
	case errors.Is(err, store.ErrEtagMismatch):
		return errmap.New(pb.ErrorReason_ERROR_REASON_ETAG_MISMATCH, name, "the connection has changed since the etag was read; read it again")
	case errors.Is(err, store.ErrSealed):
		return errmap.New(pb.ErrorReason_ERROR_REASON_SECRETS_SEALED, name, "the stored secrets do not open with the server's key; its operator has to restore the key")
	case errors.Is(err, store.ErrBadPageToken):
		return errmap.InvalidField("page_token", "it belongs to another request; leave it empty to begin again")
	}
	return err
}

// clone keeps what a caller sent from being changed under its feet, which an
// in-process caller would see.
func clone(connection *pb.Connection) *pb.Connection { return proto.CloneOf(connection) }
