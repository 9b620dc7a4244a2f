package sigmasql_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// repeated writes n parts with a separator between them.
func repeated(n int, separator string, part func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(part(i))
	}
	return b.String()
}

// grown are texts of a size that a hostile or broken source could send. Each has a message at its source, which must come
// out named, or as one about the whole text where a bound ends the tracing.
var grown = map[string]func(n int) string{
	"common table expressions, each from the one before": func(n int) string {
		return "with Q0 as (select 'Incomplete formula' A from T), " + repeated(n, ", ", func(i int) string {
			return fmt.Sprintf("Q%d as (select A from Q%d)", i+1, i)
		}) + fmt.Sprintf(" select A \"A\" from Q%d limit 1000", n)
	},
	"common table expressions, each from the two before": func(n int) string {
		return "with Q0 as (select 'Incomplete formula' A from T), Q1 as (select * from Q0), " + repeated(n, ", ", func(i int) string {
			return fmt.Sprintf("Q%d as (select * from Q%d L, Q%d R)", i+2, i, i+1)
		}) + fmt.Sprintf(" select A \"A\" from Q%d limit 1000", n+1)
	},
	"columns through many renames": func(n int) string {
		text := "select 'Incomplete formula' C0_0, " + repeated(n, ", ", func(i int) string { return fmt.Sprintf("X%d C0_%d", i+1, i+1) }) + " from T"
		for level := range 50 {
			text = "select " + repeated(n+1, ", ", func(i int) string { return fmt.Sprintf("Q.C%d_%d C%d_%d", level, i, level+1, i) }) + " from (" + text + " limit 1000) Q"
		}
		return text + " limit 1000"
	},
	"a wide union all": func(n int) string {
		return "select A \"A\" from (" + repeated(n, " union all ", func(i int) string { return fmt.Sprintf("select V%d A from T%d", i, i) }) +
			" union all select 'Incomplete formula' from T) Q limit 1000"
	},
	"a wide union all of stars": func(n int) string {
		return "select A \"A\" from (select 'Incomplete formula' A, B from T union all " + repeated(n, " union all ", func(i int) string { return "select * from (select A, B from T) Q" }) +
			") Q limit 1000"
	},
	"a wide join": func(n int) string {
		return "select Q0.A \"A\" from (select 'Incomplete formula' A, K from T) Q0" + repeated(n, "", func(i int) string {
			return fmt.Sprintf(" left join (select K, V V%d from T%d limit 1000) Q%d on Q0.K = Q%d.K", i+1, i+1, i+1, i+1)
		}) + " limit 1000"
	},
	"names of a wide join without qualifiers": func(n int) string {
		return "select " + repeated(n, ", ", func(i int) string { return fmt.Sprintf("V%d \"C%d\"", i, i) }) + " from (select 'Incomplete formula' V0) Q0" + repeated(n, "", func(i int) string {
			return fmt.Sprintf(" join (select K, V V%d from T) Q%d on V%d = 1", i+1, i+1, i)
		})
	},
	"items that name the ones before": func(n int) string {
		return "select 'Incomplete formula' V0, " + repeated(n, ", ", func(i int) string { return fmt.Sprintf("V%d || 'x' V%d", i, i+1) }) + " from T limit 1000"
	},
	"groups joined back, one around the other": func(n int) string {
		n = min(n, 300)
		text := "select 'Incomplete formula' A, S from T"
		for i := range n {
			text = fmt.Sprintf("select L.A, L.S, R.C_%d from (%s) L left join (select S, count(1) C_%d from T group by S) R on equal_null(L.S, R.S)", i, text, i)
		}
		return "select A \"A\", S \"S\" from (" + text + ") Q limit 1000"
	},
	"groups joined back, side by side": func(n int) string {
		return "select Q.A \"A\"" + repeated(n, "", func(i int) string { return fmt.Sprintf(", G%d.C C%d", i, i) }) + " from (select 'Incomplete formula' A, S from T) Q" + repeated(n, "", func(i int) string {
			return fmt.Sprintf(" left join (select S, count(1) C from T group by S) G%d on equal_null(Q.S, G%d.S)", i, i)
		}) + " limit 1000"
	},
	"groups of common table expressions, each from the one before": func(n int) string {
		return "with Q0 as (select 'Incomplete formula' A, count(1) C from T group by A), " + repeated(n, ", ", func(i int) string {
			return fmt.Sprintf("Q%d as (select * from Q%d)", i+1, i)
		}) + " select Q0.A \"A\" from Q0 " + repeated(n, " ", func(i int) string { return fmt.Sprintf("left join Q%d on equal_null(Q0.A, Q%d.A)", i+1, i+1) }) + " limit 1000"
	},
	"values without an order": func(n int) string {
		return "select 'Incomplete formula' \"A\", " + repeated(n, ", ", func(i int) string {
			return fmt.Sprintf("row_number() over (partition by B%d order by null) N%d, iff(count(B) > 1, '*', any_value(C)) L%d", i, i, i)
		}) + " from T limit 1000"
	},
	"dates of the local zone": func(n int) string {
		return "select 'Incomplete formula' \"A\" from T where " + repeated(n, " and ", func(i int) string {
			return fmt.Sprintf("C%d >= to_timestamp_ltz('%04d-01-01T00:00:00-05:00', 'TZH') and date_part(week, D%d) = 1 and E = 'a%d@example.com' and (X = null or current_date > Y)", i, 1000+i%9000, i, i)
		}) + " limit 1000\n-- Sigma Σ {\"email\":\"b@example.com\"}"
	},
	"messages": func(n int) string {
		return "select " + repeated(n, ", ", func(i int) string { return fmt.Sprintf("'Unknown column \"[C%d]\"' \"C%d\"", i, i) }) + " from T limit 1000"
	},
	"messages in one expression": func(n int) string {
		return "select " + repeated(n, " || ", func(i int) string { return fmt.Sprintf("'Unknown column \"[C%d]\"'", i) }) + " \"A\" from T limit 1000"
	},
	"nested queries in expressions": func(n int) string {
		n = min(n, 400)
		return strings.Repeat("select (", n) + "select 'Incomplete formula'" + strings.Repeat(") A from T", n) + " limit 1000"
	},
	"queries in one filter": func(n int) string {
		return "select 'Incomplete formula' \"A\" from T where " + repeated(n, " and ", func(i int) string { return "B in (select C from U)" }) + " limit 1000"
	},
	"groupings": func(n int) string {
		return "select 'Incomplete formula' \"A\" from T group by all union select A from (" + repeated(n, " union ", func(i int) string { return "select distinct A, B from T group by 1, 2" }) + ") Q"
	},
	"limits": func(n int) string {
		return "select 'Incomplete formula' \"A\" from T, " + repeated(n, ", ", func(i int) string { return fmt.Sprintf("(select * from T%d limit 1000) Q%d", i, i) }) + " limit 1000"
	},
	"comments": func(n int) string {
		return "select 'Incomplete formula' " + repeated(n, "\n", func(i int) string { return "/* limit 1000 ' */ -- \"" }) + "\n\"A\" from T limit 1000"
	},
	"words that spell set operators": func(n int) string {
		return "select 'Incomplete formula' \"A\", " + repeated(n, ", ", func(i int) string { return "A except" }) + " from T limit 1000"
	},
}

