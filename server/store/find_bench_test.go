package store_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

// benchModels is the variable with the number of models in the store, a million
// unless it says otherwise.
const benchModels = "SIGMASOURCE_BENCH_MODELS"

// library makes up a large organization, the same whenever it is asked: twenty
// models a workbook, with words as unevenly spread as those of people.
type library struct {
	models int
	words  []string
	labels []string
}

func newLibrary() *library {
	l := &library{models: 1_000_000}
	if text := os.Getenv(benchModels); text != "" {
		var err error
		if l.models, err = strconv.Atoi(text); err != nil {
			panic(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "etaoinshrdlucmfwypvbgk"
	for range 30_000 {
		word := ""
		for range 3 + random.IntN(7) {
			word += string(letters[random.IntN(len(letters))])
		}
		l.words = append(l.words, word)
	}
	zipf := l.zipf(random, l.words)
	for range 20_000 {
		l.labels = append(l.labels, l.words[zipf.Uint64()]+" "+l.words[zipf.Uint64()])
	}
	return l
}

// zipf draws of texts: the first are everywhere, the last hardly anywhere.
func (l *library) zipf(random *rand.Rand, texts []string) *rand.Zipf {
	return rand.NewZipf(random, 1.1, 20, uint64(len(texts)-1))
}

var commonLabels = []string{"Order Id", "Customer", "Amount", "Region", "Created At", "Status", "Quantity", "E-mail"}

func (l *library) books() iter.Seq2[*pb.Workbook, []*pb.Model] {
	random := rand.New(rand.NewPCG(3, 4))
	draw := func(texts []string) func() string {
		zipf := l.zipf(random, texts)
		return func() string { return texts[zipf.Uint64()] }
	}
	word, label := draw(l.words), draw(l.labels)
	begin := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	return func(yield func(*pb.Workbook, []*pb.Model) bool) {
		for i := range l.models / 20 {
			id := fmt.Sprintf("%08x-5b1d-4c7a-9e2f-%012x", random.Uint32(), i)
			path := fmt.Sprintf("Workspace/Team %02d/Area %d", random.IntN(40), random.IntN(10))
			w := workbook(prod, id, path, fmt.Sprintf("%s %s %d", word(), word(), i%1000))
			w.OwnerId = fmt.Sprintf("member%04d", random.IntN(1000))
			w.UpdateTime = timestamppb.New(begin.Add(time.Duration(random.IntN(1000*24)) * time.Hour))
			w.DocumentKind = pb.DocumentKind_DOCUMENT_KIND_WORKBOOK
			for tag, share := range map[string]int{"Certified": 10, "Deprecated": 50, "Board": 2500} {
				if random.IntN(share) == 0 {
					w.Tags = append(w.Tags, tag)
				}
			}
			slices.Sort(w.Tags)
			w.ModelCount = 20
			var models []*pb.Model
			for j := range 20 {
				m := model(w, prod, fmt.Sprintf("el%d", j), fmt.Sprintf("%s by %s report", word(), word()), l.columns(random, label)...)
				m.ElementType, m.Url = "table", "https://app.sigmacomputing.com/acme/workbook/"+id
				m.DocumentKind = w.GetDocumentKind()
				switch random.IntN(100) {
				case 0:
					m.State = pb.ModelState_MODEL_STATE_BROKEN
					m.Findings = append(m.Findings, &pb.Finding{Code: pb.FindingCode_FINDING_CODE_COLUMN_BROKEN, Message: "formulas have errors"})
				case 1, 2:
					m.State = pb.ModelState_MODEL_STATE_ARCHIVED
				case 3, 4, 5, 6, 7:
					m.Findings = append(m.Findings, &pb.Finding{Code: pb.FindingCode_FINDING_CODE_LITERAL_FROZEN, Message: "dates are constants"})
				}
				if random.IntN(3) == 0 {
					m.ElementType, m.VisualizationType = "visualization", []string{"bar", "line", "area", "pie"}[random.IntN(4)]
				}
				models = append(models, m)
			}
			if !yield(w, models) {
				return
			}
		}
	}
}

func (l *library) columns(random *rand.Rand, label func() string) []string {
	labels := []string{"Id"}
	for range 4 + random.IntN(4) {
		labels = append(labels, commonLabels[random.IntN(len(commonLabels))])
	}
	for range 3 + random.IntN(4) {
		labels = append(labels, label())
	}
	return labels
}

// findings are what is asked of the store. What is in braces stands for something of
// that kind, another one each time.
var findings = []struct {
	name    string
	options store.ListOptions
}{
	{"all", store.ListOptions{}},
	{"filter/state=READY", store.ListOptions{Filter: `state = READY`}},
	{"filter/state=BROKEN", store.ListOptions{Filter: `state = BROKEN`}},
	{"filter/state!=READY", store.ListOptions{Filter: `state != READY`}},
	{"filter/state=FORBIDDEN,none", store.ListOptions{Filter: `state = FORBIDDEN`}},
	{"filter/path,deep", store.ListOptions{Filter: `path:"Workspace/Team 31/Area 7"`}},
	{"filter/path,shallow", store.ListOptions{Filter: `path:"Workspace"`}},
	{"filter/tag,10%", store.ListOptions{Filter: `tags:"Certified"`}},
	{"filter/tag,2%", store.ListOptions{Filter: `tags:"Deprecated"`}},
	{"filter/tag,rare", store.ListOptions{Filter: `tags:"Board"`}},
	{"filter/owner", store.ListOptions{Filter: `owner_id = "member0{n}"`}},
	{"filter/column,common", store.ListOptions{Filter: `columns.label:"Order Id"`}},
	{"filter/column,all", store.ListOptions{Filter: `columns.label:"Id"`}},
	{"filter/column,mid", store.ListOptions{Filter: `columns.label:"{label}"`}},
	{"filter/column,none", store.ListOptions{Filter: `columns.label:"No Such Column"`}},
	{"filter/finding,5%", store.ListOptions{Filter: `findings.code:LITERAL_FROZEN`}},
	{"filter/finding,1%", store.ListOptions{Filter: `findings.code:COLUMN_BROKEN`}},
	{"filter/finding,any", store.ListOptions{Filter: `findings.code:*`}},
	{"filter/type", store.ListOptions{Filter: `element_type = "visualization" AND visualization_type = "pie"`}},
	{"filter/updated,half", store.ListOptions{Filter: `update_time > "2025-06-01T00:00:00Z"`}},
	{"filter/updated,in-order", store.ListOptions{Filter: `update_time > "2026-09-20T00:00:00Z"`, OrderBy: "update_time desc"}},
	{"filter/AND,selective", store.ListOptions{Filter: `tags:"Deprecated" AND state = BROKEN`}},
	{"filter/AND,unselective", store.ListOptions{Filter: `state = READY AND columns.label:"Amount" AND NOT tags:"Certified"`}},
	{"filter/AND,deep", store.ListOptions{Filter: `path:"Workspace/Team 31" AND columns.label:"Amount" AND findings.code:LITERAL_FROZEN`}},
	{"filter/OR", store.ListOptions{Filter: `tags:"Board" OR owner_id = "member0{n}"`}},
	{"filter/OR,AND,NOT", store.ListOptions{Filter: `(tags:"Certified" OR tags:"Deprecated") AND NOT (state = READY OR state = ARCHIVED)`}},
	{"filter/NOT", store.ListOptions{Filter: `NOT (columns.label:"Amount" OR columns.label:"Customer" OR columns.label:"Region")`}},
	{"filter/order,name", store.ListOptions{Filter: `state = READY`, OrderBy: "display_name"}},
	{"filter/order,time,selective", store.ListOptions{Filter: `tags:"Board"`, OrderBy: "update_time desc"}},
	{"filter/order,columns", store.ListOptions{Filter: `columns.label:"Amount"`, OrderBy: "column_count desc"}},
	{"filter/workbook", store.ListOptions{Filter: `workbook = "{workbook}"`}},
	{"search/rare", store.ListOptions{Query: `{rare}`}},
	{"search/mid", store.ListOptions{Query: `{mid}`}},
	{"search/common", store.ListOptions{Query: `{common}`}},
	{"search/in-all-names", store.ListOptions{Query: `report`}},
	{"search/in-all-paths", store.ListOptions{Query: `workspace`}},
	{"search/in-all-columns", store.ListOptions{Query: `id`}},
	{"search/prefix,1", store.ListOptions{Query: `{common:1}`}},
	{"search/prefix,2", store.ListOptions{Query: `{common:2}`}},
	{"search/prefix,3", store.ListOptions{Query: `{common:3}`}},
	{"search/prefix,4", store.ListOptions{Query: `{mid:4}`}},
	{"search/words", store.ListOptions{Query: `{common} by {common}`}},
	{"search/words,mixed", store.ListOptions{Query: `{common} {mid} customer`}},
	{"search/none", store.ListOptions{Query: `qqqq`}},
	{"search/filter", store.ListOptions{Query: `{common}`, Filter: `state = READY`}},
	{"search/filter,selective", store.ListOptions{Query: `{common}`, Filter: `tags:"Board"`}},
	{"search/filter,2%", store.ListOptions{Query: `report`, Filter: `tags:"Deprecated"`}},
}

// blank is a name in braces, with the number of letters to take of what it stands for.
var blank = regexp.MustCompile(`\{([a-z]+)(?::([0-9]))?\}`)

// fillIn puts words in the place of the blanks.
func (l *library) fillIn(random *rand.Rand, text string, book string) string {
	return blank.ReplaceAllStringFunc(text, func(found string) string {
		parts := blank.FindStringSubmatch(found)
		word := map[string]string{
			"common":   l.words[random.IntN(20)],
			"mid":      l.words[300+random.IntN(2000)],
			"label":    l.labels[random.IntN(2000)],
			"rare":     l.words[20_000+random.IntN(10_000)],
			"n":        fmt.Sprintf("%03d", random.IntN(1000)),
			"workbook": book,
		}[parts[1]]
		if letters, err := strconv.Atoi(parts[2]); err == nil {
			word = word[:min(letters, len(word))]
		}
		return word
	})
}

// BenchmarkFind has a million models in the store and asks for pages of a hundred.
// The metrics are milliseconds, and how many models a page has.
func BenchmarkFind(b *testing.B) {
	l := newLibrary()
	for name, open := range map[string]opener{"sqlite": openSQLite, "postgres": openPostgres} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			connect(b, s, prod)
			begin := time.Now()
			check(b, s.Load(b.Context(), prod, l.books()))
			check(b, s.Settle(b.Context()))
			b.Logf("%d models stored in %v", l.models, time.Since(begin).Round(time.Second))
			benchmarkFind(b, l, s)
		})
	}
}

