package sigmasql_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// requireHarmless fails the test where a text shows that anything but its tables decides about it.
func requireHarmless(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string, opts sigmasql.Options) {
	t.Helper()
	q := prepare(t, text, opts)
	got := q.Traits()
	got.HasSort = false
	if diff := cmp.Diff(sigmasql.Traits{}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("traits (-want +got):\n%s\n%s", diff, text)
	}
	if g := q.Grain(); len(g.Keys)+len(g.Repeated) > 0 {
		t.Fatalf("grain %+v\n%s", g, text)
	}
	outputs, _ := q.Outputs()
	for _, o := range outputs {
		if o.IsUnstable || o.IsLookup || o.IsLocalCast || o.IsDateCast {
			t.Fatalf("output %+v\n%s", o, text)
		}
	}
}

// Texts of all shapes that hold no trait show none.
func TestHarmlessTextsHaveNoTraits(t *testing.T) {
	for number := range uint64(1000) {
		s := randomText(14, number)
		requireHarmless(t, s.written(func() string { return " " })+"\n-- Sigma Σ {\"request-id\":\"r\",\"email\":\"sync@example.com\"}", s.opts)
	}
}

// injection is an expression with a trait, in the place of a column.
type injection struct {
	expression string // # stands for the name of a column
	duckdb     string // the same in DuckDB's SQL, if it is another
	add        func(*sigmasql.Traits)
	unstable   bool
	lookup     bool
	isInstant  bool // the column is compared with an instant
	isDay      bool // a date function is about the column
}

func injections(isDuckDB bool) map[string]injection {
	offset := func(date string, hours int) func(*sigmasql.Traits) {
		return func(t *sigmasql.Traits) {
			t.ZoneOffsets = append(t.ZoneOffsets, sigmasql.ZoneOffset{Date: date, Seconds: hours * 3600})
		}
	}
	zone := func(t *sigmasql.Traits) { t.DependsOnZone = true }
	weeks := func(t *sigmasql.Traits) { t.DependsOnWeeks = !isDuckDB }
	function := func(name string) func(*sigmasql.Traits) {
		return func(t *sigmasql.Traits) { t.UnstableFunctions = append(t.UnstableFunctions, name) }
	}
	return map[string]injection{
		"cast to the local zone":    {expression: `date_trunc('day', #::timestamp_ltz)`, duckdb: `date_trunc('day', #::timestamptz)`, add: zone},
		"instant of spring":         {expression: `iff(# >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM'), 1, 0)`, duckdb: `(# >= '2026-04-01 00:00:00-04'::timestamptz)`, add: offset("2026-04-01", -4), isInstant: true},
		"instant of winter":         {expression: `iff(# < '2026-12-01T00:00:00-05:00'::timestamp_ltz, 1, 0)`, duckdb: `(# < timestamptz '2026-12-01 00:00:00-05')`, add: offset("2026-12-01", -5), isInstant: true},
		"owner":                     {expression: `'Sync@Example.com'`, add: func(t *sigmasql.Traits) { t.NamesOwner = true }},
		"user":                      {expression: `current_user()`, duckdb: `current_user`, add: func(t *sigmasql.Traits) { t.ContextFunctions = append(t.ContextFunctions, "current_user") }},
		"week":                      {expression: `date_trunc(week, #)`, duckdb: `date_trunc('week', #)`, add: weeks, isDay: true},
		"day of a week":             {expression: `dayofweek(#)`, add: weeks, isDay: true},
		"number of a row":           {expression: `row_number() over (partition by # order by null)`, add: function("row_number"), unstable: true},
		"list":                      {expression: `(select listagg(Z.A, ',') from SHOP.PUBLIC.U Z)`, duckdb: `(select string_agg(Z.A, ',') from SHOP.PUBLIC.U Z)`, add: nil, unstable: true},
		"random number":             {expression: `coalesce(#, random())`, add: function("random"), unstable: true},
		"lookup":                    {expression: `(select iff(count(Z.A) > 1, '*', min(Z.A)) from SHOP.PUBLIC.U Z)`, lookup: true},
		"ordered row number":        {expression: `row_number() over (partition by # order by # desc)`, add: func(t *sigmasql.Traits) { t.HasSort = true }},
		"weekday":                   {expression: `case date_part('weekday_iso', #) when 1 then 'Monday' else 'other' end`, isDay: true},
		"zone-less date":            {expression: `iff(# >= to_timestamp_ntz('2026-04-01 00:00:00', 'YYYY-MM-DD HH24:MI:SS'), 1, 0)`},
		"date":                      {expression: `iff(# >= to_date('2026-04-08', 'YYYY-MM-DD'), 1, 0)`},
		"somebody's address":        {expression: `'ana@example.com'`},
		"star":                      {expression: `iff(# = 2, '*', 'none')`},
		"text that looks like code": {expression: `'current_date row_number() over () ::timestamp_ltz random() week('`},
		"ordered list":              {expression: `(select listagg(Z.A, ',') within group (order by Z.B) from SHOP.PUBLIC.U Z)`, duckdb: `(select string_agg(Z.A, ',' order by Z.B) from SHOP.PUBLIC.U Z)`, add: func(t *sigmasql.Traits) { t.HasSort = true }},
	}
}

