package catalog_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/catalog"
	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is what outlives a process: the file of a store, and the key of its secrets.
type disk struct {
	folder string
	keys   *keyring.Ring
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{folder: t.TempDir()}
	path := filepath.Join(d.folder, "keyset.json")
	check(t, keyring.Create(t.Context(), keyring.Source{Path: path}))
	text, err := os.ReadFile(path)
	check(t, err)
	d.keys, err = keyring.Open(t.Context(), keyring.Source{Text: string(text)}, time.Hour, discard)
	check(t, err)
	t.Cleanup(func() { check(t, d.keys.Close()) })
	return d
}

func (d *disk) path() string { return filepath.Join(d.folder, "store.db") }

func (d *disk) open(t rapid.TB, ctx context.Context) *store.Store {
	t.Helper()
	s, err := store.OpenSQLite(ctx, d.path(), d.keys)
	check(t, err)
	return s
}

// expire brings a scan to where it is once nobody has kept it for long.
func (d *disk) expire(t rapid.TB, ctx context.Context, scan string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.path()+"?_pragma=busy_timeout(10000)")
	check(t, err)
	_, err = db.ExecContext(ctx, `UPDATE scans SET lease = 1 WHERE name = ?`, scan)
	check(t, errors.Join(err, db.Close()))
}

// fewerIfRaced is a number of repetitions, and a tenth of it where the race detector
// makes each many times as slow: it looks for other things.
func fewerIfRaced(n int) int {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return n / 10
	}
	return n
}

var discard = slog.New(slog.DiscardHandler)

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// queue is a queue of scans that nobody takes anything out of by themselves.
type queue struct {
	mu    sync.Mutex
	scans []string
}

// AskForScan implements catalog.Queue.
func (q *queue) AskForScan(_ context.Context, _ *sql.Tx, scan string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scans = append(q.scans, scan)
	return nil
}

// next takes the scan out that was asked for.
func (q *queue) next(t rapid.TB) string {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.scans) != 1 {
		t.Fatalf("asked for are %q, and not one scan", q.scans)
	}
	scan := q.scans[0]
	q.scans = nil
	return scan
}

// process is one run of the service. Its store can be taken from it, as a crash
// does: nothing that it does from then on has an effect.
type process struct {
	*store.Store
	service *catalog.Service
	sigma   *sigmaclient.Service
	pool    *connections.Pool
	ctx     context.Context
	stop    context.CancelFunc

	dead   atomic.Bool
	kept   chan struct{} // closed once the scan was kept for the first time
	keep   sync.Once
	unkept atomic.Bool // the scan is not kept any more

	refuse func(workbook string, unread bool) bool // whether the store refuses a workbook; nil: none

	mu      sync.Mutex
	moments int // of the scan so far
	at      int // the moment at which something happens
	do      func()
}

var errDead = errors.New("the process is dead")

// errRefused is how the store refuses the contents of one workbook.
var errRefused = fmt.Errorf("put workbook: %w", &store.DocumentError{Code: "SQLSTATE 54000", Err: errors.New("a value of the workbook")})

// newProcess starts the service over an open store.
func newProcess(ctx context.Context, s *store.Store, sigma http.RoundTripper, queue catalog.Queue, inFlight int, folder string) *process {
	p := &process{Store: s, kept: make(chan struct{})}
	p.ctx, p.stop = context.WithCancel(ctx)
	p.sigma = sigmaclient.New(sigmaclient.Options{InFlight: inFlight, Transport: &calls{sigma, p}, Logger: discard})
	p.pool = connections.NewPool(s, &connections.Opener{Sigma: p.sigma, DuckDBDir: folder, Logger: discard})
	p.service = catalog.New(p, p.pool, 0, time.Now, discard)
	p.service.Use(queue)
	return p
}

// end frees what the process holds, but for the store.
func (p *process) end() {
	p.stop()
	p.service.Close()
	p.pool.Close()
	p.sigma.Close()
}

// die is what kill -9 does.
func (p *process) die() {
	p.dead.Store(true)
	p.stop()
}

// arrange lets something happen at a moment of the next scan, once.
func (p *process) arrange(moment int, do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moments, p.at, p.do = 0, moment, do
}

