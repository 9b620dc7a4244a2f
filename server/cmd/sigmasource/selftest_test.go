package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/cmd/sigmasource/selftest"
)

var update = flag.Bool("update", false, "write the golden files")

// trial is a service over a trial organization that was built by the script.
type trial struct {
	pb.UnimplementedSigmaConnectionsServer
	pb.UnimplementedModelCatalogServer
	pb.UnimplementedModelQueryServer

	connection *pb.Connection
	checks     []*pb.Check
	scans      []*pb.Scan
	workbooks  []*pb.Workbook
	elements   []*trialElement
}

// trialElement is an element with the answers about it.
type trialElement struct {
	model    *pb.Model
	check    *pb.CheckModelResponse
	rows     result
	types    []*pb.SchemaColumn
	findings []*pb.Finding // of the preview
	refused  error         // of preview and read
	checkErr error
	lost     int // rows that the read session does not have
}

const trialWorkbook = demoConnection + "/workbooks/w"

// trialTime is at 22:00 in New York, when UTC has the next day.
var trialTime = time.Date(2026, 6, 16, 2, 0, 0, 0, time.UTC)

// scriptRow is a row of the script's table EVENTS.
type scriptRow struct {
	id             int64
	key, date      string
	ntz, ltz, zone time.Time
}

