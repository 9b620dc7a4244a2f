package model_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
)

// harmlessItems are expressions about which nothing but the tables decides, with the formulas of their columns. # stands for a
// column.
var harmlessItems = [][2]string{
	{`#`, `[T/Amount]`},
	{`#::text`, `Text([T/Amount])`},
	{`coalesce(#, 0)`, `Coalesce([T/Amount], 0)`},
	{`iff(# > 1, 'many', 'one')`, `If([T/Amount] > 1, "many", "one")`},
	{`iff(# = 2, '*', null)`, `If([T/Amount] = 2, "*")`},
	{`case date_part(weekday_iso, #) when 1 then 'Monday' when 7 then 'Sunday' end`, `WeekdayName([T/Day])`},
	{`date_trunc(month, #)`, `DateTrunc("month", [T/Day])`},
	{`datediff(day, #, to_date('2026-04-08', 'YYYY-MM-DD'))`, `DateDiff("day", [T/Day], Date("2026-04-08"))`},
	{`to_timestamp_ntz('2026-04-08 00:00:00.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9')`, `Today()`},
	{`row_number() over (partition by # order by # desc)`, `RowNumber([T/Amount])`},
	{`lag(#, 1) over (order by # asc nulls last)`, `Lag([T/Amount])`},
	{`sum(#) over (partition by #)`, `Sum([T/Amount])`},
	{`listagg(#, ', ') within group (order by #)`, `ListAgg([T/Amount])`},
	{`'No access to week(, random() and current_date'`, `"No access to week(, random() and current_date"`},
	{`'ana@example.com'`, `"ana@example.com"`},
	{`null::text`, `Null`},
	{`nullif(#, 'Restricted')`, `NullIf([T/Amount], "Restricted")`},
	{`convert_timezone('UTC', 'America/New_York', #::timestamp_ntz)`, `ConvertTimezone([T/Day], "America/New_York")`},
}

// harmlessFilters are conditions about which nothing but the tables decides.
var harmlessFilters = []string{
	``, ` where # is not null`, ` where # = 'sync' and (# = false or # is null)`, ` where # in ('West', 'East')`,
	` where # >= to_timestamp_ntz('2026-04-01 00:00:00.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9')`,
	` where # >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')`,
	` where # between to_date('2026-04-01', 'YYYY-MM-DD') and to_date('2026-04-08', 'YYYY-MM-DD')`,
	` qualify row_number() over (partition by # order by #) = 1`,
}

// harmlessLabels are labels that a column of any element may have.
var harmlessLabels = []string{"Restricted", "Amount (Grand Total)", "Current User", "Random", "Week", "First", "SIGDS_9", "limit 1000", "Größe"}

// harmlessElement returns an element of the given number, about which nothing but its tables decides.
func harmlessElement(number uint64) model.Element {
	r := rand.New(rand.NewPCG(15, number))
	columns := 0
	name := func() string { columns++; return fmt.Sprintf("C%d_%d", columns, r.IntN(100)) }
	var inner, outer, specs []string
	isGrouped := r.IntN(4) == 0
	for i := range 1 + r.IntN(8) {
		item := harmlessItems[r.IntN(len(harmlessItems))]
		label := harmlessLabels[r.IntN(len(harmlessLabels))] + strings.Repeat("'", r.IntN(2))
		if i >= 2 || r.IntN(2) == 0 {
			label = fmt.Sprintf("Column %d", i)
		}
		expression := strings.ReplaceAll(item[0], "#", name())
		if !isNullOrText(item[0]) && isGrouped {
			expression, item[1] = "max("+name()+")", "Max([T/Amount])"
		}
		inner, outer = append(inner, fmt.Sprintf("%s V_%d", expression, i)), append(outer, fmt.Sprintf("V_%d \"%s\"", i, label))
		specs = append(specs, label+"="+item[1])
	}
	filter := strings.ReplaceAll(harmlessFilters[r.IntN(len(harmlessFilters))], "#", name())
	from := []string{`SHOP.SALES.ORDERS ORDERS`, `SHOP."Sales"."T_MAT_PRICES" T`, `SHOP.SALES.SIGDSX S`, `(select * from SHOP..ORDERS limit 1000) Q9`, `SHOP.A.T L left join (select K, V from SHOP.A.U) R on L.K = R.K`}[r.IntN(5)]
	text := "select " + strings.Join(inner, ", ") + " from " + from + filter
	if isGrouped {
		text = "select " + strings.Join(inner, ", ") + ", count(1) N, G from " + from + " group by G"
	}
	switch r.IntN(3) {
	case 0:
		text = "with Q1 as (" + text + ") select " + strings.Join(outer, ", ") + " from Q1 limit 1000"
	default:
		text = "select " + strings.Join(outer, ", ") + " from (" + text + " limit 1000) Q1 order by V_0 asc limit 1000"
	}
	e := element(text+ownersComment, specs...)
	e.WriteBackSchemas = [][]string{{"SHOP", "SIGMA_WB"}}
	e.Role = model.SigmaRole{Name: "SYNC"}
	return e
}

func isNullOrText(item string) bool {
	return strings.HasPrefix(item, "'") || strings.HasPrefix(item, "null") || strings.HasPrefix(item, "to_timestamp")
}

// No finding about other rows than in Sigma fires on texts about which nothing but the tables decides.
func TestHarmlessElementsHaveNoNewFindings(t *testing.T) {
	session := &model.Session{Role: "SYNC", SecondaryRoles: "NONE", Namespace: [2]string{"SHOP", "SALES"}, Parameters: map[string]model.Parameter{
		"WEEK_START": {Value: "1", Level: "USER"}, "TIMEZONE": {Value: "UTC", Level: "SESSION"}, "DATE_OUTPUT_FORMAT": {Value: "AUTO", Level: "ACCOUNT"},
	}}
	for number := range uint64(500) {
		e := harmlessElement(number)
		for _, o := range []model.Options{{}, {TimeZone: time.UTC, Session: session}} {
			m := model.Assess(e, o)
			state, findings, problem := m.CatalogState()
			if state != pb.ModelState_MODEL_STATE_READY || m.RequireFull() != nil {
				t.Fatalf("the model is %s: %v, %v\n%s", state, problem, m.RequireFull(), e.Query.SQL)
			}
			for _, f := range findings {
				if f.GetCode() >= pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH {
					t.Fatalf("a finding: %v\n%s", f, e.Query.SQL)
				}
			}
		}
	}
}
