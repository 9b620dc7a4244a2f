// Package wiretest is the smallest endpoint that Snowflake's driver can log in to
// and query. Its answers are given and not computed, so that a test can hold the
// adapter against a form that an account is known to send, whatever the package
// snowflaketest, a whole account, makes of the same query. The two share no code.
//
// The package is made for tests and imports nothing of this module.
package wiretest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Column is a column of an answer.
type Column struct {
	Name             string
	Type             string // as Snowflake names it, such as "fixed"
	Precision, Scale int
	Length           int
	Values           arrow.Array
}

// Session is what a login asked for.
type Session struct {
	// Set holds the parameters that the login sets, by upper-case name.
	Set map[string]string
	// account holds the parameters of the account.
	account map[string]string
}

// Parameter returns a parameter's value in the session, in lower case.
func (s Session) Parameter(name string) string {
	if value, ok := s.Set[name]; ok {
		return strings.ToLower(value)
	}
	return strings.ToLower(s.account[name])
}

// Endpoint is an account. It is an [http.Handler] and safe for concurrent use.
type Endpoint struct {
	// Account holds session parameters of the account. A login tells all of them to
	// the driver, as Snowflake does.
	Account map[string]string
	// Ignored are the parameters, by upper-case name, that a login sets without effect:
	// the value of the account holds.
	Ignored []string
	// Answer returns the columns of a query's result. All have the same number of
	// rows; where that is 0, the answer holds no Arrow data at all.
	Answer func(sql string, session Session) []Column
	// ChunkRows is the number of rows of a chunk, which a download of its own
	// returns as a gzip-compressed Arrow stream of one batch. The first ChunkRows
	// rows come with the answer. 0: all rows come with the answer.
	ChunkRows int
	// Chunk writes the response to the download number attempt, from 0, of the chunk
	// number index, from 0, of a query's result. body is the whole chunk. Nil: the
	// body is the response. It must be safe for concurrent use.
	Chunk func(w http.ResponseWriter, r *http.Request, index, attempt int, body []byte)

	mu       sync.Mutex
	sessions []Session
	results  []result // the index is the query's number
	texts    []string
	again    func(data map[string]any)
}

// result is the result of a query.
type result struct {
	data      map[string]any // of the answer
	chunks    [][]byte
	downloads []int // of each chunk, so far
}

// Logins returns the sessions in the order of their logins.
func (e *Endpoint) Logins() []Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Session(nil), e.sessions...)
}

// Queries returns the texts of the queries that ran, in their order.
func (e *Endpoint) Queries() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.texts...)
}

// SetAgain sets a function that changes the data of each later answer to a request by
// a query's ID. Nil: the answer is that of the query. The data has the keys of
// Snowflake's answer; "rowtype" is a []map[string]any and "chunks" likewise.
func (e *Endpoint) SetAgain(change func(data map[string]any)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again = change
}

// ServeHTTP answers a request of the driver.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := requestBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer []byte
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/chunks/"):
		e.chunk(w, r)
		return
	case strings.HasSuffix(path, "/login-request"):
		answer, err = e.login(body)
	case strings.HasSuffix(path, "/query-request"):
		answer, err = e.query(r, body)
	case strings.HasPrefix(path, "/queries/") && strings.HasSuffix(path, "/result"):
		answer, err = e.repeat(path)
	case strings.HasPrefix(path, "/monitoring/queries/"):
		answer, err = success(map[string]any{"queries": []any{map[string]any{"status": "SUCCESS"}}})
	default: // the end of a session, or the abort of a query
		answer, err = success(nil)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // a driver that has gone needs no answer
}

func requestBody(r *http.Request) (_ []byte, err error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, unzipped.Close()) }()
		body = unzipped
	}
	return io.ReadAll(io.LimitReader(body, 1<<20))
}

func success(data any) ([]byte, error) {
	return json.Marshal(map[string]any{"success": true, "data": data})
}

