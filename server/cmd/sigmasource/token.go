package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sigmasource/sigmasource/server/auth"
)

func newTokenCommand() *cobra.Command {
	var principal string
	var grants []string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a caller, and the entry of it for `serve --callers`",
		Long: "Prints a new token to standard error, once: it is kept nowhere. Standard output gets the entry that lets it in,\n" +
			"to be put into the list `tokens` of the file that `serve --callers` reads; a server that runs takes it up by itself.\n" +
			"Roles: viewer (read the catalog, preview), operator (also scan and check), admin (also manage connections).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roles, err := auth.ParseGrants(grants)
			if err != nil {
				return fmt.Errorf("--role: %w", err)
			}
			token, hash := auth.NewToken()
			entry, err := json.MarshalIndent(auth.Token{Principal: principal, Hash: hash, Roles: roles}, "", "  ")
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.ErrOrStderr(), token); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(entry))
			return err
		},
	}
	cmd.Flags().StringVar(&principal, "principal", "", "whose token it is, for the log")
	cmd.Flags().StringArrayVar(&grants, "role", nil, "WORKSPACE=ROLE: what it may do where; repeatable, * stands for all workspaces")
	for _, name := range []string{"principal", "role"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}
