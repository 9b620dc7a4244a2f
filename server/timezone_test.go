package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// The dates in Sigma's SQL show the time zone of the organization: a scan gathers them, a check of the connection suggests
// and compares the zone, and a change of either side shows at once.
func TestDatesShowTheTimeZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{TimeZone: "America/New_York"}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), SINCE timestamp_ltz)`, ``)
	farModel := func(date string) string { // whose dates say nothing about the zone
		return fmt.Sprintf(`select ID "Id" from (select ID from SHOP.SALES.T where SINCE >= {{time %sT00:00:00}} limit 1000) Q1 limit 1000`, date)
	}
	w.model(snowflakeName, farModel("1900-01-01"))
	w.model(snowflakeName, farModel("9999-12-30"))
	w.create(snowflakeName, w.snowflakeConnection())
	w.scan(snowflakeName)
	if offsets, err := w.store.ZoneOffsets(w.ctx, snowflakeName); err != nil || len(offsets) != 0 {
		t.Errorf("the dates that a scan keeps are %v, %v", offsets, err)
	}
	for _, date := range []string{"2026-01-15", "2026-07-15"} {
		w.model(snowflakeName, fmt.Sprintf(`select ID "Id" from (select ID from SHOP.SALES.T where SINCE >= {{time %sT00:00:00}} limit 1000) Q1 limit 1000`, date))
	}
	check := func(outcome pb.CheckOutcome, zone, candidate string) {
		t.Helper()
		response, err := w.connections.CheckConnection(w.ctx, &pb.CheckConnectionRequest{Name: snowflakeName})
		w.must(err)
		got := checkOf(response, pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE)
		first, _, _ := strings.Cut(got.GetFacts()["candidates"], ",")
		if got.GetOutcome() != outcome || got.GetFacts()["time_zone"] != zone || first != candidate {
			t.Errorf("the check says %v", got)
		}
	}
	set := func(zone string) {
		t.Helper()
		_, err := w.update(&pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: zone}}, "sigma.time_zone")
		w.must(err)
	}
	check(pb.CheckOutcome_CHECK_OUTCOME_SKIPPED, "", "")
	w.scan(snowflakeName)
	check(pb.CheckOutcome_CHECK_OUTCOME_WARN, "", "America/New_York")
	set("Europe/Berlin")
	check(pb.CheckOutcome_CHECK_OUTCOME_FAIL, "Europe/Berlin", "America/New_York")
	set("America/New_York")
	check(pb.CheckOutcome_CHECK_OUTCOME_PASS, "America/New_York", "America/New_York")
	w.scan(snowflakeName) // of unchanged workbooks
	check(pb.CheckOutcome_CHECK_OUTCOME_PASS, "America/New_York", "America/New_York")

	w.sigma.ChangeWorkbook(scratch, func(book *sigmatest.Workbook) {
		e := book.Pages[0].Elements[2]
		e.ID, e.SQL = "another", strings.ReplaceAll(e.SQL, "2026-01-15", "2026-02-15")
		book.Pages[0].Elements = append(book.Pages[0].Elements, e)
	})
	w.sigma.Change(func(o *sigmatest.Organization) { o.TimeZone = "Europe/Berlin" })
	w.scan(snowflakeName)
	check(pb.CheckOutcome_CHECK_OUTCOME_FAIL, "America/New_York", "Europe/Berlin")

	_, err := w.update(&pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: "Mars/Olympus"}}, "sigma.time_zone")
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
}

// The operator can let all connections read although dates contradict their time zone.
func TestOperatorAllowsTimeZoneMismatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{TimeZone: "America/New_York"}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), SINCE timestamp_ltz)`, ``)
	model := w.model(snowflakeName, `select DAY_1 "Day" from (select date_trunc(day, SINCE::timestamp_ltz) DAY_1 from SHOP.SALES.T
		where date_trunc(day, SINCE::timestamp_ltz) >= {{time 2026-04-01T00:00:00}} limit 1000) Q1 limit 1000`)
	connection := w.snowflakeConnection()
	connection.Sigma.TimeZone = "Europe/Berlin"
	w.create(snowflakeName, connection)
	severities := func() [2]pb.FindingSeverity {
		t.Helper()
		w.scan(snowflakeName)
		var all [2]pb.FindingSeverity
		for i, findings := range [][]*pb.Finding{w.modelNow(model).GetFindings(), w.mustReadTable(&pb.PreviewModelRequest{Name: model}).statistics.GetFindings()} {
			for _, f := range findings {
				if f.GetCode() == pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH {
					all[i] = f.GetSeverity()
				}
			}
		}
		return all
	}
	const isError, isWarning = pb.FindingSeverity_FINDING_SEVERITY_ERROR, pb.FindingSeverity_FINDING_SEVERITY_WARNING
	if got := severities(); got != [2]pb.FindingSeverity{isError, isError} {
		t.Errorf("catalog and read have %v", got)
	}
	w.restart(func(config *server.Config) { config.AllowTimeZoneMismatch = true })
	if got := severities(); got != [2]pb.FindingSeverity{isWarning, isWarning} {
		t.Errorf("allowed by the operator, catalog and read have %v", got)
	}
}

