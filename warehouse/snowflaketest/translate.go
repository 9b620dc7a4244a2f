package snowflaketest

import (
	"slices"
	"strings"
)

// Translate turns one statement in Snowflake's dialect into DuckDB's, as the
// server runs it. It works on tokens, never on raw text, and covers what
// Sigma's SQL uses. Known differences that remain: columns are found without
// regard to case, a column without an alias takes DuckDB's name for it, integer
// types are 64 bits wide, the quotient of two integers is a REAL, a division by
// zero gives infinity, GREATEST and LEAST leave out NULLs, OBJECT_CONSTRUCT and
// ARRAY_CONSTRUCT give a VARIANT. Without STRICT_JSON_OUTPUT a missing element of an
// ARRAY_CONSTRUCT is found as a text by what reads it within the query.
func Translate(sql string) (string, error) {
	nodes, err := parseStatement(sql)
	if err != nil {
		return "", err
	}
	return translate(nodes, sessionState{})
}

// splitStatements is parseStatements under the name that says what for.
func splitStatements(sql string) ([][]token, error) { return parseStatements(sql) }

// translator holds what the current statement's session answers.
type translator struct {
	names sessionNames
	// marksMissing keeps the difference between NULL and JSON's null as an element
	// of an array, which only the output without STRICT_JSON_OUTPUT shows.
	marksMissing bool
	catalog      catalog // or nil
}

func translate(nodes []token, state sessionState) (string, error) {
	t := &translator{names: state.names, catalog: state.catalog, marksMissing: state.params != nil && !state.isTrue(strictJSON)}
	if state.isTrue(ignoreQuotedCase) {
		nodes = foldQuoted(nodes)
	}
	if text, ok := t.definition(nodes); ok {
		return text, nil
	}
	return t.sql(nodes), nil
}

// foldQuoted returns the nodes with the quoted identifiers in upper case.
func foldQuoted(in []token) []token {
	out := slices.Clone(in)
	for i, n := range out {
		switch n.kind {
		case quoted:
			out[i].text = strings.ToUpper(n.text)
		case group:
			out[i].inner = foldQuoted(n.inner)
		}
	}
	return out
}

// sql translates a run of nodes.
func (t *translator) sql(nodes []token) string { return render(t.nodes(nodes)) }

// nodes translates a run of nodes. Each operand, however many nodes it had,
// comes out as one, so that a cast or a path finds the whole of it.
func (t *translator) nodes(in []token) []token {
	var out []token
	for i := 0; i < len(in); {
		n := in[i]
		switch {
		case n.kind == group:
			out = append(out, token{kind: raw, text: "(" + t.sql(n.inner) + ")"})
			i++
		case n.isSymbol("::") && len(out) > 0:
			typ, used := parseType(in[i+1:])
			if used == 0 { // DuckDB says that it knows no such type
				out = append(out, n)
			} else {
				out[len(out)-1] = token{kind: raw, text: typ.cast(out[len(out)-1])}
			}
			i += 1 + used
		case n.isSymbol("[") && len(out) > 0 && i+2 < len(in) && in[i+2].isSymbol("]"):
			out[len(out)-1] = token{kind: raw, text: "json_extract(" + renderOne(out[len(out)-1]) + ", " + subscript(in[i+1]) + ")"}
			i += 3
		case n.isSymbol(":") && len(out) > 0 && i+1 < len(in) && isName(in[i+1]):
			path, used := jsonPath(in[i+1:])
			out[len(out)-1] = token{kind: raw, text: "json_extract(" + render(out[len(out)-1:]) + ", " + quoteText(path) + ")"}
			i += 1 + used
		case n.is("CASE") && caseEnd(in[i:]) > 0:
			end := caseEnd(in[i:])
			out = append(out, token{kind: raw, text: "CASE " + t.sql(in[i+1:i+end]) + " END"})
			i += end + 1
		case n.kind == word || n.kind == quoted:
			var node token
			used := 0
			if node, used = t.table(in[i:], in[:i]); used > 0 {
				out = append(out, node)
				i += used
				continue
			}
			if node, used = t.clause(in[i:], out); used == 0 {
				node, used = t.name(in[i:])
				if n.is("LISTAGG") && used > 1 && !(i+used < len(in) && extendsOperand(in[i+used])) {
					node.text = "coalesce(" + node.text + ", '')" // of no rows it is empty text
				}
			} else if extendsOperand(n) {
				node.text = render(out[len(out)-1:]) + " " + node.text
				out = out[:len(out)-1]
			}
			out = append(out, node)
			i += used
		default:
			out = append(out, n)
			i++
		}
	}
	return out
}

// extendsOperand reports whether the clause belongs to the function call
// before it.
func extendsOperand(n token) bool { return n.is("OVER") || n.is("WITHIN") || n.is("FILTER") }

// clause translates what begins with a keyword and reads differently in
// DuckDB. It returns how many nodes it used, 0 where it knows nothing.
func (t *translator) clause(in, before []token) (token, int) {
	next := func(i int) token {
		if i < len(in) {
			return in[i]
		}
		return token{}
	}
	switch {
	case in[0].kind != word:
	case in[0].is("OVER") && next(1).kind == group && len(before) > 0:
		return token{kind: raw, text: "OVER (" + t.sql(next(1).inner) + ")"}, 2
	case in[0].is("FILTER") && next(1).kind == group && len(before) > 0:
		return token{kind: raw, text: "FILTER (" + t.sql(next(1).inner) + ")"}, 2
	case in[0].is("WITHIN") && next(1).is("GROUP") && next(2).kind == group && len(before) > 0:
		return token{kind: raw, text: "WITHIN GROUP (" + t.sql(next(2).inner) + ")"}, 3
	case in[0].is("MINUS"):
		return token{kind: raw, text: "EXCEPT"}, 1
	case (in[0].is("RLIKE") || in[0].is("REGEXP")) && len(before) > 0 && len(splitTokens(next(1).inner, ",")) < 2:
		return token{kind: raw, text: "SIMILAR TO"}, 1
	case in[0].is("TABLE") && next(1).kind == group:
		if text, ok := t.policyReferences(next(1).inner); ok {
			return token{kind: raw, text: text}, 2
		}
		if rows, ok := generatorRows(next(1).inner); ok {
			return token{kind: raw, text: "(SELECT range AS " + generatorColumn + " FROM range(" + t.sql(rows) + "))"}, 2
		}
	}
	return token{}, 0
}

