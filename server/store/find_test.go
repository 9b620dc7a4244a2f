package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/filter"
	"github.com/sigmasource/sigmasource/server/store"
)

// shelf is what a store should hold, to be looked through in plain Go.
type shelf struct {
	workbooks []*pb.Workbook
	models    []*pb.Model
	of        map[string]*pb.Workbook // by the workbook's name
}

// holds evaluates a filter of models in plain Go, without any of the index.
func (b *shelf) holds(e filter.Expr, m *pb.Model) bool {
	switch e := e.(type) {
	case filter.And:
		return !slices.ContainsFunc(e, func(e filter.Expr) bool { return !b.holds(e, m) })
	case filter.Or:
		return slices.ContainsFunc(e, func(e filter.Expr) bool { return b.holds(e, m) })
	case filter.Not:
		return !b.holds(e.Expr, m)
	case filter.Test:
		return b.passes(e, m)
	}
	return true
}

func (b *shelf) passes(t filter.Test, m *pb.Model) bool {
	w := b.of[m.GetWorkbook()]
	one := func(text string) bool { return text == t.Text }
	some := func(texts []string) bool {
		return t.Op == filter.Present && len(texts) > 0 || t.Op == filter.Has && slices.Contains(texts, t.Text)
	}
	switch t.Field.Name {
	case "workbook":
		return one(m.GetWorkbook())
	case "path":
		below := t.Op == filter.Has && (t.Text == "" || strings.HasPrefix(m.GetPath(), t.Text+"/"))
		return one(m.GetPath()) || below
	case "tags":
		return some(w.GetTags())
	case "owner_id":
		return one(w.GetOwnerId())
	case "state":
		return int32(m.GetState()) == t.Number
	case "element_type":
		return one(m.GetElementType())
	case "visualization_type":
		return one(m.GetVisualizationType())
	case "document_kind":
		return int32(m.GetDocumentKind()) == t.Number
	case "columns.label":
		var labels []string
		for _, c := range m.GetColumns() {
			labels = append(labels, c.GetLabel())
		}
		return some(labels)
	case "findings.code":
		return slices.ContainsFunc(m.GetFindings(), func(f *pb.Finding) bool {
			return t.Op == filter.Present || int32(f.GetCode()) == t.Number
		})
	case "update_time":
		c := -1 // no time is before all others
		if w.GetUpdateTime() != nil {
			c = w.GetUpdateTime().AsTime().Compare(t.Time)
		}
		return map[filter.Op]bool{filter.Equal: c == 0, filter.Less: c < 0, filter.LessOrEqual: c <= 0,
			filter.Greater: c > 0, filter.GreaterOrEqual: c >= 0}[t.Op]
	}
	panic("no such field: " + t.Field.Name)
}

