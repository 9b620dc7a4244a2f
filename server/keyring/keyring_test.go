package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sigmasource/sigmasource/server/keyring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "CANARY"

// kms is a key that wraps keysets, of 32 bytes.
const kms = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="

func open(t *testing.T, source keyring.Source) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Open(t.Context(), source, time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	})
	return ring
}

func seal(t *testing.T, ring *keyring.Ring, text string) []byte {
	t.Helper()
	sealed, err := ring.AEAD().Encrypt([]byte(text), []byte("name"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func opens(ring *keyring.Ring, sealed []byte, want string) bool {
	text, err := ring.AEAD().Decrypt(sealed, []byte("name"))
	return err == nil && string(text) == want
}

func TestKeysetsOfEverySource(t *testing.T) {
	for name, url := range map[string]string{"in the clear": "", "wrapped": kms} {
		t.Run(name, func(t *testing.T) {
			source := keyring.Source{Path: filepath.Join(t.TempDir(), "keyset.json"), KMS: url}
			if _, err := keyring.Open(t.Context(), source, time.Hour, slog.Default()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("before it is there: %v", err)
			}
			if err := keyring.Create(t.Context(), source); err != nil {
				t.Fatal(err)
			}
			if err := keyring.Create(t.Context(), source); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second time: %v", err)
			}
			info, err := os.Stat(source.Path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("its mode is %v, %v", info.Mode(), err)
			}
			running := open(t, source)
			old := seal(t, running, "old")

			if err := keyring.Rotate(t.Context(), source); err != nil {
				t.Fatal(err)
			}
			fresh := open(t, source)
			recent := seal(t, fresh, "recent")
			if !opens(fresh, old, "old") {
				t.Error("the former key is gone")
			}
			if opens(running, recent, "recent") {
				t.Error("no new key was made")
			}
			if changed, err := running.Refresh(); !changed || err != nil || !opens(running, recent, "recent") || !opens(running, old, "old") {
				t.Errorf("the rotation was not taken up: %v, %v", changed, err)
			}
			if changed, err := running.Refresh(); changed || err != nil {
				t.Errorf("nothing has changed since: %v, %v", changed, err)
			}

			text, err := os.ReadFile(source.Path)
			if err != nil {
				t.Fatal(err)
			}
			if encrypted := strings.Contains(string(text), "encryptedKeyset"); encrypted != (url != "") {
				t.Errorf("the file is encrypted: %v", encrypted)
			}
			given := open(t, keyring.Source{Text: string(text), KMS: url})
			if !opens(given, old, "old") || !opens(given, recent, "recent") {
				t.Error("the text opens less than the file")
			}
			if changed, err := given.Refresh(); changed || err != nil {
				t.Errorf("a text that changes: %v, %v", changed, err)
			}
		})
	}
}

func TestWhatIsNoKeysetIsRefused(t *testing.T) {
	wrapped := keyring.Source{Path: filepath.Join(t.TempDir(), "keyset.json"), KMS: kms}
	if err := keyring.Create(t.Context(), wrapped); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(wrapped.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]keyring.Source{
		"no JSON":     {Text: canary},
		"no keyset":   {Text: `{"` + canary + `": 1}`},
		"no keys":     {Text: `{"primaryKeyId": 1, "key": []}`},
		"half a file": {Text: `{"primaryKeyId": 1, "key": [{"keyData": {"value": "` + canary},
		"a broken key": {Text: `{"primaryKeyId": 1, "key": [{"keyId": 1, "status": "ENABLED", "outputPrefixType": "TINK",
			"keyData": {"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "keyMaterialType": "SYMMETRIC", "value": "Q0FOQVJZ"}}]}`},
		"wrapped, without the wrapping key":   {Text: string(text)},
		"wrapped, with another key":           {Text: string(text), KMS: "base64key://" + strings.Repeat("QUFB", 10) + "QUE="},
		"a service that nobody knows":         {Text: string(text), KMS: "x://" + canary},
		"a key of the wrong length":           {Text: string(text), KMS: "base64key://" + canary + "A="},
		"in the clear, with the wrapping key": {Text: `{"primaryKeyId": 1, "key": []}`, KMS: kms},
	} {
		if _, err := keyring.Open(t.Context(), source, time.Hour, slog.Default()); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestOthersMayNotReadTheKeyset(t *testing.T) {
	source := keyring.Source{Path: filepath.Join(t.TempDir(), "keyset.json")}
	if err := keyring.Create(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(source.Path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(t.Context(), source, time.Hour, slog.Default()); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("open: %v", err)
	}
	if err := keyring.Rotate(t.Context(), source); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("rotate: %v", err)
	}
}

func TestAnInterruptedRotationLosesNothing(t *testing.T) {
	source := keyring.Source{Path: filepath.Join(t.TempDir(), "keyset.json")}
	if err := keyring.Create(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(source.Path)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(filepath.Dir(source.Path), ".keyset.json.new")
	if err := os.WriteFile(half, []byte(`{"primary`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keyring.Rotate(t.Context(), source); err == nil || !strings.Contains(err.Error(), half) {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(source.Path); err != nil || string(after) != string(before) {
		t.Errorf("the keyset has changed, %v", err)
	}
	if err := os.Remove(half); err != nil {
		t.Fatal(err)
	}
	if err := keyring.Rotate(t.Context(), source); err != nil {
		t.Error(err)
	}
	var keys struct{ Key []any }
	after, err := os.ReadFile(source.Path)
	if err == nil {
		err = json.Unmarshal(after, &keys)
	}
	if err != nil || len(keys.Key) != 2 {
		t.Errorf("%d keys, %v", len(keys.Key), err)
	}
	if err := keyring.Rotate(context.Background(), keyring.Source{Path: half}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}
