package store_test

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testConnections(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	sent := &pb.Connection{
		Name:        prod,
		DisplayName: "Production",
		Etag:        "ignored",
		Sigma:       &pb.SigmaCredentials{BaseUrl: "https://aws-api.sigmacomputing.com", ClientId: "id", ClientSecret: "no"},
	}
	before := proto.CloneOf(sent)
	created, err := s.CreateConnection(ctx, sent, &store.Secrets{SigmaClientSecret: "yes"}, store.Request{})
	check(t, err)
	equal(t, sent, before)
	if created.GetEtag() == "" || created.GetEtag() == "ignored" || created.GetCreateTime() == nil || created.GetUpdateTime() == nil {
		t.Fatalf("etag or times are missing: %v", created)
	}
	if created.GetSigma().GetClientSecret() != "" || created.GetSigma().GetClientId() != "id" || created.GetDisplayName() != "Production" {
		t.Fatalf("created %v", created)
	}
	read, err := s.Connection(ctx, prod)
	check(t, err)
	equal(t, read, created)
	read, secrets, err := s.ConnectionWithSecrets(ctx, prod)
	check(t, err)
	equal(t, read, created)
	if *secrets != (store.Secrets{SigmaClientSecret: "yes"}) {
		t.Fatal("other secrets than those that were stored")
	}

	_, err = s.Connection(ctx, prod+"2")
	wantError(t, err, store.ErrNotFound)
	_, _, err = s.ConnectionWithSecrets(ctx, prod+"2")
	wantError(t, err, store.ErrNotFound)
	if _, err = s.CreateConnection(ctx, &pb.Connection{Name: "workspaces/acme/connections/a/b"}, nil, store.Request{}); err == nil {
		t.Fatal("created a connection with a name that is none")
	}
	check(t, s.Ping(ctx))
}

func testConnectionExists(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	first := connect(t, s, prod)
	_, err := s.CreateConnection(ctx, &pb.Connection{Name: prod, DisplayName: "second"}, nil, store.Request{})
	wantError(t, err, store.ErrExists)
	read, secrets, err := s.ConnectionWithSecrets(ctx, prod)
	check(t, err)
	equal(t, read, first)
	equal(t, secrets.SigmaClientSecret, "s3cret of "+prod)
}

func testEtag(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	first := connect(t, s, prod)
	change := proto.CloneOf(first)
	change.DisplayName = "second"
	change.CreateTime = nil
	second, err := s.UpdateConnection(ctx, change, &store.Secrets{SigmaClientSecret: "new"})
	check(t, err)
	if second.GetEtag() == first.GetEtag() || second.GetDisplayName() != "second" {
		t.Fatalf("updated to %v", second)
	}
	equal(t, second.GetCreateTime(), first.GetCreateTime())

	for _, etag := range []string{first.GetEtag(), "", "x"} {
		change.Etag = etag
		change.DisplayName = "third"
		_, err = s.UpdateConnection(ctx, change, &store.Secrets{SigmaClientSecret: "newer"})
		wantError(t, err, store.ErrEtagMismatch)
	}
	wantError(t, s.DeleteConnection(ctx, prod, first.GetEtag()), store.ErrEtagMismatch)
	read, secrets, err := s.ConnectionWithSecrets(ctx, prod)
	check(t, err)
	equal(t, read, second)
	equal(t, secrets.SigmaClientSecret, "new")

	change.Name = prod + "2"
	_, err = s.UpdateConnection(ctx, change, nil)
	wantError(t, err, store.ErrNotFound)
	wantError(t, s.DeleteConnection(ctx, prod+"2", ""), store.ErrNotFound)

	check(t, s.DeleteConnection(ctx, prod, second.GetEtag()))
	again := connect(t, s, prod)
	if again.GetEtag() == first.GetEtag() {
		t.Fatal("a connection that was created again has the etag of the one before")
	}
}

func testSecretsKept(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	_, err := s.UpdateConnection(ctx, connect(t, s, prod), nil)
	check(t, err)
	_, secrets, err := s.ConnectionWithSecrets(ctx, prod)
	check(t, err)
	equal(t, secrets.SigmaClientSecret, "s3cret of "+prod)
}

