package endpointslice

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/selection"
	"github.com/kubelite/kubelite/controllers/slicing"
)

const workers = 4

// Controller keeps EndpointSlices equal to the Pods that Services select.
type Controller struct {
	services corelisters.ServiceLister
	index    *selection.Index
	nodes    corelisters.NodeLister
	slices   *slicing.Slices
	triggers *selection.TriggerTimes
	synced   []cache.DoneChecker
	queue    *reconcile.Queue[string]
}

// New makes the controller over the factory's Services, Pods, Nodes and EndpointSlices. It does nothing before Run.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*Controller, error) {
	core := factory.Core().V1()
	index, err := selection.NewIndex(factory)
	if err != nil {
		return nil, err
	}
	c := &Controller{
		services: core.Services().Lister(),
		index:    index,
		nodes:    core.Nodes().Lister(),
		triggers: selection.NewTriggerTimes(),
	}
	c.queue = reconcile.NewQueue("endpointslice", c.sync)
	slices, slicesSynced, err := slicing.New(client, factory, managedBy, c.queue.Add)
	if err != nil {
		return nil, err
	}
	c.slices = slices
	c.synced = append(c.synced, slicesSynced)
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		core.Services().Informer(): selection.ServiceHandler(c.queue.Add),
		core.Pods().Informer():     index.PodHandler(c.queue.Add),
		core.Nodes().Informer():    c.nodeHandler(),
	} {
		handled, err := informer.AddEventHandler(handler)
		if err != nil {
			return nil, fmt.Errorf("watch what EndpointSlices are made of: %w", err)
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

// nodeHandler looks at all Services again when a Node comes, goes or moves to another zone.
func (c *Controller) nodeHandler() cache.ResourceEventHandler {
	addAll := func() {
		services, err := c.services.List(labels.Everything())
		if err != nil {
			slog.Error("list Services", "error", err)
		}
		for _, service := range services {
			c.queue.Add(reconcile.ObjectKey(service))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { addAll() },
		UpdateFunc: func(old, obj any) {
			if old.(*corev1.Node).Labels[corev1.LabelTopologyZone] != obj.(*corev1.Node).Labels[corev1.LabelTopologyZone] {
				addAll()
			}
		},
		DeleteFunc: func(any) { addAll() },
	}
}

// sync makes the slices of one Service right. Services without a selector are left to who writes their endpoints. One that is being
// deleted is served until it is gone, but gets no more slices: the garbage collector is about to delete those that it has.
func (c *Controller) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return fmt.Errorf("sync EndpointSlices of Service %q: %w", key, err)
	}
	service, err := c.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.triggers.Forget(key)
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync EndpointSlices of Service %s: %w", key, err)
	}
	if service.Spec.Selector == nil || service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	pods, err := c.index.PodsOf(service)
	if err != nil {
		return err
	}
	existing, err := c.slices.Of(key)
	if err != nil {
		return err
	}
	nodes, err := c.nodesOf(pods)
	if err != nil {
		return err
	}
	trigger := c.triggers.Observe(service, pods)
	changes := slicing.Plan(ownerOf(service), membersOf(service, pods, nodes), existing)
	if service.DeletionTimestamp != nil {
		changes.Create = nil
	}
	return c.slices.Apply(ctx, changes, trigger)
}

// nodesOf returns the Nodes of Pods by name, without those that are gone.
func (c *Controller) nodesOf(pods []*corev1.Pod) (map[string]*corev1.Node, error) {
	byName := map[string]*corev1.Node{}
	for _, pod := range pods {
		name := pod.Spec.NodeName
		if _, known := byName[name]; known || name == "" {
			continue
		}
		node, err := c.nodes.Get(name)
		if apierrors.IsNotFound(err) {
			continue // it is told of when it comes
		}
		if err != nil {
			return nil, fmt.Errorf("look up Node %s: %w", name, err)
		}
		byName[name] = node
	}
	return byName, nil
}
