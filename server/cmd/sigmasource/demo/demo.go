// Package demo describes a made-up coffee company: its Sigma organization and
// the Snowflake account that its workbooks read from.
//
// It only describes: sigmatest and snowflaketest serve it. The binary's demo
// command and end-to-end tests use it.
package demo

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// Names in the Snowflake account.
const (
	Account   = "ACME-COFFEE"
	User      = "SIGMASOURCE"
	Password  = "demo-password"
	Role      = "SIGMA_READER"
	Warehouse = "READING"
)

//go:embed tables.sql
var tables string

// NewSnowflake serves the company's Snowflake account. The role may read
// everything but what is private to the support team.
func NewSnowflake(ctx context.Context) (*snowflaketest.Server, error) {
	server, err := snowflaketest.NewServer(snowflaketest.Config{
		Account:    Account,
		Users:      []snowflaketest.User{{Name: User, Password: Password, Roles: []string{Role}, Warehouse: Warehouse}},
		Roles:      []snowflaketest.Role{{Name: Role, Select: []string{"ACME.SALES.*", "ACME.PRODUCT.*", "ACME.SUPPORT.TICKETS"}}},
		Warehouses: []string{Warehouse},
	})
	if err != nil {
		return nil, err
	}
	if _, err := server.DB().ExecContext(ctx, "attach ':memory:' as ACME;\n"+tables); err != nil {
		return nil, fmt.Errorf("load the demonstration's tables: %w", err)
	}
	return server, nil
}

// NewSigma serves the company's Sigma organization.
func NewSigma() (*sigmatest.Server, error) { return sigmatest.NewServer(Organization()) }

// Featured returns the workbook and element ids of the model that a newcomer
// should see first: 20,000 orders behind Sigma's preview limits.
func Featured(org sigmatest.Organization) (workbookID, elementID string) {
	for _, workbook := range org.Workbooks {
		if workbook.Name == "Orders" {
			return workbook.ID, workbook.Pages[0].Elements[0].ID
		}
	}
	return "", ""
}
