package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

const (
	// asProgram makes the test's own binary the program; see TestMain.
	asProgram = "SIGMASOURCE_TEST_PROGRAM"
	// skewed is by how much that program's clock is wrong, as a duration.
	skewed = "SIGMASOURCE_TEST_SKEW"

	replicaConnection = "workspaces/acme/connections/prod"
)

// program is what a process does that a test has started as the program.
func program() {
	if text := os.Getenv(skewed); text != "" {
		skew, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		now = func() time.Time { return time.Now().Add(skew) }
	}
	main()
	os.Exit(0)
}

// replicas are processes of the program that share a database, behind one address
// that passes connections on to whichever of them are up.
type replicas struct {
	t     *testing.T
	args  []string
	proxy net.Listener

	mu   sync.Mutex
	up   []*replica
	next int
}

type replica struct {
	process *exec.Cmd
	address string
	log     *pipe
	ended   chan struct{}
}

func startReplicas(t *testing.T, args ...string) *replicas {
	t.Helper()
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replicas{t: t, args: args, proxy: proxy}
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { r.pass(conn) })
		}
	})
	t.Cleanup(func() {
		for _, one := range r.all() {
			r.end(one, syscall.SIGTERM)
		}
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
		passing.Wait()
	})
	return r
}

func (r *replicas) all() []*replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*replica(nil), r.up...)
}

// pass connects a caller to the next replica that takes the connection.
func (r *replicas) pass(caller net.Conn) {
	defer caller.Close() //nolint:errcheck // either side may have closed it
	for range 10 {
		r.mu.Lock()
		if len(r.up) == 0 {
			r.mu.Unlock()
			return
		}
		r.next++
		address := r.up[r.next%len(r.up)].address
		r.mu.Unlock()
		callee, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(callee, caller)
			_ = callee.(*net.TCPConn).CloseWrite() // it may be gone already
		})
		_, _ = io.Copy(caller, callee)
		_ = caller.Close() // either may have closed it
		_ = callee.Close() // likewise
		both.Wait()
		return
	}
}

// start starts one more replica, whose clock is wrong by the skew.
func (r *replicas) start(skew time.Duration) *replica {
	r.t.Helper()
	one := &replica{log: newPipe(), ended: make(chan struct{})}
	one.process = exec.Command(os.Args[0], r.args...)
	one.process.Env = append(os.Environ(), asProgram+"=1", fmt.Sprintf("%s=%s", skewed, skew))
	one.process.Stderr = one.log
	if err := one.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(one.ended)
		_ = one.process.Wait() // how it ends is for the test to say
		one.log.close()
	}()
	one.address = one.log.await(r.t, `"msg":"serving","address":"([^"]+)"`)[1]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = append(r.up, one)
	return one
}

// end ends a replica with a signal and waits until its process is gone.
func (r *replicas) end(one *replica, signal syscall.Signal) {
	r.t.Helper()
	r.mu.Lock()
	for i, other := range r.up {
		if other == one {
			r.up = append(r.up[:i:i], r.up[i+1:]...)
			break
		}
	}
	r.mu.Unlock()
	if err := one.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Error(err)
	}
	<-one.ended
	if bytes.Contains([]byte(one.log.String()), []byte("DATA RACE")) || strings.Contains(one.log.String(), "panic:") {
		r.t.Errorf("a replica said:\n%s", one.log)
	}
}

