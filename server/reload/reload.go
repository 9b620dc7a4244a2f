// Package reload keeps what is read from files in step with them, so that a
// certificate, a key or a list of callers is replaced without a restart. It knows
// nothing of what the files hold, and imports no other part of the server.
package reload

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Files is a value that files hold. A change of them that cannot be taken up is
// logged, and the value stays as it was.
type Files[T any] struct {
	paths   []string
	parse   func(contents [][]byte) (T, error)
	retire  func(T)
	logger  *slog.Logger
	current atomic.Pointer[T]

	mu    sync.Mutex
	known [][]byte // what current was made of

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// Open reads the files, has parse make a value of their contents, and looks for
// changes once per interval, until Close. Errors of parse must not quote what may
// be secret. A value that was replaced goes to retire, which may be nil; those who
// got it before may use it still.
func Open[T any](paths []string, interval time.Duration, logger *slog.Logger, parse func(contents [][]byte) (T, error), retire func(T)) (*Files[T], error) {
	if retire == nil {
		retire = func(T) {}
	}
	f := &Files[T]{paths: paths, parse: parse, retire: retire, logger: logger}
	if err := f.Refresh(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	f.stopped.Go(func() { f.watch(ctx, interval) })
	return f, nil
}

// Current returns the value as it was last taken up.
func (f *Files[T]) Current() T { return *f.current.Load() }

// Refresh takes the files up now, if they have changed.
func (f *Files[T]) Refresh() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	contents := make([][]byte, len(f.paths))
	for i, path := range f.paths {
		var err error
		if contents[i], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	if f.current.Load() != nil && slices.EqualFunc(contents, f.known, bytes.Equal) {
		return nil
	}
	value, err := f.parse(contents)
	if err != nil {
		return fmt.Errorf("%s: %w", f.paths[0], err)
	}
	f.known = contents
	if former := f.current.Swap(&value); former != nil {
		f.retire(*former)
		f.logger.Info("a file has changed and was taken up", "file", f.paths[0])
	}
	return nil
}

func (f *Files[T]) watch(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := f.Refresh()
		if err != nil && err.Error() != told {
			f.logger.Error("a file cannot be taken up; what it held before stays in force", "error", err.Error())
		}
		told = fmt.Sprint(err)
	}
}

// Close ends the looking, and retires the value.
func (f *Files[T]) Close() {
	f.stop()
	f.stopped.Wait()
	f.retire(f.Current())
}
