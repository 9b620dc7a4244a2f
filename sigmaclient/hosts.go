package sigmaclient

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Host is a host of Sigma's API, and the cloud and region that it serves.
type Host struct {
	Name   string // such as "aws-api.sigmacomputing.com"
	Cloud  string // "AWS", "Azure" or "GCP"
	Region string // such as "US West"
}

// publishedHosts are the servers of Sigma's published contract.
var publishedHosts = []Host{
	{"api.sigmacomputing.com", "GCP", "US"},
	{"api.sa.gcp.sigmacomputing.com", "GCP", "KSA"},
	{"aws-api.sigmacomputing.com", "AWS", "US West"},
	{"api.us-a.aws.sigmacomputing.com", "AWS", "US East"},
	{"api.ca.aws.sigmacomputing.com", "AWS", "Canada"},
	{"api.eu.aws.sigmacomputing.com", "AWS", "Europe"},
	{"api.au.aws.sigmacomputing.com", "AWS", "Australia and APAC"},
	{"api.uk.aws.sigmacomputing.com", "AWS", "UK"},
	{"api.us.azure.sigmacomputing.com", "Azure", "US"},
	{"api.eu.azure.sigmacomputing.com", "Azure", "Europe"},
	{"api.ca.azure.sigmacomputing.com", "Azure", "Canada"},
	{"api.uk.azure.sigmacomputing.com", "Azure", "UK"},
	{"api.au.azure.sigmacomputing.com", "Azure", "Australia"},
}

// PublishedHosts returns the hosts of Sigma's API.
func PublishedHosts() []Host { return slices.Clone(publishedHosts) }

func isPublished(host string) bool {
	return slices.ContainsFunc(publishedHosts, func(h Host) bool { return h.Name == host })
}

// Hosts are hosts that an operator admits besides those that a service owns.
// Nothing else is ever called: a base URL is a caller's text, and must not
// become a way into the network around the server. Nil and the zero value admit
// none.
type Hosts struct {
	admitted map[string]bool // host:port
}

// NewHosts admits hosts given as HOST or HOST:PORT. A host without a port is
// admitted on port 443.
func NewHosts(admitted ...string) (*Hosts, error) {
	h := &Hosts{admitted: map[string]bool{}}
	for _, entry := range admitted {
		host, port, err := net.SplitHostPort(entry)
		if err != nil {
			host, port = strings.Trim(entry, "[]"), "443"
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/@?#% \t") {
			return nil, fmt.Errorf("%q is not HOST or HOST:PORT", entry)
		}
		h.admitted[net.JoinHostPort(strings.ToLower(host), port)] = true
	}
	return h, nil
}

// HostError says why a URL may not be called.
type HostError struct {
	// Problem is for people and does not repeat the URL.
	Problem string
}

// Error returns the problem.
func (e *HostError) Error() string { return "sigmaclient: " + e.Problem }

// CheckSigma returns the base of a URL of Sigma's API, without a slash at the
// end. It fails with a [*HostError].
func (h *Hosts) CheckSigma(text string) (string, error) {
	u, err := h.Check(text, isPublished)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// Check returns the scheme and host of a URL that may be called: https to a
// host that owns reports as a service's own, or to one that the operator
// admitted; plain http to a loopback address that the operator admitted. It
// fails with a [*HostError].
func (h *Hosts) Check(text string, owns func(host string) bool) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, &HostError{Problem: "it is no URL such as https://HOST"}
	case u.User != nil:
		return nil, &HostError{Problem: "it must not hold a user name or password"}
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, &HostError{Problem: "give the scheme and host only, without path, query or fragment"}
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	admitted := h != nil && h.admitted[net.JoinHostPort(host, port)]
	switch u.Scheme {
	case "https":
		if !admitted && (!owns(host) || port != "443") {
			return nil, &HostError{Problem: "this host is neither the service's own nor admitted by the operator"}
		}
	case "http":
		if !admitted || !isLoopback(host) {
			return nil, &HostError{Problem: "plain http is for loopback addresses that the operator admitted; use https"}
		}
	default:
		return nil, &HostError{Problem: "the scheme must be https"}
	}
	checked := &url.URL{Scheme: u.Scheme, Host: host}
	if strings.Contains(host, ":") {
		checked.Host = "[" + host + "]"
	}
	if u.Port() != "" && (u.Scheme != "https" || port != "443") {
		checked.Host = net.JoinHostPort(host, port)
	}
	return checked, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
