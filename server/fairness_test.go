package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/server/quota"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// gate holds queries of previews back until it is opened.
type gate struct {
	waiting chan string // the tag of each query that waits
	open    chan struct{}
}

func (w *world) gate() *gate {
	g := &gate{waiting: make(chan string, 100), open: make(chan struct{})}
	w.snowflake.SetFaults(snowflaketest.Faults{BeforeRun: func(ctx context.Context, q snowflaketest.Query) *snowflaketest.Error {
		if q.Tag == "" {
			return nil
		}
		g.waiting <- q.Tag
		select {
		case <-g.open:
		case <-ctx.Done():
		}
		return nil
	}})
	return g
}

// wantQuota makes sure that an error names the quota, whose it is, and when to
// come back.
func (w *world) wantQuota(err error, subject, kind string, limit int) {
	w.t.Helper()
	facts := wantError(w.t, err, codes.ResourceExhausted, pb.ErrorReason_ERROR_REASON_QUOTA_EXCEEDED)
	if facts["quota"] != kind || facts["limit"] != fmt.Sprint(limit) {
		w.t.Errorf("the facts are %v", facts)
	}
	violations := detail[*errdetails.QuotaFailure](err).GetViolations()
	if len(violations) != 1 || violations[0].GetSubject() != subject || violations[0].GetDescription() == "" {
		w.t.Errorf("the violations are %v", violations)
	}
	if detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration() <= 0 {
		w.t.Error("nothing tells when to come back")
	}
}

func TestNobodyTakesMoreStreamsThanTheirShare(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	second := workspace + "/connections/second"
	w.create(second, w.snowflakeConnection())
	globex := "workspaces/globex/connections/prod"
	_, err := w.connections.CreateConnection(w.others, &pb.CreateConnectionRequest{Parent: "workspaces/globex", ConnectionId: "prod", Connection: w.snowflakeConnection(), SkipScan: true})
	w.must(err)
	model := w.model(snowflakeName, `select ORDER_ID "Order Id" from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 1000`)
	of := func(connection string) string { return strings.Replace(model, snowflakeName, connection, 1) }
	w.restart(func(c *server.Config) { c.Limits = &quota.Limits{WorkspaceStreams: 3, ConnectionStreams: 2} })

	g := w.gate()
	var running sync.WaitGroup
	limit := int32(5)
	preview := func(ctx context.Context, connection string) {
		limit++ // identical previews would share one query
		rows := limit
		running.Go(func() {
			if _, err := w.preview(ctx, &pb.PreviewModelRequest{Name: of(connection), RowLimit: rows}); err != nil {
				t.Error(err)
			}
		})
		<-g.waiting
	}
	refused := func(ctx context.Context, connection string) error {
		_, err := w.preview(ctx, &pb.PreviewModelRequest{Name: of(connection), RowLimit: 5})
		return err
	}
	preview(w.ctx, snowflakeName)
	preview(w.ctx, snowflakeName)
	w.wantQuota(refused(w.ctx, snowflakeName), snowflakeName, "streams", 2)
	preview(w.ctx, second) // the workspace's third
	w.wantQuota(refused(w.ctx, second), workspace, "streams", 3)
	preview(w.others, globex) // another workspace is not touched by it
	// Whoever is refused takes nothing: not even of their own share.
	wantError(t, refused(w.others, second), codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WORKSPACE_FORBIDDEN)
	close(g.open)
	running.Wait()
	for range 3 { // all places are free again, also those of the refused
		w.must(refused(w.ctx, second))
	}
}

func TestNobodyTakesMoreRequestsThanTheirShare(t *testing.T) {
	t.Parallel()
	w := shop(t, snowflaketest.Config{})
	model := w.model(snowflakeName, `select ORDER_ID "Order Id" from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 1000`)
	w.restart(func(c *server.Config) { c.Limits = &quota.Limits{WorkspaceRequests: 2, ConnectionRequests: 1} })
	g := w.gate()
	done := make(chan error, 1)
	go func() { // counting a key runs a query
		_, err := w.query.CheckModel(w.ctx, &pb.CheckModelRequest{Name: model, KeyColumns: []string{"Order Id"}})
		done <- err
	}()
	<-g.waiting
	_, err := w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.wantQuota(err, snowflakeName, "requests", 1)
	_, err = w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: duckdbName})
	w.must(err)
	_, err = w.connections.ListConnections(w.ctx, &pb.ListConnectionsRequest{Parent: workspace}) // of no connection
	w.must(err)
	close(g.open)
	w.must(<-done)
	_, err = w.connections.GetConnection(w.ctx, &pb.GetConnectionRequest{Name: snowflakeName})
	w.must(err)
}

func TestNobodyTakesMoreScansThanTheirShare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{Workbooks: []sigmatest.Workbook{book("One", table("A"))}}, snowflaketest.Config{})
	w.fill("", "")
	names := []string{snowflakeName, workspace + "/connections/second", workspace + "/connections/third"}
	for _, name := range names {
		w.create(name, w.snowflakeConnection())
	}
	w.restart(func(c *server.Config) { c.Limits = &quota.Limits{WorkspaceScans: 2} })
	held, release := make(chan struct{}, 100), make(chan struct{})
	w.sigma.SetFaults(sigmatest.On("/v2/workbooks", func(_ http.ResponseWriter, r *http.Request) bool {
		held <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}))
	var scans []*pb.Scan
	for _, name := range names[:2] {
		started, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: name})
		w.must(err)
		scans = append(scans, started.GetScan())
		<-held
	}
	_, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: names[2]})
	w.wantQuota(err, workspace, "scans", 2)
	joined, err := w.catalog.StartScan(w.ctx, &pb.StartScanRequest{Parent: names[0]}) // it runs already
	w.must(err)
	if joined.GetScan().GetName() != scans[0].GetName() {
		t.Errorf("joined %s instead of %s", joined.GetScan().GetName(), scans[0].GetName())
	}
	close(release)
	for _, scan := range scans {
		w.watch(scan.GetName())
	}
	w.scan(names[2])
}
