package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/controllers/deployment"
	"github.com/kubelite/kubelite/controllers/endpoint"
	"github.com/kubelite/kubelite/controllers/endpointslice"
	"github.com/kubelite/kubelite/controllers/endpointslicemirroring"
	"github.com/kubelite/kubelite/controllers/events"
	"github.com/kubelite/kubelite/controllers/garbagecollector"
	"github.com/kubelite/kubelite/controllers/loadbalancer"
	"github.com/kubelite/kubelite/controllers/namespace"
	"github.com/kubelite/kubelite/controllers/nodeipam"
	"github.com/kubelite/kubelite/controllers/nodelifecycle"
	"github.com/kubelite/kubelite/controllers/podgc"
	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/replicaset"
	"github.com/kubelite/kubelite/controllers/scheduler"
	"github.com/kubelite/kubelite/controllers/served"
	"github.com/kubelite/kubelite/controllers/serviceaccount"
)

// Config is what the controllers need to know.
type Config struct {
	// RestConfig leads to the API server. Its content type and limits are overridden: protobuf, no limits.
	RestConfig *rest.Config
	// RootCA is the certificate authority of the API server in PEM, published in every namespace.
	RootCA []byte
	// ClusterCIDRs are the ranges of all Pods: one of IPv4, of which each node gets a range with the mask NodeMask, and in a
	// dual-stack cluster one of IPv6, of which each node gets a /64.
	ClusterCIDRs []netip.Prefix
	NodeMask     int
	// LoadBalancerMode says what addresses Services of type LoadBalancer get; loadbalancer.PoolMode if empty.
	LoadBalancerMode loadbalancer.Mode
	// LoadBalancerPool is where they come from in PoolMode.
	LoadBalancerPool AddressRange
}

// AddressRange is the IPv4 addresses from First to Last, both included.
type AddressRange struct {
	First, Last netip.Addr
}

// controller is what every controller is.
type controller interface {
	Run(ctx context.Context)
}

// clients are the two ways to the API server, over one connection.
type clients struct {
	typed   kubernetes.Interface
	objects metadata.Interface
}

// Run runs all controllers until ctx is done, and returns nil then; it returns early only if they cannot be set up.
// It waits for the API server to answer.
func Run(ctx context.Context, config Config) error {
	connected, err := connect(config.RestConfig)
	if err != nil {
		return fmt.Errorf("connect controllers to the API server: %w", err)
	}
	kinds, err := discoverKinds(ctx, connected.typed)
	if err != nil {
		return nil // ctx is done
	}
	factory := informers.NewSharedInformerFactoryWithOptions(connected.typed, 0, informers.WithTransform(reconcile.StripManagedFields))
	all, err := setUp(ctx, config, connected, kinds, factory)
	if err != nil {
		return fmt.Errorf("set controllers up: %w", err)
	}
	var running sync.WaitGroup
	for _, c := range all {
		running.Go(func() { c.Run(ctx) })
	}
	factory.StartWithContext(ctx)
	running.Wait()
	factory.Shutdown()
	return nil
}

func nodeRanges(config Config) (nodeipam.Ranges, error) {
	if len(config.ClusterCIDRs) == 0 {
		return nodeipam.Ranges{}, errors.New("run controllers: ClusterCIDRs is needed")
	}
	ranges, err := nodeipam.NewRanges(config.ClusterCIDRs[0], config.NodeMask)
	if err != nil || len(config.ClusterCIDRs) == 1 {
		return ranges, err
	}
	return ranges.WithIPv6(config.ClusterCIDRs[1])
}

// setUp makes all controllers over the factory, which it does not start.
func setUp(ctx context.Context, config Config, connected clients, kinds *served.Kinds, factory informers.SharedInformerFactory) ([]controller, error) {
	ranges, err := nodeRanges(config)
	if err != nil {
		return nil, err
	}
	pool, err := loadbalancer.NewPool(config.LoadBalancerPool.First, config.LoadBalancerPool.Last)
	if err != nil {
		return nil, err
	}
	client, recorder := connected.typed, events.NewBroadcaster(ctx, connected.typed).Recorder
	constructors := []func() (controller, error){
		func() (controller, error) { return deployment.New(client, factory, recorder("deployment-controller")) },
		func() (controller, error) { return replicaset.New(client, factory, recorder("replicaset-controller")) },
		func() (controller, error) { return scheduler.New(client, factory, recorder("default-scheduler")) },
		func() (controller, error) { return podgc.New(client, factory, podgc.Settings{}) },
		func() (controller, error) { return endpoint.New(client, factory, recorder("endpoint-controller")) },
		func() (controller, error) { return endpointslice.New(client, factory) },
		func() (controller, error) {
			return endpointslicemirroring.New(client, factory, recorder("endpoint-slice-mirroring-controller"))
		},
		func() (controller, error) {
			return loadbalancer.New(client, factory, recorder("service-controller"), loadbalancer.Config{Mode: config.LoadBalancerMode, Pool: pool})
		},
		func() (controller, error) { return nodeipam.New(client, factory, recorder("cidrAllocator"), ranges) },
		func() (controller, error) {
			return nodelifecycle.New(client, factory, recorder("node-controller"), nodelifecycle.DefaultGracePeriod)
		},
		func() (controller, error) { return namespace.New(client, connected.objects, kinds, factory) },
		func() (controller, error) {
			return garbagecollector.New(connected.objects, kinds, factory, sharedKinds())
		},
		func() (controller, error) { return serviceaccount.New(client, factory, config.RootCA) },
	}
	all := make([]controller, len(constructors))
	for i, construct := range constructors {
		if all[i], err = construct(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// sharedKinds are those that some controller besides the garbage collector watches as whole objects.
func sharedKinds() map[schema.GroupVersionResource]bool {
	shared := map[schema.GroupVersionResource]bool{
		appsv1.SchemeGroupVersion.WithResource("deployments"):         true,
		appsv1.SchemeGroupVersion.WithResource("replicasets"):         true,
		discoveryv1.SchemeGroupVersion.WithResource("endpointslices"): true,
	}
	for _, resource := range []string{"endpoints", "namespaces", "nodes", "pods", "services"} {
		shared[corev1.SchemeGroupVersion.WithResource(resource)] = true
	}
	return shared
}

// connect makes the clients. Neither limits itself: the API server is the only one to say that it is too much.
func connect(config *rest.Config) (clients, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil
	config.WarningHandler = rest.NoWarnings{} // v1 Endpoints are deprecated, and kept on purpose
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if config.UserAgent == "" {
		config.UserAgent = "kubelite-controllers"
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return clients{}, err
	}
	typed, err := kubernetes.NewForConfigAndClient(config, client)
	if err != nil {
		return clients{}, err
	}
	objects, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	if err != nil {
		return clients{}, err
	}
	return clients{typed: typed, objects: objects}, nil
}

// discoverKinds asks until the API server answers or ctx is done.
func discoverKinds(ctx context.Context, client kubernetes.Interface) (*served.Kinds, error) {
	var kinds *served.Kinds
	said := false
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		found, err := served.Discover(client.Discovery())
		if err != nil {
			if !said {
				slog.Info("controllers wait for the API server", "error", err)
				said = true
			}
			return false, nil
		}
		kinds = found
		return true, nil
	})
	return kinds, err
}
