package snowflake

import (
	"regexp"
	"strings"
)

// CompareAccounts tells whether two spellings name one account. known is false
// where the texts do not tell: an account has a locator, such as "xy12345", and
// a name within its organization, such as "myorg-myaccount", and neither can be
// derived from the other.
//
// The spellings are those of
// https://docs.snowflake.com/en/user-guide/admin-account-identifier: with a
// region and cloud behind a locator, with a dot between organization and
// account, with a hyphen in the place of an underscore, as a host name, and for
// private connectivity.
func CompareAccounts(a, b string) (same, known bool) {
	x, y := parseAccount(a), parseAccount(b)
	switch {
	case x.name == "" || y.name == "":
		return false, false
	case x == y:
		return true, true
	case x.isLocator != y.isLocator:
		return false, false
	case x.name != y.name:
		return false, true
	case x.region == "" || y.region == "":
		return true, true // a locator is given out once, so the region adds nothing
	}
	return false, true
}

type account struct {
	name      string
	region    string // of a locator, with its cloud; may be left out
	isLocator bool
}

// locator is how Snowflake makes them. Accounts of the first years have words
// for locators; they are told by the region behind them.
var (
	locator = regexp.MustCompile(`^[a-z]{2,3}[0-9]{4,6}$`)
	region  = regexp.MustCompile(`^[a-z]+(-[a-z]+)+(-?[0-9]+)?(\.(aws|gcp|azure))?$`)
)

func parseAccount(text string) account {
	text = strings.ToLower(strings.TrimSpace(text))
	if _, after, ok := strings.Cut(text, "://"); ok {
		text = after
	}
	text, _, _ = strings.Cut(text, "/")
	text, _, _ = strings.Cut(text, ":")
	for _, domain := range []string{".snowflakecomputing.com", ".snowflakecomputing.cn", ".privatelink", ".global"} {
		text = strings.TrimSuffix(text, domain)
	}
	text = strings.ReplaceAll(text, "_", "-")
	first, rest, _ := strings.Cut(text, ".")
	switch {
	case locator.MatchString(first):
		return account{name: first, region: rest, isLocator: true}
	case rest == "":
		return account{name: first}
	case region.MatchString(rest) && !strings.Contains(first, "-"):
		return account{name: first, region: rest, isLocator: true}
	}
	return account{name: first + "-" + rest}
}