// runs returns the replica that has taken a scan up, once one has, of those that are up.
func (r *replicas) runs(ctx context.Context, scan string) *replica {
	r.t.Helper()
	look := regexp.MustCompile(`"msg":"scan taken up","scan":"` + regexp.QuoteMeta(scan) + `"`)
	for {
		for _, one := range r.all() {
			if look.MatchString(one.log.String()) {
				return one
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			r.t.Fatalf("nobody takes up %s", scan)
		}
	}
}

// replicated is a Sigma organization whose catalog replicas keep in a PostgreSQL
// server of the test's own.
type replicated struct {
	*replicas
	ctx      context.Context
	sigma    *sigmatest.Server
	postgres *pgtest.Server
	database string
	catalog  pb.ModelCatalogClient
	conns    pb.SigmaConnectionsClient
}

const (
	replicaWorkbooks = 120
	replicaElements  = 4
)

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes a minute, and -short asks for less")
	}
	postgres, err := pgtest.Start()
	if errors.Is(err, pgtest.ErrNone) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Close(); err != nil {
			t.Error(err)
		}
	})
	database, err := postgres.CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	org := sigmatest.Organization{ClientSecret: "s3cret", Connections: []sigmatest.Connection{{Name: "Shop", Account: "ACME"}}}
	for i := range replicaWorkbooks {
		w := sigmatest.Workbook{ID: fmt.Sprintf("w%03d", i), Name: fmt.Sprintf("Workbook %03d", i), Pages: make([]sigmatest.Page, 1)}
		for j := range replicaElements {
			w.Pages[0].Elements = append(w.Pages[0].Elements, sigmatest.Element{ID: fmt.Sprint("e", j), Name: fmt.Sprint("Table ", j), Columns: sigmatest.Columns("Id:number", "Name")})
		}
		org.Workbooks = append(org.Workbooks, w)
	}
	sigma, err := sigmatest.NewServer(org)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sigma.Close(); err != nil {
			t.Error(err)
		}
	})
	o := newOperator(t)
	keyset := o.file("keyset.json")
	if _, _, err := run(t.Context(), "", "keys", "new", "--key-file", keyset); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGMASOURCE_DATABASE", database)
	d := &replicated{sigma: sigma, postgres: postgres, database: database}
	d.replicas = startReplicas(t, o.flags("--key-file", keyset, "--listen", "127.0.0.1:0", "--allow-host", sigma.Host())...)
	d.ctx = metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+os.Getenv("SIGMASOURCE_TOKEN"))
	conn := d.dial(d.proxy.Addr().String())
	d.catalog, d.conns = pb.NewModelCatalogClient(conn), pb.NewSigmaConnectionsClient(conn)
	return d
}

func (d *replicated) dial(address string) *grpc.ClientConn {
	d.t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return conn
}

// connect creates the connection, with its first scan.
func (d *replicated) connect() (scan string) {
	d.t.Helper()
	org := d.sigma.Organization()
	parent, id, _ := strings.Cut(replicaConnection, "/connections/")
	created, err := d.conns.CreateConnection(d.ctx, &pb.CreateConnectionRequest{Parent: parent, ConnectionId: id, SkipCheck: true, Connection: &pb.Connection{
		Sigma: &pb.SigmaCredentials{BaseUrl: d.sigma.URL(), ClientId: org.ClientID, ClientSecret: org.ClientSecret},
		Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: &pb.SnowflakeWarehouse{
			Account: "acme", User: "U", Authentication: &pb.SnowflakeWarehouse_Password{Password: "never used"}}}},
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	return created.GetScan()
}

// startScan starts a full scan through whichever replica answers.
func (d *replicated) startScan() string {
	d.t.Helper()
	for {
		started, err := d.catalog.StartScan(d.ctx, &pb.StartScanRequest{Parent: replicaConnection, Full: true}, grpc.WaitForReady(true))
		if err == nil {
			return started.GetScan().GetName()
		}
		d.retry(err)
	}
}

// retry admits what a caller has to try again, and fails the test for all else.
func (d *replicated) retry(err error) {
	d.t.Helper()
	if code := status.Code(err); code != codes.Unavailable && code != codes.Internal && code != codes.Canceled || d.ctx.Err() != nil {
		d.t.Fatal(err)
	}
	select {
	case <-time.After(50 * time.Millisecond):
	case <-d.ctx.Done():
	}
}

// follow watches a scan as a caller does who calls again when cut off, until it is as
// wanted or over.
func (d *replicated) follow(catalog pb.ModelCatalogClient, scan string, wanted func(*pb.Scan) bool) *pb.Scan {
	d.t.Helper()
	for {
		ctx, cancel := context.WithCancel(d.ctx)
		last, err := func() (*pb.Scan, error) {
			defer cancel()
			stream, err := catalog.WatchScan(ctx, &pb.WatchScanRequest{Name: scan}, grpc.WaitForReady(true))
			if err != nil {
				return nil, err
			}
			var last *pb.Scan
			for {
				step, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return last, nil
				}
				if err != nil {
					return nil, err
				}
				if last = step.GetScan(); wanted != nil && wanted(last) {
					return last, nil
				}
			}
		}()
		if err == nil {
			return last
		}
		d.retry(err)
	}
}

