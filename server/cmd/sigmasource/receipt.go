package main

import (
	"errors"
	"fmt"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// receipt holds the messages of a preview to what the contract promises. It
// knows at the end whether they were all: a stream that ends well proves
// nothing, as something on the way may have ended it.
type receipt struct {
	columns    []*pb.SchemaColumn // nil before the schema
	rows       int64
	statistics *pb.Statistics
}

// take notes a message.
func (r *receipt) take(response *pb.PreviewModelResponse) error {
	if r.statistics != nil {
		return errors.New("a message came after the last one: the stream is damaged")
	}
	switch m := response.GetMessage().(type) {
	case *pb.PreviewModelResponse_Schema:
		if r.columns != nil {
			return errors.New("the columns came twice: the stream is damaged")
		}
		r.columns = append([]*pb.SchemaColumn{}, m.Schema.GetColumns()...)
	case *pb.PreviewModelResponse_Rows:
		return r.batch(m.Rows)
	case *pb.PreviewModelResponse_Arrow:
		return errors.New("rows came in a format that was not asked for")
	case *pb.PreviewModelResponse_Statistics:
		r.statistics = m.Statistics
	}
	return nil
}

// batch checks rows and counts them.
func (r *receipt) batch(batch *pb.RowBatch) error {
	if r.columns == nil {
		return errors.New("rows came before the columns: the stream is damaged")
	}
	if got := int64(len(batch.GetRows())); got != batch.GetRowCount() {
		return fmt.Errorf("a message holds %d rows and says %d: the stream is damaged", got, batch.GetRowCount())
	}
	for _, row := range batch.GetRows() {
		if err := checkRow(row.GetValues(), len(r.columns)); err != nil {
			return err
		}
	}
	r.rows += batch.GetRowCount()
	return nil
}

// checkRow refuses a row that would be shown under the wrong columns, or with a
// null where there is none.
func checkRow(values []*pb.Value, columns int) error {
	if len(values) != columns {
		return fmt.Errorf("a row has %d values for %d columns: the stream is damaged", len(values), columns)
	}
	for _, value := range values {
		if value.GetKind() == nil {
			return errors.New("a value is of a kind that this program does not know: the server is newer, or the stream is damaged")
		}
	}
	return nil
}

// whole returns the statistics if they prove that all rows came.
func (r *receipt) whole() (*pb.Statistics, error) {
	s := r.statistics
	switch {
	case s == nil:
		return nil, fmt.Errorf("the stream ended after %d rows without its last message: the rows are not complete", r.rows)
	case r.columns == nil:
		return nil, errors.New("the columns are missing: the stream is damaged")
	case s.GetRowCount() != r.rows:
		return nil, fmt.Errorf("%d rows arrived of %d: the rows are not complete", r.rows, s.GetRowCount())
	case s.DeclaredRowCount != nil && s.GetDeclaredRowCount() != r.rows:
		return nil, fmt.Errorf("%d rows arrived and the warehouse declared %d: the rows are not complete", r.rows, s.GetDeclaredRowCount())
	}
	switch s.GetProof() {
	case pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT:
		if s.DeclaredRowCount == nil {
			return nil, errors.New("the declared number of rows is missing: the rows are not proven to be complete")
		}
	case pb.CompletenessProof_COMPLETENESS_PROOF_END_OF_CURSOR:
	default:
		return nil, fmt.Errorf("the server proves the rows in a way that this program does not know (%s)", s.GetProof())
	}
	return s, nil
}

// proofText says what the proof is, to people.
func proofText(s *pb.Statistics) string {
	if s.GetProof() == pb.CompletenessProof_COMPLETENESS_PROOF_DECLARED_COUNT {
		return "all that the warehouse declared"
	}
	return "up to the end of the warehouse's cursor"
}
