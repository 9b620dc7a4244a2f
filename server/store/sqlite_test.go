package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "odd name?#%41.db")
	keys := newKeys(t, filepath.Join(dir, "keyset.json"))
	s, err := store.OpenSQLite(t.Context(), path, keys)
	check(t, err)
	before := connect(t, s, prod)
	claim := scanning(t.Context(), s, prod)
	scan, err := s.Scan(t.Context(), claim.Scan)
	check(t, err)
	w := workbook(prod, "w", "p", "n")
	m := model(w, prod, "e", "m", "a")
	check(t, put(t.Context(), s, w, []*pb.Model{m}))
	check(t, s.Close())
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}

	s = openFile(t, path, keys)
	after, secrets, err := s.ConnectionWithSecrets(t.Context(), prod)
	check(t, err)
	equal(t, after, before)
	equal(t, secrets.SigmaClientSecret, "s3cret of "+prod)
	readScan, err := s.Scan(t.Context(), scan.GetName())
	check(t, err)
	equal(t, readScan, scan)
	readModel, err := s.Model(t.Context(), m.GetName())
	check(t, err)
	equal(t, readModel, m)
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	keys := newKeys(t, filepath.Join(dir, "keyset.json"))
	noDatabase := filepath.Join(dir, "text")
	check(t, os.WriteFile(noDatabase, []byte("this is a text and not a database, long enough to be read as a header"), 0o600))
	for _, path := range []string{noDatabase, dir, filepath.Join(dir, "missing", "store.db")} {
		if s, err := store.OpenSQLite(t.Context(), path, keys); err == nil {
			t.Errorf("opened %s", path)
			check(t, s.Close())
		}
	}
}

func TestClosed(t *testing.T) {
	dir := t.TempDir()
	s, err := store.OpenSQLite(t.Context(), filepath.Join(dir, "store.db"), newKeys(t, filepath.Join(dir, "keyset.json")))
	check(t, err)
	check(t, s.Close())
	if s.Ping(t.Context()) == nil {
		t.Error("a closed store answers")
	}
}

// TestManyAtOnce has readers, writers and a second process, as another Store on
// the same file is to SQLite, work at the same time.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	keys := newKeys(t, filepath.Join(dir, "keyset.json"))
	stores := []*store.Store{openFile(t, path, keys), openFile(t, path, keys)}
	const workers, workbooks = 6, 15
	var group sync.WaitGroup
	for i := range workers {
		s, ctx := stores[i%len(stores)], t.Context()
		name := fmt.Sprint("workspaces/acme/connections/c", i)
		group.Go(func() {
			if _, err := s.CreateConnection(ctx, &pb.Connection{Name: name}, nil, store.Request{}); err != nil {
				t.Error(err)
				return
			}
			for j := range workbooks {
				w := workbook(name, fmt.Sprint("w", j), "p", "n")
				if err := put(ctx, s, w, []*pb.Model{model(w, name, "e", "m", "a", "b")}); err != nil {
					t.Error(err)
					return
				}
				list, err := allModels(ctx, s, name, "", 4)
				if err != nil || len(list) != j+1 {
					t.Errorf("%d models after %d workbooks, error %v", len(list), j+1, err)
					return
				}
			}
		})
	}
	group.Wait()
	for i := range workers {
		wantCounts(t, stores[0], fmt.Sprint("workspaces/acme/connections/c", i), workbooks, workbooks)
	}
}

func BenchmarkListModels(b *testing.B) {
	s := openSQLite(b)
	connect(b, s, prod)
	for i := range 1000 {
		w := workbook(prod, fmt.Sprint("w", i), fmt.Sprint("folder", i%50), "n")
		var models []*pb.Model
		for j := range 20 {
			models = append(models, model(w, prod, fmt.Sprint("e", j), "m", "a", "b", "c"))
		}
		check(b, put(b.Context(), s, w, models))
	}
	_, token, err := s.ListModels(b.Context(), prod, store.ListOptions{}, store.Page{Size: 1000})
	check(b, err)
	for b.Loop() {
		list, _, err := s.ListModels(b.Context(), prod, store.ListOptions{}, store.Page{Size: 100, Token: token})
		if err != nil || len(list) != 100 {
			b.Fatal(len(list), err)
		}
	}
}
