package server_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// countedWorld has a model on each warehouse whose count of rows the test sets.
type countedWorld struct {
	*world
}

// rowsSQL is a query of n rows.
func rowsSQL(n int) string {
	return fmt.Sprintf(`select ID "Id" from SHOP.SALES.T T where ID < %d limit 1000`, n)
}

func newCountedWorld(t *testing.T) *countedWorld {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T select * from range(100)`,
		`create table SALES.T as select range as ID from range(100)`)
	w.create(snowflakeName, w.snowflakeConnection())
	w.create(duckdbName, w.duckdbConnection())
	return &countedWorld{w}
}

// set gives the model n rows.
func (w *countedWorld) set(model string, n int) {
	w.t.Helper()
	w.sigma.Change(func(o *sigmatest.Organization) {
		elements := o.Workbook(scratch).Pages[0].Elements
		for i := range elements {
			if modelName(snowflakeName, scratch, elements[i].ID) == model || modelName(duckdbName, scratch, elements[i].ID) == model {
				elements[i].SQL = rowsSQL(n)
			}
		}
	})
}

// read reads the whole model, and returns its rows, the statistics and the error of whichever call failed.
func (w *countedWorld) read(request *pb.CreateReadSessionRequest) (rows int, statistics *pb.StreamStatistics, err error) {
	w.t.Helper()
	created, err := w.query.CreateReadSession(w.ctx, request)
	if err != nil {
		return 0, nil, err
	}
	stream, err := w.query.ReadRows(w.ctx, &pb.ReadRowsRequest{Name: created.GetSession().GetStreams()[0].GetName()})
	w.must(err)
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return rows, statistics, nil
		}
		if err != nil {
			return rows, statistics, err
		}
		rows += len(message.GetRows().GetRows())
		if message.GetStatistics() != nil {
			statistics = message.GetStatistics()
		}
	}
}

func (w *countedWorld) lastReads(model string) []*pb.CompletedRead {
	w.t.Helper()
	connection, _, _ := strings.Cut(model, "/models/")
	w.mustScan(connection)
	got, err := w.catalog.GetModel(w.ctx, &pb.GetModelRequest{Name: model})
	w.must(err)
	return got.GetModel().GetLastReads()
}

func hasFinding(findings []*pb.Finding, code pb.FindingCode) bool {
	return finding(findings, code) != nil
}

// TestAnEmptyResultIsRefusedWhereThereWereRows: a sync that mirrors the result would delete everything.
func TestAnEmptyResultIsRefusedWhereThereWereRows(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		t.Run(connection, func(t *testing.T) {
			model := w.model(connection, rowsSQL(0))
			whole := &pb.CreateReadSessionRequest{Name: model}
			if rows, _, err := w.read(whole); rows != 0 || err != nil {
				t.Errorf("a first read, which is empty: %d rows, %v", rows, err)
			}
			w.set(model, 20)
			if rows, statistics, err := w.read(whole); rows != 20 || err != nil || hasFinding(statistics.GetFindings(), pb.FindingCode_FINDING_CODE_RESULT_SHRUNK) {
				t.Errorf("20 rows: %d, %v, %v", rows, statistics, err)
			}
			w.set(model, 0)
			for range 2 { // a refused read leaves the count as it was
				_, _, err := w.read(whole)
				facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_RESULT_EMPTY)
				if facts["last_row_count"] != "20" || facts["last_read_time"] == "" {
					t.Errorf("the facts are %v", facts)
				}
			}
			// Another limit policy is another kind of read, of which there was none.
			if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, LimitPolicy: pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS}); rows != 0 || err != nil {
				t.Errorf("with another limit policy: %d rows, %v", rows, err)
			}
			// A preview is no sync.
			if got := w.everyWay(model, 10); got.stats.GetRowCount() != 0 {
				t.Errorf("the preview has %d rows", got.stats.GetRowCount())
			}
			_, statistics, err := w.read(&pb.CreateReadSessionRequest{Name: model, AllowEmpty: true})
			if err != nil || !hasFinding(statistics.GetFindings(), pb.FindingCode_FINDING_CODE_RESULT_SHRUNK) {
				t.Errorf("with allow_empty: %v, %v", statistics, err)
			}
			if _, statistics, err = w.read(whole); err != nil || hasFinding(statistics.GetFindings(), pb.FindingCode_FINDING_CODE_RESULT_SHRUNK) {
				t.Errorf("after the empty result was accepted: %v, %v", statistics, err)
			}
			reads := w.lastReads(model)
			if len(reads) != 2 || reads[0].GetRowCount() != 0 || reads[1].GetLimitPolicy() != "KEEP_AMBIGUOUS" || reads[0].GetCompleteTime() == nil {
				t.Errorf("the last reads are %v", reads)
			}
		})
	}
}

// TestTheConnectionAcceptsEmptyResults by its own setting.
func TestTheConnectionAcceptsEmptyResults(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	model := w.model(snowflakeName, rowsSQL(5))
	if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model}); rows != 5 || err != nil {
		t.Fatalf("%d rows, %v", rows, err)
	}
	_, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{
		Connection: &pb.Connection{Name: snowflakeName, AllowEmpty: true}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"allow_empty"}},
	})
	w.must(err)
	w.set(model, 0)
	if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model}); rows != 0 || err != nil {
		t.Errorf("%d rows, %v", rows, err)
	}
}

// TestAResultThatShrinks has a finding below a share of the last read, which the connection sets and refuse_findings refuses.
func TestAResultThatShrinks(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		t.Run(connection, func(t *testing.T) {
			setRatio := func(ratio *float64) {
				_, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{
					Connection: &pb.Connection{Name: connection, ShrunkRatio: ratio}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"shrunk_ratio"}},
				})
				w.must(err)
			}
			for _, test := range []struct {
				ratio         *float64
				before, after int
				shrunk        bool
			}{
				{nil, 40, 20, false}, {nil, 41, 20, true}, {nil, 40, 60, false}, {nil, 1, 1, false},
				{new(0.9), 40, 36, false}, {new(0.9), 40, 35, true}, {new(0.0), 40, 1, false}, {new(1.0), 40, 39, true}, {new(1.0), 40, 40, false},
			} {
				setRatio(test.ratio)
				model := w.model(connection, rowsSQL(test.before))
				if _, _, err := w.read(&pb.CreateReadSessionRequest{Name: model}); err != nil {
					t.Fatal(err)
				}
				w.set(model, test.after)
				_, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, RefuseFindings: []pb.FindingCode{pb.FindingCode_FINDING_CODE_RESULT_SHRUNK}})
				if test.shrunk {
					wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_FINDING_REFUSED)
				} else if err != nil {
					t.Errorf("%v: the read that refuses the finding: %v", test, err)
				}
				setRatio(test.ratio)
				model = w.model(connection, rowsSQL(test.before))
				if _, _, err := w.read(&pb.CreateReadSessionRequest{Name: model}); err != nil {
					t.Fatal(err)
				}
				w.set(model, test.after)
				rows, statistics, err := w.read(&pb.CreateReadSessionRequest{Name: model})
				if rows != test.after || err != nil || hasFinding(statistics.GetFindings(), pb.FindingCode_FINDING_CODE_RESULT_SHRUNK) != test.shrunk {
					t.Errorf("%v: %d rows, %v, %v", test, rows, statistics, err)
				}
			}
		})
	}
}

// TestAMinimumOfRows: a result below the caller's own minimum fails.
func TestAMinimumOfRows(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		t.Run(connection, func(t *testing.T) {
			model := w.model(connection, rowsSQL(7))
			_, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, ExpectedMinRows: 8, AllowEmpty: true})
			if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_RESULT_TOO_SMALL); facts["row_count"] != "7" || facts["expected_min_rows"] != "8" {
				t.Errorf("the facts are %v", facts)
			}
			if reads := w.lastReads(model); len(reads) != 0 {
				t.Errorf("a read that failed is stored: %v", reads)
			}
			if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, ExpectedMinRows: 7}); rows != 7 || err != nil {
				t.Errorf("%d rows, %v", rows, err)
			}
		})
	}
}

// TestAKeyIsCheckedBeforeRowsAreSent, and the session has its count.
func TestAKeyIsCheckedBeforeRowsAreSent(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		t.Run(connection, func(t *testing.T) {
			model := w.model(connection, `select ID "Id", ID % 3 "Third", nullif(ID, 5) "Some" from SHOP.SALES.T T where ID < 9 limit 1000`)
			session := w.session(&pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Id"}})
			if key := session.GetKey(); key.GetRowCount() != 9 || key.GetDistinctCount() != 9 || key.GetNullCount() != 0 {
				t.Errorf("the key is %v", key)
			}
			odd := w.check(&pb.CheckModelRequest{Name: w.model(connection, `select ID % 3 "__rows" from SHOP.SALES.T T where ID < 9 limit 1000`), KeyColumns: []string{"__rows"}})
			if duplicates := odd.GetKey().GetDuplicates(); len(duplicates) != 3 || duplicates[0].GetRowCount() != 3 {
				t.Errorf("the key with the label __rows is %v", odd.GetKey())
			}
			for column, want := range map[string][2]string{"Third": {"3", "0"}, "Some": {"8", "1"}} {
				_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{column}})
				facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_KEY_NOT_UNIQUE)
				if facts["row_count"] != "9" || facts["distinct_count"] != want[0] || facts["null_count"] != want[1] {
					t.Errorf("%s: the facts are %v", column, facts)
				}
			}
			_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Nothing"}})
			wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND)
		})
	}
}

// TestASessionHasAMaximumTimeOfTheWarehouse, whether the query ends with the call or after it.
func TestASessionHasAMaximumTimeOfTheWarehouse(t *testing.T) {
	t.Parallel()
	w := newCountedWorld(t)
	release := w.holdQueries()
	defer release()
	model := w.model(snowflakeName, rowsSQL(7))
	for _, key := range [][]string{nil, {"Id"}} {
		_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, KeyColumns: key, MaxWarehouseTime: durationpb.New(30 * time.Millisecond)})
		if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_COST_LIMIT_EXCEEDED); facts["limit"] != "30ms" {
			t.Errorf("the facts are %v", facts)
		}
	}
	w.wantIdleSoon()
}
