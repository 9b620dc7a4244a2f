package sigmaclient

import (
	"cmp"
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

// Error is a failed call, with what Sigma's support needs to find it.
type Error struct {
	Kind       Kind
	Call       string        // method and path, ids left out, such as "GET /v2/workbooks/{}/queries"
	Status     int           // HTTP status; 0 where there was no answer
	Code       string        // Sigma's code, such as "unable_to_produce_query"
	RequestID  string        // Sigma's id of the request
	Message    string        // Sigma's words where they are safe to show: one short line without addresses or SQL; often empty
	RetryAfter time.Duration // how long Sigma asks to wait; 0 where it says nothing
	Err        error         // the cause, where there was no answer or it could not be read
}

// Error names the call, the kind and Sigma's own facts. It leaves the message
// out: what is safe to show to someone who asked need not be so in a log.
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
	Message   string     `json:"message" scalar:"true"`
	Nested    *errorBody `json:"error"`
}

// newError reads a failed answer. Bodies from proxies are HTML, and some are
// empty: the status alone decides then.
func newError(call string, response *http.Response, body []byte, now time.Time) *Error {
	var parsed errorBody
	if err := decodeObject(body, &parsed); err != nil {
		parsed = errorBody{}
	}
	nested := parsed.Nested
	if nested == nil {
		nested = &errorBody{}
	}
	e := &Error{
		Call:      call,
		Status:    response.StatusCode,
		Code:      identifier(cmp.Or(parsed.Code, nested.Code)),
		RequestID: identifier(cmp.Or(parsed.RequestID, nested.RequestID, response.Header.Get("X-Request-Id"))),
	}
	e.RetryAfter, _ = parseRetryAfter(response.Header.Get("Retry-After"), now)
	e.Kind = kindOf(e.Status, e.Code)
	if e.Kind != KindWarehouseRefused { // warehouses quote the statement
		e.Message = safeMessage(cmp.Or(parsed.Message, nested.Message))
	}
	return e
}

// maxMessage is the most that is kept of a message, in bytes.
const maxMessage = 200

// safeMessage makes a line of words out of Sigma's message, and nothing out of
// one that looks like markup or SQL. Words that look like an address are
// replaced.
func safeMessage(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), 4*maxMessage)], "")
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if strings.EqualFold(word, "select") {
			return ""
		}
	}
	var line strings.Builder
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		if strings.Contains(word, "</") || strings.HasPrefix(word, "<") {
			return ""
		}
		if strings.ContainsAny(word, "@＠") || strings.Contains(word, "%40") {
			word = "[address]"
		}
		if line.Len()+1+len(word) > maxMessage {
			break
		}
		if line.Len() > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(word)
	}
	return line.String()
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
