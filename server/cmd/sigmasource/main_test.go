package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		program()
	}
	goleak.VerifyTestMain(m)
}

// run runs the command line, as main does.
func run(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	var out, messages bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&messages)
	err = root.ExecuteContext(ctx)
	return out.String(), messages.String(), err
}

// pipe is a text that grows, and can be waited for.
type pipe struct {
	mu   sync.Mutex
	cond *sync.Cond
	text strings.Builder
	over bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	return p.text.Write(b)
}

func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.cond.Broadcast()
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await returns what matches first, once it is there.
func (p *pipe) await(t testing.TB, pattern string) []string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if found := regexp.MustCompile(pattern).FindStringSubmatch(p.text.String()); found != nil {
			return found
		}
		if p.over {
			t.Fatalf("%q never came:\n%s", pattern, p.text.String())
		}
		p.cond.Wait()
	}
}

// start runs a command that serves until the test's end.
func start(t testing.TB, args ...string) (stdout, stderr *pipe) {
	t.Helper()
	stdout, stderr = newPipe(), newPipe()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		stdout.close()
		stderr.close()
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
	})
	return stdout, stderr
}

func TestDemoOnce(t *testing.T) {
	out, _, err := run(t.Context(), "", "demo", "--once")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1. Connect", "2. Scan", "scan succeeded in", "workbooks, ", "3. Preview", "Order Id", "10 rows in"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing of\n%s", want, out)
		}
	}
	if strings.Contains(out, "Serving until interrupted") {
		t.Error("it says that it serves on")
	}
}

func TestDemoIsForLoopback(t *testing.T) {
	if _, _, err := run(t.Context(), "", "demo", "--listen", "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v", err)
	}
}

// TestWhatTheDemoPrintsWorks runs the lines that it tells a newcomer to try.
func TestWhatTheDemoPrintsWorks(t *testing.T) {
	out, _ := start(t, "demo", "--listen", "127.0.0.1:0")
	export := out.await(t, `export SIGMASOURCE_SERVER=(\S+) SIGMASOURCE_TOKEN=(\S+)\n`)
	t.Setenv("SIGMASOURCE_SERVER", export[1])
	t.Setenv("SIGMASOURCE_TOKEN", export[2])
	connection := out.await(t, `"connection": (\{.*\})\}' \S+ \S+/CreateConnection`)[1]
	out.await(t, `"DATA_FORMAT_ARROW"`)
	printed := regexp.MustCompile(`(?m)^  go run \./server/cmd/sigmasource ([^|\n]*)`).FindAllStringSubmatch(out.String(), -1)
	if len(printed) != 9 {
		t.Fatalf("it prints %d lines", len(printed))
	}
	for _, line := range printed {
		t.Run(line[1], func(t *testing.T) {
			args := strings.Fields(line[1])
			answer, _, err := run(t.Context(), "", args...)
			if err != nil {
				t.Fatal(err)
			}
			if args[0] == "preview" && args[len(args)-1] == "json" {
				if n := strings.Count(answer, "\n"); n != 5000 {
					t.Errorf("%d lines", n)
				}
			}
			if answer == "" {
				t.Error("it says nothing")
			}
		})
	}

	t.Run("connections", func(t *testing.T) { connectionCommands(t, connection) })
	t.Run("models", modelCommands)
	t.Run("find", findCommands)
	t.Run("read", func(t *testing.T) {
		readCommand(t, regexp.MustCompile(`preview (workspaces\S+)`).FindStringSubmatch(out.String())[1])
	})
	t.Run("changes", func(t *testing.T) { changesCommand(t, connection) })
	t.Run("mistakes", mistakes)
}

const mine = "workspaces/acme/connections/mine"

