package server_test

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// TestACheckComparesValuesWithSigmasOwnExport: the counts and the labels are the same, and values differ.
func TestACheckComparesValuesWithSigmasOwnExport(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	const days = 30
	var values []string
	exported := func(change func(row []string)) (rows [][]string) {
		for i := range days {
			day := time.Date(2026, 4, 1+i, 0, 0, 0, 0, time.UTC)
			row := []string{strconv.Itoa(i), day.Format(time.DateOnly), fmt.Sprintf("%d.25", i), "R" + strconv.Itoa(i%3), strconv.FormatBool(i%2 == 0)}
			if i == 7 {
				row[3] = ""
			}
			change(row)
			rows = append(rows, row)
		}
		slices.Reverse(rows) // the order of an export is not the warehouse's
		return rows
	}
	for i := range days {
		region := fmt.Sprintf("'R%d'", i%3)
		if i == 7 {
			region = "null"
		}
		values = append(values, fmt.Sprintf("(%d, '%s', %d.25, %s, %t)", i, time.Date(2026, 4, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), i, region, i%2 == 0))
	}
	sql := `select C1 "Id", C2::date "Day", C3 "Amount", C4 "Region", C5 "Open" from (values ` + strings.Join(values, ", ") + `) Q1(C1, C2, C3, C4, C5) limit 1000`
	masked := strings.ReplaceAll(sql, `C4 "Region"`, `iff(C4 is null, null, '****') "Region"`)
	columns := []sigmatest.Column{{ID: "a", Label: "Id", Type: "integer"}, {ID: "b", Label: "Day", Type: "datetime"}, {ID: "c", Label: "Amount", Type: "number"}, {ID: "d", Label: "Region", Type: "text"}, {ID: "e", Label: "Open", Type: "boolean"}}
	shift := func(by int) func(row []string) {
		return func(row []string) {
			day, err := time.Parse(time.DateOnly, row[1])
			if err != nil {
				t.Fatal(err)
			}
			row[1] = day.AddDate(0, 0, by).Format(time.DateOnly)
		}
	}
	const same, different, unknown = pb.ComparisonVerdict_COMPARISON_VERDICT_SAME, pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT, pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED
	for name, test := range map[string]struct {
		sql    string
		change func(row []string)
		want   pb.ComparisonVerdict
		column *pb.ColumnComparison // nil if all are the same
	}{
		"the same":             {change: func([]string) {}, want: same},
		"truth values":         {change: func(row []string) { row[4] = strings.ToUpper(row[4]) }, want: same},
		"a time of day":        {change: func(row []string) { row[1] += " 00:00:00" }, want: same},
		"a zone":               {change: func(row []string) { row[1] += "T00:00:00.000-04:00" }, want: same},
		"days shifted by one":  {change: shift(-1), want: different, column: &pb.ColumnComparison{Label: "Day", Verdict: different, Differences: []string{"min", "max"}, Cause: "time_zone"}},
		"one day is another":   {change: func(row []string) { row[1] = strings.Replace(row[1], "2026-04-30", "2026-06-30", 1) }, want: different, column: &pb.ColumnComparison{Label: "Day", Verdict: different, Differences: []string{"max"}}},
		"days as text":         {change: func(row []string) { row[1] = "4/1/26" }, want: same, column: &pb.ColumnComparison{Label: "Day", Verdict: unknown, Cause: "format"}},
		"an amount":            {change: func(row []string) { row[2] = strings.Replace(row[2], "12.25", "12.26", 1) }, want: different, column: &pb.ColumnComparison{Label: "Amount", Verdict: different, Differences: []string{"sum"}}},
		"formatted amounts":    {change: func(row []string) { row[2] = "$" + row[2] }, want: same, column: &pb.ColumnComparison{Label: "Amount", Verdict: unknown, Cause: "format"}},
		"a null more":          {change: func(row []string) { row[3] = strings.TrimPrefix(row[3], "R0") }, want: different, column: &pb.ColumnComparison{Label: "Region", Verdict: different, Differences: []string{"nulls", "texts"}}},
		"a swapped text":       {change: func(row []string) { row[3] = strings.Replace(row[3], "R1", "R2", 1) }, want: different, column: &pb.ColumnComparison{Label: "Region", Verdict: different, Differences: []string{"texts"}}},
		"masked":               {sql: masked, change: func([]string) {}, want: different, column: &pb.ColumnComparison{Label: "Region", Verdict: different, Differences: []string{"texts"}, Cause: "role"}},
		"a truth value":        {change: func(row []string) { row[4] = "true" }, want: different, column: &pb.ColumnComparison{Label: "Open", Verdict: different, Differences: []string{"texts"}}},
		"a row more than once": {change: func(row []string) { row[0] = strings.Replace(row[0], "29", "28", 1) }, want: different, column: &pb.ColumnComparison{Label: "Id", Verdict: different, Differences: []string{"sum"}}},
	} {
		model := w.modelOf(snowflakeName, sigmatest.Element{SQL: cmp.Or(test.sql, sql), Columns: columns, Exported: exported(test.change)})
		answer := w.check(&pb.CheckModelRequest{Name: model, CompareWithSigma: true})
		c := answer.GetComparison()
		if c.GetVerdict() != test.want || len(c.GetColumns()) != len(columns) {
			t.Errorf("%s: the check is %v", name, answer)
		}
		for _, got := range c.GetColumns() {
			want := &pb.ColumnComparison{Label: got.GetLabel(), Verdict: same}
			if got.GetLabel() == test.column.GetLabel() {
				want = test.column
			}
			if !proto.Equal(got, want) {
				t.Errorf("%s: a column is %v, want %v", name, got, want)
			}
		}
		if test.want == different && !strings.Contains(c.GetMessage(), test.column.GetLabel()) {
			t.Errorf("%s: the message is %q", name, c.GetMessage())
		}
		if strings.Contains(c.String(), "R1") || strings.Contains(c.String(), "2026") {
			t.Errorf("%s: the comparison has values: %v", name, c)
		}
	}
}

