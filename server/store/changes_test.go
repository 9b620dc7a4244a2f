package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// told is a change on one line, less the time and the scan.
func told(c *pb.Change) string {
	kind := strings.TrimPrefix(c.GetKind().String(), "CHANGE_KIND_")
	resource := strings.TrimPrefix(c.GetResource(), prod+"/")
	text := fmt.Sprintf("%d %s %s", c.GetSequence(), kind, resource)
	if c.GetColumnId() != "" {
		text += " " + c.GetColumnId()
	}
	if c.GetFrom() != "" || c.GetTo() != "" {
		text += fmt.Sprintf(" %s>%s", strings.TrimPrefix(c.GetFrom(), "MODEL_STATE_"), strings.TrimPrefix(c.GetTo(), "MODEL_STATE_"))
	}
	return text
}

// changesAfter returns the changes after a sequence as they were written: without
// cursors.
func changesAfter(t testing.TB, s *store.Store, connection string, after int64, size int32) []*pb.Change {
	t.Helper()
	page, err := s.ListChanges(t.Context(), connection, store.ChangeCursor{Sequence: after}, size)
	check(t, err)
	for _, c := range page.Changes {
		c.Cursor = ""
	}
	return page.Changes
}

func testChanges(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "Sales")
	w.OwnerId = "ann"
	m := model(w, prod, "e", "Orders", "Id", "Name", "Amount")
	m.SqlFingerprint = "1"
	after := int64(0)
	expect := func(want ...string) {
		t.Helper()
		changes := changesAfter(t, s, prod, after, 0)
		var got []string
		for _, c := range changes {
			got = append(got, told(c))
			after = c.GetSequence()
			if c.GetScan() != prod+"/scans/s" || c.GetTime() == nil {
				t.Errorf("the change is %v", c)
			}
		}
		equal(t, got, want)
	}
	seen := func(models ...*pb.Model) {
		t.Helper()
		returned, err := s.PutWorkbook(ctx, store.Seen{Claim: scanning(ctx, s, prod), Workbook: w, Models: models})
		check(t, err)
		listed := changesAfter(t, s, prod, after, 0)
		equal(t, listed, returned)
	}

	seen(m)
	expect("1 WORKBOOK_ADDED workbooks/w >Sales", "2 MODEL_ADDED models/w.e >Orders")
	w.ScanTime, m.ScanTime = timestamppb.Now(), timestamppb.Now()
	seen(m)
	expect()

	w.DisplayName, w.Path, w.OwnerId = "Revenue", "q", "bob"
	m.DisplayName, m.SqlFingerprint = "All Orders", "2"
	m.Columns = []*pb.Column{
		{ColumnId: "c2", Label: "Amount", SigmaType: "number"}, // retyped, and at another place
		{ColumnId: "c0", Label: "Order Id"},
		{ColumnId: "new", Label: "Name"}, // not the former one
	}
	seen(m)
	expect("3 WORKBOOK_RENAMED workbooks/w Sales>Revenue", "4 WORKBOOK_MOVED workbooks/w p>q", "5 WORKBOOK_OWNER_CHANGED workbooks/w ann>bob",
		"6 MODEL_RENAMED models/w.e Orders>All Orders",
		"7 COLUMN_RETYPED models/w.e c2 >number", "8 COLUMN_RENAMED models/w.e c0 Id>Order Id", "9 COLUMN_ADDED models/w.e new >Name",
		"10 COLUMN_REMOVED models/w.e c1 Name>", "11 MODEL_SQL_CHANGED models/w.e")

	broken := proto.CloneOf(m)
	broken.State, broken.Columns, broken.SqlFingerprint = pb.ModelState_MODEL_STATE_BROKEN, nil, ""
	seen(broken)
	expect("12 MODEL_BROKE models/w.e READY>BROKEN") // and no word on columns that Sigma did not list
	broken.State = pb.ModelState_MODEL_STATE_ARCHIVED
	seen(broken)
	expect()
	seen(m)
	expect("13 MODEL_RECOVERED models/w.e ARCHIVED>READY")

	seen()
	expect("14 MODEL_REMOVED models/w.e All Orders>")
	m.SqlFingerprint = "3"
	seen(m)
	expect("15 MODEL_RESTORED models/w.e >All Orders", "16 MODEL_SQL_CHANGED models/w.e")

	_, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), w.GetName())
	check(t, err)
	expect("17 MODEL_REMOVED models/w.e All Orders>", "18 WORKBOOK_REMOVED workbooks/w Revenue>")
	w.DisplayName, m.State = "Sales", pb.ModelState_MODEL_STATE_FORBIDDEN
	seen(m)
	expect("19 WORKBOOK_RESTORED workbooks/w >Sales", "20 WORKBOOK_RENAMED workbooks/w Revenue>Sales",
		"21 MODEL_RESTORED models/w.e >All Orders", "22 MODEL_BROKE models/w.e READY>FORBIDDEN")

	page := changesAfter(t, s, prod, 3, 2)
	equal(t, []int64{page[0].GetSequence(), page[1].GetSequence()}, []int64{4, 5})
	_, err = s.ListChanges(ctx, prod+"2", store.ChangeCursor{}, 0)
	wantError(t, err, store.ErrNotFound)
}

