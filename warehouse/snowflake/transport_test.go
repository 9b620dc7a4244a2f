package snowflake

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// pacedBody gives one byte after each pause, and then nothing until its
// context ends.
type pacedBody struct {
	ctx    context.Context
	pauses []time.Duration
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, io.EOF
	}
	pause := b.pauses[0]
	b.pauses = b.pauses[1:]
	select {
	case <-time.After(pause):
		p[0] = 'x'
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (b *pacedBody) Close() error { return nil }

func TestReadTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		pauses  []time.Duration // of the sender
		between time.Duration   // two reads
		bytes   int
		err     error
	}{
		"slow sender":     {[]time.Duration{59 * time.Second, 59 * time.Second, 59 * time.Second}, 0, 3, nil},
		"slow reader":     {[]time.Duration{0, 0, 0}, time.Hour, 3, nil},
		"stalled":         {[]time.Duration{0, 61 * time.Second, 0}, 0, 1, errStalled},
		"stalled at once": {[]time.Duration{time.Hour}, 0, 0, errStalled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				body := &watchedBody{ReadCloser: &pacedBody{ctx, test.pauses}, ctx: ctx, cancel: cancel, timeout: time.Minute}
				n, err := 0, error(nil)
				for p := make([]byte, 16); err == nil; {
					var read int
					read, err = body.Read(p)
					n += read
					<-time.After(test.between)
				}
				if test.err == nil {
					test.err = io.EOF
				}
				if n != test.bytes || !errors.Is(err, test.err) {
					t.Errorf("%d bytes, %v", n, err)
				}
				if err := body.Close(); err != nil {
					t.Error(err)
				}
				if ctx.Err() == nil {
					t.Error("a closed body keeps its request alive")
				}
			})
		})
	}
}
