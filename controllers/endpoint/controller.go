//lint:file-ignore SA1019 Endpoints are deprecated, and served: they are what this package is about.

package endpoint

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/selection"
)

const (
	workers        = 4
	managedByLabel = "endpoints.kubernetes.io/managed-by"
	managedBy      = "endpoint-controller"
)

// Controller keeps Endpoints equal to the Pods that Services select.
type Controller struct {
	client    kubernetes.Interface
	recorder  record.EventRecorder
	services  corelisters.ServiceLister
	index     *selection.Index
	endpoints corelisters.EndpointsLister
	triggers  *selection.TriggerTimes
	synced    []cache.DoneChecker
	queue     *reconcile.Queue[string]
}

// New makes the controller over the factory's Services, Pods and Endpoints; recorder's source is "endpoint-controller".
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*Controller, error) {
	core := factory.Core().V1()
	index, err := selection.NewIndex(factory)
	if err != nil {
		return nil, err
	}
	c := &Controller{
		client:    client,
		recorder:  recorder,
		services:  core.Services().Lister(),
		index:     index,
		endpoints: core.Endpoints().Lister(),
		triggers:  selection.NewTriggerTimes(),
	}
	c.queue = reconcile.NewQueue("endpoint", c.sync)
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		core.Services().Informer(): selection.ServiceHandler(c.queue.Add),
		core.Pods().Informer():     index.PodHandler(c.queue.Add),
		core.Endpoints().Informer(): cache.ResourceEventHandlerFuncs{
			DeleteFunc: func(obj any) { c.queue.Add(reconcile.ObjectKey(obj)) },
		},
	} {
		handled, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch what Endpoints are made of: %w", err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

// Run works until ctx is done. It waits for its caches, which the caller starts. Endpoints whose Service was deleted while
// nothing ran are looked for once.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitFor(ctx, "", c.synced...) {
		return
	}
	managed, err := c.endpoints.List(labels.SelectorFromSet(labels.Set{managedByLabel: managedBy}))
	if err != nil {
		slog.Error("list Endpoints", "error", err)
	}
	for _, endpoints := range managed {
		c.queue.Add(reconcile.ObjectKey(endpoints))
	}
	c.queue.Run(ctx, workers)
}

// sync makes the Endpoints of one Service right. Services without a selector are left to who writes their Endpoints.
func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("sync Endpoints of Service %q: %w", key, err)
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.triggers.Forget(key)
		err := c.client.CoreV1().Endpoints(namespace).Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Endpoints of Service %s: %w", key, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync Endpoints of Service %s: %w", key, err)
	}
	if service.Spec.Selector == nil || service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	pods, err := c.index.PodsOf(service)
	if err != nil {
		return err
	}
	current, err := c.endpoints.Endpoints(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		current, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("read Endpoints of Service %s: %w", key, err)
	}
	trigger := c.triggers.Observe(service, pods)
	wanted := wantedEndpoints(service, pods, current, trigger)
	if current != nil && upToDate(current, wanted) {
		return nil
	}
	if current == nil {
		return c.create(ctx, service, wanted)
	}
	return c.update(ctx, service, wanted)
}

// wantedEndpoints returns what a Service's Endpoints should be. current is what they are, nil if there are none.
func wantedEndpoints(service *corev1.Service, pods []*corev1.Pod, current *corev1.Endpoints, trigger time.Time) *corev1.Endpoints {
	wanted := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name}}
	if current != nil {
		wanted = current.DeepCopy()
	}
	wanted.Labels = maps.Clone(service.Labels)
	if wanted.Labels == nil {
		wanted.Labels = map[string]string{}
	}
	wanted.Labels[managedByLabel] = managedBy
	delete(wanted.Labels, corev1.IsHeadlessService)
	if selection.Headless(service) {
		wanted.Labels[corev1.IsHeadlessService] = ""
	}
	wanted.Subsets = subsetsOf(service, pods)
	annotate(wanted, corev1.EndpointsOverCapacity, "truncated", truncate(wanted.Subsets))
	annotate(wanted, corev1.EndpointsLastChangeTriggerTime, trigger.UTC().Format(time.RFC3339Nano), !trigger.IsZero())
	return wanted
}

// annotate sets an annotation where it is present, and removes it otherwise.
func annotate(endpoints *corev1.Endpoints, key, value string, present bool) {
	if !present {
		delete(endpoints.Annotations, key)
		return
	}
	if endpoints.Annotations == nil {
		endpoints.Annotations = map[string]string{}
	}
	endpoints.Annotations[key] = value
}

// upToDate says whether nothing but the trigger time would change.
func upToDate(current, wanted *corev1.Endpoints) bool {
	return maps.Equal(current.Labels, wanted.Labels) &&
		current.Annotations[corev1.EndpointsOverCapacity] == wanted.Annotations[corev1.EndpointsOverCapacity] &&
		apiequality.Semantic.DeepEqual(withoutVersions(current.Subsets), wanted.Subsets)
}

// withoutVersions drops the Pods' resource versions, which mean nothing here.
func withoutVersions(subsets []corev1.EndpointSubset) []corev1.EndpointSubset {
	result := make([]corev1.EndpointSubset, 0, len(subsets))
	for i := range subsets {
		subset := subsets[i].DeepCopy()
		for _, addresses := range [][]corev1.EndpointAddress{subset.Addresses, subset.NotReadyAddresses} {
			for j := range addresses {
				if addresses[j].TargetRef != nil {
					addresses[j].TargetRef.ResourceVersion = ""
				}
			}
		}
		result = append(result, *subset)
	}
	return result
}

func (c *Controller) create(ctx context.Context, service *corev1.Service, wanted *corev1.Endpoints) error {
	_, err := c.client.CoreV1().Endpoints(service.Namespace).Create(ctx, wanted, metav1.CreateOptions{})
	if err == nil || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		c.recorder.Eventf(wanted, corev1.EventTypeWarning, "FailedToCreateEndpoint",
			"Failed to create endpoint for service %s/%s: %v", service.Namespace, service.Name, err)
	}
	return fmt.Errorf("create Endpoints of Service %s/%s: %w", service.Namespace, service.Name, err)
}

func (c *Controller) update(ctx context.Context, service *corev1.Service, wanted *corev1.Endpoints) error {
	_, err := c.client.CoreV1().Endpoints(service.Namespace).Update(ctx, wanted, metav1.UpdateOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsConflict(err) {
		c.recorder.Eventf(wanted, corev1.EventTypeWarning, "FailedToUpdateEndpoint",
			"Failed to update endpoint %s/%s: %v", service.Namespace, service.Name, err)
	}
	return fmt.Errorf("update Endpoints of Service %s/%s: %w", service.Namespace, service.Name, err)
}
