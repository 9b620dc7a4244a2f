package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

func testOrder(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	// In the order in which they should be listed: a folder before its subfolders,
	// and models of two workbooks of one name not mixed.
	want := []*pb.Workbook{
		workbook(prod, "z", "", "no folder"),
		workbook(prod, "w2", "A", "a"),
		workbook(prod, "w3", "A", "a"),
		workbook(prod, "w1", "A", "b"),
		workbook(prod, "w5", "A!", "a"),
		workbook(prod, "w4", "A/B", "a"),
		workbook(prod, "w6", "Ä", "a"),
	}
	var models []string
	contents := map[*pb.Workbook][]*pb.Model{}
	for _, w := range want {
		w.ModelCount = 2
		m1, m2 := model(w, prod, "m1", "m1"), model(w, prod, "m2", "m2")
		contents[w] = []*pb.Model{m2, m1}
		models = append(models, m1.GetName(), m2.GetName())
	}
	for _, w := range slices.Backward(want) {
		check(t, put(ctx, s, w, contents[w]))
	}
	for _, w := range want { // putting again must not change the order
		check(t, putFailed(ctx, s, w))
	}
	equal(t, allWorkbooks(t, s, prod), want)
	listed, err := allModels(ctx, s, prod, "", 1000)
	check(t, err)
	equal(t, modelNames(listed), models)
	listed, err = allModels(ctx, s, prod, want[1].GetName(), 1)
	check(t, err)
	equal(t, modelNames(listed), models[2:4])
}

func modelNames(models []*pb.Model) (names []string) {
	for _, m := range models {
		names = append(names, m.GetName())
	}
	return names
}

// testPages: whatever the models and the size of a page, all pages together are
// the sorted list.
func testPages(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	text := rapid.SampledFrom([]string{"", "a", "A", "a/b", "ab", "ü", "\x00", strings.Repeat("x", 300), strings.Repeat("é", 200)})
	rapid.Check(t, func(rt *rapid.T) {
		for i := range 4 {
			_, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), fmt.Sprint(prod, "/workbooks/w", i))
			check(t, err)
		}
		var want []string
		for i := range rapid.IntRange(0, 4).Draw(rt, "workbooks") {
			w := workbook(prod, fmt.Sprint("w", i), text.Draw(rt, "path"), text.Draw(rt, "workbook"))
			var models []*pb.Model
			for j := range rapid.IntRange(0, 4).Draw(rt, "models") {
				models = append(models, model(w, prod, fmt.Sprint("e", j), text.Draw(rt, "model")))
			}
			check(t, put(ctx, s, w, models))
			want = append(want, modelNames(models)...)
		}
		whole, err := allModels(ctx, s, prod, "", 1000)
		check(t, err)
		paged, err := allModels(ctx, s, prod, "", rapid.Int32Range(1, 5).Draw(rt, "size"))
		check(t, err)
		if !slices.Equal(modelNames(whole), modelNames(paged)) {
			rt.Fatalf("pages give %v, the list is %v", modelNames(paged), modelNames(whole))
		}
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(modelNames(whole))); !slices.Equal(got, want) {
			rt.Fatalf("listed %v, stored %v", got, want)
		}
	})
}

func testPagesUnderChange(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	add := func(ids ...string) {
		for _, id := range ids {
			check(t, put(ctx, s, workbook(prod, id, "", id), nil))
		}
	}
	add("b", "d", "f", "h")
	list, next, err := s.ListWorkbooks(ctx, prod, store.ListOptions{}, store.Page{Size: 2})
	check(t, err)
	equal(t, len(list), 2)
	add("a", "e")
	_, err = s.RemoveWorkbook(ctx, scanning(ctx, s, prod), prod+"/workbooks/d") // the last of the first page
	check(t, err)
	list, next, err = s.ListWorkbooks(ctx, prod, store.ListOptions{}, store.Page{Size: 3, Token: next})
	check(t, err)
	var got []string
	for _, w := range list {
		got = append(got, w.GetWorkbookId())
	}
	equal(t, got, []string{"e", "f", "h"})
	if next != "" {
		t.Fatal("the last page has a token")
	}
}

