package sigmatest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// contractFile is Sigma's published contract. It is not ours to distribute, so a
// clone of this repository alone lacks it.
const contractFile = "../../../shared/sigma-openapi.json"

// contract is Sigma's contract, to hold answers to.
type contract struct{ router routers.Router }

func loadContract(t *testing.T) contract {
	t.Helper()
	data, err := os.ReadFile(contractFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("Sigma's contract is not here (%s): answers cannot be held to it", contractFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, schema := range doc.Components.Schemas {
		// These two list alternatives of which one includes another, so that
		// exactly one of them never fits. At least one is what is meant.
		if strings.HasSuffix(name, "SchemaDependencies") || strings.HasSuffix(name, "Path") && schema.Value.OneOf != nil {
			schema.Value.AnyOf, schema.Value.OneOf = schema.Value.OneOf, nil
		}
	}
	// The document as such has flaws that are none of ours, such as examples.
	router, err := legacy.NewRouter(doc, openapi3.DisableExamplesValidation(), openapi3.DisableSchemaDefaultsValidation())
	if err != nil {
		t.Fatal(err)
	}
	return contract{router: router}
}

// check holds an answer to the contract, and the request's parameters too.
func (c contract) check(request *http.Request, status int, header http.Header, body []byte) error {
	asked := request.Clone(request.Context())
	if strings.HasSuffix(asked.URL.Path, "/query") {
		// The copy of the contract is older than this call of data models, which
		// answers as workbooks' do.
		asked.URL.Path = strings.Replace(asked.URL.Path, "/v2/dataModels/", "/v2/workbooks/", 1)
	}
	asked.URL.Scheme, asked.URL.Host, asked.Host = "https", "api.sigmacomputing.com", "api.sigmacomputing.com"
	route, parameters, err := c.router.FindRoute(asked)
	if err != nil {
		return err
	}
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, ExcludeRequestBody: true}
	input := &openapi3filter.RequestValidationInput{Request: asked, PathParams: parameters, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(request.Context(), input); err != nil {
		return err
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: status, Header: header, Options: options}
	answer.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(request.Context(), answer)
}

// caller asks a server as a plain HTTP client does.
type caller struct {
	server *sigmatest.Server
	client *http.Client
	token  string
}

func newCaller(t *testing.T, organization sigmatest.Organization) *caller {
	t.Helper()
	server := sigmatest.New(organization)
	transport := server.Transport()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &caller{server: server, client: &http.Client{Transport: transport}}
	c.signIn(t)
	return c
}

func (c *caller) signIn(t *testing.T) {
	t.Helper()
	org := c.server.Organization()
	status, _, body := c.post(t, url.Values{"grant_type": {"client_credentials"}, "client_id": {org.ClientID}, "client_secret": {org.ClientSecret}}, nil)
	if status != http.StatusOK {
		t.Fatalf("sign in: HTTP %d: %s", status, body)
	}
	var granted struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &granted); err != nil {
		t.Fatal(err)
	}
	c.token = granted.AccessToken
}

func (c *caller) post(t *testing.T, form url.Values, prepare func(*http.Request)) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sigma/v2/auth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if prepare != nil {
		prepare(request)
	}
	return c.do(t, request)
}

func (c *caller) request(t *testing.T, path string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sigma"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	return request
}

func (c *caller) get(t *testing.T, path string) (int, http.Header, []byte) {
	t.Helper()
	return c.do(t, c.request(t, path))
}

func (c *caller) do(t *testing.T, request *http.Request) (int, http.Header, []byte) {
	t.Helper()
	response, err := c.client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", request.Method, request.URL.Path, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, body
}

