package sigmatest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type object = map[string]any

func (s *Server) routes() {
	s.mux.HandleFunc("POST /v2/auth/token", s.token)
	for pattern, handler := range map[string]func(http.ResponseWriter, *http.Request){
		"GET /v2/whoami":                                          s.whoami,
		"GET /v2/workbooks":                                       s.workbooks,
		"GET /v2/workbooks/{workbook}":                            s.inWorkbook(s.workbook),
		"GET /v2/workbooks/{workbook}/pages":                      s.inWorkbook(s.pages),
		"GET /v2/workbooks/{workbook}/pages/{page}/elements":      s.inWorkbook(s.pageElements),
		"GET /v2/workbooks/{workbook}/elements":                   s.inWorkbook(s.elements),
		"GET /v2/workbooks/{workbook}/columns":                    s.inWorkbook(s.columns),
		"GET /v2/workbooks/{workbook}/queries":                    s.inWorkbook(s.queries),
		"GET /v2/workbooks/{workbook}/lineage":                    s.inWorkbook(s.lineage),
		"GET /v2/workbooks/{workbook}/sources":                    s.inWorkbook(s.sources),
		"GET /v2/workbooks/{workbook}/elements/{element}/query":   s.inWorkbook(s.elementQuery),
		"GET /v2/workbooks/{workbook}/elements/{element}/columns": s.inWorkbook(s.elementColumns),
		"GET /v2/connections":                                     s.connections,
		"GET /v2/connections/{connection}":                        s.connection,
		"GET /v2/dataModels":                                      s.dataModels,
		"GET /v2/dataModels/{model}/elements":                     s.dataModelElements,
	} {
		s.mux.HandleFunc(pattern, s.authorized(handler))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("errorcause", "UnmatchedHandler")
		w.WriteHeader(http.StatusNotFound)
	})
}

func (s *Server) whoami(w http.ResponseWriter, _ *http.Request) {
	org := s.Organization()
	writeJSON(w, object{"userId": org.Owner, "organizationId": org.ID})
}

func (s *Server) workbooks(w http.ResponseWriter, r *http.Request) {
	org := s.Organization()
	archived := r.URL.Query().Get("isArchived") == "true"
	list := []object{}
	for _, workbook := range org.Workbooks {
		if workbook.Archived == archived {
			list = append(list, describe(org, workbook))
		}
	}
	writePage(s, w, r, list)
}

func describe(org Organization, w Workbook) object {
	tags := []object{}
	for _, tag := range w.Tags {
		tags = append(tags, object{
			"versionTagId": uuid("tag", tag), "name": tag, "sourceWorkbookVersion": w.Version,
			"taggedWorkbookId": uuid("tagged", tag, w.ID), "workbookTaggedAt": w.UpdatedAt.Format(time.RFC3339Nano),
		})
	}
	return object{
		"workbookId":    w.ID,
		"workbookUrlId": urlID(w.ID),
		"name":          w.Name,
		"url":           fmt.Sprintf("https://app.sigmacomputing.com/%s/workbook/%s", org.Slug, urlID(w.ID)),
		"path":          w.Path,
		"latestVersion": w.Version,
		"ownerId":       w.Owner,
		"createdBy":     w.Owner,
		"updatedBy":     w.Owner,
		"createdAt":     w.CreatedAt.Format(time.RFC3339Nano),
		"updatedAt":     w.UpdatedAt.Format(time.RFC3339Nano),
		"isArchived":    w.Archived,
		"tags":          tags,
	}
}

// inWorkbook finds the workbook of a path.
func (s *Server) inWorkbook(handler func(http.ResponseWriter, *http.Request, Workbook)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, workbook := range s.Organization().Workbooks {
			if workbook.ID != r.PathValue("workbook") {
				continue
			}
			if workbook.Archived && strings.Count(r.URL.Path, "/") > 3 {
				writeError(w, http.StatusConflict, "inode_archived", "the document is archived")
				return
			}
			handler(w, r, workbook)
			return
		}
		writeError(w, http.StatusNotFound, "not_found", "there is no such document")
	}
}

func (s *Server) workbook(w http.ResponseWriter, _ *http.Request, workbook Workbook) {
	writeJSON(w, describe(s.Organization(), workbook))
}

func (s *Server) pages(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	list := []object{}
	for _, page := range workbook.Pages {
		entry := object{"pageId": page.ID, "name": page.Name}
		if page.Hidden {
			entry["hidden"] = true
		}
		list = append(list, entry)
	}
	writePage(s, w, r, list)
}

