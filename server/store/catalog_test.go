package store_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testPutWorkbook(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "Growth", "Orders")
	m1, m2 := model(w, prod, "e1", "A", "x", "y"), model(w, prod, "e2", "B")
	check(t, s.PutWorkbook(ctx, w, []*pb.Model{m1, m2}))
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
	check(t, s.PutWorkbook(ctx, w, []*pb.Model{m1}))
	_, err = s.Model(ctx, m2.GetName())
	wantError(t, err, store.ErrNotFound)
	read, err = s.Model(ctx, m1.GetName())
	check(t, err)
	equal(t, read, m1)
	w.ModelCount = 1
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w})
	wantCounts(t, s, prod, 1, 1)

	second := workbook(prod, "a", "Growth", "Orders")
	check(t, s.PutWorkbook(ctx, second, nil))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{second, w})
	second.Path = "Z"
	check(t, s.PutWorkbook(ctx, second, nil))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, second})
}

func testPutWorkbookFails(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	connect(t, s, prod+"2")
	w := workbook(prod, "w", "p", "before")
	old := model(w, prod, "e1", "A")
	check(t, s.PutWorkbook(ctx, w, []*pb.Model{old}))
	before := allWorkbooks(t, s, prod)

	changed := workbook(prod, "w", "p", "after")
	good := model(changed, prod, "e2", "B")
	elsewhere := workbook(prod+"2", "w", "p", "n")
	misplaced := proto.CloneOf(good)
	misplaced.Workbook = elsewhere.GetName()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, try := range map[string]func() error{
		"the same model twice": func() error { return s.PutWorkbook(ctx, changed, []*pb.Model{good, good}) },
		"another connection's model": func() error {
			return s.PutWorkbook(ctx, changed, []*pb.Model{good, model(elsewhere, prod+"2", "e", "x")})
		},
		"a model that says otherwise":  func() error { return s.PutWorkbook(ctx, changed, []*pb.Model{good, misplaced}) },
		"a model without a name":       func() error { return s.PutWorkbook(ctx, changed, []*pb.Model{good, {Workbook: changed.GetName()}}) },
		"a workbook without a name":    func() error { return s.PutWorkbook(ctx, &pb.Workbook{}, nil) },
		"a caller who has left before": func() error { return s.PutWorkbook(cancelled, changed, []*pb.Model{good}) },
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
	check(t, s.PutWorkbook(ctx, w, nil))
	check(t, s.DeleteConnection(ctx, prod, ""))
	wantError(t, s.PutWorkbook(ctx, w, []*pb.Model{model(w, prod, "e", "m")}), store.ErrNotFound)
	wantError(t, s.PutFailedWorkbook(ctx, w), store.ErrNotFound)
	wantCounts(t, s, prod, 0, 0)
}

func testPutFailedWorkbook(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w, fresh := workbook(prod, "w", "p", "n"), workbook(prod, "fresh", "q", "n")
	m := model(w, prod, "e", "m", "x")
	check(t, s.PutWorkbook(ctx, w, []*pb.Model{m}))
	problem := &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE}
	w.Error, fresh.Error = problem, problem
	check(t, s.PutFailedWorkbook(ctx, w))
	check(t, s.PutFailedWorkbook(ctx, fresh))

	w.ModelCount = 1
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, fresh})
	read, err := s.Model(ctx, m.GetName())
	check(t, err)
	equal(t, read, m)

	w.Error = nil
	check(t, s.PutWorkbook(ctx, w, []*pb.Model{m}))
	equal(t, allWorkbooks(t, s, prod), []*pb.Workbook{w, fresh})
}

func testRemoveWorkbooks(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	keep := map[string]bool{}
	for _, id := range []string{"a", "b", "c"} {
		w := workbook(prod, id, "p", id)
		check(t, s.PutWorkbook(ctx, w, []*pb.Model{model(w, prod, "e", "m"), model(w, prod, "f", "m")}))
		keep[w.GetName()] = id == "b"
	}
	n, err := s.RemoveWorkbooksExcept(ctx, prod, keep)
	check(t, err)
	equal(t, n, 2)
	wantCounts(t, s, prod, 1, 2)
	_, err = s.Model(ctx, prod+"/models/b.e")
	check(t, err)
	_, err = s.Model(ctx, prod+"/models/a.e")
	wantError(t, err, store.ErrNotFound)
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
		"StartScan":             func() error { _, _, err := s.StartScan(ctx, &pb.Scan{Name: prod + "/scans/s"}, 0); return err },
		"UpdateScan":            func() error { return s.UpdateScan(ctx, &pb.Scan{Name: prod + "/scans/s"}) },
		"Scan":                  func() error { _, err := s.Scan(ctx, prod+"/scans/s"); return err },
		"InterruptScans":        func() error { _, err := s.InterruptScans(ctx, nil); return err },
		"PutWorkbook":           func() error { return s.PutWorkbook(ctx, w, nil) },
		"PutFailedWorkbook":     func() error { return s.PutFailedWorkbook(ctx, w) },
		"RemoveWorkbooksExcept": func() error { _, err := s.RemoveWorkbooksExcept(ctx, prod, nil); return err },
		"ListWorkbooks":         func() error { _, _, err := s.ListWorkbooks(ctx, prod, store.Page{}); return err },
		"ListModels":            func() error { _, _, err := s.ListModels(ctx, prod, "", store.Page{}); return err },
		"Model":                 func() error { _, err := s.Model(ctx, prod+"/models/w.e"); return err },
		"CountCatalog":          func() error { _, _, err := s.CountCatalog(ctx, prod); return err },
	} {
		t.Run(name, func(t *testing.T) { wantError(t, call(), context.Canceled) })
	}
	_, err := s.Connection(t.Context(), prod)
	check(t, err)
	wantCounts(t, s, prod, 0, 0)
}
