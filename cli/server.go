package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubelite/kubelite/addons/dns"
	"github.com/kubelite/kubelite/apiserver"
	"github.com/kubelite/kubelite/cli/cluster"
	"github.com/kubelite/kubelite/cli/lab"
	"github.com/kubelite/kubelite/controllers"
	"github.com/kubelite/kubelite/controllers/loadbalancer"
	"github.com/kubelite/kubelite/internal/pki"
)

// serverFlags are what `kubelite server` is told.
type serverFlags struct {
	dataDir    string
	balancer   string
	listen     []string
	listenFDs  int
	advertise  string
	agents     string
	network    lab.Network
	services   []netip.Prefix // networks of ClusterIPs
	pods       []netip.Prefix // networks of Pods
	domain     string
	dnsAddress netip.Addr
	upstreams  []string
	seed       uint64
	kubeconfig string
	verbose    bool
}

// newServerCommand is `kubelite server`: the API server, the controllers and the scheduler in one process.
func newServerCommand() *cobra.Command {
	f := serverFlags{network: lab.DefaultNetwork("", 1)}
	f.services, f.pods = f.network.ServiceCIDRs(), f.network.PodCIDRs()
	f.dnsAddress = f.network.ServiceAddress(10)
	command := &cobra.Command{
		Use:   "server",
		Short: "Run the API server, the controllers and the scheduler in the foreground",
		Long: `Run the API server, the controllers and the scheduler in the foreground.

"kubelite up" starts one for each cluster. Run alone, it makes its certificate authority at the first start, and writes an
administrator's kubeconfig where --write-kubeconfig says. "kubelite node credentials" makes what agents need.`,
		Example: "  kubelite server --data-dir /tmp/server --write-kubeconfig /tmp/admin.kubeconfig",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			setLogLevel(f.verbose)
			return runServer(command.Context(), f)
		},
	}
	flags := command.Flags()
	flags.StringVar(&f.dataDir, "data-dir", serverDataDir, "where the store and the keys are kept")
	flags.StringSliceVar(&f.listen, "listen", []string{"127.0.0.1:6443"}, "addresses to listen on")
	flags.IntVar(&f.listenFDs, "listen-fds", 0, "number of listening sockets inherited as file descriptors 3 and on; --listen is ignored then")
	flags.StringVar(&f.advertise, "advertise-address", "", "HOST:PORT by which Pods reach the API server (default the first of --listen)")
	flags.StringVar(&f.agents, "agents-netns", "", "path of the network namespace from which agents are reached (default this one)")
	prefixesFlag(flags, &f.services, "service-cidr", "network of the Services' ClusterIPs, and in a dual-stack cluster the IPv6 one after it")
	flags.Var(&f.network.NodePorts, "node-ports", "ports for Services of type NodePort")
	prefixesFlag(flags, &f.pods, "pod-cidr", "network of the Pods, and in a dual-stack cluster the IPv6 one after it")
	flags.IntVar(&f.network.NodeMask, "node-mask", f.network.NodeMask, "prefix length of a node's part of --pod-cidr")
	flags.StringVar(&f.balancer, "load-balancer", "pool", "pool: a Service of type LoadBalancer gets an address of its own from --load-balancers; node: it is reached at the nodes' own addresses")
	flags.Var(&f.network.LoadBalancers, "load-balancers", "addresses for Services of type LoadBalancer")
	flags.StringVar(&f.domain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	addressFlag(flags, &f.dnsAddress, "dns-address", "ClusterIP of cluster DNS")
	flags.StringSliceVar(&f.upstreams, "dns-upstream", nil, "resolvers that cluster DNS asks for other names")
	flags.Uint64Var(&f.seed, "seed", 0, "make generated names and addresses the same every time (default 0: they are random)")
	flags.StringVar(&f.kubeconfig, "write-kubeconfig", "", "file to write an administrator's kubeconfig to")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	return command
}

