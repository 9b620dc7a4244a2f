package sigmatest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
)

// object is an object of JSON.
type object = map[string]any

// answer is what a call comes to.
type answer struct {
	status int
	body   any
	html   string // the title of a page that is sent in place of the body, where set
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// refuse makes an error in Sigma's form.
func refuse(status int, code, message string) answer {
	return answer{status: status, body: object{"requestId": randomID(), "code": code, "message": message}}
}

var (
	unauthorized = func() answer { return refuse(http.StatusUnauthorized, "unauthorized", "Token missing or malformed") }
	forbidden    = func() answer { return refuse(http.StatusForbidden, "forbidden", "No permission") }
	notFound     = func() answer { return refuse(http.StatusNotFound, "not_found", "Not found") }
	archived     = func() answer { return refuse(http.StatusConflict, "inode_archived", "The document is archived") }
)

// write sends the answer. It gives up on a caller who has left.
func (a answer) write(w http.ResponseWriter) {
	if a.html != "" {
		writeHTML(w, a.status, a.html)
		return
	}
	data, err := json.Marshal(a.body)
	if err != nil {
		panic("sigmatest: " + err.Error())
	}
	writeJSON(w, a.status, data)
}

func writeJSON(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	write(w, string(data))
}

func writeHTML(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	write(w, "<!DOCTYPE html><html><head><title>"+title+"</title></head><body>"+title+"</body></html>")
}

// write gives up on a caller who has left, as a server does.
func write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// flush sends what was written so far.
func flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// ask is a call that was let in, with what is served at the moment.
type ask struct {
	*http.Request
	*served
	client  Client
	options Options
	unsent  int // entries that a list counts and does not send
}

// reads are the calls that need a token, by the path that they get.
var reads = map[string]func(*ask) answer{
	"/v2/whoami":                       whoAmI,
	"/v2/workbooks":                    listWorkbooks,
	"/v2/workbooks/{workbookId}":       getWorkbook,
	"/v2/workbooks/{workbookId}/pages": inWorkbook(listPages),
	"/v2/workbooks/{workbookId}/pages/{pageId}/elements":      inWorkbook(listPageElements),
	"/v2/workbooks/{workbookId}/elements":                     inWorkbook(listElements),
	"/v2/workbooks/{workbookId}/columns":                      inWorkbook(listColumns),
	"/v2/workbooks/{workbookId}/queries":                      inWorkbook(listQueries),
	"/v2/workbooks/{workbookId}/lineage":                      inWorkbook(workbookLineage),
	"/v2/workbooks/{workbookId}/sources":                      inWorkbook(workbookSources),
	"/v2/workbooks/{workbookId}/controls":                     inWorkbook(listControls),
	"/v2/workbooks/{workbookId}/bookmarks":                    inWorkbook(listBookmarks),
	"/v2/workbooks/{workbookId}/tags":                         inWorkbook(listWorkbookTags),
	"/v2/workbooks/{workbookId}/elements/{elementId}/query":   inWorkbook(elementQuery),
	"/v2/workbooks/{workbookId}/elements/{elementId}/columns": inWorkbook(elementColumns),
	"/v2/workbooks/{workbookId}/lineage/elements/{elementId}": inWorkbook(elementLineage),
	"/v2/dataModels":                                          listDataModels,
	"/v2/dataModels/{dataModelId}":                            inDataModel(getDataModel),
	"/v2/dataModels/{dataModelId}/elements":                   inDataModel(dataModelElements),
	"/v2/dataModels/{dataModelId}/columns":                    inDataModel(dataModelColumns),
	"/v2/dataModels/{dataModelId}/lineage":                    inDataModel(dataModelLineage),
	"/v2/dataModels/{dataModelId}/sources":                    inDataModel(dataModelSources),
	"/v2/dataModels/{dataModelId}/tags":                       inDataModel(dataModelTags),
	"/v2/dataModels/{dataModelId}/elements/{elementId}/query": inDataModel(dataModelQuery),
	"/v2/connections":                                         listConnections,
	"/v2/connections/{connectionId}":                          getConnection,
	"/v2/connections/paths":                                   listPaths,
	"/v2/connections/paths/{inodeId}":                         getPath,
	"/v2/files":                                               listFiles,
	"/v2/files/{inodeId}":                                     getFile,
	"/v2/workspaces":                                          listWorkspaces,
	"/v2.1/workspaces":                                        listWorkspaces,
	"/v2/tags":                                                listTags,
}

// handlers are all calls that the server knows.
func (s *Server) handlers() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokenPath, s.grant)
	for path, handle := range reads {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, handle) })
	}
	mux.HandleFunc("POST /v2/workbooks/{workbookId}/export", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r, inWorkbook(s.exportWorkbook))
	})
	mux.HandleFunc("GET /v2/query/{queryId}/download", s.download)
	mux.HandleFunc("/", unmatched)
	return mux
}

// answer serves the calls that need a token.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, handle func(*ask) answer) {
	now, options := s.state()
	client, known := s.authenticate(r)
	if !known {
		unauthorized().write(w)
		return
	}
	handle(&ask{Request: r, served: now, client: client, options: options}).write(w)
}

// unmatched is Sigma's answer to an unknown path: an empty body.
func unmatched(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("errorcause", "UnmatchedHandler")
	w.WriteHeader(http.StatusNotFound)
}

func randomID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("sigmatest: " + err.Error())
	}
	return uuid(hex.EncodeToString(b[:]))
}

func whoAmI(a *ask) answer {
	return ok(object{"userId": a.client.Owner, "organizationId": a.org.ID})
}
