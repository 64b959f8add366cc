package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kube-proxy/config/v1alpha1"

	"github.com/kubelite/kubelite/proxy"
)

// serviceProxyOptions is what the command line says. Settings that KubeProxyConfiguration has are kept in it.
type serviceProxyOptions struct {
	settings v1alpha1.KubeProxyConfiguration
	file     string
	master   string
	cleanup  bool
	initOnly bool
	// writeFile is where the settings are to be written instead of being served; empty for nowhere.
	writeFile string
	// verbosity is klog's: from 2 on more is logged.
	verbosity int
}

// newServiceProxyCommand is `kubelite service-proxy`: the Service proxy alone, in the place of kube-proxy.
func newServiceProxyCommand() *cobra.Command {
	options := serviceProxyOptions{settings: defaultProxySettings()}
	command := &cobra.Command{
		Use:   "service-proxy",
		Short: "Run the Service proxy alone, against any Kubernetes API server",
		Long: `Run the Service proxy alone, in the place of kube-proxy, against any Kubernetes API server.

Its flags are those of kube-proxy and mean the same; --config reads a KubeProxyConfiguration. It programs the network namespace that
it is started in, until it is ended. Its rules then stay; --cleanup removes them, in whichever mode they were made. End kube-proxy and
run "kube-proxy --cleanup" before.`,
		Example: `  sudo kubelite service-proxy --kubeconfig /etc/kubernetes/kube-proxy.conf --hostname-override node-1 --cluster-cidr 10.244.0.0/16
  sudo kubelite service-proxy --config /var/lib/kube-proxy/config.conf --proxy-mode nftables
  sudo kubelite service-proxy --cleanup`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			setLogLevel(options.verbosity >= 2)
			if options.writeFile != "" {
				return options.writeTo(options.writeFile, command.Flags())
			}
			if err := checkNetAdmin(); err != nil {
				return err
			}
			if options.cleanup {
				return proxy.Cleanup(command.Context(), "")
			}
			return runServiceProxy(command.Context(), options, command.Flags())
		},
	}
	options.addFlags(command.Flags())
	speakAsKubeProxy(command)
	return command
}

// addFlags makes o's settings flags, whose defaults are what the settings are now.
func (o *serviceProxyOptions) addFlags(flags *pflag.FlagSet) {
	s := &o.settings
	flags.StringVar(&o.file, "config", "", "file with a KubeProxyConfiguration; settings of it that are given as flags too are the flags'")
	flags.StringVar(&o.writeFile, "write-config-to", "", "write the settings that are given, with the defaults of the others, to this file, and end")
	flags.BoolVar(&o.cleanup, "cleanup", false, "remove the rules of every mode, and end")
	flags.BoolVar(&o.initOnly, "init-only", false, "set the limits of connection tracking, and end")
	flags.StringVar(&s.ClientConnection.Kubeconfig, "kubeconfig", s.ClientConnection.Kubeconfig, "how to reach the API server (default as a Pod does)")
	flags.StringVar(&o.master, "master", "", "URL of the API server, instead of the kubeconfig's")
	flags.StringVar(&s.HostnameOverride, "hostname-override", s.HostnameOverride, "name of the Node (default this machine's host name)")
	flags.StringVar(&s.BindAddress, "bind-address", s.BindAddress, "the node's address (default those of the Node object, which can be of both families)")
	flags.StringVar(&s.HealthzBindAddress, "healthz-bind-address", s.HealthzBindAddress, "where to serve /healthz and /livez; empty for nowhere")
	flags.StringVar(&s.MetricsBindAddress, "metrics-bind-address", s.MetricsBindAddress, "where to serve /metrics and /proxyMode; empty for nowhere")
	flags.StringVar((*string)(&s.Mode), "proxy-mode", string(s.Mode), "how the kernel is programmed: iptables, nftables, ipvs or userspace")
	flags.Int32Var(s.IPTables.MasqueradeBit, "iptables-masquerade-bit", *s.IPTables.MasqueradeBit, "bit of the packet mark for packets to masquerade, 0 to 31")
	flags.BoolVar(&s.IPTables.MasqueradeAll, "masquerade-all", s.IPTables.MasqueradeAll, "masquerade everything that is sent to a ClusterIP")
	flags.BoolVar(s.IPTables.LocalhostNodePorts, "iptables-localhost-nodeports", *s.IPTables.LocalhostNodePorts, "serve node ports on 127.0.0.1; only mode iptables can")
	flags.StringVar(&s.IPVS.Scheduler, "ipvs-scheduler", s.IPVS.Scheduler, "how mode ipvs spreads connections")
	flags.BoolVar(&s.IPVS.StrictARP, "ipvs-strict-arp", s.IPVS.StrictARP, "answer ARP only for addresses of the interface that is asked: arp_ignore 1, arp_announce 2")
	for _, mode := range []struct {
		name         string
		period, rest *time.Duration
	}{{"iptables", &s.IPTables.SyncPeriod.Duration, &s.IPTables.MinSyncPeriod.Duration}, {"ipvs", &s.IPVS.SyncPeriod.Duration, &s.IPVS.MinSyncPeriod.Duration}} {
		flags.DurationVar(mode.period, mode.name+"-sync-period", *mode.period, "how often to look whether someone else changed the rules (default 1s)")
		flags.DurationVar(mode.rest, mode.name+"-min-sync-period", *mode.rest, "taken, but not needed: a change is programmed at once, and those that come meanwhile together after it")
	}
	flags.StringVar((*string)(&s.DetectLocalMode), "detect-local-mode", string(s.DetectLocalMode), "how Pods are told from others: ClusterCIDR, by their addresses")
	flags.StringVar(&s.ClusterCIDR, "cluster-cidr", s.ClusterCIDR, "network of all Pods, or two of them with a comma: what comes from elsewhere to a ClusterIP is masqueraded (default: nothing is)")
	flags.StringSliceVar(&s.NodePortAddresses, "nodeport-addresses", s.NodePortAddresses, "networks of the node's addresses that serve node ports, or primary, localhost, all (default primary in mode nftables, else all)")
	flags.Int32Var(s.Conntrack.MaxPerCore, "conntrack-max-per-core", *s.Conntrack.MaxPerCore, "how many connections to track per CPU core; 0 leaves it as it is")
	flags.Int32Var(s.Conntrack.Min, "conntrack-min", *s.Conntrack.Min, "how many connections to track at least")
	flags.DurationVar(&s.Conntrack.TCPEstablishedTimeout.Duration, "conntrack-tcp-timeout-established", s.Conntrack.TCPEstablishedTimeout.Duration, "how long an idle TCP connection is remembered; 0 leaves it as it is")
	flags.DurationVar(&s.Conntrack.TCPCloseWaitTimeout.Duration, "conntrack-tcp-timeout-close-wait", s.Conntrack.TCPCloseWaitTimeout.Duration, "how long a TCP connection that one side closed is remembered; 0 leaves it as it is")
	flags.BoolVar(&s.Conntrack.TCPBeLiberal, "conntrack-tcp-be-liberal", s.Conntrack.TCPBeLiberal, "accept TCP packets outside of the window")
	flags.DurationVar(&s.Conntrack.UDPTimeout.Duration, "conntrack-udp-timeout", s.Conntrack.UDPTimeout.Duration, "how long a UDP client without an answer is remembered; 0 leaves it as it is")
	flags.DurationVar(&s.Conntrack.UDPStreamTimeout.Duration, "conntrack-udp-timeout-stream", s.Conntrack.UDPStreamTimeout.Duration, "how long a UDP client with answers is remembered; 0 leaves it as it is")
	flags.DurationVar(&s.ConfigSyncPeriod.Duration, "config-sync-period", s.ConfigSyncPeriod.Duration, "taken, but not needed: the API server tells of every change")
	flags.IntVarP(&o.verbosity, "v", "v", 0, "how much to log; from 2 on more")
	o.addUnservedFlags(flags)
}

