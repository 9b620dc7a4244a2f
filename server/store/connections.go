package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// Request identifies the request that makes a connection, so that it can be
// repeated. The zero value does not.
type Request struct {
	ID   string // unique in the workspace
	Hash []byte // of all that the request asks for
}

// CreateConnection stores a connection under its name, and returns it as stored:
// without the fields that are input only, with etag, create_time and update_time.
// It fails with ErrExists, or with ErrRequestReused if another connection of the
// workspace was made with the request's id.
func (s *Store) CreateConnection(ctx context.Context, connection *pb.Connection, secrets *Secrets, request Request) (*pb.Connection, error) {
	name, err := resource.ParseConnection(connection.GetName())
	if err != nil {
		return nil, err
	}
	stored := withoutInputOnly(connection)
	stored.Etag = newEtag()
	stored.CreateTime = timestamppb.Now()
	stored.UpdateTime = stored.CreateTime
	data, err := proto.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode connection: %w", err)
	}
	sealed, err := s.sealer.sealSecrets(stored.GetName(), secrets)
	if err != nil {
		return nil, err
	}
	hash := []byte{}
	if request.ID != "" {
		if hash, err = s.sealer.seal(requestOf(stored.GetName()), request.Hash); err != nil {
			return nil, err
		}
	}
	result, err := s.write.ExecContext(ctx, `
		INSERT INTO connections (name, workspace, sort_key, etag, resource, secrets, request_id, request_hash, next_scan)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`, stored.GetName(), resource.WorkspaceName(name.Workspace),
		sortKey(stored.GetName()), stored.GetEtag(), data, sealed, request.ID, hash, nextScan(stored))
	switch err := changed(result, err); {
	case errors.Is(err, ErrNotFound):
		if _, err := s.Connection(ctx, stored.GetName()); errors.Is(err, ErrNotFound) {
			return nil, ErrRequestReused
		}
		return nil, ErrExists
	case err != nil:
		return nil, fmt.Errorf("create connection: %w", err)
	}
	return stored, nil
}

// CreatedBy returns the connection of that name, as it is now, if the request made
// it. It fails with ErrNotFound; with ErrExists if a request of another id made
// it, or of none; and with ErrRequestReused if the id is the same and the hash is
// not.
func (s *Store) CreatedBy(ctx context.Context, name string, request Request) (*pb.Connection, error) {
	var data, sealed []byte
	var id string
	err := s.read.QueryRowContext(ctx, `SELECT resource, request_id, request_hash FROM connections WHERE name = $1`, name).
		Scan(&data, &id, &sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("read connection: %w", err)
	case id == "" || id != request.ID:
		return nil, ErrExists
	}
	hash, err := s.sealer.open(requestOf(name), sealed)
	if err != nil {
		return nil, fmt.Errorf("read connection: %w", err)
	}
	if subtle.ConstantTimeCompare(hash, request.Hash) == 0 {
		return nil, ErrRequestReused
	}
	connection := &pb.Connection{}
	if err := proto.Unmarshal(data, connection); err != nil {
		return nil, fmt.Errorf("read connection: %w", err)
	}
	return connection, nil
}

// Connection returns a connection. It fails with ErrNotFound.
func (s *Store) Connection(ctx context.Context, name string) (*pb.Connection, error) {
	connection := &pb.Connection{}
	if err := readOne(ctx, s.read, connection, `SELECT resource FROM connections WHERE name = $1`, name); err != nil {
		return nil, fmt.Errorf("read connection: %w", err)
	}
	return connection, nil
}

// ConnectionWithSecrets returns a connection and its secrets as they were at one
// moment. It fails with ErrNotFound or ErrSealed.
func (s *Store) ConnectionWithSecrets(ctx context.Context, name string) (*pb.Connection, *Secrets, error) {
	var data, sealed []byte
	err := s.read.QueryRowContext(ctx, `SELECT resource, secrets FROM connections WHERE name = $1`, name).
		Scan(&data, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read connection: %w", err)
	}
	connection := &pb.Connection{}
	if err := proto.Unmarshal(data, connection); err != nil {
		return nil, nil, fmt.Errorf("read connection: %w", err)
	}
	secrets, err := s.sealer.openSecrets(name, sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("read connection: %w", err)
	}
	return connection, secrets, nil
}

