package store_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store"
)

const canary = "CANARY-"

func canarySecrets(t *testing.T) *store.Secrets {
	t.Helper()
	secrets := &store.Secrets{}
	v := reflect.ValueOf(secrets).Elem()
	for i := range v.NumField() {
		v.Field(i).SetString(canary + v.Type().Field(i).Name)
	}
	return secrets
}

// TestSecretsAreNotOnDisk plants secrets where they belong and where they do not,
// and looks for them in every file that the store writes.
func TestSecretsAreNotOnDisk(t *testing.T) {
	dir := t.TempDir()
	sealer := newSealer(t, filepath.Join(t.TempDir(), "keyset.json"))
	s, ctx := openFile(t, filepath.Join(dir, "store.db"), sealer), t.Context()
	resources := map[string]*pb.SnowflakeWarehouse{
		"key-pair": {Account: "VISIBLE", Authentication: &pb.SnowflakeWarehouse_KeyPair{KeyPair: &pb.SnowflakeKeyPair{PrivateKeyPem: canary + "a", Passphrase: canary + "b"}}},
		"password": {Authentication: &pb.SnowflakeWarehouse_Password{Password: canary + "c"}},
		"token":    {Authentication: &pb.SnowflakeWarehouse_ProgrammaticAccessToken{ProgrammaticAccessToken: canary + "d"}},
		"oauth":    {Authentication: &pb.SnowflakeWarehouse_OauthToken{OauthToken: canary + "e"}},
	}
	for id, snowflake := range resources {
		sent := &pb.Connection{
			Name:      "workspaces/acme/connections/" + id,
			Sigma:     &pb.SigmaCredentials{ClientSecret: canary + "f"},
			Warehouse: &pb.Warehouse{Kind: &pb.Warehouse_Snowflake{Snowflake: snowflake}},
		}
		sent.Sigma.ProtoReflect().SetUnknown([]byte("\xa2\x06\x08" + canary + "u")) // field 100 of a newer contract
		created, err := s.CreateConnection(ctx, sent, canarySecrets(t))
		check(t, err)
		sent.Etag = created.GetEtag()
		updated, err := s.UpdateConnection(ctx, sent, canarySecrets(t))
		check(t, err)
		read, opened, err := s.ConnectionWithSecrets(ctx, sent.GetName())
		check(t, err)
		if *opened != *canarySecrets(t) {
			t.Fatal("other secrets than those that were stored")
		}
		for _, answer := range []*pb.Connection{created, updated, read} {
			data, err := proto.Marshal(answer)
			check(t, err)
			if bytes.Contains(data, []byte(canary)) {
				t.Errorf("the answer for %s holds a secret", id)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	check(t, err)
	visible := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		if bytes.Contains(data, []byte(canary)) {
			t.Errorf("%s holds a secret", filepath.Base(file))
		}
		visible = visible || bytes.Contains(data, []byte("VISIBLE"))
		info, err := os.Stat(file)
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v", filepath.Base(file), info.Mode())
		}
	}
	if !visible {
		t.Error("not even the account was found: the test looks at the wrong files")
	}
}

func TestSecretsOpenOnlyWhereTheyWereSealed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s, ctx := openFile(t, path, newSealer(t, filepath.Join(dir, "keyset.json"))), t.Context()
	const victim, thief = "workspaces/victim/connections/prod", "workspaces/thief/connections/prod"
	connect(t, s, victim)
	connect(t, s, thief)

	db, err := sql.Open("sqlite", path)
	check(t, err)
	_, err = db.ExecContext(ctx, `UPDATE connections SET secrets = (SELECT secrets FROM connections WHERE name = ?) WHERE name = ?`, victim, thief)
	check(t, errors.Join(err, db.Close()))
	_, _, err = s.ConnectionWithSecrets(ctx, thief)
	wantError(t, err, store.ErrSealed)
	_, _, err = s.ConnectionWithSecrets(ctx, victim)
	check(t, err)

	other := openFile(t, path, newSealer(t, filepath.Join(dir, "other.json")))
	_, _, err = other.ConnectionWithSecrets(ctx, victim)
	wantError(t, err, store.ErrSealed)
}

func TestSecretsAreRedacted(t *testing.T) {
	secrets := canarySecrets(t)
	var out strings.Builder
	for _, value := range []any{secrets, *secrets, []store.Secrets{*secrets}, map[string]any{"k": secrets}, struct{ S *store.Secrets }{secrets}, struct{ S store.Secrets }{*secrets}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%T"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		text, err := json.Marshal(value)
		check(t, err)
		out.Write(text)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "secrets", value)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "secrets", value)
	}
	if strings.Contains(strings.ToUpper(out.String()), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("a secret was printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing says that there are secrets")
	}
}

