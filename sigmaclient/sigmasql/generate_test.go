package sigmasql_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// sigmaText is a generated text in Sigma's shape, with the truth about it: it is known by construction.
type sigmaText struct {
	tokens  []sqlToken
	opts    sigmasql.Options
	limits  []limitTruth // in the order in which they stand in the text
	outputs []column
	// messages are the messages of Sigma's in select lists outside custom SQL, and whether one decides about the rows.
	messages map[string]bool
	// authors are the texts of the author's constants and limits in custom SQL.
	authors []string
	// hasStarInUnion is set where a star is an operand of a set operator, so that the text alone does not show which column of
	// the other operand belongs to which name.
	hasStarInUnion bool
	// reusesItem is set where an item names one before it, which a table's column of the same name would hide.
	reusesItem bool
}

// sqlToken is a token of a text.
type sqlToken struct {
	text  string
	limit *limitTruth // that the token belongs to, or nil
}

// limitTruth is what is known of a limit.
type limitTruth struct {
	rows      int64
	isCustom  bool // in custom SQL that the caller knows
	isOuter   bool
	isPlain   bool // a limit without an offset, and no fetch
	isPushed  bool // only relations lie between the limit and the whole
	isHarmful bool // a query on the way makes other first rows of the whole
}

// column is a column of a query with what it holds.
type column struct {
	name     string // as a query around it writes it
	label    string // as the warehouse returns it
	messages []string
	// constants are all that the column holds, but nulls, if isConstant.
	constants  []string
	isConstant bool
	hasQuery   bool // the expression has a query in it, so that DuckDB refuses to use it again in the same list
}

// around is what the queries around a query do.
type around struct {
	isPushed, isHarmful, isOrdered, isRootOrdered bool
}

// features are what a query does, decided before the query is written.
type features struct {
	isDistinct, filters, groups, isOrdered, unionsAll, unions, isBracketed bool
	join                                                                   string // of a second relation
	limit                                                                  string // the number or what else bounds it
}

// generator grows a text.
type generator struct {
	sigmaText
	intN          func(n int) int
	isCustomKnown bool
	names         int
	aliases       []string // that are no numbered names
	ctes          []relationTruth
}

// relationTruth is something to select from.
type relationTruth struct {
	alias   string
	columns []column
}

