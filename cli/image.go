package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/cli/cluster"
	"github.com/kubelite/kubelite/nodeagent/images"
)

// newImageCommand is `kubelite image`: the images that Pods on this machine can run without a registry.
func newImageCommand(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{
		Use:   "image",
		Short: "Load, list and remove the images of this machine's clusters",
		RunE:  needSubcommand,
	}
	open := func() (*images.Store, error) {
		if os.Geteuid() != 0 {
			return nil, errors.New("only root may use the image store: run it with sudo")
		}
		return images.Open(cluster.ImagesDir())
	}
	command.AddCommand(
		&cobra.Command{
			Use:     "load FILE...",
			Short:   "Load images from archives: OCI layouts in tar files, or what `docker save` writes (- is standard input)",
			Example: "  docker save my/app:v1 | sudo kubelite image load -",
			Args:    cobra.MinimumNArgs(1),
			RunE: func(command *cobra.Command, paths []string) error {
				store, err := open()
				if err != nil {
					return err
				}
				for _, path := range paths {
					file := os.Stdin
					if path != "-" {
						if file, err = os.Open(path); err != nil {
							return fmt.Errorf("load images: %w", err)
						}
						defer file.Close()
					}
					loaded, err := store.Load(command.Context(), file)
					if err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					for _, image := range loaded {
						fmt.Fprintf(streams.Out, "Loaded %s\n", strings.Join(image.Names, ", "))
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use:     "list",
			Aliases: []string{"ls"},
			Short:   "List the images",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				store, err := open()
				if err != nil {
					return err
				}
				list, err := store.List()
				if err != nil {
					return err
				}
				table := tabwriter.NewWriter(streams.Out, 0, 8, 3, ' ', 0)
				fmt.Fprintln(table, "IMAGE\tIMAGE ID\tSIZE")
				for _, image := range list {
					for _, name := range image.Names {
						fmt.Fprintf(table, "%s\t%s\t%.1f MB\n", name, strings.TrimPrefix(image.ID, "sha256:")[:12], float64(image.Size)/1e6)
					}
				}
				return table.Flush()
			},
		},
		&cobra.Command{
			Use:     "rm IMAGE...",
			Aliases: []string{"remove"},
			Short:   "Remove images by name, or by ID with all their names",
			Args:    cobra.MinimumNArgs(1),
			RunE: func(_ *cobra.Command, references []string) error {
				store, err := open()
				if err != nil {
					return err
				}
				inUse, err := cluster.LayersInUse()
				if err != nil {
					return err
				}
				for _, reference := range references {
					if _, err := store.Remove(reference, inUse); err != nil {
						return err
					}
					fmt.Fprintf(streams.Out, "Removed %s\n", reference)
				}
				return nil
			},
		},
	)
	return command
}