// slow makes each of Sigma's answers about a workbook take a while, and that about the
// last workbook wait until it is let go, so that a scan can be met half done.
func (d *replicated) slow() (letGo func()) {
	held := make(chan struct{})
	d.sigma.SetFaults(sigmatest.On("/v2/workbooks/w119/elements", sigmatest.Stall(held)),
		sigmatest.On("/v2/workbooks/*/elements", func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
			}
			return false
		}))
	return sync.OnceFunc(func() { close(held) })
}

// readings counts how often workbooks were read so far.
func (d *replicated) readings() (n int) {
	for call, times := range d.sigma.Calls() {
		if strings.HasSuffix(call, "/elements") {
			n += times
		}
	}
	return n
}

// wantWhole holds the catalog and its changes against the organization.
func (d *replicated) wantWhole() {
	d.t.Helper()
	kinds := map[string]int{}
	seen := map[string]bool{}
	after := int64(0)
	for {
		page, err := d.catalog.ListChanges(d.ctx, &pb.ListChangesRequest{Parent: replicaConnection, AfterSequence: after, PageSize: 1000}, grpc.WaitForReady(true))
		if err != nil {
			d.retry(err)
			continue
		}
		if len(page.GetChanges()) == 0 {
			break
		}
		for _, c := range page.GetChanges() {
			after++
			if c.GetSequence() != after {
				d.t.Fatalf("the change %v comes at %d", c, after)
			}
			kinds[c.GetKind().String()]++
			if key := c.GetKind().String() + c.GetResource(); seen[key] {
				d.t.Errorf("the change %v comes twice", c)
			} else {
				seen[key] = true
			}
		}
	}
	if len(kinds) != 2 || kinds["CHANGE_KIND_WORKBOOK_ADDED"] != replicaWorkbooks || kinds["CHANGE_KIND_MODEL_ADDED"] != replicaWorkbooks*replicaElements {
		d.t.Errorf("the changes are %v", kinds)
	}
}

func wantSucceeded(t *testing.T, scan *pb.Scan) {
	t.Helper()
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED || scan.GetWorkbooksDone() != replicaWorkbooks || scan.GetModelsFound() != replicaWorkbooks*replicaElements {
		t.Fatalf("the scan is %v", scan)
	}
}

// half reports whether a scan is half done.
func half(scan *pb.Scan) bool { return scan.GetWorkbooksDone() >= replicaWorkbooks/2 }