// A time zone that an update does not name stays, and one that it names is cleared.
func TestUpdateOfTheCredentialKeepsTheTimeZone(t *testing.T) {
	t.Parallel()
	w := bare(t)
	connection := w.snowflakeConnection()
	connection.Sigma.TimeZone = "America/New_York"
	w.create(snowflakeName, connection)
	for _, row := range []struct {
		paths []string
		want  string
	}{{nil, "America/New_York"}, {[]string{"sigma.client_secret"}, "America/New_York"}, {[]string{"sigma.time_zone"}, ""}} {
		got, err := w.update(&pb.Connection{Sigma: w.sigmaCredentials()}, row.paths...)
		w.must(err)
		if got.GetSigma().GetTimeZone() != row.want {
			t.Errorf("after an update of %q the zone is %q", row.paths, got.GetSigma().GetTimeZone())
		}
	}
}

// A credential of another member changes the SQL, where rules of row-level security stand in it. The next scan reads all
// workbooks, although none has changed, and the change feed names the models.
func TestCredentialOfAnotherMemberListsChangedModels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{Others: []sigmatest.Client{{Secret: sigmaSecret, Email: "CANARY-other@example.com"}}}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), REP text)`, ``)
	ruled := w.model(snowflakeName, `select ID "Id" from (select ID from SHOP.SALES.T where REP = {{system::CurrentUserEmail}} limit 1000) Q1 limit 1000`)
	w.model(snowflakeName, `select ID "Id" from (select ID from SHOP.SALES.T limit 1000) Q1 limit 1000`)
	w.create(snowflakeName, w.snowflakeConnection())
	w.scan(snowflakeName)
	_, after := w.changes(snowflakeName, 0)
	credential := w.sigmaCredentials()
	credential.ClientId = w.sigma.Organization().Others[0].ID
	_, err := w.update(&pb.Connection{Sigma: credential}, "sigma")
	w.must(err)
	w.scan(snowflakeName)
	lines, _ := w.changes(snowflakeName, after)
	if len(lines) != 1 || !strings.Contains(lines[0], "SQL_CHANGED") || !strings.Contains(lines[0], ruled[strings.LastIndexByte(ruled, '/')+1:]) {
		t.Errorf("the changes are %q", lines)
	}
}

// A connection that gets the time zone UTC runs its queries as before, and its models lose TIME_ZONE_UNKNOWN with the next scan.
func TestUTCAsTheTimeZoneEndsItsFinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), SINCE timestamp_ltz)`, ``)
	model := w.model(snowflakeName, `select CAST_1 "Since" from (select SINCE::timestamp_ltz CAST_1 from SHOP.SALES.T limit 1000) Q1 limit 1000`)
	w.sigma.Change(func(o *sigmatest.Organization) { // a workbook that changed just now is read again
		o.Workbook(scratch).UpdatedAt = time.Now().Add(-48 * time.Hour)
	})
	w.create(snowflakeName, w.snowflakeConnection())
	for _, row := range []struct {
		zone   string
		isKept bool
	}{{"", true}, {"UTC", false}, {"", true}} {
		_, err := w.update(&pb.Connection{Sigma: &pb.SigmaCredentials{TimeZone: row.zone}}, "sigma.time_zone")
		w.must(err)
		started, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: snowflakeName})
		w.must(err)
		w.watch(started.GetScan().GetName())
		has := slices.ContainsFunc(w.modelNow(model).GetFindings(), func(f *pb.Finding) bool {
			return f.GetCode() == pb.FindingCode_FINDING_CODE_TIME_ZONE_UNKNOWN
		})
		if has != row.isKept {
			t.Errorf("with the time zone %q the model has the finding: %v", row.zone, has)
		}
	}
}
