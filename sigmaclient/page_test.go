package sigmaclient_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

// FuzzPage reads any bytes as a page. A bare array is the same as a page of its
// entries that is the last.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"entries":[{"workbookId":"a","latestVersion":2}],"nextPage":"50","total":104,"hasMore":true}`,
		`{"entries":[],"nextPage":null}`, `{"entries":[{}],"nextPageToken":"abc"}`, `{"entries":[null],"nextPage":50}`,
		` [{"workbookId":"a"}]`, `[]`, `[1]`, `{"entries":null}`, `{"entries":[{"tags":[{"name":"x"}]}]}`, `null`, ``, `{"nextPage":[]}`, `{"entries":[],"total":"many"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, next, _, err := sigmaclient.DecodePage(body)
		if err != nil || !bytes.HasPrefix(body, []byte("[")) {
			return
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