// ListConnections returns a page of the connections of a workspace,
// `workspaces/{workspace}`, ordered by name, and the token of the next page, empty
// after the last. It fails with ErrBadPageToken.
func (s *Store) ListConnections(ctx context.Context, parent string, page Page) ([]*pb.Connection, string, error) {
	list, next, err := listPage[pb.Connection](ctx, s.read, page, listKey("connections", parent), `
		SELECT sort_key, resource FROM connections
		WHERE workspace = $1 AND sort_key > $2 ORDER BY sort_key LIMIT $3`, parent)
	if err != nil {
		return nil, "", fmt.Errorf("list connections: %w", err)
	}
	return list, next, nil
}

// UpdateConnection replaces the connection of that name, if connection.etag is
// still the stored one, and returns it as stored. Secrets that are nil stay as
// they are. It fails with ErrNotFound or ErrEtagMismatch.
//
// To change a connection, read it, change what was read, and update: whoever comes
// second gets ErrEtagMismatch.
func (s *Store) UpdateConnection(ctx context.Context, connection *pb.Connection, secrets *Secrets) (*pb.Connection, error) {
	stored := withoutInputOnly(connection)
	stored.Etag = newEtag()
	stored.UpdateTime = timestamppb.Now()
	err := s.change(ctx, func(tx *sql.Tx) error {
		current := &pb.Connection{}
		if err := readOne(ctx, tx, current, `SELECT resource FROM connections WHERE name = $1`, stored.GetName()); err != nil {
			return err
		}
		stored.CreateTime = current.GetCreateTime()
		if proto.Equal(stored.GetScanSchedule(), current.GetScanSchedule()) {
			stored.NextScanTime = current.GetNextScanTime()
		}
		return s.replaceConnection(ctx, tx, connection.GetEtag(), stored, secrets)
	})
	if err != nil {
		return nil, fmt.Errorf("update connection: %w", err)
	}
	return stored, nil
}

func (s *Store) replaceConnection(ctx context.Context, tx *sql.Tx, etag string, stored *pb.Connection, secrets *Secrets) error {
	data, err := proto.Marshal(stored)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `UPDATE connections SET etag = $3, resource = $4, next_scan = $5 WHERE name = $1 AND etag = $2`,
		stored.GetName(), etag, stored.GetEtag(), data, nextScan(stored))
	if err := changed(result, err); errors.Is(err, ErrNotFound) {
		return ErrEtagMismatch
	} else if err != nil || secrets == nil {
		return err
	}
	sealed, err := s.sealer.sealSecrets(stored.GetName(), secrets)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE connections SET secrets = $2 WHERE name = $1`, stored.GetName(), sealed)
	return err
}

// DeleteConnection removes a connection with its secrets, scans, workbooks and
// models; no file of the store holds its secrets any more, sealed or not. With an
// etag it does so only if that is still the stored one. It fails with ErrNotFound
// or ErrEtagMismatch.
func (s *Store) DeleteConnection(ctx context.Context, name, etag string) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM connections WHERE name = $1 AND $2 IN ('', etag)`, name, etag)
		if err := changed(result, err); !errors.Is(err, ErrNotFound) || etag == "" {
			return err
		}
		if err := readOne(ctx, tx, &pb.Connection{}, `SELECT resource FROM connections WHERE name = $1`, name); err != nil {
			return err
		}
		return ErrEtagMismatch
	})
	if err != nil {
		return fmt.Errorf("delete connection: %w", err)
	}
	return s.dialect.forget(ctx, s.write)
}

// newEtag returns an etag that was never given before: a counter would begin anew
// when a connection is deleted and created again.
func newEtag() string { return rand.Text()[:16] }

// withoutInputOnly returns a copy without any field that the contract marks as
// input only, however deep, and so without a secret.
func withoutInputOnly(connection *pb.Connection) *pb.Connection {
	clone := proto.CloneOf(connection)
	clearInputOnly(clone.ProtoReflect())
	return clone
}

func clearInputOnly(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case isInputOnly(field):
			m.Clear(field)
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				clearInputOnly(v.Message())
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				clearInputOnly(value.List().Get(i).Message())
			}
		case field.Message() != nil && !field.IsMap():
			clearInputOnly(value.Message())
		}
		return true
	})
	m.SetUnknown(nil) // a newer client may send secrets that this server does not know
}

func isInputOnly(field protoreflect.FieldDescriptor) bool {
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, b := range behaviors {
		if b == annotations.FieldBehavior_INPUT_ONLY {
			return true
		}
	}
	return false
}
