package snowflaketest_test

import (
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func everyQuery(snowflaketest.Query) bool { return true }

func TestScenariosRepeatAndCoverEverything(t *testing.T) {
	var tales strings.Builder
	verdicts := map[snowflaketest.Verdict]int{}
	for _, gzip := range []bool{false, true} {
		shape := snowflaketest.Shape{Chunks: 4, Batches: 2, Gzip: gzip, Concerns: everyQuery}
		for seed := range uint64(1000) {
			s := snowflaketest.NewScenario(seed, shape)
			if again := snowflaketest.NewScenario(seed, shape); again.String() != s.String() || again.Verdict != s.Verdict {
				t.Errorf("seed %d gives %s, and then %s", seed, s, again)
			}
			tales.WriteString(s.String() + "\n")
			verdicts[s.Verdict]++
		}
	}
	for _, want := range []string{"nothing goes wrong", "the answer: ", "is not listed", "+1 rows are declared", "-3 rows are declared",
		"chunk 0: ", "chunk 3: ", "stall after the headers", "cut within batch 0", "truncate behind batch 0", "corrupt within batch 1", "lose at the chunk's end", ", 1 times", ", 2 times", ", always"} {
		if !strings.Contains(tales.String(), want) {
			t.Errorf("in no scenario: %q", want)
		}
	}
	for _, v := range []snowflaketest.Verdict{snowflaketest.Open, snowflaketest.Whole, snowflaketest.Lost} {
		if verdicts[v] < 100 {
			t.Errorf("the verdict %d comes %d times", v, verdicts[v])
		}
	}
}
