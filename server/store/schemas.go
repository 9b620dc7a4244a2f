package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// PutSchema keeps a schema that was given out for a model, under its
// fingerprint, so that a later one can be compared with it. It is kept once.
// It fails with ErrNotFound if the model's connection is gone.
func (s *Store) PutSchema(ctx context.Context, model string, schema *pb.Schema) error {
	name, err := resource.ParseModel(model)
	if err != nil {
		return fmt.Errorf("put schema: %w", err)
	}
	var known int
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM schemas WHERE model = $1 AND fingerprint = $2`,
		model, schema.GetFingerprint()).Scan(&known); err != nil {
		return fmt.Errorf("put schema: %w", err)
	}
	if known > 0 { // as nearly always: no need to wait for the one writer
		return nil
	}
	kept := proto.CloneOf(schema)
	kept.ArrowIpc = nil
	data, err := proto.Marshal(kept)
	if err != nil {
		return fmt.Errorf("put schema: %w", err)
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO schemas (connection, model, fingerprint, resource) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		name.Connection.String(), model, schema.GetFingerprint(), data)
	if s.dialect.isOrphan(err) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("put schema: %w", err)
	}
	return nil
}

// mostSchemas bounds how far RecentSchemas goes back.
const mostSchemas = 20

// RecentSchemas returns the schemas that were given out for a model, the newest
// first, without those of long ago.
func (s *Store) RecentSchemas(ctx context.Context, model string) (schemas []*pb.Schema, err error) {
	schemas, err = readMessages[pb.Schema](ctx, s.read, `SELECT resource FROM schemas WHERE model = $1 ORDER BY seq DESC LIMIT $2`, model, mostSchemas)
	if err != nil {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	return schemas, nil
}

// Schema returns a schema that was given out for a model. It fails with
// ErrNotFound if none of that fingerprint was.
func (s *Store) Schema(ctx context.Context, model, fingerprint string) (*pb.Schema, error) {
	schema := &pb.Schema{}
	if err := readOne(ctx, s.read, schema, `SELECT resource FROM schemas WHERE model = $1 AND fingerprint = $2`, model, fingerprint); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return schema, nil
}