// The work for a text grows with its length. Steps through the columns and bytes of memory stand for the time.
func TestWorkGrowsWithTheText(t *testing.T) {
	for name, text := range grown {
		t.Run(name, func(t *testing.T) {
			const n, times = 500, 8
			small, large := text(n), text(times*n)
			growth := float64(len(large)) / float64(len(small))
			fewSteps, littleMemory := workFor(t, small)
			manySteps, muchMemory := workFor(t, large)
			if float64(muchMemory) > 1.6*growth*float64(littleMemory) {
				t.Errorf("%d bytes of text take %d bytes, and %d take %d", len(small), littleMemory, len(large), muchMemory)
			}
			if float64(manySteps) > 1.6*growth*float64(fewSteps)+1000 && !isBounded[name] {
				t.Errorf("%d bytes of text take %d steps, and %d take %d", len(small), fewSteps, len(large), manySteps)
			}
			if manySteps > sigmasql.MaxSteps+len(large) {
				t.Errorf("%d bytes of text take %d steps, more than the bound", len(large), manySteps)
			}
		})
	}
}

// isBounded names the texts whose steps the bound holds, and not the length of the text: a name without a qualifier may
// be a column of each relation, and each of many relations may be the end of a long chain.
var isBounded = map[string]bool{
	"names of a wide join without qualifiers":                      true,
	"groups of common table expressions, each from the one before": true,
}