func runServer(ctx context.Context, f serverFlags) error {
	authority, err := pki.LoadOrCreate(cluster.PKIDir(f.dataDir))
	if err != nil {
		return err
	}
	config, err := f.apiserverConfig()
	if err != nil {
		return err
	}
	config.Authority = authority
	server, err := apiserver.New(config)
	if err != nil {
		return err
	}
	url := "https://" + server.Addresses()[0].String()
	if err := f.writeKubeconfig(authority, url); err != nil {
		return errors.Join(err, server.Close())
	}
	access, err := clientAccess(authority, url, "system:kube-controller-manager")
	if err != nil {
		return errors.Join(err, server.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	group.Go(func() error {
		return controllers.Run(ctx, controllers.Config{
			RestConfig:       access,
			RootCA:           authority.CertificatePEM(),
			ClusterCIDRs:     f.pods,
			NodeMask:         f.network.NodeMask,
			LoadBalancerMode: loadbalancer.Mode(f.balancer),
			LoadBalancerPool: controllers.AddressRange(f.network.LoadBalancers),
		})
	})
	group.Go(func() error {
		if !f.dnsAddress.IsValid() {
			return nil
		}
		return installAddon(ctx, access, dns.Objects(dns.ManifestConfig{
			Image:         cluster.OwnImage,
			ClusterIP:     f.dnsAddress.String(),
			ClusterDomain: f.domain,
			Upstreams:     f.upstreams,
		}))
	})
	return group.Wait()
}

func (f serverFlags) apiserverConfig() (apiserver.Config, error) {
	config := apiserver.Config{
		DataDir:       f.dataDir,
		ServiceCIDRs:  f.services,
		NodePortFirst: f.network.NodePorts.First,
		NodePortLast:  f.network.NodePorts.Last,
		ClusterDomain: f.domain,
		AgentNetns:    f.agents,
		Seed:          f.seed,
	}
	advertise := f.advertise
	if advertise == "" && f.listenFDs == 0 && len(f.listen) > 0 {
		advertise = f.listen[0]
	}
	endpoint, err := netip.ParseAddrPort(advertise)
	if err != nil {
		return config, fmt.Errorf("--advertise-address %q: write ADDRESS:PORT: %w", advertise, err)
	}
	config.AdvertiseAddress, config.AdvertisePort = endpoint.Addr(), int(endpoint.Port())
	for i := range f.listenFDs {
		file := os.NewFile(uintptr(3+i), "socket "+strconv.Itoa(i))
		listener, err := net.FileListener(file)
		if err != nil {
			return config, fmt.Errorf("--listen-fds %d: file descriptor %d: %w", f.listenFDs, 3+i, err)
		}
		file.Close()
		config.Listeners = append(config.Listeners, listener)
	}
	if f.listenFDs == 0 {
		for _, address := range f.listen {
			config.Listen = append(config.Listen, apiserver.Address{Address: address})
		}
	}
	return config, nil
}

func (f serverFlags) writeKubeconfig(authority *pki.Authority, url string) error {
	if f.kubeconfig == "" {
		return nil
	}
	admin, err := authority.IssueClient("kubernetes-admin", "system:masters")
	if err != nil {
		return err
	}
	return pki.WriteKubeconfig(f.kubeconfig, authority.Kubeconfig(pki.Access{Context: "kubelite", User: "kubelite", Server: url}, admin))
}

// clientAccess is one of the server's own components' way to the API server: over TLS, as any other client's.
func clientAccess(authority *pki.Authority, url, user string) (*rest.Config, error) {
	credentials, err := authority.IssueClient(user)
	if err != nil {
		return nil, err
	}
	kubeconfig := authority.Kubeconfig(pki.Access{Context: "kubelite", User: user, Server: url}, credentials)
	access, err := clientcmd.NewDefaultClientConfig(*kubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, err
	}
	access.WarningHandler = rest.NoWarnings{} // they are for people
	return access, nil
}
