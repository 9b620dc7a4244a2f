package sigmatest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// exporting is an organization with one element to export.
func exporting(t *testing.T) (*sigmatest.Server, *sigmaclient.Client) {
	t.Helper()
	server, err := sigmatest.NewServer(sigmatest.Organization{Workbooks: []sigmatest.Workbook{{ID: "book", Name: "Book", Pages: []sigmatest.Page{{
		Elements: []sigmatest.Element{{
			ID: "people", Name: "People", Columns: sigmatest.Columns("Id:number", "Full Name"),
			Exported: [][]string{{"1", "Ada, the first"}, {"2", "Bo\nBo"}, {"3", `"`}},
		}},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	hosts, err := sigmaclient.NewHosts(server.Host())
	if err != nil {
		t.Fatal(err)
	}
	service := sigmaclient.New(sigmaclient.Options{Hosts: hosts})
	t.Cleanup(service.Close)
	org := server.Organization()
	client, err := service.Client(sigmaclient.Credentials{BaseURL: server.URL(), ClientID: org.ClientID, ClientSecret: sigmaclient.Secret(org.ClientSecret)})
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestAnExportIsAwaitedAndCounted(t *testing.T) {
	server, client := exporting(t)
	server.SetOptions(sigmatest.Options{ExportLooks: 1})
	got, err := client.ExportElement(t.Context(), "book", "people", "", 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 3 || strings.Join(got.Columns, "|") != "Id|Full Name" {
		t.Errorf("the export is %+v", got)
	}
	if got, err = client.ExportElement(t.Context(), "book", "people", "", 2, nil); err != nil || got.Rows != 2 {
		t.Errorf("with a limit of 2 came %+v, %v", got, err)
	}
}

func TestAnExportsAnswerKeepsToTheContract(t *testing.T) {
	c := loadContract(t)
	server, _ := exporting(t)
	org := server.Organization()
	form := "grant_type=client_credentials&client_id=" + org.ClientID + "&client_secret=" + org.ClientSecret
	token := struct {
		AccessToken string `json:"access_token"`
	}{}
	_, body := post(t, server.URL()+"/v2/auth/token", "application/x-www-form-urlencoded", "", form)
	if err := json.Unmarshal(body, &token); err != nil {
		t.Fatal(err)
	}
	response, body := post(t, server.URL()+"/v2/workbooks/book/export", "application/json", token.AccessToken, `{"elementId":"people","format":{"type":"csv"},"rowLimit":10}`)
	if err := c.check(response.Request, response.StatusCode, response.Header, body); err != nil {
		t.Errorf("%s: %v", body, err)
	}
}

func post(t *testing.T, url, contentType, token, body string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d: %s", response.StatusCode, answer)
	}
	http.DefaultClient.CloseIdleConnections()
	return response, answer
}
