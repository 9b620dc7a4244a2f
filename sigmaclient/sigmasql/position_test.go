package sigmasql_test

import (
	"context"
	"database/sql"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// place is where a name can stand in a query. A vendor can reserve a word for some places only.
type place string

const (
	tablePlace  place = "table"
	aliasPlace  place = "alias"
	ctePlace    place = "CTE"
	columnPlace place = "column"
	labelPlace  place = "label"
)

// shape is a query with a word in one place. {w} is the word, {L} is a limit of Sigma's.
type shape struct {
	places []place // of the word
	text   string
	only   *sigmasql.Dialect // nil for all
}

var (
	snowflakeOnly = sigmasql.Snowflake
	duckdbOnly    = sigmasql.DuckDB
)

// shapes have each word in each place, next to each clause that can follow. In T is a column of the word's name.
var shapes = []shape{
	{[]place{tablePlace, aliasPlace}, `select A "A" from (select * from SHOP.S.{w} {w}{L}) Q1{L}`, nil},
	{[]place{tablePlace}, `select A "A" from SHOP.S.{w}{L}`, nil},
	{[]place{tablePlace}, `select A "A" from (select * from SHOP.S.{w}{L}) Q1{L}`, nil},
	{[]place{tablePlace}, `select A "A" from SHOP.S.{w} Q1 join SHOP.S.U U on Q1.A = U.K{L}`, nil},
	{[]place{tablePlace}, `select Q1.A "A" from SHOP.S.U U, SHOP.S.{w} Q1 where true{L}`, nil},
	{[]place{tablePlace}, `select Q1.A "A" from SHOP.S.U left join SHOP.S.{w} Q1 on true order by K{L}`, nil},
	{[]place{tablePlace}, `select A "A" from SHOP.{w}.T T{L}`, nil},
	{[]place{tablePlace}, `select A "A" from {w}{L}`, nil},
	{[]place{tablePlace}, `select A "A" from {w} Q1 where A >= 0{L}`, nil},
	{[]place{tablePlace, aliasPlace}, `select {w}.A "A" from {w}{L}`, nil},
	{[]place{tablePlace}, `select A "A" from SHOP..{w} Q1{L}`, &snowflakeOnly},

	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T as {w}{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from SHOP.S.T {w}{L}`, nil},
	{[]place{aliasPlace}, `select {w}.* from SHOP.S.T {w}{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from (select * from SHOP.S.T{L}) {w}{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from (select * from SHOP.S.T{L}) as {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from (select * from SHOP.S.T{L}) {w} where A >= 0{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from SHOP.S.T {w} join SHOP.S.U U on {w}.A = U.K{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} inner join SHOP.S.U U on A = K{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} left join SHOP.S.U U on A = K{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} left outer join SHOP.S.U U on A = K{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} full join SHOP.S.U U on A = K{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} cross join SHOP.S.U U{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w}, SHOP.S.U U{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w}, (select * from SHOP.S.U) U where true{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from SHOP.S.U U join SHOP.S.T {w} on U.K <= {w}.A{L}`, nil},
	{[]place{aliasPlace}, `select {w}.A "A" from SHOP.S.U U, SHOP.S.T {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.U U cross join SHOP.S.T {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} where A >= 0{L}`, nil},
	{[]place{aliasPlace}, `select A "A", count(1) "N" from SHOP.S.T {w} group by A{L}`, nil},
	{[]place{aliasPlace}, `select A "A", count(1) "N" from SHOP.S.T {w} group by all{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} order by A{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} order by all{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} qualify row_number() over (order by A) > 1{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} union all select K from SHOP.S.U {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.T {w} except select K from SHOP.S.U {w}{L}`, nil},
	{[]place{aliasPlace}, `select A "A" from ((select * from SHOP.S.T {w}{L}) union all (select * from SHOP.S.T {w}{L})) {w}{L}`, nil},
	{[]place{aliasPlace}, `select X "A" from (select A, B from SHOP.S.T) {w}(X, Y){L}`, nil},
	{[]place{aliasPlace}, `select A "A" from SHOP.S.U U, lateral (select A from SHOP.S.T) {w}{L}`, nil},
	{[]place{aliasPlace}, `select 1 "A" from range(1003) {w}{L}`, &duckdbOnly},
	{[]place{aliasPlace}, `select max(A) over {w} "A" from SHOP.S.T window {w} as (order by A){L}`, &duckdbOnly},
	{[]place{aliasPlace}, `select max(A) over ({w} rows 1 preceding) "A" from SHOP.S.T T window {w} as (order by A){L}`, &duckdbOnly},

	{[]place{ctePlace}, `with {w} as (select * from SHOP.S.T{L}) select A "A" from {w}{L}`, nil},
	{[]place{ctePlace}, `with {w} as (select * from SHOP.S.T{L}) select Q1.A "A" from {w} Q1{L}`, nil},
	{[]place{ctePlace, aliasPlace}, `with {w} as (select * from SHOP.S.T{L}) select {w}.A "A" from {w} where true{L}`, nil},
	{[]place{ctePlace, aliasPlace}, `with {w} as (select * from SHOP.S.T{L}) select {w}.A "A" from {w} {w}{L}`, nil},
	{[]place{ctePlace}, `with Q0 as (select K from SHOP.S.U), {w} as (select * from SHOP.S.T) select A "A" from {w} Q1 join Q0 on A = K{L}`, nil},
	{[]place{ctePlace}, `with {w} as (select * from SHOP.S.T), Q0 as (select * from {w}) select A "A" from Q0{L}`, nil},
	{[]place{ctePlace}, `with {w}(X, Y, Z) as (select A, B, B from SHOP.S.T{L}) select X "A" from {w}{L}`, nil},
	{[]place{ctePlace}, `with {w} as materialized (select * from SHOP.S.T) select A "A" from {w}{L}`, &duckdbOnly},
	{[]place{ctePlace}, `with recursive {w} as (select 0 A union all select A + 1 from {w} where A < 1100) select A "A" from {w}{L}`, nil},
	{[]place{ctePlace}, `select A "A" from (with {w} as (select * from SHOP.S.T) select * from {w}{L}) Q1{L}`, nil},

	{[]place{columnPlace}, `select {w} "A" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace, labelPlace}, `select {w} from SHOP.S.T{L}`, nil},
	{[]place{columnPlace, labelPlace}, `select {w} {w} from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select {w} "A", A "B" from SHOP.S.T T{L}`, nil},
	{[]place{columnPlace}, `select A "A", {w} "B" from SHOP.S.T T{L}`, nil},
	{[]place{columnPlace, labelPlace}, `select A, {w}, B from (select * from SHOP.S.T{L}) Q1{L}`, nil},
	{[]place{columnPlace}, `select Q1.{w} "A" from (select * from SHOP.S.T{L}) Q1{L}`, nil},
	{[]place{columnPlace, labelPlace}, `select Q1.{w} from (select * from SHOP.S.T{L}) Q1{L}`, nil},
	{[]place{columnPlace}, `select distinct {w} "A" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select ({w}) "A", ({w} + 1) "B", -{w} "C", {w}::varchar "D", {w} + A "E", A + {w} "F" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select {w} is null "A", {w} in (1) "B", A in ({w}, 1) "C", {w} between {w} and {w} "D", not {w} = 1 "E" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select case when {w} = 1 then {w} else {w} end "A", coalesce({w}, 1) "B", cast({w} as varchar) "C" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select sum({w}) over (partition by {w} order by {w}) "A" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select sum(A) over (order by A, {w}) "A" from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where {w} >= 0{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where A >= {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where A >= 0 and {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where A >= 0 and not {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where T.{w} = 1 or T.{w} <> 1{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T where A between 0 and {w}{L}`, nil},
	{[]place{columnPlace}, `select {w} "A" from SHOP.S.T group by {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A", {w} "B" from SHOP.S.T group by A, {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A", max({w}) "B" from SHOP.S.T group by A having max({w}) >= 0{L}`, nil},
	{[]place{columnPlace}, `select {w} "A" from SHOP.S.T group by all{L}`, nil},
	{[]place{columnPlace}, `select {w} "A" from SHOP.S.T order by all{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T order by {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T order by A, {w}{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T order by {w} desc{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T order by {w} asc nulls last{L}`, nil},
	{[]place{columnPlace}, `select A "A" from SHOP.S.T T join SHOP.S.U U on U.K >= {w}{L}`, nil},
	{[]place{columnPlace}, `select T.A "A" from SHOP.S.T T join SHOP.S.T T2 using ({w}) where T.A < 40{L}`, nil},
	{[]place{columnPlace}, `select * exclude ({w}) from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select * exclude {w} from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select * replace (A as {w}) from SHOP.S.T{L}`, nil},
	{[]place{columnPlace}, `select * rename ({w} as "Other") from SHOP.S.T{L}`, nil},

	{[]place{labelPlace}, `select A {w} from SHOP.S.T{L}`, nil},
	{[]place{labelPlace}, `select A as {w} from SHOP.S.T{L}`, nil},
	{[]place{labelPlace}, `select A {w}, B {w} from SHOP.S.T{L}`, nil},
	{[]place{labelPlace}, `select A + 1 {w}, (A) {w}, T.A {w}, 1 {w}, 'x' {w}, null {w}, "B" {w} from SHOP.S.T T{L}`, nil},
	{[]place{labelPlace}, `select sum(A) over (order by A) {w}, case when A > 1 then 2 end {w}, A::varchar {w} from SHOP.S.T{L}`, nil},
	{[]place{labelPlace, columnPlace}, `select {w} "A" from (select A {w} from SHOP.S.T{L}) Q1{L}`, nil},
	{[]place{labelPlace, columnPlace}, `select Q1.{w} "A" from (select A {w} from SHOP.S.T{L}) Q1 order by Q1.{w}{L}`, nil},
	{[]place{labelPlace}, `select 1 {w}{L}`, nil},
	{[]place{labelPlace}, `select 1 as {w}{L}`, nil},
	{[]place{labelPlace}, `select (select max(K) {w} from SHOP.S.U) "A" from SHOP.S.T{L}`, nil},
	{[]place{labelPlace}, `select A {w} from SHOP.S.T union all select K {w} from SHOP.S.U{L}`, nil},
	{[]place{labelPlace}, `select A {w} from SHOP.S.T group by {w}{L}`, &duckdbOnly},
	{[]place{labelPlace, columnPlace}, `select A as {w} from SHOP.S.T order by {w}{L}`, nil},

	// Functions and types are named by no place: DuckDB alone decides.
	{nil, `select {w}(A) "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select {w}(A, A) "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select {w}(A::varchar) "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select {w}(A::varchar, 1) "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select {w}() "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select null::{w} "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select cast(null as {w}) "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T where null::{w} is null{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T order by null::{w}{L}`, &duckdbOnly},
	{nil, `select extract({w} from timestamp '2026-01-01') "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T order by A {w}{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T where A is {w}{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T where A is not {w}{L}`, &duckdbOnly},
	{nil, `select A {w} A "A" from SHOP.S.T{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T where A::varchar {w} A::varchar{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T T {w} join SHOP.S.U U on A = K{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T T {w} join SHOP.S.U U{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T {w} select K from SHOP.S.U{L}`, &duckdbOnly},
	{nil, `select A "A" from SHOP.S.T {w} all select K from SHOP.S.U{L}`, &duckdbOnly},
}

const sigmaLimit = " limit 1000"

// with returns the query with a word, as Sigma writes it and without Sigma's limits.
func (s shape) with(word string) (text, full string) {
	text = strings.ReplaceAll(s.text, "{w}", word)
	return strings.ReplaceAll(text, "{L}", sigmaLimit), strings.ReplaceAll(text, "{L}", "")
}

// requireSigmasLimits requires that Prepare finds all limits of a text of a shape, and lifts them.
func requireSigmasLimits(t *testing.T, text, full string, opts sigmasql.Options) *sigmasql.Query {
	t.Helper()
	q, err := sigmasql.Prepare(text, opts)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return nil
	}
	if got := q.Full(); got != full {
		t.Errorf("%s\nin full:   %s\nwanted:    %s", text, got, full)
		return nil
	}
	preview, err := sigmasql.Prepare(q.Preview(5), opts)
	if err != nil {
		t.Errorf("preview of 5 %s: %v", q.Preview(5), err)
		return nil
	}
	outermost := slices.DeleteFunc(preview.Limits(), func(l sigmasql.Limit) bool { return l.Depth > 0 })
	if len(outermost) != 1 || outermost[0].Rows != 5 || strings.Count(preview.Text(), " limit 5") != 1 {
		t.Errorf("preview of 5: outermost limits %+v\n%s", outermost, preview.Text())
		return nil
	}
	return q
}

// DuckDB is the oracle of its own words: each text that DuckDB accepts is one that Prepare accepts, and what Prepare makes
// of it gives DuckDB the right rows and columns.
func TestWordsAreKeywordsByPositionInDuckDB(t *testing.T) {
	conn := openShop(t)
	words := allWords(t, conn)
	exec(t, conn, `set threads = 1`)
	exec(t, conn, `create schema SHOP.S`)
	exec(t, conn, `create table SHOP.S.U as select i::int K from range(3) t(i)`)
	known := ownKeywords(t)
	texts, accepted := 0, 0
	for _, word := range words {
		quoted := `"` + word + `"`
		exec(t, conn, `create or replace view SHOP.S.T as select i::int A, 1 B, i::int `+quoted+` from range(1003) t(i)`)
		exec(t, conn, `create or replace view memory.main.`+quoted+` as from SHOP.S.T`)
		exec(t, conn, `create or replace view SHOP.S.`+quoted+` as from SHOP.S.T`)
		exec(t, conn, `create schema if not exists SHOP.`+quoted)
		exec(t, conn, `create or replace view SHOP.`+quoted+`.T as from SHOP.S.T`)
		for i, s := range shapes {
			isKnown := slices.Contains(known, word)
			if s.only != nil && *s.only != sigmasql.DuckDB || !isKnown && i%sampledShapes != 0 {
				continue
			}
			texts++
			text, full := s.with(word)
			if names, _, err := run(t.Context(), conn, text); err == nil {
				accepted++
				requireRuns(t, conn, text, full, names)
			}
		}
		exec(t, conn, `drop view memory.main.`+quoted)
		exec(t, conn, `drop view SHOP.S.`+quoted)
	}
	t.Logf("DuckDB accepts %d of %d texts with %d words", accepted, texts, len(words))
	if accepted < texts/3 {
		t.Error("DuckDB accepts too few texts to prove anything")
	}
}

// sampledShapes is the step through the shapes for the words that the package does not know: to it they are all the same.
// It shares no factor with the numbers of shapes of a place.
const sampledShapes = 29

// requireRuns requires that what Prepare makes of a text gives DuckDB the right rows and columns.
func requireRuns(t *testing.T, conn *sql.Conn, text, full string, names []string) {
	t.Helper()
	q := requireSigmasLimits(t, text, full, sigmasql.Options{Dialect: sigmasql.DuckDB})
	if q == nil {
		return
	}
	got, rows, err := run(t.Context(), conn, full)
	if err != nil || !slices.Equal(got, names) {
		t.Errorf("%s\nhas the columns %q in full, %v; want %q", text, got, err, names)
	}
	got, n, err := run(t.Context(), conn, q.Preview(5))
	if err != nil || n != min(5, rows) || !slices.Equal(got, names) {
		t.Errorf("preview of 5 has %d rows %q, %v; of %d rows %q\n%s", n, got, err, rows, names, q.Preview(5))
	}
	if outputs, complete := q.Outputs(); complete {
		requireLabels(t, text, outputs, names)
	}
}

// requireLabels requires that the outputs with a label have the names that the warehouse gives the columns.
func requireLabels(t *testing.T, text string, outputs []sigmasql.Output, names []string) {
	t.Helper()
	for i, o := range outputs {
		if len(outputs) != len(names) || o.Label != "" && o.Label != names[i] {
			t.Errorf("%s\nhas the outputs %+v, DuckDB's are %q", text, outputs, names)
			return
		}
	}
}

// Snowflake's words are those that its documentation names, and those that other vendors know: a word that Snowflake does
// not reserve for a place is a name there.
func TestWordsAreKeywordsByPositionInSnowflake(t *testing.T) {
	const neutral = "NEUTRAL"
	reserved := snowflakeReserved(t)
	var tables []string // by shape, with the neutral word
	for _, s := range shapes {
		text, _ := s.with(neutral)
		tables = append(tables, joined(prepare(t, text, sigmasql.Options{}).Tables()))
	}
	cases := 0
	for _, word := range allWords(t, openShop(t)) {
		upper := strings.ToUpper(word)
		for i, s := range shapes {
			if s.only != nil && *s.only != sigmasql.Snowflake || slices.ContainsFunc(s.places, func(p place) bool { return reserved[word][p] }) {
				continue
			}
			cases++
			text, full := s.with(upper)
			if strings.Contains(s.text, "{w}(X, Y)") && slices.Contains([]string{"limit", "fetch", "offset"}, word) {
				continue // a limit whose number is an expression, as far as the text shows: it is kept, or refuses the text
			}
			q := requireSigmasLimits(t, text, full, sigmasql.Options{})
			if q == nil {
				continue
			}
			if got, want := joined(q.Tables()), strings.ReplaceAll(tables[i], neutral, upper); got != want {
				t.Errorf("%s\nhas the tables %s, want %s", text, got, want)
			}
		}
	}
	t.Logf("%d texts", cases)
}

func joined(tables [][]string) string {
	var list []string
	for _, parts := range tables {
		list = append(list, strings.Join(parts, "."))
	}
	return strings.Join(list, ", ")
}

// allWords returns DuckDB's keywords, Snowflake's words and the package's own, each once, in lower case.
func allWords(t *testing.T, conn *sql.Conn) []string {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "select keyword_name from duckdb_keywords()")
	if err != nil {
		t.Fatal(err)
	}
	words := ownKeywords(t)
	for rows.Next() {
		var word string
		if err := rows.Scan(&word); err != nil {
			t.Fatal(err)
		}
		words = append(words, word)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	words = append(words, wordLines(t, "testdata/snowflake-words.txt")...)
	for word := range snowflakeReserved(t) {
		words = append(words, word)
	}
	slices.Sort(words)
	if words = slices.Compact(words); len(words) < 500 {
		t.Fatalf("only %d words", len(words))
	}
	return words
}

// ownKeywords returns the words that keywordOf knows, from its source.
func ownKeywords(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keyword.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	ast.Inspect(file, func(n ast.Node) bool {
		if c, ok := n.(*ast.CaseClause); ok {
			for _, e := range c.List {
				if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
					word, err := strconv.Unquote(l.Value)
					if err != nil {
						t.Fatal(err)
					}
					words = append(words, word)
				}
			}
		}
		return true
	})
	return words
}

// snowflakeReserved returns the places for which Snowflake reserves each word.
func snowflakeReserved(t *testing.T) map[string]map[place]bool {
	t.Helper()
	reserved := map[string]map[place]bool{}
	for _, line := range wordLines(t, "testdata/snowflake-reserved.txt") {
		fields := strings.Fields(line)
		var places map[place]bool
		switch fields[1] {
		case "all":
			places = map[place]bool{tablePlace: true, aliasPlace: true, ctePlace: true, columnPlace: true, labelPlace: true}
		case "from":
			places = map[place]bool{tablePlace: true, aliasPlace: true, ctePlace: true}
		case "column":
			places = map[place]bool{columnPlace: true}
		case "label":
			places = map[place]bool{columnPlace: true, labelPlace: true}
		default:
			t.Fatalf("%q names no place", line)
		}
		reserved[fields[0]] = places
	}
	return reserved
}

// wordLines returns the lines of a file, without comments.
func wordLines(t *testing.T, path string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(read(t, path)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func exec(t *testing.T, conn *sql.Conn, statement string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
}

// run returns a statement's column names and the number of its rows.
func run(ctx context.Context, conn *sql.Conn, statement string) (names []string, n int64, err error) {
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return nil, 0, err
	}
	names, err = rows.Columns()
	for err == nil && rows.Next() {
		n++
	}
	return names, n, errors.Join(err, rows.Err(), rows.Close())
}
