package store_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testPutWorkbook(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "Growth", "Orders")
	m1, m2 := model(w, prod, "e1", "A", "x", "y"), model(w, prod, "e2", "B")
	check(t, put(ctx, s, w, []*pb.Model{m1, m2}))
	equal(t, len(m1.GetColumns()), 2) // the caller's message is left alone

	read, err := s.Model(ctx, m1.GetName())
	check(t, err)
	equal(t, read, m1)
	listed, err := allModels(ctx, s, prod, "", 10)
	check(t, err)
	short := proto.CloneOf(m1)
	short.Columns = nil
	equal(t, listed, []*pb.Model{short, m2})

	w.DisplayName, w.Path = "Sales", "Sales"
	m1 = model(w, prod, "e1", "C", "z")
	check(t, put(ctx, s, w, []*pb.Model{m1}))
	gone, err := s.Model(ctx, m2.GetName())
	check(t, err)
	equal(t, gone.GetState(), pb.ModelState_MODEL_STATE_GONE)
	read, err = s.Model(ctx, m1.GetName())
	check(t, err)
	equal(t, read, m1)
	w.ModelCount = 1
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w})
	wantCounts(t, s, prod, 1, 1)

	second := workbook(prod, "a", "Growth", "Orders")
	check(t, put(ctx, s, second, nil))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{second, w})
	second.Path = "Z"
	check(t, put(ctx, s, second, nil))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, second})
}

func testPutWorkbookFails(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	connect(t, s, prod+"2")
	w := workbook(prod, "w", "p", "before")
	old := model(w, prod, "e1", "A")
	check(t, put(ctx, s, w, []*pb.Model{old}))
	before := allWorkbooks(t, s, prod)

	changed := workbook(prod, "w", "p", "after")
	good := model(changed, prod, "e2", "B")
	elsewhere := workbook(prod+"2", "w", "p", "n")
	misplaced := proto.CloneOf(good)
	misplaced.Workbook = elsewhere.GetName()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, try := range map[string]func() error{
		"the same model twice": func() error { return put(ctx, s, changed, []*pb.Model{good, good}) },
		"another connection's model": func() error {
			return put(ctx, s, changed, []*pb.Model{good, model(elsewhere, prod+"2", "e", "x")})
		},
		"a model that says otherwise":  func() error { return put(ctx, s, changed, []*pb.Model{good, misplaced}) },
		"a model without a name":       func() error { return put(ctx, s, changed, []*pb.Model{good, {Workbook: changed.GetName()}}) },
		"a workbook without a name":    func() error { return put(ctx, s, &pb.Workbook{}, nil) },
		"a caller who has left before": func() error { return put(cancelled, s, changed, []*pb.Model{good}) },
	} {
		t.Run(name, func(t *testing.T) {
			if try() == nil {
				t.Fatal("no error")
			}
			equal(t, allWorkbooks(t, s, prod), before)
			models, err := allModels(ctx, s, prod, "", 10)
			check(t, err)
			equal(t, models, []*pb.Model{old})
			wantCounts(t, s, prod+"2", 0, 0)
		})
	}
}

func testPutWorkbookWithoutConnection(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "n")
	check(t, put(ctx, s, w, nil))
	check(t, s.DeleteConnection(ctx, prod, ""))
	wantError(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "m")}), store.ErrNotFound)
	wantError(t, putFailed(ctx, s, w), store.ErrNotFound)
	wantCounts(t, s, prod, 0, 0)
}

func testPutFailedWorkbook(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w, fresh := workbook(prod, "w", "p", "n"), workbook(prod, "fresh", "q", "n")
	m := model(w, prod, "e", "m", "x")
	check(t, put(ctx, s, w, []*pb.Model{m}))
	problem := &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE}
	w.Error, fresh.Error = problem, problem
	check(t, putFailed(ctx, s, w))
	check(t, putFailed(ctx, s, fresh))

	w.ModelCount = 1
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, fresh})
	read, err := s.Model(ctx, m.GetName())
	check(t, err)
	equal(t, read, m)

	w.Error = nil
	check(t, put(ctx, s, w, []*pb.Model{m}))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, fresh})
}

