package reload_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigmasource/sigmasource/server/reload"
)

// number reads a file's number, which 0 is not.
func number(contents [][]byte) (int, error) {
	var n int
	if _, err := fmt.Sscan(string(bytes.Join(contents, nil)), &n); err != nil || n == 0 {
		return 0, errors.New("it is no number")
	}
	return n, nil
}

// text is a log that is read while it is written.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func TestFilesAreTakenUpWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("a", "1")
		write("b", "2")
		var log text
		var retired []int // read when all has ended
		f, err := reload.Open([]string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}, time.Second,
			slog.New(slog.NewTextHandler(&log, nil)), number, func(n int) { retired = append(retired, n) })
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want int, lines int) {
			t.Helper()
			<-time.After(3 * time.Second) // of the bubble's clock
			synctest.Wait()
			if got := f.Current(); got != want {
				t.Errorf("it is %d instead of %d", got, want)
			}
			if got := strings.Count(log.String(), "\n"); got != lines {
				t.Errorf("%d lines were logged instead of %d:\n%s", got, lines, log.String())
			}
		}
		expect(12, 0)
		write("b", "3")
		expect(13, 1)
		write("b", "x")
		write("a", "")
		expect(13, 2) // told once, however often it was looked at
		write("a", "4")
		write("b", "5")
		expect(45, 3)
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		expect(45, 4)
		f.Close()
		if got := fmt.Sprint(retired); got != "[12 13 45]" {
			t.Errorf("retired: %s", got)
		}
	})
}

func TestRefreshIsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	if _, err := reload.Open([]string{path}, time.Hour, slog.Default(), number, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := reload.Open([]string{path}, time.Hour, slog.New(slog.DiscardHandler), number, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(path, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Refresh(); err != nil || f.Current() != 2 {
		t.Errorf("%d, %v", f.Current(), err)
	}
	if err := os.WriteFile(path, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Refresh(); err == nil || f.Current() != 2 {
		t.Errorf("%d, %v", f.Current(), err)
	}
}
