package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

var printedCursor = regexp.MustCompile(`(?m)^to go on: --cursor (\S+)$`)

// changesCommand follows the changes of a connection, and goes on from each cursor
// that the command prints.
func changesCommand(t *testing.T, connection string) {
	const name = mine + "-feed"
	must := func(args ...string) (out, messages string) {
		t.Helper()
		out, messages, err := run(t.Context(), connection, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out, messages
	}
	cursorIn := func(messages string) string {
		t.Helper()
		found := printedCursor.FindStringSubmatch(messages)
		if found == nil {
			t.Fatalf("no cursor in %q", messages)
		}
		return found[1]
	}
	must("connections", "create", name, "-f", "-", "--skip-check")
	must("scan", name)
	out, messages := must("changes", name)
	lines, end := strings.SplitAfter(out, "\n"), cursorIn(messages)
	lines = lines[:len(lines)-1]
	if len(lines) < 5 || !strings.HasPrefix(lines[0], "1 ") {
		t.Fatalf("the changes are %q", lines)
	}
	if out, messages := must("changes", name, "--cursor", end); out != "" || cursorIn(messages) != end {
		t.Errorf("after the last change it prints %q and %q", out, messages)
	}

	// Each change has a cursor in JSON, from which the others follow.
	out, messages = must("changes", name, "-o", "json")
	var cursors []string
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var change struct{ Cursor string }
		if err := decoder.Decode(&change); errors.Is(err, io.EOF) {
			break
		} else if err != nil || change.Cursor == "" {
			t.Fatalf("%v, %+v", err, change)
		}
		cursors = append(cursors, change.Cursor)
	}
	if len(cursors) != len(lines) || cursorIn(messages) != end || cursors[len(cursors)-1] != end {
		t.Errorf("%d cursors of %d changes, the last is not %s", len(cursors), len(lines), end)
	}
	for _, i := range []int{0, 2, len(lines) - 2} {
		if rest, _ := must("changes", name, "--cursor", cursors[i]); rest != strings.Join(lines[i+1:], "") {
			t.Errorf("after the cursor of change %d it prints %q", i+1, rest)
		}
	}
	if rest, _ := must("changes", name, "--after", "3"); rest != strings.Join(lines[3:], "") {
		t.Errorf("after the sequence 3 it prints %q", rest)
	}

	stdout, stderr := newPipe(), newPipe()
	root := newRootCommand()
	root.SetArgs([]string{"changes", name, "--follow", "--cursor", cursors[1]})
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	stdout.await(t, regexp.QuoteMeta(lines[len(lines)-1]))
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("the interrupt ends it with %v", err)
	}
	if rest, _ := must("changes", name, "--cursor", cursorIn(stderr.String())); rest != "" || stdout.String() != strings.Join(lines[2:], "") {
		t.Errorf("it followed %q, and goes on with %q", stdout.String(), rest)
	}

	refused := func(want string, args ...string) {
		t.Helper()
		out, messages, err := run(t.Context(), "", append([]string{"changes", name}, args...)...)
		var told bytes.Buffer
		if err != nil {
			printError(&told, err)
		}
		if !strings.Contains(told.String(), want) || out != "" || messages != "" {
			t.Errorf("%v: it says %q, and prints %q and %q", args, told.String(), out, messages)
		}
	}
	refused("cursor: ", "--cursor", "x")
	refused("cursor: ", "--cursor", end+"A")
	refused("none of the others can be", "--cursor", end, "--after", "3")
	refused("CHANGE_CURSOR_BEYOND_END", "--after", "99999")
	must("connections", "delete", name)
	must("connections", "create", name, "-f", "-", "--skip-check", "--skip-scan")
	for _, follow := range []string{"--follow=false", "--follow"} {
		refused("CHANGE_CURSOR_EPOCH_MISMATCH", follow, "--cursor", end)
		refused("newest_cursor: ", follow, "--cursor", end)
	}
}