// scriptRows reads the table EVENTS out of the script that operators get.
func scriptRows(t *testing.T) []scriptRow {
	t.Helper()
	script, _, err := run(t.Context(), "", "selftest", "--script")
	if err != nil {
		t.Fatal(err)
	}
	var rows []scriptRow
	for _, m := range regexp.MustCompile(`\((\d+), '(\w)', '([-0-9]+)', '([^']+)', '([^']+)', '([^']+)'::timestamp_tz\)`).FindAllStringSubmatch(script, -1) {
		var row scriptRow
		_, err := fmt.Sscan(m[1], &row.id)
		row.key, row.date = m[2], m[3]
		var parsed [3]error
		row.ntz, parsed[0] = time.Parse(time.DateTime, m[4])
		row.ltz, parsed[1] = time.Parse("2006-01-02 15:04:05-07:00", m[5])
		row.zone, parsed[2] = time.Parse("2006-01-02 15:04:05-07:00", m[6])
		if err := errors.Join(append(parsed[:], err)...); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if len(rows) != 12 {
		t.Fatalf("the script has %d rows", len(rows))
	}
	return rows
}

func newYork(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func intValue(n int64) *pb.Value { return &pb.Value{Kind: &pb.Value_Int64Value{Int64Value: n}} }
func boolValue(b bool) *pb.Value { return &pb.Value{Kind: &pb.Value_BoolValue{BoolValue: b}} }
func dateValue(date string) *pb.Value {
	return &pb.Value{Kind: &pb.Value_DateValue{DateValue: date}}
}
func instantValue(at time.Time) *pb.Value {
	return &pb.Value{Kind: &pb.Value_TimestampValue{TimestampValue: timestamppb.New(at)}}
}

// column adds a column to an element.
func (e *trialElement) column(name string, kind pb.ColumnType, values []*pb.Value) *trialElement {
	column := &pb.SchemaColumn{Name: name, Type: kind}
	if kind == pb.ColumnType_COLUMN_TYPE_TIMESTAMP {
		column.TimeZone = selftest.Zone
	}
	e.types = append(e.types, column)
	e.rows.names = append(e.rows.names, name)
	for i, value := range values {
		if len(e.rows.rows) == i {
			e.rows.rows = append(e.rows.rows, nil)
		}
		e.rows.rows[i] = append(e.rows.rows[i], value)
	}
	e.check.Schema.Columns = append(e.check.Schema.Columns, column)
	e.model.Columns = append(e.model.Columns, &pb.Column{ColumnId: name, Label: name})
	return e
}

func (e *trialElement) finding(codes ...pb.FindingCode) *trialElement {
	for _, code := range codes {
		e.check.Findings = append(e.check.Findings, &pb.Finding{Code: code, Severity: pb.FindingSeverity_FINDING_SEVERITY_WARNING, Message: "CANARY message"})
	}
	return e
}

func (e *trialElement) same(rows int64) *trialElement {
	e.check.Comparison = &pb.Comparison{Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_SAME, SigmaRowCount: rows, WarehouseRowCount: rows}
	for _, name := range e.rows.names {
		e.check.Comparison.Columns = append(e.check.Comparison.Columns, &pb.ColumnComparison{Label: name, Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_SAME})
	}
	return e
}

// cut keeps the first rows.
func (e *trialElement) cut(n int) { e.rows.rows = e.rows.rows[:n] }

// shift moves all instants of a column.
func (e *trialElement) shift(name string, by time.Duration) {
	at := slices.Index(e.rows.names, name)
	for _, row := range e.rows.rows {
		row[at] = instantValue(row[at].GetTimestampValue().AsTime().Add(by))
	}
}

func (w *trial) add(name string) *trialElement {
	id := fmt.Sprintf("e%d", len(w.elements))
	e := &trialElement{
		model: &pb.Model{Name: demoConnection + "/models/w." + id, DisplayName: name, Workbook: trialWorkbook, SqlFingerprint: "f"},
		check: &pb.CheckModelResponse{Readable: true, Schema: &pb.Schema{}},
	}
	w.elements = append(w.elements, e)
	return e
}

// element returns the element of a display name.
func (w *trial) element(name string) *trialElement {
	i := slices.IndexFunc(w.elements, func(e *trialElement) bool { return e.model.GetDisplayName() == name })
	return w.elements[i]
}

func (w *trial) remove(name string) {
	w.elements = slices.DeleteFunc(w.elements, func(e *trialElement) bool { return e.model.GetDisplayName() == name })
}

func (w *trial) checkOf(kind pb.CheckKind) *pb.Check {
	return w.checks[slices.IndexFunc(w.checks, func(c *pb.Check) bool { return c.GetKind() == kind })]
}

// newTrial is a trial organization in which all is as this service assumes.
func newTrial(t *testing.T) *trial {
	t.Helper()
	zone, rows := newYork(t), scriptRows(t)
	each := func(value func(scriptRow) *pb.Value) (values []*pb.Value) {
		for _, row := range rows {
			values = append(values, value(row))
		}
		return values
	}
	// inNewYork is when New York's wall clock shows a time.
	inNewYork := func(w time.Time) time.Time {
		return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, zone)
	}
	truncated := func(truncate func(time.Time) time.Time) []*pb.Value {
		return each(func(r scriptRow) *pb.Value { return instantValue(inNewYork(truncate(r.ntz))) })
	}
	toDay := func(w time.Time) time.Time { return w.Truncate(24 * time.Hour) }
	toWeek := func(start time.Weekday) func(time.Time) time.Time {
		return func(w time.Time) time.Time {
			for w = toDay(w); w.Weekday() != start; {
				w = w.AddDate(0, 0, -1)
			}
			return w
		}
	}
	toMonth := func(w time.Time) time.Time { return toDay(w).AddDate(0, 0, 1-w.Day()) }
	ids := each(func(r scriptRow) *pb.Value { return intValue(r.id) })
	keys := each(func(r scriptRow) *pb.Value { return textValue(r.key) })
	text := func(text string) []*pb.Value { return each(func(scriptRow) *pb.Value { return textValue(text) }) }
	const (
		integer, date, timestamp = pb.ColumnType_COLUMN_TYPE_INTEGER, pb.ColumnType_COLUMN_TYPE_DATE, pb.ColumnType_COLUMN_TYPE_TIMESTAMP
		str, boolean             = pb.ColumnType_COLUMN_TYPE_STRING, pb.ColumnType_COLUMN_TYPE_BOOL
	)

	w := &trial{
		connection: &pb.Connection{Name: demoConnection, Sigma: &pb.SigmaCredentials{TimeZone: selftest.Zone}},
		checks: []*pb.Check{
			{Kind: pb.CheckKind_CHECK_KIND_SIGMA_CREDENTIALS, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS},
			{Kind: pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS,
				Facts: map[string]string{"time_zone": selftest.Zone, "candidates": "America/New_York,America/Toronto", "dates": "14"}},
			{Kind: pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION, Outcome: pb.CheckOutcome_CHECK_OUTCOME_PASS, Facts: map[string]string{"role": "CANARY", "secondary_roles": "CANARY"}},
		},
		scans: []*pb.Scan{
			{Name: demoConnection + "/scans/b", State: pb.ScanState_SCAN_STATE_FAILED, EndTime: timestamppb.New(trialTime.Add(-time.Hour))},
			{Name: demoConnection + "/scans/a", State: pb.ScanState_SCAN_STATE_SUCCEEDED, EndTime: timestamppb.New(trialTime.Add(-2 * time.Hour))},
		},
		workbooks: []*pb.Workbook{{Name: trialWorkbook, DisplayName: selftest.Workbook, DocumentKind: pb.DocumentKind_DOCUMENT_KIND_WORKBOOK},
			{Name: trialWorkbook + "2", DisplayName: "CANARY", DocumentKind: pb.DocumentKind_DOCUMENT_KIND_WORKBOOK}},
	}

	w.add("Plain").column("Id", integer, ids).
		column("Date Only", date, each(func(r scriptRow) *pb.Value { return dateValue(r.date) })).
		column("Zoneless", timestamp, each(func(r scriptRow) *pb.Value { return instantValue(inNewYork(r.ntz)) })).
		column("Local Zone", timestamp, each(func(r scriptRow) *pb.Value { return instantValue(r.ltz) })).
		column("Zoned", timestamp, each(func(r scriptRow) *pb.Value { return instantValue(r.zone) })).same(12)
	cut := w.add("Truncated").column("Id", integer, ids)
	for _, unit := range []struct {
		name     string
		truncate func(time.Time) time.Time
	}{{"Day", toDay}, {"Week", toWeek(time.Monday)}, {"Month", toMonth}} {
		for _, column := range []string{"Date Only", "Zoneless", "Local Zone", "Zoned"} {
			cut.column(unit.name+" of "+column, timestamp, truncated(unit.truncate))
		}
	}
	cut.column("Monday Week", timestamp, truncated(toWeek(time.Monday))).column("Sunday Week", timestamp, truncated(toWeek(time.Sunday)))

	march := w.add("Days of March").column("Id", integer, ids).column("Day", timestamp, truncated(toDay))
	march.rows.rows = march.rows.rows[1:7]

	// The 30 days that end with 15 June, the day in New York.
	today := int64(time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC).Sub(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).Hours() / 24)
	var days []*pb.Value
	for id := 2 * (today - 29); id <= 2*today; id++ { // without today's last row
		days = append(days, intValue(id))
	}
	for _, name := range []string{"Last 30 days of dates", "Last 30 days of zoneless", "Last 30 days of local zone", "Last 30 days by day"} {
		w.add(name).column("Id", integer, days)
	}
	w.add("User").column("Id", integer, ids).column("Zone", str, text(selftest.Zone)).column("Member Email", str, text("CANARY@example.com")).
		column("In Team", boolean, each(func(scriptRow) *pb.Value { return boolValue(false) })).
		column("Day Text", str, each(func(r scriptRow) *pb.Value { return textValue(r.date) })).finding(pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER)
	w.add("Lookup").column("Id", integer, ids).column("Key", str, keys).column("Label", str, each(func(r scriptRow) *pb.Value {
		if r.key == "b" {
			return textValue("*")
		}
		return textValue("CANARY one")
	})).finding(pb.FindingCode_FINDING_CODE_LOOKUP_AMBIGUOUS)
	restricted := w.add("Restricted").column("Id", integer, ids).column("Restricted", str, text("No access")).finding(pb.FindingCode_FINDING_CODE_COLUMN_RESTRICTED)
	restricted.check.Readable = false
	restricted.check.Problem = &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, Message: "CANARY message"}
	restricted.refused = refusal(t, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN)
	w.add("Required control").column("Id", integer, ids).column("Key", str, keys).finding(pb.FindingCode_FINDING_CODE_CONTROLS_PRESENT)
	w.add("Input table").column("Entry", str, []*pb.Value{textValue("CANARY"), textValue("CANARY")}).finding(pb.FindingCode_FINDING_CODE_INPUT_TABLE)
	w.add("Materialized").column("Id", integer, ids[:3]).finding(pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE)
	hidden := w.add("Hidden").column("Id", integer, ids).column("Key", str, keys).finding(pb.FindingCode_FINDING_CODE_HIDDEN_COLUMN)
	hidden.model.Columns = hidden.model.Columns[:1]
	w.add("Grouped").column("Id", integer, ids).column("Key", str, keys).finding(pb.FindingCode_FINDING_CODE_GRAIN_REPEATED)
	w.add("Custom SQL").column("Id", integer, ids).column("Today", date, each(func(scriptRow) *pb.Value { return dateValue("2026-06-15") })).
		column("Session Offset", str, text("-04:00")).finding(pb.FindingCode_FINDING_CODE_NAME_UNQUALIFIED, pb.FindingCode_FINDING_CODE_CONTEXT_FUNCTION)
	session := w.add("Session")
	for _, name := range []string{"Timezone Offset", "Week Start", "Null Ordering", "Role Name", "Schema Name"} {
		session.column(name, str, []*pb.Value{textValue("CANARY")})
	}
	session.same(1)
	w.add("Other warehouse").column("When", timestamp, nil).model.SigmaWarehouse = &pb.SigmaWarehouse{Type: "databricks", DisplayName: "CANARY"}
	return w
}

