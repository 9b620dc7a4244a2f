package snowflaketest

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// query is a query with what it runs on. The Query in it is guarded by
// Server.mu; result is set before done is closed.
type query struct {
	Query
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}
	async  bool

	result       *result
	names        sessionNames // after the query
	sessionQuery bool         // USE or ALTER SESSION
	attempts     map[int]int  // downloads of each chunk, guarded by Server.mu
}

// change applies f to what mu guards and wakes those who wait for a change.
func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) queryRequest(w http.ResponseWriter, r *http.Request) {
	ses, fail := s.authorize(r)
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	var req queryRequest
	if err := readJSON(r, &req); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	q := s.start(ses, r.URL.Query().Get("requestId"), req)
	s.answer(w, r, ses, q)
}

// start begins a query, or finds the one that an earlier try of the same
// request began.
func (s *Server) start(ses *session, requestID string, req queryRequest) *query {
	var q *query
	s.change(func() {
		for i := len(s.order) - 1; i >= 0; i-- {
			if old := s.order[i]; requestID != "" && old.RequestID == requestID && old.SessionID == ses.id {
				q = old
				return
			}
		}
		state := s.stateLocked(ses)
		for name, value := range req.Parameters {
			state.params[strings.ToUpper(name)] = formatParameter(value)
		}
		q = &query{
			Query: Query{
				ID: s.newQueryID(), RequestID: requestID, SessionID: ses.id, User: state.names.user, Role: state.names.role,
				Warehouse: state.names.warehouse, Database: state.names.database, Schema: state.names.schema,
				SQL: req.SQLText, Tag: state.params["QUERY_TAG"], Parameters: state.params,
				DescribeOnly: req.DescribeOnly, State: StateRunning, Start: time.Now(),
			},
			done: make(chan struct{}), async: req.AsyncExec, names: state.names, attempts: map[int]int{},
		}
		q.ctx, q.cancel = context.WithCancelCause(context.Background())
		s.queries[q.ID] = q
		s.order = append(s.order, q)
		s.forget()
		if s.closed {
			q.State, q.Error = StateAborted, abortedError()
			close(q.done)
			return
		}
		if ses.aborted[requestID] {
			q.cancel(abortedError())
		}
		s.runs.Go(func() { s.run(ses, q, state, len(req.Bindings) > 0) })
	})
	return q
}

// maxHistory is how many queries a server remembers.
const maxHistory = 10_000

// forget drops the oldest queries beyond maxHistory, unless they run. The
// caller holds mu.
func (s *Server) forget() {
	for len(s.order) > maxHistory && s.order[0].State != StateRunning {
		_ = s.order[0].dropResult() // Close removes the whole directory
		delete(s.queries, s.order[0].ID)
		s.order = s.order[1:]
	}
}

// run runs a query to its end and writes its place in the history.
func (s *Server) run(ses *session, q *query, state sessionState, bound bool) {
	ctx := q.ctx
	if seconds, err := strconv.ParseInt(state.params["STATEMENT_TIMEOUT_IN_SECONDS"], 10, 64); err == nil && seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(seconds)*time.Second, timeoutError(seconds))
		defer cancel()
	}
	var err error
	if bound {
		err = &Error{Code: "002049", State: "42601", Message: "SQL compilation error:\nBind variables are not supported."}
	} else {
		err = s.execute(ctx, ses, q, state)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	s.change(func() {
		q.End = time.Now()
		switch {
		case err == nil:
			q.State = StateSuccess
			q.Rows = q.result.rows
		default:
			q.Error = fromDuckDB(err)
			q.State = StateFailed
			if q.Error.Code == "000604" {
				q.State = StateAborted
			}
		}
	})
	if err != nil {
		_ = q.dropResult() // half a result is nobody's
	}
	close(q.done)
	q.cancel(nil)
}

