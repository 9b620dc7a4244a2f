package duckdb_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
)

func Example() {
	ctx := context.Background()
	w := duckdb.Open(duckdb.Config{})
	result, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT range AS n FROM range(3)"})
	if err != nil {
		log.Fatal(err)
	}
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(batch.Column(0))
		batch.Release()
	}
	if err := result.Close(); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: [0 1 2]
}
