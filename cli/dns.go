package cli

import (
	"github.com/spf13/cobra"

	"github.com/kubelite/kubelite/addons/dns"
)

// newDNSCommand is `kubelite dns`: cluster DNS, as the coredns Pods run it.
func newDNSCommand() *cobra.Command {
	config := dns.Config{}
	verbose := false
	command := &cobra.Command{
		Use:   "dns",
		Short: "Run cluster DNS (what the coredns Pods run)",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			setLogLevel(verbose)
			return dns.Run(command.Context(), config)
		},
	}
	flags := command.Flags()
	flags.StringVar(&config.ClusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	flags.StringArrayVar(&config.Upstreams, "dns-upstream", nil, "resolver for all other names, as HOST[:PORT]; may be repeated (default none: such names do not exist)")
	flags.StringVar(&config.Listen, "listen", ":53", "address for DNS, UDP and TCP")
	flags.BoolVarP(&verbose, "verbose", "v", false, "log more")
	return command
}
