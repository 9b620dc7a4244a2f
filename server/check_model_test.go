package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func (w *world) check(request *pb.CheckModelRequest) *pb.CheckModelResponse {
	w.t.Helper()
	answer, err := w.query.CheckModel(w.ctx, request)
	w.must(err)
	if answer.GetReadable() != (answer.GetProblem() == nil) {
		w.t.Errorf("readable: %v, problem: %v", answer.GetReadable(), answer.GetProblem())
	}
	return answer
}

func TestACheckRunsNothing(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	answer := w.check(&pb.CheckModelRequest{Name: model})
	if !answer.GetReadable() || len(answer.GetSchema().GetColumns()) != 3 ||
		answer.GetWarehouseMatch().GetOutcome() != pb.WarehouseMatchOutcome_WAREHOUSE_MATCH_OUTCOME_SAME {
		t.Errorf("the check says %v", answer)
	}
	if got := w.mustReadTable(&pb.PreviewModelRequest{Name: model}); got.schema.GetFingerprint() != answer.GetSchema().GetFingerprint() {
		t.Error("a check and a read give different fingerprints")
	}
	if described := countQueries(w, true); described < 2 {
		t.Errorf("%d statements were described, the table and the query were to be", described)
	}
	if ran := countQueries(w, false); ran != 1 {
		t.Errorf("%d statements ran, only the preview's was to", ran)
	}
}

func countQueries(w *world, describeOnly bool) int {
	n := 0
	for _, q := range w.snowflake.Queries() {
		if strings.Contains(q.SQL, "PEOPLE") && q.DescribeOnly == describeOnly {
			n++
		}
	}
	return n
}

