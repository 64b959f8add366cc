package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubelite/kubelite/cli/cluster"
)

// Main runs the command line and returns the process's exit code.
func Main(arguments []string, in io.Reader, out, errOut io.Writer) int {
	if len(arguments) > 1 && slices.Contains(processNames, arguments[1]) {
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(50) // a long-running process's memory is scarcer than its CPU time in a small virtual machine
		}
		return run(processRoot(), arguments[1:], errOut)
	}
	return runWithVerbs(arguments, in, out, errOut)
}

// processNames are the commands that are the cluster's processes.
var processNames = []string{"server", "agent", "dns", "service-proxy"}

// processRoot is the command tree of the cluster's processes, without kubectl's verbs.
func processRoot() *cobra.Command {
	root := &cobra.Command{Use: "kubelite", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newServerCommand(), newAgentCommand(), newDNSCommand(), newServiceProxyCommand())
	return root
}

// run executes one of kubelite's own commands in a tree. Its context ends with the first signal; kubectl's verbs see to theirs.
func run(root *cobra.Command, arguments []string, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process
	root.SetArgs(arguments)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(errOut, "error: %v\n", err)
		return 1
	}
	return 0
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
