package server_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// searchable is a world with a catalog that has something of everything.
func searchable(t *testing.T) *world {
	t.Helper()
	element := func(name string, labels ...string) sigmatest.Element {
		return sigmatest.Element{Name: name, Columns: sigmatest.Columns(labels...)}
	}
	on := func(path, name, owner string, day int, elements ...sigmatest.Element) sigmatest.Workbook {
		return sigmatest.Workbook{ID: strings.ToLower(name), Name: name, Path: path, Owner: owner,
			CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), UpdatedAt: time.Date(2026, 1, day, 12, 0, 0, 0, time.UTC),
			Pages: []sigmatest.Page{{Name: "Page 1", Elements: elements}}}
	}
	sales := on("Finance", "Sales", "", 3, element("Revenue by région", "Order Id", "Amount:number"), element("Orders", "Order Id", "Customer"))
	sales.Tags = []string{"Certified"}
	broken := element("Broken", "Order Id", "Total:error")
	chart := sigmatest.Element{Name: "Chart", Type: "visualization", Visualization: "bar", Columns: sigmatest.Columns("Region", "Amount:number")}
	w := newWorld(t, sigmatest.Organization{Workspaces: []string{"Finance", "Marketing"}, Workbooks: []sigmatest.Workbook{
		sales,
		on("Finance/Close", "Ledger", "anna", 5, broken),
		on("Marketing", "Campaigns", "anna", 9, chart, element("Reorders", "Campaign", "Revenue:number", `100% "sure"`)),
	}}, snowflaketest.Config{})
	w.create(snowflakeName, w.snowflakeConnection())
	w.mustScan(snowflakeName)
	return w
}

// find lists the display names of the models that a request finds, page by page.
func (w *world) find(request *pb.ListModelsRequest) (names []string) {
	w.t.Helper()
	request.Parent = snowflakeName
	for request.PageSize = 1; ; {
		page, err := w.catalog.ListModels(w.ctx, request)
		w.must(err)
		for _, m := range page.GetModels() {
			names = append(names, m.GetDisplayName())
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return names
		}
	}
}

// TestFindModels goes through all that can be asked for, as a caller would.
func TestFindModels(t *testing.T) {
	w := searchable(t)
	for _, test := range []struct {
		filter, query, order string
		want                 string
	}{
		{want: "Orders Revenue by région Broken Chart Reorders"},
		{filter: `path:"Finance"`, want: "Orders Revenue by région Broken"},
		{filter: `path = "Finance"`, want: "Orders Revenue by région"},
		{filter: `path:Fin`, want: ""},
		{filter: `workbook = "` + snowflakeName + `/workbooks/ledger"`, want: "Broken"},
		{filter: `tags:"Certified"`, want: "Orders Revenue by région"},
		{filter: `NOT tags:*`, want: "Broken Chart Reorders"},
		{filter: `owner_id = anna`, want: "Broken Chart Reorders"},
		{filter: `state = BROKEN`, want: "Broken"},
		{filter: `state != READY`, want: "Broken"},
		{filter: `findings.code:COLUMN_BROKEN`, want: "Broken"},
		{filter: `element_type = "visualization" AND visualization_type = "bar"`, want: "Chart"},
		{filter: `document_kind = DATA_MODEL`, want: ""},
		{filter: `columns.label:"Order Id" AND NOT state = BROKEN`, want: "Orders Revenue by région"},
		{filter: `columns.label:"100% \"sure\""`, want: "Reorders"},
		{filter: `update_time > "2026-01-05T12:00:00Z"`, want: "Chart Reorders"},
		{filter: `update_time <= "2026-01-05T13:00:00+01:00"`, want: "Orders Revenue by région Broken"},
		{filter: `tags:Certified OR owner_id = anna AND columns.label:Region`, want: "Chart"},
		{filter: `tags:Certified OR (owner_id = anna AND columns.label:Region)`, want: "Orders Revenue by région Chart"},

		{order: "display_name", want: "Broken Chart Orders Reorders Revenue by région"},
		{order: "display_name desc", want: "Revenue by région Reorders Orders Chart Broken"},
		{order: "update_time desc", filter: `NOT element_type = table`, want: "Chart"},
		{order: "column_count desc", filter: `owner_id = anna AND state = READY`, want: "Reorders Chart"},

		// Names that begin with it, names that have it, workbooks and paths, columns.
		{query: "orders", want: "Orders Reorders"},
		{query: "rev", want: "Revenue by région Reorders"},
		{query: "REGION", want: "Revenue by région Chart"},
		{query: "finance", want: "Orders Revenue by région Broken"},
		{query: "campaign chart", want: "Chart"},
		{query: `"order" OR (`, want: "Orders Revenue by région Broken"}, // as the words order and or
		{query: `("-orders*"`, want: "Orders Reorders"},
		{query: "re", want: "Reorders Revenue by région Chart"},
		{query: "rder", filter: `path:Finance`, want: "Orders Revenue by région Broken"},
		{query: "rder", order: "update_time desc", filter: "state = READY AND element_type = table AND owner_id = anna", want: "Reorders"},
		{query: "';--", want: "Orders Revenue by région Broken Chart Reorders"},
	} {
		got := w.find(&pb.ListModelsRequest{Filter: test.filter, Query: test.query, OrderBy: test.order})
		if strings.Join(got, " ") != test.want {
			t.Errorf("filter %s, query %s, order %s: %q, want %q", test.filter, test.query, test.order, got, test.want)
		}
	}
}

