package snowflake_test

import (
	"testing"

	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

func TestAccountsAreComparedInEverySpelling(t *testing.T) {
	const (
		same = iota
		different
		unknown
	)
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"xy12345", "XY12345", same},
		{"xy12345", "xy12345.eu-west-1", same},
		{"xy12345.us-east-2.aws", "https://xy12345.us-east-2.aws.snowflakecomputing.com", same},
		{"xy12345.us-east-2.aws.privatelink", "xy12345.us-east-2.aws", same},
		{"xy12345.west-europe.azure", "xy12345.us-east-1", different},
		{"xy12345", "xy12346", different},
		{"MYORG-MYACCOUNT", "myorg-myaccount", same},
		{"myorg.myaccount", "myorg-myaccount", same},
		{"myorg-my_account", "https://myorg-my-account.snowflakecomputing.com/", same},
		{"myorg-myaccount.privatelink", "MYORG-MYACCOUNT", same},
		{"myorg-myaccount.snowflakecomputing.cn", "myorg-myaccount", same},
		{"myorg-myaccount.global", "myorg-myaccount", same},
		{"myorg-dev", "myorg-prod", different},
		{"oneorg-prod", "myorg-prod", different},
		{"acme.us-east-1", "acme.us-east-1", same},
		{"acme.us-east-1", "other.us-east-1", different},
		{"xy12345", "myorg-myaccount", unknown},
		{"xy12345.eu-west-1", "myorg-myaccount", unknown},
		{"acme.us-east-1", "myorg-acme", unknown},
		{"", "myorg-myaccount", unknown},
		{"https://", "", unknown},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			isSame, known := snowflake.CompareAccounts(pair[0], pair[1])
			got := unknown
			if known {
				got = different
			}
			if isSame {
				got = same
			}
			if got != test.want {
				t.Errorf("%q and %q: %d instead of %d", pair[0], pair[1], got, test.want)
			}
		}
	}
}
