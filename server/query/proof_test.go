package query

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
)

// What is lost or added between the warehouse and the wire is never proven.
func TestTallyProvesOnlyWhatIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batches := rapid.SliceOfN(rapid.IntRange(1, 5), 0, 6).Draw(t, "batches")
		declares := rapid.Bool().Draw(t, "declares")
		declaredMore := rapid.SampledFrom([]int64{0, 0, 0, -1, 1}).Draw(t, "declared more")
		sentMore := rapid.SliceOfN(rapid.SampledFrom([]int64{0, 0, 0, 0, -1, 1}), len(batches), len(batches)).Draw(t, "sent more")
		count := &tally{queryID: "q"}
		var err error
		var rows int64
		whole := true
		for i, n := range batches {
			for range n {
				count.message(1)
			}
			count.message(sentMore[i])
			rows += int64(n)
			if whole = sentMore[i] == 0; !whole {
				err = count.batch(int64(n))
				break
			}
			if err = count.batch(int64(n)); err != nil {
				t.Fatal(err)
			}
		}
		proof := pb.CompletenessProof_COMPLETENESS_PROOF_UNSPECIFIED
		if err == nil {
			proof, err = count.finish(rows+declaredMore, declares)
		}
		var failure *errmap.Error
		switch {
		case !whole || declares && declaredMore != 0:
			if !errors.As(err, &failure) || failure.Reason != pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE || failure.Metadata["query_id"] != "q" {
				t.Errorf("got %v, %v", proof, err)
			}
		case err != nil:
			t.Error(err)
		case declares != (proof == pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT):
			t.Errorf("the proof is %s", proof)
		case !declares && proof != pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR:
			t.Errorf("the proof is %s", proof)
		}
	})
}
