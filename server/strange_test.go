package server_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest/strange"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// Every model of an organization that is nothing but strange is right, refused by name, or marked.
func TestTheStrangeOrganization(t *testing.T) {
	t.Parallel()
	org := strange.Organization()
	for i := range org.Connections {
		if org.Connections[i].Account == strange.Account {
			org.Connections[i].Account = snowflakeAccount
		}
	}
	w := newWorld(t, org, snowflaketest.Config{})
	w.fill(``, ``)
	_, err := w.snowflake.DB().ExecContext(w.ctx, strange.Tables())
	w.must(err)
	w.create(snowflakeName, w.snowflakeConnection())
	scan := w.scan(snowflakeName)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksFailed() != 0 || scan.GetModelsFailed() != 0 {
		t.Errorf("the scan ended with %v", scan)
	}
	w.wantGaps(scan, strange.IncompleteLists())

	models := map[[2]string]*pb.Model{}
	for _, m := range w.modelsByName() {
		models[[2]string{m.GetWorkbookDisplayName(), m.GetDisplayName()}] = m
	}
	for _, e := range strange.Expectations() {
		t.Run(e.Workbook+"/"+e.Element, func(t *testing.T) {
			m := models[[2]string{e.Workbook, strings.TrimSpace(e.Element)}]
			if (m == nil) != (e.State == strange.Absent) {
				t.Fatalf("the model is %v", m)
			}
			if m != nil {
				w.wantStrange(t, m, e)
			}
		})
	}
}

func (w *world) wantGaps(scan *pb.Scan, incomplete []strange.Incomplete) {
	w.t.Helper()
	var want, got []strange.Incomplete
	for _, list := range incomplete {
		list.Call = list.Call[strings.LastIndexByte(list.Call, '/')+1:]
		want = append(want, list)
	}
	for _, gap := range scan.GetListGaps() {
		got = append(got, strange.Incomplete{Call: gap.GetList(), Total: int(gap.GetDeclaredCount()), Received: int(gap.GetReceivedCount()), Rejected: int(gap.GetUnreadableCount())})
	}
	byText := func(a, b strange.Incomplete) int {
		return strings.Compare(a.Call+strings.Repeat("x", a.Total), b.Call+strings.Repeat("x", b.Total))
	}
	slices.SortFunc(want, byText)
	slices.SortFunc(got, byText)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("incomplete lists (-want +got):\n%s", diff)
	}
}

// wantStrange holds a model to what is true of it, in the catalog and in reads of it.
func (w *world) wantStrange(t *testing.T, m *pb.Model, e strange.Expectation) {
	state := strings.TrimPrefix(m.GetState().String(), "MODEL_STATE_")
	if e.State != strange.AnyRefused && state != string(e.State) || e.State == strange.AnyRefused && state == string(strange.Ready) {
		t.Errorf("the state is %s, want %s: %v", state, e.State, m.GetError())
	}
	if e.State == strange.Ready && m.GetSigmaWarehouse().GetConnectionId() != e.Connection {
		t.Errorf("the warehouse is %v, want the connection %q", m.GetSigmaWarehouse(), e.Connection)
	}
	request := func(policy pb.LimitPolicy) *pb.PreviewModelRequest {
		return &pb.PreviewModelRequest{Name: m.GetName(), RowLimit: 100, LimitPolicy: policy, IncludeTotalRowCount: true}
	}
	read, err := w.preview(w.ctx, request(pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED))
	if e.State != strange.Ready || e.Refusal != "" {
		reason := detail[*errdetails.ErrorInfo](err).GetReason()
		if err == nil || reason == "INTERNAL" || e.Refusal != "" && reason != e.Refusal {
			t.Errorf("a read ends with %v, want the reason %q", err, e.Refusal)
		}
		return
	}
	if err != nil {
		t.Fatalf("a read fails: %v", err)
	}
	wantFindings(t, slices.Concat(m.GetFindings(), read.stats.GetFindings()), e)
	wantAgreement(t, m.GetFindings(), read.stats.GetFindings())
	var labels []string
	for _, c := range read.schema.GetColumns() {
		labels = append(labels, c.GetName())
	}
	if !sameSet(labels, e.Columns) {
		t.Errorf("the columns are %q, want %q", labels, e.Columns)
	}
	for label, want := range e.Values {
		at := slices.Index(labels, label)
		for _, row := range read.table(t) {
			if at < 0 || row[at] != strconv.Quote(want) {
				t.Fatalf("%s is %q, want %q", label, row, want)
			}
		}
	}
	if got := int(read.stats.GetTotalRowCount()); got != e.Rows {
		t.Errorf("%d rows, want %d", got, e.Rows)
	}
	for policy, want := range map[pb.LimitPolicy]int{pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS: e.RowsKept, pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS: e.RowsLifted} {
		if e.RowsKept == e.RowsLifted {
			continue
		}
		if read, err := w.preview(w.ctx, request(policy)); err != nil || int(read.stats.GetTotalRowCount()) != want {
			t.Errorf("%s: %d rows, want %d, %v", policy, read.stats.GetTotalRowCount(), want, err)
		}
	}
}

func wantFindings(t *testing.T, found []*pb.Finding, e strange.Expectation) {
	t.Helper()
	codes := map[string]bool{}
	for _, f := range found {
		codes[strings.TrimPrefix(f.GetCode().String(), "FINDING_CODE_")] = true
		if f.GetMetadata()["sigma_status"] != "" && f.GetMetadata()["sigma_request_id"] != "" {
			codes[strange.CallRefused] = true
		}
		if f.GetCode() == pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN { // an empty list has no code
			codes[strange.CallRefused] = true
		}
	}
	if codes["PREVIEW_LIMIT_KEPT"] { // a preview of few rows keeps what a full read lifts
		codes[strange.PreviewLimitLifted] = true
	}
	for _, code := range e.Findings {
		if !codes[code] {
			t.Errorf("the finding %s is missing: %v", code, found)
		}
	}
	for _, code := range e.NoFindings {
		if codes[code] {
			t.Errorf("the finding %s is there: %v", code, found)
		}
	}
}

// wantAgreement compares the catalog's findings about rows with those of a read.
func wantAgreement(t *testing.T, catalog, read []*pb.Finding) {
	t.Helper()
	for _, name := range []string{strange.ControlsPresent, strange.HiddenColumn, strange.GrainRepeated, strange.LookupAmbiguous,
		strange.MaterializedSource, strange.InputTable, strange.RolePerViewer, strange.RowsOfOwner, strange.WarehouseUnknown} {
		code := pb.FindingCode(pb.FindingCode_value["FINDING_CODE_"+name])
		if code == 0 || hasCode(catalog, code) != hasCode(read, code) {
			t.Errorf("%s: the catalog has %v, and the read %v", name, catalog, read)
		}
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
