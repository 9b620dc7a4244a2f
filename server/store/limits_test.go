package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// randomWords returns texts of so many words each that hardly any other text has.
func randomWords(texts, words int) (all []string) {
	random := rand.New(rand.NewPCG(1, 2))
	for range texts {
		var text []string
		for range words {
			text = append(text, fmt.Sprintf("%c%07x", 'g'+random.IntN(20), random.Uint32N(1<<28)))
		}
		all = append(all, strings.Join(text, " "))
	}
	return all
}

// TestLargeDocuments: whatever the size of a document, it is stored, and found by its
// first and its last word, as others are that have the same words.
func TestLargeDocuments(t *testing.T) {
	if info, _ := debug.ReadBuildInfo(); slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("one goroutine at a time uses the store, and the race detector makes the test several minutes long")
	}
	for name, open := range map[string]opener{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLargeDocuments(t, open(t))
		})
	}
}

func testLargeDocuments(t *testing.T, s *store.Store) {
	ctx := t.Context()
	connect(t, s, prod)
	name := strings.Join(randomWords(1, 150_000), " ") // 1.3 MB
	labels := randomWords(10_000, 6)
	nested := strings.Repeat("d/", 300_000) + "innermost"
	for id, test := range map[string]struct {
		name, path string
		labels     []string
		found      []store.ListOptions
	}{
		"columns": {name: "A", path: "p", labels: labels, found: []store.ListOptions{
			{Query: strings.Fields(labels[0])[0]}, {Query: strings.Fields(labels[9_999])[5]}, {Query: labels[5_000]},
			{Filter: fmt.Sprintf("columns.label:%q", labels[9_999])}, {Filter: fmt.Sprintf("columns.label:%q", labels[1]), OrderBy: "display_name desc"},
		}},
		"short-columns": {name: "B", path: "p", labels: randomWords(36_000, 1), found: []store.ListOptions{
			{Query: randomWords(36_000, 1)[35_999]}, {Filter: fmt.Sprintf("columns.label:%q", randomWords(36_000, 1)[35_999])},
		}},
		"name":      {name: name, path: "p", found: []store.ListOptions{{Query: name[:8]}, {Query: name[len(name)-8:]}}},
		"long-word": {name: strings.Repeat("0123456789", 130_000) + "omega", path: "p", found: []store.ListOptions{{Query: "789omega"}, {Query: strings.Repeat("0123456789", 9)}}},
		"korean":    {name: strings.Repeat("판매실적", 80_000) + "끝부분", path: "p", found: []store.ListOptions{{Query: "적끝부분"}}},
		"path":      {name: "C", path: nested, found: []store.ListOptions{{Query: "nnermost"}, {Filter: `path:"d/d"`}, {Filter: fmt.Sprintf("path:%q", nested[:1_501])}}},
	} {
		t.Run(id, func(t *testing.T) {
			w := workbook(prod, "w-"+id, test.path, test.name)
			large := model(w, prod, id, test.name, test.labels...)
			check(t, put(ctx, s, w, []*pb.Model{large}))
			// Words that it shares with a small document are found in that one, too.
			same := workbook(prod, "s-"+id, "p", "small")
			small := model(same, prod, "small-"+id, "small")
			for _, options := range test.found {
				small.Columns = append(small.Columns, &pb.Column{ColumnId: fmt.Sprint(len(small.Columns)), Label: options.Query})
			}
			check(t, put(ctx, s, same, []*pb.Model{small}))
			check(t, s.CheckIndex(ctx, prod))
			wantFound := func(want ...string) {
				t.Helper()
				for _, effort := range []int{6, 30_000} { // walks, looks terms up
					s.SetEffort(effort)
					for i, options := range test.found {
						found := findModels(t, s, options)
						for _, id := range want {
							if (options.Query != "" || !strings.HasPrefix(id, "small")) && !slices.Contains(found, id) {
								t.Errorf("with effort %d, question %d finds %q and not %q", effort, i, found, id)
							}
						}
					}
				}
				if found := findModels(t, s, store.ListOptions{Query: "nosuchword"}); len(found) > 0 {
					t.Errorf("what is nowhere finds %q", found)
				}
			}
			wantFound(id, "small-"+id)

			w.DisplayName, w.Path = "n", "p"
			check(t, put(ctx, s, w, []*pb.Model{model(w, prod, id, "short")}))
			check(t, s.CheckIndex(ctx, prod))
			wantFound("small-" + id)
			for i, options := range test.found {
				if slices.Contains(findModels(t, s, options), id) {
					t.Errorf("question %d finds what is no more", i)
				}
			}
		})
	}
}

