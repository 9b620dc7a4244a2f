package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/sigmasource/sigmasource/server/store"
)

// storageFlags say where the data are: in a folder of this machine, or in a
// PostgreSQL database that several replicas share.
type storageFlags struct {
	dataDir  string
	database string
}

func (f *storageFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.dataDir, "data-dir", "sigmasource-data", "folder of the embedded store")
	flags.StringVar(&f.database, "database", "", "URL of a PostgreSQL database to keep the data in, such as postgres://USER@HOST/DATABASE, instead of the embedded store; a connection pooler's URL will do (default SIGMASOURCE_DATABASE, which no list of processes shows)")
}

// url is the URL of the database, empty for the embedded store.
func (f *storageFlags) url() string {
	// Not the flag's default, which the help would show: it may hold a password.
	return cmp.Or(f.database, os.Getenv("SIGMASOURCE_DATABASE"))
}

func (f *storageFlags) storePath() string { return filepath.Join(f.dataDir, "sigmasource.db") }

// exists tells whether there may be data that a key has sealed, in words.
func (f *storageFlags) exists() (what string, may bool) {
	if f.url() != "" {
		return "all replicas on a database share one keyset: make it with `sigmasource keys new`, and give each the same with --key-file or SIGMASOURCE_KEYSET", true
	}
	if _, err := os.Stat(f.storePath()); err == nil {
		return fmt.Sprintf("the store in %s was sealed with another key: restore it, or name it with --key-file", f.dataDir), true
	}
	return "", false
}

// open opens the store and brings it up to date.
func (f *storageFlags) open(ctx context.Context, keys store.Keys) (*store.Store, error) {
	if url := f.url(); url != "" {
		return store.OpenPostgres(ctx, url, keys)
	}
	return store.OpenSQLite(ctx, f.storePath(), keys)
}

// mustExist keeps a command that changes what is there from making an empty store.
func (f *storageFlags) mustExist() error {
	if f.url() != "" {
		return nil
	}
	if _, err := os.Stat(f.storePath()); err != nil {
		return errors.Join(errors.New("--data-dir: there is no store"), err)
	}
	return nil
}