func (s *Server) pageElements(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	for _, page := range workbook.Pages {
		if page.ID == r.PathValue("page") {
			writePage(s, w, r, describeElements(page.Elements))
			return
		}
	}
	writeError(w, http.StatusNotFound, "not_found", "there is no such page")
}

func (s *Server) elements(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	writePage(s, w, r, describeElements(workbook.elements()))
}

// elements returns the elements of all pages.
func (w Workbook) elements() []Element {
	var all []Element
	for _, page := range w.Pages {
		all = append(all, page.Elements...)
	}
	return all
}

func describeElements(elements []Element) []object {
	list := []object{}
	for _, e := range elements {
		entry := object{"elementId": e.ID, "type": e.Type}
		if e.Name != "" {
			entry["name"] = e.Name
		}
		if e.Visualization != "" {
			entry["vizualizationType"] = e.Visualization
		}
		if e.isData() {
			labels := []string{}
			for _, column := range e.Columns {
				labels = append(labels, column.Label)
			}
			entry["columns"] = labels
		}
		if e.Refusal == WithError {
			entry["error"] = "Dependency on a missing element"
		}
		list = append(list, entry)
	}
	return list
}

func (s *Server) columns(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	list := []object{}
	for _, e := range workbook.elements() {
		for _, column := range e.Columns {
			list = append(list, object{
				"columnId": column.ID, "name": column.Label, "formula": column.Formula,
				"type": object{"type": column.Type}, "elementId": e.ID,
			})
		}
	}
	writePage(s, w, r, list)
}

func (s *Server) elementColumns(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	e, ok := workbook.element(r.PathValue("element"))
	if !ok || !e.isData() {
		writeError(w, http.StatusNotFound, "not_found", "there is no such element")
		return
	}
	list := []object{}
	for _, column := range e.Columns {
		list = append(list, object{
			"columnId": column.ID, "label": column.Label, "formula": column.Formula, "type": object{"type": column.Type},
		})
	}
	writePage(s, w, r, list)
}

func (w Workbook) element(id string) (Element, bool) {
	for _, e := range w.elements() {
		if e.ID == id {
			return e, true
		}
	}
	return Element{}, false
}

// queries lists what has a query. Elements that only their own call refuses are
// left out.
func (s *Server) queries(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	org := s.Organization()
	list := []object{}
	for _, e := range workbook.elements() {
		if e.isData() && e.Refusal <= WithNothing {
			list = append(list, describeQuery(org, e))
		}
	}
	writePage(s, w, r, list)
}

func describeQuery(org Organization, e Element) object {
	query := object{"elementId": e.ID}
	if e.Name != "" {
		query["name"] = e.Name
	}
	switch {
	case e.Refusal == WithError:
		query["error"] = "Dependency on a missing element"
	case e.Refusal == WithNothing:
	default:
		query["sql"] = e.SQL + comment(org)
	}
	return query
}

// comment is what Sigma puts behind every text: another one each time, with the
// address of the credentials' owner.
func comment(org Organization) string {
	return fmt.Sprintf("\n\n-- Sigma Σ {\"request-id\":%q,\"email\":%q}", uuid(rand.Text()), org.OwnerEmail)
}

func (s *Server) elementQuery(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	e, ok := workbook.element(r.PathValue("element"))
	if !ok {
		writeError(w, http.StatusNotFound, "not_found", "there is no such element")
		return
	}
	if !e.isData() {
		writeError(w, http.StatusNotFound, "not_found", "the query is not present")
		return
	}
	switch e.Refusal {
	case UnableToProduce:
		writeError(w, http.StatusBadRequest, "unable_to_produce_query", "the element depends on itself")
	case WarehouseFailed:
		writeError(w, http.StatusBadRequest, "warehouse_query_failed_user_error", "the warehouse refused the query")
	case Forbidden:
		writeError(w, http.StatusForbidden, "forbidden", "no permission")
	case NotPresent:
		writeError(w, http.StatusNotFound, "not_found", "the query is not present")
	case SourceArchived:
		writeError(w, http.StatusConflict, "inode_archived", "a source is archived")
	default:
		writeJSON(w, describeQuery(s.Organization(), e))
	}
}

