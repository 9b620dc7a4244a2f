package catalog

import pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"

// tally adds to a scan what it has changed. A model counts once, whatever became
// different of it.
type tally struct {
	scan *pb.Scan
	seen map[string]bool // models that count already
}

func newTally(scan *pb.Scan) *tally { return &tally{scan: scan, seen: map[string]bool{}} }

// countChanges adds the changes of one workbook, which has all its models' at once.
func countChanges(scan *pb.Scan, changes []*pb.Change) {
	t := newTally(scan)
	for _, change := range changes {
		t.add(change)
	}
}

func (t *tally) add(change *pb.Change) {
	model := change.GetResource()
	switch change.GetKind() {
	case pb.ChangeKind_CHANGE_KIND_MODEL_ADDED, pb.ChangeKind_CHANGE_KIND_MODEL_RESTORED:
		t.scan.ModelsAdded++
		t.seen[model] = true
	case pb.ChangeKind_CHANGE_KIND_MODEL_REMOVED:
		t.scan.ModelsRemoved++
	case pb.ChangeKind_CHANGE_KIND_MODEL_RENAMED, pb.ChangeKind_CHANGE_KIND_MODEL_BROKE, pb.ChangeKind_CHANGE_KIND_MODEL_RECOVERED,
		pb.ChangeKind_CHANGE_KIND_MODEL_SQL_CHANGED, pb.ChangeKind_CHANGE_KIND_COLUMN_ADDED, pb.ChangeKind_CHANGE_KIND_COLUMN_REMOVED,
		pb.ChangeKind_CHANGE_KIND_COLUMN_RENAMED, pb.ChangeKind_CHANGE_KIND_COLUMN_RETYPED:
		if !t.seen[model] {
			t.scan.ModelsChanged++
		}
		t.seen[model] = true
	}
}
