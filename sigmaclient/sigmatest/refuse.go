package sigmatest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// Call is a call about a document, by what follows the document's id in its
// path.
type Call string

// The calls about a document that can be made to fail.
const (
	CallElements       Call = "elements"
	CallPages          Call = "pages"
	CallLineage        Call = "lineage"
	CallColumns        Call = "columns"
	CallSources        Call = "sources"
	CallQueries        Call = "queries"
	CallControls       Call = "controls"
	CallBookmarks      Call = "bookmarks"
	CallTags           Call = "tags"
	CallElementQuery   Call = "elements/{elementId}/query"
	CallElementColumns Call = "elements/{elementId}/columns"
)

// SideCalls are the calls that a reader of a workbook's elements can do without.
func SideCalls() []Call {
	return []Call{CallLineage, CallColumns, CallSources, CallQueries, CallPages, CallControls, CallElementColumns}
}

// On limits a fault to the call, for workbooks and data models.
func (c Call) On(fault Fault) Fault {
	path := strings.ReplaceAll(string(c), "{elementId}", "*")
	ofWorkbooks, ofDataModels := On("/v2/workbooks/*/"+path, fault), On("/v2/dataModels/*/"+path, fault)
	return func(w http.ResponseWriter, r *http.Request) bool { return ofWorkbooks(w, r) || ofDataModels(w, r) }
}

// Failure is an error response of Sigma's. A status from 502 to 504 comes from
// the proxy before Sigma, which has no code.
type Failure struct {
	Status  int
	Code    string
	Message string
}

// Failures are the error responses that a call about a document can have, and an
// unknown one of each class.
func Failures() []Failure {
	return []Failure{
		{http.StatusBadRequest, "invalid_request", "Invalid parameter"},
		{http.StatusBadRequest, "unable_to_produce_query", "Unable to produce a query"},
		{http.StatusBadRequest, "warehouse_query_failed_user_error", "SQL compilation error"},
		{http.StatusForbidden, "forbidden", "No permission"},
		{http.StatusNotFound, "not_found", "Not found"},
		{http.StatusConflict, "inode_archived", "The document is archived"},
		{http.StatusGone, "gone", "Gone"},
		{http.StatusTeapot, "teapot", "An unknown refusal"},
		{http.StatusUnprocessableEntity, "unprocessable", "Cannot be processed"},
		{http.StatusUnavailableForLegalReasons, "unavailable", "Unavailable"},
		{http.StatusInternalServerError, "internal_error", "Internal error"},
		{http.StatusBadGateway, "", ""},
		{http.StatusServiceUnavailable, "", ""},
		{http.StatusGatewayTimeout, "", ""},
		{599, "unknown", "An unknown failure"},
	}
}

// Fault answers with the failure.
func (f Failure) Fault() Fault {
	if f.Code == "" {
		return Gateway(f.Status)
	}
	return Fail(f.Status, f.Code, f.Message)
}

func (f Failure) answer() answer {
	if f.Code == "" {
		return answer{status: f.Status, html: http.StatusText(f.Status)}
	}
	return refuse(f.Status, f.Code, f.Message)
}

// failureOf returns how a document answers a call, if it fails.
func failureOf(failures map[Call]Failure, r *http.Request) (Failure, bool) {
	_, call, _ := strings.Cut(r.Pattern, "Id}/")
	failure, fails := failures[Call(call)]
	return failure, fails
}

// withRaw replaces members of an object.
func withRaw(body object, raw map[string]string) object {
	if len(raw) == 0 {
		return body
	}
	body = maps.Clone(body)
	for key, text := range raw {
		if text == "" {
			delete(body, key)
		} else {
			body[key] = json.RawMessage(text)
		}
	}
	return body
}
