// Command sigmasource is the whole service in one binary: the server (serve) with
// what its operator needs (token, keys), a demonstration that needs nothing else
// (demo), and the command line that speaks gRPC to a server (connections, scan,
// workbooks, models, preview, read, selftest).
//
// Package main only wires: flags to configuration, configuration to the
// packages under server, answers to a terminal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	printError(os.Stderr, err)
	var exit exitError
	if errors.As(err, &exit) {
		os.Exit(exit.code)
	}
	os.Exit(1)
}

// exitError ends the program with a code of its own, after its message was
// printed elsewhere.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sigmasource",
		Short: "Turns the elements of Sigma workbooks into models that other software can read",
		Long: "sigmasource keeps Sigma API credentials beside a warehouse, finds every workbook element that\n" +
			"they may see, and streams an element's rows from the warehouse.\n\n" +
			"Start with: sigmasource demo",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newServeCommand(),
		newDemoCommand(),
		newTokenCommand(),
		newKeysCommand(),
		newConnectionsCommand(),
		newScanCommand(),
		newScansCommand(),
		newChangesCommand(),
		newWorkbooksCommand(),
		newModelsCommand(),
		newPreviewCommand(),
		newReadCommand(),
		newSelftestCommand(),
	)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())
	})
	return root
}
