package snowflake

import (
	"cmp"
	"net"
	"regexp"
	"strings"

	"github.com/sigmasource/sigmasource/warehouse"
)

// address is where an account answers.
type address struct {
	account  string // without its region
	host     string
	port     int
	protocol string
}

// accountName allows what Snowflake does, so that an account cannot smuggle
// another host in.
var accountName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (c Config) address() (address, error) {
	if !accountName.MatchString(c.Account) {
		return address{}, configurationError("account", "an account is named organization-account or locator.region")
	}
	name, region, _ := strings.Cut(c.Account, ".")
	domain := ".snowflakecomputing.com"
	if strings.HasPrefix(strings.ToLower(region), "cn-") {
		domain = ".snowflakecomputing.cn"
	}
	a := address{
		account: name,
		// Host names hold no underscore: Snowflake answers to a hyphen instead.
		host:     cmp.Or(c.Host, strings.ReplaceAll(c.Account, "_", "-")+domain),
		port:     c.Port,
		protocol: cmp.Or(c.Protocol, "https"),
	}
	switch {
	case a.protocol != "https" && a.protocol != "http":
		return address{}, configurationError("protocol", "the protocol is https or http")
	case a.protocol == "http" && !isLoopback(a.host):
		return address{}, configurationError("protocol", "http is for a loopback host only")
	case strings.ContainsAny(a.host, "/?#@ "):
		return address{}, configurationError("host", "the host is not a host name")
	}
	if a.port == 0 {
		a.port = map[string]int{"https": 443, "http": 80}[a.protocol]
	}
	return a, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// configurationError is about one field of a Config.
func configurationError(field, message string) error {
	return &warehouse.Error{Kind: warehouse.KindConfiguration, Object: field, Message: message}
}
