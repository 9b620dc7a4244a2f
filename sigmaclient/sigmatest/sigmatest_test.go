package sigmatest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func one() sigmatest.Organization {
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{{Name: "Production"}},
		Workbooks: []sigmatest.Workbook{{Name: "Churn", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{Name: "Users", Columns: sigmatest.Columns("User Id:number", `The "best"`, "Oops:error"), Tables: []string{"DB.S.USERS"}},
			{Type: "text"},
		}}}}},
	}
}

func TestTokens(t *testing.T) {
	c := newCaller(t, one())
	org := c.server.Organization()
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {org.ClientID}, "client_secret": {org.ClientSecret}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for key, values := range good {
			form[key] = values
		}
		form.Set(name, value)
		return form
	}
	basic := func(r *http.Request) { r.SetBasicAuth(org.ClientID, org.ClientSecret) }
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			r.Header.Set("Content-Type", "application/json")
		}
	}
	_, _, granted := c.post(t, good, nil)
	var first struct {
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int    `json:"expires_in"`
	}
	if err := json.Unmarshal(granted, &first); err != nil || first.ExpiresIn != 3600 {
		t.Fatalf("%s: %v", granted, err)
	}
	for name, row := range map[string]struct {
		form    url.Values
		prepare func(*http.Request)
		want    int
	}{
		"form":          {good, nil, 200},
		"basic":         {url.Values{"grant_type": {"client_credentials"}}, basic, 200},
		"JSON":          {nil, body(fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q}`, org.ClientID, org.ClientSecret)), 200},
		"bad JSON":      {nil, body(`{`), 400},
		"wrong secret":  {with("client_secret", "x"), nil, 401},
		"wrong id":      {with("client_id", "x"), nil, 401},
		"grant type":    {with("grant_type", "password"), nil, 400},
		"wrong refresh": {with("grant_type", "refresh_token"), nil, 401},
	} {
		if status, _, body := c.post(t, row.form, row.prepare); status != row.want {
			t.Errorf("%s: HTTP %d: %s; want %d", name, status, body, row.want)
		}
	}
	_, _, granted = c.post(t, good, nil)
	if err := json.Unmarshal(granted, &first); err != nil {
		t.Fatal(err)
	}
	form := with("grant_type", "refresh_token")
	form.Set("refresh_token", first.RefreshToken)
	if status, _, body := c.post(t, form, nil); status != 200 {
		t.Errorf("refresh: HTTP %d: %s", status, body)
	}
}

func TestTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, one())
		c.server.SetOptions(sigmatest.Options{TokenLife: time.Minute, LimitGrants: true})
		org := c.server.Organization()
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {org.ClientID}, "client_secret": {org.ClientSecret}}
		if status, header, _ := c.post(t, form, nil); status != http.StatusTooManyRequests || header.Get("Retry-After") != "" {
			t.Errorf("a second grant at once: HTTP %d", status)
		}
		<-time.After(time.Second)
		c.signIn(t)
		<-time.After(59 * time.Second)
		c.object(t, "/v2/whoami")
		<-time.After(time.Second)
		c.refused(t, "/v2/whoami", 401, "unauthorized")
		c.signIn(t)
		c.object(t, "/v2/whoami")
		c.server.RevokeTokens()
		c.refused(t, "/v2/whoami", 401, "unauthorized")
		<-time.After(time.Second)
		c.signIn(t)
		c.server.Change(func(o *sigmatest.Organization) { o.ClientID = "another" })
		c.refused(t, "/v2/whoami", 401, "unauthorized")
	})
}

// refused holds an answer to Sigma's form of errors.
func (c *caller) refused(t *testing.T, path string, status int, code string) {
	t.Helper()
	got, _, body := c.get(t, path)
	var refusal struct{ RequestID, Code, Message string }
	if err := json.Unmarshal(body, &refusal); err != nil {
		t.Errorf("%s: %s: %v", path, body, err)
	}
	if got != status || refusal.Code != code || refusal.RequestID == "" || refusal.Message == "" {
		t.Errorf("%s: HTTP %d: %s; want %d, %s", path, got, body, status, code)
	}
}

func TestRefusals(t *testing.T) {
	c := newCaller(t, oddities())
	org := c.server.Organization()
	base := "/v2/workbooks/" + org.Workbooks[0].ID
	text := org.Workbooks[0].Pages[1].Elements[2].ID
	c.server.ChangeWorkbook("Plain", func(w *sigmatest.Workbook) { w.Unreadable, w.Pages[0].Elements[0].NoLineage = true, true })
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/v2/workbooks?limit=0":                              {400, "invalid_request"},
		"/v2/workbooks?limit=1001":                           {400, "invalid_request"},
		"/v2/workbooks?limit=x":                              {400, "invalid_request"},
		"/v2/workbooks?page=0":                               {400, "invalid_request"},
		"/v2/workbooks?page=":                                {400, "invalid_request"},
		base + "/sources?limit=10":                           {400, "invalid_request"},
		base + "/lineage/elements/" + text:                   {400, "invalid_request"},
		base + "/elements/" + text + "/query":                {404, "not_found"},
		base + "/elements/nothing/query":                     {404, "not_found"},
		base + "/elements?tagName=nothing":                   {404, "not_found"},
		base + "/pages/nothing/elements":                     {404, "not_found"},
		"/v2/workbooks/nothing":                              {404, "not_found"},
		"/v2/dataModels/nothing/elements":                    {404, "not_found"},
		"/v2/connections/nothing":                            {404, "not_found"},
		"/v2/connections/paths/nothing":                      {404, "not_found"},
		"/v2/files/nothing":                                  {404, "not_found"},
		"/v2/workbooks/" + org.Workbooks[2].ID + "/elements": {409, "inode_archived"},
		"/v2/workbooks/" + org.Workbooks[1].ID:               {403, "forbidden"},
		"/v2/workbooks/" + org.Workbooks[1].ID + "/queries":  {403, "forbidden"},
	} {
		c.refused(t, path, want.status, want.code)
	}
	for _, path := range []string{"/", "/v2/nothing", "/v3/whoami"} {
		if status, header, body := c.get(t, path); status != 404 || len(body) != 0 || header.Get("errorcause") == "" {
			t.Errorf("%s: HTTP %d, %q", path, status, body)
		}
	}
	c.token = "wrong"
	c.refused(t, "/v2/whoami", 401, "unauthorized")
}

func TestPagesAreOfFiftyUnlessAsked(t *testing.T) {
	var org sigmatest.Organization
	for i := range 104 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i)})
	}
	c := newCaller(t, org)
	for path, want := range map[string]string{
		"/v2/workbooks":                   "50 50 104 true",
		"/v2/workbooks?page=100":          "4 <nil> 104 false",
		"/v2/workbooks?page=1000":         "0 <nil> 104 false",
		"/v2/workbooks?limit=1000":        "104 <nil> 104 false",
		"/v2/workbooks?limit=104&page=50": "54 <nil> 104 false",
	} {
		page := c.object(t, path)
		if got := fmt.Sprintf("%d %v %v %v", len(page["entries"].([]any)), page["nextPage"], page["total"], page["hasMore"]); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestSQLIsInSigmasShapeAndNewAtEachFetch(t *testing.T) {
	c := newCaller(t, one())
	w := c.server.Organization().Workbooks[0]
	path := "/v2/workbooks/" + w.ID + "/elements/" + w.Pages[0].Elements[0].ID + "/query"
	sql, comment, found := strings.Cut(c.object(t, path)["sql"].(string), "\n\n-- Sigma Σ ")
	want := `select USER_ID_1 "User Id", THE__BEST__2 "The ""best""", 'Unknown column "[Oops]"' "Oops" ` +
		`from (select USERS.USER_ID USER_ID_1, USERS.THE__BEST_ THE__BEST__2 from (select * from DB.S.USERS USERS limit 1000) USERS) Q1 limit 1000`
	if sql != want || !found {
		t.Errorf("got  %s\nwant %s", sql, want)
	}
	var tag map[string]string
	if err := json.Unmarshal([]byte(comment), &tag); err != nil || tag["email"] != "owner@example.com" || tag["request-id"] == "" {
		t.Errorf("comment %s: %v", comment, err)
	}
	if again := c.object(t, path)["sql"].(string); strings.HasSuffix(again, comment) || !strings.HasPrefix(again, want) {
		t.Errorf("fetched again: %s", again)
	}
}

func TestListsOfElementsAndOfQueriesMayDisagree(t *testing.T) {
	c := newCaller(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{{Name: "Odd", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
		{ID: "both"}, {ID: "only-here", Unlisted: true}, {ID: "only-there", Unplaced: true}, {ID: "twice", Twice: true}, {ID: "text", Type: "text"},
	}}}}}})
	base := "/v2/workbooks/" + c.server.Organization().Workbooks[0].ID
	for path, want := range map[string]string{
		"/elements": "[both only-here twice text]",
		"/pages/" + c.server.Organization().Workbooks[0].Pages[0].ID + "/elements": "[both only-here twice text]",
		"/queries": "[both only-there twice twice]",
	} {
		var ids []any
		for _, entry := range c.object(t, base+path)["entries"].([]any) {
			ids = append(ids, entry.(map[string]any)["elementId"])
		}
		if fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, want %s", path, ids, want)
		}
	}
	for _, id := range []string{"only-here", "only-there"} {
		if sql := c.object(t, base+"/elements/"+id+"/query")["sql"]; sql == nil {
			t.Errorf("%s has no SQL by itself", id)
		}
	}
}

func TestIdsFollowFromTheDescriptionAndStay(t *testing.T) {
	first, second := sigmatest.New(oddities()), sigmatest.New(oddities())
	a, b := first.Organization(), second.Organization()
	seen := map[string]bool{}
	for i, w := range a.Workbooks {
		if w.ID != b.Workbooks[i].ID {
			t.Errorf("%s has the ids %s and %s", w.Name, w.ID, b.Workbooks[i].ID)
		}
		for j, p := range w.Pages {
			for k, e := range p.Elements {
				if e.ID != b.Workbooks[i].Pages[j].Elements[k].ID || seen[e.ID] || len(e.ID) != 10 {
					t.Errorf("%s: element %q has the id %s", w.Name, e.Name, e.ID)
				}
				seen[e.ID] = true
				columns := map[string]bool{}
				for _, c := range e.Columns {
					if c.ID == "" || columns[c.ID] {
						t.Errorf("%s: column %q has the id %q", e.Name, c.Label, c.ID)
					}
					columns[c.ID] = true
				}
			}
		}
	}
	before := a.Workbooks[1]
	first.ChangeWorkbook("Plain", func(w *sigmatest.Workbook) {
		w.Name, w.Element("One").Columns[0].Label = "Renamed", "Renamed"
		w.Pages[0].Elements = append(w.Pages[0].Elements, sigmatest.Element{Name: "New"})
	})
	now := first.Organization()
	after := now.Workbook("Renamed")
	if after.ID != before.ID || after.Element("One").Columns[0].ID != before.Pages[0].Elements[0].Columns[0].ID {
		t.Error("a renamed thing has another id")
	}
	if after.Version != before.Version+1 || !after.UpdatedAt.After(before.UpdatedAt) || after.Element("New").ID == "" {
		t.Errorf("not published as changed: %+v", after)
	}
	if before.Name != "Plain" || before.Pages[0].Elements[0].Columns[0].Label != "Order Id" || len(before.Pages[0].Elements) != 1 {
		t.Error("the change is seen in what was there before")
	}
	first.ChangeWorkbook("Renamed", func(w *sigmatest.Workbook) { w.RemoveElement("One") })
	if now := first.Organization(); now.Workbook("Renamed").Element("One") != nil || len(now.Workbook("Renamed").Pages[0].Elements) != 1 {
		t.Error("the element is still there")
	}
}

func TestCredentialsSeeWhatTheirOwnerSees(t *testing.T) {
	org := one()
	org.Others = []sigmatest.Client{{ID: "other", Secret: "s", Owner: "ann", Email: "ann@example.com"}}
	org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: "Ann's", Owner: "ann", SharedWith: []string{"bob"}})
	c := newCaller(t, org)
	count := func() int { return len(c.object(t, "/v2/workbooks")["entries"].([]any)) }
	if n := count(); n != 1 {
		t.Errorf("%d workbooks, want 1", n)
	}
	_, _, body := c.post(t, url.Values{"grant_type": {"client_credentials"}, "client_id": {"other"}, "client_secret": {"s"}}, nil)
	var granted map[string]any
	if err := json.Unmarshal(body, &granted); err != nil {
		t.Fatal(err)
	}
	c.token = granted["access_token"].(string)
	if n := count(); n != 2 || c.object(t, "/v2/whoami")["userId"] != "ann" {
		t.Errorf("%d workbooks, want 2", n)
	}
	requests := c.server.Requests()
	if last := requests[len(requests)-1]; last.Client != "other" || last.Pattern != "/v2/whoami" || last.Status != 200 || c.server.Calls()["GET /v2/whoami"] != 1 {
		t.Errorf("recorded %+v", last)
	}
}

func TestFaults(t *testing.T) {
	ask := func(fault sigmatest.Fault, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		if !fault(w, httptest.NewRequest(http.MethodGet, path, nil)) {
			w.Code = 0
		}
		return w
	}
	gone := sigmatest.Gateway(502)
	for path, want := range map[string]bool{"/v2/a": true, "/v2/a/b": false, "/v2": false, "/v2/": true} {
		if got := ask(sigmatest.On("/v2/*", gone), path).Code != 0; got != want {
			t.Errorf("/v2/* and %s: %v", path, got)
		}
	}
	for path, want := range map[string]bool{"/v2/a": true, "/v2/a/b/c": true, "/v1/a": false} {
		if got := ask(sigmatest.On("/v2/**", gone), path).Code != 0; got != want {
			t.Errorf("/v2/** and %s: %v", path, got)
		}
	}
	second := sigmatest.After(1, sigmatest.Times(1, gone))
	for i, want := range []int{0, 502, 0} {
		if got := ask(second, "/").Code; got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	for retryAfter, want := range map[string][]string{"": nil, "7": {"7"}} {
		w := ask(sigmatest.Throttle(retryAfter), "/")
		if w.Code != 429 || !slices.Equal(w.Header()["Retry-After"], want) || !strings.Contains(w.Body.String(), "<html>") {
			t.Errorf("throttled: %+v", w)
		}
	}
}

// TestRandomFaultsReplay shows that a seed decides by request, not by the order
// in which requests come.
func TestRandomFaultsReplay(t *testing.T) {
	run := func(seed uint64, paths []string) (hit map[string]int) {
		fault, hit := sigmatest.Sometimes(seed, 0.3, sigmatest.Gateway(502)), map[string]int{}
		for _, path := range paths {
			if fault(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)) {
				hit[path]++
			}
		}
		return hit
	}
	var paths []string
	for i := range 500 {
		paths = append(paths, fmt.Sprint("/", i), fmt.Sprint("/", i))
	}
	forward := run(1, paths)
	slices.Reverse(paths)
	if backward := run(1, paths); fmt.Sprint(forward) != fmt.Sprint(backward) {
		t.Error("another order gives other faults")
	}
	if other := run(2, paths); fmt.Sprint(forward) == fmt.Sprint(other) {
		t.Error("another seed gives the same faults")
	}
	total := 0
	for _, n := range forward {
		total += n
	}
	if total < 240 || total > 360 {
		t.Errorf("%d of 1000 at a share of 0.3", total)
	}
}

func TestStalledRequestIsReleasedOrLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, one())
		release := make(chan struct{})
		c.server.SetFaults(sigmatest.Stall(release))
		ctx, leave := context.WithCancel(t.Context())
		ask := func(request *http.Request) <-chan error {
			done := make(chan error, 1)
			go func() {
				response, err := c.client.Do(request)
				if err == nil {
					err = response.Body.Close()
				}
				done <- err
			}()
			return done
		}
		left := ask(c.request(t, "/v2/whoami").WithContext(ctx))
		stayed := ask(c.request(t, "/v2/workbooks"))
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(release)
		if err := <-stayed; err != nil {
			t.Errorf("after the release: %v", err)
		}
		if c.server.MostAtOnce() != 2 {
			t.Errorf("%d at once, want 2", c.server.MostAtOnce())
		}
	})
}

// BenchmarkLargeOrganization reads workbooks of an organization of ten thousand.
func BenchmarkLargeOrganization(b *testing.B) {
	var elements []sigmatest.Element
	for i := range 20 {
		elements = append(elements, sigmatest.Element{Name: fmt.Sprint("Element ", i), Columns: sigmatest.Columns("Id:number", "Name", "At:datetime")})
	}
	var org sigmatest.Organization
	for i := range 10_000 {
		org.Workbooks = append(org.Workbooks, sigmatest.Workbook{Name: fmt.Sprint(i), Pages: []sigmatest.Page{{Elements: elements}}})
	}
	server := sigmatest.New(org)
	org = server.Organization()
	ask := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%s: HTTP %d", r.URL.Path, w.Code)
		}
		return w
	}
	grant := httptest.NewRequest(http.MethodPost, "/v2/auth/token", strings.NewReader("grant_type=client_credentials"))
	grant.SetBasicAuth(org.ClientID, org.ClientSecret)
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(ask(grant).Body.Bytes(), &granted); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		for _, list := range []string{"elements", "queries", "columns", "lineage"} {
			r := httptest.NewRequest(http.MethodGet, "/v2/workbooks/"+org.Workbooks[i%len(org.Workbooks)].ID+"/"+list+"?limit=1000", nil)
			r.Header.Set("Authorization", "Bearer "+granted.AccessToken)
			ask(r)
		}
	}
}

func ExampleNewServer() {
	server, err := sigmatest.NewServer(sigmatest.Organization{
		Connections: []sigmatest.Connection{{Name: "Production", Account: "ACME"}},
		Workbooks: []sigmatest.Workbook{{Name: "Churn", Path: "Growth", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{Name: "Customers", Columns: sigmatest.Columns("Id:number", "E-Mail"), Tables: []string{"CRM.PUBLIC.CUSTOMERS"}},
			{Name: "Lost", Refusal: sigmatest.UnableToProduce},
		}}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := server.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	server.SetFaults(sigmatest.On("/v2/whoami", sigmatest.Times(1, sigmatest.Throttle("2"))))
	response, err := http.Get(server.URL() + "/v2/whoami")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := response.Body.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(response.Status, response.Header.Get("Retry-After"))
	// Output: 429 Too Many Requests 2
}
