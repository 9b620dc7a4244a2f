package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

const (
	elementsEach = 20
	columnsEach  = 8
)

// large is an organization of that many workbooks of 20 elements.
func large(workbooks int) sigmatest.Organization {
	org := sigmatest.Organization{Connections: []sigmatest.Connection{{Name: "Production", Account: "ACME-SHOP"}}}
	for i := range workbooks {
		w := sigmatest.Workbook{ID: workbookID(i), Name: fmt.Sprint("Workbook ", i), Path: fmt.Sprintf("Team %d/Folder %d", i%40, i%400)}
		elements := make([]sigmatest.Element, elementsEach)
		for j := range elements {
			e := &elements[j]
			e.ID, e.Name = fmt.Sprint("element", j), fmt.Sprint("Element ", j)
			if j%4 == 0 {
				e.Type, e.Visualization = "visualization", "bar"
			}
			for k := range columnsEach {
				e.Columns = append(e.Columns, sigmatest.Column{ID: fmt.Sprint("column", k), Label: fmt.Sprint("Column ", k), Type: []string{"number", "text"}[k%2]})
			}
		}
		w.Pages = []sigmatest.Page{{Name: "Page 1", Elements: elements[:elementsEach/2]}, {Name: "Page 2", Elements: elements[elementsEach/2:]}}
		org.Workbooks = append(org.Workbooks, w)
	}
	return org
}

func workbookID(i int) string { return fmt.Sprintf("workbook%05d", i) }

// edits are what ten workbooks meet, and what is to be told of each.
var edits = []struct {
	edit func(*sigmatest.Workbook)
	told []string
}{
	{func(w *sigmatest.Workbook) { w.Name = "Revenue" }, []string{"WORKBOOK_RENAMED / Workbook #>Revenue"}},
	{func(w *sigmatest.Workbook) { w.Path = "Archive" }, []string{"WORKBOOK_MOVED / Team #/Folder #>Archive"}},
	{func(w *sigmatest.Workbook) { w.Owner = "bob" }, []string{"WORKBOOK_OWNER_CHANGED / owner>bob"}},
	{func(w *sigmatest.Workbook) { w.Element("element1").Name = "Orders" }, []string{"MODEL_RENAMED element1 Element 1>Orders"}},
	{func(w *sigmatest.Workbook) {
		page := &w.Pages[0]
		page.Elements = append(page.Elements, sigmatest.Element{ID: "added", Name: "Added", Columns: sigmatest.Columns("A")})
	}, []string{"MODEL_ADDED added >Added"}},
	{func(w *sigmatest.Workbook) { w.RemoveElement("element19") }, []string{"MODEL_REMOVED element19 Element 19>"}},
	{func(w *sigmatest.Workbook) {
		e := w.Element("element2")
		e.Columns = append(e.Columns, sigmatest.Column{ID: "added", Label: "Added"})
	}, []string{"COLUMN_ADDED element2 added >Added", "MODEL_SQL_CHANGED element2 >"}},
	{func(w *sigmatest.Workbook) {
		e := w.Element("element3")
		e.Columns = e.Columns[1:]
		w.Element("element4").Refusal = sigmatest.WithError
	}, []string{"COLUMN_REMOVED element3 column0 Column 0>", "MODEL_SQL_CHANGED element3 >", "MODEL_BROKE element4 READY>BROKEN"}},
	{func(w *sigmatest.Workbook) {
		e := w.Element("element5")
		e.Columns[0].Label, e.Columns[1].Type = "Order Id", "datetime"
	}, []string{"COLUMN_RENAMED element5 column0 Column 0>Order Id", "COLUMN_RETYPED element5 column1 text>datetime", "MODEL_SQL_CHANGED element5 >"}},
	{func(w *sigmatest.Workbook) { w.Element("element6").SQL = "select 1 A limit 1000" }, []string{"MODEL_SQL_CHANGED element6 >"}},
}

// edited is where an edit is made, in an organization of that many workbooks.
func edited(edit, workbooks int) int { return (2*edit + 1) * workbooks / (2 * len(edits)) }

// scaled is a server in a process of its own that reads an organization in this one.
type scaled struct {
	testing.TB
	sigma   *sigmatest.Server
	process *exec.Cmd
	log     *pipe
	catalog pb.ModelCatalogClient
	conn    *grpc.ClientConn
	after   int64 // the last change that was read
}

const prod = "workspaces/acme/connections/prod"

