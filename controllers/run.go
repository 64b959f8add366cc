package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubelite/kubelite/controllers/deployment"
	"github.com/kubelite/kubelite/controllers/events"
	"github.com/kubelite/kubelite/controllers/garbagecollector"
	"github.com/kubelite/kubelite/controllers/namespace"
	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/replicaset"
	"github.com/kubelite/kubelite/controllers/served"
	"github.com/kubelite/kubelite/controllers/serviceaccount"
)

// Config is what the controllers need to know.
type Config struct {
	// RestConfig leads to the API server. Its content type and limits are overridden: protobuf, no limits.
	RestConfig *rest.Config
	// RootCA is the certificate authority of the API server in PEM, published in every namespace.
	RootCA []byte
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

// setUp makes all controllers over the factory, which it does not start.
func setUp(ctx context.Context, config Config, connected clients, kinds *served.Kinds, factory informers.SharedInformerFactory) ([]controller, error) {
	broadcaster := events.NewBroadcaster(ctx, connected.typed)
	var all []controller
	var failures []error
	add := func(name string, c controller, err error) {
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", name, err))
			return
		}
		all = append(all, c)
	}
	deployments, err := deployment.New(connected.typed, factory, broadcaster.Recorder("deployment-controller"))
	add("deployment", deployments, err)
	replicaSets, err := replicaset.New(connected.typed, factory, broadcaster.Recorder("replicaset-controller"))
	add("replicaset", replicaSets, err)
	namespaces, err := namespace.New(connected.typed, connected.objects, kinds, factory)
	add("namespace", namespaces, err)
	accounts, err := serviceaccount.New(connected.typed, factory, config.RootCA)
	add("serviceaccount", accounts, err)
	garbage, err := garbagecollector.New(connected.objects, kinds, factory, sharedKinds())
	add("garbagecollector", garbage, err)
	return all, errors.Join(failures...)
}

// sharedKinds are those that some controller besides the garbage collector watches as whole objects.
func sharedKinds() map[schema.GroupVersionResource]bool {
	return map[schema.GroupVersionResource]bool{
		appsv1.SchemeGroupVersion.WithResource("deployments"): true,
		appsv1.SchemeGroupVersion.WithResource("replicasets"): true,
		corev1.SchemeGroupVersion.WithResource("namespaces"):  true,
		corev1.SchemeGroupVersion.WithResource("pods"):        true,
	}
}

// connect makes the clients. Neither limits itself: the API server is the only one to say that it is too much.
func connect(config *rest.Config) (clients, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil
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