// refusal is an error of the service.
func refusal(t *testing.T, reason pb.ErrorReason) error {
	t.Helper()
	s, err := status.New(codes.FailedPrecondition, "CANARY message").WithDetails(&errdetails.ErrorInfo{
		Domain: "sigmasource", Reason: strings.TrimPrefix(reason.String(), "ERROR_REASON_"), Metadata: map[string]string{"table": "CANARY"}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// serve serves the trial until the test's end, and returns its address.
func (w *trial) serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterSigmaConnectionsServer(g, w)
	pb.RegisterModelCatalogServer(g, w)
	pb.RegisterModelQueryServer(g, w)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func (w *trial) GetConnection(context.Context, *pb.GetConnectionRequest) (*pb.GetConnectionResponse, error) {
	return &pb.GetConnectionResponse{Connection: w.connection}, nil
}

func (w *trial) CheckConnection(context.Context, *pb.CheckConnectionRequest) (*pb.CheckConnectionResponse, error) {
	return &pb.CheckConnectionResponse{Checks: w.checks}, nil
}

func (w *trial) ListScans(context.Context, *pb.ListScansRequest) (*pb.ListScansResponse, error) {
	return &pb.ListScansResponse{Scans: w.scans}, nil
}

// ListWorkbooks has a page for each workbook.
func (w *trial) ListWorkbooks(_ context.Context, request *pb.ListWorkbooksRequest) (*pb.ListWorkbooksResponse, error) {
	if request.GetPageToken() == "" && len(w.workbooks) > 1 {
		return &pb.ListWorkbooksResponse{Workbooks: w.workbooks[:1], NextPageToken: "rest"}, nil
	}
	return &pb.ListWorkbooksResponse{Workbooks: w.workbooks[min(1, len(w.workbooks)):]}, nil
}

func (w *trial) ListModels(_ context.Context, request *pb.ListModelsRequest) (*pb.ListModelsResponse, error) {
	response := &pb.ListModelsResponse{}
	for _, e := range w.elements {
		if e.model.GetWorkbook() == request.GetWorkbook() {
			response.Models = append(response.Models, &pb.Model{Name: e.model.GetName(), DisplayName: e.model.GetDisplayName()})
		}
	}
	return response, nil
}

func (w *trial) find(model string) *trialElement {
	return w.elements[slices.IndexFunc(w.elements, func(e *trialElement) bool { return e.model.GetName() == model })]
}

func (w *trial) GetModel(_ context.Context, request *pb.GetModelRequest) (*pb.GetModelResponse, error) {
	return &pb.GetModelResponse{Model: w.find(request.GetName()).model}, nil
}

func (w *trial) CheckModel(_ context.Context, request *pb.CheckModelRequest) (*pb.CheckModelResponse, error) {
	e := w.find(request.GetName())
	return e.check, e.checkErr
}

func (w *trial) PreviewModel(request *pb.PreviewModelRequest, stream grpc.ServerStreamingServer[pb.PreviewModelResponse]) error {
	e := w.find(request.GetName())
	if e.refused != nil {
		return e.refused
	}
	return errors.Join(
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Schema{Schema: &pb.Schema{Columns: e.types}}}),
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Rows{Rows: e.rows.batch()}}),
		stream.Send(&pb.PreviewModelResponse{Message: &pb.PreviewModelResponse_Statistics{Statistics: &pb.Statistics{
			RowCount: int64(len(e.rows.rows)), Proof: pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR, Findings: e.findings}}}))
}

