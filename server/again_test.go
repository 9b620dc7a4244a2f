package server_test

import (
	"context"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// TestAMissingTableIsAskedForOnce: Sigma replaces the table of a materialization after it wrote the SQL. The service asks
// Sigma once more, and fails where the SQL is the same, or its table is missing as well.
func TestAMissingTableIsAskedForOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(`create table SHOP.SALES.T_MAT_NEW (ID number(38,0)); insert into SHOP.SALES.T_MAT_NEW select * from range(3)`, ``)
	w.create(snowflakeName, w.snowflakeConnection())
	sqlOf := func(table string) string { return `select ID "Id" from SHOP.SALES.` + table + ` limit 1000` }
	for name, test := range map[string]struct {
		tables []string // of Sigma's answers, one after the other
		asked  int64    // how often the warehouse is, at most
		fails  bool
	}{
		"replaced":      {[]string{"T_MAT_OLD", "T_MAT_NEW"}, 2, false},
		"missing":       {[]string{"T_MAT_OLD", "T_MAT_OLD"}, 1, true},
		"missing again": {[]string{"T_MAT_OLD", "T_MAT_OLDER", "T_MAT_NEW"}, 2, true},
		"there at once": {[]string{"T_MAT_NEW", "T_MAT_OLD"}, 1, false},
	} {
		for kind, read := range map[string]func(model string) (int64, error){
			"preview": func(model string) (int64, error) {
				got, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model})
				return got.count, err
			},
			"session": func(model string) (int64, error) {
				created, err := w.query.CreateReadSession(w.ctx, &pb.CreateReadSessionRequest{Name: model})
				return created.GetSession().GetRowCount(), err
			},
		} {
			var asked atomic.Int64
			model := w.model(snowflakeName, sqlOf(test.tables[0]))
			w.snowflake.SetFaults(snowflaketest.Faults{BeforeCompile: func(_ context.Context, q snowflaketest.Query) *snowflaketest.Error {
				if q.Tag == "" {
					return nil
				}
				next := test.tables[min(int(asked.Add(1)), len(test.tables)-1)]
				w.sigma.Change(func(o *sigmatest.Organization) {
					elements := o.Workbook(scratch).Pages[0].Elements
					elements[len(elements)-1].SQL = sqlOf(next)
				})
				return nil
			}})
			rows, err := read(model)
			if test.fails {
				wantError(t, err, codes.PermissionDenied, pb.ErrorReason_ERROR_REASON_WAREHOUSE_PERMISSION)
			} else if err != nil || rows != 3 {
				t.Errorf("%s, %s: %d rows, %v", name, kind, rows, err)
			}
			if asked.Load() != test.asked {
				t.Errorf("%s, %s: the warehouse was asked %d times, want %d", name, kind, asked.Load(), test.asked)
			}
		}
	}
}
