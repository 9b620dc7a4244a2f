package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// TestManyCallersAtOnce lets fifty callers preview, scan, leave and change
// settings at once. Everybody gets what is theirs, and nothing stays behind.
func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	w := shop(t, inParts)
	w.restart(func(c *server.Config) { c.DescribeAfter = time.Millisecond }) // some queries take longer
	models := make([]string, 4)                                              // each with rows of its own
	for i := range models {
		models[i] = w.model(snowflakeName, fmt.Sprintf(`select ORDER_ID + %d "Order Id", STATUS "Status" from (select * from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 order by ORDER_ID limit 1000`, i*100_000))
	}
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range 10 {
			o.Workbooks = append(o.Workbooks, book(fmt.Sprint("Book", i), table("A"), table("B")))
		}
	})
	var callers errgroup.Group
	for i := range 50 {
		callers.Go(func() error {
			connection := []string{snowflakeName, duckdbName}[i/5%2]
			model := strings.Replace(models[i%len(models)], snowflakeName, connection, 1)
			switch i % 5 {
			case 0, 1, 2:
				return w.readsItsOwn(model, i%len(models)*100_000, formats[i%2])
			case 3:
				if scan := w.scan(connection); scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
					return fmt.Errorf("the scan ended with %v", scan)
				}
				return nil
			}
			if err := w.leaves(model); err != nil {
				return err
			}
			_, err := w.connections.UpdateConnection(w.ctx, &pb.UpdateConnectionRequest{
				Connection: &pb.Connection{Name: connection, DisplayName: fmt.Sprint("Changed by ", i)}, SkipCheck: true,
			})
			if status.Code(err) == codes.Aborted { // somebody else did
				return nil
			}
			return err
		})
	}
	w.must(callers.Wait())
	for _, connection := range []string{snowflakeName, duckdbName} {
		if n := len(w.models(connection)); n != 24 {
			t.Errorf("%s has %d models", connection, n)
		}
	}
	if n := w.sigma.MostAtOnce(); n > 4 {
		t.Errorf("%d calls to Sigma were under way at once", n)
	}
	w.must(w.snowflake.WaitIdle(t.Context()))
	w.stop()
	if n := w.snowflake.Sessions(); n != 0 {
		t.Errorf("%d sessions are still logged in", n)
	}
}

// readsItsOwn makes sure that a preview brings the model's rows, all of them
// and in their order.
func (w *world) readsItsOwn(model string, first int, format pb.DataFormat) error {
	r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 1500, Format: format})
	if err != nil {
		return fmt.Errorf("%s: %w", model, err)
	}
	rows := r.table(w.t)
	if len(rows) != 1500 {
		return fmt.Errorf("%s: %d rows", model, len(rows))
	}
	for i, row := range rows {
		if row[0] != fmt.Sprint(first+i) {
			return fmt.Errorf("%s: row %d is %q", model, i, row)
		}
	}
	return nil
}

// leaves begins a preview and cancels it once its columns are there.
func (w *world) leaves(model string) error {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := w.query.PreviewModel(ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 20_000})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("%s: before its columns: %w", model, err)
		}
		if message.GetSchema() != nil {
			return nil
		}
	}
}

// A read goes on with the settings it began with, whatever becomes of the
// connection.
func TestAReadOutlivesItsSettings(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world) error{
		"update": func(w *world) error {
			warehouse := w.snowflakeConnection().GetWarehouse()
			warehouse.GetSnowflake().Database = "SHOP"
			_, err := w.update(&pb.Connection{Warehouse: warehouse}, "warehouse")
			return err
		},
		"delete": func(w *world) error {
			_, err := w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := shop(t, inParts)
			reached, release := held(w)
			model, ended := w.model(snowflakeName, plainOrders), make(chan error, 1)
			go func() {
				r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, RowLimit: 2500})
				if err == nil && r.stats.GetRowCount() != 2500 {
					err = fmt.Errorf("%d rows", r.stats.GetRowCount())
				}
				ended <- err
			}()
			<-reached
			w.must(change(w))
			release()
			w.must(<-ended)
		})
	}
}