func connectionCommands(t *testing.T, connection string) {
	password := regexp.MustCompile(`"password": "([^"]+)"`).FindStringSubmatch(connection)[1]
	expect := func(want string, args ...string) {
		t.Helper()
		out, messages, err := run(t.Context(), connection, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if !strings.Contains(out, want) {
			t.Errorf("%v: %q is missing of\n%s", args, want, out)
		}
		if strings.Contains(out+messages, password) {
			t.Errorf("%v shows the password", args)
		}
	}
	expect(mine, "connections", "create", mine, "-f", "-", "--validate-only")
	expect(mine, "connections", "create", mine, "-f", "-")
	file := filepath.Join(t.TempDir(), "connection.json")
	if err := os.WriteFile(file, []byte(connection), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(mine+"2", "connections", "create", mine+"2", "-f", file, "--skip-check", "-o", "json")
	expect("Snowflake", "connections", "get", mine)
	expect(`"baseUrl": "http://`, "connections", "get", mine, "-o", "json")
	expect(mine+"2", "connections", "list", "workspaces/acme")
	expect("warehouse", "connections", "check", mine)
	expect(`"CHECK_OUTCOME_PASS"`, "connections", "check", mine, "-o", "json")
	expect("", "connections", "delete", mine+"2")
	out, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme")
	if err != nil || strings.Contains(out, mine+"2") {
		t.Errorf("after its end: %v\n%s", err, out)
	}
	_, _, err = run(t.Context(), connection, "connections", "create", mine, "-f", "-")
	if status.Code(errors.Unwrap(err)) != codes.AlreadyExists && status.Code(err) != codes.AlreadyExists {
		t.Errorf("a second of the name: %v", err)
	}
	_, _, err = run(t.Context(), strings.ReplaceAll(connection, password, "CANARY-wrong"), "connections", "create", mine+"3", "-f", "-")
	var told bytes.Buffer
	printError(&told, err)
	if err == nil || !strings.Contains(told.String(), "reason: ") || strings.Contains(told.String(), "CANARY") {
		t.Errorf("a wrong password: %s", told.String())
	}
	_, _, err = run(t.Context(), `{"sigma": {"clientSecret": CANARY}}`, "connections", "create", mine+"4", "-f", "-")
	if err == nil || strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "not a JSON object") {
		t.Errorf("what is no JSON: %v", err)
	}
}

func modelCommands(t *testing.T) {
	out, _, err := run(t.Context(), "", "models", "list", demoConnection)
	if err != nil {
		t.Fatal(err)
	}
	name := func(display string) string {
		t.Helper()
		for line := range strings.Lines(out) {
			if cells := strings.Split(line, "│"); len(cells) > 7 && strings.TrimSpace(cells[3]) == display {
				return strings.TrimSpace(cells[7])
			}
		}
		t.Fatalf("no model %q in\n%s", display, out)
		return ""
	}
	orders := name("Orders")
	for _, test := range []struct {
		want string
		args []string
	}{
		{"Order Id", []string{"models", "get", orders}},
		{`"formula"`, []string{"models", "get", orders, "-o", "json"}},
		{"can be read", []string{"models", "check", orders, "--key", "Order Id"}},
		{"20000 rows, 20000 distinct, 0 with a null", []string{"models", "check", orders, "--key", "Order Id"}},
		{`"distinctCount": "20000"`, []string{"models", "check", orders, "--key", "Order Id", "-o", "json"}},
		{"compared with Sigma: ", []string{"models", "check", orders, "--compare"}},
	} {
		answer, _, err := run(t.Context(), "", test.args...)
		if err != nil || !strings.Contains(answer, test.want) {
			t.Errorf("%v: %v, without %q:\n%s", test.args, err, test.want, answer)
		}
	}
	workbook := strings.Replace(orders[:strings.LastIndexByte(orders, '.')], "/models/", "/workbooks/", 1)
	answer, _, err := run(t.Context(), "", "models", "list", demoConnection, "--workbook", workbook)
	if err != nil || strings.Count(answer, "/models/") == 0 || strings.Count(answer, "/models/") >= strings.Count(out, "/models/") {
		t.Errorf("of one workbook: %v\n%s", err, answer)
	}
}

// findCommands runs what the README tells about the demonstration.
func findCommands(t *testing.T) {
	for _, test := range []struct {
		want, not string
		args      []string
	}{
		{"Shop 01: Berlin", "Paris", []string{"models", "list", demoConnection, "--search", "berlin rev"}},
		{"Orders", "Tickets", []string{"models", "list", demoConnection, "--filter", `path:"Sales" AND columns.label:"Order Id" AND state = READY`}},
		{"broken", "Subscriptions", []string{"models", "list", demoConnection, "--filter", `NOT state = READY OR findings.code:*`, "--order-by", "update_time desc"}},
		{"Shop 01: Berlin", "Paris", []string{"workbooks", "list", demoConnection, "--filter", `tags:"Production" OR path:"Shops/Berlin"`}},
		{"Production", "Tickets", []string{"workbooks", "list", demoConnection, "--filter", `tags:"Production" OR path:"Shops/Berlin"`}},
		{`"displayName": "Orders"`, "Tickets", []string{"workbooks", "list", demoConnection, "--search", "ord", "--order-by", "display_name", "-o", "json"}},
	} {
		out, _, err := run(t.Context(), "", test.args...)
		if err != nil || !strings.Contains(out, test.want) || strings.Contains(out, test.not) {
			t.Errorf("%v: %v, want %s, not %s:\n%s", test.args, err, test.want, test.not, out)
		}
	}
	_, _, err := run(t.Context(), "", "models", "list", demoConnection, "--filter", "colour = red")
	var told bytes.Buffer
	printError(&told, err)
	if !strings.Contains(told.String(), "at character 1") || !strings.Contains(told.String(), "columns.label") {
		t.Errorf("a wrong filter: %s", told.String())
	}
}

func mistakes(t *testing.T) {
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"unknown format", "want table or json", []string{"connections", "list", "workspaces/acme", "-o", "yaml"}},
		{"no name", "arg(s)", []string{"connections", "get"}},
		{"half a name", "want workspaces/WORKSPACE/connections/ID", []string{"connections", "create", "prod", "-f", "-"}},
		{"no file", "no such file", []string{"connections", "create", mine, "-f", "missing.json"}},
		{"unknown flag", "--help", []string{"scan", "--fast"}},
		{"unknown command", "unknown command", []string{"frobnicate"}},
		{"server without port", "want HOST:PORT", []string{"connections", "list", "workspaces/acme", "--server", "localhost"}},
		{"no authority", "no such file", []string{"connections", "list", "workspaces/acme", "--ca", "missing.pem"}},
		{"other workspace", "PermissionDenied", []string{"connections", "list", "workspaces/globex"}},
		{"missing model", "NotFound", []string{"models", "get", demoConnection + "/models/a.b"}},
		{"missing element", "NotFound", []string{"preview", demoConnection + "/models/a.b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, _, err := run(t.Context(), "", test.args...)
			var told bytes.Buffer
			if err != nil {
				printError(&told, err)
			}
			if !strings.Contains(told.String(), test.want) || out != "" {
				t.Errorf("it says %q and prints %q", told.String(), out)
			}
		})
	}
	t.Run("wrong token", func(t *testing.T) {
		t.Setenv("SIGMASOURCE_TOKEN", "wrong")
		_, _, err := run(t.Context(), "", "connections", "list", "workspaces/acme")
		var told bytes.Buffer
		printError(&told, err)
		if !strings.Contains(told.String(), "Unauthenticated") || !strings.Contains(told.String(), "request_id: ") {
			t.Errorf("it says %q", told.String())
		}
	})
	t.Run("scan without a connection", func(t *testing.T) {
		if _, _, err := run(t.Context(), "", "scan", mine+"-missing"); err == nil {
			t.Error("it succeeded")
		}
	})
}
