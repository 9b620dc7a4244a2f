package sigmasql_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

var update = flag.Bool("update", false, "write the golden files")

// text is a text of the corpus: testdata/corpus/NAME.sql, and in NAME.custom the custom SQL in it, if any.
type text struct {
	name string
	sql  string
	opts sigmasql.Options
}

func corpus(t testing.TB) []text {
	t.Helper()
	paths, err := filepath.Glob("testdata/corpus/*.sql")
	if err != nil || len(paths) < 30 {
		t.Fatalf("corpus: %d texts, %v", len(paths), err)
	}
	var texts []text
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".sql")
		c := text{name: name, sql: read(t, path)}
		if custom, err := os.ReadFile(strings.TrimSuffix(path, ".sql") + ".custom"); err == nil {
			c.opts.CustomSQL = []string{string(custom)}
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		texts = append(texts, c)
	}
	return texts
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// golden compares got with a file, or writes the file under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("%s (-want +got); -update writes it anew:\n%s", path, diff)
	}
}

func TestCorpusHasGoldenResults(t *testing.T) {
	for _, c := range corpus(t) {
		t.Run(c.name, func(t *testing.T) {
			golden(t, "testdata/corpus/"+c.name+".golden", describe(c))
		})
	}
}

// describe tells all that a Query says, but its hash.
func describe(c text) string {
	var b strings.Builder
	q, err := sigmasql.Prepare(c.sql, c.opts)
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
		return b.String()
	}
	fmt.Fprintf(&b, "request: %s\n", q.RequestID())
	for _, l := range q.Limits() {
		whose := "author's"
		if l.Preview {
			whose = "preview"
		}
		if l.Ambiguous {
			whose += "?"
		}
		fmt.Fprintf(&b, "limit: %s, %d rows, depth %d, %q\n", whose, l.Rows, l.Depth, q.Text()[l.Start:l.End])
	}
	for _, parts := range q.Tables() {
		fmt.Fprintf(&b, "table: %s\n", strings.Join(parts, " . "))
	}
	for _, l := range q.BrokenLiterals() {
		fmt.Fprintf(&b, "broken: %q shows %q\n", l.Column, l.Value)
	}
	for _, l := range q.FrozenLiterals() {
		fmt.Fprintf(&b, "frozen: %q\n", l.Value)
	}
	describeTraits(&b, q)
	fmt.Fprintf(&b, "\n-- full\n%s\n\n-- preview of 10\n%s\n\n-- preview of 5000\n%s\n", q.Full(), q.Preview(10), q.Preview(5000))
	return b.String()
}

// describeTraits tells what makes rows and values depend on more than the tables.
func describeTraits(b *strings.Builder, q *sigmasql.Query) {
	traits := q.Traits()
	for _, trait := range []struct {
		name string
		is   bool
	}{
		{"depends on the zone", traits.DependsOnZone}, {"names the owner", traits.NamesOwner}, {"keeps no rows", traits.KeepsNoRows},
		{"depends on weeks", traits.DependsOnWeeks}, {"has unstable rows", traits.HasUnstableRows},
	} {
		if trait.is {
			fmt.Fprintf(b, "trait: %s\n", trait.name)
		}
	}
	for _, o := range traits.ZoneOffsets {
		fmt.Fprintf(b, "offset: %s %d\n", o.Date, o.Seconds)
	}
	for _, parts := range traits.Unqualified {
		fmt.Fprintf(b, "unqualified: %s\n", strings.Join(parts, " . "))
	}
	for _, name := range slices.Concat(traits.ContextFunctions, traits.UnstableFunctions) {
		fmt.Fprintf(b, "function: %s\n", name)
	}
	if g := q.Grain(); len(g.Repeated) > 0 {
		fmt.Fprintf(b, "repeated: %q by %q, group %q\n", g.Repeated, g.Keys, q.GroupColumns())
	}
	outputs, _ := q.Outputs()
	for _, o := range outputs {
		if o.IsUnstable || o.IsLookup || o.IsNull || o.IsLocalCast {
			fmt.Fprintf(b, "output: %q unstable %t, lookup %t, null %t, local %t, date %t, of %s %s\n",
				o.Label, o.IsUnstable, o.IsLookup, o.IsNull, o.IsLocalCast, o.IsDateCast, strings.Join(o.Table, "."), o.Column)
		}
	}
}
