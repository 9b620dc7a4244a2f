package store_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
)

// TestUpgrade: what a former version stored is found after the upgrade, and the
// store goes on from there.
func TestUpgrade(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := place(t)
			connect(t, s, prod)
			connect(t, s, prod+"2")
			w := workbook(prod, "w", "Finance", "Orders")
			w.Tags = []string{"Certified"}
			check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e1", "Revenue", "Order Id"), model(w, prod, "e2", "Costs")}))
			gone := workbook(prod, "gone", "Finance", "Orders")
			check(t, put(ctx, s, gone, []*pb.Model{model(gone, prod, "e1", "Revenue of old")}))
			_, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), gone.GetName())
			check(t, err)
			check(t, s.Former(ctx))
			check(t, s.Close())

			s = place(t)
			defer func() { check(t, s.Close()) }()
			check(t, s.CheckIndex(ctx, prod))
			found := func(options store.ListOptions, want ...string) {
				t.Helper()
				list, _, err := s.ListModels(ctx, prod, options, store.Page{})
				check(t, err)
				equal(t, modelNames(list), want)
			}
			found(store.ListOptions{Query: "reven"}, prod+"/models/w.e1")
			found(store.ListOptions{Query: "reven", ShowGone: true}, prod+"/models/w.e1", prod+"/models/gone.e1")
			found(store.ListOptions{Filter: `columns.label:"Order Id" AND tags:Certified`}, prod+"/models/w.e1")
			found(store.ListOptions{OrderBy: "display_name"}, prod+"/models/w.e2", prod+"/models/w.e1")

			check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e1", "Income"), model(w, prod, "e2", "Costs")}))
			check(t, s.CheckIndex(ctx, prod))
			found(store.ListOptions{Query: "reven"})
			found(store.ListOptions{Query: "incom"}, prod+"/models/w.e1")
		})
	}
}

// places returns for each database a function that opens the same store whenever it
// is called. The caller closes it.
func places(t *testing.T) map[string]func(t *testing.T) *store.Store {
	dir, url := t.TempDir(), pgtest.Database(t)
	keys := newKeys(t, filepath.Join(dir, "keyset.json"))
	return map[string]func(t *testing.T) *store.Store{
		"sqlite": func(t *testing.T) *store.Store {
			s, err := store.OpenSQLite(t.Context(), filepath.Join(dir, "store.db"), keys)
			check(t, err)
			return s
		},
		"postgres": func(t *testing.T) *store.Store {
			s, err := store.OpenPostgres(t.Context(), url, keys)
			check(t, err)
			return s
		},
	}
}

// TestIndexIsLeftAlone: a scan that finds nothing new writes nothing into the index.
func TestIndexIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		open  opener
		state []string
	}{
		"sqlite":   {openSQLite, []string{`SELECT * FROM entries`, `SELECT * FROM terms`, `SELECT * FROM entry_terms_data`, `SELECT * FROM term_trigrams_data`}},
		"postgres": {openPostgres, []string{`SELECT xmin, ctid, * FROM entries`, `SELECT xmin, ctid, * FROM terms`}},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := test.open(t), t.Context()
			connect(t, s, prod)
			w := workbook(prod, "w", "p", "n")
			models := []*pb.Model{model(w, prod, "e1", "A", "x"), model(w, prod, "e2", "B", "y")}
			check(t, put(ctx, s, w, models))
			state := func() (all []string) {
				for _, query := range test.state {
					rows, err := s.Dump(ctx, query)
					check(t, err)
					all = append(append(all, query), rows...)
				}
				return all
			}
			before := state()
			w.ScanTime, w.Url = timestamppb.Now(), "elsewhere"
			for _, m := range models {
				m.ScanTime, m.SqlFingerprint = w.GetScanTime(), "other"
			}
			check(t, put(ctx, s, w, models))
			check(t, putFailed(ctx, s, w))
			equal(t, state(), before)

			w.OwnerId = "somebody"
			check(t, putFailed(ctx, s, w))
			check(t, s.CheckIndex(ctx, prod))
			list, _, err := s.ListModels(ctx, prod, store.ListOptions{Filter: "owner_id = somebody"}, store.Page{})
			check(t, err)
			equal(t, len(list), 2)
		})
	}
}

// TestIndexIsDeleted: nothing is left in the index of a connection that is deleted,
// and another that takes its name does not see it.
func TestIndexIsDeleted(t *testing.T) {
	for name, test := range map[string]struct {
		open   opener
		tables []string
	}{
		"sqlite":   {openSQLite, []string{"catalogs", "entries", "terms", "entry_terms", "term_trigrams"}},
		"postgres": {openPostgres, []string{"catalogs", "entries", "terms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := test.open(t), t.Context()
			for range 2 {
				connect(t, s, prod)
				list, _, err := s.ListModels(ctx, prod, store.ListOptions{Query: "orders"}, store.Page{})
				check(t, err)
				equal(t, len(list), 0)
				w := workbook(prod, "w", "p", "n")
				check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "Orders", "Region")}))
				check(t, s.DeleteConnection(ctx, prod, ""))
				for _, table := range test.tables {
					rows, err := s.Dump(ctx, "SELECT count(*) FROM "+table)
					check(t, err)
					equal(t, rows, []string{"0|"})
				}
			}
		})
	}
}

// TestWithoutTrigrams: a user who may not create the extension pg_trgm finds the
// same without it, and with its index once somebody has created it.
func TestWithoutTrigrams(t *testing.T) {
	ctx := t.Context()
	admin := openPostgres(t)
	keys := newKeys(t, filepath.Join(t.TempDir(), "keyset.json"))
	address, err := url.Parse(pgtest.Database(t))
	check(t, err)
	owner, err := store.OpenPostgres(ctx, address.String(), keys)
	check(t, err)
	defer func() { check(t, owner.Close()) }()
	role := "poor_" + strings.ToLower(t.Name())
	for _, statement := range []string{`DROP EXTENSION pg_trgm CASCADE`, fmt.Sprintf(`CREATE ROLE %s LOGIN`, role), fmt.Sprintf(`CREATE SCHEMA AUTHORIZATION %s`, role),
		fmt.Sprintf(`ALTER ROLE %s SET search_path = %s`, role, role)} {
		_, err := owner.Dump(ctx, statement)
		check(t, err)
	}
	defer func() {
		for _, statement := range []string{`DROP OWNED BY ` + role + ` CASCADE`, `DROP ROLE ` + role} {
			_, err := owner.Dump(ctx, statement)
			check(t, err)
		}
	}()
	address.User = url.User(role)
	indices := func(s *store.Store) []string {
		rows, err := s.Dump(ctx, `SELECT indexname FROM pg_indexes WHERE indexname = 'terms_by_trigram' AND schemaname = current_schema()`)
		check(t, err)
		return rows
	}
	equal(t, len(indices(admin)), 1)

	for _, want := range []int{0, 1} {
		s, err := store.OpenPostgres(ctx, address.String(), keys)
		check(t, err)
		if want == 0 {
			connect(t, s, prod)
			w := workbook(prod, "w", "p", "n")
			check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", "Reorders", "Region")}))
		}
		equal(t, len(indices(s)), want)
		list, _, err := s.ListModels(ctx, prod, store.ListOptions{Query: "order egio"}, store.Page{})
		check(t, err)
		equal(t, modelNames(list), []string{prod + "/models/w.e"})
		check(t, s.Close())
		_, err = owner.Dump(ctx, `CREATE EXTENSION IF NOT EXISTS pg_trgm`)
		check(t, err)
	}
}
