package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// PutWorkbook replaces a workbook and all its models, or nothing. It counts the
// workbook's models and the models' columns itself. It fails with ErrNotFound if
// the connection is gone, which ends a scan.
func (s *Store) PutWorkbook(ctx context.Context, workbook *pb.Workbook, models []*pb.Model) error {
	stored := proto.CloneOf(workbook)
	stored.ModelCount = int32(len(models))
	err := s.change(ctx, func(tx *sql.Tx) error {
		if err := s.putWorkbook(ctx, tx, stored); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM models WHERE workbook = $1`, workbook.GetName()); err != nil {
			return err
		}
		for _, model := range models {
			if err := insertModel(ctx, tx, workbook.GetName(), model); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put workbook: %w", err)
	}
	return nil
}

// PutFailedWorkbook stores a workbook that a scan could not read, with its error,
// and leaves its models as they are. It fails as PutWorkbook does.
func (s *Store) PutFailedWorkbook(ctx context.Context, workbook *pb.Workbook) error {
	stored := proto.CloneOf(workbook)
	err := s.change(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM models WHERE workbook = $1`, workbook.GetName()).
			Scan(&stored.ModelCount); err != nil {
			return err
		}
		return s.putWorkbook(ctx, tx, stored)
	})
	if err != nil {
		return fmt.Errorf("put failed workbook: %w", err)
	}
	return nil
}

func (s *Store) putWorkbook(ctx context.Context, tx *sql.Tx, workbook *pb.Workbook) error {
	name, err := resource.ParseWorkbook(workbook.GetName())
	if err != nil {
		return err
	}
	data, err := proto.Marshal(workbook)
	if err != nil {
		return err
	}
	key := sortKey(workbook.GetName(), workbook.GetPath(), workbook.GetDisplayName())
	_, err = tx.ExecContext(ctx, `
		INSERT INTO workbooks (name, connection, sort_key, resource) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET sort_key = excluded.sort_key, resource = excluded.resource`,
		workbook.GetName(), name.Connection.String(), key, data)
	if s.dialect.isOrphan(err) {
		return ErrNotFound
	}
	return err
}

func insertModel(ctx context.Context, tx *sql.Tx, workbook string, model *pb.Model) error {
	name, err := resource.ParseModel(model.GetName())
	if err != nil {
		return err
	}
	if name.Workbook().String() != workbook || model.GetWorkbook() != workbook {
		return errors.New("a model is not of this workbook")
	}
	stored := proto.CloneOf(model)
	stored.ColumnCount = int32(len(model.GetColumns()))
	stored.Columns = nil
	data, err := proto.Marshal(stored)
	if err != nil {
		return err
	}
	columns, err := proto.Marshal(&pb.Model{Columns: model.GetColumns()})
	if err != nil {
		return err
	}
	key := sortKey(model.GetName(), model.GetPath(), model.GetWorkbookDisplayName(), name.WorkbookID, model.GetDisplayName())
	_, err = tx.ExecContext(ctx, `
		INSERT INTO models (name, connection, workbook, sort_key, resource, model_columns)
		VALUES ($1, $2, $3, $4, $5, $6)`, model.GetName(), name.Connection.String(), workbook, key, data, columns)
	return err
}

// RemoveWorkbooksExcept removes the workbooks of a connection that are not in
// keep, by resource name, with their models, and returns how many they were. Only
// a complete listing of Sigma's workbooks justifies it.
func (s *Store) RemoveWorkbooksExcept(ctx context.Context, parent string, keep map[string]bool) (int, error) {
	removed := 0
	err := s.change(ctx, func(tx *sql.Tx) error {
		names, err := readAll(ctx, tx, func(rows *sql.Rows) (name string, err error) {
			return name, rows.Scan(&name)
		}, `SELECT name FROM workbooks WHERE connection = $1`, parent)
		if err != nil {
			return err
		}
		for _, name := range names {
			if keep[name] {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM workbooks WHERE name = $1`, name); err != nil {
				return err
			}
			removed++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove workbooks: %w", err)
	}
	return removed, nil
}

// ListWorkbooks returns a page of a connection's workbooks, ordered by path, then
// display name, and the token of the next page, empty after the last. It fails
// with ErrBadPageToken; a connection that is not there has no workbooks.
func (s *Store) ListWorkbooks(ctx context.Context, parent string, page Page) ([]*pb.Workbook, string, error) {
	list, next, err := listPage[pb.Workbook](ctx, s.read, page, listKey("workbooks", parent), `
		SELECT sort_key, resource FROM workbooks
		WHERE connection = $1 AND sort_key > $2 ORDER BY sort_key LIMIT $3`, parent)
	if err != nil {
		return nil, "", fmt.Errorf("list workbooks: %w", err)
	}
	return list, next, nil
}

// ListModels returns a page of a connection's models without their columns,
// ordered by path, then the workbook's display name, then the model's, and the
// token of the next page, empty after the last. A workbook, by its resource name,
// leaves only its models. It fails as ListWorkbooks does.
func (s *Store) ListModels(ctx context.Context, parent, workbook string, page Page) ([]*pb.Model, string, error) {
	query := `
		SELECT sort_key, resource FROM models
		WHERE connection = $1 AND sort_key > $2 ORDER BY sort_key LIMIT $3`
	args := []any{parent}
	if workbook != "" {
		query = `
		SELECT sort_key, resource FROM models
		WHERE connection = $1 AND workbook = $4 AND sort_key > $2 ORDER BY sort_key LIMIT $3`
		args = append(args, workbook)
	}
	list, next, err := listPage[pb.Model](ctx, s.read, page, listKey("models", parent, workbook), query, args...)
	if err != nil {
		return nil, "", fmt.Errorf("list models: %w", err)
	}
	return list, next, nil
}

// Model returns a model with its columns. It fails with ErrNotFound.
func (s *Store) Model(ctx context.Context, name string) (*pb.Model, error) {
	var data, columns []byte
	err := s.read.QueryRowContext(ctx, `SELECT resource, model_columns FROM models WHERE name = $1`, name).
		Scan(&data, &columns)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	model := &pb.Model{}
	if err := proto.Unmarshal(data, model); err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(columns, model); err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return model, nil
}

// CountCatalog returns how many workbooks and models a connection has.
func (s *Store) CountCatalog(ctx context.Context, parent string) (workbooks, models int, err error) {
	err = s.read.QueryRowContext(ctx, `
		SELECT (SELECT COUNT(*) FROM workbooks WHERE connection = $1),
		       (SELECT COUNT(*) FROM models WHERE connection = $1)`, parent).Scan(&workbooks, &models)
	if err != nil {
		return 0, 0, fmt.Errorf("count catalog: %w", err)
	}
	return workbooks, models, nil
}
