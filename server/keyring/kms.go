package keyring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"
	_ "gocloud.dev/secrets/azurekeyvault"
	_ "gocloud.dev/secrets/gcpkms"
	_ "gocloud.dev/secrets/localsecrets"
)

// kmsTime bounds a call of the key management service.
const kmsTime = 30 * time.Second

// openWrapper returns the key of a URL, or nil for an empty one. It is to be
// closed.
func openWrapper(ctx context.Context, url string) (*wrapper, error) {
	if url == "" {
		return nil, nil
	}
	keeper, err := secrets.OpenKeeper(ctx, url)
	if err != nil {
		// The error may quote the URL, and a base64key:// URL is the key.
		scheme, _, _ := strings.Cut(url, "://")
		return nil, fmt.Errorf("the key management service of the URL with the scheme %q cannot be opened", scheme)
	}
	return &wrapper{keeper}, nil
}

// wrapper makes a key of a key management service what Tink wraps keysets with.
type wrapper struct{ keeper *secrets.Keeper }

// errAssociated: keysets are wrapped without associated data, and services take
// none.
var errAssociated = errors.New("keyring: associated data cannot be bound")

func (w *wrapper) Encrypt(plaintext, associated []byte) ([]byte, error) {
	if len(associated) > 0 {
		return nil, errAssociated
	}
	ctx, cancel := context.WithTimeout(context.Background(), kmsTime)
	defer cancel()
	return w.keeper.Encrypt(ctx, plaintext)
}

func (w *wrapper) Decrypt(ciphertext, associated []byte) ([]byte, error) {
	if len(associated) > 0 {
		return nil, errAssociated
	}
	ctx, cancel := context.WithTimeout(context.Background(), kmsTime)
	defer cancel()
	return w.keeper.Decrypt(ctx, ciphertext)
}

func (w *wrapper) close() error {
	if w == nil {
		return nil
	}
	return w.keeper.Close()
}
