package auth

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sigmasource/sigmasource/server/reload"
)

// File authenticates the callers of a configuration file, and takes up its
// changes while it runs: a token is replaced without a restart.
type File struct{ callers *reload.Files[*Callers] }

// Open reads the callers of a file (see [Config]) and looks for changes of it once
// per interval, until Close.
func Open(path string, interval time.Duration, logger *slog.Logger) (*File, error) {
	callers, err := reload.Open([]string{path}, interval, logger, func(contents [][]byte) (*Callers, error) {
		config, err := ParseConfig(contents[0])
		if err != nil {
			return nil, err
		}
		return New(config, logger)
	}, (*Callers).Close)
	if err != nil {
		return nil, fmt.Errorf("read callers: %w", err)
	}
	return &File{callers}, nil
}

// Authenticate is that of the present [Callers].
func (f *File) Authenticate(ctx context.Context) (context.Context, error) {
	return f.callers.Current().Authenticate(ctx)
}

// Close ends what runs in the background.
func (f *File) Close() { f.callers.Close() }