// drawText draws a text for the laws, which need no warehouse.
func drawText(t *rapid.T) sigmaText {
	return generate(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") })
}

// randomText returns the text of a number, the same each time.
func randomText(seed, number uint64) sigmaText {
	return generate(rand.New(rand.NewPCG(seed, number)).IntN)
}

func generate(intN func(int) int) sigmaText {
	g := &generator{intN: intN}
	g.messages = map[string]bool{}
	g.isCustomKnown = !g.oneIn(5)
	g.opts.CustomSQLUnknown = !g.isCustomKnown
	if g.oneIn(2) {
		g.opts.Dialect = sigmasql.DuckDB
	}
	root := g.features(true)
	var text []sqlToken
	for range g.intN(3) {
		text = append(text, g.cte(len(g.ctes) == 0, root.isOrdered)...)
	}
	query, columns := g.query(root, around{isPushed: true, isRootOrdered: root.isOrdered}, 3, 0, true)
	g.tokens, g.outputs = append(text, query...), columns
	for i, token := range g.tokens {
		if token.limit != nil && (i == 0 || g.tokens[i-1].limit != token.limit) {
			g.limits = append(g.limits, *token.limit)
		}
	}
	return g.sigmaText
}

// The generator's choices.

func (g *generator) oneIn(n int) bool { return g.intN(n) == n-1 }

func pick[T any](g *generator, of ...T) T { return of[g.intN(len(of))] }

func (g *generator) number() string {
	g.names++
	return strconv.Itoa(g.names)
}

func tokens(texts ...string) []sqlToken {
	var list []sqlToken
	for _, text := range texts {
		list = append(list, sqlToken{text: text})
	}
	return list
}

// alias returns a name for a relation, often one that spells a keyword of some dialect. No two are equal in a text.
func (g *generator) alias() string {
	if g.oneIn(3) {
		name := pick(g, "over", "key", "no", "share", "first", "next", "count", "date", "materialized", "recursive", `"limit 1000"`, `"größe"`)
		if !slices.Contains(g.aliases, name) {
			g.aliases = append(g.aliases, name)
			return name
		}
	}
	return "Q" + g.number()
}

// label returns a name for a column, quoted as Sigma quotes display names, or bare as Sigma's inner names are.
func (g *generator) label(isRoot bool) string {
	n := g.number()
	if isRoot {
		return pick(g, `"Column `, `"limit 1000 `, `"a""limit 201`, `"größe`, `"-- Sigma Σ {}`, `"__cond_`, `"sort-a1B2-`, `"a1B2-min`, `"group by all `) + n + `"`
	}
	return pick(g, "V_", "IF_", "over_", "limit_", `"Inner `) + n
}

// closed ends a quoted label.
func closed(label string) string {
	if strings.HasPrefix(label, `"`) && !strings.HasSuffix(label, `"`) {
		return label + `"`
	}
	return label
}

// unquoted returns what the warehouse calls a column.
func unquoted(name string) string {
	if strings.HasPrefix(name, `"`) {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return name
}

// features decides what a query does.
func (g *generator) features(isRoot bool) features {
	f := features{isOrdered: g.oneIn(6), filters: g.oneIn(5), groups: g.oneIn(9), isDistinct: g.oneIn(12)}
	f.join = pick(g, "", "", "", "left join", "join", ",")
	switch g.intN(8) {
	case 0:
		f.unionsAll = true
	case 1:
		f.unions = true
	}
	if f.isBracketed = g.oneIn(2); f.isBracketed && (f.unions || f.unionsAll) { // its operands do the rest
		f.filters, f.groups, f.isDistinct, f.join = false, false, false, ""
	}
	f.limit = pick(g, "", "", "1000", "1000", "1001", "97001", "1000000", "201", "1", "7", "250", "fetch", "offset")
	if isRoot && g.oneIn(2) {
		f.limit = "1000"
	}
	return f
}

// query writes a query with its limit and returns its columns. An arity of 0 is any.
func (g *generator) query(f features, above around, depth, arity int, isRoot bool) ([]sqlToken, []column) {
	within := above
	reduces := f.filters || f.groups || f.isDistinct
	merges := f.join == "join" || f.join == "," || f.unions
	within.isHarmful = above.isHarmful || reduces || merges || f.limit == "offset" || !isRoot && f.limit != ""
	within.isOrdered = above.isOrdered || f.isOrdered
	var text []sqlToken
	var columns []column
	if f.unions || f.unionsAll {
		text, columns = g.union(f, within, depth, arity, isRoot)
	} else {
		text, columns = g.operand(f, within, depth, arity, isRoot)
	}
	if f.isOrdered {
		text = append(text, tokens("order", "by")...)
		text = append(text, tokens(pick(g, []string{"1", "asc"}, []string{"1"}, []string{"1", "desc", "nulls", "last"})...)...)
	}
	harmful := above.isHarmful || f.isOrdered != above.isRootOrdered || above.isOrdered && !f.isOrdered
	return append(text, g.limit(f.limit, limitTruth{isOuter: isRoot, isPushed: above.isPushed, isHarmful: harmful})...), columns
}

// limit writes a limit. The kind is its number, or another form of a limit.
func (g *generator) limit(kind string, truth limitTruth) []sqlToken {
	switch kind {
	case "":
		return nil
	case "fetch":
		truth.rows = 60
		return limitTokens(&truth, "fetch", "first", "60", "rows", "only")
	case "offset":
		truth.rows = 1000
		return append(limitTokens(&truth, "limit", "1000"), tokens("offset", "0")...)
	}
	truth.isPlain = true
	rows, err := strconv.ParseInt(kind, 10, 64)
	if err != nil {
		panic(err)
	}
	truth.rows = rows
	return limitTokens(&truth, "limit", kind)
}

func limitTokens(truth *limitTruth, texts ...string) []sqlToken {
	list := tokens(texts...)
	for i := range list {
		list[i].limit = truth
	}
	return list
}

// union writes two operands, in brackets with limits of their own or without.
func (g *generator) union(f features, within around, depth, arity int, isRoot bool) ([]sqlToken, []column) {
	first, columns := g.unionOperand(f, within, depth, arity, isRoot)
	g.hasStarInUnion = g.hasStarInUnion || slices.ContainsFunc(first, func(t sqlToken) bool { return t.text == "*" })
	second, others := g.unionOperand(f, within, depth, len(columns), false)
	word := tokens("union", "all")
	if f.unions {
		word = tokens("union")
	}
	for i := range columns {
		columns[i].messages = merged(columns[i].messages, others[i].messages)
		columns[i].constants = merged(columns[i].constants, others[i].constants)
		columns[i].isConstant = columns[i].isConstant && others[i].isConstant
		if f.unions {
			g.decide(columns[i])
		}
	}
	return slices.Concat(first, word, second), columns
}

func (g *generator) unionOperand(f features, within around, depth, arity int, isRoot bool) ([]sqlToken, []column) {
	if !f.isBracketed {
		f.isOrdered = false
		return g.operand(f, within, depth, arity, isRoot)
	}
	inner := features{filters: g.oneIn(5), limit: pick(g, "", "1000", "1001", "7")}
	operand := within
	operand.isHarmful = within.isHarmful || inner.filters || inner.limit != ""
	text, columns := g.operand(inner, operand, depth, arity, isRoot)
	harmful := within.isHarmful || within.isRootOrdered || within.isOrdered
	text = append(text, g.limit(inner.limit, limitTruth{isPushed: within.isPushed, isHarmful: harmful})...)
	return slices.Concat(tokens("("), text, tokens(")")), columns
}

// decide notes that a column's messages decide about the rows.
func (g *generator) decide(c column) {
	for _, m := range c.messages {
		g.messages[m] = true
	}
}

func merged(a, b []string) []string {
	list := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// operand writes a select.
func (g *generator) operand(f features, within around, depth, arity int, isRoot bool) ([]sqlToken, []column) {
	from, relations := g.from(f, within, depth)
	text := tokens("select")
	if f.isDistinct {
		text = append(text, tokens("distinct")...)
	}
	var columns []column
	canStar := arity == 0 && !f.groups && !isRoot
	switch star := g.intN(6); {
	case canStar && star == 0:
		text = append(text, tokens("*")...)
		for _, r := range relations {
			columns = append(columns, r.columns...)
		}
	case canStar && star == 1:
		text = append(text, tokens(relations[0].alias, ".", "*")...)
		columns = slices.Clone(relations[0].columns)
	}
	if arity == 0 {
		arity = max(len(columns)+g.intN(3), 1)
	}
	names := len(columns)
	for i := len(columns); i < arity; i++ {
		if i > 0 {
			text = append(text, tokens(",")...)
		}
		item, c := g.item(relations, columns[names:], depth, f.groups && i == arity-1)
		label := closed(g.label(isRoot))
		if g.oneIn(4) {
			item = append(item, tokens("as")...)
		}
		text = append(text, append(item, tokens(label)...)...)
		c.name, c.label = label, unquoted(label)
		columns = append(columns, c)
	}
	text = append(text, from...)
	if f.filters {
		text = append(text, g.filter(relations)...)
	}
	if f.groups {
		text = append(text, tokens("group", "by", "all")...)
	}
	if f.groups || f.isDistinct {
		for _, c := range columns {
			g.decide(c)
		}
	}
	return text, columns
}

// filter writes a condition about a column.
func (g *generator) filter(relations []relationTruth) []sqlToken {
	name, c := g.reference(relations)
	g.decide(c)
	text := slices.Concat(tokens("where"), name, tokens("is", "not", "null"))
	if len(g.ctes) > 0 && g.oneIn(3) { // through a subquery
		name, c := g.reference(g.ctes[:1])
		g.decide(c)
		text = slices.Concat(text, tokens("or", "'x'", "in", "(", "select"), name[len(name)-1:], tokens("||", "'x'", "from", g.ctes[0].alias, ")"))
	}
	return text
}

// reference writes the name of a column of a relation.
func (g *generator) reference(relations []relationTruth) ([]sqlToken, column) {
	r := pick(g, relations...)
	c := pick(g, r.columns...)
	c.hasQuery = false
	same := 0
	for _, other := range relations {
		for _, o := range other.columns {
			if strings.EqualFold(unquoted(o.name), unquoted(c.name)) {
				same++
			}
		}
	}
	if same > 1 || g.oneIn(2) {
		return tokens(r.alias, ".", c.name), c
	}
	return tokens(c.name), c
}

// item writes an item of a select list without its label.
func (g *generator) item(relations []relationTruth, before []column, depth int, aggregates bool) ([]sqlToken, column) {
	if aggregates {
		return tokens("count", "(", "1", ")", "::", "varchar"), column{}
	}
	switch g.intN(9) {
	case 0:
		message := g.message()
		if _, known := g.messages[message]; !known {
			g.messages[message] = false
		}
		text, c := g.wrapped(tokens(quoted(message)), column{messages: []string{message}, constants: []string{message}, isConstant: true})
		return text, c
	case 1:
		author := pick(g, "Author ", "Delivery expected 1 day late ", "limit 1000 ", "it's ) limit 201 ", "-- ", "/* ", "Unknown column of the year ") + g.number()
		return g.wrapped(tokens(quoted(author)), column{constants: []string{author}, isConstant: true})
	case 2:
		return tokens("null"), column{isConstant: true}
	case 3, 4:
		return g.expression(relations, before, depth)
	case 5:
		if len(before) > 0 { // an item before it in the same list
			c := pick(g, before...)
			if !ambiguous(c, relations) && !c.hasQuery {
				g.reusesItem = true
				return g.wrapped(tokens(c.name), c)
			}
		}
	}
	name, c := g.reference(relations)
	return g.wrapped(name, c)
}

func ambiguous(c column, relations []relationTruth) bool {
	return slices.ContainsFunc(relations, func(r relationTruth) bool {
		return slices.ContainsFunc(r.columns, func(o column) bool { return strings.EqualFold(unquoted(o.name), unquoted(c.name)) })
	})
}

// wrapped puts brackets around an expression, or a cast, which change nothing about what it holds.
func (g *generator) wrapped(text []sqlToken, c column) ([]sqlToken, column) {
	switch g.intN(6) {
	case 0:
		text = slices.Concat(tokens("("), text, tokens(")"))
	case 1:
		text = slices.Concat(text, tokens("::", "varchar"))
	case 2:
		text = slices.Concat(tokens("cast", "("), text, tokens("as", "varchar", "(", "4000", ")", ")"))
	case 3:
		text = slices.Concat(tokens("(", "("), text, tokens(")", "::", "text", ")"))
	}
	return text, c
}

// expression writes an expression whose value comes from several columns or constants.
func (g *generator) expression(relations []relationTruth, before []column, depth int) ([]sqlToken, column) {
	other, b := g.item(relations, before, depth, false)
	if len(g.ctes) > 0 && g.oneIn(4) { // a query within the expression
		inner := g.ctes[0]
		name, a := g.reference([]relationTruth{inner})
		return slices.Concat(tokens("(", "select", "max", "("), name, tokens("::", "varchar", ")", "from", inner.alias, ")", "||"), other, tokens("::", "varchar")),
			column{messages: merged(a.messages, b.messages), hasQuery: true}
	}
	one, a := g.item(relations, before, depth, false)
	c := column{messages: merged(a.messages, b.messages), hasQuery: a.hasQuery || b.hasQuery}
	switch g.intN(3) {
	case 0:
		return slices.Concat(tokens("coalesce", "("), one, tokens("::", "varchar", ","), other, tokens("::", "varchar", ")")), c
	case 1:
		return slices.Concat(tokens("case", "when", "1", "=", "2", "then"), one, tokens("::", "varchar", "else"), other, tokens("::", "varchar", "end")), c
	}
	return slices.Concat(one, tokens("::", "varchar", "||"), other, tokens("::", "varchar")), c
}

// message returns a text in one of the forms of Sigma's messages, unlike any other of the text.
func (g *generator) message() string {
	n := g.number()
	return strings.ReplaceAll(pick(g, `Unknown column "[Col #]"`, `Unknown column [a1B2-#]`, `Unknown column "[Customer's #]"`, "Unknown function NTile#",
		"Reference to errored column: [a1B2-c#]", "Circular column reference to [C #]", "Date# expected 1 argument, got 3", "Max expected 1 argument, got #",
		"Argument # invalid for function DateDiff", `Column "Due #" does not exist`), "#", n)
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// from writes a from clause with one or two relations.
func (g *generator) from(f features, within around, depth int) ([]sqlToken, []relationTruth) {
	first, r := g.relation(within, depth)
	text := append(tokens("from"), first...)
	relations := []relationTruth{r}
	if f.join == "" {
		return text, relations
	}
	within.isHarmful = true
	var second []sqlToken
	var other relationTruth
	if f.join == "left join" {
		second, other = g.relation(within, 0)
	} else {
		second, other = g.oneRow()
	}
	relations = append(relations, other)
	if f.join == "," {
		return slices.Concat(text, tokens(","), second), relations
	}
	compare := "<>"
	if f.join == "left join" { // no row of the second relation fits, so that rows do not multiply
		compare = "="
	}
	left, c := g.reference(relations[:1])
	g.decide(c)
	right, d := g.reference(relations[1:])
	g.decide(d)
	text = append(text, tokens(strings.Fields(f.join)...)...)
	qualified := func(r relationTruth, name []sqlToken) []sqlToken {
		return append(tokens(r.alias, "."), name[len(name)-1])
	}
	return slices.Concat(text, second, tokens("on"), qualified(r, left), tokens(compare, "'x'", "and"), qualified(other, right), tokens(compare, "'x'")), relations
}

// oneRow writes a relation of one row.
func (g *generator) oneRow() ([]sqlToken, relationTruth) {
	alias, label := g.alias(), closed(g.label(false))
	message := g.message()
	g.messages[message] = false
	c := column{name: label, label: unquoted(label), messages: []string{message}, constants: []string{message}, isConstant: true}
	return slices.Concat(tokens("(", "select", quoted(message), label, ")", alias)), relationTruth{alias: alias, columns: []column{c}}
}

// relation writes something to select from: a table, a common table expression, custom SQL or a query.
func (g *generator) relation(within around, depth int) ([]sqlToken, relationTruth) {
	kind := g.intN(7)
	switch {
	case kind == 0 && len(g.ctes) > 0:
		c := pick(g, g.ctes...)
		alias := g.alias()
		return tokens(c.alias, alias), relationTruth{alias: alias, columns: c.columns}
	case kind == 1:
		return g.customSQL(within)
	case kind < 5 && depth > 0:
		f := g.features(false)
		text, columns := g.query(f, within, depth-1, 0, false)
		alias := g.alias()
		return slices.Concat(tokens("("), text, tokens(")", alias)), relationTruth{alias: alias, columns: columns}
	}
	return g.table()
}

func (g *generator) table() ([]sqlToken, relationTruth) {
	alias := g.alias()
	columns := []column{{name: "A"}, {name: "B"}}
	name := tokens("SHOP", ".", "PUBLIC", ".", pick(g, "T", `"limit"`), alias)
	if g.opts.Dialect == sigmasql.Snowflake && g.oneIn(2) {
		name = tokens("SHOP", ".", ".", "T", alias)
	}
	for i := range columns {
		columns[i].label = columns[i].name
	}
	return name, relationTruth{alias: alias, columns: columns}
}

// customSQL writes an author's query, with constants and a limit that look like Sigma's.
func (g *generator) customSQL(within around) ([]sqlToken, relationTruth) {
	constant := g.message()
	name := "C_" + g.number()
	within.isHarmful = within.isHarmful || within.isOrdered || within.isRootOrdered
	limit := limitTruth{isCustom: g.isCustomKnown, isPushed: within.isPushed, isHarmful: within.isHarmful}
	bound := g.limit(pick(g, "1000", "1001", "7", "1000000"), limit)
	text := slices.Concat(tokens("select", "A", ",", quoted(constant), name, "from", "SHOP", ".", "PUBLIC", ".", "T"), bound)
	c := column{name: name, label: name}
	if g.isCustomKnown {
		var definition []string
		for _, token := range text {
			definition = append(definition, token.text)
		}
		g.opts.CustomSQL = append(g.opts.CustomSQL, " "+strings.Join(definition, "\n\t")+" ;\n")
		g.authors = append(g.authors, strings.Join(definition, " "))
	} else {
		g.messages[constant] = false
		c.messages, c.constants, c.isConstant = []string{constant}, []string{constant}, true
	}
	alias := g.alias()
	return slices.Concat(tokens("("), text, tokens(")", alias)), relationTruth{alias: alias, columns: []column{{name: "A", label: "A"}, c}}
}

// cte writes a common table expression.
func (g *generator) cte(isFirst, isRootOrdered bool) []sqlToken {
	name := "Q" + g.number()
	f := g.features(false)
	text, columns := g.query(f, around{isPushed: true, isHarmful: true, isOrdered: isRootOrdered, isRootOrdered: isRootOrdered}, 1, 0, false)
	word := tokens(",")
	if isFirst {
		word = tokens("with")
	}
	g.ctes = append(g.ctes, relationTruth{alias: name, columns: columns})
	return slices.Concat(word, tokens(name, "as", "("), text, tokens(")"))
}

// The truth about a text.

// isSigmasNumber reports whether Sigma is known to write limits of so many rows.
func isSigmasNumber(rows int64) bool {
	return rows == 1000 || rows == 1_000_000 || rows != 1 && rows%100 == 1
}

// isLifted reports whether a full read under the policy leaves the limit out, and whether the limit is ambiguous.
func (s sigmaText) isLifted(l limitTruth, policy sigmasql.LimitPolicy) (isLifted, isAmbiguous bool) {
	var outer *limitTruth
	hasCopy := false
	for i := range s.limits {
		if o := &s.limits[i]; o.isOuter && o.isPlain && isSigmasNumber(o.rows) {
			outer = o
		}
	}
	for _, o := range s.limits {
		hasCopy = hasCopy || outer != nil && !o.isOuter && !o.isCustom && o.isPlain && o.isPushed && o.rows == outer.rows
	}
	isSigmas := l.isPlain && isSigmasNumber(l.rows)
	switch {
	case l.isCustom:
		return false, false
	case !isSigmas:
		isAmbiguous = true
	case l.isOuter:
		isLifted, isAmbiguous = true, l.rows != 1000 && !hasCopy
	case outer != nil && l.rows == outer.rows:
		isLifted, isAmbiguous = l.isPushed, !l.isPushed || l.isHarmful
	default:
		isLifted, isAmbiguous = l.isPushed && (outer != nil || l.rows != 1000), true
	}
	isAmbiguous = isAmbiguous || isLifted && !l.isOuter && s.opts.CustomSQLUnknown
	if isAmbiguous && policy != sigmasql.Likelier {
		isLifted = policy == sigmasql.LiftAmbiguous && l.isPlain
	}
	return isLifted, isAmbiguous
}

// kept returns the tokens without the limits that a full read under the policy leaves out.
func (s sigmaText) kept(policy sigmasql.LimitPolicy) []string {
	var list []string
	for _, token := range s.tokens {
		if token.limit != nil {
			if lifted, _ := s.isLifted(*token.limit, policy); lifted {
				continue
			}
		}
		list = append(list, token.text)
	}
	return list
}

// gaps are what can stand between two tokens in every dialect.
var gaps = []string{" ", " ", " ", "\n", "\t\r\n ", " /* limit 1000 ' */ ", " -- limit 1000 \"\n", "/**/", "\n-- Sigma Σ {\"request-id\":\"no\"}\n"}

// written writes the tokens with gaps between them.
func (s sigmaText) written(gap func() string) string {
	var b strings.Builder
	for i, token := range s.tokens {
		if i > 0 {
			b.WriteString(gap())
		}
		b.WriteString(token.text)
	}
	return b.String()
}

// drawWritten writes the tokens with gaps of white space and comments between them.
func (s sigmaText) drawWritten(t *rapid.T, label string) string {
	all := gaps
	if s.opts.Dialect == sigmasql.Snowflake {
		all = append(slices.Clone(gaps), " // it's\n")
	}
	return s.written(func() string { return rapid.SampledFrom(all).Draw(t, label) })
}

// drawComment draws what Sigma puts behind a text.
func drawComment(t *rapid.T) (comment, requestID string) {
	id := rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}`).Draw(t, "request id")
	return fmt.Sprintf("\n\n-- Sigma Σ {\"request-id\":%q,\"email\":\"ana.lima@example.com\"}", id), id
}
