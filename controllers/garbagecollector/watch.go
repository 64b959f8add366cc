package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/kubelite/kubelite/controllers/reconcile"
	"github.com/kubelite/kubelite/controllers/served"
)

const workers = 5

// Controller collects garbage.
type Controller struct {
	objects metadata.Interface
	kinds   *served.Kinds
	graph   *graph
	own     []cache.SharedIndexInformer
	synced  []cache.DoneChecker
	queue   *reconcile.Queue[task]
}

// New makes the controller for objects of the given kinds. Those of the kinds in shared come from the factory's informers,
// whose objects are whole but there anyway; the others are watched through objects, of which only the metadata that
// matters is kept. It does nothing before Run.
func New(objects metadata.Interface, kinds *served.Kinds, factory informers.SharedInformerFactory, shared map[schema.GroupVersionResource]bool) (*Controller, error) {
	c := &Controller{objects: objects, kinds: kinds, graph: newGraph()}
	c.queue = reconcile.NewQueue("garbagecollector", c.sync)
	for _, kind := range kinds.All() {
		if isEvent(kind.Resource.GroupResource()) {
			continue
		}
		var informer cache.SharedIndexInformer
		if shared[kind.Resource] {
			generic, err := factory.ForResource(kind.Resource)
			if err != nil {
				return nil, fmt.Errorf("watch %s for garbage: %w", kind.Resource.GroupResource(), err)
			}
			informer = generic.Informer()
		} else {
			informer = metadatainformer.NewFilteredMetadataInformer(objects, kind.Resource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
			if err := informer.SetTransform(strip); err != nil {
				return nil, fmt.Errorf("watch %s for garbage: %w", kind.Resource.GroupResource(), err)
			}
			c.own = append(c.own, informer)
		}
		handled, err := informer.AddEventHandler(c.handler(kind))
		if err != nil {
			return nil, fmt.Errorf("watch %s for garbage: %w", kind.Resource.GroupResource(), err)
		}
		c.synced = append(c.synced, handled.HasSyncedChecker())
	}
	return c, nil
}

// Events come and go by themselves, and there are many of them.
func isEvent(resource schema.GroupResource) bool {
	return resource.Resource == "events" && (resource.Group == corev1.GroupName || resource.Group == eventsv1.GroupName)
}

// strip keeps of an object what says who it is, whose it is, and whether it is going.
func strip(obj any) (any, error) {
	object, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return obj, nil
	}
	meta := &object.ObjectMeta
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		OwnerReferences: meta.OwnerReferences, Finalizers: meta.Finalizers, DeletionTimestamp: meta.DeletionTimestamp,
	}}, nil
}

func (c *Controller) handler(kind served.Kind) cache.ResourceEventHandler {
	observe := func(obj any) {
		if object, ok := obj.(metav1.Object); ok {
			c.add(c.graph.observe(object, identityOf(kind, object), c.locate))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: observe,
		UpdateFunc: func(old, obj any) {
			// The name may have passed to another object while the watch was interrupted.
			if before, ok := old.(metav1.Object); ok && before.GetUID() != obj.(metav1.Object).GetUID() {
				c.add(c.graph.remove(before.GetUID()))
			}
			observe(obj)
		},
		DeleteFunc: func(obj any) {
			if object, ok := reconcile.Deleted[metav1.Object](obj); ok {
				c.add(c.graph.remove(object.GetUID()))
			}
		},
	}
}

func identityOf(kind served.Kind, object metav1.Object) identity {
	return identity{resource: kind.Resource, namespace: object.GetNamespace(), name: object.GetName(), uid: object.GetUID()}
}

// locate says where the owner would be that an object in the namespace refers to.
func (c *Controller) locate(ref metav1.OwnerReference, namespace string) identity {
	where := identity{name: ref.Name, uid: ref.UID}
	if kind, ok := c.kinds.Of(ref.APIVersion, ref.Kind); ok {
		where.resource = kind.Resource
		if kind.Namespaced {
			where.namespace = namespace
		}
	}
	return where
}

func (c *Controller) add(tasks []task) {
	for _, task := range tasks {
		c.queue.Add(task)
	}
}

// Run works until ctx is done. It waits for its caches; the shared ones are started by the caller.
func (c *Controller) Run(ctx context.Context) {
	done := make(chan struct{}, len(c.own))
	for _, informer := range c.own {
		go func() {
			informer.RunWithContext(ctx)
			done <- struct{}{}
		}()
	}
	// Not before everything has been seen: an owner that is merely not seen yet would be asked for in vain.
	if cache.WaitFor(ctx, "", c.synced...) {
		c.queue.Run(ctx, workers)
	}
	for range c.own {
		<-done
	}
}

// sync carries out one task.
func (c *Controller) sync(ctx context.Context, t task) error {
	seen, known := c.graph.look(t.uid)
	if !known {
		return nil
	}
	var err error
	switch t.action {
	case confirm:
		err = c.confirm(ctx, seen)
	case collect:
		err = c.collect(ctx, seen)
	case orphan:
		err = c.orphan(ctx, seen)
	}
	if errors.Is(err, errGone) {
		slog.Debug("object is gone before its watch event", "resource", seen.resource, "namespace", seen.namespace, "name", seen.name)
		c.add(c.graph.remove(seen.uid))
		return nil
	}
	return err
}
