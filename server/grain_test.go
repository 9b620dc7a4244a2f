package server_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// repeatedSQL joins the count of each group back to the base rows.
const repeatedSQL = `select S "Status", COUNT_9 "Count", ID "Id" from (` +
	`select Q3.ID ID, Q3.S S, Q6.COUNT_9 COUNT_9 from (select ID, S from SHOP.SALES.T limit 1000) Q3 ` +
	`left join (select count(ID) COUNT_9, S S_2 from SHOP.SALES.T group by S) Q6 on equal_null(Q3.S, Q6.S_2)) Q8 limit 1000`

func newGrainWorld(t *testing.T) *countedWorld {
	t.Helper()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), S text); insert into SHOP.SALES.T values (1, 'open'), (2, 'open'), (3, 'closed')`,
		`create table SALES.T (ID bigint, S text); insert into SALES.T values (1, 'open'), (2, 'open'), (3, 'closed')`)
	w.create(snowflakeName, w.snowflakeConnection())
	w.create(duckdbName, w.duckdbConnection())
	return &countedWorld{w}
}

// TestAGroupJoinedBackToItsBaseRows: the first read counts the keys of the groups without being asked, a read of the groups
// needs distinct_group, and a query that groups outermost has no such finding.
func TestAGroupJoinedBackToItsBaseRows(t *testing.T) {
	t.Parallel()
	w := newGrainWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		t.Run(connection, func(t *testing.T) {
			model := w.model(connection, repeatedSQL)
			first := w.session(&pb.CreateReadSessionRequest{Name: model})
			if key := first.GetKey(); key.GetRowCount() != 3 || key.GetDistinctCount() != 2 || key.GetNullCount() != 0 {
				t.Errorf("the first session counts the key as %v", key)
			}
			for _, code := range []pb.FindingCode{pb.FindingCode_FINDING_CODE_GRAIN_REPEATED, pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE} {
				if !hasFinding(first.GetFindings(), code) {
					t.Errorf("%s is not among the findings %v", code, first.GetFindings())
				}
			}
			for _, f := range first.GetFindings() {
				if f.GetCode() == pb.FindingCode_FINDING_CODE_GRAIN_REPEATED && (f.GetMetadata()["columns"] != `"Count"` || f.GetMetadata()["keys"] != `"Status"`) {
					t.Errorf("the finding is %v", f)
				}
			}
			if got := w.readSession(first); len(got) != 3 {
				t.Errorf("the rows are %v", got)
			}
			if again := w.session(&pb.CreateReadSessionRequest{Name: model}); again.GetKey() != nil || hasFinding(again.GetFindings(), pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE) {
				t.Errorf("a second session counts the key again: %v", again)
			}
			refused := []pb.FindingCode{pb.FindingCode_FINDING_CODE_GRAIN_REPEATED}
			_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, RefuseFindings: refused})
			wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_FINDING_REFUSED)
			groups := w.session(&pb.CreateReadSessionRequest{Name: model, DistinctGroup: true, KeyColumns: []string{"Status"}, RefuseFindings: refused})
			rows := w.readSession(groups)
			slices.SortFunc(rows, slices.Compare)
			var text []string
			for _, row := range rows {
				text = append(text, strings.Join(row, "="))
			}
			if got := strings.Join(text, " "); got != `"closed"=1 "open"=2` || groups.GetKey().GetRowCount() != 2 {
				t.Errorf("the groups are %q, with the key %v", got, groups.GetKey())
			}
			_, err = w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, DistinctGroup: true, Columns: []string{"Count"}})
			wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)

			grouped := w.model(connection, `select S "Status", count(ID) "Count" from SHOP.SALES.T group by S limit 1000`)
			plain := w.session(&pb.CreateReadSessionRequest{Name: grouped})
			if plain.GetKey() != nil || hasFinding(plain.GetFindings(), pb.FindingCode_FINDING_CODE_GRAIN_REPEATED) {
				t.Errorf("a plain grouping: %v", plain)
			}
			_, err = w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: grouped, DistinctGroup: true})
			wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
		})
	}
}

// TestACountThatNobodyAskedForFailsNoRead: the warehouse cannot group by the column, or it takes too long.
func TestACountThatNobodyAskedForFailsNoRead(t *testing.T) {
	t.Parallel()
	w := newGrainWorld(t)
	for _, refusal := range []snowflaketest.Error{
		{Code: "002280", State: "42601", Message: "SQL compilation error: expressions of type GEOGRAPHY cannot be used as GROUP BY keys"},
		{Code: "000630", State: "57014", Message: "Statement reached its statement or warehouse timeout of 60 second(s) and was canceled."},
	} {
		w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
			if strings.Contains(q.SQL, `as "keys"`) {
				return &refusal
			}
			return nil
		}})
		model := w.model(snowflakeName, repeatedSQL)
		_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Status"}})
		if err == nil {
			t.Errorf("%s: the key that the request names is not counted", refusal.Code)
		}
		if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model}); rows != 3 || err != nil {
			t.Errorf("%s: %d rows, %v", refusal.Code, rows, err)
		}
	}
}

// TestAnUnstableColumnIsNoKey: row_number over an order by a constant gives each row another number at each read.
func TestAnUnstableColumnIsNoKey(t *testing.T) {
	t.Parallel()
	w := newGrainWorld(t)
	for _, connection := range []string{snowflakeName, duckdbName} {
		model := w.model(connection, `select ROWNUMBER_4 "Id", S "Status", ID "Number" from (select S, ID, row_number() over (order by null) ROWNUMBER_4 from SHOP.SALES.T limit 1000) Q1 limit 1000`)
		session := w.session(&pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Number"}})
		if !hasFinding(session.GetFindings(), pb.FindingCode_FINDING_CODE_VALUES_UNSTABLE) || session.GetKey().GetDistinctCount() != 3 {
			t.Errorf("with a stable key: %v", session)
		}
		_, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Status", "Id"}})
		if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_KEY_UNSTABLE); facts["columns"] != `"Id"` {
			t.Errorf("the facts are %v", facts)
		}
		check := w.check(&pb.CheckModelRequest{Name: model, KeyColumns: []string{"Id"}})
		if check.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_KEY_UNSTABLE {
			t.Errorf("the check is %v", check)
		}
	}
}

// TestRowsOfTheOwnerThatAreNone: a row-level rule leaves the owner of the credential no row. The first read fails already.
func TestRowsOfTheOwnerThatAreNone(t *testing.T) {
	t.Parallel()
	w := newGrainWorld(t)
	columns := []sigmatest.Column{{ID: "a", Label: "Id", Formula: "[T/Id]", Type: "integer"}, {ID: "b", Label: "Rule", Formula: "CurrentUserInTeam([Team])", Type: "boolean"}}
	for _, connection := range []string{snowflakeName, duckdbName} {
		model := w.modelOf(connection, sigmatest.Element{SQL: `select ID "Id", S = 'open' "Rule" from SHOP.SALES.T where false limit 1000`, Columns: columns})
		_, _, err := w.read(&pb.CreateReadSessionRequest{Name: model})
		if facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_RESULT_EMPTY); facts["cause"] != "rows_of_owner" {
			t.Errorf("the facts are %v", facts)
		}
		if rows, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, AllowEmpty: true}); rows != 0 || err != nil {
			t.Errorf("with allow_empty: %d rows, %v", rows, err)
		}
	}
}