// TestAComparisonOfDisplayedForms: Sigma's export shows less of a value than the warehouse has, or CSV does. Only what both
// show is compared, and all of that.
func TestAComparisonOfDisplayedForms(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	const same, different, unknown = pb.ComparisonVerdict_COMPARISON_VERDICT_SAME, pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT, pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED
	for name, test := range map[string]struct {
		value, exported string
		want            pb.ComparisonVerdict
	}{
		"lines by CR and LF":           {`'a' || chr(13) || chr(10) || 'b'`, "a\r\nb", same},
		"lines by LF":                  {`'a' || chr(10) || 'b'`, "a\nb", same},
		"a line less":                  {`'a' || chr(10) || 'b'`, "a", different},
		"up to the minute":             {`'2026-04-01 13:45:30'::timestamp_ntz`, "2026-04-01 13:45", same},
		"another minute":               {`'2026-04-01 13:44:59'::timestamp_ntz`, "2026-04-01 13:45", different},
		"up to the day":                {`'2026-04-01 13:45:30'::timestamp_ntz`, "2026-04-01", same},
		"midnight for a time of day":   {`'2026-04-01 13:45:30'::timestamp_ntz`, "2026-04-01 00:00:00", different},
		"midnight":                     {`'2026-04-01'::timestamp_ntz`, "2026-04-01T00:00:00.000Z", same},
		"no such day":                  {`'2026-03-02'::timestamp_ntz`, "2026-02-30", unknown},
		"infinite here":                {`'inf'::float`, "5", different},
		"infinite there":               {`5::float`, "Infinity", different},
		"infinite":                     {`'inf'::float`, "Infinity", same},
		"no number":                    {`'NaN'::float`, "NaN", same},
		"too large a number to read":   {`5::float`, "1e400", unknown},
		"a number in another notation": {`16`, "0x10", unknown},
		"negative zero":                {`0::float`, "-0", same},
	} {
		model := w.modelOf(snowflakeName, sigmatest.Element{
			SQL: `select C1 "Value" from (select ` + test.value + ` C1 from SHOP.SALES.PEOPLE where ID = 1 limit 1000) Q1 limit 1000`, Columns: []sigmatest.Column{{ID: "a", Label: "Value"}}, Exported: [][]string{{test.exported}},
		})
		answer := w.check(&pb.CheckModelRequest{Name: model, CompareWithSigma: true})
		if c := answer.GetComparison().GetColumns(); len(c) != 1 || c[0].GetVerdict() != test.want {
			t.Errorf("%s: the check is %v", name, answer)
		}
	}
}
