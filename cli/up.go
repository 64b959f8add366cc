package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubelite/kubelite/cli/cluster"
	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/proxy/ipvs"
)

// newUpCommand is `kubelite up`: it makes or resumes a cluster.
func newUpCommand(streams genericiooptions.IOStreams) *cobra.Command {
	network := lab.DefaultNetwork("", 2)
	config := cluster.DefaultConfig(network)
	var timeout time.Duration
	var bundle string
	command := &cobra.Command{
		Use:   "up",
		Short: "Make a cluster on this machine, or resume it",
		Long: `Make a cluster on this machine, or resume it after a crash or a reboot.

It checks what it needs, builds the lab network (a switch, a laptop, the nodes), starts the server and an agent per node, and
returns when the API answers, all nodes are Ready and cluster DNS resolves. What runs already is left alone.

The proxy mode, the IPVS scheduler and the way of load balancers can be changed while the cluster runs: run it again with the
flag. Pods and open connections go on, but for connections through mode userspace.`,
		Example: "  sudo kubelite up\n  sudo kubelite up --name churn --nodes 3 --uplink off\n  sudo kubelite up --proxy-mode nftables",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout %s: use a duration above zero, as in 30s or 2m", timeout)
			}
			config.Network = onUnderlay(network, command.Flags())
			ctx, cancel := context.WithTimeoutCause(command.Context(), timeout,
				fmt.Errorf("it took longer than --timeout %s; what was started still runs: look at `kubelite status`, and run `kubelite up` again to go on waiting", timeout))
			defer cancel()
			return up(ctx, streams.Out, cluster.UpOptions{Config: config, Asked: command.Flags().Changed, Bundle: bundle})
		},
	}
	flags := command.Flags()
	addNameFlag(command, &network.Cluster)
	flags.IntVar(&network.Nodes, "nodes", network.Nodes, "number of nodes")
	flags.StringVar(&config.Uplink, "uplink", config.Uplink, "auto: this machine's own programs reach the underlay by one link in the root network namespace, unless its routes overlap; off: it is left untouched")
	prefixFlag(flags, &network.Underlay, "underlay", "network of the nodes, the laptop and the load balancers")
	addressFlag(flags, &network.Server, "server-address", "the API server's address on the underlay")
	addressFlag(flags, &network.Laptop, "laptop-address", "the laptop's address on the underlay")
	flags.Var(&network.LoadBalancers, "load-balancers", "addresses of the underlay for Services of type LoadBalancer")
	prefixFlag(flags, &network.PodCIDR, "pod-cidr", "network of the Pods")
	flags.IntVar(&network.NodeMask, "node-mask", network.NodeMask, "prefix length of a node's part of --pod-cidr")
	prefixFlag(flags, &network.ServiceCIDR, "service-cidr", "network of the Services' ClusterIPs")
	flags.BoolVar(&network.DualStack, "dual-stack", false, "give nodes, Pods and Services IPv6 addresses beside those of IPv4")
	flags.Var(&network.NodePorts, "node-ports", "ports for Services of type NodePort")
	flags.IntVar(&config.APIPort, "api-port", 0, "the API server's port on 127.0.0.1 (default 6443, or the next free one)")
	flags.StringVar(&config.ClusterDomain, "cluster-domain", config.ClusterDomain, "DNS domain of the cluster")
	flags.StringVar(&config.DNSUpstream, "dns-upstream", "", "resolver that cluster DNS asks for names outside the cluster, as HOST:PORT reached from the nodes (default none: such names do not exist)")
	flags.StringVar((*string)(&config.ProxyMode), "proxy-mode", string(config.ProxyMode), "how the nodes' Service proxies program the kernel: iptables, nftables, ipvs or userspace")
	flags.StringVar(&config.IPVSScheduler, "ipvs-scheduler", config.IPVSScheduler, "how mode ipvs spreads connections: "+strings.Join(ipvs.Schedulers(), ", "))
	flags.StringVar(&config.LoadBalancer, "load-balancer", config.LoadBalancer, "pool: a Service of type LoadBalancer gets an address of its own from --load-balancers, as in a cloud; node: it is reached at the nodes' own addresses, as in k3s and Docker Desktop")
	flags.Uint64Var(&config.Seed, "seed", 0, "make generated names and addresses the same every time (default 0: they are random)")
	flags.StringVar(&bundle, "images", defaultBundle(), "bundle of images to load at first")
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait until everything is ready")
	return command
}

