package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/kubelite/kubelite/internal/mirror"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	defaultDomain = "cluster.local"
	defaultTTL    = 30
)

// Config is what the name server needs to know. The zero value is right inside a Pod.
type Config struct {
	// RestConfig leads to the API server; nil for that of the Pod's service account.
	RestConfig *rest.Config
	// ClusterDomain is the cluster's domain; empty for cluster.local.
	ClusterDomain string
	// Upstreams are resolvers for all other names, as host or host:port. With none, other names do not exist.
	Upstreams []string
	// Listen is the address for DNS over UDP and TCP; empty for ":53".
	Listen string
	// HealthListen serves /health: the process lives; empty for ":8080".
	HealthListen string
	// ReadyListen serves /ready: all Services are known; empty for ":8181".
	ReadyListen string
	// TTL is how long answers may be kept, in seconds; 0 for 30, as kubeadm configures CoreDNS.
	TTL uint32
}

func (c *Config) setDefaults() error {
	c.ClusterDomain = strings.ToLower(strings.Trim(c.ClusterDomain, "."))
	if c.ClusterDomain == "" {
		c.ClusterDomain = defaultDomain
	}
	if _, ok := dns.IsDomainName(c.ClusterDomain); !ok {
		return fmt.Errorf("cluster domain %q is not a domain name", c.ClusterDomain)
	}
	for _, setting := range []struct {
		value    *string
		fallback string
	}{{&c.Listen, ":53"}, {&c.HealthListen, ":8080"}, {&c.ReadyListen, ":8181"}} {
		if *setting.value == "" {
			*setting.value = setting.fallback
		}
	}
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	c.Upstreams = slices.Clone(c.Upstreams) // the list is the caller's
	for i, upstream := range c.Upstreams {
		if _, _, err := net.SplitHostPort(upstream); err != nil {
			c.Upstreams[i] = net.JoinHostPort(strings.Trim(upstream, "[]"), "53")
		}
	}
	return nil
}

// Run answers questions until ctx is done, and then returns nil. It is an error if an address cannot be listened on or
// there is no way to reach the API server; one that does not answer is waited for.
func Run(ctx context.Context, config Config) error {
	if config.RestConfig == nil {
		inCluster, err := rest.InClusterConfig()
		if err != nil {
			return fmt.Errorf("run name server: %w", err)
		}
		config.RestConfig = inCluster
	}
	restConfig := rest.CopyConfig(config.RestConfig)
	restConfig.ContentType = "application/vnd.kubernetes.protobuf"
	restConfig.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("run name server: %w", err)
	}
	return serve(ctx, client, config)
}

// serve is Run with a client.
func serve(ctx context.Context, client kubernetes.Interface, config Config) error {
	if err := config.setDefaults(); err != nil {
		return fmt.Errorf("run name server: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	records, synced := watch(ctx, client)
	handler := &handler{
		zone:    zone{domain: config.ClusterDomain + ".", ttl: config.TTL},
		records: records,
		synced:  synced,
		forward: forwarder{config.Upstreams},
	}
	listening, err := listen(config)
	if err != nil {
		return fmt.Errorf("run name server: %w", err)
	}
	slog.Info("name server listens", "address", config.Listen, "domain", config.ClusterDomain, "upstreams", config.Upstreams)
	if err := listening.serve(ctx, handler); err != nil {
		return fmt.Errorf("run name server: %w", err)
	}
	return nil
}

// watch keeps the records up to date until ctx is done.
func watch(ctx context.Context, client kubernetes.Interface) (r records, synced func() bool) {
	services := mirror.New(client, client.CoreV1().Services(metav1.NamespaceAll), &corev1.Service{},
		mirror.Options{Transform: strip, Indexers: serviceIndexers})
	endpointSlices := mirror.New(client, client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll), &discoveryv1.EndpointSlice{},
		mirror.Options{Transform: strip, Indexers: sliceIndexers})
	go services.Run(ctx)
	go endpointSlices.Run(ctx)
	synced = func() bool { return services.HasSynced() && endpointSlices.HasSynced() }
	return records{services.Objects(), endpointSlices.Objects()}, synced
}
