package query

import (
	"fmt"
	"strconv"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
)

// tally counts a stream's rows twice, as the warehouse's batches bring them and
// as messages take them away, and holds both to what the warehouse declared. The
// adapters count as well; the tally guards the way from there to the wire.
type tally struct {
	queryID string
	came    int64 // rows of the batches
	sent    int64 // rows of the messages
}

// message counts the rows of a message that was sent.
func (t *tally) message(rows int64) { t.sent += rows }

// batch counts the rows of a batch whose messages are all sent, and fails
// where they are not its rows.
func (t *tally) batch(rows int64) error {
	t.came += rows
	if t.sent != t.came {
		return t.incomplete(t.came, fmt.Sprintf("%d rows were sent and the warehouse gave %d", t.sent, t.came))
	}
	return nil
}

// finish returns what proves that the rows are all there. Call it once the
// warehouse's cursor has come to its end; ok tells whether it declared a number.
func (t *tally) finish(declared int64, ok bool) (pb.CompletenessProof, error) {
	if !ok {
		return pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR, nil
	}
	if t.sent != declared {
		return 0, t.incomplete(declared, fmt.Sprintf("%d rows were sent and the warehouse declared %d", t.sent, declared))
	}
	return pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT, nil
}

func (t *tally) incomplete(expected int64, difference string) error {
	return &errmap.Error{
		Reason:  pb.ErrorReason_ERROR_REASON_RESULT_INCOMPLETE,
		Message: difference + ": what was received is not the result",
		Metadata: map[string]string{
			"query_id":       t.queryID,
			"declared_rows":  strconv.FormatInt(expected, 10),
			"delivered_rows": strconv.FormatInt(t.sent, 10),
		},
	}
}