// moment is called between any two effects of a scan.
func (p *process) moment() {
	p.mu.Lock()
	p.moments++
	do := func() {}
	if p.moments == p.at && p.do != nil {
		do = p.do
	}
	p.mu.Unlock()
	do()
}

// calls has a moment before each call to Sigma.
type calls struct {
	http.RoundTripper
	process *process
}

func (c *calls) RoundTrip(r *http.Request) (*http.Response, error) {
	c.process.moment()
	return c.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections is what closes the connections of a client that ends.
func (c *calls) CloseIdleConnections() {
	if t, ok := c.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// write has a moment before and after each change of the store.
func write[T any](p *process, do func() (T, error)) (T, error) {
	p.moment()
	var nothing T
	if p.dead.Load() {
		return nothing, errDead
	}
	answer, err := do()
	p.moment()
	if p.dead.Load() {
		return nothing, errDead
	}
	return answer, err
}

func (p *process) PutWorkbook(ctx context.Context, seen store.Seen) ([]*pb.Change, error) {
	if p.refuse != nil && p.refuse(seen.Workbook.GetName(), seen.Unread) {
		return nil, errRefused
	}
	return write(p, func() ([]*pb.Change, error) { return p.Store.PutWorkbook(ctx, seen) })
}

func (p *process) RemoveWorkbook(ctx context.Context, claim store.Claim, name string) ([]*pb.Change, error) {
	if p.refuse != nil && p.refuse(name, true) {
		return nil, errRefused
	}
	return write(p, func() ([]*pb.Change, error) { return p.Store.RemoveWorkbook(ctx, claim, name) })
}

func (p *process) EndScan(ctx context.Context, claim store.Claim, scan *pb.Scan) error {
	_, err := write(p, func() (bool, error) { return true, p.Store.EndScan(ctx, claim, scan) })
	return err
}

func (p *process) ReleaseScan(ctx context.Context, claim store.Claim, ask store.Ask) error {
	if p.dead.Load() {
		return errDead
	}
	return p.Store.ReleaseScan(ctx, claim, ask)
}

func (p *process) KeepScan(ctx context.Context, claim store.Claim, scan *pb.Scan) (bool, error) {
	if p.dead.Load() || p.unkept.Load() {
		return false, errDead
	}
	defer p.keep.Do(func() { close(p.kept) })
	return p.Store.KeepScan(ctx, claim, scan)
}

// catalogOf reads all that the catalog holds of a connection, gone or not.
func (p *process) catalogOf(t rapid.TB, ctx context.Context, connection string) map[string]*document {
	t.Helper()
	all := map[string]*document{}
	type counts struct{ models, unreadable int32 }
	told, found := map[string]counts{}, map[string]counts{}
	workbooks := &pb.ListWorkbooksRequest{Parent: connection, ShowGone: true, PageSize: 1000}
	for more := true; more; more = workbooks.GetPageToken() != "" {
		page, err := p.service.ListWorkbooks(ctx, workbooks)
		check(t, err)
		for _, w := range page.GetWorkbooks() {
			all[w.GetWorkbookId()] = documentOf(w)
			if counted := (counts{w.GetModelCount(), w.GetUnreadableModelCount()}); counted != (counts{}) {
				told[w.GetWorkbookId()] = counted
			}
		}
		workbooks.PageToken = page.GetNextPageToken()
	}
	models := &pb.ListModelsRequest{Parent: connection, ShowGone: true, PageSize: 1000}
	for more := true; more; more = models.GetPageToken() != "" {
		page, err := p.service.ListModels(ctx, models)
		check(t, err)
		for _, listed := range page.GetModels() {
			answer, err := p.service.GetModel(ctx, &pb.GetModelRequest{Name: listed.GetName()})
			check(t, err)
			m := answer.GetModel()
			_, workbook, _ := strings.Cut(m.GetWorkbook(), "/workbooks/")
			d := all[workbook]
			d.models[m.GetElementId()] = modelOf(m)
			if listed.GetState() != m.GetState() {
				t.Fatalf("a model is listed as %s and is %s", listed.GetState(), m.GetState())
			}
			if m.GetState() == pb.ModelState_MODEL_STATE_GONE {
				continue
			}
			if m.GetPath() != d.path || m.GetWorkbookDisplayName() != d.name {
				t.Fatalf("a model does not follow its workbook %s:%v", d, m)
			}
			counted := found[workbook]
			counted.models++
			if m.GetState() != pb.ModelState_MODEL_STATE_READY {
				counted.unreadable++
			}
			found[workbook] = counted
		}
		models.PageToken = page.GetNextPageToken()
	}
	p.compareListed(t, ctx, connection, all)
	if !maps.Equal(told, found) {
		t.Fatalf("the workbooks count their models as %v, there are %v", told, found)
	}
	return all
}

// compareListed makes sure that what is gone is not listed unless asked for.
func (p *process) compareListed(t rapid.TB, ctx context.Context, connection string, all map[string]*document) {
	t.Helper()
	want, got := map[string]bool{}, map[string]bool{}
	for id, d := range all {
		if !d.gone {
			want[connection+"/workbooks/"+id] = true
		}
		for element, m := range d.models {
			if m.state != gone {
				want[connection+"/models/"+id+"."+element] = true
			}
		}
	}
	workbooks, err := p.service.ListWorkbooks(ctx, &pb.ListWorkbooksRequest{Parent: connection, PageSize: 1000})
	check(t, err)
	for _, w := range workbooks.GetWorkbooks() {
		got[w.GetName()] = true
	}
	models, err := p.service.ListModels(ctx, &pb.ListModelsRequest{Parent: connection, PageSize: 1000})
	check(t, err)
	for _, m := range models.GetModels() {
		got[m.GetName()] = true
	}
	if workbooks.GetNextPageToken()+models.GetNextPageToken() == "" && !maps.Equal(want, got) {
		t.Fatalf("listed are %v instead of %v", got, want)
	}
}

func documentOf(w *pb.Workbook) *document {
	return &document{name: w.GetDisplayName(), path: w.GetPath(), owner: w.GetOwnerId(), archived: w.GetArchived(), gone: w.GetGoneTime() != nil,
		failed: w.GetError() != nil, skipped: int(w.GetSkippedElementCount()), models: map[string]model{}}
}

func modelOf(m *pb.Model) model {
	read := model{name: m.GetDisplayName(), state: strings.TrimPrefix(m.GetState().String(), "MODEL_STATE_"), sql: m.GetSqlFingerprint()}
	if m.GetError() != nil {
		read.reason = strings.TrimPrefix(m.GetError().GetReason().String(), "ERROR_REASON_")
	}
	for _, c := range m.GetColumns() {
		read.columns = append(read.columns, column{c.GetColumnId(), c.GetLabel(), c.GetSigmaType()})
	}
	return read
}

// told is a change on one line, as differences has it, and the document that it is
// about.
func told(c *pb.Change) (document, line string) {
	_, id, _ := strings.Cut(c.GetResource(), "/workbooks/")
	if id == "" {
		_, id, _ = strings.Cut(c.GetResource(), "/models/")
	}
	document, _, _ = strings.Cut(id, ".")
	if c.GetColumnId() != "" {
		id += " " + c.GetColumnId()
	}
	state := func(s string) string { return strings.TrimPrefix(s, "MODEL_STATE_") }
	return document, fmt.Sprintf("%s %s %s>%s", strings.TrimPrefix(c.GetKind().String(), "CHANGE_KIND_"), id, state(c.GetFrom()), state(c.GetTo()))
}

// connect stores a connection to an organization.
func connect(t rapid.TB, ctx context.Context, s *store.Store, name string, org sigmatest.Organization) {
	t.Helper()
	_, err := s.CreateConnection(ctx, &pb.Connection{
		Name:      name,
		Sigma:     &pb.SigmaCredentials{BaseUrl: "https://" + sigmaclient.PublishedHosts()[0].Name, ClientId: org.ClientID},
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Duckdb{Duckdb: &pb.DuckDbWarehouse{Database: "SHOP"}}},
	}, &store.Secrets{SigmaClientSecret: org.ClientSecret}, store.Request{})
	check(t, err)
}
