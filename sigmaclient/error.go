package sigmaclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Kind sorts Sigma's failures by what a caller can do about them.
type Kind int

// The kinds of failure.
const (
	KindInternal         Kind = iota // HTTP 500: Sigma failed on this one thing, steadily as a rule
	KindCredentials                  // Sigma refuses the credentials, or they are of another region
	KindForbidden                    // the credentials' owner may not read this
	KindNotFound                     // it is not, or no longer, in Sigma
	KindArchived                     // it, or something it reads from, is archived
	KindBroken                       // Sigma cannot produce the element's query
	KindWarehouseRefused             // the query failed in the warehouse when Sigma tried it
	KindInvalidRequest               // Sigma refuses the request as such
	KindThrottled                    // too many calls
	KindUnavailable                  // Sigma cannot be reached, or failed in passing
	KindProtocol                     // the answer is not what the contract promises
)

// String returns the kind in plain words.
func (k Kind) String() string {
	names := [...]string{
		KindInternal:         "internal error",
		KindCredentials:      "credentials refused",
		KindForbidden:        "forbidden",
		KindNotFound:         "not found",
		KindArchived:         "archived",
		KindBroken:           "no query can be produced",
		KindWarehouseRefused: "query refused by the warehouse",
		KindInvalidRequest:   "request refused",
		KindThrottled:        "throttled",
		KindUnavailable:      "unavailable",
		KindProtocol:         "answer not understood",
	}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// Error is a failed call. It holds nothing of Sigma's own text, which may name
// people, only what Sigma's support needs to find the call.
type Error struct {
	Kind       Kind
	Call       string        // method and path, ids left out, such as "GET /v2/workbooks/{}/queries"
	Status     int           // HTTP status; 0 where there was no answer
	Code       string        // Sigma's code, such as "unable_to_produce_query"
	RequestID  string        // Sigma's id of the request
	RetryAfter time.Duration // how long Sigma asks to wait; 0 where it says nothing
	Err        error         // the cause, where there was no answer or it could not be read
}

// Error names the call, the kind and Sigma's own facts.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sigma: %s: %s", e.Call, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, ", code %s", e.Code)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, ", request %s", e.RequestID)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// errorBody is Sigma's error in JSON, plain or nested: both have been seen.
type errorBody struct {
	RequestID string     `json:"requestId"`
	Code      string     `json:"code"`
	Nested    *errorBody `json:"error"`
}

// newError reads a failed answer. Bodies from proxies are HTML, and some are
// empty: the status alone decides then.
func newError(call string, response *http.Response, body []byte, now time.Time) *Error {
	var parsed errorBody
	if err := json.Unmarshal(body, &parsed); err != nil {
		parsed = errorBody{}
	}
	if parsed.Nested != nil && parsed.Code == "" {
		parsed.Code = parsed.Nested.Code
	}
	if parsed.Nested != nil && parsed.RequestID == "" {
		parsed.RequestID = parsed.Nested.RequestID
	}
	if parsed.RequestID == "" {
		parsed.RequestID = response.Header.Get("X-Request-Id")
	}
	e := &Error{
		Call:      call,
		Status:    response.StatusCode,
		Code:      identifier(parsed.Code),
		RequestID: identifier(parsed.RequestID),
	}
	e.RetryAfter, _ = parseRetryAfter(response.Header.Get("Retry-After"), now)
	e.Kind = kindOf(e.Status, e.Code)
	return e
}

// identifier keeps what looks like a code or an id: anything else may be text
// about a person.
func identifier(s string) string {
	if len(s) > 100 || strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '.'
	}) {
		return ""
	}
	return s
}

func kindOf(status int, code string) Kind {
	switch code {
	case "inode_archived":
		return KindArchived
	case "unable_to_produce_query":
		return KindBroken
	case "warehouse_query_failed_user_error":
		return KindWarehouseRefused
	}
	switch {
	case status == http.StatusUnauthorized:
		return KindCredentials
	case status == http.StatusForbidden:
		return KindForbidden
	case status == http.StatusNotFound:
		return KindNotFound
	case status == http.StatusTooManyRequests:
		return KindThrottled
	case status == http.StatusInternalServerError:
		return KindInternal
	case status > http.StatusInternalServerError:
		return KindUnavailable
	case status >= http.StatusBadRequest:
		return KindInvalidRequest
	}
	return KindProtocol
}