// Each trait of a text is found wherever it stands, and no other: the truth is known by construction.
func TestTraitsAreThoseThatWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t)
		column := s.outputs[0].label
		isDuckDB := s.opts.Dialect == sigmasql.DuckDB
		all := injections(isDuckDB)
		names := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(all))), 0, 5, rapid.ID[string]).Draw(t, "injections")
		want := sigmasql.Traits{}
		var unstable, lookups, labels, items []string
		isInstant, isDay := false, false
		for i, name := range names {
			of := all[name]
			expression := of.expression
			if isDuckDB && of.duckdb != "" {
				expression = of.duckdb
			}
			if name == "list" {
				want.UnstableFunctions = append(want.UnstableFunctions, map[bool]string{false: "listagg", true: "string_agg"}[isDuckDB])
			}
			label := fmt.Sprintf("X%d", i)
			items = append(items, strings.ReplaceAll(expression, "#", `B."`+strings.ReplaceAll(column, `"`, `""`)+`"`)+" "+label)
			labels = append(labels, label)
			if of.add != nil {
				of.add(&want)
			}
			isInstant, isDay = isInstant || of.isInstant, isDay || of.isDay
			if of.unstable {
				unstable = append(unstable, label)
			}
			if of.lookup {
				lookups = append(lookups, label)
			}
		}
		want.DependsOnZone = want.DependsOnZone || isInstant && isDay // the text shows that the column is zone-aware
		items, labels = append(items, `B."`+strings.ReplaceAll(column, `"`, `""`)+`" KEPT`), append(labels, "KEPT")
		filter := rapid.SampledFrom([]string{"", " where KEPT = 1", " where KEPT = 1 and false", " where KEPT = null", " where KEPT is null"}).Draw(t, "filter")
		want.KeepsNoRows = strings.HasSuffix(filter, "false") || strings.HasSuffix(filter, "= null")

		text := "select " + strings.Join(items, ", ") + " from (" + s.drawWritten(t, "gaps") + "\n) B"
		for level := range rapid.IntRange(0, 4).Draw(t, "levels") {
			list := strings.Join(labels, ", ")
			if rapid.Bool().Draw(t, "star") {
				list = "*"
			}
			limit := rapid.SampledFrom([]string{"", " limit 1000"}).Draw(t, "limit")
			if rapid.Bool().Draw(t, "in a with clause") {
				text = fmt.Sprintf("with W%d as (%s) select %s from W%d%s", level, text, list, level, limit)
			} else {
				text = fmt.Sprintf("select %s from (%s) W%d%s", list, text, level, limit)
			}
		}
		text = "select " + strings.Join(labels, ", ") + " from (" + text + ") LAST" + filter + " limit 1000\n\n-- Sigma Σ {\"request-id\":\"r\",\"email\":\"sync@example.com\"}"

		q := prepare(t, text, s.opts)
		got := q.Traits()
		if s.opts.CustomSQLUnknown { // only Sigma's own format shows that no author wrote the date
			want.ZoneOffsets = slices.DeleteFunc(want.ZoneOffsets, func(o sigmasql.ZoneOffset) bool { return isDuckDB || o.Date == "2026-12-01" })
		}
		sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
		byDate := cmpopts.SortSlices(func(a, b sigmasql.ZoneOffset) bool { return a.Date < b.Date })
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), sorted, byDate); diff != "" {
			t.Fatalf("traits (-want +got):\n%s\n%s", diff, text)
		}
		var foundUnstable, foundLookups []string
		outputs, _ := q.Outputs()
		for _, o := range outputs {
			if o.IsUnstable {
				foundUnstable = append(foundUnstable, o.Label)
			}
			if o.IsLookup {
				foundLookups = append(foundLookups, o.Label)
			}
		}
		if !slices.Equal(foundUnstable, unstable) || !slices.Equal(foundLookups, lookups) {
			t.Fatalf("unstable %q, want %q; lookups %q, want %q\n%s", foundUnstable, unstable, foundLookups, lookups, text)
		}
		for _, out := range []string{q.Full(), fmt.Sprintf("%+v", got)} {
			if strings.Contains(out, "sync@example.com") {
				t.Fatalf("the address in the comment got through: %s", out)
			}
		}
	})
}

