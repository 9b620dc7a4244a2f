package store_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/keyring"
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
	keys := newKeys(t, filepath.Join(t.TempDir(), "keyset.json"))
	s, ctx := openFile(t, filepath.Join(dir, "store.db"), keys), t.Context()
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
		created, err := s.CreateConnection(ctx, sent, canarySecrets(t), store.Request{})
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
	s, ctx := openFile(t, path, newKeys(t, filepath.Join(dir, "keyset.json"))), t.Context()
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

	other := openFile(t, path, newKeys(t, filepath.Join(dir, "other.json")))
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

// TestResealWhileInUse rotates the key under two stores on one file, as two
// processes have them.
func TestResealWhileInUse(t *testing.T) {
	dir := t.TempDir()
	path, keyset := filepath.Join(dir, "store.db"), filepath.Join(dir, "keyset.json")
	s, ctx := openFile(t, path, newKeys(t, keyset)), t.Context()
	const many = 20
	name := func(i int) string { return fmt.Sprint(prod, i) }
	for i := range many {
		_, err := s.CreateConnection(ctx, &pb.Connection{Name: name(i)}, &store.Secrets{SigmaClientSecret: name(i)},
			store.Request{ID: fmt.Sprint("request-", i), Hash: []byte(name(i))})
		check(t, err)
	}
	connect(t, s, prod)
	kept := newSession(prod + "/sessions/one")
	check(t, s.CreateSession(ctx, kept))
	before, err := s.Connection(ctx, prod)
	check(t, err)
	formerText, err := os.ReadFile(keyset)
	check(t, err)

	check(t, keyring.Rotate(ctx, keyring.Source{Path: keyset}))
	other := openFile(t, path, openKeys(t, keyset))
	var group sync.WaitGroup
	group.Go(func() { // a server that goes on changing secrets, with keys of its own
		for i := range many {
			c, err := s.Connection(ctx, name(i))
			if err == nil {
				_, err = s.UpdateConnection(ctx, c, &store.Secrets{SigmaClientSecret: "new " + name(i)})
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	_, err = other.Reseal(ctx)
	check(t, err)
	group.Wait()
	_, err = other.Reseal(ctx) // what the former key sealed in between
	check(t, err)
	again, err := other.Reseal(ctx)
	check(t, err)
	equal(t, again, store.Resealed{})

	after, err := s.Connection(ctx, prod)
	check(t, err)
	equal(t, after, before) // the etag with it
	for i := range many {
		// The first store learns the new key when it needs it.
		_, secrets, err := s.ConnectionWithSecrets(ctx, name(i))
		check(t, err)
		equal(t, secrets.SigmaClientSecret, "new "+name(i))
		_, err = s.CreatedBy(ctx, name(i), store.Request{ID: fmt.Sprint("request-", i), Hash: []byte(name(i))})
		check(t, err)
	}

	session, err := s.Session(ctx, kept.Resource.GetName())
	check(t, err)
	equal(t, session.Key, kept.Key)

	// The former key opens nothing any more.
	formerPath := filepath.Join(t.TempDir(), "former.json")
	check(t, os.WriteFile(formerPath, formerText, 0o600))
	former := openFile(t, path, openKeys(t, formerPath))
	for _, connection := range []string{prod, name(0), name(many - 1)} {
		_, _, err := former.ConnectionWithSecrets(ctx, connection)
		wantError(t, err, store.ErrSealed)
	}
	_, err = former.Session(ctx, kept.Resource.GetName())
	wantError(t, err, store.ErrSealed)
}

// TestResealPassesOverWhatDoesNotOpen: one broken row does not keep the others on
// an old key.
func TestResealPassesOverWhatDoesNotOpen(t *testing.T) {
	dir := t.TempDir()
	path, keyset := filepath.Join(dir, "store.db"), filepath.Join(dir, "keyset.json")
	s, ctx := openFile(t, path, newKeys(t, keyset)), t.Context()
	for _, name := range []string{prod + "1", prod + "2", prod + "3"} {
		connect(t, s, name)
	}
	db, err := sql.Open("sqlite", path)
	check(t, err)
	_, err = db.ExecContext(ctx, `UPDATE connections SET secrets = x'00' WHERE name = ?`, prod+"2")
	check(t, errors.Join(err, db.Close()))
	check(t, keyring.Rotate(ctx, keyring.Source{Path: keyset}))
	resealed, err := s.Reseal(ctx)
	wantError(t, err, store.ErrSealed)
	if resealed.Connections != 2 || !strings.Contains(err.Error(), prod+"2") {
		t.Errorf("%v were resealed; %v", resealed, err)
	}
}

func TestRequestsAreKnownAgain(t *testing.T) {
	s, ctx := openSQLite(t), t.Context()
	first := store.Request{ID: "r1", Hash: []byte("hash 1")}
	created, err := s.CreateConnection(ctx, &pb.Connection{Name: prod}, nil, first)
	check(t, err)
	connect(t, s, prod+"2")
	again, err := s.CreatedBy(ctx, prod, first)
	check(t, err)
	equal(t, again, created)
	for _, test := range []struct {
		name    string
		request store.Request
		want    error
	}{
		{prod, store.Request{ID: "r1", Hash: []byte("hash 2")}, store.ErrRequestReused},
		{prod, store.Request{ID: "r2", Hash: []byte("hash 1")}, store.ErrExists},
		{prod, store.Request{}, store.ErrExists},
		{prod + "2", first, store.ErrExists},
		{prod + "2", store.Request{}, store.ErrExists},
		{prod + "3", first, store.ErrNotFound},
	} {
		_, err := s.CreatedBy(ctx, test.name, test.request)
		wantError(t, err, test.want)
	}
	_, err = s.CreateConnection(ctx, &pb.Connection{Name: prod + "3"}, nil, first)
	wantError(t, err, store.ErrRequestReused)
	_, err = s.CreateConnection(ctx, &pb.Connection{Name: "workspaces/globex/connections/prod"}, nil, first)
	check(t, err) // ids are a workspace's own
	check(t, s.DeleteConnection(ctx, prod, ""))
	_, err = s.CreateConnection(ctx, &pb.Connection{Name: prod + "3"}, nil, first)
	check(t, err)
}

// TestDeletedSecretsAreGone looks for the sealed bytes, which a key that leaks
// later would open.
func TestDeletedSecretsAreGone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := openFile(t, path, newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
	connect(t, s, prod)
	connect(t, s, prod+"2")
	db, err := sql.Open("sqlite", path)
	check(t, err)
	var gone, kept []byte
	check(t, db.QueryRowContext(t.Context(), `SELECT secrets FROM connections WHERE name = ?`, prod).Scan(&gone))
	check(t, db.QueryRowContext(t.Context(), `SELECT secrets FROM connections WHERE name = ?`, prod+"2").Scan(&kept))
	check(t, db.Close())
	check(t, s.DeleteConnection(t.Context(), prod, ""))

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
