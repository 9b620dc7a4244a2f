package model_test

import (
	"slices"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// FuzzAssess: whatever Sigma answers, an element is a model with a state, and one that cannot be read says why. The catalog
// and a read agree about that.
func FuzzAssess(f *testing.F) {
	f.Add(`select ID "Id", 'Unknown column "[X]"' "Due" from DB.S.T limit 1000`, "Due", `Foo([X])`, "text", "select 1")
	f.Add(`select 'a' "A (1)" from (select * from T limit 1001) Q1 limit 7`, "A", `"a" & "b"`, "error", "")
	f.Add(daysInApril, "Day", `DateTrunc("day", [T/At])`, "datetime", "")
	f.Add(joinedBack, "Count", `Count([T/ID])`, "number", "")
	f.Add(`select row_number() over (order by null) "Id", date_trunc(week, current_date) "W", 'No access' "Restricted" from orders sample (10) where A = null limit 1000`, "Id", "RowNumber()", "number", "{{system::CurrentUserEmail}}")
	f.Add("select", "", `"[`, "", "select A from T limit {{n}}")
	f.Fuzz(func(t *testing.T, sql, label, formula, sigmaType, custom string) {
		element := model.Element{
			Name: "m", Query: sigmaclient.Query{SQL: sql}, CustomSQL: []string{custom},
			Columns: model.Columns{Origin: model.Current, List: []sigmaclient.Column{{ColumnID: "id", Label: label, Formula: formula, Type: sigmaType}}},
		}
		read := model.Assess(element, model.Options{})
		state, _, problem := model.Assess(element, model.Options{}).CatalogState()
		isReady := state == pb.ModelState_MODEL_STATE_READY
		if isReady != (problem == nil) || isReady != (read.Problem() == nil) {
			t.Fatalf("the catalog says %s, %v; a read says %v", state, problem, read.Problem())
		}
		if read.Query != nil && isReady && read.RequireUnbroken(nil) != nil {
			t.Fatal("a model that is ready is refused")
		}
		session := &model.Session{Role: "R", Namespace: [2]string{"D", "S"}, Parameters: map[string]model.Parameter{"WEEK_START": {Value: "1", Level: "ACCOUNT"}}}
		_, scanned, _ := model.Assess(element, model.Options{}).CatalogState()
		_, known, _ := model.Assess(element, model.Options{Session: session}).CatalogState()
		if !slices.EqualFunc(scanned, known, func(a, b *pb.Finding) bool { return a.GetCode() == b.GetCode() && a.GetSeverity() == b.GetSeverity() }) {
			t.Fatalf("a scan finds %v; a read in a session finds %v", scanned, known)
		}
	})
}
