package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// longWords are words of which a cut at so many bytes leaves little.
var longWords = []string{
	"개인정보처리방침위탁업체현황",
	strings.Repeat("판매실적보고서", 20) + "끝부분",
	"รายงานยอดขายประจำเดือนมกราคม",
	"Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnung",
	"lentokonesuihkuturbiinimoottoriapumekaanikkoaliupseerioppilas",
	"कर्मचारीवेतनविवरणमासिकप्रतिवेदनसारांश",
	"المستحقاتوالمدفوعاتالشهريةللعملاءوالموردين",
	"fct" + strings.Repeat("customerorder", 5) + "snapshot",
	strings.Repeat("𐌰𐌱𐌲𐌳𐌴", 30) + "𐌶𐌷𐌸",
	"x" + strings.Repeat("0123456789", 200) + "tail",
	"muvaffakiyetsizleştiricileştiriveremeyebileceklerimizdenmişsinizcesine",
}

// findModels returns the ids of the elements that a search finds.
func findModels(t *testing.T, s *store.Store, options store.ListOptions) (ids []string) {
	t.Helper()
	for page := (store.Page{}); ; {
		list, next, err := s.ListModels(t.Context(), prod, options, page)
		check(t, err)
		for _, m := range list {
			ids = append(ids, m.GetElementId())
		}
		if page.Token = next; next == "" {
			slices.Sort(ids)
			return ids
		}
	}
}

// testLongWords: a search finds each part of a word, wherever in the word it is and
// wherever in the model the word is.
func testLongWords(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	places := []string{"title", "column", "workbook", "path"}
	var all []string
	for i, word := range longWords {
		var models []*pb.Model
		w := workbook(prod, fmt.Sprint("w", i), "p", "n")
		for _, place := range places {
			title, label := "t", "l"
			book := workbook(prod, fmt.Sprint("w", i, place), "p", "n")
			switch place {
			case "title":
				title = word
			case "column":
				label = word
			case "workbook":
				book.DisplayName = word
			case "path":
				book.Path = "Team/" + word
			}
			m := model(book, prod, fmt.Sprint("e", i, "-", place), title, "Id", label)
			if book.GetDisplayName() == "n" && book.GetPath() == "p" {
				m = model(w, prod, m.GetElementId(), title, "Id", label)
				models = append(models, m)
				continue
			}
			check(t, put(ctx, s, book, []*pb.Model{m}))
		}
		check(t, put(ctx, s, w, models))
		all = append(all, strings.TrimPrefix(store.Words(word), " "))
	}
	check(t, s.CheckIndex(ctx, prod))
	for i, word := range all {
		var want []string
		for _, place := range places {
			want = append(want, fmt.Sprint("e", i, "-", place))
		}
		slices.Sort(want)
		letters := []rune(word)
		for _, length := range []int{3, 7, 31, 32, 33, 34, 63, 64, 65, 66, 100, len(letters)} {
			for _, from := range []int{0, 1, 31, 32, 33, len(letters) / 2, len(letters) - length} {
				if from < 0 || from+length > len(letters) {
					continue
				}
				part := string(letters[from : from+length])
				found := slices.DeleteFunc(findModels(t, s, store.ListOptions{Query: part}), func(id string) bool {
					of, _, _ := strings.Cut(id, "-")
					return of != fmt.Sprint("e", i)
				})
				if !slices.Equal(found, want) {
					t.Errorf("%d letters from %d of word %d find %q, want %q", length, from, i, found, want)
				}
			}
		}
		if len(letters) > 80 {
			// Both pieces of it are in the word, but not it.
			mixed := string(letters[:32]) + "qqq" + string(letters[len(letters)-32:])
			if found := findModels(t, s, store.ListOptions{Query: mixed}); len(found) > 0 {
				t.Errorf("what word %d does not hold finds %q", i, found)
			}
		}
	}
}

// testManyWords: words are found that a name has after the part that lists are
// ordered by.
func testManyWords(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	for i, filler := range []string{"revenue ", "판매실적 ", "ยอดขาย ", "Umsatz-Übersicht / "} {
		w := workbook(prod, fmt.Sprint("w", i), "p", strings.Repeat(filler, 200)+fmt.Sprint("lastbook", i))
		check(t, put(ctx, s, w, []*pb.Model{model(w, prod, fmt.Sprint("e", i), strings.Repeat(filler, 100)+fmt.Sprint("lastmodel", i))}))
	}
	check(t, s.CheckIndex(ctx, prod))
	for i := range 4 {
		for _, query := range []string{fmt.Sprint("lastmodel", i), fmt.Sprint("stmodel", i), fmt.Sprint("lastbook", i)} {
			if found := findModels(t, s, store.ListOptions{Query: query}); !slices.Equal(found, []string{fmt.Sprint("e", i)}) {
				t.Errorf("%s finds %q", query, found)
			}
		}
		books, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{Query: fmt.Sprint("lastbook", i)}, store.Page{})
		check(t, err)
		if len(books) != 1 || books[0].GetWorkbookId() != fmt.Sprint("w", i) {
			t.Errorf("the last word of the workbook %d finds %v", i, books)
		}
	}
}

// TestUpgradeOfWords: a store whose words were cut finds them after the next start,
// and those that a replica of the former version wrote since once they are scanned.
func TestUpgradeOfWords(t *testing.T) {
	for name, place := range places(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := place(t)
			connect(t, s, prod)
			var books []*pb.Workbook
			models := map[string][]*pb.Model{}
			for i, word := range longWords {
				w := workbook(prod, fmt.Sprint("w", i), "p", "n")
				models[w.GetName()] = []*pb.Model{model(w, prod, fmt.Sprint("e", i), word, word), model(w, prod, fmt.Sprint("other", i), "x", "y")}
				check(t, put(ctx, s, w, models[w.GetName()]))
				books = append(books, w)
			}
			empty := workbook(prod, "empty", "p", strings.Repeat("판매실적", 20)+"끝부분") // no model of it changes
			check(t, put(ctx, s, empty, nil))
			ends := func(want bool) {
				t.Helper()
				list, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{Query: "끝부분"}, store.Page{})
				check(t, err)
				if (len(list) == 1) != want {
					t.Errorf("the end of the workbook's name finds %v", list)
				}
				for i, word := range longWords {
					letters := []rune(strings.TrimPrefix(store.Words(word), " "))
					found := slices.Contains(findModels(t, s, store.ListOptions{Query: string(letters[max(0, len(letters)-12):])}), fmt.Sprint("e", i))
					if isCut := len(string(letters)) > 64; found != (want || !isCut) {
						t.Errorf("that the end of word %d is found is %v", i, found)
					}
				}
			}
			check(t, s.CutWords(ctx, prod))
			ends(false)
			check(t, s.Close())

			s = place(t)
			defer func() { check(t, s.Close()) }()
			check(t, s.CheckIndex(ctx, prod))
			ends(true)

			check(t, s.CutWords(ctx, prod))
			for _, w := range books {
				check(t, put(ctx, s, w, models[w.GetName()]))
			}
			check(t, put(ctx, s, empty, nil))
			check(t, s.CheckIndex(ctx, prod))
			ends(true)
		})
	}
}