func (s *Server) execute(ctx context.Context, ses *session, q *query, state sessionState) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	nodes, err := parseStatement(q.SQL)
	if err != nil {
		return err
	}
	switch {
	case nodes[0].is("USE"), nodes[0].is("ALTER") && len(nodes) > 1 && nodes[1].is("SESSION"):
		return s.changeSession(ses, q, nodes)
	case nodes[0].is("SHOW") && len(nodes) > 1 && nodes[1].is("PARAMETERS"):
		return s.showParameters(ses, q, nodes[2:])
	case nodes[0].is("SELECT"), nodes[0].is("WITH"), nodes[0].is("VALUES"), nodes[0].kind == group:
		return s.query(ctx, q, state, nodes)
	}
	return &Error{Code: "003001", State: "42501", Message: "SQL access control error:\nInsufficient privileges to operate on account '" +
		state.names.account + "'."}
}

// query compiles and runs a SELECT.
func (s *Server) query(ctx context.Context, q *query, state sessionState, nodes []token) (err error) {
	if err := s.hold(ctx, q, s.currentFaults().BeforeCompile); err != nil {
		return err
	}
	state.names.session = strconv.FormatInt(q.SessionID, 10)
	state.catalog = s
	sql, err := translate(nodes, state)
	if err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := prepareConn(ctx, conn, state); err != nil {
		return err
	}
	if err := s.checkTables(conn, sql, state.names); err != nil {
		return err
	}
	columns, err := describe(ctx, conn, sql, state)
	if err != nil {
		return err
	}
	format := arrowFormat
	if strings.EqualFold(state.params["GO_QUERY_RESULT_FORMAT"], "JSON") {
		format = jsonFormat
	}
	if q.DescribeOnly {
		q.result = &result{columns: columns, format: format}
		return nil
	}
	if err := s.hold(ctx, q, s.currentFaults().BeforeRun); err != nil {
		return err
	}
	b := newResultBuilder(s.cfg, s.spool, columns, format)
	q.result = b.result
	if err := eachRow(ctx, conn, projection(sql, columns)+limitOf(state), b.add); err != nil {
		return err
	}
	return b.finish()
}

// limitOf is how ROWS_PER_RESULTSET cuts a result.
func limitOf(state sessionState) string {
	if n, err := strconv.ParseUint(state.params["ROWS_PER_RESULTSET"], 10, 63); err == nil && n > 0 {
		return " LIMIT " + strconv.FormatUint(n, 10)
	}
	return ""
}

// hold lets a fault hold a query up.
func (s *Server) hold(ctx context.Context, q *query, fault func(context.Context, Query) *Error) error {
	if fault == nil {
		return nil
	}
	if fail := fault(ctx, s.snapshot(q)); fail != nil {
		return fail
	}
	return context.Cause(ctx)
}

func (s *Server) snapshot(q *query) Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return q.Query
}

// answer waits for the query, but not longer than a request may take, and
// writes what there is to say.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, ses *session, q *query) {
	patience := time.NewTimer(s.cfg.InProgressAfter)
	defer patience.Stop()
	if r.Method == http.MethodPost && q.async {
		s.inProgress(w, q)
		return
	}
	select {
	case <-q.done:
	case <-r.Context().Done():
		return
	case <-patience.C:
		s.inProgress(w, q)
		return
	}
	snapshot := s.snapshot(q)
	if snapshot.Error != nil {
		writeError(w, snapshot.Error, q.ID)
		return
	}
	var fault ChunkFault
	if inline := s.currentFaults().Inline; inline != nil {
		fault = inline(snapshot)
	}
	data, err := s.resultData(r, q, snapshot, fault)
	if err != nil {
		writeError(w, fromDuckDB(err), q.ID)
		return
	}
	if q.sessionQuery {
		s.mu.Lock()
		data.Parameters = ses.parameters()
		s.mu.Unlock()
	}
	if fault.Do == Cut || fault.Do == Stall {
		s.breakOffAnswer(w, r, data, fault)
		return
	}
	writeData(w, data)
}

func (s *Server) inProgress(w http.ResponseWriter, q *query) {
	code, message := "333333", "Query execution in progress."
	if q.async {
		code, message = "333334", "Asynchronous execution in progress. Use provided query id to perform query monitoring and management."
	}
	writeEnvelope(w, envelope{Code: code, Message: message, Success: true, Data: queryData{
		QueryID: q.ID, GetResultURL: "/queries/" + q.ID + "/result", AbortsAfter: 300}})
}

