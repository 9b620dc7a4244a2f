package sigmaclient_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestIncompleteListsAreTold(t *testing.T) {
	const call = "GET /v2/workbooks"
	for text, want := range map[string][]sigmaclient.IncompleteList{
		`{"entries":[{"workbookId":"a"}],"total":1}`:                          nil,
		`{"entries":[{"workbookId":"a"},{"workbookId":"a"}],"total":2}`:       nil, // duplicates count
		`{"entries":[{"workbookId":"a"},{"workbookId":"b"}],"total":1}`:       nil,
		`{"entries":[{"workbookId":"a"}]}`:                                    nil,
		`{"entries":[{"workbookId":"a"}],"total":"12"}`:                       nil,
		`{"entries":[{"workbookId":"a"}],"total":null}`:                       nil,
		`{"entries":[{"workbookId":"a"}],"total":-4}`:                         nil,
		`{"entries":[{"workbookId":"a"}],"total":[12]}`:                       nil,
		`{"entries":[{"workbookId":"a"}],"total":1e400}`:                      nil,
		`{"entries":[{"workbookId":"a"}],"total":3}`:                          {{Call: call, Total: 3, Received: 1}},
		`{"entries":[],"total":3}`:                                            {{Call: call, Total: 3}},
		`{"entries":[{"workbookId":"a"}],"nextPage":{}}`:                      {{Call: call, Received: 1, CursorUnreadable: true}},
		`[{"workbookId":"a"},{"name":"b"}]`:                                   {{Call: call, Received: 2, Rejected: 1, Example: "entries[1].workbookId"}},
		`{"entries":[null,{"workbookId":"a"},{"workbookId":{}},7],"total":4}`: {{Call: call, Total: 4, Received: 4, Rejected: 3, Example: "entries[0]"}},
		`{"entries":[{"workbookId":"a"},{"workbookId":""}],"total":5}`:        {{Call: call, Total: 5, Received: 2, Rejected: 1, Example: "entries[1].workbookId"}},
	} {
		s := newSigma(t, small())
		s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.Answer(text)))
		var lists sigmaclient.IncompleteLists
		if _, err := s.client(t).Workbooks(sigmaclient.WithIncompleteLists(t.Context(), &lists)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, lists.Lists()); diff != "" || lists.Count() != len(want) {
			t.Errorf("%s: %d lists\n%s", text, lists.Count(), diff)
		}
	}
}

func TestShortfallIsCountedOverAllPages(t *testing.T) {
	var org sigmatest.Organization
	for i := range 25 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i), Unsent: i%10 == 3})
		org.DataModels = append(org.DataModels, sigmatest.DataModel{Name: fmt.Sprint(i), Unsent: i == 24})
	}
	elements := make([]sigmatest.Element, 12)
	for i := range elements {
		elements[i] = sigmatest.Element{Name: fmt.Sprint(i), Unsent: i < 2}
	}
	org.Workbooks[0].Pages = []sigmatest.Page{{Elements: elements}}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{PageSize: 4})
	var lists sigmaclient.IncompleteLists
	ctx, client := sigmaclient.WithIncompleteLists(t.Context(), &lists), s.client(t)
	if n := len(must(client.Workbooks(ctx))(t)); n != 22 {
		t.Errorf("%d workbooks", n)
	}
	if n := len(must(client.DataModels(ctx))(t)); n != 24 {
		t.Errorf("%d data models", n)
	}
	if n := len(must(client.Elements(ctx, s.Organization().Workbooks[0].ID))(t)); n != 10 {
		t.Errorf("%d elements", n)
	}
	want := []sigmaclient.IncompleteList{
		{Call: "GET /v2/workbooks", Total: 25, Received: 22}, {Call: "GET /v2/dataModels", Total: 25, Received: 24},
		{Call: "GET /v2/workbooks/{}/elements", Total: 12, Received: 10},
	}
	if diff := cmp.Diff(want, lists.Lists()); diff != "" {
		t.Error(diff)
	}
	s.SetOptions(sigmatest.Options{PageSize: 4, TersePages: true}) // without totals
	if must(client.Workbooks(ctx))(t); lists.Count() != 3 {
		t.Errorf("a list without a total is incomplete: %+v", lists.Lists())
	}
}

// A list that shifts while it is read shows entries twice. They count towards
// the total, so the shift alone is no shortfall.
func TestShiftingListIsNoShortfall(t *testing.T) {
	var org sigmatest.Organization
	for i := range 6 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i)})
	}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{PageSize: 2})
	shift := sigmatest.Do(func() {
		s.Change(func(o *sigmatest.Organization) {
			o.Workbooks = slices.Insert(o.Workbooks, 0, sigmatest.Workbook{Name: "new"})
		})
	})
	s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.After(1, sigmatest.Times(1, shift))))
	var lists sigmaclient.IncompleteLists
	workbooks := must(s.client(t).Workbooks(sigmaclient.WithIncompleteLists(t.Context(), &lists)))(t)
	if len(workbooks) != 6 || lists.Count() != 0 {
		t.Errorf("%d workbooks, %+v", len(workbooks), lists.Lists())
	}
}

// A list that is read again because it became shorter is reported once, as it
// was last.
func TestListThatIsReadAgainIsReportedOnce(t *testing.T) {
	var org sigmatest.Organization
	for i := range 20 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i), Unsent: i == 19})
	}
	s := newSigma(t, org)
	s.SetOptions(sigmatest.Options{PageSize: 5})
	remove := sigmatest.Do(func() { s.Change(func(o *sigmatest.Organization) { o.Workbooks = o.Workbooks[1:] }) })
	s.SetFaults(sigmatest.On("/v2/workbooks", sigmatest.After(1, sigmatest.Times(1, remove))))
	var lists sigmaclient.IncompleteLists
	must(s.client(t).Workbooks(sigmaclient.WithIncompleteLists(t.Context(), &lists)))(t)
	want := []sigmaclient.IncompleteList{{Call: "GET /v2/workbooks", Total: 19, Received: 18}}
	if diff := cmp.Diff(want, lists.Lists()); diff != "" {
		t.Error(diff)
	}
}

func TestIncompleteListsAreBounded(t *testing.T) {
	s := newSigma(t, small())
	s.SetFaults(sigmatest.On("/v2/workspaces", sigmatest.Answer(`{"entries":[],"total":1}`)))
	var lists sigmaclient.IncompleteLists
	ctx, client := sigmaclient.WithIncompleteLists(t.Context(), &lists), s.client(t)
	for range 1100 {
		must(client.Workspaces(ctx))(t)
	}
	if lists.Count() != 1100 || len(lists.Lists()) != 1000 {
		t.Errorf("%d lists, %d of them kept", lists.Count(), len(lists.Lists()))
	}
}