// rank is how well a search finds a model: 1 is best, 0 is not at all.
func (b *shelf) rank(query string, m *pb.Model) int {
	title := store.Words(m.GetDisplayName())
	place := title + store.Words(m.GetWorkbookDisplayName()) + store.Words(m.GetPath())
	columns := place
	for _, c := range m.GetColumns() {
		columns += store.Words(c.GetLabel())
	}
	all := strings.Fields(store.Words(query))
	in := func(text string) bool {
		for _, word := range all {
			if len([]rune(word)) < 3 {
				word = " " + word
			}
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	}
	switch {
	case strings.HasPrefix(title, " "+strings.Join(all, " ")):
		return 1
	case in(title):
		return 2
	case in(place):
		return 3
	case in(columns):
		return 4
	}
	return 0
}

// key is what a list is ordered by, to be compared as bytes.
func (b *shelf) key(order string, m *pb.Model) string {
	switch order {
	case "display_name":
		return store.Words(m.GetDisplayName())
	case "update_time":
		at := b.of[m.GetWorkbook()].GetUpdateTime()
		if at == nil {
			return ""
		}
		return at.AsTime().Format("2006-01-02T15:04:05.000000000")
	case "column_count":
		return fmt.Sprintf("%09d", len(m.GetColumns()))
	}
	const most = 240 // bytes of a path
	return strings.Join([]string{m.GetPath()[:min(most, len(m.GetPath()))], m.GetWorkbookDisplayName(), b.of[m.GetWorkbook()].GetWorkbookId(), m.GetDisplayName(), m.GetName()}, "\x00")
}

// anything draws what texts of Sigma, and of callers, may hold.
var anything = rapid.SampledFrom([]string{"", "a", "A", "a b", "ab", "abc", "abcd", "a/b", "a/b/c", "a0", "a!", "Ä", "ä", "%", "_", "*", `'`, `"`, `\`,
	"x\x1fy", "\x1f", "\x1a", "\x1a1", "\x00", "日本", "日本語 abc", "ﬁn", "ß", "SS", "NOT", "a OR b", "'; DROP TABLE models; --", "a:b", "(", "ab*", "c'd", "𝔘nicode", "e\u0301t", longWord, longWord + " abc"})

// longWord has more letters than a term.
var longWord = strings.Repeat("가나", 25) + "bcd" + strings.Repeat("ab", 40) + "z"

// anyPath also draws paths that are cut in the keys that lists are ordered by.
var anyPath = rapid.OneOf(anything, rapid.SampledFrom([]string{longPath, longPath + "/x", longPath[:239], longPath[:239] + "/x"}))

var longPath = strings.Repeat("x", 240)

var someTime = rapid.Custom(func(t *rapid.T) *timestamppb.Timestamp {
	if rapid.Bool().Draw(t, "none") {
		return nil
	}
	return timestamppb.New(time.Unix(rapid.SampledFrom([]int64{-62135596800, -1, 0, 1, 1_700_000_000, 253402300799}).Draw(t, "seconds"), rapid.Int64Range(0, 2).Draw(t, "nanos")))
})

var someTexts = rapid.SliceOfN(anything, 0, 3)

func drawShelf(t *rapid.T) *shelf {
	b := &shelf{of: map[string]*pb.Workbook{}}
	for i := range rapid.IntRange(0, 5).Draw(t, "workbooks") {
		w := workbook(prod, fmt.Sprint("w", i), anyPath.Draw(t, "path"), anything.Draw(t, "workbook"))
		w.OwnerId, w.Tags, w.UpdateTime = anything.Draw(t, "owner"), someTexts.Draw(t, "tags"), someTime.Draw(t, "time")
		w.DocumentKind = pb.DocumentKind(rapid.IntRange(0, 2).Draw(t, "kind"))
		b.workbooks, b.of[w.GetName()] = append(b.workbooks, w), w
		for j := range rapid.IntRange(0, 4).Draw(t, "models") {
			m := model(w, prod, fmt.Sprint("e", j), anything.Draw(t, "model"), someTexts.Draw(t, "labels")...)
			if m.State = pb.ModelState(rapid.IntRange(1, 5).Draw(t, "state")); len(m.GetColumns()) == 0 {
				m.State = pb.ModelState_MODEL_STATE_READY // others keep the columns that they had
			}
			m.ElementType, m.VisualizationType, m.DocumentKind = anything.Draw(t, "type"), anything.Draw(t, "chart"), w.GetDocumentKind()
			for _, code := range rapid.SliceOfN(rapid.Int32Range(0, 10), 0, 2).Draw(t, "findings") {
				m.Findings = append(m.Findings, &pb.Finding{Code: pb.FindingCode(code)})
			}
			b.models = append(b.models, m)
		}
	}
	return b
}

// drawFilter draws a text, as a caller would write it.
func drawFilter(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			return "(" + drawFilter(t, depth-1) + " AND " + drawFilter(t, depth-1) + ")"
		case 1:
			return "(" + drawFilter(t, depth-1) + " OR " + drawFilter(t, depth-1) + ")"
		case 2:
			return "NOT (" + drawFilter(t, depth-1) + ")"
		case 3:
			return drawFilter(t, depth-1) + " " + drawFilter(t, depth-1)
		}
	}
	field := store.ModelFields[rapid.IntRange(0, len(store.ModelFields)-1).Draw(t, "field")]
	text := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(anything.Draw(t, "value")) + `"`
	equal := rapid.SampledFrom([]string{" = ", " != "}).Draw(t, "equal")
	name := func(names ...string) string { return rapid.SampledFrom(names).Draw(t, "name") }
	switch field.Kind {
	case filter.Folder:
		if rapid.Bool().Draw(t, "long") {
			text = `"` + rapid.SampledFrom([]string{longPath, longPath[:239], longPath + "/x"}).Draw(t, "folder") + `"`
		}
		return field.Name + rapid.SampledFrom([]string{" = ", " != ", ":"}).Draw(t, "operator") + text
	case filter.Set:
		return field.Name + ":" + rapid.SampledFrom([]string{text, "*"}).Draw(t, "any")
	case filter.Enum:
		if field.Name == "state" {
			return field.Name + equal + name("READY", "BROKEN", "MODEL_STATE_GONE")
		}
		return field.Name + equal + name("WORKBOOK", "DATA_MODEL")
	case filter.EnumSet:
		return field.Name + ":" + name("COLUMN_BROKEN", "AUTHOR_LIMIT", "*")
	case filter.Time:
		operator := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "operator")
		return field.Name + operator + `"` + someTime.Draw(t, "when").AsTime().Format(time.RFC3339Nano) + `"`
	}
	if field.Name == "workbook" {
		text = `"` + prod + "/workbooks/" + name("w0", "w1", "none") + `"`
	}
	return field.Name + equal + text
}

// testFind: whatever is in the store, whatever is asked for, in whatever order and
// pages, and however little is done for a page: the pages together are what plain Go
// picks, ranks and sorts.
func testFind(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	connect(t, s, prod)
	connect(t, s, prod+"2")
	rapid.Check(t, func(rt *rapid.T) {
		b := drawShelf(rt)
		fill(rt, s, b)
		if err := s.CheckIndex(ctx, prod); err != nil {
			rt.Fatal(err)
		}
		s.SetEffort(rapid.SampledFrom([]int{6, 13, 20, 60, 30000}).Draw(rt, "effort"))
		for range 8 {
			checkFind(ctx, rt, s, b, store.ListOptions{
				Filter:   rapid.SampledFrom([]string{"", drawFilter(rt, 2), drawFilter(rt, 3)}).Draw(rt, "filter"),
				OrderBy:  rapid.SampledFrom([]string{"", "path", "path desc", "display_name", "display_name desc", "update_time", "update_time desc", "column_count desc", "column_count"}).Draw(rt, "order"),
				Query:    rapid.SampledFrom([]string{"", "", "", "a", "ab", "abc", "bcd", "A b", "ä", "et", "日", "日本", "ﬁ", "ss c", "가", "가나가", "나bcda", longWord, longWord[9:], "abz bcd"}).Draw(rt, "query"),
				ShowGone: rapid.Bool().Draw(rt, "gone"),
			}, rapid.Int32Range(1, 6).Draw(rt, "size"))
		}
	})
}

// fill brings the connection to what is on the shelf. What was there before and is
// no more is gone, and put on the shelf as such.
func fill(t *rapid.T, s *store.Store, b *shelf) {
	ctx := context.Background()
	for _, w := range b.workbooks {
		var models []*pb.Model
		for _, m := range b.models {
			if m.GetWorkbook() == w.GetName() {
				models = append(models, m)
			}
		}
		if err := put(ctx, s, w, models); err != nil {
			t.Fatal(err)
		}
	}
	known, err := s.KnownWorkbooks(ctx, prod)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range known {
		if b.of[name] == nil {
			if _, err := s.RemoveWorkbook(ctx, scanning(ctx, s, prod), name); err != nil {
				t.Fatal(err)
			}
			b.of[name] = k.Workbook
		}
	}
	// What is gone is read from the store itself, model by model.
	here := map[string]bool{}
	for _, m := range b.models {
		here[m.GetName()] = true
	}
	s.SetEffort(30000)
	all, _, err := s.ListModels(ctx, prod, store.ListOptions{ShowGone: true}, store.Page{Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if !here[m.GetName()] {
			whole, err := s.Model(ctx, m.GetName())
			if err != nil || whole.GetState() != pb.ModelState_MODEL_STATE_GONE {
				t.Fatalf("%v, error %v", whole, err)
			}
			b.models = append(b.models, whole)
		}
	}
}

func checkFind(ctx context.Context, t *rapid.T, s *store.Store, b *shelf, options store.ListOptions, size int32) {
	var got []*pb.Model
	for page, calls := (store.Page{Size: size}), 0; ; calls++ {
		list, next, err := s.ListModels(ctx, prod, options, page)
		if err != nil {
			t.Fatalf("%+v: %v", options, err)
		}
		if len(list) > int(size) {
			t.Fatalf("a page of %d for %d", len(list), size)
		}
		got = append(got, list...)
		if page.Token = next; next == "" {
			break
		}
		if calls > 2000 {
			t.Fatalf("%+v: no end", options)
		}
	}
	where, err := store.ModelFields.Parse(options.Filter)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	byName := map[string]*pb.Model{}
	for _, m := range b.models {
		byName[m.GetName()] = m
		gone := m.GetState() == pb.ModelState_MODEL_STATE_GONE
		if (!gone || options.ShowGone) && b.holds(where, m) && (options.Query == "" || b.rank(options.Query, m) > 0) {
			want = append(want, m.GetName())
		}
	}
	names := modelNames(got)
	if slices.Sort(want); !slices.Equal(want, slices.Sorted(slices.Values(names))) {
		t.Fatalf("%+v: wanted %v, got %v", options, want, names)
	}
	order, desc := strings.CutSuffix(options.OrderBy, " desc")
	sorted := slices.IsSortedFunc(names, func(n1, n2 string) int {
		m1, m2 := byName[n1], byName[n2]
		by := order
		if options.Query != "" && order == "" {
			r1, r2 := b.rank(options.Query, m1), b.rank(options.Query, m2)
			if r1 != r2 {
				return r1 - r2
			}
			if by = "path"; r1 < 3 {
				by = "display_name"
			}
		}
		c := strings.Compare(b.key(by, m1), b.key(by, m2))
		if desc {
			return -c
		}
		return c
	})
	if !sorted {
		t.Fatalf("%+v: not in order: %v", options, names)
	}
}

// FuzzFilter: whatever the text, it is refused with a reason, or picks what plain Go
// picks.
func FuzzFilter(f *testing.F) {
	s, ctx := openSQLite(f), f.Context()
	connect(f, s, prod)
	b := &shelf{of: map[string]*pb.Workbook{}}
	for i, text := range []string{"", "a", "a/b", `"'%_\*`, "x\x1fy\x1a\x00", "日本"} {
		w := workbook(prod, fmt.Sprint("w", i), text, text)
		w.OwnerId, w.Tags, w.UpdateTime = text, []string{text, "t"}, timestamppb.New(time.Unix(int64(i), 0))
		m := model(w, prod, "e", text, text, "b")
		m.ElementType, m.VisualizationType = text, text
		m.Findings = []*pb.Finding{{Code: pb.FindingCode(i)}}
		if i%2 == 0 {
			m.State = pb.ModelState_MODEL_STATE_BROKEN
		}
		check(f, put(ctx, s, w, []*pb.Model{m}))
		b.models, b.of[w.GetName()] = append(b.models, m), w
	}
	for _, seed := range []string{`state = READY AND NOT (path:"a" OR tags:"t")`, `columns.label:"x\x1fy\x1a\000" -owner_id=a`, `findings.code:* update_time>="1970-01-01T00:00:02Z"`,
		`element_type != "a" visualization_type = "日本"`, `path = "" OR path:"" OR workbook = "x"`, `document_kind != WORKBOOK`, `tags:"'; DROP TABLE entries; --"`, `state`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		where, err := store.ModelFields.Parse(text)
		list, _, listErr := s.ListModels(t.Context(), prod, store.ListOptions{Filter: text}, store.Page{})
		if err != nil {
			var wrong *store.RequestError
			if !errors.As(listErr, &wrong) || wrong.Field != "filter" {
				t.Fatalf("error %v, want %v", listErr, err)
			}
			return
		}
		if listErr != nil {
			t.Fatal(listErr)
		}
		var want []string
		for _, m := range b.models {
			if b.holds(where, m) {
				want = append(want, m.GetName())
			}
		}
		if got := modelNames(list); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Fatalf("%s: got %v, want %v", text, got, want)
		}
	})
}