// testOddCharacters: characters that a database may not take are stored, and the words
// beside them are found.
func testOddCharacters(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	for i, odd := range []string{
		"\x00", "\x00\x00\x00", "a\x00b", "\ufffd", "\u202e\u200b", "\x1f\x1a", "\ud7ff\ue000", "\U0010ffff", "\ufeff", `\'":*&|!()`, strings.Repeat("\u0301", 10_000),
		strings.ToValidUTF8("\xed\xa0\x80", "\ufffd"), // half of a surrogate pair, as JSON's decoder leaves it
	} {
		id := fmt.Sprint("e", i)
		text := odd + " beside" + id + " " + odd
		w := workbook(prod, fmt.Sprint("w", i), text, text)
		w.OwnerId, w.Tags = text, []string{text}
		m := model(w, prod, id, text, text, odd)
		m.ElementType = odd
		check(t, put(ctx, s, w, []*pb.Model{m}))
		check(t, s.CheckIndex(ctx, prod))
		read, err := s.Model(ctx, m.GetName())
		check(t, err)
		equal(t, read, m)
		equal(t, findModels(t, s, store.ListOptions{Query: "beside" + id + " " + odd}), []string{id})
	}
}

// TestRefusedDocument: what the database refuses of one workbook is an error of its own
// kind, which repeats no value, and leaves the store as it was.
func TestRefusedDocument(t *testing.T) {
	const limit = 1 << 20
	for name, test := range map[string]struct {
		open   opener
		refuse func(w *pb.Workbook, m *pb.Model, seen *store.Seen)
	}{
		"sqlite, a value beyond its limit": {openSQLite, func(_ *pb.Workbook, m *pb.Model, _ *store.Seen) {
			m.DisplayName = "secret" + strings.Repeat("x", limit)
		}},
		"postgres, a zero in a text":  {openPostgres, func(_ *pb.Workbook, _ *pb.Model, seen *store.Seen) { seen.Marker = "secret\x00" }},
		"postgres, no text":           {openPostgres, func(_ *pb.Workbook, _ *pb.Model, seen *store.Seen) { seen.Marker = "secret\xff" }},
		"sqlite, no text to encode":   {openSQLite, func(w *pb.Workbook, _ *pb.Model, _ *store.Seen) { w.DisplayName = "secret\xff" }},
		"postgres, no text to encode": {openPostgres, func(_ *pb.Workbook, m *pb.Model, _ *store.Seen) { m.Columns[0].Label = "secret\xed\xa0\x80" }},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := test.open(t), t.Context()
			connect(t, s, prod)
			if strings.HasPrefix(name, "sqlite") {
				check(t, s.LimitValues(ctx, limit))
			}
			w := workbook(prod, "w", "p", "n")
			m := model(w, prod, "e", "m", "x")
			seen := store.Seen{Claim: scanning(ctx, s, prod), Workbook: w, Models: []*pb.Model{m}, Marker: "m"}
			test.refuse(w, m, &seen)
			_, err := s.PutWorkbook(ctx, seen)
			var refused *store.DocumentError
			if !errors.As(err, &refused) || refused.Code == "" || refused.Err == nil {
				t.Fatalf("error %v", err)
			}
			if strings.Contains(err.Error(), "secret") || !utf8.ValidString(err.Error()) {
				t.Errorf("the error repeats a value: %v", err)
			}
			wantCounts(t, s, prod, 0, 0)
			other := workbook(prod, "other", "p", "n")
			check(t, put(ctx, s, other, []*pb.Model{model(other, prod, "e", "m", "x")}))
			wantCounts(t, s, prod, 1, 1)
		})
	}
}

// TestOtherErrorsAreNoRefusals: an error that has nothing to do with the document is
// none of a document.
func TestOtherErrorsAreNoRefusals(t *testing.T) {
	for name, open := range map[string]opener{"sqlite": openSQLite, "postgres": openPostgres} {
		t.Run(name, func(t *testing.T) {
			s, ctx := open(t), t.Context()
			connect(t, s, prod)
			w := workbook(prod, "w", "p", "n")
			claim := scanning(ctx, s, prod)
			_, err := s.Dump(ctx, `ALTER TABLE models RENAME TO elsewhere`)
			check(t, err)
			_, err = s.PutWorkbook(ctx, store.Seen{Claim: claim, Workbook: w, Models: []*pb.Model{model(w, prod, "e", "m", "x")}})
			var refused *store.DocumentError
			if err == nil || errors.As(err, &refused) {
				t.Errorf("error %v", err)
			}
		})
	}
}
