package server_test

import (
	"strings"
	"testing"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// findingsOf returns the findings of a preview, a full read and a check of a model.
func (w *countedWorld) findingsOf(model string) map[string][]*pb.Finding {
	w.t.Helper()
	preview, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model})
	w.must(err)
	_, statistics, err := w.read(&pb.CreateReadSessionRequest{Name: model})
	w.must(err)
	return map[string][]*pb.Finding{
		"preview": preview.stats.GetFindings(), "read": statistics.GetFindings(), "check": w.check(&pb.CheckModelRequest{Name: model}).GetFindings(),
	}
}

func finding(findings []*pb.Finding, code pb.FindingCode) *pb.Finding {
	for _, f := range findings {
		if f.GetCode() == code {
			return f
		}
	}
	return nil
}

// TestTheAgeOfAMaterializationIsShown, where the warehouse shows it.
func TestTheAgeOfAMaterializationIsShown(t *testing.T) {
	t.Parallel()
	w := &countedWorld{newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})}
	w.fill(`create table SHOP.SALES.T_MAT_9F3 (ID number(38,0)); insert into SHOP.SALES.T_MAT_9F3 values (1)`,
		`create table SALES.T_MAT_9F3 as select 1 as ID`)
	w.create(snowflakeName, w.snowflakeConnection())
	w.create(duckdbName, w.duckdbConnection())
	altered := time.Now().Add(-30*time.Hour - time.Minute).Truncate(time.Second)
	w.snowflake.SetAltered("SHOP.SALES.T_MAT_9F3", altered)
	for connection, isKnown := range map[string]bool{snowflakeName: true, duckdbName: false} {
		for call, findings := range w.findingsOf(w.model(connection, `select ID "Id" from SHOP.SALES.T_MAT_9F3 limit 1000`)) {
			f := finding(findings, pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE)
			isShown := strings.Contains(f.GetMessage(), "30 hours old") && f.GetMetadata()["last_altered"] == altered.UTC().Format(time.RFC3339)
			if f == nil || isShown != isKnown {
				t.Errorf("%s, %s: the finding is %v", connection, call, f)
			}
		}
	}
}

// TestASessionsFactsAreFindings: the role, policies and the user's parameters.
func TestASessionsFactsAreFindings(t *testing.T) {
	t.Parallel()
	org := sigmatest.Organization{Connections: []sigmatest.Connection{{Name: "Shop", Account: snowflakeAccount, Role: "BI"}}}
	w := &countedWorld{newWorld(t, org, snowflaketest.Config{
		Parameters: map[string]string{"WEEK_START": "7"},
		Policies:   []snowflaketest.Policy{{Name: "SHOP.SALES.P", Table: "SHOP.SALES.T", Rows: "ID < 2 or CURRENT_ROLE() = 'BI'"}},
	})}
	w.fill(`create table SHOP.SALES.T (ID number(38,0), D date); insert into SHOP.SALES.T values (1, '2026-03-01'), (2, '2026-03-01')`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	w.mustScan(snowflakeName)
	model := w.model(snowflakeName, `select ID "Id", date_trunc(week, D) "Week" from SHOP.SALES.T limit 1000`)
	for call, findings := range w.findingsOf(model) {
		role := finding(findings, pb.FindingCode_FINDING_CODE_ROLE_DIFFERS)
		severity := pb.FindingSeverity_FINDING_SEVERITY_INFO
		if call == "check" {
			severity = pb.FindingSeverity_FINDING_SEVERITY_WARNING
		}
		if role.GetSeverity() != severity || role.GetMetadata()["role"] != snowflakeRole || role.GetMetadata()["sigma_role"] != "BI" {
			t.Errorf("%s: the role is %v", call, role)
		}
		week := finding(findings, pb.FindingCode_FINDING_CODE_WEEK_BY_SESSION)
		if week.GetMetadata()["week_start"] != "7" || week.GetMetadata()["level"] != "ACCOUNT" {
			t.Errorf("%s: the week is %v", call, week)
		}
	}
}