// onUnderlay gives what has no flag of its own its usual place on the underlay that was asked for.
func onUnderlay(network lab.Network, flags *pflag.FlagSet) lab.Network {
	moved := lab.DefaultNetwork(network.Cluster, network.Nodes).OnUnderlay(network.Underlay)
	if !flags.Changed("server-address") {
		network.Server = moved.Server
	}
	if !flags.Changed("laptop-address") {
		network.Laptop = moved.Laptop
	}
	if !flags.Changed("load-balancers") {
		network.LoadBalancers = moved.LoadBalancers
	}
	return network
}

// defaultBundle is the bundle that `make images` builds beside the binary, or `make install` puts into ../share/kubelite.
func defaultBundle() string {
	executable, err := os.Executable()
	if err != nil {
		return ""
	}
	folder := filepath.Dir(executable)
	for _, path := range []string{filepath.Join(folder, "images.tar"), filepath.Join(folder, "../share/kubelite/images.tar")} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func up(ctx context.Context, out io.Writer, options cluster.UpOptions) error {
	started := time.Now()
	var line sync.Mutex // steps end on several goroutines
	options.Step = func(what string, took time.Duration) {
		line.Lock()
		defer line.Unlock()
		fmt.Fprintf(out, " ✓ %-62s %6d ms\n", what, took.Milliseconds())
	}
	c, err := cluster.Up(ctx, options)
	if errors.Is(err, cluster.ErrRunning) {
		fmt.Fprintf(out, "Cluster %q is already running; nothing was changed. See `kubelite status`. Your kubectl context is %q.\n", c.Name(), cluster.ContextName(c.Name()))
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted; what was started still runs: `kubelite up --name %[1]s` goes on, `kubelite down --name %[1]s` ends it", options.Config.Network.Cluster)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Cluster %q is up after %.2f s. Your kubectl context is %q.\n", c.Name(), time.Since(started).Seconds(), cluster.ContextName(c.Name()))
	return nil
}

// prefixFlag makes a network a flag.
func prefixFlag(flags *pflag.FlagSet, prefix *netip.Prefix, name, usage string) {
	flags.TextVar(prefix, name, *prefix, usage)
}

// prefixesFlag makes networks a flag: one, or one of each address family.
func prefixesFlag(flags *pflag.FlagSet, prefixes *[]netip.Prefix, name, usage string) {
	flags.Var(&listFlag[netip.Prefix]{prefixes, "NETWORK[,NETWORK]", netip.ParsePrefix}, name, usage)
}

// addressesFlag makes addresses a flag: one, or one of each address family.
func addressesFlag(flags *pflag.FlagSet, addresses *[]netip.Addr, name, usage string) {
	flags.Var(&listFlag[netip.Addr]{addresses, "ADDRESS[,ADDRESS]", netip.ParseAddr}, name, usage)
}

// listFlag is a flag whose value is a comma-separated list.
type listFlag[T fmt.Stringer] struct {
	list  *[]T
	kind  string // the flag's placeholder
	parse func(string) (T, error)
}

func (f *listFlag[T]) Type() string { return f.kind }

func (f *listFlag[T]) String() string {
	if f.list == nil { // as pflag makes one to learn what no value looks like
		return ""
	}
	texts := make([]string, len(*f.list))
	for i, element := range *f.list {
		texts[i] = element.String()
	}
	return strings.Join(texts, ",")
}

func (f *listFlag[T]) Set(text string) error {
	var list []T
	for part := range strings.SplitSeq(text, ",") {
		element, err := f.parse(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		list = append(list, element)
	}
	*f.list = list
	return nil
}

// addressFlag makes an address a flag.
func addressFlag(flags *pflag.FlagSet, address *netip.Addr, name, usage string) {
	flags.TextVar(address, name, *address, usage)
}
