package main

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// readCommand reads a model in every format, and compares the rows with a preview of
// as many as there are.
func readCommand(t *testing.T, model string) {
	must := func(args ...string) string {
		t.Helper()
		out, _, err := run(t.Context(), "", args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	lines := must("read", model)
	if want := must("preview", model, "--rows", "100000", "-o", "json"); lines != want {
		t.Errorf("the read has %d lines, the preview %d, or they differ", strings.Count(lines, "\n"), strings.Count(want, "\n"))
	}
	rows := strings.Count(lines, "\n")
	table, err := csv.NewReader(strings.NewReader(must("read", model, "-o", "csv"))).ReadAll()
	if err != nil || len(table) != rows+1 {
		t.Errorf("%d lines of CSV for %d rows: %v", len(table), rows, err)
	}
	reader, err := ipc.NewReader(strings.NewReader(must("read", model, "-o", "arrow")))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	var inArrow int64
	for reader.Next() {
		inArrow += reader.RecordBatch().NumRows()
	}
	if reader.Err() != nil || inArrow != int64(rows) || reader.Schema().NumFields() != len(table[0]) {
		t.Errorf("%d rows of %d in Arrow: %v", inArrow, rows, reader.Err())
	}
	narrow := must("read", model, "-o", "csv", "--column", table[0][1])
	if first, _, _ := strings.Cut(narrow, "\n"); first != table[0][1] {
		t.Errorf("the one column is %q", first)
	}
	for _, name := range table[0] {
		records, err := csv.NewReader(strings.NewReader(must("read", model, "-o", "csv", "--column", name))).ReadAll()
		if err != nil || len(records) != rows+1 {
			t.Errorf("the column %q has %d records for %d rows: %v", name, len(records), rows, err)
		}
	}
	if _, _, err := run(t.Context(), "", "read", model, "-o", "table"); err == nil || !strings.Contains(err.Error(), "json, csv or arrow") {
		t.Errorf("got %v", err)
	}
}
