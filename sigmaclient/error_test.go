package sigmaclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// reply answers with any bytes.
func reply(status int, header http.Header, body string) sigmatest.Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err == nil
	}
}

func TestErrorBodies(t *testing.T) {
	id := http.Header{"X-Request-Id": {"from-header"}}
	for name, row := range map[string]struct {
		fault                    sigmatest.Fault
		kind                     sigmaclient.Kind
		code, requestID, message string
	}{
		"plain":    {reply(404, nil, `{"requestId":"r-1","code":"not_found","message":"It is  not\nhere"}`), sigmaclient.KindNotFound, "not_found", "r-1", "It is not here"},
		"nested":   {reply(400, id, `{"error":{"requestId":"r-2","code":"unable_to_produce_query","message":"Cycle"}}`), sigmaclient.KindBroken, "unable_to_produce_query", "r-2", "Cycle"},
		"header":   {reply(403, id, `{"message":"No"}`), sigmaclient.KindForbidden, "", "from-header", "No"},
		"empty":    {reply(404, id, ""), sigmaclient.KindNotFound, "", "from-header", ""},
		"HTML":     {reply(403, nil, "<html>mail admin@example.com</html>"), sigmaclient.KindForbidden, "", "", ""},
		"array":    {reply(400, nil, `["x"]`), sigmaclient.KindInvalidRequest, "", "", ""},
		"types":    {reply(400, nil, `{"code":7,"requestId":"r-3","message":{"x":1}}`), sigmaclient.KindInvalidRequest, "7", "r-3", ""},
		"text":     {reply(400, nil, `{"requestId":"r-4","error":"Cycle"}`), sigmaclient.KindInvalidRequest, "", "r-4", "Cycle"},
		"address":  {reply(403, nil, `{"message":"User (Ann.Lee@example.com) may not; ask bob%40example.com"}`), sigmaclient.KindForbidden, "", "", "User [address] may not; ask [address]"},
		"SQL":      {reply(400, nil, `{"message":"failed: Select a from b"}`), sigmaclient.KindInvalidRequest, "", "", ""},
		"more SQL": {reply(400, nil, `{"message":"failed: (SELECT*from b)"}`), sigmaclient.KindInvalidRequest, "", "", ""},
		"words":    {reply(400, nil, `{"message":"No item is selected"}`), sigmaclient.KindInvalidRequest, "", "", "No item is selected"},
		"markup":   {reply(400, nil, `{"message":"<b>Bad</b>"}`), sigmaclient.KindInvalidRequest, "", "", ""},
		"refused by the warehouse": {reply(400, nil, `{"code":"warehouse_query_failed_user_error","message":"no column X"}`),
			sigmaclient.KindWarehouseRefused, "warehouse_query_failed_user_error", "", ""},
		"odd code":      {reply(400, nil, `{"code":"ann@example.com","requestId":"a b"}`), sigmaclient.KindInvalidRequest, "", "", ""},
		"code over 409": {reply(409, nil, `{"code":"inode_archived"}`), sigmaclient.KindArchived, "inode_archived", "", ""},
		"code over 404": {reply(404, nil, `{"code":"inode_archived"}`), sigmaclient.KindArchived, "inode_archived", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigma(t, small())
			s.SetFaults(sigmatest.On(whoami, row.fault))
			failed := failure(t, whoAmI(t.Context(), s.client(t)), row.kind)
			if failed.Code != row.code || failed.RequestID != row.requestID || failed.Message != row.message {
				t.Errorf("got %+v", failed)
			}
			if strings.Contains(failed.Error(), "@") {
				t.Errorf("an address is shown: %v", failed)
			}
		})
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for kind := sigmaclient.KindInternal; kind <= sigmaclient.KindProtocol; kind++ {
		if name := kind.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("kind %d is named %q", kind, name)
		}
		seen[kind.String()] = true
	}
}

