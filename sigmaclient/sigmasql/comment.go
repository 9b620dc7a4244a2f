package sigmasql

import (
	"encoding/json"
	"strings"
)

// sigmaComment tells Sigma's own comment from any other, and gives the request id in it. The comment is a line
//
//	-- Sigma Σ {"request-id":"…","email":"…"}
//
// with more fields in queries that Sigma's pages run. It changes with each request and names a person, so nothing but the
// request id leaves it. What merely resembles it and carries a request id counts too: a letter lost to a wrong encoding
// must not leak an address.
func sigmaComment(comment string) (requestID string, ok bool) {
	rest, ok := strings.CutPrefix(comment, "-- Sigma ")
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(rest, "Σ") && !strings.Contains(rest, `"request-id"`) {
		return "", false
	}
	var fields struct {
		RequestID string `json:"request-id"`
	}
	if i := strings.IndexByte(rest, '{'); i >= 0 && json.Unmarshal([]byte(rest[i:]), &fields) == nil {
		requestID = fields.RequestID
	}
	return requestID, true
}
