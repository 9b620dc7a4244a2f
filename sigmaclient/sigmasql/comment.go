package sigmasql

import (
	"encoding/json"
	"strings"
)

// sigmaFields are what Sigma's comment tells about the request that a text answered.
type sigmaFields struct {
	RequestID string `json:"request-id"`
	Email     string `json:"email"` // of the owner of the credential
}

// sigmaComment tells Sigma's own comment from any other, and gives what it tells. The comment is a line
//
//	-- Sigma Σ {"request-id":"…","email":"…"}
//
// with more fields in queries that Sigma's pages run. It changes with each request and names a person, so nothing but the
// request id leaves the parser. What merely resembles it and carries a request id counts too: a letter lost to a wrong encoding
// must not leak an address.
func sigmaComment(comment string) (fields sigmaFields, ok bool) {
	rest, ok := strings.CutPrefix(comment, "-- Sigma ")
	if !ok {
		return sigmaFields{}, false
	}
	if !strings.HasPrefix(rest, "Σ") && !strings.Contains(rest, `"request-id"`) {
		return sigmaFields{}, false
	}
	if i := strings.IndexByte(rest, '{'); i >= 0 && json.Unmarshal([]byte(rest[i:]), &fields) != nil {
		fields = sigmaFields{}
	}
	return fields, true
}