// generatorRows reads GENERATOR(ROWCOUNT => n).
func generatorRows(in []token) ([]token, bool) {
	if len(in) != 2 || !in[0].is("GENERATOR") || in[1].kind != group {
		return nil, false
	}
	for _, arg := range splitTokens(in[1].inner, ",") {
		if len(arg) > 2 && arg[0].is("ROWCOUNT") && arg[1].isSymbol("=>") {
			return arg[2:], true
		}
	}
	return nil, false
}

// name translates a path of names with the call that may follow it.
func (t *translator) name(in []token) (token, int) {
	if len(in) > 3 && in[1].isSymbol(".") && in[2].isSymbol(".") && isName(in[3]) { // DB..T: the schema is PUBLIC
		return token{kind: raw, text: renderOne(in[0]) + ".PUBLIC." + renderOne(in[3])}, 4
	}
	end := 1
	for end+1 < len(in) && in[end].isSymbol(".") && (isName(in[end+1]) || in[end+1].isSymbol("*")) {
		end += 2
	}
	if end == 1 && in[0].kind == word {
		// DATE '2020-01-01', TIMESTAMP_NTZ(3) '…'
		if typ, used := parseType(in); typ.literal && used < len(in) && in[used].kind == text {
			return token{kind: raw, text: typ.cast(in[used])}, used + 1
		}
		if len(in) > 4 && in[1].kind == group && in[2].is("WITHIN") && in[3].is("GROUP") && in[4].kind == group {
			if text, ok := t.ordered(strings.ToUpper(in[0].text), in[1].inner, in[4].inner); ok {
				return token{kind: raw, text: text}, 5
			}
		}
		if len(in) > 1 && in[1].kind == group && !keywords[strings.ToUpper(in[0].text)] {
			return t.call(strings.ToUpper(in[0].text), in[1].inner), 2
		}
		return token{kind: word, text: strings.ToUpper(in[0].text)}, 1
	}
	var b strings.Builder
	for _, n := range in[:end] {
		b.WriteString(renderOne(n))
	}
	return token{kind: raw, text: b.String()}, end
}

// keywords may stand before a parenthesis without being called.
var keywords = map[string]bool{
	"ALL": true, "AND": true, "ANY": true, "AS": true, "BETWEEN": true, "BY": true, "DISTINCT": true, "ELSE": true,
	"EXCEPT": true, "EXISTS": true, "FROM": true, "HAVING": true, "ILIKE": true, "IN": true, "INTERSECT": true,
	"INTO": true, "IS": true, "JOIN": true, "LATERAL": true, "LIKE": true, "LIMIT": true, "NOT": true, "OFFSET": true,
	"ON": true, "OR": true, "QUALIFY": true, "RECURSIVE": true, "SELECT": true, "SET": true, "THEN": true, "UNION": true,
	"USING": true, "VALUES": true, "WHEN": true, "WHERE": true, "WITH": true,
}

func isName(n token) bool { return n.kind == word || n.kind == quoted }

// jsonPath reads what follows the colon of v:a.b[0].
func jsonPath(in []token) (path string, used int) {
	var b strings.Builder
	b.WriteString("$")
	for used < len(in) {
		switch {
		case isName(in[used]) && (used == 0 || in[used-1].isSymbol(".")):
			b.WriteString("." + quoteIdentifier(in[used].text))
			used++
		case in[used].isSymbol(".") && used+1 < len(in) && isName(in[used+1]):
			used++
		case in[used].isSymbol("[") && used+2 < len(in) && in[used+2].isSymbol("]") && in[used+1].kind == number:
			b.WriteString("[" + in[used+1].text + "]")
			used += 3
		default:
			return b.String(), used
		}
	}
	return b.String(), used
}

// subscript is the JSON path of v[0] or v['name'].
func subscript(n token) string {
	if n.kind == text {
		return quoteText("$." + quoteIdentifier(n.text))
	}
	return quoteText("$[" + n.text + "]")
}

// caseEnd returns the index of the END that closes the CASE at 0, 0 where
// nothing does.
func caseEnd(in []token) int {
	depth := 0
	for i, n := range in {
		switch {
		case n.is("CASE"):
			depth++
		case n.is("END"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return 0
}

func render(nodes []token) string {
	var b strings.Builder
	for i, n := range nodes {
		if i > 0 && !tight(nodes[i-1], n) {
			b.WriteByte(' ')
		}
		b.WriteString(renderOne(n))
	}
	return b.String()
}

// tight reports whether no space is wanted between two nodes.
func tight(a, b token) bool {
	return b.isSymbol(",") || a.isSymbol(".") || b.isSymbol(".") || b.isSymbol("]") || a.isSymbol("[") || b.isSymbol("[")
}

func renderOne(n token) string {
	switch n.kind {
	case word:
		return strings.ToUpper(n.text)
	case quoted:
		return quoteIdentifier(n.text)
	case text:
		return quoteText(n.text)
	}
	return n.text
}
