package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/kubelite/kubelite/internal/netns"
	"github.com/kubelite/kubelite/proxy/backend"
	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// defaultCheckInterval is how often the kernel's rules are looked at when Config does not say.
const defaultCheckInterval = 3 * time.Second

// Config is what a proxy needs to know.
type Config struct {
	// RestConfig leads to the API server. Its content type is set to protobuf.
	RestConfig *rest.Config
	// NodeName is the name of the Node whose endpoints are local.
	NodeName string
	// NodeIPs are the node's own addresses.
	NodeIPs []netip.Addr
	// ClusterCIDR holds the addresses of all Pods. What comes from elsewhere to a ClusterIP is masqueraded; with the zero
	// Prefix it is not.
	ClusterCIDR netip.Prefix
	// Mode is how the kernel is programmed; empty for IPTables.
	Mode Mode
	// IPVSScheduler is how mode IPVS spreads connections; empty for rr.
	IPVSScheduler string
	// NetNS is the path of the network namespace to program; empty for the process's own.
	NetNS string
	// NoLocalhostNodePorts keeps node ports off 127.0.0.1 and the sysctl route_localnet as it is.
	NoLocalhostNodePorts bool
	// CheckInterval is how often the kernel's rules are looked at; 0 for 3 seconds.
	CheckInterval time.Duration
}

// Run proxies until ctx is done, and then returns nil and leaves all rules in place. It returns an error only when it
// cannot begin: no iptables, or no right to use it. An API server that is away is waited for.
func Run(ctx context.Context, config Config) error {
	if config.RestConfig == nil || config.NodeName == "" {
		return errors.New("run service proxy: RestConfig and NodeName are needed")
	}
	restConfig := rest.CopyConfig(config.RestConfig)
	restConfig.ContentType = "application/vnd.kubernetes.protobuf"
	restConfig.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("run service proxy: %w", err)
	}
	return serve(ctx, client, config)
}

// serve is Run with a client.
func serve(ctx context.Context, client kubernetes.Interface, config Config) error {
	if config.Mode == "" {
		config.Mode = IPTables
	}
	if config.CheckInterval == 0 {
		config.CheckInterval = defaultCheckInterval
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := watch(ctx, client)
	if !watched.synced(ctx) {
		return nil
	}
	return netns.Do(config.NetNS, func() error {
		localhost := !config.NoLocalhostNodePorts
		if localhost {
			if err := allowRouteLocalnet(); err != nil {
				slog.Warn("node ports are not served on 127.0.0.1", "error", err)
				localhost = false
			}
		}
		backend, err := modes[config.Mode].start(ctx, config, backend.Options{
			Family:             corev1.IPv4Protocol,
			ClusterCIDR:        config.ClusterCIDR,
			NodeIPs:            config.NodeIPs,
			LocalhostNodePorts: localhost,
			MasqueradeBit:      14,
		})
		if err != nil {
			return fmt.Errorf("run service proxy: %w", err)
		}
		programmer := programmer{watched: watched, backend: backend, node: plan.Node{Name: config.NodeName}}
		return programmer.run(ctx, config.CheckInterval)
	})
}
