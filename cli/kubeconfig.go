package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/cli/cluster"
)

// newKubeconfigCommand is `kubelite kubeconfig`: the administrator's kubeconfig of a cluster.
func newKubeconfigCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var name string
	var path bool
	command := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print a cluster's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := cluster.Load(name)
			if err != nil {
				return err
			}
			if path {
				_, err := fmt.Fprintln(streams.Out, c.Kubeconfig())
				return err
			}
			data, err := os.ReadFile(c.Kubeconfig())
			if errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("only root can read the administrator's kubeconfig of cluster %q: run it with sudo", name)
			}
			if err != nil {
				return fmt.Errorf("print the kubeconfig of cluster %q: %w", name, err)
			}
			_, err = streams.Out.Write(data)
			return err
		},
	}
	addNameFlag(command, &name)
	command.Flags().BoolVar(&path, "path", false, "print the file's path instead")
	return command
}