// TestSecretsAndPeopleAreShownNowhere runs calls that go well and badly, and
// looks for the planted texts in all that is logged and returned.
func TestSecretsAndPeopleAreShownNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		org := small()
		org.ClientSecret, org.OwnerEmail = "canary-secret", "canary@example.com"
		org.Workbooks[0].Pages[0].Elements[0].SQL = "select CANARY_SQL"
		var shown bytes.Buffer
		s := newSigma(t, org, func(o *sigmaclient.Options) {
			o.Logger = slog.New(slog.NewJSONHandler(&shown, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		client := s.client(t)
		log := slog.New(slog.NewTextHandler(&shown, nil))
		show := func(value any) {
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				fmt.Fprintf(&shown, format+"\n", value)
			}
			log.Info("shown", "value", value)
			if err := json.NewEncoder(&shown).Encode(value); err != nil {
				t.Error(err)
			}
		}
		show(s.credentials())
		show(s.credentials().ClientSecret)
		show(new(s.credentials()))
		show(client)
		show(*client)
		show(s.service)
		show(struct{ Client *sigmaclient.Client }{client})
		id := s.Organization().Workbooks[0].ID
		must(client.Queries(t.Context(), id))(t)
		for _, fault := range []sigmatest.Fault{
			sigmatest.Fail(403, "forbidden", "canary@example.com may not run select CANARY_SQL"),
			sigmatest.Fail(400, "warehouse_query_failed_user_error", "in CANARY_SQL for canary@example.com"),
			reply(502, nil, "<html>canary@example.com"), sigmatest.Drop(), sigmatest.CutBody(), sigmatest.Answer(`{"entries":"canary@example.com"}`),
			reply(302, http.Header{"Location": {"https://canary-secret@evil.example"}}, ""),
			reply(302, http.Header{"Location": {"https://canary-secret@%zz"}}, ""),
		} {
			s.SetFaults(sigmatest.On("/v2/workbooks/**", fault))
			_, err := client.Queries(t.Context(), id)
			if err == nil {
				t.Fatal("no error")
			}
			fmt.Fprintf(&shown, "%v\n%+v\n%#v\n", err, err, err)
			for cause := err; cause != nil; {
				fmt.Fprintln(&shown, cause)
				wrapper, ok := cause.(interface{ Unwrap() error })
				if !ok {
					break
				}
				cause = wrapper.Unwrap()
			}
		}
		for line := range strings.Lines(shown.String()) {
			if lower := strings.ToLower(line); strings.Contains(lower, "canary") || strings.Contains(lower, fmt.Sprintf("%x", "canary")) {
				t.Errorf("shown: %s", line)
			}
		}
		for _, want := range []string{`"attempt":2`, `"path":"/v2/workbooks/` + id + `/queries"`, `"status":502`, `"method":"GET"`, `"took":`} {
			if !strings.Contains(shown.String(), want) {
				t.Errorf("the log lacks %s", want)
			}
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{`{"requestId":"r","code":"c","message":"m"}`, `{"error":{"code":"c"}}`, "<html>", "", `{"message":"a@b.c"}`, `{"error":{"error":{}}}`, "[1]", `{"message":"` + strings.Repeat("é", 300) + `"}`} {
		f.Add(404, seed, "7")
	}
	f.Fuzz(func(t *testing.T, status int, body, retryAfter string) {
		failed := sigmaclient.NewError("GET /", &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}}, []byte(body), time.Unix(0, 0))
		for _, text := range []string{failed.Code, failed.RequestID, failed.Message} {
			if !utf8.ValidString(text) || len(text) > 200 || strings.ContainsAny(text, "@\n\r\x00") {
				t.Errorf("%q is kept", text)
			}
		}
		if failed.RetryAfter < 0 || failed.RetryAfter > 24*time.Hour {
			t.Errorf("retry after %v", failed.RetryAfter)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"7", " 0.5 ", "-1", "NaN", "Inf", "1e300", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "soon"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wait, ok := sigmaclient.ParseRetryAfter(text, time.Unix(784_000_000, 0))
		if wait < 0 || wait > 24*time.Hour || !ok && wait != 0 {
			t.Errorf("%q: %v, %v", text, wait, ok)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(1994, 11, 6, 8, 49, 30, 0, time.UTC)
	for text, want := range map[string]time.Duration{ // -1: not understood
		"7": 7 * time.Second, " 0 ": 0, "0.5": 500 * time.Millisecond, "99999999": 24 * time.Hour, "Inf": 24 * time.Hour,
		"Sun, 06 Nov 1994 08:49:37 GMT": 7 * time.Second, "Sunday, 06-Nov-94 08:49:37 GMT": 7 * time.Second, "Sun Nov  6 08:49:37 1994": 7 * time.Second,
		"Sun, 06 Nov 1994 08:49:00 GMT": 0, "Mon, 06 Nov 2034 08:49:00 GMT": 24 * time.Hour,
		"": -1, "-1": -1, "NaN": -1, "soon": -1, "7 seconds": -1,
	} {
		wait, ok := sigmaclient.ParseRetryAfter(text, now)
		if ok != (want >= 0) || ok && wait != want {
			t.Errorf("%q: %v, %v; want %v", text, wait, ok, want)
		}
	}
}