// read starts both.
func read(t testing.TB, organization sigmatest.Organization) *scaled {
	t.Helper()
	r := &scaled{TB: t, log: newPipe()}
	var err error
	r.sigma, err = sigmatest.NewServer(organization)
	r.must(err)
	t.Cleanup(func() { r.must(r.sigma.Close()) })
	o := newOperator(t)
	self, err := os.Executable()
	r.must(err)
	r.process = exec.Command(self, o.flags("--listen", "127.0.0.1:0", "--allow-host", r.sigma.Host(), "--audit-log", o.file("audit.log"))...)
	r.process.Env = append(os.Environ(), asProgram+"=1")
	r.process.Stderr = r.log
	r.must(r.process.Start())
	ended := make(chan error, 1)
	go func() {
		ended <- r.process.Wait()
		r.log.close()
	}()
	t.Cleanup(func() {
		r.must(r.process.Process.Signal(syscall.SIGTERM))
		r.must(<-ended)
	})
	server := &client{server: r.log.await(t, `"msg":"serving","address":"([^"]+)"`)[1], token: os.Getenv("SIGMASOURCE_TOKEN")}
	r.conn, err = server.dial()
	r.must(err)
	t.Cleanup(func() { r.must(r.conn.Close()) })
	r.catalog = pb.NewModelCatalogClient(r.conn)
	r.connect()
	return r
}

func (r *scaled) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *scaled) connect() {
	r.Helper()
	org := r.sigma.Organization()
	_, err := pb.NewSigmaConnectionsClient(r.conn).CreateConnection(r.Context(), &pb.CreateConnectionRequest{
		Parent: "workspaces/acme", ConnectionId: "prod", SkipCheck: true, SkipScan: true,
		Connection: &pb.Connection{
			Sigma: &pb.SigmaCredentials{BaseUrl: r.sigma.URL(), ClientId: org.ClientID, ClientSecret: org.ClientSecret},
			Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{
				Account: "ACME-SHOP", User: "SIGMASOURCE", Authentication: &pb.SnowflakeWarehouse_Password{Password: "none is asked for"},
			}}},
		},
	})
	r.must(err)
}

// scan runs a scan, and returns it with the calls that it made.
func (r *scaled) scan() (scan *pb.Scan, calls map[string]int) {
	r.Helper()
	r.sigma.ResetRecords()
	started, err := r.catalog.StartScan(r.Context(), &pb.StartScanRequest{Parent: prod})
	r.must(err)
	scan, err = followScan(r.Context(), r.conn, started.GetScan().GetName(), r.Output())
	r.must(err)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksFailed() != 0 {
		r.Fatalf("the scan ended with %v", scan)
	}
	calls = r.sigma.Calls()
	if counted := scan.GetCalls() + int64(calls[grants]); counted != sum(calls) {
		r.Errorf("the scan counts %d calls, Sigma %d", counted, sum(calls))
	}
	return scan, calls
}

const grants = "POST /v2/auth/token"

func sum(calls map[string]int) (all int64) {
	for _, n := range calls {
		all += int64(n)
	}
	return all
}

// callsFor are the calls for an organization of which that many workbooks are
// listed, in pages of a size, and read.
func callsFor(listed, size, read int) map[string]int {
	calls := map[string]int{"GET /v2/whoami": 1, "GET /v2/connections": 1, "GET /v2/dataModels": 1,
		"GET /v2/workbooks": (listed + size - 1) / size}
	for _, what := range []string{"elements", "columns", "lineage", "queries"} {
		if read > 0 {
			calls["GET /v2/workbooks/{workbookId}/"+what] = read
		}
	}
	return calls
}

// changes returns the changes since they were last read.
func (r *scaled) changes() (all []*pb.Change) {
	r.Helper()
	for {
		page, err := r.catalog.ListChanges(r.Context(), &pb.ListChangesRequest{Parent: prod, AfterSequence: r.after, PageSize: 1000})
		r.must(err)
		if len(page.GetChanges()) == 0 {
			return all
		}
		for _, c := range page.GetChanges() {
			if r.after++; c.GetSequence() != r.after {
				r.Fatalf("change %d has the number %d", r.after, c.GetSequence())
			}
		}
		all = append(all, page.GetChanges()...)
	}
}

var digits = regexp.MustCompile(`\d+`)

// told is a change on one line, and the workbook that it is about.
func (r *scaled) told(c *pb.Change) (workbook, line string) {
	kind, resource := strings.TrimPrefix(c.GetKind().String(), "CHANGE_KIND_"), strings.TrimPrefix(c.GetResource(), prod+"/")
	_, id, _ := strings.Cut(resource, "/")
	workbook, element, _ := strings.Cut(id, ".")
	from := strings.TrimPrefix(c.GetFrom(), "MODEL_STATE_")
	switch kind {
	case "WORKBOOK_RENAMED", "WORKBOOK_MOVED":
		from = digits.ReplaceAllString(from, "#")
	case "WORKBOOK_OWNER_CHANGED":
		from = strings.ReplaceAll(from, r.sigma.Organization().Owner, "owner")
	}
	if element == "" {
		element = "/"
	}
	parts := []string{kind, element}
	if c.GetColumnId() != "" {
		parts = append(parts, c.GetColumnId())
	}
	return workbook, strings.Join(append(parts, from+">"+strings.TrimPrefix(c.GetTo(), "MODEL_STATE_")), " ")
}