func TestSealer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keyset.json")
	_, err := store.LoadSealer(path)
	wantError(t, err, fs.ErrNotExist)
	first := newSealer(t, path)
	_, err = store.CreateSealer(path)
	wantError(t, err, fs.ErrExist)
	info, err := os.Stat(path)
	check(t, err)
	equal(t, info.Mode().Perm(), fs.FileMode(0o600))

	s := openFile(t, filepath.Join(dir, "store.db"), first)
	connect(t, s, prod)
	text, err := os.ReadFile(path)
	check(t, err)
	loaded, err := store.LoadSealer(path)
	check(t, err)
	parsed, err := store.ParseSealer(string(text))
	check(t, err)
	for name, sealer := range map[string]*store.Sealer{"loaded": loaded, "parsed": parsed} {
		_, secrets, err := openFile(t, filepath.Join(dir, "store.db"), sealer).ConnectionWithSecrets(t.Context(), prod)
		if err != nil || secrets.SigmaClientSecret != "s3cret of "+prod {
			t.Errorf("the %s sealer does not open what the first one sealed: %v", name, err)
		}
	}

	check(t, os.Chmod(path, 0o640))
	if _, err := store.LoadSealer(path); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a keyset that others may read: error %v", err)
	}
}

func TestSealerRefusesOtherTexts(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":     "",
		"no JSON":     canary,
		"no keyset":   `{"` + canary + `": 1}`,
		"no keys":     `{"primaryKeyId": 1, "key": []}`,
		"half a file": `{"primaryKeyId": 1, "key": [{"keyData": {"value": "` + canary,
		"a broken key": `{"primaryKeyId": 1, "key": [{"keyId": 1, "status": "ENABLED", "outputPrefixType": "TINK",
			"keyData": {"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "keyMaterialType": "SYMMETRIC", "value": "Q0FOQVJZ"}}]}`,
	} {
		_, err := store.ParseSealer(text)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestSealerOpensWithOlderKeys(t *testing.T) {
	manager := keyset.NewManager()
	old, err := manager.Add(aead.AES256GCMKeyTemplate())
	check(t, err)
	check(t, manager.SetPrimary(old))
	seal := func() *store.Sealer {
		handle, err := manager.Handle()
		check(t, err)
		sealer, err := store.NewSealer(handle)
		check(t, err)
		return sealer
	}
	path := filepath.Join(t.TempDir(), "store.db")
	connect(t, openFile(t, path, seal()), prod)
	fresh, err := manager.Add(aead.AES256GCMKeyTemplate())
	check(t, err)
	check(t, manager.SetPrimary(fresh))
	rotated := openFile(t, path, seal())
	_, _, err = rotated.ConnectionWithSecrets(t.Context(), prod)
	check(t, err)
	connect(t, rotated, prod+"2")
	check(t, manager.Delete(old))
	last := openFile(t, path, seal())
	_, _, err = last.ConnectionWithSecrets(t.Context(), prod)
	wantError(t, err, store.ErrSealed)
	_, _, err = last.ConnectionWithSecrets(t.Context(), prod+"2")
	check(t, err)
}

// TestDeletedSecretsAreGone looks for the sealed bytes, which a key that leaks
// later would open.
func TestDeletedSecretsAreGone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s, err := store.Open(t.Context(), path, newSealer(t, filepath.Join(t.TempDir(), "keyset.json")))
	check(t, err)
	connect(t, s, prod)
	connect(t, s, prod+"2")
	db, err := sql.Open("sqlite", path)
	check(t, err)
	var gone, kept []byte
	check(t, db.QueryRowContext(t.Context(), `SELECT secrets FROM connections WHERE name = ?`, prod).Scan(&gone))
	check(t, db.QueryRowContext(t.Context(), `SELECT secrets FROM connections WHERE name = ?`, prod+"2").Scan(&kept))
	check(t, db.Close())
	check(t, s.DeleteConnection(t.Context(), prod, ""))
	check(t, s.Close())

	files, err := filepath.Glob(filepath.Join(dir, "*"))
	check(t, err)
	found := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		check(t, err)
		if bytes.Contains(data, gone) {
			t.Errorf("%s still holds the sealed secrets of a deleted connection", filepath.Base(file))
		}
		found = found || bytes.Contains(data, kept)
	}
	if !found {
		t.Error("not even the other connection's were found: the test looks at the wrong files")
	}
}
