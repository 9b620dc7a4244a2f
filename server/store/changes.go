package store

import (
	"context"
	"database/sql"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// changer finds out what a scan's view of a workbook changes in the catalog, and
// notes it. The notes are written with the catalog itself, in one transaction: each
// change is noted once, however often a scan is interrupted and begun again.
type changer struct {
	connection string
	scan       string
	time       *timestamppb.Timestamp
	changes    []*pb.Change
}

func (c *changer) note(kind pb.ChangeKind, resource, from, to string) *pb.Change {
	change := &pb.Change{Time: c.time, Kind: kind, Resource: resource, Scan: c.scan, From: from, To: to}
	c.changes = append(c.changes, change)
	return change
}

// differs notes a change if there is one.
func (c *changer) differs(kind pb.ChangeKind, resource, from, to string) {
	if from != to {
		c.note(kind, resource, from, to)
	}
}

// workbook compares a workbook with what is known of it, which may be nothing.
func (c *changer) workbook(known, seen *pb.Workbook) {
	name := seen.GetName()
	if known == nil {
		c.note(pb.ChangeKind_CHANGE_KIND_WORKBOOK_ADDED, name, "", seen.GetDisplayName())
		return
	}
	if known.GetGoneTime() != nil {
		c.note(pb.ChangeKind_CHANGE_KIND_WORKBOOK_RESTORED, name, "", seen.GetDisplayName())
	}
	c.differs(pb.ChangeKind_CHANGE_KIND_WORKBOOK_RENAMED, name, known.GetDisplayName(), seen.GetDisplayName())
	c.differs(pb.ChangeKind_CHANGE_KIND_WORKBOOK_MOVED, name, known.GetPath(), seen.GetPath())
	c.differs(pb.ChangeKind_CHANGE_KIND_WORKBOOK_OWNER_CHANGED, name, known.GetOwnerId(), seen.GetOwnerId())
}

// keptModel is a model as it is to be stored, and whether it has to be.
type keptModel struct {
	model *pb.Model
	dirty bool
}

func modelsOf(kept []keptModel) (models []*pb.Model) {
	for _, k := range kept {
		models = append(models, k.model)
	}
	return models
}

// models brings a workbook's known models to what was seen.
func (c *changer) models(known []*pb.Model, workbook *pb.Workbook, seen Seen) (kept []keptModel, err error) {
	byName := map[string]*pb.Model{}
	for _, model := range known {
		byName[model.GetName()] = model
	}
	seenNames := map[string]bool{}
	for _, model := range seen.Models {
		if seenNames[model.GetName()] {
			return nil, errors.New("a model is there twice")
		}
		seenNames[model.GetName()] = true
		kept = append(kept, keptModel{c.model(byName[model.GetName()], model), true})
	}
	for _, model := range known {
		switch {
		case seenNames[model.GetName()]:
		case model.GetState() == pb.ModelState_MODEL_STATE_GONE:
			kept = append(kept, keptModel{model, follow(model, workbook)})
		case seen.Unread:
			dirty := follow(model, workbook)
			if workbook.GetArchived() {
				dirty = c.archivedModel(model) || dirty
			}
			kept = append(kept, keptModel{model, dirty})
		default:
			c.goneModel(model)
			kept = append(kept, keptModel{model, true})
		}
	}
	return kept, nil
}

// follow copies to a model what it repeats of its workbook, and reports whether
// that was something else.
func follow(model *pb.Model, workbook *pb.Workbook) bool {
	before := proto.CloneOf(model)
	model.WorkbookDisplayName, model.Path, model.Url = workbook.GetDisplayName(), workbook.GetPath(), workbook.GetUrl()
	return !proto.Equal(before, model)
}

// model compares a model with what is known of it, which may be nothing, and
// returns what is to be stored.
func (c *changer) model(known, seen *pb.Model) *pb.Model {
	seen = proto.CloneOf(seen)
	seen.ColumnCount = int32(len(seen.GetColumns()))
	name := seen.GetName()
	if couldNotBeRead(seen) {
		seen = unreadModel(known, seen)
	}
	if seen.GetState() != pb.ModelState_MODEL_STATE_READY && len(seen.GetColumns()) == 0 {
		// Sigma lists none for what it cannot produce. That is no word on them.
		seen.Columns, seen.ColumnCount = known.GetColumns(), known.GetColumnCount()
	}
	if known == nil {
		c.note(pb.ChangeKind_CHANGE_KIND_MODEL_ADDED, name, "", seen.GetDisplayName())
		return seen
	}
	if known.GetState() == pb.ModelState_MODEL_STATE_GONE {
		c.note(pb.ChangeKind_CHANGE_KIND_MODEL_RESTORED, name, "", seen.GetDisplayName())
	}
	c.differs(pb.ChangeKind_CHANGE_KIND_MODEL_RENAMED, name, known.GetDisplayName(), seen.GetDisplayName())
	c.columns(name, known.GetColumns(), seen.GetColumns())
	if was, is := known.GetSqlFingerprint(), seen.GetSqlFingerprint(); was != "" && is != "" && was != is {
		c.note(pb.ChangeKind_CHANGE_KIND_MODEL_SQL_CHANGED, name, "", "")
	}
	c.state(known, seen)
	if seen.GetSqlFingerprint() == "" { // what a broken model comes back with is compared with what it was
		seen.SqlFingerprint = known.GetSqlFingerprint()
	}
	return seen
}

// archivedModel takes a model along with its workbook, of whose contents Sigma no
// longer tells anything. It reports whether it was not archived before.
func (c *changer) archivedModel(model *pb.Model) bool {
	problem := &pb.Problem{
		Reason: pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED, Resource: model.GetName(),
		Message: "the workbook is archived in Sigma; restore it there",
	}
	if model.GetState() == pb.ModelState_MODEL_STATE_ARCHIVED && proto.Equal(model.GetError(), problem) {
		return false
	}
	before := &pb.Model{State: model.GetState()}
	model.State, model.Error = pb.ModelState_MODEL_STATE_ARCHIVED, problem
	c.state(before, model)
	return true
}

// couldNotBeRead reports whether Sigma failed on the element.
func couldNotBeRead(seen *pb.Model) bool {
	return seen.GetState() == pb.ModelState_MODEL_STATE_UNSPECIFIED
}

// unreadModel is a model as it was known, with the error.
func unreadModel(known, seen *pb.Model) *pb.Model {
	if known == nil || known.GetState() == pb.ModelState_MODEL_STATE_GONE {
		seen.State = pb.ModelState_MODEL_STATE_BROKEN
		return seen
	}
	kept := proto.CloneOf(known)
	kept.DisplayName, kept.WorkbookDisplayName = seen.GetDisplayName(), seen.GetWorkbookDisplayName()
	kept.Path, kept.Url, kept.Error, kept.ScanTime = seen.GetPath(), seen.GetUrl(), seen.GetError(), seen.GetScanTime()
	return kept
}

// state notes that a model can be read no more, or again. A model that was gone is
// compared with READY: that it is back was noted.
func (c *changer) state(known, seen *pb.Model) {
	const ready = pb.ModelState_MODEL_STATE_READY
	was, is := known.GetState(), seen.GetState()
	if was == pb.ModelState_MODEL_STATE_GONE {
		was = ready
	}
	switch {
	case was == ready && is != ready:
		c.note(pb.ChangeKind_CHANGE_KIND_MODEL_BROKE, seen.GetName(), was.String(), is.String())
	case was != ready && is == ready:
		c.note(pb.ChangeKind_CHANGE_KIND_MODEL_RECOVERED, seen.GetName(), was.String(), is.String())
	}
}

// columns compares columns by Sigma's ids, which stay when a column is renamed. A column that was stored without an id, when
// Sigma did not list the columns, is the one of its label.
func (c *changer) columns(model string, known, seen []*pb.Column) {
	before := map[string]*pb.Column{}
	for _, column := range known {
		before[identityOf(column)] = column
	}
	now := map[string]bool{}
	for _, column := range seen {
		id := identityOf(column)
		if now[id] {
			continue
		}
		now[id] = true
		was := before[id]
		if unnamed := (&pb.Column{Label: column.GetLabel()}); was == nil && before[identityOf(unnamed)] != nil {
			now[identityOf(unnamed)] = true
			continue
		}
		if was == nil {
			c.note(pb.ChangeKind_CHANGE_KIND_COLUMN_ADDED, model, "", column.GetLabel()).ColumnId = column.GetColumnId()
			continue
		}
		if was.GetLabel() != column.GetLabel() {
			c.note(pb.ChangeKind_CHANGE_KIND_COLUMN_RENAMED, model, was.GetLabel(), column.GetLabel()).ColumnId = column.GetColumnId()
		}
		if was.GetSigmaType() != column.GetSigmaType() {
			c.note(pb.ChangeKind_CHANGE_KIND_COLUMN_RETYPED, model, was.GetSigmaType(), column.GetSigmaType()).ColumnId = column.GetColumnId()
		}
	}
	removed := map[string]bool{}
	for _, column := range known {
		if id := identityOf(column); !now[id] && !removed[id] {
			removed[id] = true
			c.note(pb.ChangeKind_CHANGE_KIND_COLUMN_REMOVED, model, column.GetLabel(), "").ColumnId = column.GetColumnId()
		}
	}
}

// identityOf is the column's id, or its label where Sigma gives it none.
func identityOf(column *pb.Column) string {
	if column.GetColumnId() != "" {
		return "id " + column.GetColumnId()
	}
	return "label " + column.GetLabel()
}

func (c *changer) goneModel(model *pb.Model) {
	c.note(pb.ChangeKind_CHANGE_KIND_MODEL_REMOVED, model.GetName(), model.GetDisplayName(), "")
	model.State = pb.ModelState_MODEL_STATE_GONE
	model.Error = &pb.Problem{
		Reason: pb.ErrorReason_ERROR_REASON_MODEL_GONE, Resource: model.GetName(),
		Message: "the element or its workbook is no longer in Sigma, or no longer visible to the credentials' owner",
	}
}

// write gives the changes their numbers and stores them. The counter's row keeps
// other writers of the connection waiting until this transaction ends, so that
// numbers become visible in their order.
func (c *changer) write(ctx context.Context, tx *sql.Tx) error {
	if len(c.changes) == 0 {
		return nil
	}
	var last int64
	err := tx.QueryRowContext(ctx, `UPDATE connections SET change_seq = change_seq + $2 WHERE name = $1 RETURNING change_seq`,
		c.connection, len(c.changes)).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	for i, change := range c.changes {
		change.Sequence = last - int64(len(c.changes)) + int64(i) + 1
		data, err := proto.Marshal(change)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO changes (connection, seq, resource) VALUES ($1, $2, $3)`,
			c.connection, change.GetSequence(), data); err != nil {
			return err
		}
	}
	return nil
}
