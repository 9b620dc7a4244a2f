package sigmatest

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"sync"
)

// exports are the results that wait to be downloaded.
type exports struct {
	mu    sync.Mutex
	ready map[string]*export // by query id
}

type export struct {
	csv   []byte
	looks int // until it is ready
}

// exportWorkbook starts the export of an element as CSV. What comes is
// Element.Exported; the server has no engine to run SQL.
func (s *Server) exportWorkbook(a *ask, w *Workbook) answer {
	var asked struct {
		ElementID string `json:"elementId"`
		Format    struct {
			Type string `json:"type"`
		} `json:"format"`
		RowLimit int    `json:"rowLimit"`
		Tag      string `json:"tag"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, a.Body, 1<<20)).Decode(&asked); err != nil || asked.Format.Type != "csv" {
		return refuse(http.StatusBadRequest, "invalid_request", "The body is not an export of CSV")
	}
	pages, known := w.pagesAt(asked.Tag)
	if !known {
		return notFound()
	}
	e := findID(elementsOf(pages), asked.ElementID)
	if e == nil || !e.isData() {
		return notFound()
	}
	if e.Refusal.isError() {
		return e.Refusal.answer()
	}
	if e.NoExport {
		return UnableToProduce.answer()
	}
	rows := e.Exported
	if asked.RowLimit > 0 {
		rows = rows[:min(asked.RowLimit, len(rows))]
	}
	id := randomID()
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	if s.exports.ready == nil {
		s.exports.ready = map[string]*export{}
	}
	s.exports.ready[id] = &export{csv: e.csv(rows), looks: a.options.ExportLooks}
	return ok(object{"queryId": id, "jobComplete": false})
}

func (e *Element) csv(rows [][]string) []byte {
	var header []string
	for _, c := range e.Columns {
		header = append(header, c.Label)
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(append([][]string{header}, rows...)); err != nil {
		panic("sigmatest: " + err.Error()) // a buffer takes everything
	}
	return b.Bytes()
}

// download gives a result once it was looked for often enough.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	if _, known := s.authenticate(r); !known {
		unauthorized().write(w)
		return
	}
	s.exports.mu.Lock()
	e := s.exports.ready[r.PathValue("queryId")]
	waits := e != nil && e.looks > 0
	if waits {
		e.looks--
	}
	s.exports.mu.Unlock()
	switch {
	case e == nil:
		notFound().write(w)
	case waits:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		write(w, string(e.csv))
	}
}