// object gets an object of JSON.
func (c *caller) object(t *testing.T, path string) map[string]any {
	t.Helper()
	status, _, body := c.get(t, path)
	if status != http.StatusOK {
		t.Fatalf("%s: HTTP %d: %s", path, status, body)
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return object
}

// TestAnswersKeepSigmasContract walks through all calls, in an organization that
// has one of everything, under each habit.
func TestAnswersKeepSigmasContract(t *testing.T) {
	c := loadContract(t)
	for name, row := range map[string]struct {
		options    sigmatest.Options
		references sigmatest.References
	}{
		"well-behaved":     {},
		"terse":            {options: sigmatest.Options{TersePages: true, PageSize: 1}},
		"bare":             {options: sigmatest.Options{BareWorkspaces: true}},
		"plain ids":        {references: sigmatest.PlainIDs},
		"prefixed ids":     {references: sigmatest.PrefixedIDs},
		"upper-case ids":   {references: sigmatest.UpperCaseIDs},
		"source ids alone": {references: sigmatest.OnlySourceIDs},
	} {
		t.Run(name, func(t *testing.T) {
			org := oddities()
			org.References = row.references
			caller := newCaller(t, org)
			caller.server.SetOptions(row.options)
			for _, path := range paths(caller.server) {
				for at := path; at != ""; {
					request := caller.request(t, at)
					status, header, body := caller.do(t, request)
					if status != http.StatusOK {
						t.Errorf("%s: HTTP %d: %s", at, status, body)
						break
					}
					if err := c.check(request, status, header, body); err != nil {
						t.Errorf("%s: %v\n%s", at, err, body)
					}
					at = next(t, path, body)
				}
			}
			visited := caller.server.Calls()
			for _, call := range sigmatest.Calls() {
				if visited[call] == 0 {
					t.Errorf("%s is served, and not held to the contract", call)
				}
			}
		})
	}
}

func TestTokenAnswerKeepsSigmasContract(t *testing.T) {
	c := loadContract(t)
	caller := newCaller(t, sigmatest.Organization{})
	org := caller.server.Organization()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {org.ClientID}, "client_secret": {org.ClientSecret}}
	var asked *http.Request
	status, header, body := caller.post(t, form, func(r *http.Request) { asked = r.Clone(t.Context()) })
	asked.Header.Set("Authorization", "none") // the contract asks for the header even here
	if err := c.check(asked, status, header, body); err != nil {
		t.Errorf("%v\n%s", err, body)
	}
}

// TestContractRefuses shows that the checks above can fail.
func TestContractRefuses(t *testing.T) {
	c := loadContract(t)
	caller := newCaller(t, oddities())
	for _, change := range []struct{ path, from, to string }{
		{"/v2/whoami", `"userId"`, `"user"`},
		{"/v2/workbooks", `"latestVersion":1`, `"latestVersion":"1"`},
		{"/v2/workbooks", `"nextPage":null`, `"nextPage":7`},
		{"/v2/workbooks", `"createdAt":"`, `"createdAt":"on `},
		{"/v2/connections", `"isSample":false`, `"isSample":null`},
	} {
		request := caller.request(t, change.path)
		status, header, body := caller.do(t, request)
		changed := bytes.ReplaceAll(body, []byte(change.from), []byte(change.to))
		if bytes.Equal(changed, body) {
			t.Fatalf("%s: %s is not in %s", change.path, change.from, body)
		}
		if err := c.check(request, status, header, changed); err == nil {
			t.Errorf("%s with %s passes", change.path, change.to)
		}
	}
}

// next is the path of the following page, or empty.
func next(t *testing.T, path string, body []byte) string {
	t.Helper()
	var page struct {
		NextPage      string `json:"nextPage"`
		NextPageToken string `json:"nextPageToken"`
	}
	if bytes.HasPrefix(body, []byte("[")) {
		return ""
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	switch {
	case page.NextPage != "":
		return path + separator + "page=" + page.NextPage
	case page.NextPageToken != "":
		return path + separator + "pageToken=" + page.NextPageToken
	}
	return ""
}

// oddities is an organization that has one of everything.
func oddities() sigmatest.Organization {
	columns := sigmatest.Columns("Order Id:number", "E-Mail", "Order Id:number", "Broken:error")
	return sigmatest.Organization{
		Connections: []sigmatest.Connection{
			{Name: "Snowflake", Account: "ACME-PROD", Warehouse: "READING", Role: "SIGMA", User: "SIGMA"},
			{Name: "Redshift", Type: "Redshift", Host: "redshift.example.com", OAuth: true},
			{Name: "Governed", Account: "ACME-GOV", RoleSwitching: "allRoles", RoleAttribute: "Role", WriteBacks: []string{"DB.SIGMA_WB", "DB.SIGMA_WB_2"}},
		},
		Workspaces: []string{"Empty"},
		DataModels: []sigmatest.DataModel{{Name: "Core", Path: "Finance/Models", Elements: []sigmatest.Element{
			{Name: "Customers", Columns: columns, Tables: []string{"DB.S.CUSTOMERS"}},
			{Name: "Written", Columns: columns, CustomSQL: "select 1"},
			{Name: "Uploaded", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.Dataset}},
		}}, {Name: "On top", Path: "Finance/Models", Elements: []sigmatest.Element{
			{Name: "Again", Columns: columns, DataModel: "Core", DataModelElement: "Written"},
		}}},
		Workbooks: []sigmatest.Workbook{
			{Name: "Everything, \"quoted\" & größer", Path: "Finance/Board", Tags: []string{"Prod", "Old"},
				Bookmarks: []sigmatest.Bookmark{{Name: "West", Default: true, Values: map[string]string{"Country": "US"}}, {Name: "Somebody's", Owner: "memother"}},
				Versions:  map[string][]sigmatest.Page{"Old": {{Name: "Past", Elements: []sigmatest.Element{{Name: "Was", Columns: columns}}}}},
				Pages: []sigmatest.Page{
					{Elements: []sigmatest.Element{
						{Name: "Orders", Columns: columns, Tables: []string{"DB.S.ORDERS", "DB.S.ITEMS"}},
						{Name: "Orders", Columns: columns, Twice: true},
						{Columns: columns, DataModel: "Core"},
						{Name: "From text", Columns: columns, CustomSQL: "select * from T -- all"},
						{Name: "On top", Columns: columns, Elements: []string{"From text", "Orders"}},
						{Name: "On models", Columns: columns, DataModel: "On top", DataModelElement: "Again"},
						{Name: "File", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.CSVUpload}},
						{Name: "View", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.SemanticView}},
						{Name: "Document", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.SQLDocument, Untold: true}},
						{Name: "Worksheet", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.Worksheet}},
						{Name: "Dataset", Columns: columns, Source: sigmatest.Source{Kind: sigmatest.Dataset}},
						{Name: "Counted", Unsent: true},
						{Name: "Without columns", Columns: columns, ColumnsUnsent: true},
						{Name: "Elsewhere", Columns: columns, Connection: "Redshift"},
					}},
					{Name: "Hidden", Hidden: true, Elements: []sigmatest.Element{
						{Name: "Chart", Type: "visualization", Visualization: "bar", Columns: columns},
						{Name: "New kind", Type: "sankey-chart", Unlisted: true},
						{Type: "text"}, {Type: "image"}, {Name: "Country", Type: "control"},
						{Name: "With error", Refusal: sigmatest.WithError},
						{Name: "With nothing", Refusal: sigmatest.WithNothing},
						{Name: "Refused", Refusal: sigmatest.UnableToProduce},
					}},
				}},
			{Name: "Plain", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{{Name: "One", Columns: columns}}}}},
			{Name: "Gone to the archive", Archived: true},
			{Name: "Counted", Unsent: true},
		},
	}
}

