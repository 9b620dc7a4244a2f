package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// Seen is a workbook as a scan saw it.
type Seen struct {
	Claim    Claim
	Workbook *pb.Workbook
	// Marker tells the contents that were read: a workbook with the same marker
	// need not be read again. Empty means that it is to be read again in any case.
	Marker string
	// Models are all of the workbook's, with their columns. A model that has none
	// but an error, and no state, could not be read; it stays as it was.
	Models []*pb.Model
	// Unread means that the contents were not read, so that Models says nothing:
	// the workbook has not changed, or could not be read. The models of one that is
	// archived are archived with it.
	Unread bool
}

// PutWorkbook brings a workbook and its models to what a scan saw, all or nothing,
// and notes each change; it returns those. It counts the workbook's models and the
// models' columns itself. It fails with ErrNotFound if the connection is gone, and
// with ErrScanLost; either ends a scan. It fails with a *DocumentError if the database
// refuses this workbook, whatever it does with others.
func (s *Store) PutWorkbook(ctx context.Context, seen Seen) ([]*pb.Change, error) {
	name, err := resource.ParseWorkbook(seen.Workbook.GetName())
	if err != nil {
		return nil, fmt.Errorf("put workbook: %w", err)
	}
	c := &changer{connection: name.Connection.String(), scan: seen.Claim.Scan, time: timestamppb.Now()}
	err = s.change(ctx, func(tx *sql.Tx) error {
		c.changes = nil
		if err := s.hold(ctx, tx, seen.Claim, seen.Workbook.GetName()); err != nil {
			return err
		}
		known, err := readWorkbook(ctx, tx, seen.Workbook.GetName())
		if err != nil {
			return err
		}
		models, err := readModels(ctx, tx, seen.Workbook.GetName())
		if err != nil {
			return err
		}
		workbook := proto.CloneOf(seen.Workbook)
		workbook.GoneTime = nil
		c.workbook(known, workbook)
		kept, err := c.models(models, workbook, seen)
		if err != nil {
			return err
		}
		countModels(workbook, kept)
		if seen.Unread {
			workbook.SkippedElementCount = known.GetSkippedElementCount()
		}
		if err := writeWorkbook(ctx, tx, workbook, seen); err != nil {
			return err
		}
		dirty := false
		for _, m := range kept {
			if !m.dirty {
				continue
			}
			dirty = true
			if err := writeModel(ctx, tx, workbook.GetName(), m.model); err != nil {
				return err
			}
		}
		// Entries of a workbook that was read are compared in any case: a replica of
		// another version may have written them.
		if dirty || !seen.Unread || known == nil || *workbookEntry(known) != *workbookEntry(workbook) {
			if err := s.index(ctx, tx, c.connection, workbook, modelsOf(kept)); err != nil {
				return err
			}
		}
		return c.write(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("put workbook: %w", s.documentError(err))
	}
	return c.changes, nil
}

// RemoveWorkbook marks a workbook and its models as gone, and notes that. Only a
// complete listing that Sigma confirms justifies it. A workbook that is not there,
// or gone already, stays as it is. It fails as PutWorkbook does.
func (s *Store) RemoveWorkbook(ctx context.Context, claim Claim, name string) ([]*pb.Change, error) {
	parsed, err := resource.ParseWorkbook(name)
	if err != nil {
		return nil, fmt.Errorf("remove workbook: %w", err)
	}
	c := &changer{connection: parsed.Connection.String(), scan: claim.Scan, time: timestamppb.Now()}
	err = s.change(ctx, func(tx *sql.Tx) error {
		c.changes = nil
		if err := s.hold(ctx, tx, claim, name); err != nil {
			return err
		}
		known, err := readWorkbook(ctx, tx, name)
		if err != nil || known == nil || known.GetGoneTime() != nil {
			return err
		}
		models, err := readModels(ctx, tx, name)
		if err != nil {
			return err
		}
		for _, model := range models {
			if model.GetState() == pb.ModelState_MODEL_STATE_GONE {
				continue
			}
			c.goneModel(model)
			if err := writeModel(ctx, tx, name, model); err != nil {
				return err
			}
		}
		c.note(pb.ChangeKind_CHANGE_KIND_WORKBOOK_REMOVED, name, known.GetDisplayName(), "")
		known.GoneTime, known.Error = c.time, nil
		known.ModelCount, known.UnreadableModelCount, known.SkippedElementCount = 0, 0, 0
		if err := writeWorkbook(ctx, tx, known, Seen{Claim: claim}); err != nil {
			return err
		}
		if err := s.index(ctx, tx, c.connection, known, models); err != nil {
			return err
		}
		return c.write(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("remove workbook: %w", s.documentError(err))
	}
	return c.changes, nil
}

// documentError returns err as a *DocumentError if the database refuses the values of
// a document, and as it is otherwise.
func (s *Store) documentError(err error) error {
	if code := s.dialect.refusal(err); code != "" {
		return &DocumentError{Code: code, Err: err}
	}
	return err
}

// hold makes sure that a claim holds until the transaction is over, as far as a
// workbook is concerned: who takes the scan up meanwhile waits before they write
// the same workbook.
func (s *Store) hold(ctx context.Context, tx *sql.Tx, claim Claim, workbook string) error {
	if err := s.dialect.lock(ctx, tx, workbook); err != nil {
		return err
	}
	var run int64
	var state int32
	err := tx.QueryRowContext(ctx, `SELECT run, state FROM scans WHERE name = $1`, claim.Scan).Scan(&run, &state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err == nil && (run != claim.Run || state != int32(pb.ScanState_SCAN_STATE_RUNNING)):
		return ErrScanLost
	}
	return err
}

func countModels(workbook *pb.Workbook, kept []keptModel) {
	workbook.ModelCount, workbook.UnreadableModelCount = 0, 0
	for _, m := range kept {
		switch m.model.GetState() {
		case pb.ModelState_MODEL_STATE_GONE:
			continue
		case pb.ModelState_MODEL_STATE_READY:
		default:
			workbook.UnreadableModelCount++
		}
		workbook.ModelCount++
	}
}

// writeWorkbook stores a workbook. Which scan has read the contents stays as it was
// if they were not read.
func writeWorkbook(ctx context.Context, tx *sql.Tx, workbook *pb.Workbook, seen Seen) error {
	name, err := resource.ParseWorkbook(workbook.GetName())
	if err != nil {
		return err
	}
	data, err := marshalDocument(workbook)
	if err != nil {
		return err
	}
	key := sortKey(workbook.GetName(), workbook.GetPath(), workbook.GetDisplayName())
	reader := seen.Claim.Scan
	if seen.Unread {
		reader = ""
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO workbooks (name, connection, sort_key, resource, marker, gone, scan) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET sort_key = excluded.sort_key, resource = excluded.resource, marker = excluded.marker,
			gone = excluded.gone, scan = CASE WHEN excluded.scan = '' THEN workbooks.scan ELSE excluded.scan END`,
		workbook.GetName(), name.Connection.String(), key, data, seen.Marker, number(workbook.GetGoneTime() != nil), reader)
	return err
}

func writeModel(ctx context.Context, tx *sql.Tx, workbook string, model *pb.Model) error {
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
	data, err := marshalDocument(stored)
	if err != nil {
		return err
	}
	columns, err := marshalDocument(&pb.Model{Columns: model.GetColumns()})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO models (name, connection, workbook, sort_key, resource, model_columns, gone)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET sort_key = excluded.sort_key, resource = excluded.resource,
			model_columns = excluded.model_columns, gone = excluded.gone`,
		model.GetName(), name.Connection.String(), workbook, modelSortKey(model), data, columns, number(model.GetState() == pb.ModelState_MODEL_STATE_GONE))
	return err
}

// marshalDocument encodes a workbook, or a part of it. It fails with a *DocumentError.
func marshalDocument(m proto.Message) ([]byte, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, &DocumentError{Code: "not valid UTF-8", Err: err}
	}
	return data, nil
}

// number is how a truth is stored: not every database has a type for it.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// readWorkbook returns a workbook, gone or not, or nil if there is none.
func readWorkbook(ctx context.Context, db queryer, name string) (*pb.Workbook, error) {
	workbook := &pb.Workbook{}
	err := readOne(ctx, db, workbook, `SELECT resource FROM workbooks WHERE name = $1`, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return workbook, err
}

// readModels returns all models of a workbook, gone or not, with their columns.
func readModels(ctx context.Context, db queryer, workbook string) ([]*pb.Model, error) {
	return readAll(ctx, db, func(rows *sql.Rows) (*pb.Model, error) {
		var data, columns []byte
		if err := rows.Scan(&data, &columns); err != nil {
			return nil, err
		}
		return decodeModel(data, columns)
	}, `SELECT resource, model_columns FROM models WHERE workbook = $1 ORDER BY sort_key`, workbook)
}

// ModelsOf returns all models of a workbook, gone or not, with their columns.
func (s *Store) ModelsOf(ctx context.Context, workbook string) ([]*pb.Model, error) {
	models, err := readModels(ctx, s.read, workbook)
	if err != nil {
		return nil, fmt.Errorf("read the models of a workbook: %w", err)
	}
	return models, nil
}

func decodeModel(data, columns []byte) (*pb.Model, error) {
	model := &pb.Model{}
	if err := proto.Unmarshal(data, model); err != nil {
		return nil, err
	}
	return model, proto.UnmarshalOptions{Merge: true}.Unmarshal(columns, model)
}

// Known is a workbook in the catalog, with what was put as its marker, and the scan
// that last read its contents.
type Known struct {
	Workbook *pb.Workbook
	Marker   string
	Scan     string
}

// KnownWorkbooks returns all workbooks of a connection, those that are gone too, by
// their names.
func (s *Store) KnownWorkbooks(ctx context.Context, parent string) (map[string]Known, error) {
	all, err := readAll(ctx, s.read, func(rows *sql.Rows) (Known, error) {
		var data []byte
		known := Known{Workbook: &pb.Workbook{}}
		if err := rows.Scan(&data, &known.Marker, &known.Scan); err != nil {
			return known, err
		}
		return known, proto.Unmarshal(data, known.Workbook)
	}, `SELECT resource, marker, scan FROM workbooks WHERE connection = $1`, parent)
	if err != nil {
		return nil, fmt.Errorf("read known workbooks: %w", err)
	}
	known := make(map[string]Known, len(all))
	for _, k := range all {
		known[k.Workbook.GetName()] = k
	}
	return known, nil
}

// Model returns a model with its columns, gone or not. It fails with ErrNotFound.
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
	model, err := decodeModel(data, columns)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return model, nil
}
