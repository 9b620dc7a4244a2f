package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sigmasource/sigmasource/server/auth"
)

func newTokenCommand() *cobra.Command {
	var principal string
	var workspaces []string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a caller, and the entry of it for `serve --tokens`",
		Long: "Prints a new token to standard error, once: it is kept nowhere. Standard output gets the entry that lets it in,\n" +
			"to be put into the list `tokens` of the file that `serve --tokens` reads.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, hash := auth.NewToken()
			entry, err := json.MarshalIndent(map[string]any{"principal": principal, "hash": hash, "workspaces": workspaces}, "", "  ")
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
	cmd.Flags().StringArrayVar(&workspaces, "workspace", nil, "a workspace that it may use; repeatable, * for all")
	for _, name := range []string{"principal", "workspace"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}