// firstScan scans an organization of workbooks, and checks that each is told once,
// with its models.
func (r *scaled) firstScan(workbooks int) (*pb.Scan, map[string]int) {
	r.Helper()
	scan, calls := r.scan()
	if calls[grants] != 1 {
		r.Errorf("%d tokens were granted", calls[grants])
	}
	delete(calls, grants)
	got := map[string]bool{}
	for _, c := range r.changes() {
		workbook, line := r.told(c)
		got[workbook+" "+line] = true
	}
	want := map[string]bool{}
	for i := range workbooks {
		want[fmt.Sprintf("%s WORKBOOK_ADDED / >Workbook %d", workbookID(i), i)] = true
		for j := range elementsEach {
			want[fmt.Sprintf("%s MODEL_ADDED element%d >Element %d", workbookID(i), j, j)] = true
		}
	}
	if int(r.after) != len(want) || !maps.Equal(got, want) {
		r.Errorf("%d changes tell %d things, which differ from what is there", r.after, len(got))
	}
	if models := workbooks * elementsEach; int(scan.GetModelsFound()) != models || int(scan.GetModelsAdded()) != models || scan.GetModelsUnreadable() != 0 {
		r.Errorf("%d models are there, the scan counts %v", models, scan)
	}
	return scan, calls
}

// rescan edits ten workbooks and scans again. It checks that exactly the edits are
// told.
func (r *scaled) rescan(workbooks int) (*pb.Scan, map[string]int) {
	r.Helper()
	want := map[string][]string{}
	r.sigma.Change(func(o *sigmatest.Organization) {
		for i, e := range edits {
			w := &o.Workbooks[edited(i, workbooks)]
			e.edit(w)
			w.Version++
			w.UpdatedAt = w.UpdatedAt.Add(time.Hour)
			want[w.ID] = e.told
		}
	})
	scan, calls := r.scan()
	got := map[string][]string{}
	for _, c := range r.changes() {
		workbook, line := r.told(c)
		got[workbook] = append(got[workbook], line)
		if c.GetScan() != scan.GetName() {
			r.Errorf("the change %v is another scan's", c)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("edited (-), told (+):\n%s", diff)
	}
	if n := int(scan.GetWorkbooksUnchanged()); n != workbooks-len(edits) {
		r.Errorf("%d workbooks are taken for unchanged", n)
	}
	return scan, calls
}

// TestAScanCostsFewCalls counts them: four for each workbook that is new or has
// changed, none for another.
func TestAScanCostsFewCalls(t *testing.T) {
	const workbooks, page = 300, 200
	r := read(t, large(workbooks))
	r.sigma.SetOptions(sigmatest.Options{PageSize: page})
	_, calls := r.firstScan(workbooks)
	if diff := cmp.Diff(callsFor(workbooks, page, workbooks), calls); diff != "" {
		t.Errorf("of the first scan wanted (-), made (+):\n%s", diff)
	}
	_, calls = r.rescan(workbooks)
	if diff := cmp.Diff(callsFor(workbooks, page, len(edits)), calls); diff != "" {
		t.Errorf("of the second scan wanted (-), made (+):\n%s", diff)
	}
	_, calls = r.scan()
	if diff := cmp.Diff(callsFor(workbooks, page, 0), calls); diff != "" {
		t.Errorf("with nothing changed wanted (-), made (+):\n%s", diff)
	}
	if changes := r.changes(); len(changes) > 0 {
		t.Errorf("with nothing changed it tells %v", changes)
	}
}

// latency is how long Sigma takes for an answer here. In life it is a tenth of a
// second and more, so that keeping its places busy is easier there.
const latency = 20 * time.Millisecond

// BenchmarkScan scans an organization of 10,000 workbooks of 20 elements, edits ten
// of them and scans again. The server is the program in a process of its own, with
// its embedded store.
func BenchmarkScan(b *testing.B) {
	const workbooks = 10_000
	for b.Loop() {
		b.StopTimer()
		r := read(b, large(workbooks))
		r.sigma.SetFaults(sigmatest.Delay(latency))
		b.StartTimer()
		first, calls := r.firstScan(workbooks)
		_, again := r.rescan(workbooks)
		b.StopTimer()
		took := first.GetEndTime().AsTime().Sub(first.GetCreateTime().AsTime())
		b.ReportMetric(float64(sum(calls))/workbooks, "calls/workbook")
		b.ReportMetric(float64(sum(again)), "calls/rescan")
		b.ReportMetric(100*r.busy(), "%busy")
		b.ReportMetric(r.peakMemory(), "MiB")
		b.ReportMetric(took.Seconds(), "s/scan")
		b.StartTimer()
	}
}

// busy is the share of the places for calls to Sigma that the first scan used.
func (r *scaled) busy() float64 {
	r.Helper()
	share, err := strconv.ParseFloat(r.log.await(r, `"msg":"scan ended".*"busy":([0-9.]+)`)[1], 64)
	r.must(err)
	return share
}

// peakMemory is the most memory that the server has had at a time, in MiB.
func (r *scaled) peakMemory() float64 {
	r.Helper()
	if runtime.GOOS != "linux" {
		r.Log("the server's memory is told on Linux only")
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.process.Process.Pid))
	r.must(err)
	kilobytes, err := strconv.ParseFloat(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(status))[1], 64)
	r.must(err)
	return kilobytes / 1024
}
