package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/nodeagent"
	"github.com/kubelite/kubelite/nodeagent/announce"
	"github.com/kubelite/kubelite/proxy"
)

// newAgentCommand is `kubelite agent`: a node's agent, its Service proxy and its load-balancer announcer in one process.
func newAgentCommand() *cobra.Command {
	config := nodeagent.Config{ClusterCIDRs: lab.DefaultNetwork("", 1).PodCIDRs()}
	var kubeconfig string
	var dnsAddress netip.Addr
	served := proxy.Config{Mode: proxy.IPTables}
	verbose := false
	command := &cobra.Command{
		Use:   "agent",
		Short: "Run a node's agent and Service proxy in the foreground",
		Long: `Run a node's agent and Service proxy in the foreground.

"kubelite up" starts one in each node's network namespace. Started on a machine of its own, it makes that machine a node.
"kubelite node credentials" makes the kubeconfig and the certificates. In a network namespace made by hand, start it with
"nsenter --net=/run/netns/NAME": "ip netns exec" hides the control groups.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			setLogLevel(verbose)
			if kubeconfig == "" || config.NodeName == "" || len(config.NodeIPs) == 0 || config.ClientCAFile == "" {
				return errors.New("--kubeconfig, --client-ca-file, --node-name and --node-ip are needed: `kubelite node credentials` makes the files")
			}
			access, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("--kubeconfig: %w", err)
			}
			config.Rest = access
			if dnsAddress.IsValid() {
				config.ClusterDNS = []netip.Addr{dnsAddress}
			}
			return runAgent(command.Context(), config, served)
		},
	}
	flags := command.Flags()
	flags.StringVar(&config.NodeName, "node-name", "", "name of the node")
	addressesFlag(flags, &config.NodeIPs, "node-ip", "address of the node, on which the agent listens, and in a dual-stack cluster its IPv6 address after it")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "the node's kubeconfig")
	flags.StringVar(&config.TLSCertFile, "tls-cert-file", "", "certificate that the agent shows to the API server (default one of its own)")
	flags.StringVar(&config.TLSKeyFile, "tls-private-key-file", "", "its key")
	flags.StringVar(&config.ClientCAFile, "client-ca-file", "", "certificate authority by which the API server is known")
	flags.IntVar(&config.Port, "port", 10250, "port that the agent listens on")
	flags.StringVar(&config.RootDir, "root-dir", "/var/lib/kubelite/agent", "state that survives a reboot")
	flags.StringVar(&config.RunDir, "run-dir", "/run/kubelite/agent", "state that does not")
	flags.StringVar(&config.ImagesDir, "images-dir", "/var/lib/kubelite/images", "image store")
	flags.StringVar(&config.NetNSPrefix, "netns-prefix", "", "what the names of Pods' network namespaces begin with (default kubelite-NODE)")
	flags.StringVar(&config.CgroupParent, "cgroup-parent", "", "control group of the Pods (default /kubelite/NODE)")
	flags.StringVar(&config.PullNetNS, "pull-netns", "", "path of the network namespace from which registries are reached (default this one)")
	prefixesFlag(flags, &config.ClusterCIDRs, "pod-cidr", "network of all Pods, and in a dual-stack cluster the IPv6 one after it")
	flags.StringVar(&config.ClusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	addressFlag(flags, &dnsAddress, "cluster-dns", "ClusterIP of cluster DNS (default 10.96.0.10)")
	flags.IntVar(&config.MaxPods, "max-pods", 110, "how many Pods the node takes")
	flags.StringVar((*string)(&served.Mode), "proxy-mode", string(served.Mode), "how the Service proxy programs the kernel: iptables, nftables, ipvs or userspace")
	flags.StringVar(&served.IPVSScheduler, "ipvs-scheduler", "rr", "how mode ipvs spreads connections")
	flags.BoolVarP(&verbose, "verbose", "v", false, "log more")
	return command
}

// runAgent runs the agent, with a proxy that serves as it is told and an announcer.
func runAgent(ctx context.Context, config nodeagent.Config, served proxy.Config) error {
	underlay, err := interfaceOf(config.NodeIPs[0])
	if err != nil {
		return err
	}
	config.Underlay = underlay
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return nodeagent.Run(ctx, config) })
	group.Go(func() error {
		served.RestConfig, served.NodeName, served.NodeIPs = config.Rest, config.NodeName, config.NodeIPs
		served.ClusterCIDRs = config.ClusterCIDRs
		served.IPVSStrictARP = true // the announcer alone answers ARP for load balancers' addresses
		served.HealthzBindAddress = netip.AddrPortFrom(netip.IPv4Unspecified(), proxy.HealthzPort)
		served.MetricsBindAddress = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), proxy.MetricsPort)
		return proxy.Run(ctx, served)
	})
	group.Go(func() error {
		return announce.Run(ctx, announce.Config{RestConfig: config.Rest, NodeName: config.NodeName, Interface: underlay})
	})
	return group.Wait()
}

// interfaceOf finds the network interface that has the address.
func interfaceOf(address netip.Addr) (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("find the interface of --node-ip %s: %w", address, err)
	}
	for _, candidate := range interfaces {
		addresses, err := candidate.Addrs()
		if err != nil {
			return "", fmt.Errorf("find the interface of --node-ip %s: %w", address, err)
		}
		for _, own := range addresses {
			if prefix, err := netip.ParsePrefix(own.String()); err == nil && prefix.Addr() == address {
				return candidate.Name, nil
			}
		}
	}
	return "", fmt.Errorf("--node-ip %s: no network interface of this node has the address", address)
}
