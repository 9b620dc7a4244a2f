package sigmaclient_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// A service is made once and kept; a client may be made for each use. Here it
// reads an organization in memory instead of Sigma, whose address has to be
// admitted.
func Example() {
	sigma, err := sigmatest.NewServer(sigmatest.Organization{
		ClientID:     "id",
		ClientSecret: "secret",
		Workbooks: []sigmatest.Workbook{{Name: "Churn", Path: "Growth/Lifecycle", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{
			{Name: "Active users", Columns: sigmatest.Columns("Id:number", "Name")},
			{Type: "text"},
		}}}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := sigma.Close(); err != nil {
			log.Print(err)
		}
	}()
	hosts, err := sigmaclient.NewHosts(sigma.Host())
	if err != nil {
		log.Fatal(err)
	}

	service := sigmaclient.New(sigmaclient.Options{Hosts: hosts})
	defer service.Close()
	client, err := service.Client(sigmaclient.Credentials{BaseURL: sigma.URL(), ClientID: "id", ClientSecret: "secret"})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	workbooks, err := client.Workbooks(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, workbook := range workbooks {
		fmt.Println(workbook.Path, "/", workbook.Name)
		queries, err := client.Queries(ctx, workbook.WorkbookID)
		if err != nil {
			log.Fatal(err)
		}
		for _, query := range queries {
			fmt.Println("-", query.Name, "has SQL:", query.SQL != "")
		}
	}
	// Output:
	// Growth/Lifecycle / Churn
	// - Active users has SQL: true
}
