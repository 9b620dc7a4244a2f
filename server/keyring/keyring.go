// Package keyring finds, makes and rotates the Tink keyset that seals
// credentials. The keyset is a file, or the text of an environment variable; it is
// in the clear, or wrapped by a key of a key management service.
//
// A rotation adds a key and makes it the one that seals. The former keys stay, so
// that what they sealed still opens. A server that runs takes a changed file up by
// itself. The package may import server/reload, and no other part of the server.
package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sigmasource/sigmasource/server/reload"
)

// errKeyset says no more, since an error of the decoder could quote the key.
var errKeyset = errors.New("it is no Tink keyset of AEAD keys in JSON, or another key wrapped it")

// Source is where a keyset is.
type Source struct {
	// Text is the keyset itself, in JSON. It comes before Path.
	Text string
	// Path is a file with the keyset in JSON, which nobody but its owner may read
	// or write, unless it is wrapped.
	Path string
	// KMS is the URL of the key that wraps the keyset: awskms://, gcpkms://,
	// azurekeyvault:// or base64key:// (see https://gocloud.dev/howto/secrets).
	// Empty means that the keyset is in the clear.
	KMS string
}

// Ring is the keys in force.
type Ring struct {
	wrapper *wrapper
	fixed   tink.AEAD
	files   *reload.Files[tink.AEAD]
}

// Open returns the keys of a source. A file is looked at for changes once per
// interval, until Close. No such file is fs.ErrNotExist.
func Open(ctx context.Context, source Source, interval time.Duration, logger *slog.Logger) (*Ring, error) {
	wrapper, err := openWrapper(ctx, source.KMS)
	if err != nil {
		return nil, err
	}
	ring := &Ring{wrapper: wrapper}
	if source.Text != "" {
		ring.fixed, err = ring.parse([]byte(source.Text))
	} else {
		ring.files, err = reload.Open([]string{source.Path}, interval, logger, func(contents [][]byte) (tink.AEAD, error) {
			if err := checkMode(source); err != nil {
				return nil, err
			}
			return ring.parse(contents[0])
		}, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read keyset: %w", err), wrapper.close())
	}
	return ring, nil
}

func (r *Ring) parse(text []byte) (tink.AEAD, error) {
	keys, err := parse(text, r.wrapper)
	if err != nil {
		return nil, err
	}
	sealing, err := aead.New(keys)
	if err != nil {
		return nil, errKeyset
	}
	return sealing, nil
}

// AEAD encrypts with the newest key and decrypts with any.
func (r *Ring) AEAD() tink.AEAD {
	if r.files == nil {
		return r.fixed
	}
	return r.files.Current()
}

// Refresh looks for a changed file now. It reports whether there may be other keys
// than before.
func (r *Ring) Refresh() (bool, error) {
	if r.files == nil {
		return false, nil
	}
	before := r.AEAD()
	err := r.files.Refresh()
	return r.AEAD() != before, err
}

// Close ends the looking for changes.
func (r *Ring) Close() error {
	if r.files != nil {
		r.files.Close()
	}
	return r.wrapper.close()
}

// Create makes a keyset of one new AES256-GCM key and writes it to the new file of
// the source. A file that is there already is fs.ErrExist: without its key, what it
// sealed is lost.
func Create(ctx context.Context, source Source) (err error) {
	wrapper, err := openWrapper(ctx, source.KMS)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wrapper.close()) }()
	keys, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	text, err := format(keys, wrapper)
	if err != nil {
		return err
	}
	if err := write(source.Path, os.O_EXCL, text); err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	return nil
}

// Rotate adds a new key to the file of the source and makes it the one that seals.
// The file is replaced as a whole.
func Rotate(ctx context.Context, source Source) (err error) {
	wrapper, err := openWrapper(ctx, source.KMS)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, wrapper.close()) }()
	if err := checkMode(source); err != nil {
		return fmt.Errorf("read keyset: %w", err)
	}
	text, err := os.ReadFile(source.Path)
	if err != nil {
		return fmt.Errorf("read keyset: %w", err)
	}
	keys, err := parse(text, wrapper)
	if err != nil {
		return fmt.Errorf("read keyset %s: %w", source.Path, err)
	}
	manager := keyset.NewManagerFromHandle(keys)
	added, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if err := manager.SetPrimary(added); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if keys, err = manager.Handle(); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if text, err = format(keys, wrapper); err != nil {
		return err
	}
	return replace(source.Path, text)
}

func parse(text []byte, wrapper *wrapper) (*keyset.Handle, error) {
	var keys *keyset.Handle
	var err error
	if reader := keyset.NewJSONReader(bytes.NewReader(text)); wrapper == nil {
		keys, err = insecurecleartextkeyset.Read(reader)
	} else {
		keys, err = keyset.Read(reader, wrapper)
	}
	if err != nil {
		return nil, errKeyset
	}
	return keys, nil
}

func format(keys *keyset.Handle, wrapper *wrapper) ([]byte, error) {
	var text bytes.Buffer
	var err error
	if writer := keyset.NewJSONWriter(&text); wrapper == nil {
		err = insecurecleartextkeyset.Write(keys, writer)
	} else {
		err = keys.Write(writer, wrapper)
	}
	if err != nil {
		return nil, fmt.Errorf("encode keyset: %w", err)
	}
	return text.Bytes(), nil
}

// checkMode refuses a keyset in the clear that others may read.
func checkMode(source Source) error {
	if source.KMS != "" || runtime.GOOS == "windows" { // which has no such modes
		return nil
	}
	info, err := os.Stat(source.Path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("keyset %s may be used by others than its owner: set its mode to 0600", source.Path)
	}
	return nil
}

// write writes a file to the disk before it returns, and leaves none that is half.
func write(path string, flags int, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// replace puts a whole new file in the place of an old one. A file of another
// rotation that is under way, or was interrupted, is in the way on purpose.
func replace(path string, text []byte) error {
	beside := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := write(beside, os.O_EXCL, text); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: another rotation is under way, or was interrupted; remove it if not", beside)
	} else if err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(fmt.Errorf("replace keyset: %w", err), os.Remove(beside))
	}
	return nil
}
