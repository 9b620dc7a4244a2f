package server_test

import (
	"net/http"
	"strings"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

const (
	coreID = "c0000000-0000-4000-8000-000000000001" // of a data model

	controlsPresent = pb.FindingCode_FINDING_CODE_CONTROLS_PRESENT
	rowsOfOwner     = pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER
	rolePerViewer   = pb.FindingCode_FINDING_CODE_ROLE_PER_VIEWER
)

// newEvidenceWorld scans an organization whose elements read SHOP.SALES.T.
func newEvidenceWorld(t *testing.T, org sigmatest.Organization) *world {
	t.Helper()
	w := newWorld(t, org, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T (ID number(38,0), REGION text); insert into SHOP.SALES.T values (1, 'West'), (2, 'East')`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	w.scan(snowflakeName)
	return w
}

// wantEvidence holds the catalog, a read and a check of a model to a finding, whose metadata have a value under a key. An
// empty value means that there is no such finding.
func (w *world) wantEvidence(id string, code pb.FindingCode, key, value string) {
	w.t.Helper()
	name := snowflakeName + "/models/" + id
	for where, findings := range map[string][]*pb.Finding{
		"catalog": w.modelNow(name).GetFindings(),
		"read":    w.mustReadTable(&pb.PreviewModelRequest{Name: name}).statistics.GetFindings(),
		"check":   w.check(&pb.CheckModelRequest{Name: name}).GetFindings(),
	} {
		got := ""
		for _, f := range findings {
			if f.GetCode() == code {
				got = f.GetMetadata()[key]
			}
		}
		if got != value {
			w.t.Errorf("%s of %s: %v has %s = %q, want %q: %v", where, id, code, key, got, value, findings)
		}
	}
}

func element(id string, change func(*sigmatest.Element)) sigmatest.Element {
	e := sigmatest.Element{ID: id, Name: id, SQL: `select ID "Id" from (select ID from SHOP.SALES.T where REGION in ('West') limit 1000) Q1 limit 1000`,
		Columns: []sigmatest.Column{{ID: "id", Label: "Id", Formula: "[T/Id]", Type: "number"}}}
	if e.Tables = []string{"SHOP.SALES.T"}; change != nil {
		change(&e)
	}
	return e
}

func bookOf(id string, elements ...sigmatest.Element) sigmatest.Workbook {
	return sigmatest.Workbook{ID: id, Name: id, Pages: []sigmatest.Page{{Elements: elements}}}
}

func onModel(element string) func(*sigmatest.Element) {
	return func(e *sigmatest.Element) { e.Tables, e.DataModel, e.DataModelElement = nil, coreID, element }
}

// Controls of the workbook and of a data model below decide about the rows. A list of controls that Sigma refuses is a gap of
// the workbook and fails nothing.
func TestControlsAreNamed(t *testing.T) {
	t.Parallel()
	control := sigmatest.Element{Name: "Region", Type: "control", Value: "West"}
	refused := bookOf("refused", element("e", nil), control)
	refused.Failures = map[sigmatest.Call]sigmatest.Failure{sigmatest.CallControls: {Status: http.StatusForbidden, Code: "forbidden", Message: "No"}}
	w := newEvidenceWorld(t, sigmatest.Organization{
		DataModels: []sigmatest.DataModel{{ID: coreID, Name: "Core", Elements: []sigmatest.Element{element("below", nil), {Name: "Year", Type: "control"}}}},
		Workbooks: []sigmatest.Workbook{
			bookOf("with", element("e", nil), control), bookOf("without", element("e", nil)), refused,
			bookOf("above", element("e", onModel("below")), control),
		},
	})
	w.wantEvidence("with.e", controlsPresent, "controls", `"Region"`)
	w.wantEvidence("without.e", controlsPresent, "controls", "")
	w.wantEvidence("above.e", controlsPresent, "controls", `"Region", "Year"`)
	w.wantEvidence(coreID+".below", controlsPresent, "controls", `"Year"`)
	w.wantEvidence("refused.e", controlsPresent, "controls", `"Region"`) // which the list of elements has
	var calls []string
	for _, refused := range w.workbooksByID()["refused"].GetRefusedCalls() {
		calls = append(calls, refused.GetCall())
	}
	if strings.Join(calls, " ") != "controls" {
		t.Errorf("the refused calls are %q", calls)
	}
}

// A rule of row-level security stands in a formula of the element, of an element below it, or in a hidden column of a data
// model; or in custom SQL. What another element of the data model has is no evidence.
func TestRulesOfRowLevelSecurityAreFoundBelowTheElement(t *testing.T) {
	t.Parallel()
	rule := sigmatest.Column{ID: "rule", Label: "May see", Formula: `CurrentUserInTeam([Team])`, Type: "boolean"}
	ruled := func(e *sigmatest.Element) { e.Columns = append(e.Columns, rule) }
	on := func(other string) func(*sigmatest.Element) {
		return func(e *sigmatest.Element) { e.Tables, e.Elements = nil, []string{other} }
	}
	const custom = `select ID from SHOP.SALES.T where REGION <> '{{system::CurrentUserEmail}}'`
	w := newEvidenceWorld(t, sigmatest.Organization{
		DataModels: []sigmatest.DataModel{
			{ID: coreID, Name: "Core", Elements: []sigmatest.Element{element("ruled", ruled), element("free", nil)}},
			{Name: "Closed", Elements: []sigmatest.Element{element("ruled", ruled)},
				Failures: map[sigmatest.Call]sigmatest.Failure{sigmatest.CallColumns: {Status: http.StatusForbidden, Code: "forbidden", Message: "No"}}},
		},
		Workbooks: []sigmatest.Workbook{
			bookOf("plain", element("free", nil), element("ruled", ruled), element("above", on("ruled")), element("beside", on("free"))),
			bookOf("models", element("ruled", onModel("ruled")), element("free", onModel("free")), element("top", on("ruled"))),
			bookOf("closed-one", element("e", func(e *sigmatest.Element) { e.Tables, e.DataModel, e.DataModelElement = nil, "Closed", "ruled" })),
			bookOf("custom", element("beside", nil), element("e", func(e *sigmatest.Element) { e.Tables, e.CustomSQL = nil, custom })),
		},
	})
	for id, evidence := range map[string]string{
		"plain.free": "", "plain.ruled": "formula", "plain.above": "formula", "plain.beside": "",
		"models.ruled": "formula", "models.free": "", "models.top": "formula", coreID + ".ruled": "formula", coreID + ".free": "",
		"custom.e": "custom_sql", "custom.beside": "",
	} {
		w.wantEvidence(id, rowsOfOwner, "evidence", evidence)
	}
	w.wantEvidence("closed-one.e", rowsOfOwner, "sigma_status", "403")
}

func TestRoleOfEachViewerIsNamed(t *testing.T) {
	t.Parallel()
	of := func(id string) func(*sigmatest.Element) { return func(e *sigmatest.Element) { e.Connection = id } }
	w := newEvidenceWorld(t, sigmatest.Organization{
		Connections: []sigmatest.Connection{
			{ID: "fixed", Name: "Fixed", Account: snowflakeAccount, Role: snowflakeRole},
			{ID: "oauth", Name: "OAuth", Account: snowflakeAccount, Role: snowflakeRole, OAuth: true},
			{ID: "attribute", Name: "Attribute", Account: snowflakeAccount, RoleAttribute: "Region"},
			{ID: "switching", Name: "Switching", Account: snowflakeAccount, RoleSwitching: "allRoles"},
		},
		Workbooks: []sigmatest.Workbook{bookOf("w", element("fixed", of("fixed")), element("oauth", of("oauth")), element("attribute", of("attribute")), element("switching", of("switching")))},
	})
	for id, cause := range map[string]string{"w.fixed": "", "w.oauth": "oauth", "w.attribute": "user_attribute", "w.switching": "role_switching"} {
		w.wantEvidence(id, rolePerViewer, "cause", cause)
	}
	// A change of Sigma's connection is seen by the next scan, although no workbook has changed.
	w.sigma.Change(func(o *sigmatest.Organization) { o.Connections[0].OAuth = true })
	w.scan(snowflakeName)
	w.wantEvidence("w.fixed", rolePerViewer, "cause", "oauth")
}