// replayed is what the changes so far make of the catalog.
type replayed struct {
	workbooks map[string]string // name to display name, path and owner
	models    map[string]*replayedModel
}

type replayedModel struct {
	name    string
	there   bool
	ready   bool
	columns map[string]string // id to label and type
}

func columnsOf(m *pb.Model) map[string]string {
	columns := map[string]string{}
	for _, c := range m.GetColumns() {
		columns[c.GetColumnId()] = c.GetLabel() + "|" + c.GetSigmaType()
	}
	return columns
}

// testChangesReplay: whatever scans see, who knows the catalog as it was when a
// model was added, and then follows the changes, knows the catalog.
func testChangesReplay(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		connection := fmt.Sprint(prod, round)
		connect(t, s, connection)
		log := &replayed{workbooks: map[string]string{}, models: map[string]*replayedModel{}}
		after := int64(0)
		for range rapid.IntRange(1, 8).Draw(rt, "scans") {
			w := workbook(connection, rapid.SampledFrom([]string{"v", "w"}).Draw(rt, "workbook"), rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "path"), rapid.SampledFrom([]string{"A", "B"}).Draw(rt, "name"))
			w.OwnerId = rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "owner")
			seen := store.Seen{Claim: scanning(ctx, s, connection), Workbook: w}
			var err error
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				_, err = s.RemoveWorkbook(ctx, seen.Claim, w.GetName())
			case 1:
				seen.Unread = true
				_, err = s.PutWorkbook(ctx, seen)
			default:
				for _, e := range []string{"e", "f"} {
					if rapid.Bool().Draw(rt, "there") {
						seen.Models = append(seen.Models, drawModel(rt, w, connection, e))
					}
				}
				_, err = s.PutWorkbook(ctx, seen)
			}
			check(t, err)
			after = log.follow(t, rt, s, connection, after)
		}
		log.compare(t, rt, s, connection)
	})
}

func drawModel(rt *rapid.T, w *pb.Workbook, connection, element string) *pb.Model {
	m := model(w, connection, element, rapid.SampledFrom([]string{"M", "N"}).Draw(rt, "model"))
	m.State = rapid.SampledFrom([]pb.ModelState{pb.ModelState_MODEL_STATE_UNSPECIFIED, pb.ModelState_MODEL_STATE_READY,
		pb.ModelState_MODEL_STATE_READY, pb.ModelState_MODEL_STATE_BROKEN, pb.ModelState_MODEL_STATE_ARCHIVED}).Draw(rt, "state")
	for _, id := range rapid.Permutation([]string{"a", "b", "c"}).Draw(rt, "columns")[:rapid.IntRange(1, 3).Draw(rt, "count")] {
		m.Columns = append(m.Columns, &pb.Column{ColumnId: id,
			Label: rapid.SampledFrom([]string{"X", "Y"}).Draw(rt, "label"), SigmaType: rapid.SampledFrom([]string{"text", "number"}).Draw(rt, "type")})
	}
	return m
}

