package sigmaclient_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

// FuzzPage reads any bytes as a page. A bare array is the same as a page of its
// entries that is the last, and each of its entries is returned, a duplicate, or
// rejected.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"entries":[{"workbookId":"a","latestVersion":2}],"nextPage":"50","total":104,"hasMore":true}`,
		`{"entries":[],"nextPage":null}`, `{"entries":[{}],"nextPageToken":"abc"}`, `{"entries":[null],"nextPage":50}`,
		` [{"workbookId":"a"}]`, `[]`, `[1]`, `{"entries":null}`, `{"entries":[{"tags":[{"name":"x"}]}]}`, `null`, ``, `{"nextPage":[]}`, `{"entries":[],"total":"many"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, next, report, err := sigmaclient.DecodePage(body)
		if !bytes.HasPrefix(body, []byte("[")) {
			return
		}
		if (err == nil) != json.Valid(body) {
			t.Fatalf("an array: %v", err)
		}
		if err != nil {
			return
		}
		ids := map[string]bool{}
		for _, entry := range entries {
			ids[entry.WorkbookID] = true
		}
		if ids[""] || len(ids) != len(entries) || len(entries)+report.Rejected > report.Received || report.Received > 0 && len(entries)+report.Rejected == 0 {
			t.Errorf("%d entries, %+v", len(entries), report)
		}
		if next != "" {
			t.Errorf("a bare array goes on at %q", next)
		}
		same, _, _, err := sigmaclient.DecodePage([]byte(`{"entries":` + string(body) + `}`))
		if diff := cmp.Diff(entries, same); err != nil || diff != "" {
			t.Errorf("in a page: %v\n%s", err, diff)
		}
	})
}