func TestACheckNamesAllTablesThatARoleMayNotReadWithTheirGrants(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.must(w.snowflake.Exec(w.ctx, `create table SHOP.PRIVATE.SALARIES (ID number(38,0), PAY number(38,2)); create table SHOP.PRIVATE."Secret Plans" (ID number(38,0))`))
	model := w.model(snowflakeName, `select P.ID "Id" from SHOP.SALES.PEOPLE P inner join SHOP.PRIVATE.SALARIES S on equal_null(P.ID, S.ID) inner join SHOP.PRIVATE."Secret Plans" Q on equal_null(P.ID, Q.ID) limit 1000`)
	answer := w.check(&pb.CheckModelRequest{Name: model})
	if answer.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION {
		t.Errorf("the problem is %v", answer.GetProblem())
	}
	got := map[string][]string{}
	for _, table := range answer.GetTables() {
		var statements []string
		for _, g := range table.GetGrants() {
			statements = append(statements, g.GetStatement())
		}
		got[strings.Join(table.GetParts(), ".")] = statements
		if table.GetReadable() != (table.GetProblem() == nil) {
			t.Errorf("%v", table)
		}
	}
	want := map[string][]string{
		"SHOP.SALES.PEOPLE": nil,
		"SHOP.PRIVATE.SALARIES": {
			"GRANT USAGE ON DATABASE SHOP TO ROLE READER;",
			"GRANT USAGE ON SCHEMA SHOP.PRIVATE TO ROLE READER;",
			"GRANT SELECT ON TABLE SHOP.PRIVATE.SALARIES TO ROLE READER;",
			"GRANT SELECT ON VIEW SHOP.PRIVATE.SALARIES TO ROLE READER;",
		},
		"SHOP.PRIVATE.Secret Plans": {
			"GRANT USAGE ON DATABASE SHOP TO ROLE READER;",
			"GRANT USAGE ON SCHEMA SHOP.PRIVATE TO ROLE READER;",
			`GRANT SELECT ON TABLE SHOP.PRIVATE."Secret Plans" TO ROLE READER;`,
			`GRANT SELECT ON VIEW SHOP.PRIVATE."Secret Plans" TO ROLE READER;`,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grants by table (-want +got):\n%s", diff)
	}
}

func TestARefusedReadTellsTheGrants(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.must(w.snowflake.Exec(w.ctx, `create table SHOP.PRIVATE."Secret Plans" (ID number(38,0))`))
	// Without a role in the connection, the user's default is in use.
	connection := w.snowflakeConnection()
	connection.GetWarehouse().GetSnowflake().Role = ""
	const byDefault = workspace + "/connections/by-default"
	w.create(byDefault, connection)
	for _, name := range []string{snowflakeName, byDefault} {
		model := w.model(name, `select P.ID "Id" from SHOP.PRIVATE."Secret Plans" P limit 1000`)
		_, err := w.readTable(&pb.PreviewModelRequest{Name: model})
		wantError(t, err, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION)
		var statements []string
		for _, detail := range status.Convert(err).Details() {
			if access, ok := detail.(*pb.TableAccess); ok {
				for _, grant := range access.GetGrants() {
					statements = append(statements, grant.GetStatement())
				}
			}
		}
		want := []string{
			"GRANT USAGE ON DATABASE SHOP TO ROLE READER;",
			"GRANT USAGE ON SCHEMA SHOP.PRIVATE TO ROLE READER;",
			`GRANT SELECT ON TABLE SHOP.PRIVATE."Secret Plans" TO ROLE READER;`,
			`GRANT SELECT ON VIEW SHOP.PRIVATE."Secret Plans" TO ROLE READER;`,
		}
		if diff := cmp.Diff(want, statements); diff != "" {
			t.Errorf("%s: statements (-want +got):\n%s", name, diff)
		}
	}
}

func TestACheckCountsTheKey(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.must(w.snowflake.Exec(w.ctx, `insert into SHOP.SALES.PEOPLE values (4, null, 36), (5, null, null)`))
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	for name, test := range map[string]struct {
		key  []string
		want [3]int64 // rows, distinct, nulls
		most []int64  // rows of the duplicated keys
	}{
		"a key":                  {key: []string{"col-id"}, want: [3]int64{5, 5, 0}},
		"duplicates and a null":  {key: []string{"Age"}, want: [3]int64{5, 2, 1}, most: []int64{3}},
		"nulls are no values":    {key: []string{"col-name"}, want: [3]int64{5, 3, 2}},
		"two columns":            {key: []string{"col-name", "Age"}, want: [3]int64{5, 3, 2}},
		"two columns, one a key": {key: []string{"Age", "Id"}, want: [3]int64{5, 4, 1}},
	} {
		answer := w.check(&pb.CheckModelRequest{Name: model, KeyColumns: test.key})
		key := answer.GetKey()
		if got := [3]int64{key.GetRowCount(), key.GetDistinctCount(), key.GetNullCount()}; got != test.want {
			t.Errorf("%s: rows, distinct and nulls are %v instead of %v", name, got, test.want)
		}
		var most []int64
		for _, d := range key.GetDuplicates() {
			most = append(most, d.GetRowCount())
			if len(d.GetValues()) != len(test.key) {
				t.Errorf("%s: a duplicate has %d values", name, len(d.GetValues()))
			}
		}
		if diff := cmp.Diff(test.most, most); diff != "" {
			t.Errorf("%s: duplicates (-want +got):\n%s", name, diff)
		}
		unique := test.want[0] == test.want[1]
		found := false
		for _, f := range answer.GetFindings() {
			found = found || f.GetCode() == pb.FindingCode_FINDING_CODE_KEY_NOT_UNIQUE
		}
		if found == unique {
			t.Errorf("%s: the findings are %v", name, answer.GetFindings())
		}
	}
	_, err := w.query.CheckModel(w.ctx, &pb.CheckModelRequest{Name: model, KeyColumns: []string{"Shoe Size"}})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND)
}

