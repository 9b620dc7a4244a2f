package server_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// sqlMark stands in SQL that fails, and must not be told or logged with it.
const sqlMark = "SQLMARK"

func (w *world) wantNoSQL() {
	w.t.Helper()
	for where, text := range map[string]string{"the log": w.logs.String(), "an answer": w.got.String()} {
		if at := strings.Index(text, sqlMark); at >= 0 {
			w.t.Errorf("%s holds SQL: %s", where, text[max(0, at-200):at+len(sqlMark)])
		}
	}
}

// fails previews a model that must fail before its first row.
func (w *world) fails(model string) error {
	w.t.Helper()
	r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model})
	if err == nil || len(r.batches) > 0 {
		w.t.Errorf("%d batches came, then %v", len(r.batches), err)
	}
	if err != nil && len(r.progress) == 0 {
		w.t.Error("the stream did not begin with progress")
	}
	return err
}

func TestPreviewOfWhatSigmaDoesNotGive(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	refused := func(refusal sigmatest.Refusal) sigmatest.Element {
		return sigmatest.Element{SQL: `select '` + sqlMark + `' "A"`, Refusal: refusal}
	}
	wrong := table("Wrong formula")
	wrong.Tables = []string{"SHOP.SALES.ORDERS"}
	wrong.Columns = append(wrong.Columns, sigmatest.Column{Label: "Margin", Formula: "[Gone]", Type: "error"})
	w.sigma.Change(func(o *sigmatest.Organization) {
		archived := book("Archived", sigmatest.Element{ID: "a", SQL: "select 1"})
		archived.Archived = true
		private := book("Private", sigmatest.Element{ID: "a", SQL: "select 1"})
		private.SharedWith, private.Owner = []string{"somebody"}, "somebody"
		o.Workbooks = append(o.Workbooks, archived, private)
	})
	for _, test := range []struct {
		name   string
		model  string
		code   codes.Code
		reason pb.ErrorReason
	}{
		{"broken dependency", w.modelOf(snowflakeName, refused(sigmatest.WithError)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"unable to produce", w.modelOf(snowflakeName, refused(sigmatest.UnableToProduce)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"refused in Sigma's warehouse", w.modelOf(snowflakeName, refused(sigmatest.WarehouseFailed)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"error in a formula", w.modelOf(snowflakeName, wrong), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		{"retired dataset", w.modelOf(snowflakeName, refused(sigmatest.WithNothing)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_WITHOUT_SQL},
		{"no permission", w.modelOf(snowflakeName, refused(sigmatest.Forbidden)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN},
		{"workbook not shared", modelName(snowflakeName, "private", "a"), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN},
		{"archived source", w.modelOf(snowflakeName, refused(sigmatest.SourceArchived)), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED},
		{"archived workbook", modelName(snowflakeName, "archived", "a"), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_ARCHIVED},
		{"no such workbook", modelName(snowflakeName, "none", "a"), codes.NotFound, pb.ErrorReason_ERROR_REASON_MODEL_GONE},
		{"no such element", modelName(snowflakeName, scratch, "none"), codes.NotFound, pb.ErrorReason_ERROR_REASON_MODEL_GONE},
		{"text", w.modelOf(snowflakeName, sigmatest.Element{Type: "text"}), codes.NotFound, pb.ErrorReason_ERROR_REASON_MODEL_GONE},
		{"Sigma's own failure", w.modelOf(snowflakeName, refused(sigmatest.InternalFailure)), codes.Unavailable, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE},
		{"two statements", w.model(snowflakeName, "select 1; select '"+sqlMark+"'"), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
		{"a statement that writes", w.model(snowflakeName, "delete from SHOP.SALES."+sqlMark), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
		{"a string without an end", w.model(snowflakeName, "select '"+sqlMark), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
		{"unbalanced brackets", w.model(snowflakeName, "select ("+sqlMark), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
		{"nothing but a comment", w.model(snowflakeName, "-- "+sqlMark), codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
	} {
		t.Run(test.name, func(t *testing.T) {
			facts := wantError(t, w.fails(test.model), test.code, test.reason)
			switch {
			case test.reason == pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED && facts["problem"] == "":
				t.Errorf("the problem is not told: %v", facts)
			case test.name == "unable to produce" && (facts["sigma_code"] != "unable_to_produce_query" || facts["sigma_request_id"] == ""):
				t.Errorf("Sigma's facts are lost: %v", facts)
			case test.name == "error in a formula" && facts["columns"] != `"Margin"`:
				t.Errorf("the column is not told: %v", facts)
			}
		})
	}
	w.wantNoSQL()
	for _, q := range w.snowflake.Queries() {
		if strings.Contains(q.SQL, sqlMark) {
			t.Errorf("the warehouse was asked %q", q.SQL)
		}
	}
}

func TestPreviewWhenSigmaFails(t *testing.T) {
	t.Parallel()
	down := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600") // more than a call waits for
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	const path = "/v2/workbooks/*/elements/*/query"
	for _, test := range []struct {
		name   string
		change func(*world)
		code   codes.Code
		reason pb.ErrorReason
		retry  time.Duration
	}{
		{"throttled", func(w *world) { w.sigma.SetFaults(sigmatest.On(path, sigmatest.Throttle("3600"))) }, codes.Unavailable, pb.ErrorReason_ERROR_REASON_SIGMA_THROTTLED, time.Hour},
		{"down", func(w *world) { w.sigma.SetFaults(sigmatest.On(path, down)) }, codes.Unavailable, pb.ErrorReason_ERROR_REASON_SIGMA_UNAVAILABLE, time.Hour},
		{"nonsense", func(w *world) { w.sigma.SetFaults(sigmatest.On(path, sigmatest.Answer(`{"sql":7}`))) }, codes.Unavailable, pb.ErrorReason_ERROR_REASON_SIGMA_PROTOCOL, 0},
		{"credentials revoked", func(w *world) {
			w.sigma.Change(func(o *sigmatest.Organization) { o.ClientSecret = "another" })
			w.sigma.RevokeTokens()
		}, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_SIGMA_CREDENTIALS_INVALID, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, snowflaketest.Config{})
			model := w.model(snowflakeName, `select 1 "One"`)
			test.change(w)
			err := w.fails(model)
			wantError(t, err, test.code, test.reason)
			if got := detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration(); got != test.retry {
				t.Errorf("the caller is asked to wait %s", got)
			}
		})
	}
}

func TestPreviewOutlivesItsToken(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, `select 1 "One"`)
	w.sigma.RevokeTokens()
	w.everyWay(model, 1)
}

func TestPreviewOfWhatTheWarehouseRefuses(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	for _, test := range []struct {
		name, sql string
		code      codes.Code
		reason    pb.ErrorReason
		object    string // in Snowflake and, unless the table is only there, in DuckDB
		only      string // the connection, if not both
	}{
		{"table not granted", `select NOTE "Note", '` + sqlMark + `' "M" from SHOP.PRIVATE.NOTES`, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, "SHOP.PRIVATE.NOTES", snowflakeName},
		{"no such table", `select '` + sqlMark + `' "M" from SHOP.SALES.MISSING`, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, "MISSING", ""},
		{"no such schema", `select '` + sqlMark + `' "M" from SHOP.NONE.ORDERS`, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, "NONE", snowflakeName},
		{"no such database", `select '` + sqlMark + `' "M" from NONE.SALES.ORDERS`, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, "NONE", ""},
		{"no such column", `select MISSING, '` + sqlMark + `' "M" from SHOP.SALES.ORDERS`, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID, "", ""},
		{"no such function", `select ` + sqlMark + `(1) "M" from SHOP.SALES.ORDERS`, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID, "", snowflakeName},
		{"no SQL at all", `select from where '` + sqlMark + `'`, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID, "", ""},
		{"a cast that fails", `select ('` + sqlMark + `' || ORDER_ID)::integer "M" from SHOP.SALES.ORDERS`, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_DATA_INVALID, "", ""},
		{"a type that has no exact form", `select '01010'::bit "M"`, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED, "", duckdbName},
		{"files of the server", `select * from read_text('/etc/` + sqlMark + `')`, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION, "", duckdbName},
	} {
		for _, connection := range []string{snowflakeName, duckdbName} {
			if test.only != "" && test.only != connection {
				continue
			}
			t.Run(test.name+" "+filepath.Base(connection), func(t *testing.T) {
				facts := wantError(t, w.fails(w.model(connection, test.sql)), test.code, test.reason)
				if !strings.Contains(facts["object"], test.object) || (test.object != "") != (facts["object"] != "") {
					t.Errorf("the object is %q", facts["object"])
				}
				if connection == snowflakeName && (facts["query_id"] == "" || facts["warehouse_code"] == "" || facts["sql_state"] == "") {
					t.Errorf("Snowflake's facts are lost: %v", facts)
				}
			})
		}
	}
	w.wantNoSQL()
}

// What cannot be delivered exactly is no value at all, and the error tells
// which one it is.
func TestPreviewOfValuesThatHaveNoExactForm(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	const rows, arrow = pb.DataFormat_DATA_FORMAT_ROWS, pb.DataFormat_DATA_FORMAT_ARROW
	for _, test := range []struct {
		name, connection, sql string
		formats               []pb.DataFormat
		row                   string
	}{
		{"an instant after the year 9999", snowflakeName, `select iff(ORDER_ID = 7, '9999-12-31 23:00:00 -08:00', '2024-01-01 00:00:00 +00:00')::timestamp_tz "M" from SHOP.SALES.ORDERS order by ORDER_ID`, []pb.DataFormat{rows}, "8"},
		{"an instant after the year 9999, in DuckDB", duckdbName, `select if(ORDER_ID = 7, '9999-12-31 23:00:00-08:00', '2024-01-01')::timestamptz "M" from SHOP.SALES.ORDERS order by ORDER_ID`, []pb.DataFormat{rows}, "8"},
		{"infinity as a date", duckdbName, `select 'infinity'::date "M"`, []pb.DataFormat{rows, arrow}, "1"},
		{"bits", duckdbName, `select '01010'::bit "M"`, []pb.DataFormat{rows, arrow}, ""},
	} {
		for _, format := range test.formats {
			t.Run(test.name+" "+format.String(), func(t *testing.T) {
				_, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: w.model(test.connection, test.sql), Format: format})
				facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED)
				if facts["column"] != "M" || facts["row"] != test.row {
					t.Errorf("the facts are %v", facts)
				}
			})
		}
	}
}

func TestPreviewWhenTheWarehouseFails(t *testing.T) {
	t.Parallel()
	before := func(code, state, message string) func(*world) {
		return func(w *world) {
			w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: func(context.Context, snowflaketest.Query) *snowflaketest.Error {
				return &snowflaketest.Error{Code: code, State: state, Message: message + " " + sqlMark}
			}})
		}
	}
	again := func(w *world) { // a new session
		w.stop()
		w.start()
	}
	for _, test := range []struct {
		name       string
		change     func(*world)
		connection string
		code       codes.Code
		reason     pb.ErrorReason
		retry      bool
	}{
		{"suspended", func(w *world) { w.snowflake.SuspendWarehouse(snowflakeComputer) }, snowflakeName, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID, false},
		{"statement timeout", before("000630", "57014", "Statement reached its statement or warehouse timeout"), snowflakeName, codes.DeadlineExceeded, pb.ErrorReason_ERROR_REASON_WAREHOUSE_TIMEOUT, false},
		{"cancelled by somebody", before("000604", "57014", "SQL execution canceled"), snowflakeName, codes.Aborted, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CANCELLED, false},
		{"too much to do", before("000603", "53000", "Too many statements"), snowflakeName, codes.Unavailable, pb.ErrorReason_ERROR_REASON_WAREHOUSE_THROTTLED, true},
		{"connection lost", before("000999", "08006", "Connection failure"), snowflakeName, codes.Unavailable, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE, true},
		{"unknown failure", before("370001", "XX000", "Internal error"), snowflakeName, codes.Unavailable, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE, true},
		{"role taken away", func(w *world) {
			w.snowflake.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
				return &snowflaketest.Error{Code: "390189", Message: "Role 'READER' specified in the connect string does not exist or not authorized."}
			}})
			again(w)
		}, snowflakeName, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID, false},
		{"user locked", func(w *world) {
			w.snowflake.SetFaults(snowflaketest.Faults{Login: func(string) *snowflaketest.Error {
				return &snowflaketest.Error{Code: "390102", Message: "User temporarily locked"}
			}})
			again(w)
		}, snowflakeName, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CREDENTIALS_INVALID, false},
		{"DuckDB file taken away", func(w *world) {
			w.must(os.Remove(filepath.Join(w.folder, "SHOP.duckdb")))
			again(w)
		}, duckdbName, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID, false},
		{"DuckDB file damaged", func(w *world) {
			w.must(os.WriteFile(filepath.Join(w.folder, "SHOP.duckdb"), []byte(strings.Repeat("no database ", 1000)), 0o600))
			again(w)
		}, duckdbName, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_WAREHOUSE_CONFIGURATION_INVALID, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, snowflaketest.Config{})
			model := w.model(test.connection, plainOrders)
			test.change(w)
			err := w.fails(model)
			wantError(t, err, test.code, test.reason)
			if retry := detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration(); (retry > 0) != test.retry {
				t.Errorf("the caller is asked to wait %s", retry)
			}
			w.wantNoSQL()
		})
	}
}

func TestPreviewRefusesWhatIsMalformed(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, `select 1 "One"`)
	for _, test := range []struct {
		field   string
		request *pb.PreviewModelRequest
	}{
		{"row_limit", &pb.PreviewModelRequest{Name: model, RowLimit: -1}},
		{"row_limit", &pb.PreviewModelRequest{Name: model, RowLimit: 100_001}},
		{"format", &pb.PreviewModelRequest{Name: model, Format: 3}},
		{"name", &pb.PreviewModelRequest{Name: snowflakeName}},
		{"name", &pb.PreviewModelRequest{Name: modelName(snowflakeName, "../whoami", "x")}},
		{"name", &pb.PreviewModelRequest{Name: modelName(snowflakeName, "w", "e?tag=x")}},
		{"name", &pb.PreviewModelRequest{}},
	} {
		_, err := w.preview(w.ctx, test.request)
		t.Run(test.field, func(t *testing.T) {
			wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
			wantField(t, err, test.field)
		})
	}
}
