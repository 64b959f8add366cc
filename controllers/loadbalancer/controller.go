package loadbalancer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/reconcile"
)

// cleanupFinalizer is set by service controllers of clouds. It is not needed here, but a Service that brings it along must
// not wait for ever.
const cleanupFinalizer = "service.kubernetes.io/load-balancer-cleanup"

// Controller hands out load balancer addresses. Its one worker owns taken and waiting.
type Controller struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	pool     Pool
	services corelisters.ServiceLister
	synced   cache.DoneChecker
	queue    *reconcile.Queue[string]

	taken   map[string]netip.Addr // by Service key
	waiting map[string]bool       // keys of Services that got none
}

// New makes the controller over the factory's Services; recorder's source is "service-controller".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, pool Pool) (*Controller, error) {
	services := factory.Core().V1().Services()
	c := &Controller{
		client: client, recorder: recorder, pool: pool, services: services.Lister(),
		taken: map[string]netip.Addr{}, waiting: map[string]bool{},
	}
	c.queue = reconcile.NewQueue("loadbalancer", c.sync)
	handled, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
		UpdateFunc: func(_, obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
		DeleteFunc: func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch Services for their addresses: %w", err)
	}
	c.synced = handled.HasSyncedChecker()
	return c, nil
}

// Run hands out addresses until ctx is done. It waits for its cache: no address is chosen before all taken ones are known.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitFor(ctx, "", c.synced) {
		return
	}
	if err := c.readBack(); err != nil {
		slog.Error("read load balancer addresses back", "error", err)
		return
	}
	c.queue.Run(ctx, 1)
}

// readBack learns the addresses of all Services from their status, of an older Service first.
func (c *Controller) readBack() error {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(reconcile.ObjectKey(a), reconcile.ObjectKey(b)))
	})
	known := map[netip.Addr]bool{}
	for _, service := range all {
		address := heldAddress(service)
		if wantsAddress(service) && address.IsValid() && c.pool.Contains(address) && !known[address] {
			known[address] = true
			c.taken[reconcile.ObjectKey(service)] = address
		}
	}
	return nil
}

func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("balance Service %q: %w", key, err)
	}
	service, err := c.services.Services(namespace).Get(name)
	switch {
	case apierrors.IsNotFound(err):
		delete(c.waiting, key)
		c.release(key)
		return nil
	case err != nil:
		return fmt.Errorf("balance Service %s: %w", key, err)
	case wantsAddress(service):
		return c.ensure(ctx, key, service)
	}
	return c.withdraw(ctx, key, service)
}

// ensure gives a Service its address.
func (c *Controller) ensure(ctx context.Context, key string, service *corev1.Service) error {
	address, err := c.choose(key, service)
	if err != nil {
		c.release(key)
		if !c.waiting[key] {
			c.recorder.Eventf(service, corev1.EventTypeWarning, "SyncLoadBalancerFailed",
				"Error syncing load balancer: failed to ensure load balancer: %v", err)
		}
		c.waiting[key] = true
		return c.write(ctx, service, statusWith(netip.Addr{}))
	}
	delete(c.waiting, key)
	if before, had := c.taken[key]; had && before != address {
		c.release(key)
	}
	c.taken[key] = address
	status := statusWith(address)
	if sameStatus(service.Status.LoadBalancer, status) {
		return nil
	}
	c.recorder.Event(service, corev1.EventTypeNormal, "EnsuringLoadBalancer", "Ensuring load balancer")
	if err := c.write(ctx, service, status); err != nil {
		return err
	}
	c.recorder.Event(service, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Ensured load balancer")
	return nil
}

func (c *Controller) choose(key string, service *corev1.Service) (netip.Addr, error) {
	requested, err := requestedAddress(service)
	if err != nil {
		return netip.Addr{}, err
	}
	others := make(map[netip.Addr]bool, len(c.taken))
	for other, address := range c.taken {
		if other != key {
			others[address] = true
		}
	}
	held, chosen := c.taken[key]
	if !chosen {
		held = heldAddress(service)
	}
	return c.pool.choose(requested, held, others)
}

// withdraw takes the address from a Service that is deleted or of another type by now.
func (c *Controller) withdraw(ctx context.Context, key string, service *corev1.Service) error {
	delete(c.waiting, key)
	if service.DeletionTimestamp != nil && service.Spec.LoadBalancerClass == nil {
		c.release(key)
		return c.removeFinalizer(ctx, service)
	}
	_, had := c.taken[key]
	pending := sameStatus(service.Status.LoadBalancer, statusWith(netip.Addr{}))
	// Another implementation's Services are its own business.
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer && !had {
		return nil
	}
	if !pending {
		c.recorder.Event(service, corev1.EventTypeNormal, "DeletingLoadBalancer", "Deleting load balancer")
		if err := c.write(ctx, service, statusWith(netip.Addr{})); err != nil {
			return err
		}
		c.recorder.Event(service, corev1.EventTypeNormal, "DeletedLoadBalancer", "Deleted load balancer")
	}
	c.release(key)
	return c.removeFinalizer(ctx, service)
}

// release frees the Service's address and wakes those that wait for one.
func (c *Controller) release(key string) {
	if _, had := c.taken[key]; !had {
		return
	}
	delete(c.taken, key)
	for other := range c.waiting {
		c.queue.Add(other)
	}
}

func (c *Controller) write(ctx context.Context, service *corev1.Service, status corev1.LoadBalancerStatus) error {
	if sameStatus(service.Status.LoadBalancer, status) {
		return nil
	}
	changed := service.DeepCopy()
	changed.Status.LoadBalancer = status
	_, err := c.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write load balancer status of Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return nil
}

func (c *Controller) removeFinalizer(ctx context.Context, service *corev1.Service) error {
	at := slices.Index(service.Finalizers, cleanupFinalizer)
	if at < 0 {
		return nil
	}
	changed := service.DeepCopy()
	changed.Finalizers = slices.Delete(changed.Finalizers, at, at+1)
	_, err := c.client.CoreV1().Services(service.Namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove finalizer of Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return nil
}
