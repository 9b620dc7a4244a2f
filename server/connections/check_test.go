package connections

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func TestACheckHasItsOwnTime(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		err := within(t.Context(), queryTime, hang)
		if !errors.Is(err, errSlow) || time.Since(begun) != queryTime {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		check := failed(pb.CheckKind_CHECK_KIND_WAREHOUSE_QUERY, err, pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE)
		if check.GetReason() != pb.ErrorReason_ERROR_REASON_WAREHOUSE_UNAVAILABLE || check.GetOutcome() != pb.CheckOutcome_CHECK_OUTCOME_FAIL || check.GetMessage() == "" {
			t.Errorf("the check is %v", check)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := within(ctx, queryTime, hang); errors.Is(err, errSlow) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with the caller's deadline before: %v", err)
		}
		if err := within(t.Context(), queryTime, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
		own := errors.New("own")
		if err := within(t.Context(), queryTime, func(context.Context) error { return own }); !errors.Is(err, own) {
			t.Error(err)
		}
	})
}
