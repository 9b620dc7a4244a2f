package model_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

func TestSigmaRole(t *testing.T) {
	attribute := sigmaclient.UserAttributes{Role: "Region"}
	for name, row := range map[string]struct {
		connection sigmaclient.Connection
		want       model.SigmaRole
	}{
		"unknown":           {sigmaclient.Connection{}, model.SigmaRole{}},
		"fixed":             {sigmaclient.Connection{Role: "BI", RoleSwitching: "disabled"}, model.SigmaRole{Name: "BI"}},
		"of each viewer":    {sigmaclient.Connection{Role: "BI", UseOAuth: true}, model.SigmaRole{Name: "BI", PerViewer: "oauth"}},
		"by attribute":      {sigmaclient.Connection{UserAttributes: attribute}, model.SigmaRole{PerViewer: "user_attribute"}},
		"other attribute":   {sigmaclient.Connection{UserAttributes: sigmaclient.UserAttributes{Warehouse: "Size"}}, model.SigmaRole{}},
		"switched":          {sigmaclient.Connection{Role: "BI", RoleSwitching: "allRoles"}, model.SigmaRole{Name: "BI", PerViewer: "role_switching"}},
		"of an unknown way": {sigmaclient.Connection{RoleSwitching: "someRoles"}, model.SigmaRole{PerViewer: "role_switching"}},
	} {
		var e model.Element
		e.SetWarehouse(model.DescribeWarehouse(row.connection))
		if e.Role != row.want {
			t.Errorf("%s: %+v, want %+v", name, e.Role, row.want)
		}
	}
}

func TestWriteBackSchemasAreListedOnce(t *testing.T) {
	schema := func(database, schema string) sigmaclient.WritebackSchema {
		return sigmaclient.WritebackSchema{Database: database, Schema: schema}
	}
	var e model.Element
	e.SetWarehouse(model.DescribeWarehouse(sigmaclient.Connection{
		Writebacks:       []sigmaclient.WritebackSchema{schema("D", "WB"), schema("", "")},
		WritebackSchemas: []sigmaclient.WritebackSchema{schema("D", "WB"), schema("", "OTHER")},
	}))
	if diff := cmp.Diff([][]string{{"D", "WB"}, {"", "OTHER"}}, e.WriteBackSchemas); diff != "" {
		t.Error(diff)
	}
	if e.SetWarehouse(nil); e.Role != (model.SigmaRole{}) || e.WriteBackSchemas != nil {
		t.Errorf("no warehouse: %+v", e)
	}
}
