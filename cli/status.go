package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/kubelite/kubelite/cli/cluster"
)

// newStatusCommand is `kubelite status`: nodes, processes with their memory, addresses.
func newStatusCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var name, output string
	command := &cobra.Command{
		Use:   "status",
		Short: "Show a cluster's nodes, addresses, and processes with their memory",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := cluster.Load(name)
			if err != nil {
				return err
			}
			if os.Geteuid() != 0 {
				return errors.New("only root can look at a cluster's processes: run it with sudo")
			}
			ctx, cancel := context.WithTimeout(command.Context(), 5*time.Second)
			defer cancel()
			status, err := c.Status(ctx)
			if err != nil {
				return err
			}
			switch output {
			case "":
				return status.Print(streams.Out)
			case "json":
				encoder := json.NewEncoder(streams.Out)
				encoder.SetIndent("", "    ")
				return encoder.Encode(status)
			case "yaml":
				data, err := yaml.Marshal(status)
				if err != nil {
					return err
				}
				_, err = streams.Out.Write(data)
				return err
			}
			return fmt.Errorf("--output %q: use json or yaml", output)
		},
	}
	addNameFlag(command, &name)
	command.Flags().StringVarP(&output, "output", "o", "", "json or yaml")
	return command
}