func TestReplicas(t *testing.T) {
	d := newReplicated(t)
	// All at once, on an empty database, with clocks that differ by two minutes.
	var starting sync.WaitGroup
	for _, skew := range []time.Duration{0, time.Minute, -time.Minute} {
		starting.Go(func() { d.start(skew) })
	}
	starting.Wait()

	t.Log("a replica is killed in the middle of a scan")
	letGo := d.slow()
	scan := d.connect()
	d.follow(d.catalog, scan, half)
	victim := d.runs(d.ctx, scan)
	d.end(victim, syscall.SIGKILL)
	letGo()
	last := d.follow(d.catalog, scan, nil)
	wantSucceeded(t, last)
	if n := d.readings(); last.GetInterruptions() != 1 || n < replicaWorkbooks || n > replicaWorkbooks+8 {
		t.Errorf("%d readings of %d workbooks, which %d interruptions explain", n, replicaWorkbooks, last.GetInterruptions())
	}
	if last.GetModelsAdded() != replicaWorkbooks*replicaElements || last.GetWorkbooksUnchanged() != 0 {
		t.Errorf("the scan counts %v", last)
	}
	d.wantWhole()

	t.Log("anybody watches anywhere, and cancels there")
	d.start(time.Minute)
	d.slow()
	scan = d.startScan()
	runner := d.runs(d.ctx, scan)
	var watching sync.WaitGroup
	for _, one := range d.all() {
		catalog := pb.NewModelCatalogClient(d.dial(one.address))
		for range 3 {
			watching.Go(func() {
				if end := d.follow(catalog, scan, nil); end.GetState() != pb.ScanState_SCAN_STATE_CANCELLED {
					t.Errorf("who watches sees %v", end)
				}
			})
		}
		if one != runner {
			d.follow(catalog, scan, half)
		}
	}
	for _, one := range d.all() {
		if one != runner {
			cancelled, err := pb.NewModelCatalogClient(d.dial(one.address)).CancelScan(d.ctx, &pb.CancelScanRequest{Name: scan})
			if err != nil || cancelled.GetScan().GetState() != pb.ScanState_SCAN_STATE_CANCELLED {
				t.Errorf("cancelled elsewhere: %v, %v", cancelled, err)
			}
			break
		}
	}
	watching.Wait()

	t.Log("the database is restarted in the middle of a scan")
	letGo = d.slow()
	scan = d.startScan()
	d.follow(d.catalog, scan, half)
	if err := d.postgres.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.postgres.Run(); err != nil {
		t.Fatal(err)
	}
	letGo()
	wantSucceeded(t, d.follow(d.catalog, scan, nil))
	d.wantWhole()

	t.Log("replicas are replaced one by one, and the database is that of the next version")
	letGo = d.slow()
	scan = d.startScan()
	d.follow(d.catalog, scan, func(scan *pb.Scan) bool { return scan.GetWorkbooksDone() > 10 })
	d.migrate()
	for i, old := range d.all() {
		d.start(time.Duration(i-1) * time.Minute)
		d.end(old, syscall.SIGTERM)
	}
	letGo()
	wantSucceeded(t, d.follow(d.catalog, scan, nil))
	d.wantWhole()

	t.Log("a connection is due, by clocks that differ")
	d.sigma.SetFaults()
	if _, err := d.conns.UpdateConnection(d.ctx, &pb.UpdateConnectionRequest{SkipCheck: true, Connection: &pb.Connection{
		Name: replicaConnection, ScanSchedule: &pb.ScanSchedule{Cron: "@hourly"}}}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	d.wantScheduled()
}

// migrate does to the tables what a next version may do: its replicas run beside those
// of this one for a while. A migration adds, and takes away only what the version
// before it does not use any more.
func (d *replicated) migrate() {
	d.t.Helper()
	db, err := sql.Open("pgx", d.database)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, statement := range []string{
		`ALTER TABLE workbooks ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'`,
		`ALTER TABLE models ADD COLUMN colour TEXT`,
		`ALTER TABLE scans ADD COLUMN colour BIGINT NOT NULL DEFAULT 0`,
		`ALTER TABLE connections ADD COLUMN colour BYTEA`,
		`CREATE INDEX CONCURRENTLY models_by_colour ON models (colour)`,
		`CREATE TABLE colours (name TEXT PRIMARY KEY)`,
		`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`,
	} {
		if _, err := db.ExecContext(d.ctx, statement); err != nil {
			d.t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// wantScheduled makes the connection due within the minute by which the clocks differ,
// and waits for its one scan.
func (d *replicated) wantScheduled() {
	d.t.Helper()
	db, err := sql.Open("pgx", d.database)
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // nothing was written that could be lost
	connection, err := d.conns.GetConnection(d.ctx, &pb.GetConnectionRequest{Name: replicaConnection})
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := db.ExecContext(d.ctx, `UPDATE connections SET next_scan = 1 WHERE name = $1`, replicaConnection); err != nil {
		d.t.Fatal(err)
	}
	var found []*pb.Scan
	for len(found) == 0 {
		scans, err := d.catalog.ListScans(d.ctx, &pb.ListScansRequest{Parent: replicaConnection})
		if err != nil {
			d.t.Fatal(err)
		}
		for _, scan := range scans.GetScans() {
			if scan.GetTrigger() == pb.ScanTrigger_SCAN_TRIGGER_SCHEDULE {
				found = append(found, scan)
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-d.ctx.Done():
			d.t.Fatal("no scan by the schedule")
		}
	}
	wantSucceeded(d.t, d.follow(d.catalog, found[0].GetName(), nil))
	after, err := d.conns.GetConnection(d.ctx, &pb.GetConnectionRequest{Name: replicaConnection})
	if err != nil {
		d.t.Fatal(err)
	}
	if len(found) != 1 || !after.GetConnection().GetNextScanTime().AsTime().After(connection.GetConnection().GetNextScanTime().AsTime()) {
		d.t.Errorf("%d scans by the schedule, and the next at %s", len(found), after.GetConnection().GetNextScanTime().AsTime())
	}
}