func testRotation(t *testing.T, open opener) {
	const rotations, readers = 60, 4
	s, ctx := open(t), t.Context()
	current, err := s.CreateConnection(ctx, &pb.Connection{Name: prod, DisplayName: "0"}, &store.Secrets{SigmaClientSecret: "0"}, store.Request{})
	check(t, err)
	done := make(chan struct{})
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for {
				c, secrets, err := s.ConnectionWithSecrets(ctx, prod)
				if err != nil || c.GetDisplayName() != secrets.SigmaClientSecret {
					t.Errorf("read %v with other secrets, or error %v", c, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range rotations {
		current.DisplayName = fmt.Sprint(i)
		current, err = s.UpdateConnection(ctx, current, &store.Secrets{SigmaClientSecret: fmt.Sprint(i)})
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	group.Wait()
}

func testDelete(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	const other = "workspaces/acme/connections/prod2"
	fill := func(name string) *pb.Model {
		connect(t, s, name)
		w := workbook(name, "w", "p", "n")
		m := model(w, name, "e", "m", "a", "b")
		check(t, put(ctx, s, w, []*pb.Model{m}))
		return m
	}
	gone, kept := fill(prod), fill(other)
	check(t, s.DeleteConnection(ctx, prod, ""))

	_, err := s.Connection(ctx, prod)
	wantError(t, err, store.ErrNotFound)
	_, err = s.Scan(ctx, prod+"/scans/s")
	wantError(t, err, store.ErrNotFound)
	_, err = s.Model(ctx, gone.GetName())
	wantError(t, err, store.ErrNotFound)
	wantCounts(t, s, prod, 0, 0)

	wantCounts(t, s, other, 1, 1)
	read, err := s.Model(ctx, kept.GetName())
	check(t, err)
	equal(t, read, kept)
	_, err = s.Scan(ctx, other+"/scans/s")
	check(t, err)
	_, err = s.KeepScan(ctx, store.Claim{Scan: prod + "/scans/s", Run: 1}, &pb.Scan{})
	wantError(t, err, store.ErrNotFound)
}

func wantCounts(t *testing.T, s *store.Store, parent string, wantWorkbooks, wantModels int) {
	t.Helper()
	models, err := allModels(t.Context(), s, parent, "", 1000)
	check(t, err)
	if workbooks := allWorkbooks(t, s, parent); len(workbooks) != wantWorkbooks || len(models) != wantModels {
		t.Fatalf("%d workbooks and %d models, want %d and %d", len(workbooks), len(models), wantWorkbooks, wantModels)
	}
}

// testIsolation uses names that begin with each other and the wildcards of LIKE.
func testIsolation(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	names := []string{
		"workspaces/a/connections/prod",
		"workspaces/a/connections/prod-2",
		"workspaces/a/connections/prod2",
		"workspaces/a-b/connections/prod",
		"workspaces/a2/connections/prod",
	}
	for _, name := range names {
		connect(t, s, name)
		w := workbook(name, "w_w", "p", "n")
		check(t, put(ctx, s, w, []*pb.Model{model(w, name, "e_e", "m")}))
	}
	for parent, want := range map[string][]string{
		"workspaces/a":             names[:3],
		"workspaces/a-b":           names[3:4],
		"workspaces/a2":            names[4:],
		"workspaces/_":             nil,
		"workspaces/%":             nil,
		"workspaces":               nil,
		"workspaces/a/connections": nil,
		"":                         nil,
	} {
		list, _, err := s.ListConnections(ctx, parent, store.Page{})
		check(t, err)
		var got []string
		for _, c := range list {
			got = append(got, c.GetName())
		}
		equal(t, got, want)
	}
	for _, name := range names {
		list, err := allModels(ctx, s, name, "", 10)
		check(t, err)
		if len(list) != 1 || list[0].GetName() != name+"/models/w_w.e_e" {
			t.Fatalf("models of %s: %v", name, list)
		}
		for _, other := range names {
			list, err := allModels(ctx, s, name, other+"/workbooks/w_w", 10)
			check(t, err)
			if (len(list) == 1) != (name == other) {
				t.Fatalf("models of %s in a workbook of %s: %v", name, other, list)
			}
		}
	}
	_, err := s.Model(ctx, names[0]+"/models/wxw.e_e")
	wantError(t, err, store.ErrNotFound)
	_, err = s.Model(ctx, names[0]+"/models/%")
	wantError(t, err, store.ErrNotFound)

	_, err = s.RemoveWorkbook(ctx, scanning(ctx, s, names[0]), names[0]+"/workbooks/w_w")
	check(t, err)
	for i, name := range names {
		wantCounts(t, s, name, min(i, 1), min(i, 1))
	}
}