// TestFindAfterChange: what a scan changes is found as it is now, and what is gone
// only when asked for.
func TestFindAfterChange(t *testing.T) {
	w := searchable(t)
	w.sigma.Change(func(o *sigmatest.Organization) {
		o.Workbook("sales").Pages[0].Elements[1].Name = "Purchases"
		o.Workbook("sales").UpdatedAt = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
		o.Workbook("sales").Owner = "anna"
		o.Workbooks = slices.DeleteFunc(o.Workbooks, func(b sigmatest.Workbook) bool { return b.ID == "campaigns" })
	})
	w.mustScan(snowflakeName)
	for want, request := range map[string]*pb.ListModelsRequest{
		"":                            {Query: "orders"},
		"Reorders":                    {Query: "orders", ShowGone: true},
		"Chart Reorders":              {Filter: "state = GONE", ShowGone: true},
		"Purchases":                   {Query: "purch", Filter: "owner_id = anna"},
		"Purchases Revenue by région": {Filter: `update_time > "2026-01-20T00:00:00Z"`},
	} {
		if got := strings.Join(w.find(request), " "); got != want {
			t.Errorf("%v: %q, want %q", request, got, want)
		}
	}
}

func TestFindWorkbooks(t *testing.T) {
	w := searchable(t)
	for _, test := range []struct {
		filter, query, order string
		want                 string
	}{
		{want: "Sales Ledger Campaigns"},
		{filter: `path:Finance AND NOT tags:Certified`, want: "Ledger"},
		{filter: `name = "` + snowflakeName + `/workbooks/ledger"`, want: "Ledger"},
		{filter: `document_kind = WORKBOOK AND owner_id = anna`, want: "Ledger Campaigns"},
		{order: "update_time desc", want: "Campaigns Ledger Sales"},
		{order: "model_count", filter: `update_time < "2026-01-08T00:00:00Z"`, want: "Ledger Sales"},
		{order: "display_name", want: "Campaigns Ledger Sales"},
		{query: "fin", want: "Sales Ledger"},
		{query: "edge", want: "Ledger"},
		{query: "orders", want: ""},
	} {
		page, err := w.catalog.ListWorkbooks(w.ctx, &pb.ListWorkbooksRequest{Parent: snowflakeName, Filter: test.filter, Query: test.query, OrderBy: test.order})
		w.must(err)
		var got []string
		for _, b := range page.GetWorkbooks() {
			got = append(got, b.GetDisplayName())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("filter %s, query %s, order %s: %q, want %q", test.filter, test.query, test.order, got, test.want)
		}
	}
}

// TestFindMistakes: an error names the field, the place in it, and what is allowed.
func TestFindMistakes(t *testing.T) {
	w := searchable(t)
	first, err := w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: snowflakeName, PageSize: 1, Query: "re"})
	w.must(err)
	for _, test := range []struct {
		request *pb.ListModelsRequest
		field   string
		says    []string
	}{
		{&pb.ListModelsRequest{Filter: `state = READY AND colour = "red"`}, "filter", []string{"at character 19", "columns.label", "owner_id"}},
		{&pb.ListModelsRequest{Filter: `state = LOST`}, "filter", []string{"at character 9", "READY, BROKEN"}},
		{&pb.ListModelsRequest{Filter: `state = `}, "filter", []string{"FIELD"}},
		{&pb.ListModelsRequest{Filter: `revenue`}, "filter", []string{"at character 1", "query"}},
		{&pb.ListModelsRequest{Filter: strings.Repeat("x", 2001)}, "filter", nil},
		{&pb.ListModelsRequest{OrderBy: "name"}, "order_by", []string{"column_count, display_name, path, update_time"}},
		{&pb.ListModelsRequest{OrderBy: "path, display_name"}, "order_by", []string{"one field"}},
		{&pb.ListModelsRequest{Query: strings.Repeat("a ", 11)}, "query", []string{"at most 10"}},
		{&pb.ListModelsRequest{Query: "rev", PageToken: first.GetNextPageToken()}, "page_token", nil},
		{&pb.ListModelsRequest{Query: "re", OrderBy: "path", PageToken: first.GetNextPageToken()}, "page_token", nil},
		{&pb.ListModelsRequest{Query: "re", Filter: "state = READY", PageToken: first.GetNextPageToken()}, "page_token", nil},
	} {
		test.request.Parent = snowflakeName
		_, err := w.catalog.ListModels(w.ctx, test.request)
		wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
		wantField(t, err, test.field)
		description := detail[*errdetails.BadRequest](err).GetFieldViolations()[0].GetDescription()
		for _, text := range test.says {
			if !strings.Contains(description, text) {
				t.Errorf("%v: %q, want %q", test.request, description, text)
			}
		}
	}
	_, err = w.catalog.ListWorkbooks(w.ctx, &pb.ListWorkbooksRequest{Parent: snowflakeName, Filter: "state = READY"})
	wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
	wantField(t, err, "filter")
}