func TestACheckTellsWhatIsWrongWithAModel(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Connections = append(o.Connections, sigmatest.Connection{ID: "elsewhere", Name: "Elsewhere", Account: "OTHER-ACCOUNT"})
	})
	for name, test := range map[string]struct {
		element sigmatest.Element
		want    pb.ErrorReason
	}{
		"broken":            {sigmatest.Element{Refusal: sigmatest.UnableToProduce}, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		"a broken column":   {sigmatest.Element{SQL: `select 'Unknown column "[X]"' "X" from SHOP.SALES.PEOPLE PEOPLE limit 1000`}, pb.ErrorReason_ERROR_REASON_MODEL_BROKEN},
		"forbidden":         {sigmatest.Element{Refusal: sigmatest.Forbidden}, pb.ErrorReason_ERROR_REASON_SIGMA_FORBIDDEN},
		"does not compile":  {sigmatest.Element{SQL: `select NO_SUCH "X" from SHOP.SALES.PEOPLE PEOPLE limit 1000`}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_SQL_INVALID},
		"another warehouse": {sigmatest.Element{SQL: peopleSQL, Connection: "elsewhere"}, pb.ErrorReason_ERROR_REASON_WAREHOUSE_MISMATCH},
		"two statements":    {sigmatest.Element{SQL: `select 1 "A"; select 2 "B"`}, pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED},
	} {
		answer := w.check(&pb.CheckModelRequest{Name: w.modelOf(snowflakeName, test.element)})
		if answer.GetReadable() || answer.GetProblem().GetReason() != test.want || answer.GetProblem().GetMessage() == "" {
			t.Errorf("%s: the check says %v", name, answer)
		}
	}
	answer := w.check(&pb.CheckModelRequest{Name: modelName(snowflakeName, "nothing", "here")})
	if answer.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_MODEL_GONE {
		t.Errorf("of an element that is not there: %v", answer)
	}
	model := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns})
	before := w.check(&pb.CheckModelRequest{Name: model}).GetSchema().GetFingerprint()
	drifted := w.check(&pb.CheckModelRequest{Name: model, Columns: []string{"Id"}, ExpectedFingerprint: before})
	if drifted.GetProblem().GetReason() != pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT || len(drifted.GetDrift().GetChanges()) != 2 || drifted.GetSchema() == nil {
		t.Errorf("of other columns: %v", drifted)
	}
	_, err := w.query.CheckModel(w.ctx, &pb.CheckModelRequest{Name: modelName(workspace+"/connections/nothing", "a", "b")})
	wantError(t, err, codes.NotFound, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND)
}

func TestACheckComparesTheModelWithSigmasOwnExport(t *testing.T) {
	t.Parallel()
	w := newPeopleWorld(t)
	rows := [][]string{{"1", "Ada", "36"}, {"2", "Bo", "41"}, {"3", "Cy", "36"}}
	renamed := append([]sigmatest.Column{{ID: "col-id", Label: "Number", Type: "number"}}, peopleColumns[1:]...)
	for name, test := range map[string]struct {
		element sigmatest.Element
		looks   int
		want    pb.ComparisonVerdict
	}{
		"the same":      {sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns, Exported: rows}, 1, pb.ComparisonVerdict_COMPARISON_VERDICT_SAME},
		"fewer rows":    {sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns, Exported: rows[:2]}, 0, pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT},
		"other columns": {sigmatest.Element{SQL: peopleSQL, Columns: renamed, Exported: rows}, 0, pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT},
	} {
		w.sigma.SetOptions(sigmatest.Options{ExportLooks: test.looks})
		model := w.modelOf(snowflakeName, test.element)
		answer := w.check(&pb.CheckModelRequest{Name: model, CompareWithSigma: true})
		if c := answer.GetComparison(); !answer.GetReadable() || c.GetVerdict() != test.want || c.GetMessage() == "" || c.GetWarehouseRowCount() != 3 {
			t.Errorf("%s: the check says %v", name, answer)
		}
	}
	refused := w.modelOf(snowflakeName, sigmatest.Element{SQL: peopleSQL, Columns: peopleColumns, Exported: rows})
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks/*/export", sigmatest.Fail(403, "forbidden", "No permission")))
	if c := w.check(&pb.CheckModelRequest{Name: refused, CompareWithSigma: true}).GetComparison(); c.GetVerdict() != pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED {
		t.Errorf("of an export that Sigma refuses: %v", c)
	}
}
