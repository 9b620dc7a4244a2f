package sigmatest

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const tokenPath = "/v2/auth/token"

// signIn holds the tokens that were granted.
type signIn struct {
	mu      sync.Mutex
	access  map[string]session
	refresh map[string]string    // client id by refresh token
	granted map[string]time.Time // when a client last got a grant
}

type session struct {
	client  string
	expires time.Time
}

func (s *signIn) issue(client string, life time.Duration) (access, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.access == nil {
		s.access, s.refresh, s.granted = map[string]session{}, map[string]string{}, map[string]time.Time{}
	}
	now := time.Now()
	maps.DeleteFunc(s.access, func(_ string, old session) bool { return now.After(old.expires) })
	maps.DeleteFunc(s.refresh, func(_ string, owner string) bool { return owner == client })
	access, refresh = "sigmatest."+randomID(), "r-"+randomID()
	s.access[access] = session{client: client, expires: now.Add(life)}
	s.refresh[refresh] = client
	s.granted[client] = now
	return access, refresh
}

// revoke ends all tokens.
func (s *signIn) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.refresh)
}

func (s *signIn) client(access string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.access[access]
	return v.client, ok && time.Now().Before(v.expires)
}

func (s *signIn) refreshes(refresh string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refresh[refresh]
}

func (s *signIn) tooSoon(client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.granted[client]
	return ok && time.Since(last) < time.Second
}

// authenticate returns the client whose token a request bears.
func (s *Server) authenticate(r *http.Request) (Client, bool) {
	scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return Client{}, false
	}
	id, ok := s.signIn.client(access)
	if !ok {
		return Client{}, false
	}
	now, options := s.state()
	if options.Host != "" && r.Host != options.Host {
		return Client{}, false
	}
	return now.org.client(id)
}

func (o *Organization) client(id string) (Client, bool) {
	for _, c := range o.clients() {
		if c.ID == id {
			return c, true
		}
	}
	return Client{}, false
}

// grant answers the token endpoint. It takes a form, as all clients send, JSON,
// as the contract prints, and the client's id and secret in the form or as basic
// authentication.
func (s *Server) grant(w http.ResponseWriter, r *http.Request) {
	fields, err := grantFields(r)
	if err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "Malformed body").write(w)
		return
	}
	id, secret := fields.Get("client_id"), fields.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		id, secret = user, password
	}
	now, options := s.state()
	client, known := now.org.client(id)
	if !known || client.Secret != secret || options.Host != "" && r.Host != options.Host {
		refuse(http.StatusUnauthorized, "unauthorized", "We cannot verify your identity. Please try again later.").write(w)
		return
	}
	switch fields.Get("grant_type") {
	case "client_credentials":
	case "refresh_token":
		if s.signIn.refreshes(fields.Get("refresh_token")) != id {
			unauthorized().write(w)
			return
		}
	default:
		refuse(http.StatusBadRequest, "invalid_request", "Unknown grant_type").write(w)
		return
	}
	if options.LimitGrants && s.signIn.tooSoon(id) {
		writeHTML(w, http.StatusTooManyRequests, "error 1015")
		return
	}
	life := options.TokenLife
	if life <= 0 {
		life = time.Hour
	}
	access, refresh := s.signIn.issue(id, life)
	ok(object{"access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": int(life.Seconds())}).write(w)
}

func grantFields(r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(r.Body) // bounded by ServeHTTP
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return url.ParseQuery(string(body))
	}
	var object map[string]string
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, err
	}
	fields := url.Values{}
	for name, value := range object {
		fields.Set(name, value)
	}
	return fields, nil
}