func (e *Endpoint) login(body []byte) ([]byte, error) {
	var request struct {
		Data struct {
			Parameters map[string]any `json:"SESSION_PARAMETERS"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	session := Session{Set: map[string]string{}, account: e.Account}
	for name, value := range request.Data.Parameters {
		session.Set[strings.ToUpper(name)] = fmt.Sprint(value)
	}
	e.mu.Lock()
	e.sessions = append(e.sessions, session)
	number := len(e.sessions)
	e.mu.Unlock()
	effective := maps.Clone(session.Set)
	for _, name := range e.Ignored {
		delete(effective, name)
	}
	for name, value := range e.Account {
		if _, isSet := effective[name]; !isSet {
			effective[name] = value
		}
	}
	var parameters []map[string]string
	for name, value := range effective {
		parameters = append(parameters, map[string]string{"name": name, "value": value})
	}
	return success(map[string]any{
		"token": fmt.Sprint(number), "masterToken": "master", "validityInSeconds": 3600, "masterValidityInSeconds": 14400,
		"sessionId": number, "serverVersion": "9", "parameters": parameters, "sessionInfo": map[string]any{},
	})
}

// query runs a query in the session whose number is the token.
func (e *Endpoint) query(r *http.Request, body []byte) ([]byte, error) {
	var request struct {
		Text         string `json:"sqlText"`
		DescribeOnly bool   `json:"describeOnly"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	var token int
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), `Snowflake Token="%d"`, &token); err != nil {
		return nil, fmt.Errorf("the token: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if token < 1 || token > len(e.sessions) {
		return nil, errors.New("there is no such session")
	}
	columns := e.Answer(request.Text, e.sessions[token-1])
	found, err := resultOf(columns, request.DescribeOnly, e.ChunkRows)
	if err != nil {
		return nil, err
	}
	number := len(e.results)
	found.data["queryId"] = fmt.Sprintf(queryID, number)
	var chunks []map[string]any
	for i, rows := range found.rows {
		chunks = append(chunks, map[string]any{"url": fmt.Sprintf("http://%s/chunks/%d/%d", r.Host, number, i), "rowCount": rows})
	}
	found.data["chunks"] = chunks
	found.downloads = make([]int, len(chunks))
	e.results = append(e.results, found.result)
	e.texts = append(e.texts, request.Text)
	return success(found.data)
}

const queryID = "01c00000-0000-0000-0000-%012d"

// repeat returns the answer to a query once more.
func (e *Endpoint) repeat(path string) ([]byte, error) {
	var number int
	if _, err := fmt.Sscanf(path, "/queries/"+queryID+"/result", &number); err != nil {
		return nil, fmt.Errorf("the query's id: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if number < 0 || number >= len(e.results) {
		return nil, errors.New("there is no such query")
	}
	data := maps.Clone(e.results[number].data)
	var types []map[string]any
	for _, t := range data["rowtype"].([]map[string]any) {
		types = append(types, maps.Clone(t))
	}
	data["rowtype"] = types
	if e.again != nil {
		e.again(data)
	}
	return success(data)
}

// chunk answers the download of a chunk.
func (e *Endpoint) chunk(w http.ResponseWriter, r *http.Request) {
	var number, index int
	if _, err := fmt.Sscanf(r.URL.Path, "/chunks/%d/%d", &number, &index); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	if number < 0 || number >= len(e.results) || index < 0 || index >= len(e.results[number].chunks) {
		e.mu.Unlock()
		http.Error(w, "there is no such chunk", http.StatusNotFound)
		return
	}
	attempt, body := e.results[number].downloads[index], e.results[number].chunks[index]
	e.results[number].downloads[index]++
	e.mu.Unlock()
	if e.Chunk != nil {
		e.Chunk(w, r, index, attempt, body)
		return
	}
	_, _ = w.Write(body) // a driver that has gone needs no answer
}

// madeResult is a result and the number of rows of each of its chunks.
type madeResult struct {
	result
	rows []int64
}

func resultOf(columns []Column, describeOnly bool, chunkRows int) (made madeResult, err error) {
	var types []map[string]any
	var fields []arrow.Field
	var values []arrow.Array
	var rows int64
	for _, c := range columns {
		types = append(types, map[string]any{
			"name": c.Name, "type": c.Type, "precision": c.Precision, "scale": c.Scale, "length": c.Length, "nullable": true,
		})
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Values.DataType(), Nullable: true})
		values, rows = append(values, c.Values), int64(c.Values.Len())
	}
	if describeOnly {
		rows = 0
	}
	var inline []byte
	if rows > 0 {
		batch := array.NewRecordBatch(arrow.NewSchema(fields, nil), values, rows)
		defer batch.Release()
		first := rows
		if chunkRows > 0 {
			first = min(rows, int64(chunkRows))
		}
		if inline, err = stream(batch, 0, first); err != nil {
			return made, err
		}
		for from := first; from < rows; from += int64(chunkRows) {
			to := min(from+int64(chunkRows), rows)
			plain, err := stream(batch, from, to)
			if err != nil {
				return made, err
			}
			packed, err := Compress(plain)
			if err != nil {
				return made, err
			}
			made.chunks, made.rows = append(made.chunks, packed), append(made.rows, to-from)
		}
	}
	made.data = map[string]any{
		"rowtype": types, "rowsetBase64": base64.StdEncoding.EncodeToString(inline), "total": rows, "returned": rows,
		"queryResultFormat": "arrow", "statementTypeId": 4096, "version": 1, "parameters": []any{},
	}
	return made, nil
}

// stream returns the Arrow stream of rows of a batch.
func stream(batch arrow.RecordBatch, from, to int64) ([]byte, error) {
	slice := batch.NewSlice(from, to)
	defer slice.Release()
	var stream bytes.Buffer
	writer := ipc.NewWriter(&stream, ipc.WithSchema(batch.Schema()))
	err := errors.Join(writer.Write(slice), writer.Close())
	return stream.Bytes(), err
}

// Compress returns data as Snowflake compresses a chunk.
func Compress(data []byte) ([]byte, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(data)
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}