func benchmarkFind(b *testing.B, l *library, s *store.Store) {
	ctx := context.Background()
	workbooks, _, err := s.ListWorkbooks(ctx, prod, store.ListOptions{OrderBy: "update_time"}, store.Page{Size: 1000})
	check(b, err)
	var names []string
	for _, w := range workbooks {
		for j := range 20 {
			names = append(names, fmt.Sprintf("%s/models/%s.el%d", prod, w.GetWorkbookId(), j))
		}
	}
	b.Run("GetModel", func(b *testing.B) {
		random := rand.New(rand.NewPCG(5, 6))
		measure(b, func() (int, error) {
			_, err := s.Model(ctx, names[random.IntN(len(names))])
			return 1, err
		})
	})
	for _, f := range findings {
		b.Run(f.name, func(b *testing.B) {
			random := rand.New(rand.NewPCG(7, 8))
			measure(b, func() (int, error) {
				options := f.options
				book := workbooks[random.IntN(len(workbooks))].GetName()
				options.Filter, options.Query = l.fillIn(random, options.Filter, book), l.fillIn(random, options.Query, book)
				list, _, err := s.ListModels(ctx, prod, options, store.Page{Size: 100})
				return len(list), err
			})
		})
	}
	b.Run("next-pages", func(b *testing.B) {
		page := store.Page{Size: 100}
		measure(b, func() (int, error) {
			list, next, err := s.ListModels(ctx, prod, store.ListOptions{Filter: `columns.label:"Amount"`, OrderBy: "display_name"}, page)
			page.Token = next
			return len(list), err
		})
	})
}

// measure reports what one call takes, at the median and at the 99th percentile, and
// the mean length of the answers.
func measure(b *testing.B, call func() (int, error)) {
	var took []time.Duration
	sum := 0
	for b.Loop() {
		begin := time.Now()
		n, err := call()
		took = append(took, time.Since(begin))
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(float64(sum)/float64(len(took)), "models")
	b.ReportMetric(0, "ns/op")
}