func (w *trial) CreateReadSession(_ context.Context, request *pb.CreateReadSessionRequest) (*pb.CreateReadSessionResponse, error) {
	if e := w.find(request.GetName()); e.refused != nil {
		return nil, e.refused
	}
	name := demoConnection + "/sessions/s"
	return &pb.CreateReadSessionResponse{Session: &pb.ReadSession{Name: name, Streams: []*pb.ReadStream{{Name: name + "/streams/0"}}}}, nil
}

func (w *trial) DeleteReadSession(context.Context, *pb.DeleteReadSessionRequest) (*pb.DeleteReadSessionResponse, error) {
	return &pb.DeleteReadSessionResponse{}, nil
}

// ReadRows reads the element Plain, the only one that is read in a session.
func (w *trial) ReadRows(_ *pb.ReadRowsRequest, stream grpc.ServerStreamingServer[pb.ReadRowsResponse]) error {
	e := w.element("Plain")
	rows := result{names: e.rows.names, rows: e.rows.rows[:len(e.rows.rows)-e.lost]}
	n := int64(len(rows.rows))
	return errors.Join(
		stream.Send(&pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Schema{Schema: &pb.Schema{Columns: e.types}}}),
		stream.Send(&pb.ReadRowsResponse{Message: &pb.ReadRowsResponse_Rows{Rows: rows.batch()}}),
		stream.Send(&pb.ReadRowsResponse{Offset: n, Message: &pb.ReadRowsResponse_Statistics{Statistics: &pb.StreamStatistics{
			RowCount: n, DeclaredRowCount: n, StreamRowCount: n, SessionRowCount: n}}}))
}

// selftest runs the command on a trial and returns its report.
func (w *trial) selftest(t *testing.T) (report *selftest.Report, out string, err error) {
	t.Helper()
	former := now
	now = func() time.Time { return trialTime }
	defer func() { now = former }()
	address := w.serve(t)
	out, _, err = run(t.Context(), "", "selftest", demoConnection, "--server", address, "-o", "json")
	if strings.Contains(out, "CANARY") {
		t.Errorf("the report holds what is not for others to see:\n%s", out)
	}
	if out == "" {
		return nil, "", err
	}
	report = &selftest.Report{}
	if err := json.Unmarshal([]byte(out), report); err != nil {
		t.Fatal(err)
	}
	text, _, textErr := run(t.Context(), "", "selftest", demoConnection, "--server", address)
	if fmt.Sprint(textErr) != fmt.Sprint(err) || strings.Contains(text, "CANARY") {
		t.Errorf("as text it ends with %v, not %v:\n%s", textErr, err, text)
	}
	for _, line := range report.Probes {
		for _, fact := range []string{line.Question, line.Assumed, line.Seen, line.Reason, string(line.Verdict)} {
			if !strings.Contains(text, fact) {
				t.Errorf("the text lacks %q", fact)
			}
		}
	}
	return report, text, err
}