// paths are all calls that the organization of oddities answers well.
func paths(server *sigmatest.Server) []string {
	org := server.Organization()
	all := []string{
		"/v2/whoami",
		"/v2/workbooks", "/v2/workbooks?isArchived=true&excludeTags=true&skipPermissionCheck=true", "/v2/workbooks?limit=1000",
		"/v2/connections", "/v2/connections/" + org.Connections[1].ID,
		"/v2/connections/paths", "/v2/connections/paths?connectionId=" + org.Connections[1].ID,
		"/v2/dataModels", "/v2/tags", "/v2/workspaces", "/v2.1/workspaces",
		"/v2/files", "/v2/files?typeFilters=table&typeFilters=workbook", "/v2/files/" + org.Workbooks[0].ID,
	}
	for _, w := range org.Workbooks[:2] {
		base := "/v2/workbooks/" + w.ID
		all = append(all, base, base+"/pages", base+"/elements", base+"/columns", base+"/queries", base+"/lineage", base+"/sources", base+"/tags", base+"/controls", base+"/bookmarks")
		for _, p := range w.Pages {
			all = append(all, base+"/pages/"+p.ID+"/elements")
			for _, e := range p.Elements {
				all = append(all, base+"/elements/"+e.ID+"/columns")
				if e.Type == "text" || e.Type == "image" || e.Type == "control" {
					continue
				}
				all = append(all, base+"/lineage/elements/"+e.ID)
				if e.Refusal != sigmatest.UnableToProduce {
					all = append(all, base+"/elements/"+e.ID+"/query")
				}
			}
		}
	}
	base := "/v2/workbooks/" + org.Workbooks[0].ID
	all = append(all, base+"/elements?tagName=Old", base+"/pages?tag=Old", base+"/elements?tagName=Prod",
		base+"/elements/"+org.Workbooks[0].Versions["Old"][0].Elements[0].ID+"/query?tagName=Old",
		base+"/elements/"+org.Workbooks[0].Pages[0].Elements[0].ID+"/query?bookmarkId="+org.Workbooks[0].Bookmarks[0].ID)
	for _, m := range org.DataModels {
		base := "/v2/dataModels/" + m.ID
		all = append(all, base, base+"/elements", base+"/columns", base+"/lineage", base+"/sources", base+"/tags",
			base+"/elements/"+m.Elements[0].ID+"/query")
	}
	return append(all, "/v2/connections/paths/"+sigmatest.TableID(org.Connections[0].ID, "DB.S.CUSTOMERS"))
}
