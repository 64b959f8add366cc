package loadbalancer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
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

// cleanupFinalizer keeps a deleted Service until what it has is taken back. Controllers of clouds use the same.
const cleanupFinalizer = "service.kubernetes.io/load-balancer-cleanup"

// unavailable is Kubernetes' message for a Service whose load balancer leads nowhere.
const unavailable = "There are no available nodes for LoadBalancer"

// Controller gives Services their load balancer addresses. Its one worker owns balancer and waiting.
type Controller struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	mode     Mode
	services corelisters.ServiceLister
	synced   []cache.DoneChecker
	queue    *reconcile.Queue[string]

	balancer balancer
	waiting  map[string]string // why Services got nothing, by key
}

// New makes the controller over the factory's Services, and in NodeMode its Nodes and EndpointSlices; recorder's source is
// "service-controller".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, config Config) (*Controller, error) {
	services := factory.Core().V1().Services()
	c := &Controller{client: client, recorder: recorder, mode: config.Mode, services: services.Lister(), waiting: map[string]string{}}
	c.queue = reconcile.NewQueue("loadbalancer", c.sync)
	var seen *cluster
	var err error
	if config.Mode == NodeMode {
		if seen, c.synced, err = newCluster(factory, c.queue.Add); err != nil {
			return nil, err
		}
	}
	if c.balancer, err = newBalancer(config, seen); err != nil {
		return nil, err
	}
	handled, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
		UpdateFunc: func(old, obj any) { c.updated(old.(*corev1.Service), obj.(*corev1.Service)) },
		DeleteFunc: func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch Services for their addresses: %w", err)
	}
	c.synced = append(c.synced, handled.HasSyncedChecker())
	return c, nil
}

// Run hands out addresses until ctx is done. It waits for its caches: no address is chosen before all taken ones are known.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitFor(ctx, "", c.synced...) {
		return
	}
	if err := c.readBack(); err != nil {
		slog.Error("read load balancer addresses back", "error", err)
		return
	}
	c.queue.Run(ctx, 1)
}

// readBack learns what all Services have from their status, of an older Service first.
func (c *Controller) readBack() error {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	slices.SortFunc(all, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(reconcile.ObjectKey(a), reconcile.ObjectKey(b)))
	})
	for _, service := range all {
		if wantsAddress(service) {
			c.balancer.adopt(service)
		}
	}
	return nil
}

func (c *Controller) updated(old, service *corev1.Service) {
	balanced := corev1.ServiceTypeLoadBalancer
	if old.Spec.Type != service.Spec.Type && (old.Spec.Type == balanced || service.Spec.Type == balanced) {
		c.recorder.Eventf(service, corev1.EventTypeNormal, "Type", "%s -> %s", old.Spec.Type, service.Spec.Type)
	}
	c.queue.Add(reconcile.ObjectKey(service))
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

// ensure gives a Service its addresses.
func (c *Controller) ensure(ctx context.Context, key string, service *corev1.Service) error {
	status, freed, err := c.balancer.assign(service)
	if freed {
		c.wake()
	}
	switch {
	case err != nil:
		c.wait(key, service, "SyncLoadBalancerFailed", fmt.Sprintf("Error syncing load balancer: failed to ensure load balancer: %v", err))
	case len(status.Ingress) == 0:
		c.wait(key, service, "UnAvailableLoadBalancer", unavailable)
	default:
		delete(c.waiting, key)
	}
	given := len(status.Ingress) > 0
	finished := !given || slices.Contains(service.Finalizers, cleanupFinalizer)
	if sameStatus(service.Status.LoadBalancer, status) && finished {
		return nil
	}
	moved := c.mode == NodeMode && given && len(service.Status.LoadBalancer.Ingress) > 0
	if given {
		if !moved {
			c.recorder.Event(service, corev1.EventTypeNormal, "EnsuringLoadBalancer", "Ensuring load balancer")
		}
		if service, err = c.addFinalizer(ctx, service); err != nil {
			return err
		}
	}
	if _, err := c.write(ctx, service, status); err != nil {
		return err
	}
	switch {
	case moved:
		c.recorder.Event(service, corev1.EventTypeNormal, "UpdatedLoadBalancer", "Updated load balancer with new hosts")
	case given:
		c.recorder.Event(service, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Ensured load balancer")
	}
	return nil
}

// wait notes that a Service gets nothing, and says why unless that has been said.
func (c *Controller) wait(key string, service *corev1.Service, reason, message string) {
	if c.waiting[key] != message {
		c.recorder.Event(service, corev1.EventTypeWarning, reason, message)
	}
	c.waiting[key] = message
}

// withdraw takes the addresses from a Service that is deleted or of another type by now.
func (c *Controller) withdraw(ctx context.Context, key string, service *corev1.Service) error {
	delete(c.waiting, key)
	held, pending := c.balancer.holds(key), len(service.Status.LoadBalancer.Ingress) == 0
	// Another implementation's Services are its own business.
	if service.Spec.LoadBalancerClass != nil && !held {
		return nil
	}
	finalized := slices.Contains(service.Finalizers, cleanupFinalizer)
	if pending && !held && !finalized {
		return nil
	}
	c.recorder.Event(service, corev1.EventTypeNormal, "DeletingLoadBalancer", "Deleting load balancer")
	service, err := c.write(ctx, service, corev1.LoadBalancerStatus{})
	if err != nil {
		return err
	}
	c.release(key)
	if err := c.removeFinalizer(ctx, service); err != nil {
		return err
	}
	c.recorder.Event(service, corev1.EventTypeNormal, "DeletedLoadBalancer", "Deleted load balancer")
	return nil
}

// release frees what the Service has.
func (c *Controller) release(key string) {
	if c.balancer.release(key) {
		c.wake()
	}
}

// wake looks again at the Services that wait for what another one had.
func (c *Controller) wake() {
	for waiting := range c.waiting {
		c.queue.Add(waiting)
	}
}

// write returns the Service as it is then. That it is gone meanwhile is no error.
func (c *Controller) write(ctx context.Context, service *corev1.Service, status corev1.LoadBalancerStatus) (*corev1.Service, error) {
	if sameStatus(service.Status.LoadBalancer, status) {
		return service, nil
	}
	changed := service.DeepCopy()
	changed.Status.LoadBalancer = status
	written, err := c.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return changed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("write load balancer status of Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return written, nil
}

// addFinalizer returns the Service as it is then.
func (c *Controller) addFinalizer(ctx context.Context, service *corev1.Service) (*corev1.Service, error) {
	if slices.Contains(service.Finalizers, cleanupFinalizer) {
		return service, nil
	}
	changed := service.DeepCopy()
	changed.Finalizers = append(changed.Finalizers, cleanupFinalizer)
	written, err := c.client.CoreV1().Services(service.Namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("add finalizer to Service %s/%s: %w", service.Namespace, service.Name, err)
	}
	return written, nil
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
