//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpointslicemirroring

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/slicing"
)

const workers = 2

// Controller mirrors Endpoints to EndpointSlices.
type Controller struct {
	recorder  record.EventRecorder
	services  corelisters.ServiceLister
	endpoints corelisters.EndpointsLister
	slices    *slicing.Slices
	synced    []cache.DoneChecker
	queue     *reconcile.Queue[string]
}

// New makes the controller over the factory's Services, Endpoints and EndpointSlices; recorder's source is
// "endpoint-slice-mirroring-controller".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*Controller, error) {
	services, endpoints := factory.Core().V1().Services(), factory.Core().V1().Endpoints()
	c := &Controller{recorder: recorder, services: services.Lister(), endpoints: endpoints.Lister()}
	c.queue = reconcile.NewQueue("endpointslicemirroring", c.sync)
	slices, slicesSynced, err := slicing.New(client, factory, managedBy, c.queue.Add)
	if err != nil {
		return nil, err
	}
	c.slices = slices
	c.synced = append(c.synced, slicesSynced)
	add := func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) }
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), endpoints.Informer()} {
		handled, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }, DeleteFunc: add,
		})
		if err != nil {
			return nil, fmt.Errorf("watch Endpoints to mirror: %w", err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

// Run works until ctx is done. It waits for its caches, which the caller starts.
func (c *Controller) Run(ctx context.Context) {
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
}

// sync makes the mirrored slices of one Service right; none where there is nothing to mirror.
func (c *Controller) sync(ctx context.Context, key string) error {
	endpoints, err := c.toMirror(key)
	if err != nil {
		return err
	}
	existing, err := c.slices.Of(key)
	if err != nil {
		return err
	}
	if endpoints == nil {
		return c.slices.Apply(ctx, slicing.Changes{Delete: existing}, time.Time{})
	}
	members, skipped, invalid := membersOf(endpoints)
	changes := slicing.Plan(ownerOf(endpoints), members, existing)
	if !changes.Empty() {
		c.warn(endpoints, skipped, invalid)
	}
	return c.slices.Apply(ctx, changes, time.Time{})
}

// toMirror returns the Endpoints of the key if they are to be mirrored, nil otherwise.
func (c *Controller) toMirror(key string) (*corev1.Endpoints, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil, fmt.Errorf("mirror Endpoints %q: %w", key, err)
	}
	endpoints, err := c.endpoints.Endpoints(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && !mirrored(endpoints) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirror Endpoints %s: %w", key, err)
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && service.Spec.Selector != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirror Endpoints %s: %w", key, err)
	}
	return endpoints, nil
}

func (c *Controller) warn(endpoints *corev1.Endpoints, skipped, invalid int) {
	if invalid > 0 {
		c.recorder.Eventf(endpoints, corev1.EventTypeWarning, "InvalidIPAddress",
			"Skipped %d invalid IP addresses when mirroring to EndpointSlices", invalid)
	}
	if skipped > 0 {
		c.recorder.Eventf(endpoints, corev1.EventTypeWarning, "TooManyAddressesToMirror",
			"A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped", limit, skipped)
	}
}
