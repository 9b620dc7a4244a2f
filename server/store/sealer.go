package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keys are what secrets are sealed with. *keyring.Ring is such.
type Keys interface {
	// AEAD encrypts with the newest key and decrypts with any.
	AEAD() tink.AEAD
	// Refresh looks for newer keys, and reports whether there are any.
	Refresh() (changed bool, err error)
}

// sealer encrypts what is bound to the name of a connection.
type sealer struct{ keys Keys }

// requestOf is what the hash of the request that made a connection is bound to: it
// cannot stand in for the connection's secrets.
func requestOf(name string) string { return name + "\x00request" }

func (s sealer) seal(bound string, text []byte) ([]byte, error) {
	sealed, err := s.keys.AEAD().Encrypt(text, []byte(bound))
	if err != nil {
		return nil, fmt.Errorf("seal secrets: %w", err)
	}
	return sealed, nil
}

// open is the reverse of seal, for the same name. Another process may have sealed
// with a key that is newer than those that this one knows.
func (s sealer) open(bound string, sealed []byte) ([]byte, error) {
	text, err := s.keys.AEAD().Decrypt(sealed, []byte(bound))
	if err == nil {
		return text, nil
	}
	if changed, refreshErr := s.keys.Refresh(); refreshErr == nil && changed {
		if text, err = s.keys.AEAD().Decrypt(sealed, []byte(bound)); err == nil {
			return text, nil
		}
	}
	return nil, ErrSealed
}

func (s sealer) sealSecrets(name string, secrets *Secrets) ([]byte, error) {
	if secrets == nil {
		secrets = &Secrets{}
	}
	text, err := json.Marshal(sealedSecrets(*secrets))
	if err != nil {
		return nil, fmt.Errorf("encode secrets: %w", err)
	}
	return s.seal(name, text)
}

func (s sealer) openSecrets(name string, sealed []byte) (*Secrets, error) {
	text, err := s.open(name, sealed)
	if err != nil {
		return nil, err
	}
	var secrets sealedSecrets
	if err := json.Unmarshal(text, &secrets); err != nil {
		return nil, ErrSealed // err could quote what it read
	}
	opened := Secrets(secrets)
	return &opened, nil
}

// keyPrefix is how much of a Tink ciphertext tells the key: a version and the
// key's id.
const keyPrefix = 5

// isNewest reports whether a ciphertext was made with the key that seals now.
func (s sealer) isNewest(sealed []byte) (bool, error) {
	probe, err := s.seal("", nil)
	if err != nil {
		return false, err
	}
	return len(sealed) >= keyPrefix && bytes.Equal(sealed[:keyPrefix], probe[:keyPrefix]), nil
}

// Resealed is how many of each were sealed anew.
type Resealed struct{ Connections, Sessions int }

// Reseal seals everything with the newest key that an older one has sealed, while
// the store is in use, and returns what it has changed. Etags stay as they are. It
// fails with ErrSealed if something does not open, after it has done all the others.
func (s *Store) Reseal(ctx context.Context) (done Resealed, err error) {
	if _, err := s.sealer.keys.Refresh(); err != nil {
		return done, fmt.Errorf("reseal: %w", err)
	}
	var failed []error
	for _, kind := range []struct {
		names  string
		reseal func(ctx context.Context, name string) (bool, error)
		done   *int
	}{
		{`SELECT name FROM connections`, s.resealConnection, &done.Connections},
		{`SELECT name FROM sessions`, s.resealSession, &done.Sessions},
	} {
		names, err := readAll(ctx, s.read, scanText, kind.names)
		if err != nil {
			return done, fmt.Errorf("reseal: %w", err)
		}
		for _, name := range names {
			changed, err := kind.reseal(ctx, name)
			if err != nil && !errors.Is(err, ErrSealed) {
				return done, fmt.Errorf("reseal %s: %w", name, err)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("reseal %s: %w", name, err))
			}
			if changed {
				*kind.done++
			}
		}
	}
	return done, errors.Join(append(failed, s.dialect.forget(ctx, s.write))...)
}

// resealConnection is done again if an update came in between.
func (s *Store) resealConnection(ctx context.Context, name string) (resealed bool, err error) {
	for {
		var secrets, request []byte
		err := s.write.QueryRowContext(ctx, `SELECT secrets, request_hash FROM connections WHERE name = $1`, name).Scan(&secrets, &request)
		if errors.Is(err, sql.ErrNoRows) { // deleted since
			return false, nil
		}
		if err != nil {
			return false, err
		}
		again, err := s.sealer.again(name, secrets)
		if err != nil || again == nil {
			return false, err
		}
		if len(request) == 0 {
			request = []byte{} // not NULL
		} else if newer, err := s.sealer.again(requestOf(name), request); err != nil {
			return false, err
		} else if newer != nil {
			request = newer
		}
		result, err := s.write.ExecContext(ctx, `UPDATE connections SET secrets = $3, request_hash = $4 WHERE name = $1 AND secrets = $2`,
			name, secrets, again, request)
		if err := changed(result, err); !errors.Is(err, ErrNotFound) {
			return err == nil, err
		}
	}
}

// resealSession does a session's key, which never changes otherwise.
func (s *Store) resealSession(ctx context.Context, name string) (resealed bool, err error) {
	var key []byte
	err = s.write.QueryRowContext(ctx, `SELECT sealed_key FROM sessions WHERE name = $1`, name).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) { // deleted since
		return false, nil
	}
	if err != nil {
		return false, err
	}
	again, err := s.sealer.again(sessionKeyOf(name), key)
	if err != nil || again == nil {
		return false, err
	}
	err = changed(s.write.ExecContext(ctx, `UPDATE sessions SET sealed_key = $3 WHERE name = $1 AND sealed_key = $2`, name, key, again))
	if errors.Is(err, ErrNotFound) { // deleted since, or somebody else has done it
		return false, nil
	}
	return err == nil, err
}

// again seals with the newest key what an older one has sealed, and returns nil where
// that is done.
func (s sealer) again(bound string, sealed []byte) ([]byte, error) {
	if newest, err := s.isNewest(sealed); err != nil || newest {
		return nil, err
	}
	text, err := s.open(bound, sealed)
	if err != nil {
		return nil, err
	}
	return s.seal(bound, text)
}
