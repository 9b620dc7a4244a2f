package sigmasql_test

import (
	"database/sql"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

var (
	cases = flag.Int("sigmasql.cases", 400, "the number of texts that the property test generates")
	seed  = flag.Uint64("sigmasql.seed", 20261129, "the seed of the texts that the property test generates")
	first = flag.Int("sigmasql.first", 0, "the number of the first text that the property test generates")
)

var policies = []sigmasql.LimitPolicy{sigmasql.Likelier, sigmasql.KeepAmbiguous, sigmasql.LiftAmbiguous}

// generatedShop has more rows than Sigma's smallest limits, so that a limit that stays behind loses rows.
const generatedShop = `
create schema SHOP.PUBLIC;
create table SHOP.PUBLIC.T as select 'a' || i A, 'b' || (i % 7) B from range(1003) t(i);
create view SHOP.PUBLIC."limit" as from SHOP.PUBLIC.T;
set threads = 1;
`

// Generated texts carry the truth about themselves. DuckDB runs what Prepare makes of them: no message of Sigma's comes as
// data from a column that is not named, no row is missing, and no constant or limit of the author's is lost.
func TestGeneratedTextsGiveWhatTheAuthorMeant(t *testing.T) {
	conn := openShop(t)
	exec(t, conn, generatedShop)
	t.Logf("texts %d to %d of seed %d", *first, *first+*cases-1, *seed)
	var found struct{ ran, broken, deciding, lifted, ambiguous, custom, constants int }
	for i := range *cases {
		s := randomText(*seed, uint64(*first+i))
		random := rand.New(rand.NewPCG(^*seed, uint64(*first+i)))
		text := s.written(func() string { return gaps[random.IntN(len(gaps))] })
		c := generatedCase{T: t, conn: conn, s: s, text: text, number: *first + i}
		c.requireMessages()
		c.requireConstants()
		for _, policy := range policies {
			c.requireLimits(policy)
		}
		if c.run() {
			found.ran++
		}
		if t.Failed() {
			t.Fatalf("text %d of seed %d:\n%s", c.number, *seed, strings.Join(s.texts(), " "))
		}
		for _, l := range s.limits {
			lifted, ambiguous := s.isLifted(l, sigmasql.Likelier)
			found.lifted += btoi(lifted)
			found.ambiguous += btoi(ambiguous)
		}
		for _, o := range s.outputs {
			found.broken += len(o.messages)
			found.constants += btoi(o.isConstant)
		}
		for _, decides := range s.messages {
			found.deciding += btoi(decides)
		}
		found.custom += len(s.authors)
	}
	t.Logf("%+v", found)
	if n := *cases / 10; found.ran < *cases || min(found.broken, found.deciding, found.lifted, found.ambiguous, found.custom, found.constants) < n {
		t.Errorf("too few texts to prove anything: %+v", found)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// texts returns the tokens' texts.
func (s sigmaText) texts() []string {
	var list []string
	for _, token := range s.tokens {
		list = append(list, token.text)
	}
	return list
}

// generatedCase holds a generated text against its truth.
type generatedCase struct {
	*testing.T
	conn   *sql.Conn
	s      sigmaText
	text   string
	number int
}

// requireMessages requires that the broken literals are the messages, with the columns that show them.
func (c generatedCase) requireMessages() {
	c.Helper()
	got := map[string][]string{}
	for _, b := range prepare(c, c.text, c.s.opts).BrokenLiterals() {
		if _, ok := c.s.messages[b.Value]; !ok {
			c.Errorf("%q is no message of Sigma's", b.Value)
		}
		got[b.Value] = append(got[b.Value], b.Column)
	}
	for message, decides := range c.s.messages {
		var want []string
		for _, o := range c.s.outputs {
			if slices.Contains(o.messages, message) {
				want = append(want, o.label)
			}
		}
		isLoose := c.s.hasStarInUnion // so that a message may count for more than it does
		for _, label := range want {
			if !slices.Contains(got[message], label) {
				c.Errorf("column %q shows %q: found in %q", label, message, got[message])
			}
		}
		for _, label := range got[message] {
			if label != "" && !slices.Contains(want, label) && !isLoose {
				c.Errorf("column %q does not show %q", label, message)
			}
		}
		if isBroken := decides || len(want) == 0; isBroken != slices.Contains(got[message], "") && (isBroken && len(got[message]) == 0 || decides || !isLoose) {
			c.Errorf("%q counts as one about the whole text: %v, want %v", message, !isBroken, isBroken)
		}
	}
}

// requireConstants requires that the outputs have the truth's labels and constants.
func (c generatedCase) requireConstants() {
	c.Helper()
	outputs, complete := prepare(c, c.text, c.s.opts).Outputs()
	if !complete || len(outputs) != len(c.s.outputs) {
		c.Fatalf("outputs %+v, want %+v", outputs, c.s.outputs)
	}
	for i, o := range outputs {
		want := c.s.outputs[i]
		isConstant := want.isConstant && len(want.constants) > 0
		isLoose := c.s.hasStarInUnion || c.s.reusesItem
		switch {
		case o.Label != want.label:
			c.Errorf("column %d has the label %q, want %q", i, o.Label, want.label)
		case o.IsConstant && !isConstant, isConstant && !o.IsConstant && !isLoose:
			c.Errorf("column %q is a constant: %v, want %v %q", o.Label, o.IsConstant, isConstant, want.constants)
		case o.IsConstant:
			var values []string
			for _, constant := range o.Constants {
				values = append(values, constant.Value)
			}
			if slices.Sort(values); !slices.Equal(values, slices.Sorted(slices.Values(want.constants))) {
				c.Errorf("column %q has the constants %q, want %q", o.Label, values, want.constants)
			}
		}
	}
}

// requireLimits requires that a full read leaves out the limits that the policy lifts and nothing else.
func (c generatedCase) requireLimits(policy sigmasql.LimitPolicy) {
	c.Helper()
	opts := c.s.opts
	opts.LimitPolicy = policy
	q := prepare(c, c.text, opts)
	limits := q.Limits()
	if len(limits) != len(c.s.limits) {
		c.Fatalf("%d limits, want %d", len(limits), len(c.s.limits))
	}
	for i, l := range c.s.limits {
		lifted, ambiguous := c.s.isLifted(l, policy)
		if got := limits[i]; got.Rows != l.rows || got.Preview != lifted || got.Ambiguous != ambiguous {
			c.Errorf("policy %d: limit %d is %+v, want lifted %v and ambiguous %v of %+v", policy, i, got, lifted, ambiguous, l)
		}
	}
	full := strings.Join(texts(q.Full()), " ")
	if want := strings.Join(texts(strings.Join(c.s.kept(policy), " ")), " "); full != want {
		c.Errorf("policy %d in full:\n%s\nwant:\n%s", policy, full, want)
	}
	for _, author := range c.s.authors {
		if !strings.Contains(full, strings.Join(texts(author), " ")) {
			c.Errorf("policy %d: custom SQL has changed: %s\n%s", policy, author, full)
		}
	}
}

// run runs the text on DuckDB under each policy that makes another statement of it.
func (c generatedCase) run() bool {
	c.Helper()
	var ran []string
	for _, policy := range policies {
		opts := c.s.opts
		opts.LimitPolicy = policy
		q := prepare(c, c.text, opts)
		if slices.Contains(ran, q.Full()) {
			continue
		}
		ran = append(ran, q.Full())
		names, rows, values, err := c.query(q.Full())
		if err != nil {
			c.Errorf("%v\n%s", err, q.Full())
			return false
		}
		outputs, _ := q.Outputs()
		requireLabels(c.T, c.text, outputs, names)
		c.requireDelivered(q, names, values)
		previewed, n, _, err := c.query(q.Preview(9))
		if err != nil || n > 9 || !slices.Equal(previewed, names) {
			c.Errorf("policy %d previews %d rows %q, want %q, %v", policy, n, previewed, names, err)
		}
		if c.s.isFirm(policy) {
			_, want, _, err := c.query(strings.Join(c.s.kept(policy), " "))
			if err != nil || rows != want || n != min(9, rows) {
				c.Errorf("policy %d gives %d rows and previews %d, want %d, %v", policy, rows, n, want, err)
			}
		}
	}
	return true
}

// isFirm reports whether a full read has the same number of rows each time: an inner limit without an order keeps any rows.
func (s sigmaText) isFirm(policy sigmasql.LimitPolicy) bool {
	return !slices.ContainsFunc(s.limits, func(l limitTruth) bool {
		lifted, _ := s.isLifted(l, policy)
		return !l.isOuter && !lifted
	})
}

// requireDelivered requires of the values that DuckDB returns that each message is in a column that the query names, and
// that a constant column has its constants only.
func (c generatedCase) requireDelivered(q *sigmasql.Query, names []string, values []map[string]bool) {
	c.Helper()
	broken := map[string]bool{}
	isWhole := false
	for _, b := range q.BrokenLiterals() {
		broken[b.Column] = true
		isWhole = isWhole || b.Column == ""
	}
	outputs, _ := q.Outputs()
	for i, name := range names {
		for value := range values[i] {
			for message := range c.s.messages {
				if strings.Contains(value, message) && !broken[name] && !isWhole {
					c.Errorf("column %q delivers %q", name, value)
				}
			}
			isOne := slices.ContainsFunc(outputs[i].Constants, func(l sigmasql.Literal) bool { return l.Value == value })
			if outputs[i].IsConstant && !isOne {
				c.Errorf("column %q is no constant: %q", name, value)
			}
		}
	}
}

// query returns the names of a statement's columns, the number of its rows, and the values of each column.
func (c generatedCase) query(statement string) (names []string, n int64, values []map[string]bool, err error) {
	rows, err := c.conn.QueryContext(c.Context(), withSchema(statement))
	if err != nil {
		return nil, 0, nil, err
	}
	names, err = rows.Columns()
	cells, into := make([]sql.NullString, len(names)), make([]any, len(names))
	values = make([]map[string]bool, len(names))
	for i := range cells {
		into[i], values[i] = &cells[i], map[string]bool{}
	}
	for err == nil && rows.Next() {
		n++
		err = rows.Scan(into...)
		for i, cell := range cells {
			if cell.Valid && len(values[i]) < 64 {
				values[i][cell.String] = true
			}
		}
	}
	return names, n, values, errors.Join(err, rows.Err(), rows.Close())
}

// withSchema writes the schema between two dots, which DuckDB does not know to be PUBLIC.
func withSchema(statement string) string {
	var b strings.Builder
	afterDot := false
	for token := range sigmasql.Tokens(statement, sigmasql.DuckDB) {
		text := statement[token.Start:token.End]
		if token.Kind > sigmasql.BlockComment {
			if afterDot && text == "." {
				b.WriteString("PUBLIC")
			}
			afterDot = text == "."
		}
		b.WriteString(text)
	}
	return b.String()
}
