package sigmaclient_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

func TestPublishedHostsMayBeCalled(t *testing.T) {
	hosts := sigmaclient.PublishedHosts()
	if len(hosts) != 13 {
		t.Errorf("%d hosts, Sigma publishes 13", len(hosts))
	}
	for _, host := range hosts {
		base, err := (*sigmaclient.Hosts)(nil).CheckSigma("https://" + host.Name)
		if err != nil || base != "https://"+host.Name || host.Cloud == "" || host.Region == "" {
			t.Errorf("%+v: %q, %v", host, base, err)
		}
	}
	hosts[0].Name = "evil.example.com"
	if sigmaclient.PublishedHosts()[0].Name == "evil.example.com" {
		t.Error("a caller may change the list")
	}
}

func TestBaseURLs(t *testing.T) {
	hosts, err := sigmaclient.NewHosts("Sigma.Internal", "gateway.example.com:8443", "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "10.0.0.5:80", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{ // empty: refused
		"https://api.sigmacomputing.com":                "https://api.sigmacomputing.com",
		"https://API.SigmaComputing.com/":               "https://api.sigmacomputing.com",
		"  HTTPS://api.sigmacomputing.com:443/ ":        "https://api.sigmacomputing.com",
		"https://sigma.internal":                        "https://sigma.internal",
		"https://gateway.example.com:8443":              "https://gateway.example.com:8443",
		"http://127.0.0.1:8080":                         "http://127.0.0.1:8080",
		"http://[::1]:8080/":                            "http://[::1]:8080",
		"http://localhost:8080":                         "http://localhost:8080",
		"http://127.0.0.1":                              "http://127.0.0.1",
		"https://127.0.0.1:8080":                        "https://127.0.0.1:8080",
		"":                                              "",
		"api.sigmacomputing.com":                        "",
		"//api.sigmacomputing.com":                      "",
		"https:api.sigmacomputing.com":                  "",
		"https://":                                      "",
		"http://api.sigmacomputing.com":                 "",
		"ftp://api.sigmacomputing.com":                  "",
		"file:///etc/passwd":                            "",
		"https://api.sigmacomputing.com:8443":           "",
		"https://api.sigmacomputing.com.":               "",
		"https://api.sigmacomputing.com.evil.example":   "",
		"https://evil-api.sigmacomputing.com":           "",
		"https://app.sigmacomputing.com":                "",
		"https://sigmacomputing.com":                    "",
		"https://user@api.sigmacomputing.com":           "",
		"https://user:secret@api.sigmacomputing.com":    "",
		"https://api.sigmacomputing.com@evil.example":   "",
		"https://evil.example#@api.sigmacomputing.com":  "",
		"https://evil.example\\@api.sigmacomputing.com": "",
		"https://api.sigmacomputing.com/v2":             "",
		"https://api.sigmacomputing.com/..":             "",
		"https://api.sigmacomputing.com?":               "",
		"https://api.sigmacomputing.com?x=1":            "",
		"https://api.sigmacomputing.com#":               "https://api.sigmacomputing.com", // net/url does not tell it from none
		"https://api.sigmacomputing.com#x":              "",
		"https://gateway.example.com":                   "",
		"http://sigma.internal":                         "",
		"http://10.0.0.5":                               "", // admitted, but no loopback address
		"http://127.0.0.1:8081":                         "",
		"http://127.1:8080":                             "",
		"http://2130706433:8080":                        "",
		"https://169.254.169.254":                       "",
		"https://[::ffff:169.254.169.254]":              "",
		"https://api.sigmacomputing.com\n.evil.example": "",
		"https://аpi.sigmacomputing.com":                "", // a Cyrillic а
	} {
		base, err := hosts.CheckSigma(text)
		var refused *sigmaclient.HostError
		switch {
		case want != "" && (err != nil || base != want):
			t.Errorf("%q: %q, %v; want %q", text, base, err, want)
		case want == "" && (!errors.As(err, &refused) || refused.Problem == ""):
			t.Errorf("%q: %q, %v; want a *HostError", text, base, err)
		case want == "" && strings.Contains(refused.Problem, "secret"):
			t.Errorf("%q: the error repeats it: %v", text, err)
		}
	}
}

func TestAdmittedHosts(t *testing.T) {
	for _, entry := range []string{"", ":443", "host:", "host:0", "host:65536", "host:http", "https://host", "user@host", "host/path", "host?x", "fe80::1%eth0"} {
		if _, err := sigmaclient.NewHosts(entry); err == nil {
			t.Errorf("%q is admitted", entry)
		}
	}
	hosts, err := sigmaclient.NewHosts("snowflake.internal:444")
	if err != nil {
		t.Fatal(err)
	}
	owns := func(host string) bool { return strings.HasSuffix(host, ".snowflakecomputing.com") }
	for text, want := range map[string]bool{
		"https://acme.snowflakecomputing.com":     true,
		"https://snowflake.internal:444":          true,
		"https://snowflake.internal":              false,
		"https://acme.snowflakecomputing.com:444": false,
		"https://api.sigmacomputing.com":          false,
	} {
		u, err := hosts.Check(text, owns)
		if (err == nil) != want || err == nil && u.String() != text {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}

func TestClientChecksItsBaseURL(t *testing.T) {
	service := sigmaclient.New(sigmaclient.Options{})
	defer service.Close()
	_, err := service.Client(sigmaclient.Credentials{BaseURL: "https://evil.example"})
	var refused *sigmaclient.HostError
	if !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

// FuzzCheckSigma looks for a base URL that leads elsewhere than to the list.
func FuzzCheckSigma(f *testing.F) {
	for _, seed := range []string{"https://api.sigmacomputing.com", "http://127.0.0.1:8080/", "https://a@b", "https://[::1]:443", "https://api.sigmacomputing.com:0443"} {
		f.Add(seed)
	}
	hosts, err := sigmaclient.NewHosts("127.0.0.1:8080", "Internal.Example:8443")
	if err != nil {
		f.Fatal(err)
	}
	allowed := map[string]bool{"http://127.0.0.1:8080": true, "https://127.0.0.1:8080": true, "https://internal.example:8443": true}
	for _, host := range sigmaclient.PublishedHosts() {
		allowed["https://"+host.Name] = true
	}
	f.Fuzz(func(t *testing.T, text string) {
		base, err := hosts.CheckSigma(text)
		if err != nil {
			return
		}
		if !allowed[base] {
			t.Fatalf("%q may be called as %q", text, base)
		}
		if again, err := hosts.CheckSigma(base); err != nil || again != base {
			t.Fatalf("%q becomes %q and then %q, %v", text, base, again, err)
		}
		if u, err := url.Parse(base); err != nil || u.User != nil || u.Path != "" {
			t.Fatalf("%q is no plain base: %v", base, err)
		}
	})
}
