package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubelite/kubelite/cli/cluster"
)

// exitCode is the error of a command that has said everything already and only ends with this code.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs the command line and returns the process's exit code.
func Main(arguments []string, in io.Reader, out, errOut io.Writer) int {
	if len(arguments) > 1 && slices.Contains(processNames, arguments[1]) {
		return run(processRoot(), arguments[1:], errOut)
	}
	return runWithVerbs(arguments, in, out, errOut)
}

// processNames are the commands that are the cluster's processes.
var processNames = []string{"server", "agent", "dns"}

// processRoot is the command tree of the cluster's processes, without kubectl's verbs.
func processRoot() *cobra.Command {
	root := &cobra.Command{Use: "kubelite", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newServerCommand(), newAgentCommand(), newDNSCommand())
	return root
}

// run executes one of kubelite's own commands in a tree. Its context ends with the first signal; kubectl's verbs see to theirs.
func run(root *cobra.Command, arguments []string, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process
	root.SetArgs(arguments)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(errOut, "error: %v\n", err)
	return 1
}

// needSubcommand is what a command does that only has others below it: without one it shows them.
func needSubcommand(command *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return fmt.Errorf("unknown command %q for %q: see `%[2]s --help`", arguments[0], command.CommandPath())
	}
	return command.Help()
}

// addNameFlag adds --name, whose default is $KUBELITE_NAME or "kubelite".
func addNameFlag(command *cobra.Command, name *string) {
	command.Flags().StringVar(name, "name", defaultName(), "name of the cluster (default from $KUBELITE_NAME)")
}

func defaultName() string {
	if name := os.Getenv("KUBELITE_NAME"); name != "" {
		return name
	}
	return cluster.DefaultName
}

// setLogLevel makes the default logger, which writes to standard error, say more.
func setLogLevel(verbose bool) {
	if verbose {
		slog.SetLogLoggerLevel(slog.LevelDebug)
	}
}