func testRemoveWorkbooks(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	for _, id := range []string{"a", "b"} {
		w := workbook(prod, id, "p", id)
		check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "m", "x"), model(w, prod, "f", "m")}))
	}
	gone := prod + "/workbooks/a"
	changes, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), gone)
	check(t, err)
	equal(t, len(changes), 3)
	again, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), gone)
	check(t, err)
	equal(t, len(again), 0)
	none, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), prod+"/workbooks/none")
	check(t, err)
	equal(t, len(none), 0)

	wantCounts(t, s, prod, 1, 2)
	listed, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{ShowGone: true}, store.Page{})
	check(t, err)
	equal(t, len(listed), 2)
	if listed[0].GetGoneTime() == nil || listed[1].GetGoneTime() != nil {
		t.Errorf("the workbooks are %v", listed)
	}
	models, _, err := s.ListModels(ctx, prod, store.ListOptions{ShowGone: true}, store.Page{})
	check(t, err)
	equal(t, len(models), 4)
	m, err := s.Model(ctx, prod+"/models/a.e")
	check(t, err)
	equal(t, m.GetState(), pb.ModelState_MODEL_STATE_GONE)
	equal(t, len(m.GetColumns()), 1)
	known, err := s.KnownWorkbooks(ctx, prod)
	check(t, err)
	equal(t, known[gone].Marker, "")
	equal(t, known[prod+"/workbooks/b"].Marker, "m")

	w := workbook(prod, "a", "p", "a")
	check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "m", "x")}))
	wantCounts(t, s, prod, 2, 3)
}

func testContext(t *testing.T, open opener) {
	s := open(t)
	connect(t, s, prod)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := workbook(prod, "w", "p", "n")
	for name, call := range map[string]func() error{
		"Ping": func() error { return s.Ping(ctx) },
		"CreateConnection": func() error {
			_, err := s.CreateConnection(ctx, &pb.Connection{Name: prod + "2"}, nil, store.Request{})
			return err
		},
		"Connection":            func() error { _, err := s.Connection(ctx, prod); return err },
		"ConnectionWithSecrets": func() error { _, _, err := s.ConnectionWithSecrets(ctx, prod); return err },
		"ListConnections":       func() error { _, _, err := s.ListConnections(ctx, workspace, store.Page{}); return err },
		"UpdateConnection":      func() error { _, err := s.UpdateConnection(ctx, &pb.Connection{Name: prod}, nil); return err },
		"DeleteConnection":      func() error { return s.DeleteConnection(ctx, prod, "") },
		"StartScan":             func() error { _, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s"}, 0, nil); return err },
		"ClaimScan":             func() error { _, _, err := s.ClaimScan(ctx, prod+"/scans/s"); return err },
		"KeepScan":              func() error { _, err := s.KeepScan(ctx, store.Claim{}, &pb.Scan{}); return err },
		"EndScan":               func() error { return s.EndScan(ctx, store.Claim{}, &pb.Scan{}) },
		"ReleaseScan":           func() error { return s.ReleaseScan(ctx, store.Claim{}, nil) },
		"CancelScan":            func() error { _, err := s.CancelScan(ctx, prod+"/scans/s"); return err },
		"ScanChanges":           func() error { return s.ScanChanges(ctx, prod+"/scans/s", nil) },
		"DueConnections":        func() error { _, err := s.DueConnections(ctx, time.Now()); return err },
		"StartDueScan": func() error {
			_, err := s.StartDueScan(ctx, &pb.Connection{Name: prod}, time.Now(), &pb.Scan{Name: prod + "/scans/s"}, 0, nil)
			return err
		},
		"Scan":           func() error { _, err := s.Scan(ctx, prod+"/scans/s"); return err },
		"RescueScans":    func() error { _, err := s.RescueScans(ctx, nil); return err },
		"PutWorkbook":    func() error { return put(ctx, s, w, nil) },
		"RemoveWorkbook": func() error { _, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), w.GetName()); return err },
		"KnownWorkbooks": func() error { _, err := s.KnownWorkbooks(ctx, prod); return err },
		"ListChanges":    func() error { _, err := s.ListChanges(ctx, prod, store.ChangeCursor{}, 0); return err },
		"ListScans":      func() error { _, _, err := s.ListScans(ctx, prod, store.Page{}); return err },
		"ListWorkbooks":  func() error { _, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{}, store.Page{}); return err },
		"ListModels":     func() error { _, _, err := s.ListModels(ctx, prod, store.ListOptions{}, store.Page{}); return err },
		"Model":          func() error { _, err := s.Model(ctx, prod+"/models/w.e"); return err },
	} {
		t.Run(name, func(t *testing.T) { wantError(t, call(), context.Canceled) })
	}
	_, err := s.Connection(t.Context(), prod)
	check(t, err)
	wantCounts(t, s, prod, 0, 0)
}