func testPageSizes(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	w := workbook(prod, "w", "p", "n")
	var models []*pb.Model
	for i := range 1001 {
		models = append(models, model(w, prod, fmt.Sprint("e", i), "m"))
	}
	check(t, put(ctx, s, w, models))
	for size, want := range map[int32]int{-1: 50, 0: 50, 1: 1, 1000: 1000, 1001: 1000, 1 << 30: 1000} {
		list, next, err := s.ListModels(ctx, prod, store.ListOptions{}, store.Page{Size: size})
		check(t, err)
		if len(list) != want || next == "" {
			t.Errorf("a page of size %d has %d models, want %d", size, len(list), want)
		}
	}
}

func testPageTokens(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	const other = prod + "2"
	for _, name := range []string{prod, other} {
		connect(t, s, name)
		for _, id := range []string{"v", "w"} {
			w := workbook(name, id, "p", "n")
			check(t, put(ctx, s, w, []*pb.Model{model(w, name, "e", "m"), model(w, name, "f", "m")}))
		}
	}
	_, models, err := s.ListModels(ctx, prod, store.ListOptions{}, store.Page{Size: 1})
	check(t, err)
	_, filtered, err := s.ListModels(ctx, prod, store.ListOptions{Workbook: prod + "/workbooks/w"}, store.Page{Size: 1})
	check(t, err)
	_, found, err := s.ListModels(ctx, prod, store.ListOptions{Filter: "state = READY"}, store.Page{Size: 1})
	check(t, err)
	_, ordered, err := s.ListModels(ctx, prod, store.ListOptions{OrderBy: "column_count"}, store.Page{Size: 1})
	check(t, err)
	_, backwards, err := s.ListModels(ctx, prod, store.ListOptions{OrderBy: "column_count desc"}, store.Page{Size: 1})
	check(t, err)
	_, searched, err := s.ListModels(ctx, prod, store.ListOptions{Query: "m"}, store.Page{Size: 1})
	check(t, err)
	_, workbooks, err := s.ListWorkbooks(ctx, prod, store.ListOptions{}, store.Page{Size: 1})
	check(t, err)
	_, connections, err := s.ListConnections(ctx, workspace, store.Page{Size: 1})
	check(t, err)

	lists := map[string]func(token string) error{
		models: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{}, store.Page{Token: token})
			return err
		},
		workbooks: func(token string) error {
			_, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{}, store.Page{Token: token})
			return err
		},
		filtered: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{Workbook: prod + "/workbooks/w"}, store.Page{Token: token})
			return err
		},
		found: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{Filter: "state = READY"}, store.Page{Token: token})
			return err
		},
		ordered: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{OrderBy: "column_count"}, store.Page{Token: token})
			return err
		},
		backwards: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{OrderBy: "column_count desc"}, store.Page{Token: token})
			return err
		},
		searched: func(token string) error {
			_, _, err := s.ListModels(ctx, prod, store.ListOptions{Query: "m"}, store.Page{Token: token})
			return err
		},
		connections: func(token string) error {
			_, _, err := s.ListConnections(ctx, workspace, store.Page{Token: token})
			return err
		},
		"another connection's": func(token string) error {
			_, _, err := s.ListModels(ctx, other, store.ListOptions{}, store.Page{Token: token})
			return err
		},
		"another workspace's": func(token string) error {
			_, _, err := s.ListConnections(ctx, "workspaces/other", store.Page{Token: token})
			return err
		},
	}
	if len(lists) != 10 {
		t.Fatal("two lists gave the same token")
	}
	for own, list := range lists {
		for _, token := range []string{models, filtered, found, ordered, backwards, searched, workbooks, connections, "x", "!", models + "A", models[:4]} {
			err := list(token)
			switch {
			case token == own:
				check(t, err)
			case strings.HasPrefix(token, own): // another position in the same list
			default:
				wantError(t, err, store.ErrBadPageToken)
			}
		}
	}
}