// Groups that are joined back are found below any number of queries that only select, in any order of columns.
func TestGrainIsThatWhichWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.IntRange(0, 4).Draw(t, "levels of groups")
		isDuckDB := rapid.Bool().Draw(t, "DuckDB")
		text := "select ID, K0, K1, K2, K3 from SHOP.PUBLIC.T limit 1000"
		columns := []string{"ID", "K0", "K1", "K2", "K3"}
		var keys, repeated []string
		for level := range levels {
			key, aggregate := fmt.Sprintf("K%d", level), fmt.Sprintf("SUM_%d", level)
			on := fmt.Sprintf("equal_null(L.%s, R.%s_2)", key, key)
			if isDuckDB {
				on = fmt.Sprintf("R.%s_2 is not distinct from L.%s", key, key)
			}
			list := "L." + strings.Join(columns, ", L.")
			if rapid.Bool().Draw(t, "star") {
				list = "L.*"
			}
			text = fmt.Sprintf("select %s, R.%s from (%s) L left join (select sum(A) %s, %s %s_2 from SHOP.PUBLIC.T group by %s) R on %s", list, aggregate, text, aggregate, key, key, key, on)
			columns = append(columns, aggregate)
			keys, repeated = append(keys, key), append(repeated, aggregate)
			if rapid.Bool().Draw(t, "wrapped") {
				text = "select " + strings.Join(rapid.Permutation(columns).Draw(t, "order"), ", ") + " from (" + text + ") W"
			}
		}
		shown := rapid.Permutation(columns).Draw(t, "columns")[:rapid.IntRange(1, len(columns)).Draw(t, "count")]
		text = "select " + strings.Join(shown, ", ") + " from (" + text + ") LAST limit 1000"
		opts := sigmasql.Options{}
		if isDuckDB {
			opts.Dialect = sigmasql.DuckDB
		}
		q := prepare(t, text, opts)
		kept := func(list []string) []string {
			return slices.DeleteFunc(slices.Clone(shown), func(label string) bool { return !slices.Contains(list, label) })
		}
		got := q.Grain()
		var group []string
		if len(kept(keys)) == levels && len(kept(repeated)) > 0 {
			group = kept(slices.Concat(keys, repeated))
		}
		sorted := cmpopts.SortSlices(strings.Compare)
		want := sigmasql.Grain{Keys: kept(keys), Repeated: kept(repeated)}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(sigmasql.Grain{}), sorted, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("grain (-want +got):\n%s\n%s", diff, text)
		}
		if diff := cmp.Diff(group, q.GroupColumns(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("columns of the group (-want +got):\n%s\n%s", diff, text)
		}
	})
}