// verdicts are the probes by verdict.
func verdicts(report *selftest.Report) map[selftest.Verdict][]string {
	found := map[selftest.Verdict][]string{}
	for _, line := range report.Probes {
		found[line.Verdict] = append(found[line.Verdict], line.Probe)
	}
	return found
}

// forTagged are the probes that only a connection with a version tag answers.
var forTagged = []string{"tagged-input-table", "tagged-version-id"}

// mutation is a trial organization that differs from what this service assumes.
type mutation struct {
	name   string
	change func(*trial)
	other  []string // probes that are other than assumed
	unread []string // probes that cannot be read
	seen   string   // of the first of them
	tagged bool     // the connection has a version tag
}

func dropFindings(element string) func(*trial) {
	return func(w *trial) { w.element(element).check.Findings = nil }
}

var truncations = []string{"day-of-date-only", "day-of-zoneless", "day-of-local-zone", "day-of-zoned", "week-of-date-only", "week-of-zoneless", "week-of-local-zone",
	"week-of-zoned", "month-of-date-only", "month-of-zoneless", "month-of-local-zone", "month-of-zoned", "monday-week", "sunday-week"}

func mutations() []mutation {
	set := func(element string, row int, column string, value *pb.Value) func(*trial) {
		return func(w *trial) {
			e := w.element(element)
			e.rows.rows[row][slices.Index(e.rows.names, column)] = value
		}
	}
	differ := func(element, label string, differences ...string) func(*trial) {
		return func(w *trial) {
			columns := w.element(element).check.Comparison.Columns
			at := slices.IndexFunc(columns, func(c *pb.ColumnComparison) bool { return c.GetLabel() == label })
			columns[at].Verdict, columns[at].Differences = pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT, differences
		}
	}
	list := []mutation{
		{name: "no zone in the connection", change: func(w *trial) { w.connection.Sigma.TimeZone = "" }, other: []string{"time-zone-setting"}, seen: "set: no"},
		{name: "the zone is ruled out", change: func(w *trial) {
			w.checkOf(pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE).Facts["candidates"] = "UTC,Europe/London"
		}, other: []string{"time-zone-evidence"}, seen: "dates: 14; zones that agree: 2; the script's zone is one: no"},
		{name: "a user sets parameters", change: func(w *trial) {
			w.checkOf(pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION).Facts["WEEK_START"] = "7"
		}, other: []string{"session-parameters-of-user"}, seen: "parameters set by the user: 1"},
		{name: "an older server", change: func(w *trial) { w.checks = w.checks[:1] }, unread: []string{"time-zone-evidence", "session-parameters-of-user"}},
		{name: "rows lost in a session", change: func(w *trial) { w.element("Plain").lost = 1 }, other: []string{"read"}, seen: "preview: 12 rows; read session: 11 rows"},
		{name: "the export differs", change: differ("Plain", "Zoneless", "min", "max"), other: []string{"sigma-export"}, seen: "Zoneless differs in min and max"},
		{name: "a session in UTC", change: func(w *trial) {
			e := w.element("Plain")
			for _, row := range e.rows.rows { // New York's wall clock as one of UTC
				at := row[2].GetTimestampValue().AsTime()
				_, offset := at.In(mustZone("America/New_York")).Zone()
				row[2] = instantValue(at.Add(time.Duration(offset) * time.Second))
			}
			e.types[2].TimeZone = ""
		}, other: []string{"plain-zoneless"}, seen: "type TIMESTAMP; 12 rows of 12; 0 as known; off by -5h0m0s (8), off by -4h0m0s (4)"},
		{name: "dates as instants", change: func(w *trial) {
			e := w.element("Plain")
			e.types[1] = &pb.SchemaColumn{Name: "Date Only", Type: pb.ColumnType_COLUMN_TYPE_TIMESTAMP}
			for _, row := range e.rows.rows {
				day, err := time.ParseInLocation(time.DateOnly, row[1].GetDateValue(), mustZone("America/New_York"))
				if err != nil {
					panic(err)
				}
				row[1] = instantValue(day)
			}
		}, other: []string{"plain-date-only"}, seen: "type TIMESTAMP; 12 rows of 12; 12 as known"},
		{name: "a null", change: set("Plain", 3, "Zoned", null), other: []string{"plain-zoned"}, seen: "11 as known; null (1)"},
		{name: "an hour off", change: func(w *trial) { w.element("Plain").shift("Local Zone", time.Hour) }, other: []string{"plain-local-zone"}, seen: "off by 1h0m0s (12)"},
		{name: "texts for dates", change: set("Plain", 0, "Zoned", textValue("CANARY")), unread: []string{"plain-zoned"}},
		{name: "rows of another table", change: set("Plain", 0, "Id", intValue(99)), unread: []string{"plain-date-only", "plain-zoneless", "plain-local-zone", "plain-zoned"}},
		{name: "weeks begin on Sunday", change: func(w *trial) { w.element("Truncated").shift("Week of Zoneless", -24*time.Hour) }, other: []string{"week-of-zoneless"},
			seen: "weeks begin on Sunday"},
		{name: "days from UTC", change: func(w *trial) {
			e, all := w.element("Days of March"), w.element("Plain").rows.rows
			e.rows.rows = e.rows.rows[2:]
			e.rows.rows = append(e.rows.rows, []*pb.Value{all[7][0], all[7][2]})
		}, other: []string{"days-of-march"}, seen: "rows in the range: 4; missing: 2; before the range: 0; after it: 1"},
		{name: "the first day is cut", change: func(w *trial) {
			w.element("Last 30 days by day").rows.rows = w.element("Last 30 days by day").rows.rows[1:]
		},
			other: []string{"last-30-days-by-day"}, seen: "30 days, without gaps: yes; the first is 29 days before today, the last 0; days with one row before the last: 1; the last has 1 rows"},
		{name: "no days", change: func(w *trial) { w.element("Last 30 days of dates").cut(0) }, other: []string{"last-30-days-of-dates"}, seen: "no rows"},
		{name: "too few days", change: func(w *trial) { w.element("Last 30 days of zoneless").cut(40) }, other: []string{"last-30-days-of-zoneless"}, seen: "20 days"},
		{name: "a day of the future", change: func(w *trial) {
			e := w.element("Last 30 days of local zone")
			last := e.rows.rows[len(e.rows.rows)-1][0].GetInt64Value()
			e.rows.rows = append(e.rows.rows, []*pb.Value{intValue(last + 1)}, []*pb.Value{intValue(last + 2)})
		}, other: []string{"last-30-days-of-local-zone"}, seen: "the last -1"},
		{name: "offsets that contradict", change: func(w *trial) {
			w.element("Last 30 days by day").finding(pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH)
		},
			other: []string{"time-zone-finding"}, seen: "finding TIME_ZONE_MISMATCH: yes; finding TIME_ZONE_UNKNOWN: no"},
		{name: "no zone in a preview", change: func(w *trial) {
			w.element("Last 30 days by day").findings = []*pb.Finding{{Code: pb.FindingCode_FINDING_CODE_TIME_ZONE_UNKNOWN}}
		}, other: []string{"time-zone-finding"}},
		{name: "another zone as text", change: func(w *trial) {
			for _, row := range w.element("User").rows.rows {
				row[1] = textValue("UTC")
			}
		}, other: []string{"current-timezone"}, seen: "12 rows; distinct texts: 1; other values: 0; the script's zone: no"},
		{name: "several members", change: set("User", 0, "Member Email", textValue("CANARY2@example.com")), other: []string{"current-user-email"}, seen: "distinct texts: 2"},
		{name: "no finding about the owner", change: dropFindings("User"), other: []string{"current-user-email", "current-user-in-team"}},
		{name: "in every team", change: set("User", 0, "In Team", boolValue(true)), other: []string{"current-user-in-team"}, seen: "false (11), true (1)"},
		{name: "days as texts with a time", change: set("User", 0, "Day Text", textValue("2026-02-27 19:00:00.000")), other: []string{"text-of-date"},
			seen: "9999-99-99 (11), 9999-99-99 99:99:99.999 (1)"},
		{name: "days as other texts", change: set("User", 0, "Day Text", textValue("CANARY")), other: []string{"text-of-date"}, seen: "another form (1)"},
		{name: "one of several matches", change: set("Lookup", 1, "Label", textValue("two")), other: []string{"lookup-several-matches"}, seen: "* in 3 of 4 rows with two matches"},
		{name: "a row for each match", change: func(w *trial) { e := w.element("Lookup"); e.rows.rows = append(e.rows.rows, e.rows.rows[1]) },
			other: []string{"lookup-several-matches"}, seen: "13 rows of 12"},
		{name: "no finding about lookups", change: dropFindings("Lookup"), other: []string{"lookup-several-matches"}},
		{name: "a restricted column as data", change: func(w *trial) {
			e := w.element("Restricted")
			e.check.Readable, e.check.Findings, e.refused = true, nil, nil
		}, other: []string{"restricted-column"}, seen: "finding COLUMN_RESTRICTED: no; readable: yes; columns in the result: 2; one is named Restricted: yes; columns with the text `No access`: 1"},
		{name: "an empty page", change: func(w *trial) { w.element("Required control").cut(0) }, other: []string{"required-control"}, seen: "0 rows of 12"},
		{name: "entries of the draft", change: func(w *trial) {
			e := w.element("Input table")
			e.rows.rows = append(e.rows.rows, []*pb.Value{textValue("CANARY")})
		}, other: []string{"input-table"}, seen: "3 rows; finding INPUT_TABLE: yes"},
		{name: "live, not materialized", change: func(w *trial) {
			e := w.element("Materialized")
			e.rows.rows = append(e.rows.rows, []*pb.Value{intValue(4)})
		}, other: []string{"materialization"}, seen: "4 rows"},
		{name: "hidden columns are missing", change: func(w *trial) {
			e := w.element("Hidden")
			e.check.Schema.Columns, e.check.Findings = e.check.Schema.Columns[:1], nil
		}, other: []string{"hidden-column"}, seen: "in the SQL: no; in the list: no; finding HIDDEN_COLUMN: no"},
		{name: "groups", change: func(w *trial) { w.element("Grouped").cut(3) }, other: []string{"grain"}, seen: "3 rows of 12"},
		{name: "names with a schema", change: dropFindings("Custom SQL"), other: []string{"short-name"}},
		{name: "the day in UTC", change: func(w *trial) {
			for _, row := range w.element("Custom SQL").rows.rows {
				row[1], row[2] = dateValue("2026-06-16"), textValue("+00:00")
			}
		}, other: []string{"current-date"}, seen: "the day in New York in 0 rows of 12; the day is the same in UTC now: no; offset of New York: no"},
		{name: "other weeks in Sigma", change: differ("Session", "Week Start", "sum"), other: []string{"session-of-sigma"}, seen: "WEEK_START differs in sum"},
		{name: "another role in Sigma", change: differ("Session", "Role Name", "texts"), other: []string{"role-of-sigma"}, seen: "ROLE_NAME differs in texts"},
		{name: "a column that cannot be compared", change: func(w *trial) {
			w.element("Session").check.Comparison.Columns[0].Verdict = pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED
		}, other: []string{"session-of-sigma"}, seen: "same (2), undecided (1)"},
		{name: "other rows in the export", change: func(w *trial) { w.element("Plain").check.Comparison.SigmaRowCount = 11 }, other: []string{"sigma-export"}, seen: "rows: 11 in Sigma, 12"},
		{name: "an export that does not come", change: func(w *trial) {
			w.element("Session").check.Comparison = &pb.Comparison{Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED, Message: "CANARY"}
		}, unread: []string{"session-of-sigma", "role-of-sigma"}},
		{name: "other offsets in another warehouse", change: func(w *trial) {
			e := w.element("Other warehouse")
			e.model.SigmaWarehouse.Type = "CANARY"
			e.finding(pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH)
		}, other: []string{"zone-of-other-warehouse"}, seen: "kind: unknown"},
		{name: "a column that is missing", change: func(w *trial) { e := w.element("Lookup"); e.types[2].Name = "CANARY" }, unread: []string{"lookup-several-matches"}},
		{name: "a check that fails", change: func(w *trial) { w.element("Grouped").checkErr = status.Error(codes.Unavailable, "CANARY") }, unread: []string{"grain"}},
		{name: "a tagged version with rows", tagged: true, change: func(w *trial) {
			e := w.element("Input table")
			e.model.Columns[0].ColumnId = ""
			e.finding(pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN)
		}, other: []string{"tagged-input-table", "tagged-version-id"}, seen: "2 rows; finding TAG_INPUT_TABLE: no"},
	}
	for _, probe := range truncations {
		label := map[string]string{"monday-week": "Monday Week", "sunday-week": "Sunday Week"}[probe]
		if label == "" {
			unit, column, _ := strings.Cut(probe, "-of-")
			label = map[string]string{"day": "Day", "week": "Week", "month": "Month"}[unit] + " of " +
				map[string]string{"date-only": "Date Only", "zoneless": "Zoneless", "local-zone": "Local Zone", "zoned": "Zoned"}[column]
		}
		list = append(list, mutation{name: label + " by UTC", change: func(w *trial) { w.element("Truncated").shift(label, -5*time.Hour) }, other: []string{probe}})
	}
	return list
}

