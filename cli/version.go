package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/internal/version"
)

// speakForBoth makes kubectl's version command say kubelite's version as well. Its structured output is kubectl's own.
func speakForBoth(root *cobra.Command, streams genericiooptions.IOStreams) {
	for _, command := range root.Commands() {
		if command.Name() != "version" {
			continue
		}
		command.Short = "Print the versions of kubelite, of its kubectl verbs and of the server"
		verb := command.Run
		command.Run = func(command *cobra.Command, arguments []string) {
			if output, err := command.Flags().GetString("output"); err == nil && output == "" {
				fmt.Fprintf(streams.Out, "kubelite Version: v%s (Kubernetes %s)\n", version.Kubelite, version.Kubernetes)
			}
			verb(command, arguments)
		}
	}
}