// follow applies the changes after a sequence, and returns the last.
func (r *replayed) follow(t *testing.T, rt *rapid.T, s *store.Store, connection string, after int64) int64 {
	changes := changesAfter(t, s, connection, after, 1000)
	for _, c := range changes {
		if c.GetSequence() != after+1 {
			rt.Fatalf("after %d comes %d", after, c.GetSequence())
		}
		after = c.GetSequence()
		r.apply(t, rt, s, c)
	}
	return after
}

func (r *replayed) apply(t *testing.T, rt *rapid.T, s *store.Store, c *pb.Change) {
	m := r.models[c.GetResource()]
	if m == nil {
		m = &replayedModel{}
	}
	was := func(known, told string) {
		if known != told {
			rt.Fatalf("%s: it was %q", told, known)
		}
	}
	part := func(id string) (label, kind string) {
		label, kind, _ = strings.Cut(m.columns[id], "|")
		return label, kind
	}
	switch c.GetKind() {
	case pb.ChangeKind_CHANGE_KIND_WORKBOOK_ADDED, pb.ChangeKind_CHANGE_KIND_WORKBOOK_RESTORED:
		r.workbooks[c.GetResource()] = c.GetTo()
	case pb.ChangeKind_CHANGE_KIND_WORKBOOK_REMOVED:
		was(r.workbooks[c.GetResource()], c.GetFrom())
		delete(r.workbooks, c.GetResource())
	case pb.ChangeKind_CHANGE_KIND_WORKBOOK_RENAMED:
		r.workbooks[c.GetResource()] = c.GetTo()
	case pb.ChangeKind_CHANGE_KIND_MODEL_ADDED:
		added, err := s.Model(t.Context(), c.GetResource())
		check(t, err)
		m = &replayedModel{name: c.GetTo(), there: true, ready: added.GetState() == pb.ModelState_MODEL_STATE_READY, columns: columnsOf(added)}
	case pb.ChangeKind_CHANGE_KIND_MODEL_RESTORED:
		m.there, m.ready = true, true
		m.name = c.GetTo()
	case pb.ChangeKind_CHANGE_KIND_MODEL_REMOVED:
		was(m.name, c.GetFrom())
		m.there = false
	case pb.ChangeKind_CHANGE_KIND_MODEL_RENAMED:
		m.name = c.GetTo()
	case pb.ChangeKind_CHANGE_KIND_MODEL_BROKE:
		was(fmt.Sprint(m.ready), "true")
		m.ready = false
	case pb.ChangeKind_CHANGE_KIND_MODEL_RECOVERED:
		was(fmt.Sprint(m.ready), "false")
		m.ready = true
	case pb.ChangeKind_CHANGE_KIND_COLUMN_ADDED:
		added, err := s.Model(t.Context(), c.GetResource())
		check(t, err)
		m.columns[c.GetColumnId()] = c.GetTo() + "|" + strings.Split(columnsOf(added)[c.GetColumnId()]+"|", "|")[1]
	case pb.ChangeKind_CHANGE_KIND_COLUMN_REMOVED:
		label, _ := part(c.GetColumnId())
		was(label, c.GetFrom())
		delete(m.columns, c.GetColumnId())
	case pb.ChangeKind_CHANGE_KIND_COLUMN_RENAMED:
		label, kind := part(c.GetColumnId())
		was(label, c.GetFrom())
		m.columns[c.GetColumnId()] = c.GetTo() + "|" + kind
	case pb.ChangeKind_CHANGE_KIND_COLUMN_RETYPED:
		label, kind := part(c.GetColumnId())
		was(kind, c.GetFrom())
		m.columns[c.GetColumnId()] = label + "|" + c.GetTo()
	}
	if strings.Contains(c.GetResource(), "/models/") {
		r.models[c.GetResource()] = m
	}
}