// checkNetAdmin returns an error that says what to do where the process may not change netfilter rules. A container's root often may not.
func checkNetAdmin() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("the Service proxy is made of netfilter rules, which only root (CAP_NET_ADMIN) can change: run it with sudo")
	}
	return nil
}

func runServiceProxy(ctx context.Context, options serviceProxyOptions, flags *pflag.FlagSet) error {
	settings, err := options.read(flags)
	if err != nil {
		return err
	}
	warnOfUnserved(settings, flags)
	config, err := proxyConfig(settings)
	if err != nil {
		return err
	}
	if options.initOnly {
		return config.Conntrack.Set()
	}
	config.RestConfig, err = apiAccess(options.master, settings.ClientConnection.Kubeconfig)
	if err != nil {
		return err
	}
	if config.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("--hostname-override is needed, for this machine's host name is not known: %w", err)
		}
		config.NodeName = strings.ToLower(strings.TrimSpace(host))
	}
	if len(config.NodeIPs) == 0 {
		config.NodeIPsOfNode = true
		config.NodeIPs, err = nodeAddresses(ctx, config)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	slog.Info("service proxy", "mode", config.Mode, "node", config.NodeName, "addresses", fmt.Sprint(config.NodeIPs), "apiServer", config.RestConfig.Host)
	return proxy.Run(ctx, config)
}

// warnOfUnserved names in the log what is set and does nothing here.
func warnOfUnserved(settings v1alpha1.KubeProxyConfiguration, flags *pflag.FlagSet) {
	names := unservedSettings(settings)
	flags.Visit(func(flag *pflag.Flag) {
		if _, unserved := unservedTexts[flag.Name]; unserved {
			names = append(names, "--"+flag.Name)
		}
	})
	for _, name := range names {
		slog.Warn("a setting of kube-proxy is not served", "setting", name)
	}
}

// nodeAddresses are the Node object's.
func nodeAddresses(ctx context.Context, config proxy.Config) ([]netip.Addr, error) {
	client, err := kubernetes.NewForConfig(config.RestConfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	found, err := proxy.FindNodeIPs(ctx, client, config.NodeName)
	if err != nil {
		return nil, fmt.Errorf("%w; name the Node by --hostname-override, or give its address by --bind-address", err)
	}
	return found, nil
}

// apiAccess is the way to the API server: the kubeconfig's and, without one, a Pod's own.
func apiAccess(master, kubeconfig string) (*rest.Config, error) {
	if master == "" && kubeconfig == "" {
		access, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig or --master is needed outside of a Pod: %w", err)
		}
		return access, nil
	}
	access, err := clientcmd.BuildConfigFromFlags(master, kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", kubeconfig, err)
	}
	return access, nil
}
