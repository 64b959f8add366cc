package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/cli/cluster"
)

// newDownCommand is `kubelite down`: it ends a cluster.
func newDownCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var name string
	var purge bool
	command := &cobra.Command{
		Use:   "down",
		Short: "End a cluster: every process, namespace, link, mount and rule of it",
		Long: `End a cluster: every process, namespace, link, mount and rule of it.

Its objects stay on the disk, and "kubelite up" resumes it, unless --purge removes them too. Images stay.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if os.Geteuid() != 0 {
				return errors.New("only root can end a cluster: run it with sudo")
			}
			started := time.Now()
			remove, done := cluster.Down, "is down; its objects are kept for the next `kubelite up`"
			if purge {
				remove, done = cluster.Purge, "is gone"
			}
			err := remove(name)
			if errors.Is(err, cluster.ErrNotFound) {
				done = "does not exist on this machine; nothing was done"
			} else if err != nil {
				return err
			}
			if err := cluster.RemoveContext(name); err != nil {
				return fmt.Errorf("cluster %q %s; but its context is left in your kubeconfig: %w", name, done, err)
			}
			fmt.Fprintf(streams.Out, "Cluster %q %s (%.2f s).\n", name, done, time.Since(started).Seconds())
			return nil
		},
	}
	addNameFlag(command, &name)
	command.Flags().BoolVar(&purge, "purge", false, "remove the cluster's durable state as well")
	return command
}
