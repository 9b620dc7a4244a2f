package sigmasql_test

import (
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// sigmaText is a generated text in Sigma's shape, with the knowledge of which of its limits Sigma wrote.
type sigmaText struct {
	tokens  []string
	sigmas  []bool // by token: belongs to a preview limit
	custom  []string
	preview int64 // Sigma's number
}

// generator grows a text token by token.
type generator struct {
	*rapid.T
	sigmaText
	aliases int
}

// drawText draws a query with Sigma's limit outside and copies inside, authors' limits with other numbers, and strings,
// names and custom SQL that try to look like limits.
func drawText(t *rapid.T) sigmaText {
	g := &generator{T: t}
	g.preview = rapid.SampledFrom([]int64{201, 1000, 10001, 25001, 1000001}).Draw(t, "preview")
	if rapid.Bool().Draw(t, "with") {
		g.add("with", "Q0", "as", "(")
		g.query(2, false)
		g.add(")")
	}
	g.query(3, true)
	g.limit(g.preview, true)
	return g.sigmaText
}

func (g *generator) add(tokens ...string) {
	for _, token := range tokens {
		g.tokens = append(g.tokens, token)
		g.sigmas = append(g.sigmas, false)
	}
}

func (g *generator) limit(rows int64, sigmas bool) {
	g.add("limit", strconv.FormatInt(rows, 10))
	g.sigmas[len(g.sigmas)-1], g.sigmas[len(g.sigmas)-2] = sigmas, sigmas
}

func (g *generator) alias() string {
	g.aliases++
	return "Q" + strconv.Itoa(g.aliases)
}

func (g *generator) flip(label string) bool { return rapid.Bool().Draw(g.T, label) }

func (g *generator) oneOf(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(g.T, label)
}

// query adds a select without a limit of its own. Only a relation of a query that is itself pushable can hold a copy of
// Sigma's limit.
func (g *generator) query(depth int, pushable bool) {
	g.add("select")
	for i := range rapid.IntRange(1, 3).Draw(g.T, "columns") {
		if i > 0 {
			g.add(",")
		}
		g.expression(depth)
		g.add(g.oneOf("label", `"Label"`, `"limit 1000"`, `"a""limit 201"`, `"größe"`, `"-- Sigma Σ {}"`))
	}
	g.add("from")
	g.relation(depth, pushable)
	if g.flip("join") {
		g.add("left", "join")
		g.relation(depth, pushable)
		g.add("on", "equal_null", "(", "A", ",", "B", ")")
	}
	if g.flip("where") {
		g.add("where")
		g.expression(depth)
	}
}

func (g *generator) expression(depth int) {
	switch rapid.IntRange(0, 6).Draw(g.T, "expression") {
	case 0:
		g.add(g.oneOf("string", `'limit 1000'`, `'it''s ) limit 201'`, `'-- '`, `'/*'`, `$$ limit 1000 ; ' $$`, `''`))
	case 1:
		g.add("iff", "(", "A", ">", "1000", ",", "B", ",", "null", ")")
	case 2:
		g.add("row_number", "(", ")", "over", "(", "order", "by", "A", "rows", "between", "1000", "preceding", "and", "current", "row", ")")
	case 3:
		g.add("A", ":", ":", "timestamp_ltz")
	case 4:
		g.add("T", ".", "limit")
	case 5:
		g.add("limit", "(", "1000", ")")
	default:
		if depth == 0 {
			g.add("A")
			return
		}
		g.add("A", "in", "(")
		g.query(depth-1, false)
		g.limit(g.preview, false)
		g.add(")")
	}
}

func (g *generator) relation(depth int, pushable bool) {
	kind := rapid.IntRange(0, 5).Draw(g.T, "relation")
	if depth == 0 {
		kind = min(kind, 1)
	}
	switch kind {
	case 0, 1:
		g.add("DB", ".", "S", ".", g.oneOf("table", "T", `"limit"`), "T")
		return
	case 2:
		g.add("(")
		g.customSQL()
	case 3:
		g.add("(", "(")
		g.query(depth-1, pushable)
		g.pushed(pushable)
		g.add(")", "union", "all", "(")
		g.query(depth-1, pushable)
		g.pushed(pushable)
		g.add(")")
	case 4:
		g.add("(")
		g.query(depth-1, false)
		g.limit(rapid.Int64Range(1, 200).Draw(g.T, "author"), false)
	default:
		g.add("(")
		g.query(depth-1, pushable)
		g.pushed(pushable)
	}
	g.add(")", g.alias())
}

// pushed adds a copy of Sigma's limit, sometimes.
func (g *generator) pushed(pushable bool) {
	if pushable && g.flip("pushed") {
		g.limit(g.preview, true)
	}
}

// customSQL adds an author's query that ends in Sigma's number, and that is known to be custom SQL.
func (g *generator) customSQL() {
	start := len(g.tokens)
	g.add("select", "C"+strconv.Itoa(len(g.custom)), "from", "DB", ".", "S", ".", "T", "order", "by", "A")
	g.limit(g.preview, false)
	g.custom = append(g.custom, " "+strings.Join(g.tokens[start:], "\n\t")+" ;\n")
}

// drawWritten writes the tokens with gaps of white space and comments between them.
func (s sigmaText) drawWritten(t *rapid.T, label string) string {
	gaps := rapid.SliceOfN(rapid.SampledFrom([]string{" ", " ", " ", "\n", "\t\r\n ", " /* limit 1000 ' */ ", " -- limit 1000 \"\n",
		"/**/", " // it's\n", "\n-- Sigma Σ {\"request-id\":\"no\"}\n"}), len(s.tokens), len(s.tokens)).Draw(t, label)
	var b strings.Builder
	for i, token := range s.tokens {
		if i > 0 {
			b.WriteString(gaps[i])
		}
		b.WriteString(token)
	}
	return b.String()
}

// authors returns the tokens without Sigma's limits.
func (s sigmaText) authors() []string {
	var kept []string
	for i, token := range s.tokens {
		if !s.sigmas[i] {
			kept = append(kept, token)
		}
	}
	return kept
}

// drawComment draws what Sigma puts behind a text.
func drawComment(t *rapid.T) (comment, requestID string) {
	id := rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}`).Draw(t, "request id")
	return fmt.Sprintf("\n\n-- Sigma Σ {\"request-id\":%q,\"email\":\"ana.lima@example.com\"}", id), id
}
