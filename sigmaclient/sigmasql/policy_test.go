package sigmasql_test

import (
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

func TestThePolicyDecidesAboutAmbiguousLimitsOnly(t *testing.T) {
	const (
		innerOnly  = `select A from (select * from T limit 1000) Q1`
		underAGate = `select A from (select * from (select * from T limit 1000) Q1 where A > 1) Q2 limit 1000`
		authors    = `select A from (select * from T limit 7) Q1 limit 1000`
	)
	for _, test := range []struct {
		name, text string
		policy     sigmasql.LimitPolicy
		want       string
	}{
		{"likelier keeps a lone inner one", innerOnly, sigmasql.Likelier, innerOnly},
		{"keep keeps it", innerOnly, sigmasql.KeepAmbiguous, innerOnly},
		{"lift lifts it", innerOnly, sigmasql.LiftAmbiguous, `select A from (select * from T) Q1`},
		{"likelier lifts a copy below a filter", underAGate, sigmasql.Likelier, `select A from (select * from (select * from T) Q1 where A > 1) Q2`},
		{"keep keeps the copy", underAGate, sigmasql.KeepAmbiguous, `select A from (select * from (select * from T limit 1000) Q1 where A > 1) Q2`},
		{"lift lifts the copy", underAGate, sigmasql.LiftAmbiguous, `select A from (select * from (select * from T) Q1 where A > 1) Q2`},
		{"lift lifts any that custom SQL does not show to be the author's", authors, sigmasql.LiftAmbiguous, `select A from (select * from T) Q1`},
		{"likelier keeps another number", authors, sigmasql.Likelier, `select A from (select * from T limit 7) Q1`},
		{"lift keeps what is no plain limit", `select top 7 A from T`, sigmasql.LiftAmbiguous, `select top 7 A from T`},
		{"keep lifts Sigma's", authors, sigmasql.KeepAmbiguous, `select A from (select * from T limit 7) Q1`},
	} {
		q, err := sigmasql.Prepare(test.text, sigmasql.Options{LimitPolicy: test.policy})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := q.Full(); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}
