package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sigmasource/sigmasource/server/keyring"
)

// keyFlags say where the keyset is that seals credentials, and where the store.
type keyFlags struct {
	storageFlags

	keyFile string
	kms     string
}

func (k *keyFlags) register(flags *pflag.FlagSet) {
	k.storageFlags.register(flags)
	flags.StringVar(&k.keyFile, "key-file", "", "Tink keyset that seals credentials (default DATA-DIR/keyset.json); SIGMASOURCE_KEYSET may hold it instead")
	flags.StringVar(&k.kms, "kms", "", "URL of the key that wraps the keyset: awskms://, gcpkms:// or azurekeyvault:// (default SIGMASOURCE_KMS; without one it is in the clear)")
}

func (k *keyFlags) source() keyring.Source {
	path := k.keyFile
	if path == "" {
		path = filepath.Join(k.dataDir, "keyset.json")
	}
	// Not the flag's default, which the help would show: some URLs are keys.
	return keyring.Source{Text: os.Getenv("SIGMASOURCE_KEYSET"), Path: path, KMS: cmp.Or(k.kms, os.Getenv("SIGMASOURCE_KMS"))}
}

func newKeysCommand() *cobra.Command {
	k := &keyFlags{}
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make and rotate the key that seals credentials",
		Long: "The keyset is a file beside the server, or wrapped by a key management service (--kms).\n\n" +
			"To replace the key without downtime: `keys rotate` adds a new one, which servers that run take up by\n" +
			"themselves; `keys reseal` then seals with it what former keys have sealed.",
	}
	k.register(cmd.PersistentFlags())
	cmd.AddCommand(
		&cobra.Command{
			Use:   "new",
			Short: "Make a keyset; fails if there is one",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				source := k.source()
				if err := os.MkdirAll(filepath.Dir(source.Path), 0o700); err != nil {
					return err
				}
				if err := keyring.Create(cmd.Context(), source); err != nil {
					return err
				}
				return say(cmd, "made %s; keep a copy of it: without it, what it sealed is lost", source.Path)
			},
		},
		&cobra.Command{
			Use:   "rotate",
			Short: "Add a new key, which seals from now on; the former ones still open",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				source := k.source()
				if source.Text != "" {
					return errors.New("SIGMASOURCE_KEYSET is set: a variable cannot be rotated; put the keyset into a file")
				}
				if err := keyring.Rotate(cmd.Context(), source); err != nil {
					return err
				}
				return say(cmd, "added a key to %s; now run `sigmasource keys reseal`", source.Path)
			},
		},
		&cobra.Command{
			Use:   "reseal",
			Short: "Seal with the newest key what former ones have sealed, while servers run",
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return k.reseal(cmd) },
		},
	)
	return cmd
}

func (k *keyFlags) reseal(cmd *cobra.Command) (err error) {
	if err := k.mustExist(); err != nil {
		return err
	}
	keys, err := keyring.Open(cmd.Context(), k.source(), time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	kept, err := k.open(cmd.Context(), keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	resealed, err := kept.Reseal(cmd.Context())
	return errors.Join(say(cmd, "resealed %d connections and %d read sessions", resealed.Connections, resealed.Sessions), err)
}

func say(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}