func mustZone(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

func TestSelftestOfATrialAsAssumed(t *testing.T) {
	w := newTrial(t)
	report, text, err := w.selftest(t)
	if err != nil {
		t.Error(err)
	}
	if got := verdicts(report); len(got[selftest.Other])+len(got[selftest.NotRead]) > 0 || !slices.Equal(got[selftest.NotBuilt], forTagged) {
		t.Errorf("verdicts %v", got)
	}
	golden(t, "selftest.txt", text)
}

// TestSelftestOfATaggedVersion runs the command on a connection with a version tag.
func TestSelftestOfATaggedVersion(t *testing.T) {
	w := newTrial(t)
	w.connection.VersionTag = "selftest"
	w.element("Input table").finding(pb.FindingCode_FINDING_CODE_TAG_INPUT_TABLE).cut(0)
	report, _, err := w.selftest(t)
	if err != nil {
		t.Error(err)
	}
	if got := verdicts(report); len(got[selftest.Other])+len(got[selftest.NotRead]) > 0 || !slices.Equal(got[selftest.NotBuilt], []string{"input-table"}) {
		t.Errorf("verdicts %v", got)
	}
}

// TestSelftestSeesWhatIsOther changes one thing of a trial that is as assumed. The
// probes of that thing see it, and no others. There is such a change for each probe.
func TestSelftestSeesWhatIsOther(t *testing.T) {
	seen := map[string]bool{}
	for _, test := range mutations() {
		t.Run(test.name, func(t *testing.T) {
			w := newTrial(t)
			wantMissing := forTagged
			if test.tagged {
				w.connection.VersionTag, wantMissing = "selftest", []string{"input-table"}
			}
			test.change(w)
			report, _, err := w.selftest(t)
			if report == nil {
				t.Fatal(err)
			}
			got := verdicts(report)
			want := map[selftest.Verdict][]string{selftest.AsAssumed: got[selftest.AsAssumed], selftest.NotBuilt: wantMissing}
			if len(test.other) > 0 {
				want[selftest.Other] = test.other
			}
			if len(test.unread) > 0 {
				want[selftest.NotRead] = test.unread
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			code := 1
			if len(test.other) > 0 {
				code = 2
			}
			var exit exitError
			if !errors.As(err, &exit) || exit.code != code {
				t.Errorf("it ends with %v, want the code %d", err, code)
			}
			for _, line := range report.Probes {
				if len(test.other) > 0 && line.Probe == test.other[0] && !strings.Contains(line.Seen, test.seen) {
					t.Errorf("it has seen %q, want %q", line.Seen, test.seen)
				}
				if line.Verdict == selftest.NotRead && line.Reason == "" {
					t.Errorf("%s has no reason", line.Probe)
				}
			}
			for _, probe := range test.other {
				seen[probe] = true
			}
		})
	}
	report, _, err := newTrial(t).selftest(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range report.Probes {
		if !seen[line.Probe] {
			t.Errorf("no change makes the probe %s other than assumed", line.Probe)
		}
	}
}

// TestSelftestOfAPartialTrial builds a part of the script, one element of it twice.
func TestSelftestOfAPartialTrial(t *testing.T) {
	w := newTrial(t)
	w.remove("Lookup")
	w.remove("Other warehouse")
	w.add("Grouped")
	w.element("Plain").refused = refusal(t, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION)
	w.element("Plain").check.Readable = false
	w.element("Plain").check.Problem = &pb.Problem{Reason: pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, Message: "CANARY"}
	report, text, err := w.selftest(t)
	var exit exitError
	if !errors.As(err, &exit) || exit.code != 1 {
		t.Errorf("it ends with %v", err)
	}
	got := verdicts(report)
	want := map[selftest.Verdict][]string{
		selftest.AsAssumed: got[selftest.AsAssumed],
		selftest.NotBuilt:  {"lookup-several-matches", "tagged-input-table", "tagged-version-id", "zone-of-other-warehouse"},
		selftest.NotRead:   {"read", "sigma-export", "plain-date-only", "plain-zoneless", "plain-local-zone", "plain-zoned", "grain"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if !strings.Contains(text, "WAREHOUSE_PERMISSION (FailedPrecondition)") || !strings.Contains(text, "2 elements have this name") {
		t.Errorf("reasons are missing of\n%s", text)
	}
}

func TestSelftestRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(*trial)
	}{
		{"without a scan", "run `sigmasource scan " + demoConnection + "`", func(w *trial) { w.scans = w.scans[:1] }},
		{"without the workbook", "0 workbooks have the name", func(w *trial) { w.workbooks = w.workbooks[1:] }},
		{"with two such workbooks", "2 workbooks have the name", func(w *trial) { w.workbooks[1].DisplayName = selftest.Workbook }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newTrial(t)
			test.change(w)
			if report, _, err := w.selftest(t); report != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, args := range [][]string{{"selftest"}, {"selftest", demoConnection, "--script"}, {"selftest", "a", "b"}} {
		if _, _, err := run(t.Context(), "", args...); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

// TestSelftestScript has the whole script, and asks for what the report answers.
func TestSelftestScript(t *testing.T) {
	script, _, err := run(t.Context(), "", "selftest", "--script", "--workbook", "Another name")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(script, `"Another name"`) {
		t.Error("the script does not name the workbook")
	}
	report, _, err := newTrial(t).selftest(t)
	if err != nil {
		t.Fatal(err)
	}
	elements := map[string]bool{}
	for _, line := range report.Probes {
		if line.Element != "" {
			elements[line.Element] = true
			if !strings.Contains(script, "? "+line.Question) {
				t.Errorf("the script lacks %q", line.Question)
			}
		}
	}
	for _, element := range slices.Sorted(maps.Keys(elements)) {
		if !strings.Contains(script, "\n   \""+element+"\"\n") {
			t.Errorf("the script lacks the element %q", element)
		}
	}
	golden(t, "selftest-script.txt", script)
}

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