// testLongNames: the contract allows a page token 2000 characters.
func testLongNames(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connection := "workspaces/" + strings.Repeat("a", 63) + "/connections/" + strings.Repeat("b", 63)
	connect(t, s, connection)
	long := strings.Repeat("日本", 5000)
	w := workbook(connection, strings.Repeat("W", 128), long, long)
	var models []*pb.Model
	for _, suffix := range []string{"1", "2", "3"} {
		models = append(models, model(w, connection, strings.Repeat("E", 127)+suffix, long+suffix))
	}
	check(t, put(ctx, s, w, models))
	_, token, err := s.ListModels(ctx, connection, store.ListOptions{}, store.Page{Size: 1})
	check(t, err)
	if len(token) > 2000 {
		t.Fatalf("a token of %d characters", len(token))
	}
	listed, err := allModels(ctx, s, connection, "", 1)
	check(t, err)
	equal(t, modelNames(listed), modelNames(models))
	equal(t, listed[0].GetDisplayName(), long+"1")
}

// testOrdersUnderChange: in every order, pages after changes of the list have what
// stayed and was not given, and what is new after the place, each once.
func testOrdersUnderChange(t *testing.T, open opener) {
	for _, options := range []store.ListOptions{
		{OrderBy: "path"}, {OrderBy: "path desc"}, {OrderBy: "display_name"}, {OrderBy: "display_name desc"}, {OrderBy: "update_time"},
		{OrderBy: "update_time desc"}, {OrderBy: "column_count"}, {OrderBy: "column_count desc"}, {Query: "name"}, {Query: "name", OrderBy: "column_count"},
		{Filter: "state = READY"}, {Filter: "state = READY", Query: "name", ShowGone: true},
	} {
		t.Run(fmt.Sprint(options), func(t *testing.T) {
			s, ctx := open(t), t.Context()
			connect(t, s, prod)
			// All orders are that of the numbers.
			add := func(numbers ...int) {
				t.Helper()
				for _, i := range numbers {
					w := workbook(prod, fmt.Sprint("w", i), fmt.Sprint("p", i), "n")
					w.UpdateTime = timestamppb.New(time.Unix(int64(i), 0))
					check(t, put(ctx, s, w, []*pb.Model{model(w, prod, "e", fmt.Sprint("name ", i), make([]string, i)...)}))
				}
			}
			add(2, 4, 6, 8)
			given, next, err := s.ListModels(ctx, prod, options, store.Page{Size: 2})
			check(t, err)
			want := []string{"name 2", "name 4", "name 5", "name 6", "name 8", "name 9"}
			last := "w4"
			add(1, 5, 9)
			if strings.HasSuffix(options.OrderBy, "desc") {
				want, last = []string{"name 8", "name 6", "name 5", "name 4", "name 2", "name 1"}, "w6"
			}
			_, err = s.RemoveWorkbook(ctx, scanning(ctx, s, prod), prod+"/workbooks/"+last)
			check(t, err)
			for calls := 0; next != ""; calls++ {
				var list []*pb.Model
				list, next, err = s.ListModels(ctx, prod, options, store.Page{Size: 2, Token: next})
				check(t, err)
				given = append(given, list...)
				if calls > 10 {
					t.Fatal("no end")
				}
			}
			var names []string
			for _, m := range given {
				names = append(names, m.GetDisplayName())
			}
			equal(t, names, want)
		})
	}
}

func FuzzPageToken(f *testing.F) {
	s := openSQLite(f)
	connect(f, s, prod)
	w := workbook(prod, "w", "p", "n")
	check(f, put(f.Context(), s, w, []*pb.Model{model(w, prod, "e", "m"), model(w, prod, "f", "m")}))
	_, token, err := s.ListModels(f.Context(), prod, store.ListOptions{}, store.Page{Size: 1})
	check(f, err)
	for _, options := range []store.ListOptions{{OrderBy: "display_name"}, {OrderBy: "column_count desc"}, {OrderBy: "update_time"}, {Query: "m"}} {
		_, token, err := s.ListModels(f.Context(), prod, options, store.Page{Size: 1})
		check(f, err)
		f.Add(token)
	}
	for _, seed := range []string{"", token, token[:len(token)-1], token + "AAAA", "====", "\x00", strings.Repeat("A", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		for _, options := range []store.ListOptions{{}, {OrderBy: "display_name"}, {OrderBy: "column_count desc"}, {OrderBy: "update_time"}, {Query: "m"}} {
			list, _, err := s.ListModels(t.Context(), prod, options, store.Page{Token: token})
			if err != nil && !errors.Is(err, store.ErrBadPageToken) {
				t.Fatal(err)
			}
			if len(list) > 2 {
				t.Fatalf("%d models", len(list))
			}
		}
	})
}