func (r *replayed) compare(t *testing.T, rt *rapid.T, s *store.Store, connection string) {
	workbooks := map[string]string{}
	for _, w := range allWorkbooks(t, s, connection) {
		workbooks[w.GetName()] = w.GetDisplayName()
	}
	if !maps.Equal(workbooks, r.workbooks) {
		rt.Fatalf("the workbooks are %v, the changes tell %v", workbooks, r.workbooks)
	}
	listed, err := allModels(t.Context(), s, connection, "", 1000)
	check(t, err)
	var there []string
	for name, m := range r.models {
		if m.there {
			there = append(there, name)
		}
	}
	slices.Sort(there)
	if got := slices.Sorted(slices.Values(modelNames(listed))); !slices.Equal(got, there) {
		rt.Fatalf("the models are %v, the changes tell %v", got, there)
	}
	for _, name := range there {
		m, err := s.Model(t.Context(), name)
		check(t, err)
		told := r.models[name]
		if m.GetDisplayName() != told.name || (m.GetState() == pb.ModelState_MODEL_STATE_READY) != told.ready || !maps.Equal(columnsOf(m), told.columns) {
			rt.Fatalf("%s is %v, the changes tell %+v", name, m, told)
		}
	}
}

func testUnread(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "Sales")
	check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "m", "x")}))
	w.Path, w.DisplayName = "q", "Revenue"
	changes, err := s.PutWorkbook(ctx, store.Seen{Claim: scanning(ctx, s, prod), Workbook: w, Marker: "m", Unread: true})
	check(t, err)
	equal(t, len(changes), 2)
	m, err := s.Model(ctx, prod+"/models/w.e")
	check(t, err)
	if m.GetPath() != "q" || m.GetWorkbookDisplayName() != "Revenue" || len(m.GetColumns()) != 1 {
		t.Errorf("the model is %v", m)
	}
	listed, err := allModels(ctx, s, prod, "", 10)
	check(t, err)
	if len(listed) != 1 || listed[0].GetPath() != "q" {
		t.Errorf("listed are %v", listed)
	}

	w.Archived, w.Path = true, "r"
	for _, want := range []int{2, 0} { // it is told once
		changes, err = s.PutWorkbook(ctx, store.Seen{Claim: scanning(ctx, s, prod), Workbook: w, Unread: true})
		check(t, err)
		equal(t, len(changes), want)
	}
	m, err = s.Model(ctx, prod+"/models/w.e")
	check(t, err)
	if m.GetState() != pb.ModelState_MODEL_STATE_ARCHIVED || m.GetError().GetReason() != pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED || m.GetPath() != "r" || len(m.GetColumns()) != 1 {
		t.Errorf("the archived model is %v", m)
	}
}

func testUnreadModel(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "Sales")
	known := model(w, prod, "e", "m", "x")
	check(t, put(ctx, s, w, []*pb.Model{known}))
	problem := &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE, SigmaRequestId: "r"}
	failed, fresh := model(w, prod, "e", "m"), model(w, prod, "f", "n")
	for _, m := range []*pb.Model{failed, fresh} {
		m.State, m.Error = pb.ModelState_MODEL_STATE_UNSPECIFIED, problem
	}
	check(t, put(ctx, s, w, []*pb.Model{failed, fresh}))
	known.Error = problem
	read, err := s.Model(ctx, known.GetName())
	check(t, err)
	equal(t, read, known)
	read, err = s.Model(ctx, fresh.GetName())
	check(t, err)
	equal(t, read.GetState(), pb.ModelState_MODEL_STATE_BROKEN)
	changes := changesAfter(t, s, prod, 2, 0)
	equal(t, len(changes), 1) // the new model; nothing is known of the other
}

func testListScans(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	connect(t, s, prod+"2")
	for _, id := range []string{"01", "02", "03", "0a"} {
		end(t, s, start(t, s, prod+"/scans/"+id))
	}
	_, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "2/scans/05"}, 0, nil)
	check(t, err)
	var got []string
	page := store.Page{Size: 3}
	for {
		scans, next, err := s.ListScans(ctx, prod, page)
		check(t, err)
		for _, scan := range scans {
			got = append(got, strings.TrimPrefix(scan.GetName(), prod+"/scans/"))
		}
		if page.Token = next; next == "" {
			break
		}
	}
	equal(t, got, []string{"0a", "03", "02", "01"})
	_, _, err = s.ListScans(ctx, prod, store.Page{Token: "x"})
	wantError(t, err, store.ErrBadPageToken)
}