// workFor returns what Prepare takes for a text: its steps through the columns, and bytes of memory.
func workFor(t *testing.T, text string) (steps int, memory uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	q := prepare(t, text, sigmasql.Options{})
	runtime.ReadMemStats(&after)
	if len(q.BrokenLiterals()) == 0 {
		t.Errorf("the message is not found in %.200s", text)
	}
	steps, err := sigmasql.Steps(text, sigmasql.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return steps, after.TotalAlloc - before.TotalAlloc
}

// Texts far beyond what a warehouse compiles end without a fault, and the message in them never comes out unseen.
func TestHugeTextsEnd(t *testing.T) {
	for name, n := range map[string]int{
		"common table expressions, each from the one before": 100_000,
		"common table expressions, each from the two before": 10_000,
		"columns through many renames":                       10_000,
		"a wide union all":                                   5_000,
		"a wide join":                                        2_000,
		"items that name the ones before":                    50_000,
	} {
		t.Run(name, func(t *testing.T) {
			q := prepare(t, grown[name](n), sigmasql.Options{})
			if len(q.BrokenLiterals()) == 0 {
				t.Error("the message is not found")
			}
		})
	}
}

// Shapes whose columns the text does not tell leave no message unseen and no limit unfound.
func TestStrangeShapesHideNothing(t *testing.T) {
	const message = `(select 'Incomplete formula' A, B from T limit 1000)`
	for _, test := range []struct{ text, column string }{
		{`with recursive R as (select 'Incomplete formula' A union all select A from R) select A "X" from R limit 1000`, "X"},
		{`with recursive R (A) as (select 'Incomplete formula' Z union all select A from R) select A "X" from R limit 1000`, ""},
		{`with R (A) as ` + message + ` select A "X" from R limit 1000`, ""},
		{`select Y "X" from ` + message + ` Q (Y, Z) limit 1000`, ""},
		{`select Q.* from ` + message + ` Q limit 1000`, ""},
		{`select * exclude (B) from ` + message + ` Q limit 1000`, ""},
		{`select A "X" from (select * exclude (B) from ` + message + ` Q) R limit 1000`, "X"},
		{`select A "X" from (select * replace (1 as B) from ` + message + ` Q) R limit 1000`, ""},
		{`select Y "X" from (select * rename (A as Y) from ` + message + ` Q) R limit 1000`, ""},
		{`select Y "X" from ` + message + ` Q unpivot (Y for N in (A, B)) limit 1000`, ""},
		{`select "'a'" "X" from ` + message + ` Q pivot (max(A) for B in ('a', 'b')) limit 1000`, ""},
		{`select F.value "X" from ` + message + ` Q, lateral flatten(input => Q.A) F limit 1000`, ""},
		{`select Z "X" from ` + message + ` Q match_recognize (partition by B measures A as Z pattern (S) define S as true) limit 1000`, ""},
		{`select /* a */ A /* b */ "X" -- c` + "\n" + `from /* d */ ` + message + ` /* e */ Q /* f */ limit /* g */ 1000`, "X"},
		{`select "a" "X" from (select 'Incomplete formula' "a", 'b' "A" from T) Q limit 1000`, "X"},
		{`select "größe" "Σ" from (select 'Incomplete formula' "größe" from T) "Ω" limit 1000`, "Σ"},
		{`select (select max(A) from ` + message + ` Q) "X" from U limit 1000`, "X"},
		{`select (select Q.A) "X" from ` + message + ` Q limit 1000`, "X"},
		{`with Q as ` + message + ` select A "X" from Q where 'x' in (select A || 'y' from Q) limit 1000`, ""},
		{`select distinct A "X" from ` + message + ` Q limit 1000`, ""},
		{`select A "X", count(1) "N" from ` + message + ` Q group by all limit 1000`, ""},
		{`select B "X", count(1) "N" from ` + message + ` Q group by 1, A limit 1000`, ""},
		{`select A "X" from ` + message + ` Q union select A from T limit 1000`, ""},
		{`select A "X" from ((` + message + `)) Q limit 1000`, "X"},
		{`select A "X" from ((select B A from T) union all ` + message + `) Q limit 1000`, "X"},
	} {
		q := prepare(t, test.text, sigmasql.Options{})
		if want := strings.Count(test.text, " limit "); len(q.Limits()) != want {
			t.Errorf("%s: limits %+v, want %d", test.text, q.Limits(), want)
		}
		broken := q.BrokenLiterals()
		if !slices.ContainsFunc(broken, func(b sigmasql.BrokenLiteral) bool { return b.Column == test.column }) {
			t.Errorf("%s: broken %+v, want the column %q", test.text, broken, test.column)
		}
	}
}
