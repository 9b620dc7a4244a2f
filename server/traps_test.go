package server_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// Trap 2: the e-mail address of the credential's owner is a constant in the SQL. The finding shows it, and the address is in
// no answer, log or file: the world's end looks for it.
func TestTheOwnersRowsAreFoundByTheAddress(t *testing.T) {
	t.Parallel()
	w := &countedWorld{newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})}
	w.fill(`create table SHOP.SALES.DEALS (ID number(38,0), REP text); insert into SHOP.SALES.DEALS values (1, '`+ownerEmail+`'), (2, 'other@example.com')`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	w.queriesNameOwner = true
	for address, isOwner := range map[string]bool{ownerEmail: true, strings.ToUpper(ownerEmail): true, "other@example.com": false} {
		model := w.model(snowflakeName, `select ID "Id" from (select ID, REP from SHOP.SALES.DEALS where REP = '`+address+`' limit 1000) Q1 limit 1000`)
		got, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model})
		w.must(err)
		f := finding(got.stats.GetFindings(), pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER)
		if (f != nil) != isOwner || isOwner && f.GetMetadata()["evidence"] != "email" {
			t.Errorf("is the owner's: %t, finding %v", isOwner, f)
		}
	}
}

// Trap 3: a policy shows our role 2 of 5 rows, and Sigma's role all of them.
func TestAnotherRoleSeesFewerRows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sigma sigmatest.Connection
		code  pb.FindingCode
	}{
		"another role":         {sigmatest.Connection{Role: "BI"}, pb.FindingCode_FINDING_CODE_ROLE_DIFFERS},
		"a role of the viewer": {sigmatest.Connection{Role: snowflakeRole, OAuth: true}, pb.FindingCode_FINDING_CODE_ROLE_PER_VIEWER},
	} {
		test.sigma.Name, test.sigma.Account = "Shop", snowflakeAccount
		w := newWorld(t, sigmatest.Organization{Connections: []sigmatest.Connection{test.sigma}}, snowflaketest.Config{
			Policies: []snowflaketest.Policy{{Name: "SHOP.PRIVATE.P", Table: "SHOP.SALES.T", Rows: "ID <= 2 or is_role_in_session('BI')"}},
		})
		w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T values (1), (2), (3), (4), (5)`, ``)
		w.create(snowflakeName, w.snowflakeConnection())
		model := w.modelOf(snowflakeName, sigmatest.Element{
			SQL: `select ID "Id" from SHOP.SALES.T T limit 1000`, Columns: []sigmatest.Column{{ID: "a", Label: "Id", Type: "integer"}},
			Exported: [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}},
		})
		w.mustScan(snowflakeName)
		answer := w.check(&pb.CheckModelRequest{Name: model, CompareWithSigma: true})
		c := answer.GetComparison()
		if finding(answer.GetFindings(), test.code).GetSeverity() != pb.FindingSeverity_FINDING_SEVERITY_WARNING {
			t.Errorf("%s: the findings are %v", name, answer.GetFindings())
		}
		if c.GetVerdict() != pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT || c.GetSigmaRowCount() != 5 || c.GetWarehouseRowCount() != 2 ||
			len(c.GetColumns()) != 1 || c.GetColumns()[0].GetCause() != "role" {
			t.Errorf("%s: the comparison is %v", name, c)
		}
	}
}

// Trap 7: a short name is a table of the session's namespace. The same text has three rows in one and one in the other.
func TestShortNamesAreOfTheNamespace(t *testing.T) {
	t.Parallel()
	w := &countedWorld{newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})}
	w.fill(`create table SHOP.SALES.ORDERS (ID number(38,0)); insert into SHOP.SALES.ORDERS values (1), (2), (3);
		create table SHOP.PUBLIC.ORDERS (ID number(38,0)); insert into SHOP.PUBLIC.ORDERS values (1)`, ``)
	const sql = `select * from orders`
	for schema, rows := range map[string]int{"SALES": 3, "PUBLIC": 1} {
		connection := w.snowflakeConnection()
		connection.Warehouse.GetSnowflake().Database, connection.Warehouse.GetSnowflake().Schema = "SHOP", schema
		name := workspace + "/connections/" + strings.ToLower(schema)
		w.create(name, connection)
		got, statistics, err := w.read(&pb.CreateReadSessionRequest{Name: w.model(name, sql)})
		f := finding(statistics.GetFindings(), pb.FindingCode_FINDING_CODE_NAME_UNQUALIFIED)
		if err != nil || got != rows || f.GetMetadata()["names"] != `"ORDERS"` || f.GetMetadata()["namespace"] != `"SHOP"."`+schema+`"` {
			t.Errorf("%s: %d rows, %v, %v", schema, got, err, f)
		}
	}
	w.create(snowflakeName, w.snowflakeConnection())
	_, _, err := w.read(&pb.CreateReadSessionRequest{Name: w.model(snowflakeName, sql)})
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_NAME_UNQUALIFIED)
}

// Trap 11: a relationship with two matches for one row multiplies it. The count of the key shows it.
func TestARelationshipWithSeveralMatches(t *testing.T) {
	t.Parallel()
	w := &countedWorld{newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})}
	w.fill(`create table SHOP.SALES.T (ID number(38,0)); insert into SHOP.SALES.T values (1), (2);
		create table SHOP.SALES.U (ID number(38,0), REGION text); insert into SHOP.SALES.U values (1, 'a'), (1, 'b'), (2, 'c')`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	model := w.model(snowflakeName, `select Q1.ID "Id", Q2.REGION "Region" from (select ID from SHOP.SALES.T) Q1 left join (select ID ID_2, REGION from SHOP.SALES.U) Q2 on Q1.ID = Q2.ID_2 limit 1000`)
	answer := w.check(&pb.CheckModelRequest{Name: model, KeyColumns: []string{"Id"}})
	if key := answer.GetKey(); key.GetRowCount() != 3 || key.GetDistinctCount() != 2 || finding(answer.GetFindings(), pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE) == nil {
		t.Errorf("the check is %v", answer)
	}
	_, _, err := w.read(&pb.CreateReadSessionRequest{Name: model, KeyColumns: []string{"Id"}})
	wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_KEY_NOT_UNIQUE)
}
