package sigmaclient

import (
	"context"
	"strings"
	"sync"
)

// Home looks for the host of Sigma at which the credentials are good, when their
// own host has refused them: credentials do not tell their region, and Sigma
// answers a wrong one as it does a wrong secret. Only Sigma's published hosts are
// asked, all at once, and only for credentials of one of them. It reports false if
// none accepts them, or the context ends first.
func (c *Client) Home(ctx context.Context) (Host, bool) {
	own := strings.TrimPrefix(c.credential.base, "https://")
	if !isPublished(own) {
		return Host{}, false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan Host, len(publishedHosts))
	var asked sync.WaitGroup
	for _, host := range publishedHosts {
		if host.Name == own {
			continue
		}
		asked.Go(func() {
			elsewhere := &credential{base: "https://" + host.Name, clientID: c.credential.clientID, secret: c.credential.secret}
			if _, err := c.tokens.get(ctx, elsewhere, ""); err == nil {
				found <- host
				cancel()
			}
		})
	}
	asked.Wait()
	select {
	case host := <-found:
		return host, true
	default:
		return Host{}, false
	}
}
