package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Sealer encrypts secrets with the primary key of a Tink keyset, and decrypts
// them with whichever of its keys encrypted them: a key is replaced by adding a
// new primary one. What it encrypts is bound to the name of its connection.
type Sealer struct {
	aead tink.AEAD
}

// errKeyset says no more, since an error of the decoder could quote the key.
var errKeyset = errors.New("not a Tink keyset of AEAD keys in cleartext JSON")

// NewSealer returns a sealer with the keys of a keyset of AEAD keys.
func NewSealer(handle *keyset.Handle) (*Sealer, error) {
	a, err := aead.New(handle)
	if err != nil {
		return nil, errKeyset
	}
	return &Sealer{aead: a}, nil
}

// ParseSealer returns a sealer with the keys of a keyset in Tink's cleartext JSON,
// as an environment variable may hold it.
func ParseSealer(text string) (*Sealer, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(strings.NewReader(text)))
	if err != nil {
		return nil, errKeyset
	}
	return NewSealer(handle)
}

// LoadSealer reads a keyset in Tink's cleartext JSON from a file, which nobody
// but its owner may read or write. No such file is fs.ErrNotExist.
func LoadSealer(path string) (*Sealer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" { // which has no such modes
		return nil, fmt.Errorf("keyset %s may be used by others than its owner: set its mode to 0600", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	s, err := ParseSealer(string(text))
	if err != nil {
		return nil, fmt.Errorf("read keyset %s: %w", path, err)
	}
	return s, nil
}

// CreateSealer makes a new AES256-GCM key and writes it to a new file that only
// its owner may read. A file that is there already is fs.ErrExist: without its
// key, what it sealed is lost.
func CreateSealer(path string) (*Sealer, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		return nil, fmt.Errorf("encode keyset: %w", err)
	}
	if err := writeNew(path, text.Bytes()); err != nil {
		return nil, fmt.Errorf("write keyset: %w", err)
	}
	return NewSealer(handle)
}

func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
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