func (s *Server) lineage(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	org := s.Organization()
	list := []object{}
	sources := map[string]bool{}
	for _, e := range workbook.elements() {
		if !e.isData() {
			continue
		}
		id := uuid("table", workbook.ID, e.Connection)
		entry := object{"type": "table", "connectionId": e.Connection, "name": "SOURCE", "inodeId": id}
		if e.DataModel != "" {
			id = e.DataModel
			entry = object{"type": "data-model", "connectionId": nil, "name": org.dataModelName(id), "dataModelId": id}
		}
		list = append(list, object{"type": "element", "elementId": e.ID, "sourceIds": []string{"inode-" + urlID(id)}, "dataSourceIds": []string{id}})
		if !sources[id] {
			sources[id] = true
			list = append(list, entry)
		}
		if e.CustomSQL != "" {
			list = append(list, object{"type": "customSQL", "connectionId": e.Connection, "name": nil, "definition": e.CustomSQL})
		}
	}
	writePage(s, w, r, list)
}

func (o Organization) dataModelName(id string) any {
	for _, m := range o.DataModels {
		if m.ID == id {
			return m.Name
		}
	}
	return nil
}

// sources answers with a bare array, and refuses a limit, as the API does.
func (s *Server) sources(w http.ResponseWriter, r *http.Request, workbook Workbook) {
	if r.URL.Query().Has("limit") {
		writeError(w, http.StatusBadRequest, "invalid_request", "limit is unknown")
		return
	}
	list := []object{}
	seen := map[string]bool{}
	for _, e := range workbook.elements() {
		switch key := e.Connection + e.DataModel + e.CustomSQL; {
		case !e.isData() || seen[key]:
		case e.DataModel != "":
			list = append(list, object{"type": "data-model", "dataModelId": e.DataModel, "elementIds": []string{}})
			seen[key] = true
		case e.CustomSQL != "":
			list = append(list, object{"type": "custom-sql", "connectionId": e.Connection, "definition": e.CustomSQL, "customSqlId": uuid("custom", e.CustomSQL)})
			seen[key] = true
		default:
			list = append(list, object{"type": "table", "inodeId": uuid("table", workbook.ID, e.Connection)})
			seen[key] = true
		}
	}
	writeJSON(w, list)
}

func (s *Server) connections(w http.ResponseWriter, r *http.Request) {
	org := s.Organization()
	list := []object{}
	for _, c := range org.Connections {
		list = append(list, describeConnection(org, c))
	}
	writePage(s, w, r, list)
}

func (s *Server) connection(w http.ResponseWriter, r *http.Request) {
	org := s.Organization()
	for _, c := range org.Connections {
		if c.ID == r.PathValue("connection") {
			writeJSON(w, describeConnection(org, c))
			return
		}
	}
	writeError(w, http.StatusNotFound, "not_found", "there is no such connection")
}

func describeConnection(org Organization, c Connection) object {
	at := time.Date(2025, 12, 1, 10, 0, 0, 0, time.UTC).Format(time.RFC3339)
	described := object{
		"organizationId": org.ID, "connectionId": c.ID, "isSample": false, "isAuditLog": false, "lastActiveAt": at,
		"name": c.Name, "type": c.Type, "useOauth": false, "createdBy": org.Owner, "updatedBy": org.Owner,
		"createdAt": at, "updatedAt": at,
	}
	for key, value := range map[string]string{"account": c.Account, "warehouse": c.Warehouse, "user": c.User, "role": c.Role, "host": c.Host} {
		if value != "" {
			described[key] = value
		}
	}
	return described
}

func (s *Server) dataModels(w http.ResponseWriter, r *http.Request) {
	org := s.Organization()
	list := []object{}
	for _, m := range org.DataModels {
		list = append(list, object{
			"dataModelId": m.ID, "dataModelUrlId": urlID(m.ID), "name": m.Name,
			"url":  fmt.Sprintf("https://app.sigmacomputing.com/%s/data-model/%s", org.Slug, urlID(m.ID)),
			"path": m.Path, "latestVersion": m.Version, "ownerId": org.Owner, "createdBy": org.Owner, "updatedBy": org.Owner,
			"createdAt": m.CreatedAt.Format(time.RFC3339Nano), "updatedAt": m.UpdatedAt.Format(time.RFC3339Nano), "isArchived": false,
		})
	}
	writePage(s, w, r, list)
}

func (s *Server) dataModelElements(w http.ResponseWriter, r *http.Request) {
	for _, m := range s.Organization().DataModels {
		if m.ID == r.PathValue("model") {
			writePage(s, w, r, describeElements(m.Elements))
			return
		}
	}
	writeError(w, http.StatusNotFound, "not_found", "there is no such document")
}
