package snowflaketest

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTokenAge is how far apart a key pair token's iat and exp may lie.
// https://docs.snowflake.com/en/developer-guide/sql-api/authenticating
const maxTokenAge = time.Hour

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var req loginRequest
	if err := readJSON(r, &req); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	user, fail := s.authenticate(req)
	if fail == nil {
		if refuse := s.currentFaults().Login; refuse != nil {
			fail = refuse(user.Name)
		}
	}
	var ses *session
	if fail == nil {
		ses, fail = s.openSession(user, r.URL.Query(), req.Data.SessionParameters)
	}
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	writeData(w, ses.loginData())
}

// authenticate finds the user that the credentials prove.
func (s *Server) authenticate(req loginRequest) (User, *Error) {
	d := req.Data
	account := strings.EqualFold(d.AccountName, s.cfg.Account)
	user, known := s.cfg.user(d.LoginName)
	switch strings.ToUpper(d.Authenticator) {
	case "", "SNOWFLAKE":
		if !account || !known || user.Password == "" || !equal(user.Password, d.Password) {
			return User{}, errBadCredentials
		}
		return user, nil
	case "SNOWFLAKE_JWT":
		if !account {
			return User{}, errBadJWT
		}
		return s.verifyJWT(d.Token)
	case "PROGRAMMATIC_ACCESS_TOKEN":
		if !account || !known || !anyEqual(user.AccessTokens, d.Token) {
			return User{}, errBadAccessToken
		}
		return user, nil
	case "OAUTH":
		for _, u := range s.cfg.Users {
			if account && anyEqual(u.OAuthTokens, d.Token) && (d.LoginName == "" || strings.EqualFold(u.Name, d.LoginName)) {
				return u, nil
			}
		}
		return User{}, errBadOAuthToken
	}
	return User{}, errBadCredentials
}

// verifyJWT checks a key pair token as Snowflake documents it: RS256, subject
// ACCOUNT.USER, issuer ACCOUNT.USER.SHA256:fingerprint of a key of the user,
// valid now and for no longer than an hour.
func (s *Server) verifyJWT(token string) (User, *Error) {
	var user User
	claims := jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) {
		account, name, _ := strings.Cut(claims.Subject, ".")
		u, known := s.cfg.user(name)
		if !known || !strings.EqualFold(account, s.cfg.Account) || claims.Subject != strings.ToUpper(claims.Subject) {
			return nil, jwt.ErrTokenInvalidSubject
		}
		for _, key := range u.PublicKeys {
			fingerprint, err := publicKeyFingerprint(key)
			if err != nil {
				return nil, err
			}
			if claims.Issuer == claims.Subject+"."+fingerprint {
				user = u
				return key, nil
			}
		}
		return nil, jwt.ErrTokenInvalidIssuer
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithLeeway(10*time.Second))
	if err != nil {
		return User{}, errBadJWT
	}
	if claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > maxTokenAge {
		return User{}, errBadJWT
	}
	return user, nil
}

// publicKeyFingerprint is what DESCRIBE USER shows as RSA_PUBLIC_KEY_FP.
func publicKeyFingerprint(key *rsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:]), nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func anyEqual(known []string, given string) bool {
	for _, k := range known {
		if given != "" && equal(k, given) {
			return true
		}
	}
	return false
}
