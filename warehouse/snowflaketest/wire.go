package snowflaketest

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// maxRequestBytes bounds a request's body. Snowflake's own limit for a
// statement's text is 1 MB.
const maxRequestBytes = 8 << 20

// envelope is the frame of every JSON answer.
type envelope struct {
	Data    any    `json:"data"`
	Message string `json:"message,omitempty"`
	Code    string `json:"code,omitempty"`
	Success bool   `json:"success"`
}

type parameter struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

type loginRequest struct {
	Data struct {
		AccountName       string         `json:"ACCOUNT_NAME"`
		LoginName         string         `json:"LOGIN_NAME"`
		Password          string         `json:"PASSWORD"`
		Authenticator     string         `json:"AUTHENTICATOR"`
		Token             string         `json:"TOKEN"`
		SessionParameters map[string]any `json:"SESSION_PARAMETERS"`
	} `json:"data"`
}

type loginData struct {
	Token           string      `json:"token"`
	Validity        int         `json:"validityInSeconds"`
	MasterToken     string      `json:"masterToken"`
	MasterValidity  int         `json:"masterValidityInSeconds"`
	DisplayUserName string      `json:"displayUserName"`
	ServerVersion   string      `json:"serverVersion"`
	SessionID       int64       `json:"sessionId"`
	Parameters      []parameter `json:"parameters"`
	SessionInfo     sessionInfo `json:"sessionInfo"`
}

type sessionInfo struct {
	Database  string `json:"databaseName,omitempty"`
	Schema    string `json:"schemaName,omitempty"`
	Warehouse string `json:"warehouseName,omitempty"`
	Role      string `json:"roleName,omitempty"`
}

type renewData struct {
	SessionToken        string `json:"sessionToken"`
	ValidityInSecondsST int    `json:"validityInSecondsST"`
	MasterToken         string `json:"masterToken"`
	ValidityInSecondsMT int    `json:"validityInSecondsMT"`
	SessionID           int64  `json:"sessionId"`
}

type queryRequest struct {
	SQLText      string         `json:"sqlText"`
	AsyncExec    bool           `json:"asyncExec"`
	DescribeOnly bool           `json:"describeOnly"`
	Parameters   map[string]any `json:"parameters"`
	Bindings     map[string]any `json:"bindings"`
}

// queryData is both the answer with a result and, with GetResultURL set, the
// answer that the query still runs.
type queryData struct {
	Parameters        []parameter       `json:"parameters,omitempty"`
	RowType           []rowType         `json:"rowtype,omitempty"`
	RowSet            [][]*string       `json:"rowset,omitempty"`
	RowSetBase64      *string           `json:"rowsetBase64,omitempty"`
	Total             int64             `json:"total"`
	Returned          int64             `json:"returned"`
	QueryID           string            `json:"queryId,omitempty"`
	SQLState          string            `json:"sqlState,omitempty"`
	DatabaseProvider  *string           `json:"databaseProvider"`
	FinalDatabase     string            `json:"finalDatabaseName,omitempty"`
	FinalSchema       string            `json:"finalSchemaName,omitempty"`
	FinalWarehouse    string            `json:"finalWarehouseName,omitempty"`
	FinalRole         string            `json:"finalRoleName,omitempty"`
	StatementTypeID   int64             `json:"statementTypeId,omitempty"`
	Version           int64             `json:"version,omitempty"`
	Chunks            []chunkData       `json:"chunks,omitempty"`
	Qrmk              string            `json:"qrmk,omitempty"`
	ChunkHeaders      map[string]string `json:"chunkHeaders,omitempty"`
	QueryResultFormat string            `json:"queryResultFormat,omitempty"`
	GetResultURL      string            `json:"getResultUrl,omitempty"`
	AbortsAfter       int               `json:"queryAbortsAfterSecs,omitempty"`
}

type rowType struct {
	Name       string `json:"name"`
	Database   string `json:"database"`
	Schema     string `json:"schema"`
	Table      string `json:"table"`
	Nullable   bool   `json:"nullable"`
	Type       string `json:"type"`
	ByteLength *int64 `json:"byteLength"`
	Length     *int64 `json:"length"`
	Precision  *int64 `json:"precision"`
	Scale      *int64 `json:"scale"`
}

type chunkData struct {
	URL              string `json:"url"`
	RowCount         int64  `json:"rowCount"`
	UncompressedSize int64  `json:"uncompressedSize"`
	CompressedSize   int64  `json:"compressedSize"`
}

type statusData struct {
	Queries []queryStatus `json:"queries"`
}

type queryStatus struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	SQLText      string `json:"sqlText"`
	StartTime    int64  `json:"startTime"`
	EndTime      int64  `json:"endTime"`
	ErrorCode    string `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
	Stats        struct {
		ProducedRows int64 `json:"producedRows"`
	} `json:"stats"`
}

func readJSON(r *http.Request, v any) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	b, err := io.ReadAll(io.LimitReader(body, maxRequestBytes+1))
	if err != nil {
		return err
	}
	if len(b) > maxRequestBytes {
		return errors.New("request body too large")
	}
	if len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, v)
}

func writeData(w http.ResponseWriter, data any) {
	writeEnvelope(w, envelope{Data: data, Success: true})
}

func writeError(w http.ResponseWriter, err *Error, queryID string) {
	writeEnvelope(w, envelope{
		Data:    map[string]any{"queryId": queryID, "sqlState": err.State, "errorCode": err.Code},
		Code:    err.Code,
		Message: err.Message,
	})
}

func writeEnvelope(w http.ResponseWriter, e envelope) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, e)
}

func writeJSON(w io.Writer, e envelope) {
	_ = json.NewEncoder(w).Encode(e) // a client that has gone needs no answer
}
