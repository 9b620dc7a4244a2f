package snowflaketest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

func Example() {
	s, err := snowflaketest.NewServer(snowflaketest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	err = s.Exec(context.Background(), `
		create database SALES;
		create schema SALES.CORE;
		create table SALES.CORE.ORDERS (ID number(38,0), AMOUNT number(38,10), CREATED timestamp_ltz);
		insert into SALES.CORE.ORDERS values (1, 9.99, '2026-01-01T00:00:00Z')`)
	if err != nil {
		log.Fatal(err)
	}
	// A driver now connects to s.Host() and s.Port() over plain http, as
	// DefaultUser with DefaultPassword, in the account DefaultAccount.
	fmt.Println(len(s.Running()), "queries run")
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: 0 queries run
}