// resultData is the answer with the first rows and the way to the others.
func (s *Server) resultData(r *http.Request, q *query, snapshot Query, fault ChunkFault) (queryData, error) {
	res := q.result
	data := queryData{
		Total: res.rows, Returned: res.inlineRows, QueryID: q.ID, QueryResultFormat: string(res.format), Version: 1,
		FinalDatabase: q.names.database, FinalSchema: q.names.schema, FinalWarehouse: q.names.warehouse, FinalRole: q.names.role,
		StatementTypeID: 0x1000,
	}
	if q.sessionQuery {
		data.StatementTypeID = 0x4000
	}
	for _, col := range res.columns {
		data.RowType = append(data.RowType, col.rowType())
	}
	faults := s.currentFaults()
	if faults.DeclaredRows != nil {
		data.Total = faults.DeclaredRows(snapshot, data.Total)
	}
	if res.format == jsonFormat {
		data.RowSet = res.json
		return data, nil
	}
	inline := res.inline
	switch at := fault.offset(int64(len(inline)), res.inlineEnds); fault.Do {
	case Truncate:
		inline = inline[:at]
	case Corrupt:
		inline = corrupt(inline, at)
	case Lose:
		inline = nil
	}
	data.RowSetBase64 = new(base64.StdEncoding.EncodeToString(inline))
	if len(res.chunks) == 0 {
		return data, nil
	}
	key, err := res.key(q)
	if err != nil {
		return queryData{}, err
	}
	data.Qrmk = key.qrmk
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	for i, c := range res.chunks {
		if faults.Unlisted != nil && faults.Unlisted(snapshot, i) {
			continue
		}
		data.Chunks = append(data.Chunks, chunkData{
			URL:      scheme + r.Host + "/results/" + q.ID + "/" + strconv.Itoa(i) + "?sig=" + key.signature,
			RowCount: c.rows, UncompressedSize: c.size, CompressedSize: c.size,
		})
	}
	return data, nil
}

func (s *Server) abortRequest(w http.ResponseWriter, r *http.Request) {
	ses, fail := s.authorize(r)
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	var req struct {
		RequestID string `json:"requestId"`
		QueryID   string `json:"queryId"`
	}
	if err := readJSON(r, &req); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	var found *query
	s.mu.Lock()
	for _, q := range s.order {
		if q.SessionID == ses.id && req.RequestID != "" && q.RequestID == req.RequestID || q.ID == req.QueryID && q.User == ses.names.user {
			found = q
		}
	}
	if found == nil && req.RequestID != "" && len(ses.aborted) < maxHistory {
		ses.aborted[req.RequestID] = true // the request itself may still be on its way
	}
	running := found != nil && found.State == StateRunning
	s.mu.Unlock()
	if !running {
		writeError(w, &Error{Code: "000605", State: "57014", Message: "Identified SQL statement is not currently executing."}, "")
		return
	}
	found.cancel(abortedError())
	writeData(w, nil)
}

// owned finds the query if the session's user may see it: a result is
// readable only by the user that made it.
func (s *Server) owned(r *http.Request) (*session, *query, *Error) {
	ses, fail := s.authorize(r)
	if fail != nil {
		return nil, nil, fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.queries[r.PathValue("id")]
	if !ok || q.User != ses.names.user {
		return nil, nil, statementNotFoundError(r.PathValue("id"))
	}
	return ses, q, nil
}

func (s *Server) queryResult(w http.ResponseWriter, r *http.Request) {
	ses, q, fail := s.owned(r)
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	s.answer(w, r, ses, q)
}

func (s *Server) queryStatus(w http.ResponseWriter, r *http.Request) {
	_, q, fail := s.owned(r)
	if fail != nil {
		writeError(w, fail, "")
		return
	}
	snapshot := s.snapshot(q)
	status := queryStatus{ID: q.ID, Status: string(snapshot.State), SQLText: snapshot.SQL, StartTime: snapshot.Start.UnixMilli()}
	if !snapshot.End.IsZero() {
		status.EndTime = snapshot.End.UnixMilli()
	}
	if snapshot.Error != nil {
		status.ErrorCode, status.ErrorMessage = snapshot.Error.Code, snapshot.Error.Message
	}
	status.Stats.ProducedRows = snapshot.Rows
	writeData(w, statusData{Queries: []queryStatus{status}})
}