// FuzzQuery: whatever is searched for, what is found is what plain Go finds.
func FuzzQuery(f *testing.F) {
	s, ctx := openSQLite(f), f.Context()
	connect(f, s, prod)
	b := &shelf{of: map[string]*pb.Workbook{}}
	w := workbook(prod, "w", "Finance/Årsregnskap", "Orders & more")
	var models []*pb.Model
	for i, text := range []string{"Revenue", "Ünïcode ﬁnds", "日本語 data", "a", "ab c", "Straße 12", `it's "quoted" AND (odd)`, "ΣΊΣΥΦΟΣ", "한국어"} {
		models = append(models, model(w, prod, fmt.Sprint("e", i), text, text+" x", "Order Id"))
	}
	check(f, put(ctx, s, w, models))
	b.models, b.of[w.GetName()] = models, w
	for _, seed := range []string{"rev", `"quo`, "UNICODE", "日", "本語 d", "a", "strasse", "σίσυφος", "order id 12", "NEAR(a b)", "it's", "한국", "*", "a* OR b:", "fi"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || len(strings.Fields(store.Words(text))) > 10 {
			return
		}
		list, _, err := s.ListModels(t.Context(), prod, store.ListOptions{Query: text}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, m := range b.models {
			if store.Words(text) == "" || b.rank(text, m) > 0 {
				want = append(want, m.GetName())
			}
		}
		if got := modelNames(list); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
	})
}
