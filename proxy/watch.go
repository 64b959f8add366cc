package proxy

import (
	"context"
	"fmt"
	"sync"

	"github.com/kubelite/kubelite/proxy/plan"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// selector leaves out what no proxy serves and what another proxy serves, as kube-proxy does.
const selector = "!" + corev1.IsHeadlessService + ",!" + plan.LabelServiceProxyName

const byService = "service"

// watched holds the current Services and EndpointSlices, and remembers which Services changed.
type watched struct {
	cancel   context.CancelFunc
	factory  informers.SharedInformerFactory
	services cache.SharedIndexInformer
	slices   cache.SharedIndexInformer

	mutex   sync.Mutex
	changed map[types.NamespacedName]bool
	// wake holds one token while changed has something that nobody has come for yet.
	wake chan struct{}
}

// watch starts to watch; stop ends it.
func watch(ctx context.Context, client kubernetes.Interface) (*watched, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = selector }),
		informers.WithTransform(strip))
	w := &watched{
		factory:  factory,
		services: factory.Core().V1().Services().Informer(),
		slices:   factory.Discovery().V1().EndpointSlices().Informer(),
		changed:  map[types.NamespacedName]bool{},
		wake:     make(chan struct{}, 1),
	}
	if err := w.slices.AddIndexers(cache.Indexers{byService: serviceIndex}); err != nil {
		return nil, fmt.Errorf("watch EndpointSlices: %w", err)
	}
	for _, informer := range []cache.SharedIndexInformer{w.services, w.slices} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    w.mark,
			UpdateFunc: func(old, current any) { w.mark(old); w.mark(current) },
			DeleteFunc: w.mark,
		})
		if err != nil {
			return nil, fmt.Errorf("watch Services and EndpointSlices: %w", err)
		}
	}
	ctx, w.cancel = context.WithCancel(ctx)
	factory.Start(ctx.Done())
	return w, nil
}

func (w *watched) stop() {
	w.cancel()
	w.factory.Shutdown()
}

// synced waits for the first complete lists; false when ctx ended before.
func (w *watched) synced(ctx context.Context) bool {
	return cache.WaitForCacheSync(ctx.Done(), w.services.HasSynced, w.slices.HasSynced)
}

func serviceIndex(object any) ([]string, error) {
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		if name, ok := plan.ServiceOf(slice); ok {
			return []string{name.String()}, nil
		}
	}
	return nil, nil
}

func (w *watched) mark(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	var name types.NamespacedName
	switch object := object.(type) {
	case *corev1.Service:
		name = types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
	case *discoveryv1.EndpointSlice:
		var ok bool
		if name, ok = plan.ServiceOf(object); !ok {
			return
		}
	default:
		return
	}
	w.mutex.Lock()
	w.changed[name] = true
	w.mutex.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the names of the Services that changed since the last call.
func (w *watched) take() map[types.NamespacedName]bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	changed := w.changed
	w.changed = map[types.NamespacedName]bool{}
	return changed
}

// plan plans one Service as it is now; empty when it is gone.
func (w *watched) plan(name types.NamespacedName, node plan.Node) ([]plan.Port, error) {
	object, exists, err := w.services.GetStore().GetByKey(name.String())
	if err != nil {
		return nil, fmt.Errorf("look up Service %s: %w", name, err)
	}
	if !exists {
		return nil, nil
	}
	found, err := w.slices.GetIndexer().ByIndex(byService, name.String())
	if err != nil {
		return nil, fmt.Errorf("look up EndpointSlices of Service %s: %w", name, err)
	}
	endpointSlices := make([]*discoveryv1.EndpointSlice, 0, len(found))
	for _, slice := range found {
		endpointSlices = append(endpointSlices, slice.(*discoveryv1.EndpointSlice))
	}
	return plan.Service(object.(*corev1.Service), endpointSlices, node), nil
}

// strip drops what no plan looks at, so that it is not kept in memory. The annotation of a Service's last apply alone is
// as large as the Service.
func strip(object any) (any, error) {
	switch object := object.(type) {
	case *corev1.Service:
		object.ManagedFields, object.Annotations, object.OwnerReferences = nil, nil, nil
		object.Spec.Selector, object.Status.Conditions = nil, nil
	case *discoveryv1.EndpointSlice:
		object.ManagedFields, object.Annotations, object.OwnerReferences = nil, nil, nil
		for i := range object.Endpoints {
			endpoint := &object.Endpoints[i]
			endpoint.TargetRef, endpoint.Hostname, endpoint.Zone, endpoint.DeprecatedTopology = nil, nil, nil, nil
		}
	}
	return object, nil
}
